/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_DRAFT_READ_H
#define SUPD_CONFIG_DRAFT_READ_H

#include "supd/config/draft.h"

/*
 * The steps from a file to a whole draft.  What is wrong goes to d->problems, and the step goes on
 * to find more; a negative result is a failure of this machine (-ENOMEM, -EIO), not of the file.
 */

/* Sections and keys, one by one, and the defaults of those that are not there. */
int draft_read_file(struct draft *d, const char *path);
int draft_read_text(struct draft *d, const char *text, size_t len);

/* What refers to something else: directories and logs, services of programs, users, this node. */
int draft_resolve(struct draft *d, const char *node, const char *prefix);
/* The part of it that asks the user database. */
int draft_resolve_users(struct draft *d);
/* The lines of environment_file, where there is one. */
int draft_read_environment_file(struct draft *d, struct draft_program *p);

/* What must hold between keys and between sections. */
void draft_validate(struct draft *d);
/* Likewise, of what the adverts need. */
void draft_validate_vrrp(struct draft *d);
/* The part of it that is about `requires`. */
void draft_validate_requires(struct draft *d);

/* The secret of the peer link into d->supd.m.key. */
void draft_read_key(struct draft *d);

#endif
