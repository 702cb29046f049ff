/* SPDX-License-Identifier: MIT */
#include "supd/config/values.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"

int value_reject(struct value *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->why, sizeof(v->why), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static int keep(struct value *v)
{
	struct model_str s;
	int r = pool_add_str(&v->draft->strings, v->text, &s.off);

	if (r == 0)
		memcpy(v->to, &s, sizeof(s));
	return r;
}

static int note(struct value *v)
{
	uint32_t off;
	int r = pool_add_str(&v->draft->scratch, v->text, &off);

	if (r == 0)
		memcpy(v->to, &off, sizeof(off));
	return r;
}

int value_name(struct value *v)
{
	if (!parse_is_name(v->text))
		return value_reject(v, "is not a name, expected 1 to %d of A-Z a-z 0-9 _ -",
				    PARSE_NAME_MAX);
	return keep(v);
}

int value_text(struct value *v)
{
	if (*v->text == '\0' || strpbrk(v->text, " \t,:") != NULL)
		return value_reject(v, "is not a name, expected one word");
	return note(v);
}

static int path_check(struct value *v)
{
	if (*v->text != '/')
		return value_reject(v, "is not an absolute path, expected one that begins with /");
	if (strlen(v->text) > VALUE_PATH_MAX)
		return value_reject(v, "has %zu characters, expected at most %d of a path",
				    strlen(v->text), VALUE_PATH_MAX);
	return 0;
}

int value_path(struct value *v)
{
	int r = path_check(v);

	return r < 0 ? r : note(v);
}

int value_logfile(struct value *v)
{
	if (strcmp(v->text, MODEL_LOG_SYSLOG) == 0)
		return note(v);
	if (*v->text != '/')
		return value_reject(v,
				    "is not an absolute path, expected one that begins with /, "
				    "or " MODEL_LOG_SYSLOG);
	return value_path(v);
}

int value_path_str(struct value *v)
{
	int r = path_check(v);

	return r < 0 ? r : keep(v);
}

int value_interface(struct value *v)
{
	size_t n = strlen(v->text);

	if (n == 0 || n >= IFNAMSIZ || strpbrk(v->text, "/: \t,\"'") != NULL)
		return value_reject(v,
				    "is not an interface, expected one name of at most %d "
				    "characters",
				    IFNAMSIZ - 1);
	return keep(v);
}

int value_password(struct value *v)
{
	size_t n = strlen(v->text);

	if (n == 0 || n > VRRP_PASSWORD_LEN)
		return value_reject(v, "has %zu bytes, expected 1 to %d: VRRP carries no more", n,
				    VRRP_PASSWORD_LEN);
	memset(v->to, 0, VRRP_PASSWORD_LEN);
	memcpy(v->to, v->text, n);
	return 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int store(struct value *v, int64_t n)
{
	uint8_t n8 = (uint8_t)n;
	uint16_t n16 = (uint16_t)n;
	uint32_t n32 = (uint32_t)n;

	switch (v->key->width) {
	case 1:
		memcpy(v->to, &n8, 1);
		return 0;
	case 2:
		memcpy(v->to, &n16, 2);
		return 0;
	case 4:
		memcpy(v->to, &n32, 4);
		return 0;
	case 8:
		memcpy(v->to, &n, 8);
		return 0;
	}
	return -EINVAL;
}

int value_uint(struct value *v)
{
	const struct key *k = v->key;
	uint64_t n;
	int r = parse_uint(v->text, (uint64_t)k->min, (uint64_t)k->max, &n);

	if (r < 0)
		return value_reject(v, "is %s, expected %lld to %lld",
				    r == -ERANGE ? "out of range" : "not a number",
				    (long long)k->min, (long long)k->max);
	return store(v, (int64_t)n);
}

int value_octal(struct value *v)
{
	unsigned n;

	if (parse_octal(v->text, (unsigned)v->key->max, &n) < 0)
		return value_reject(v, "is not a mode, expected octal digits up to 0%o",
				    (unsigned)v->key->max);
	return store(v, n);
}

int value_bool(struct value *v)
{
	bool b;

	if (parse_bool(v->text, &b) < 0)
		return value_reject(v, "is not a switch, expected yes or no");
	return store(v, b);
}

static const struct key_choice *find_choice(const struct value *v)
{
	for (const struct key_choice *c = v->key->choices; c != NULL && c->word != NULL; c++)
		if (strcmp(c->word, v->text) == 0)
			return c;
	return NULL;
}

/* "a, b or c" */
static void list_choices(const struct key *k, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (const struct key_choice *c = k->choices; c != NULL && c->word != NULL; c++) {
		const char *before = c == k->choices ? "" : c[1].word == NULL ? " or " : ", ";

		len += (size_t)snprintf(buf + len, size - len, "%s%s", before, c->word);
	}
}

int value_choice(struct value *v)
{
	const struct key_choice *c = find_choice(v);
	char words[128];

	if (c != NULL)
		return store(v, c->value);
	list_choices(v->key, words, sizeof(words));
	return value_reject(v, "is not known here, expected %s", words);
}

/* A duration as it would be written. */
static const char *duration_text(int64_t d, char buf[32])
{
	if (d % MTIME_SEC(3600) == 0 && d > 0)
		snprintf(buf, 32, "%lldh", (long long)(d / MTIME_SEC(3600)));
	else if (d % MTIME_SEC(1) == 0)
		snprintf(buf, 32, "%llds", (long long)(d / MTIME_SEC(1)));
	else
		snprintf(buf, 32, "%lldms", (long long)mtime_to_ms(d));
	return buf;
}

int value_duration(struct value *v)
{
	const struct key *k = v->key;
	const struct key_choice *c = find_choice(v);
	char words[64], min[32], max[32], step[32];
	mtime d = 0;
	int r;

	if (c != NULL)
		return store(v, c->value);
	r = parse_duration(v->text, &d);
	list_choices(k, words, sizeof(words));
	if (r == -EINVAL)
		return value_reject(v,
				    "is not a duration, expected %s%sa number with ms, s, min "
				    "or h",
				    words, *words != '\0' ? ", or " : "");
	if (r < 0 || d < k->min || d > k->max)
		return value_reject(v, "is out of range, expected %s to %s",
				    duration_text(k->min, min), duration_text(k->max, max));
	if (k->step > 0 && d % k->step != 0)
		return value_reject(v, "is between the steps, expected a multiple of %s",
				    duration_text(k->step, step));
	return store(v, d);
}

/* A size as it would be written. */
static const char *size_text(uint64_t n, char buf[32])
{
	static const char *const units[] = {"", "KB", "MB", "GB"};
	size_t i = 0;

	for (; i < 3 && n > 0 && n % 1024 == 0; i++)
		n /= 1024;
	snprintf(buf, 32, "%llu%s", (unsigned long long)n, units[i]);
	return buf;
}

int value_size(struct value *v)
{
	const struct key *k = v->key;
	const struct key_choice *c = find_choice(v);
	char words[64], min[32], max[32];
	uint64_t n = 0;
	int r;

	if (c != NULL)
		return store(v, c->value);
	r = parse_size(v->text, &n);
	list_choices(k, words, sizeof(words));
	if (r == -EINVAL)
		return value_reject(v, "is not a size, expected a number with KB, MB or GB");
	if (r < 0 || n < (uint64_t)k->min || n > (uint64_t)k->max)
		return value_reject(v, "is out of range, expected %s%s%s to %s", words,
				    *words != '\0' ? ", or " : "",
				    size_text((uint64_t)k->min, min),
				    size_text((uint64_t)k->max, max));
	return store(v, (int64_t)n);
}

int value_signal(struct value *v)
{
	int signo;

	if (parse_signal(v->text, &signo) < 0)
		return value_reject(v,
				    "is not a signal, expected a name such as TERM, or a number");
	return store(v, signo);
}

int value_exitcodes(struct value *v)
{
	if (parse_exitcodes(v->text, v->to) < 0)
		return value_reject(v, "is not a list of exit codes, expected numbers from 0 to "
				       "255");
	return 0;
}
