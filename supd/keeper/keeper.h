/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_KEEPER_H
#define SUPD_KEEPER_KEEPER_H

#include "supd/keeper/reexec.h"
#include "supd/keeper/title.h"

struct model;

/*
 * The keeper: root, parent of everything; spawns, signals and kills trees, and decides nothing.
 * Its only input is the engine.  It never blocks, and is back in its loop within 5 ms.
 *
 *   - locks run_dir/supd.pid, kills every tree a former supd left under this node's cgroup and
 *     sees it gone, binds run_dir/supd.sock, makes the log pipe;
 *   - forks (without exec) net, scribe, engine; starts each anew when it dies, hands the others
 *     their new channel; kills and replaces an engine that has been silent for engine_timeout;
 *   - one guard a service (pid_namespace = yes), made in advance;
 *   - carries out orders (ipc/msg.h), and enforces kill deadlines by a CLOCK_BOOTTIME timerfd.
 */
struct keeper_args {
	const struct model *m;
	/*
	 * Gets one byte, 0, and is closed when the engine is up (the waiting parent of a daemon, for
	 * whom also stdout and stderr are then left); -1: none.
	 */
	int ready_fd;
	int lock_fd; /* > 0: of keeper_lock(), done already; 0: keeper_run() does it */
	int adopt_fd; /* > 0: of handover.h: go on where the image before this one was replaced */
	struct image image; /* how to start the next one; all zero: it cannot be */
	struct title title; /* the memory of the command line; all zero: none */
};

/*
 * Makes the directories and locks run_dir/supd.pid: from here on no second supd starts.  0 or
 * -errno, with the reason logged.  The lock is this process's, and ends with it.
 */
int keeper_lock(const struct model *m, int *ret_fd);
void keeper_unlock(const struct model *m, int *fd);

/* Returns the exit status of supd. */
int keeper_run(const struct keeper_args *args);

#endif
