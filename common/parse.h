/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_PARSE_H
#define SUPD_COMMON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mtime.h"

/*
 * Text to values, strictly: the whole string must be the value, with no blanks around it.
 * Each returns 0 or -errno (-EINVAL: not of this form, -ERANGE: of this form, but out of range)
 * and leaves its ret_ outputs untouched on failure.  None allocates.
 */

#define PARSE_NAME_MAX 63

/* `500ms 1s 5min 1h`; a bare number is seconds. */
int parse_duration(const char *s, mtime *ret);

/* `4096 50KB 50MB 2GB`, each 1024 of the one before; a bare number is bytes. */
int parse_size(const char *s, uint64_t *ret);

/* Decimal digits only. */
int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* Octal digits only, at most `max`. */
int parse_octal(const char *s, unsigned max, unsigned *ret);

/* yes or no. */
int parse_bool(const char *s, bool *ret);

/* [A-Za-z0-9_-]{1,63} */
bool parse_is_name(const char *s);

/* TERM, SIGTERM or 15. */
int parse_signal(const char *s, int *ret);

/* A list of 0 to 255 as a bit set: bit c of byte c / 8. */
int parse_exitcodes(const char *s, uint8_t ret[32]);

/* `count` strings, one after the other, each with its NUL, in `len` bytes of the caller's buffer.
 */
struct parse_strv {
	uint32_t count;
	size_t len;
};

/*
 * Split at commas or blanks, or at blanks as a shell does: quotes and backslash, no expansion.
 * strlen(s) + 1 bytes are always enough.  -EINVAL: an unbalanced quote, a backslash at the end,
 * an empty item between two commas.  -ENOBUFS: buf is too small.
 */
int parse_list(const char *s, char *buf, size_t size, struct parse_strv *ret);
int parse_words(const char *s, char *buf, size_t size, struct parse_strv *ret);

/* The string after `s` in such a buffer. */
const char *parse_strv_next(const char *s);

#endif
