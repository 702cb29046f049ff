/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_TITLE_H
#define SUPD_KEEPER_TITLE_H

#include <stddef.h>

/* The memory that the command line shows in /proc/PID/cmdline. */
struct title {
	char *start; /* NULL: only comm is set */
	size_t size;
};

/*
 * Take over the memory of argv and of the environment behind it (which moves to the heap).  argv's
 * strings are lost at the first title_set(): copy what is still needed.
 */
void title_init(struct title *t, int argc, char **argv);

/* "supd: NAME" in comm, "supd: NAME DETAIL" in the command line; detail may be NULL. */
void title_set(const struct title *t, const char *name, const char *detail);

#endif
