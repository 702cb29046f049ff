/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_GUARD_H
#define SUPD_KEEPER_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

struct guard;
struct keeper;
struct service;

/*
 * The guard: init of a service's PID and mount namespace.  Made in advance, again after each end.
 */

/* Make one unless there is one, or a wait for the next try is on. */
void guard_want(struct keeper *k, struct service *s);

/* A guard of an image before this one, which goes on; the descriptors are taken over.  0 or -errno. */
struct guard_left {
	pid_t pid;
	const char *leaf; /* NULL: without cgroup v2 */
	int pid_ns, mnt_ns;
	bool used;
};
int guard_adopt(struct keeper *k, struct service *s, const struct guard_left *left);
/* Whether one is being made, or is on its way out. */
bool guard_any_changing(const struct keeper *k);

/* The guard to clone into; NULL: not ready (yet). */
struct guard *guard_ready(const struct service *s);

/*
 * Whether a guard is on its way out: nothing can be cloned into its namespace any more (ENOMEM,
 * which may also mean what it says), but its pidfd waits until every member is reaped.
 */
bool guard_is_dying(const struct guard *g);

/* Replace those that do not get ready, and watch again what could not be reaped. */
void guard_poll(struct keeper *k);

/*
 * Whether processes live in its namespace that are children of the guard by now: what a dead main
 * process has left.
 */
bool guard_has_strays(const struct guard *g);

/* Whether one that was killed is still at it: its members are dead when it is. */
bool guard_is_ending(const struct keeper *k, const struct service *s);

/* Kill the present one (everything in its namespace dies with it). */
void guard_retire(struct keeper *k, struct service *s);

#endif
