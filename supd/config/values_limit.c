/* SPDX-License-Identifier: MIT */
#include "supd/config/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/parse.h"

/* What a program may use. */

static bool choose(const struct value *v, int64_t *ret)
{
	for (const struct key_choice *c = v->key->choices; c != NULL && c->word != NULL; c++)
		if (strcmp(c->word, v->text) == 0) {
			*ret = c->value;
			return true;
		}
	return false;
}

int value_int(struct value *v)
{
	const char *digits = v->text + (*v->text == '-');
	int64_t chosen;
	uint64_t n;
	int out;

	if (!choose(v, &chosen)) {
		if (parse_uint(digits, 0, INT32_MAX, &n) < 0)
			return value_reject(v, "is not a number, expected %lld to %lld",
					    (long long)v->key->min, (long long)v->key->max);
		chosen = digits > v->text ? -(int64_t)n : (int64_t)n;
		if (chosen < v->key->min || chosen > v->key->max)
			return value_reject(v, "is out of range, expected %lld to %lld",
					    (long long)v->key->min, (long long)v->key->max);
	}
	out = (int)chosen;
	memcpy(v->to, &out, sizeof(out));
	return 0;
}

int value_percent(struct value *v)
{
	char digits[16] = "";
	size_t len = strlen(v->text);
	int64_t chosen;
	uint64_t n;
	uint32_t out;

	if (choose(v, &chosen)) {
		out = (uint32_t)chosen;
	} else {
		if (len < 2 || len > sizeof(digits) || v->text[len - 1] != '%')
			return value_reject(v, "is no share, expected such as 150%%: of one CPU");
		memcpy(digits, v->text, len - 1);
		if (parse_uint(digits, (uint64_t)v->key->min, (uint64_t)v->key->max, &n) < 0)
			return value_reject(v, "is out of range, expected %lld%% to %lld%%",
					    (long long)v->key->min, (long long)v->key->max);
		out = (uint32_t)n;
	}
	memcpy(v->to, &out, sizeof(out));
	return 0;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int read_limit(const char *text, bool size, uint64_t *ret)
{
	if (strcmp(text, "unlimited") == 0) {
		*ret = RLIM_INFINITY;
		return 0;
	}
	return size ? parse_size(text, ret) : parse_uint(text, 0, INT64_MAX, ret);
}

static int read_limits(struct value *v, bool size)
{
	struct model_rlimit limit;
	const char *colon = strchr(v->text, ':');
	char soft[32] = "";
	size_t len = colon != NULL ? (size_t)(colon - v->text) : strlen(v->text);

	memset(&limit, 0, sizeof(limit));
	if (len < sizeof(soft))
		memcpy(soft, v->text, len);
	if (read_limit(soft, size, &limit.soft) < 0 ||
	    read_limit(colon != NULL ? colon + 1 : soft, size, &limit.hard) < 0)
		return value_reject(v, "is no limit, expected %s, unlimited, or two of them as SOFT:HARD",
				    size ? "a size" : "a number");
	if (limit.soft > limit.hard)
		return value_reject(v, "has a soft limit above the hard one, expected SOFT:HARD");
	limit.set = true;
	memcpy(v->to, &limit, sizeof(limit));
	return 0;
}

int value_rlimit(struct value *v)
{
	return read_limits(v, false);
}

int value_rlimit_size(struct value *v)
{
	return read_limits(v, true);
}
