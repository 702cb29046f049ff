/* SPDX-License-Identifier: MIT */
#include "supd/config/problems.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

void problems_init(struct problems *p)
{
	*p = (struct problems){0};
}

void problems_fini(struct problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].text);
	free(p->v);
	problems_init(p);
}

static int make_room(struct problems *p)
{
	size_t cap = p->cap == 0 ? 16 : p->cap * 2;
	struct problem *v;

	if (p->n < p->cap)
		return 0;
	v = realloc(p->v, cap * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	p->v = v;
	p->cap = cap;
	return 0;
}

void problems_add(struct problems *p, unsigned line, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0 || make_room(p) < 0) {
		if (n >= 0)
			free(text);
		p->error = -ENOMEM;
		return;
	}
	p->v[p->n] = (struct problem){.line = line, .seq = (unsigned)p->n, .text = text};
	p->n++;
}

static int by_line(const void *a, const void *b)
{
	const struct problem *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

void problems_print(struct problems *p, const char *file, FILE *out)
{
	if (p->n > 0)
		qsort(p->v, p->n, sizeof(*p->v), by_line);
	for (size_t i = 0; i < p->n; i++)
		fprintf(out, "%s:%u: %s\n", file, p->v[i].line > 0 ? p->v[i].line : 1,
			p->v[i].text);
}
