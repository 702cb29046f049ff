/* SPDX-License-Identifier: MIT */
#include "common/parse.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define BLANKS " \t"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The number at *at, which is moved behind it. */
static int take_number(const char **at, uint64_t *ret)
{
	const char *s = *at;
	uint64_t n = 0;

	if (!is_digit(*s))
		return -EINVAL;
	for (; is_digit(*s); s++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return -ERANGE;
	}
	*at = s;
	*ret = n;
	return 0;
}

int parse_duration(const char *s, mtime *ret)
{
	static const struct {
		const char *name;
		mtime length;
	} units[] = {
		{"", MTIME_SEC(1)},     {"ms", MTIME_MS(1)},    {"s", MTIME_SEC(1)},
		{"min", MTIME_SEC(60)}, {"h", MTIME_SEC(3600)},
	};
	uint64_t n;
	mtime d;
	int r = take_number(&s, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(s, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(n, units[i].length, &d) || d == MTIME_NEVER)
			return -ERANGE;
		*ret = d;
		return 0;
	}
	return -EINVAL;
}

int parse_size(const char *s, uint64_t *ret)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {{"", 0}, {"KB", 10}, {"MB", 20}, {"GB", 30}};
	uint64_t n;
	int r = take_number(&s, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(s, units[i].name) != 0)
			continue;
		if (n > UINT64_MAX >> units[i].shift)
			return -ERANGE;
		*ret = n << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t n;
	int r = take_number(&s, &n);

	if (r < 0)
		return r;
	if (*s != '\0')
		return -EINVAL;
	if (n < min || n > max)
		return -ERANGE;
	*ret = n;
	return 0;
}

int parse_octal(const char *s, unsigned max, unsigned *ret)
{
	size_t digits = strspn(s, "01234567");
	unsigned n = 0;

	if (digits == 0 || s[digits] != '\0')
		return -EINVAL;
	for (; *s != '\0'; s++) {
		n = n * 8 + (unsigned)(*s - '0');
		if (n > max)
			return -ERANGE;
	}
	*ret = n;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	bool yes = strcmp(s, "yes") == 0;

	if (!yes && strcmp(s, "no") != 0)
		return -EINVAL;
	*ret = yes;
	return 0;
}

bool parse_is_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n >= 1 && n <= PARSE_NAME_MAX && s[n] == '\0';
}

/* glibc keeps the first real-time signals (32, 33) for itself: they cannot be sent in earnest. */
static bool is_signal(uint64_t n)
{
	return (n >= 1 && n <= 31) || (n >= (uint64_t)SIGRTMIN && n <= (uint64_t)SIGRTMAX);
}

int parse_signal(const char *s, int *ret)
{
	const char *abbrev;
	uint64_t n;

	if (is_digit(*s)) {
		int r = parse_uint(s, 1, 64, &n);

		if (r < 0)
			return r;
		if (!is_signal(n))
			return -ERANGE;
		*ret = (int)n;
		return 0;
	}
	if (strncmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i <= 31; i++) {
		abbrev = sigabbrev_np(i);
		if (abbrev != NULL && strcmp(s, abbrev) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- splitting ------------------------------------------------------------------------------- */

/* The caller's buffer while it fills; a character that does not fit is remembered as failure. */
struct out {
	char *buf;
	size_t size;
	struct parse_strv v;
	bool full;
};

static void put(struct out *o, char c)
{
	if (o->v.len < o->size)
		o->buf[o->v.len++] = c;
	else
		o->full = true;
}

static void put_end(struct out *o)
{
	put(o, '\0');
	o->v.count++;
}

static int finish(const struct out *o, struct parse_strv *ret)
{
	if (o->full)
		return -ENOBUFS;
	*ret = o->v;
	return 0;
}

int parse_list(const char *s, char *buf, size_t size, struct parse_strv *ret)
{
	struct out o = {.buf = buf, .size = size};

	for (s += strspn(s, BLANKS); *s != '\0';) {
		size_t n = strcspn(s, "," BLANKS);

		if (n == 0)
			return -EINVAL;
		for (; n > 0; n--)
			put(&o, *s++);
		put_end(&o);
		s += strspn(s, BLANKS);
		if (*s != ',')
			continue;
		s += 1 + strspn(s + 1, BLANKS);
		if (*s == '\0')
			return -EINVAL;
	}
	return finish(&o, ret);
}

/* Inside double quotes a backslash is itself, except before these. */
static bool is_escape(const char *s)
{
	return s[0] == '\\' && s[1] != '\0' && strchr("\"\\$`", s[1]) != NULL;
}

/* What stands in the quotes that open at *at; *at is moved behind the closing one. */
static int take_quoted(struct out *o, const char **at)
{
	const char *s = *at;
	char quote = *s++;

	for (; *s != quote; s++) {
		if (*s == '\0')
			return -EINVAL;
		if (quote == '"' && is_escape(s))
			s++;
		put(o, *s);
	}
	*at = s + 1;
	return 0;
}

static int take_word(struct out *o, const char **at)
{
	const char *s = *at;

	while (*s != '\0' && !is_blank(*s)) {
		if (*s == '\'' || *s == '"') {
			int r = take_quoted(o, &s);

			if (r < 0)
				return r;
			continue;
		}
		if (*s == '\\' && *++s == '\0')
			return -EINVAL;
		put(o, *s++);
	}
	put_end(o);
	*at = s;
	return 0;
}

int parse_words(const char *s, char *buf, size_t size, struct parse_strv *ret)
{
	struct out o = {.buf = buf, .size = size};

	for (s += strspn(s, BLANKS); *s != '\0'; s += strspn(s, BLANKS)) {
		int r = take_word(&o, &s);

		if (r < 0)
			return r;
	}
	return finish(&o, ret);
}

const char *parse_strv_next(const char *s)
{
	return s + strlen(s) + 1;
}

int parse_exitcodes(const char *s, uint8_t ret[32])
{
	char buf[4096];
	const char *item = buf;
	struct parse_strv list;
	uint8_t bits[32] = {0};
	int r = parse_list(s, buf, sizeof(buf), &list);

	if (r < 0)
		return r;
	if (list.count == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < list.count; i++, item = parse_strv_next(item)) {
		uint64_t n;

		r = parse_uint(item, 0, 255, &n);
		if (r < 0)
			return r;
		bits[n / 8] |= (uint8_t)(1u << (n % 8));
	}
	memcpy(ret, bits, sizeof(bits));
	return 0;
}
