/* SPDX-License-Identifier: MIT */
#include "supd/config/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"
#include "common/parse.h"

/* ---- addresses ------------------------------------------------------------------------------- */

/* `example`: of what was expected. */
static int read_any(struct value *v, const char *text, const char *example, struct ip_addr *ret)
{
	if (ip_addr_parse(text, ret) < 0)
		return value_reject(v, "is not an address, expected one such as %s", example);
	if (!ip_addr_is_unicast(ret))
		return value_reject(v, "is no host's address, expected one such as %s", example);
	return 0;
}

static int read_address(struct value *v, const char *text, struct ip_addr *ret)
{
	if (ip_addr_parse(text, ret) < 0)
		return value_reject(v, "is not an IPv4 address, expected one such as 192.0.2.11");
	if (ret->family == AF_INET6)
		return value_reject(v, "is an IPv6 address: known, not supported yet, expected an "
				       "IPv4 address");
	return read_any(v, text, "192.0.2.11", ret);
}

/* One to ask. */
static int read_target(struct value *v, const char *text, struct ip_addr *ret)
{
	return read_any(v, text, "192.0.2.1 or 2001:db8::1", ret);
}

/* A node's own. */
static int read_own(struct value *v, const char *text, struct ip_addr *ret)
{
	return read_any(v, text, "192.0.2.11 or 2001:db8::11", ret);
}

