/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_ROTATE_H
#define SUPD_SCRIBE_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where one log ends and the next begins: at the end of a line.  A log grows beyond its limit by
 * the rest of a line that has begun in it, no more.
 */

/*
 * How many of the bytes `text`, which wait, still belong to a log with `room` bytes below its
 * limit; 0: none, a new log begins.  at_line_end: the log is not empty, and its last line is whole.
 * Pure.
 */
size_t rotate_cut(const char *text, size_t len, uint64_t room, bool at_line_end);

/*
 * PATH becomes PATH.1, PATH.1 becomes PATH.2 ...; of `backups` the oldest goes.  A gap in the row,
 * which a kill in the midst of this leaves, is filled first: no log is lost by it.  0 or -errno.
 */
int rotate_files(const char *path, uint32_t backups);

/* PATH, or PATH.number: 0 or -ENAMETOOLONG. */
int rotate_name(char *buf, size_t size, const char *path, uint32_t number);

#endif
