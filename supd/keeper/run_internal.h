/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_RUN_INTERNAL_H
#define SUPD_KEEPER_RUN_INTERNAL_H

#include "supd/keeper/state.h"

/* What the files of run.h share. */

/* NULL: a program of the node's own. */
struct service *run_service(struct keeper *k, const struct program *p);

/* run.c */
void run_tell_failed(struct keeper *k, const struct program *p, uint64_t order, uint32_t stage,
		     int error);
void run_watch(struct keeper *k, struct program *p);
void run_check_gone(struct keeper *k, struct program *p);

/* daemon.c: its main process is this one (takes over pidfd), or is not to be had. */
void run_found(struct keeper *k, struct program *p, pid_t pid, int pidfd);
void run_not_found(struct keeper *k, struct program *p);

/* run_start.c */
void run_check_pending(struct keeper *k, struct program *p);

/* run_leaf.c */
/* That of the next start, unless it is there: 0 or -errno. */
int run_make_leaf(struct keeper *k, struct program *p);
/* Watch it for its end: where that cannot be had (fs.inotify limits), run_poll() finds the end. */
void run_watch_leaf(struct keeper *k, struct cgroup_leaf *l);
void run_drop_leaf(struct keeper *k, struct cgroup_leaf *l);
/* That of a run that is over: its removal takes longer than a start may wait. */
void run_retire_leaf(struct keeper *k, struct program *p);

#endif
