/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_PROBLEMS_H
#define SUPD_CONFIG_PROBLEMS_H

#include <stddef.h>
#include <stdio.h>

/* What is wrong with a file: collected while it is read, printed in the order of its lines. */
struct problem {
	unsigned line;
	unsigned seq; /* order of discovery, within a line */
	char *text;
};

struct problems {
	struct problem *v;
	size_t n, cap;
	int error; /* -ENOMEM: some were lost */
};

void problems_init(struct problems *p);
void problems_fini(struct problems *p);

/* Line 0: the file as a whole. */
void problems_add(struct problems *p, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* `file:line: text`, one a line. */
void problems_print(struct problems *p, const char *file, FILE *out);

#endif
