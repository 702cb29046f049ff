/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * The state file, for people to read and for this program to write:
 *
 *   supd-state 1 NODE
 *   service NAME term_seen=257 reserved=513 latched=no barred=no stopped=no paused=no wish_version=3
 *   end CHECKSUM
 *
 * CHECKSUM (CRC-32, eight hex digits) covers everything before its line, so a torn or half-written
 * file is noticed, not believed: an older term in it would be a danger.  Every key of a line must
 * be there, once (barred may be missing: it is younger than the format); a service that the
 * configuration no longer has is skipped.
 */

#define STATE_VERSION 1

static uint32_t crc32(const char *text, size_t len)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint8_t)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* ---- encode ----------------------------------------------------------------------------------- */

struct text_out {
	char *buf;
	size_t size, len;
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void put(struct text_out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (o->failed)
		return;
	va_start(ap, fmt);
	n = vsnprintf(o->buf + o->len, o->size - o->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= o->size - o->len)
		o->failed = true;
	else
		o->len += (size_t)n;
}

static const char *yes_no(bool b)
{
	return b ? "yes" : "no";
}

/* Until a service has taken over what the disk had, that is what is kept of it. */
static void put_service(struct text_out *o, const struct engine *e, uint32_t row)
{
	const struct engine_service *svc = &e->services[row];
	const struct service_persist *p = svc->fsm.loaded ? &svc->fsm.persist : &svc->disk;

	put(o,
	    "service %s term_seen=%" PRIu64 " reserved=%" PRIu64
	    " latched=%s barred=%s stopped=%s paused=%s wish_version=%" PRIu32 "\n",
	    model_service_name(e->m, row), p->term_seen, p->reserved, yes_no(p->latched),
	    yes_no(p->barred), yes_no(p->stopped), yes_no(p->paused), p->wish_version);
}

int state_text_encode(const struct engine *e, char *buf, size_t size)
{
	struct text_out o = {.buf = buf, .size = size};

	put(&o, "supd-state %d %s\n", STATE_VERSION,
	    model_node_name(e->m, (uint32_t)e->m->self));
	for (uint32_t i = 0; i < e->m->n_services; i++)
		put_service(&o, e, i);
	put(&o, "end %08" PRIx32 "\n", crc32(buf, o.len));
	return o.failed ? -ENOSPC : (int)o.len;
}

/* ---- decode ----------------------------------------------------------------------------------- */

/* A part of the text that is not ended by a NUL. */
struct span {
	const char *at;
	size_t len;
};

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* Cut up to the separator off the front; without one, all of it. */
static struct span span_cut(struct span *s, char separator)
{
	const char *found = s->len > 0 ? memchr(s->at, separator, s->len) : NULL;
	struct span head = {s->at, found ? (size_t)(found - s->at) : s->len};
	size_t gone = found ? head.len + 1 : head.len;

	s->at += gone;
	s->len -= gone;
	return head;
}

static bool parse_number(struct span s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(s.at[i] - '0');

		if (digit > 9 || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return true;
}

static bool parse_bool(struct span s, bool *ret)
{
	*ret = span_is(s, "yes");
	return *ret || span_is(s, "no");
}

enum key { TERM_SEEN, RESERVED, LATCHED, BARRED, STOPPED, PAUSED, WISH_VERSION, KEYS_END };

static const char *const key_names[KEYS_END] = {"term_seen", "reserved", "latched",
						"barred",    "stopped",	 "paused",  "wish_version"};

static bool parse_value(enum key key, struct span value, struct service_persist *p)
{
	uint64_t n = 0;
	bool ok;

	switch (key) {
	case TERM_SEEN:
		return parse_number(value, UINT64_MAX, &p->term_seen);
	case RESERVED:
		return parse_number(value, UINT64_MAX, &p->reserved);
	case LATCHED:
		return parse_bool(value, &p->latched);
	case BARRED:
		return parse_bool(value, &p->barred);
	case STOPPED:
		return parse_bool(value, &p->stopped);
	case PAUSED:
		return parse_bool(value, &p->paused);
	case WISH_VERSION:
		ok = parse_number(value, UINT32_MAX, &n);
		p->wish_version = (uint32_t)n;
		return ok;
	case KEYS_END:
		break;
	}
	return false;
}

static enum key find_key(struct span name)
{
	unsigned k = 0;

	while (k < KEYS_END && !span_is(name, key_names[k]))
		k++;
	return (enum key)k;
}

/* "key=value ..." with each key once. */
static bool parse_persist(struct span rest, struct service_persist *ret)
{
	const unsigned required = ((1u << KEYS_END) - 1) & ~(1u << BARRED | 1u << PAUSED);
	unsigned seen = 0;

	memset(ret, 0, sizeof(*ret));
	while (rest.len > 0) {
		struct span value = span_cut(&rest, ' ');
		enum key key = find_key(span_cut(&value, '='));

		if (key == KEYS_END || seen & 1u << key || !parse_value(key, value, ret))
			return false;
		seen |= 1u << key;
	}
	return (seen & required) == required;
}

struct decoder {
	const struct model *m;
	struct service_persist by_row[MODEL_SERVICES_MAX];
	bool seen[MODEL_SERVICES_MAX];
};

static bool parse_service(struct decoder *d, struct span rest)
{
	struct span name = span_cut(&rest, ' ');
	struct service_persist p;

	if (name.len == 0 || name.len > MODEL_NAME_MAX || !parse_persist(rest, &p))
		return false;
	for (uint32_t i = 0; i < d->m->n_services; i++) {
		if (!span_is(name, model_service_name(d->m, i)))
			continue;
		if (d->seen[i])
			return false;
		d->seen[i] = true;
		d->by_row[i] = p;
	}
	return true;
}

static bool parse_head(const struct model *m, struct span line)
{
	return span_is(span_cut(&line, ' '), "supd-state") && span_is(span_cut(&line, ' '), "1") &&
	       span_is(line, model_node_name(m, (uint32_t)m->self));
}

/* One line without its newline; *ret_end: it was the last one. */
static bool parse_line(struct decoder *d, unsigned number, struct span line, uint32_t crc,
		       bool *ret_end)
{
	char expected[16];
	struct span word;

	if (number == 1)
		return parse_head(d->m, line);
	word = span_cut(&line, ' ');
	if (span_is(word, "service"))
		return parse_service(d, line);
	snprintf(expected, sizeof(expected), "%08" PRIx32, crc);
	*ret_end = true;
	return span_is(word, "end") && span_is(line, expected);
}

int state_text_decode(const struct model *m, const char *text, size_t len,
		      struct service_persist *ret_by_row, unsigned *ret_line)
{
	struct decoder d = {.m = m};
	struct span rest = {text, len};
	bool end = false;
	unsigned number = 0;

	while (!end) {
		uint32_t crc = crc32(text, (size_t)(rest.at - text));
		bool whole = rest.len > 0 && memchr(rest.at, '\n', rest.len);
		struct span line = span_cut(&rest, '\n');

		number++;
		if (!whole || !parse_line(&d, number, line, crc, &end) || (end && rest.len > 0)) {
			*ret_line = number;
			return -EINVAL;
		}
	}
	memcpy(ret_by_row, d.by_row, m->n_services * sizeof(d.by_row[0]));
	return 0;
}
