/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_KEEPER_H
#define SUPD_KEEPER_KEEPER_H

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
	int ready_fd; /* closed when the engine is up (the waiting parent of a daemon); -1: none */
};

/* Returns the exit status of supd. */
int keeper_run(const struct keeper_args *args);

#endif
