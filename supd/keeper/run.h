/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_RUN_H
#define SUPD_KEEPER_RUN_H

#include <stdint.h>

#include "supd/ipc/msg.h"

struct keeper;
struct program;

/* The runs of programs, from the order to GONE.  Everything is told to the engine from here. */

/* Make the watch of the cgroups. */
int run_open(struct keeper *k);

/* A START, its rows already looked at. */
void run_start(struct keeper *k, const struct ipc_start *s);
/* The guard of a service is ready. */
void run_start_pending(struct keeper *k, uint32_t service);
/* Answer a START that waits for its guard, if there is one. */
void run_refuse_pending(struct keeper *k, struct program *p, enum ipc_stage stage, int error);

/*
 * A run of an image before this one, which goes on: p->run is filled in but for its watches, and
 * `leaf` names its cgroup (NULL: none).  0 or -errno.
 */
int run_adopt(struct keeper *k, struct program *p, const char *leaf);
/* The first program with a run that is neither up nor over, or a start that waits; NULL: none. */
const struct program *run_any_changing(const struct keeper *k);

void run_signal(struct keeper *k, struct program *p, int signo);
/* Kill the tree: dead when this returns (without cgroup v2: the process group is). */
void run_kill(struct keeper *k, struct program *p);

/* Tell a new engine what lives. */
void run_tell_all(struct keeper *k);

/* Look at what may have become empty without an event. */
void run_poll(struct keeper *k);

/* Give up the leaf of the next start: its service was killed, and the leaf with it. */
void run_drop_next(struct keeper *k, struct program *p);

/* Make leaves in advance, a few at a time, once the loop has nothing better to do. */
void run_refill(struct keeper *k);
/* The same at once: nothing runs yet. */
void run_refill_now(struct keeper *k);

#endif