/* A virtual address: no prefix length, or the one that it will have anyway. */
static int read_vip(struct value *v, const char *text, struct ip_addr *ret)
{
	char buf[64];
	char *slash;

	strncpy(buf, text, sizeof(buf) - 1);
	buf[sizeof(buf) - 1] = '\0';
	slash = strchr(buf, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (slash != NULL && strcmp(slash, strchr(buf, ':') == NULL ? "32" : "128") != 0)
		return value_reject(v, "has a prefix length, expected none, or /%s",
				    strchr(buf, ':') == NULL ? "32" : "128");
	return read_any(v, buf, "192.0.2.100 or 2001:db8::100", ret);
}

static bool contains(const struct ip_addr *v, size_t n, const struct ip_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (ip_addr_equal(&v[i], a))
			return true;
	return false;
}

/* Which of several it is that is wrong. */
static int blame(struct value *v, const char *item)
{
	char why[sizeof(v->why)];

	memcpy(why, v->why, sizeof(why));
	return value_reject(v, "has %.64s, which %.160s", item, why);
}

static int read_addresses(struct value *v,
			  int (*read)(struct value *, const char *, struct ip_addr *),
			  struct ip_addr *to, size_t max, uint8_t *ret_n)
{
	char buf[INI_VALUE_MAX + 1];
	const char *item = buf;
	struct parse_strv list;
	struct ip_addr a[32];

	if (parse_list(v->text, buf, sizeof(buf), &list) < 0 || list.count == 0)
		return value_reject(v, "is not a list, expected addresses with commas or blanks "
				       "between them");
	if (list.count > max)
		return value_reject(v, "has %u addresses, expected at most %zu", list.count, max);
	for (uint32_t i = 0; i < list.count; i++, item = parse_strv_next(item)) {
		int r = read(v, item, &a[i]);

		if (r < 0)
			return list.count > 1 ? blame(v, item) : r;
		if (contains(a, i, &a[i]))
			return value_reject(v, "has %s twice, expected it once", item);
	}
	memcpy(to, a, list.count * sizeof(*a));
	*ret_n = (uint8_t)list.count;
	return 0;
}

/* The first is the peer link's; the others are there for adverts of another kind. */
int value_addresses(struct value *v)
{
	struct draft_node *row = (void *)((char *)v->to - v->key->offset);
	struct ip_addr a[MODEL_ADDRESSES_MAX];
	uint8_t n;
	int r = read_addresses(v, read_own, a, MODEL_ADDRESSES_MAX, &n);

	if (r < 0)
		return r;
	if (a[0].family != AF_INET)
		return value_reject(v, "begins with an IPv6 address, expected the IPv4 address of "
				       "the peer link first");
	row->m.address = a[0];
	row->m.n_more = (uint8_t)(n - 1);
	memcpy(row->m.more, a + 1, (size_t)(n - 1) * sizeof(*a));
	return 0;
}

int value_paths(struct value *v)
{
	struct draft_node *row = (void *)((char *)v->to - v->key->offset);

	return read_addresses(v, read_address, row->m.further, MODEL_PATHS_MAX - 1,
			      &row->m.n_further);
}

/* The member that `to` points at is in the service's model; so are its count and its kind. */
static struct model_service *service_of(struct value *v)
{
	return (struct model_service *)(void *)((char *)v->to - v->key->offset +
						offsetof(struct draft_service, m));
}

int value_vips(struct value *v)
{
	struct model_service *s = service_of(v);

	return read_addresses(v, read_vip, s->vips, MODEL_VIPS_MAX, &s->n_vips);
}

int value_isolation(struct value *v)
{
	struct model_service *s = service_of(v);
	int r;

	s->n_targets = 0;
	if (strcmp(v->text, "auto") == 0 || strcmp(v->text, "off") == 0) {
		s->isolation = *v->text == 'a' ? MODEL_ISOLATION_AUTO : MODEL_ISOLATION_OFF;
		return 0;
	}
	r = read_addresses(v, read_target, s->targets, MODEL_TARGETS_MAX, &s->n_targets);
	if (r == 0)
		s->isolation = MODEL_ISOLATION_LIST;
	return r;
}

/* ---- restart_limit = N/W --------------------------------------------------------------------- */

#define LIMIT_MAX        1000
#define LIMIT_WINDOW_MAX MTIME_SEC(86400)

int value_restart_limit(struct value *v)
{
	struct model_service *s = service_of(v);
	const char *slash = strchr(v->text, '/');
	char number[8] = "";
	uint64_t n;
	mtime window;

	if (slash != NULL && (size_t)(slash - v->text) < sizeof(number))
		memcpy(number, v->text, (size_t)(slash - v->text));
	if (parse_uint(number, 1, LIMIT_MAX, &n) < 0 || parse_duration(slash + 1, &window) < 0)
		return value_reject(v, "is not a limit, expected deaths/window such as 3/60s");
	if (window < MTIME_SEC(1) || window > LIMIT_WINDOW_MAX)
		return value_reject(v, "has a window out of range, expected 1s to 24h");
	s->restart_limit = (uint32_t)n;
	s->restart_window = window;
	return 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

static int split_words(struct value *v, const char *text, char *buf, size_t size,
		       struct parse_strv *ret)
{
	if (parse_words(text, buf, size, ret) < 0)
		return value_reject(v, "has an unbalanced quote, or a backslash at its end, "
				       "expected words as in a shell");
	return 0;
}

static int keep_words(struct value *v, struct pool *pool, const char *buf,
		      const struct parse_strv *words)
{
	struct model_strv s = {.count = words->count};
	int r = pool_add(pool, buf, words->len, &s.off);

	if (r == 0)
		memcpy(v->to, &s, sizeof(s));
	return r;
}

int value_split_command(struct value *v, const char *text, char *buf, size_t size,
			struct parse_strv *ret)
{
	int r = split_words(v, text, buf, size, ret);

	if (r < 0)
		return r;
	if (ret->count == 0)
		return value_reject(v, "is no command, expected an absolute path and arguments");
	if (buf[0] != '/')
		return value_reject(v, "does not begin with an absolute path, expected one that "
				       "begins with /");
	return 0;
}

int value_command(struct value *v)
{
	char buf[INI_VALUE_MAX + 1];
	struct parse_strv words;
	int r = value_split_command(v, v->text, buf, sizeof(buf), &words);

	return r < 0 ? r : keep_words(v, &v->draft->strings, buf, &words);
}

static bool is_variable(const char *word)
{
	size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && word[n] == '=' && !(*word >= '0' && *word <= '9');
}

static bool same_variable(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n + 1) == 0;
}

int value_check_variable(struct value *v, const char *words, const char *word)
{
	int n = (int)strcspn(word, "=");

	if (!is_variable(word))
		return value_reject(v, "has \"%.40s\", expected NAME=VALUE", word);
	if (strncmp(word, "SUPD_", 5) == 0)
		return value_reject(v,
				    "sets %.40s, expected no name that begins with SUPD_: supd "
				    "sets those",
				    word);
	for (const char *w = words; w < word; w = parse_strv_next(w))
		if (same_variable(word, w))
			return value_reject(v, "sets %.*s twice, expected it once", n > 40 ? 40 : n,
					    word);
	return 0;
}

int value_environment(struct value *v)
{
	char buf[INI_VALUE_MAX + 1];
	const char *word = buf;
	struct parse_strv words;
	int r = split_words(v, v->text, buf, sizeof(buf), &words);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < words.count; i++, word = parse_strv_next(word)) {
		r = value_check_variable(v, buf, word);
		if (r < 0)
			return r;
	}
	return keep_words(v, &v->draft->scratch, buf, &words);
}
