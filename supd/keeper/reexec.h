/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_REEXEC_H
#define SUPD_KEEPER_REEXEC_H

#include <limits.h>
#include <stddef.h>

#include "supd/ipc/msg.h"

struct keeper;

/*
 * Upgrade in place: the keeper goes on as a new image of the binary that stands at its path now.
 * Same pid, so the programs keep their parent, their pids, pipes and exit statuses; net, scribe and
 * engine are started anew, as after a crash.  The guards go on as they are: they reap, and die.
 *
 *   PREPARING  the new binary, as a child, says whether it understands what it will be left, reads
 *              the configuration (which must be the one in force: a change of it is a reload), and
 *              leaves its model.  Whatever is wrong with it is found here, and nothing has changed.
 *   WAITING    no start, hook or new guard is under way, and no deadline is near.  Bounded.
 *   the rest   in one go: engine dead and heard, execve; meanwhile the deputy (deputy.h) keeps the
 *              deadlines.  Where that fails the roles come back.
 */

#define IMAGE_ARGS_MAX 12

/* What to execute: this binary's path, and how it was started, with absolute paths and the node's
 * name in it. */
struct image {
	char path[PATH_MAX];
	const char *argv[IMAGE_ARGS_MAX];
	size_t argc; /* 0: not known, it cannot be replaced */
};

/* REEXEC of the engine: answered by REEXEC_FAILED, or by the new image. */
void reexec_begin(struct keeper *k, const struct ipc_reexec *order);

/* From the tick: time-outs, and whether it is quiet now. */
void reexec_poll(struct keeper *k);

/* supd ends: give it up. */
void reexec_cancel(struct keeper *k);

#endif
