/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_INI_H
#define SUPD_COMMON_INI_H

#include <stddef.h>

/*
 * A strict reader of ini files, in front of inih, which by itself accepts far too much: the rest
 * of an over-long line as a new line, text after `]`, `[]`, `:` as separator, duplicates, indented
 * lines as continuations, a directory as an empty file.
 *
 *   - a regular file of at most INI_FILE_MAX bytes; lines end with \n
 *   - `[section]` or `key = value` from the first column; nothing after `]`
 *   - `;` or `#` in the first column is a comment; nowhere else
 *   - a value is literal, blanks around it aside, and has at most INI_VALUE_MAX characters
 *   - no control character but tab; no section twice, no key twice in a section
 */
#define INI_VALUE_MAX    4000
#define INI_LINE_MAX     4200
#define INI_FILE_MAX     (8u << 20)
#define INI_SECTIONS_MAX 8192
#define INI_KEYS_MAX     256 /* of one section */

/* Strings are valid during the call.  section may be NULL. */
struct ini_callbacks {
	void (*section)(void *user, const char *section, unsigned line);
	void (*key)(void *user, const char *section, const char *key, const char *value,
		    unsigned line);
	/* What is wrong with the text; reading goes on, so that all problems are found. */
	void (*problem)(void *user, unsigned line, const char *text);
};

/*
 * Read a file, or `len` bytes of text.  0 when there was no problem, -EINVAL when there was one
 * (each was told to problem()), or another -errno when the file could not be read.
 */
int ini_read_file(const char *path, const struct ini_callbacks *cb, void *user);
int ini_read_text(const char *text, size_t len, const struct ini_callbacks *cb, void *user);

#endif
