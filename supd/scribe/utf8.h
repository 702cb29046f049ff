/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_UTF8_H
#define SUPD_SCRIBE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#define UTF8_GROWTH 3 /* a byte becomes at most so many */

/*
 * Whatever a program printed, as UTF-8 (RFC 3629): bytes that are none, and NUL, become U+FFFD.
 * out has room for UTF8_GROWTH * len.  *ret_used: the bytes looked at; a character that is cut at
 * the end is left, unless `final`.  Returns the length of the text.
 */
size_t utf8_clean(const char *in, size_t len, bool final, char *out, size_t *ret_used);

#endif
