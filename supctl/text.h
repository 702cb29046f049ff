/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_TEXT_H
#define SUPCTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Words and columns for a terminal. */

/* "120ms", "1.2s", "12s", "2m03s", "3h05m", "4d03h". */
const char *text_duration(int64_t ms, char *buf, size_t size);
/* "512", "1.5k", "3.2G": bytes. */
const char *text_bytes(int64_t bytes, char *buf, size_t size);

/* Append to a line under construction; what does not fit is cut. */
void text_add(char *line, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Print text and a newline from column `indent` (where the cursor is), broken at blanks so that no
 * line is longer than width, later lines indented as far.
 */
void text_wrap(FILE *out, const char *text, unsigned indent, unsigned width);

/*
 * A table: columns as wide as their widest cell, two blanks between them; the last one is wrapped.
 * A cell is copied.  Cells come row by row; table_end() prints the table and frees it.
 */
#define TABLE_COLUMNS_MAX 10

struct table {
	unsigned n_columns;
	size_t n_cells, size;
	char **cells;
};

void table_begin(struct table *t, unsigned n_columns);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_end(struct table *t, FILE *out, unsigned width);

#endif
