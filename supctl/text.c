/* SPDX-License-Identifier: MIT */
#include "supctl/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *text_duration(int64_t ms, char *buf, size_t size)
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%" PRId64 "ms", ms);
	else if (s < 10)
		snprintf(buf, size, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
	else if (s < 60)
		snprintf(buf, size, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(buf, size, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%" PRId64 "h%02" PRId64 "m", s / 3600, s % 3600 / 60);
	else
		snprintf(buf, size, "%" PRId64 "d%02" PRId64 "h", s / 86400, s % 86400 / 3600);
	return buf;
}

const char *text_bytes(int64_t bytes, char *buf, size_t size)
{
	static const char units[] = "kMGTP";
	double v = (double)bytes;
	int unit = -1;

	while (v >= 1024. && unit < (int)sizeof(units) - 2) {
		v /= 1024.;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, size, "%" PRId64, bytes);
	else
		snprintf(buf, size, v < 10. ? "%.1f%c" : "%.0f%c", v, units[unit]);
	return buf;
}

void text_add(char *line, size_t size, const char *fmt, ...)
{
	size_t len = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + len, size - len, fmt, ap);
	va_end(ap);
}

void text_wrap(FILE *out, const char *text, unsigned indent, unsigned width)
{
	size_t room = width > indent + 20 ? width - indent : 20;

	while (strlen(text) > room) {
		size_t cut = room;

		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (cut == 0) /* one long word: whole, whatever the width */
			cut = strcspn(text, " ");
		if (text[cut] == '\0')
			break;
		fprintf(out, "%.*s\n%*s", (int)cut, text, (int)indent, "");
		text += cut + 1;
	}
	fprintf(out, "%s\n", text);
}

void table_begin(struct table *t, unsigned n_columns)
{
	*t = (struct table){ .n_columns = n_columns };
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (t->n_cells == t->size) {
		size_t size = t->size > 0 ? 2 * t->size : 64;
		char **cells = realloc(t->cells, size * sizeof(*cells));

		if (cells == NULL)
			abort();
		t->cells = cells;
		t->size = size;
	}
	t->cells[t->n_cells] = strdup(text);
	if (t->cells[t->n_cells] == NULL)
		abort();
	t->n_cells++;
}

void table_end(struct table *t, FILE *out, unsigned width)
{
	unsigned widths[TABLE_COLUMNS_MAX] = { 0 };
	unsigned last = t->n_columns - 1;

	for (size_t i = 0; i < t->n_cells; i++) {
		unsigned len = (unsigned)strlen(t->cells[i]);

		if (len > widths[i % t->n_columns])
			widths[i % t->n_columns] = len;
	}
	for (size_t row = 0; row < t->n_cells / t->n_columns; row++) {
		char **cells = t->cells + row * t->n_columns;
		unsigned indent = 0;

		for (unsigned c = 0; c < last; c++) {
			bool rest = cells[last][0] != '\0';

			for (unsigned d = c + 1; d < last; d++)
				rest |= cells[d][0] != '\0';
			fprintf(out, "%-*s", rest ? (int)widths[c] + 2 : 0, cells[c]);
			indent += widths[c] + 2;
		}
		text_wrap(out, cells[last], indent, width);
	}
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){ .n_columns = t->n_columns };
}
