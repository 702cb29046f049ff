/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_PEEK_H
#define SUPD_SCRIBE_PEEK_H

#include <stddef.h>
#include <sys/types.h>

/*
 * What waits in a pipe, seen without taking it (tee(2)): whoever is killed after a look has
 * changed nothing.  One for all streams.
 */
#define PEEK_MAX (64u << 10) /* a pipe holds no more, unless it was made larger */

struct peek {
	int pipe[2];
	char *buf; /* PEEK_MAX bytes, untouched until something is looked at */
};

/* 0 or -errno; peek_fini() in either case. */
int peek_init(struct peek *p);
void peek_fini(struct peek *p);

/* The first bytes that wait in the pipe are in buf: how many, 0: none, or -errno. */
ssize_t peek_at(struct peek *p, int pipe_fd);

/* Bytes that wait in a pipe. */
size_t pipe_waiting(int pipe_fd);
/* Take n bytes that wait in a pipe, and forget them. */
void pipe_skip(int pipe_fd, size_t n);

#endif
