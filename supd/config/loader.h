/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_LOADER_H
#define SUPD_CONFIG_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct model;

struct loader_options {
	const char *path;
	const char *node;   /* --node NAME, or NULL: found by a local address */
	const char *prefix; /* --prefix DIR, or NULL */
	bool read_key;      /* --check-config by somebody who may not read it: false */
};

/*
 * Read, validate whole and build the block.  Every problem is printed to `problems`, one a line,
 * "file:line: what, what was expected".  Returns 0 and *ret_model (malloc'ed, free() it), or
 * -EINVAL when there was at least one problem, or -errno.
 *
 * self stays MODEL_NONE when no [node:*] address is configured on this machine yet: that is no
 * problem of the file.
 */
int loader_load(const struct loader_options *o, FILE *problems, struct model **ret_model);

/* The same from len bytes of text; o->path only names it in the problems. */
int loader_load_text(const struct loader_options *o, const char *text, size_t len, FILE *problems,
		     struct model **ret_model);

/*
 * The same in a short-lived child, which hands the block over as a sealed memfd; mapped read-only
 * here.  Problems go to stderr.  0, -EINVAL (bad configuration) or -errno.
 */
int loader_load_isolated(const struct loader_options *o, const struct model **ret_model);

/*
 * The two halves of that: write a model into an empty memfd (MFD_ALLOW_SEALING) and seal it; map
 * one read-only.  0, -EPROTO (not a sealed, whole block) or -errno.
 */
int loader_seal(const struct model *m, int fd);
int loader_take(int fd, const struct model **ret_model);

/* Row of the node that has one of this machine's addresses, or MODEL_NONE. */
int loader_find_self(const struct model *m);

/*
 * Print the budget of each service (core/budget.h): each inequality with its numbers, the tier
 * reached, and which key to change where one fails.  Returns the number of warnings.
 */
int loader_print_budget(const struct model *m, FILE *out);

/*
 * What the file cannot tell: commands and directories of this host that are missing or out of
 * their user's reach, interfaces that are not there, no cgroup v2, no default gateway to ask.
 * Warnings only, since a binary may be on a mount that comes later.  Forks a child for each
 * program; for --check-config.  Returns the number of warnings.
 */
int loader_warn_host(const struct model *m, FILE *out);

#endif
