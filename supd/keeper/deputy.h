/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_DEPUTY_H
#define SUPD_KEEPER_DEPUTY_H

#include <sys/types.h>

struct keeper;

/*
 * While one image of the keeper executes the next (reexec.h) there is no engine, no timer and
 * nobody who is awake: a child keeps the kill deadlines meanwhile, through the descriptors of
 * cgroup.kill that it holds.  It kills a service's programs at their deadline, and all programs when
 * the keeper dies; it does nothing else, and waits for its own end.
 */

/* The pid, or -errno. */
pid_t deputy_start(struct keeper *k);

/* The deadlines are kept by somebody else again.  Its death is reaped as an orphan's. */
void deputy_end(pid_t pid);

#endif
