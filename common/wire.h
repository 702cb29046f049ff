/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_WIRE_H
#define SUPD_COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Cursors over network byte order.  A step beyond the end sets `failed`, writes or reads nothing,
 * and every later step fails too: check once at the end.  A failed read returns zero.
 */
struct wire_out {
	uint8_t *start, *at, *end;
	bool failed;
};

struct wire_in {
	const uint8_t *at, *end;
	bool failed;
};

static inline void wire_out_init(struct wire_out *w, void *buf, size_t size)
{
	w->start = w->at = buf;
	w->end = w->start + size;
	w->failed = false;
}

static inline size_t wire_out_len(const struct wire_out *w)
{
	return (size_t)(w->at - w->start);
}

static inline void wire_in_init(struct wire_in *r, const void *buf, size_t size)
{
	r->at = buf;
	r->end = r->at + size;
	r->failed = false;
}

static inline size_t wire_in_left(const struct wire_in *r)
{
	return (size_t)(r->end - r->at);
}

static inline void wire_put(struct wire_out *w, const void *data, size_t n)
{
	if (w->failed || (size_t)(w->end - w->at) < n) {
		w->failed = true;
		return;
	}
	if (n > 0)
		memcpy(w->at, data, n);
	w->at += n;
}

static inline bool wire_get(struct wire_in *r, void *data, size_t n)
{
	if (r->failed || wire_in_left(r) < n) {
		r->failed = true;
		memset(data, 0, n);
		return false;
	}
	if (n > 0)
		memcpy(data, r->at, n);
	r->at += n;
	return true;
}

/* The low `n` bytes of v, most significant first; n is 1 to 8. */
static inline void wire_put_be(struct wire_out *w, uint64_t v, unsigned n)
{
	uint8_t b[8];

	for (unsigned i = 0; i < n; i++)
		b[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
	wire_put(w, b, n);
}

static inline uint64_t wire_get_be(struct wire_in *r, unsigned n)
{
	uint8_t b[8];
	uint64_t v = 0;

	if (!wire_get(r, b, n))
		return 0;
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | b[i];
	return v;
}

#define wire_put8(w, v)	 wire_put_be((w), (v), 1)
#define wire_put16(w, v) wire_put_be((w), (v), 2)
#define wire_put32(w, v) wire_put_be((w), (v), 4)
#define wire_put64(w, v) wire_put_be((w), (v), 8)
#define wire_get8(r)	 ((uint8_t)wire_get_be((r), 1))
#define wire_get16(r)	 ((uint16_t)wire_get_be((r), 2))
#define wire_get32(r)	 ((uint32_t)wire_get_be((r), 4))
#define wire_get64(r)	 wire_get_be((r), 8)

#endif
