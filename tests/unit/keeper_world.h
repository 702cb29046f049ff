/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_KEEPER_WORLD_H
#define SUPD_TESTS_KEEPER_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/mtime.h"
#include "supd/config/model.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"

/*
 * A real keeper in a child process, with real guards, cgroups and programs.  net and scribe are
 * stand-ins that wait for their end; the engine is a relay: it feeds the keeper by itself and
 * passes everything else between the keeper and the test, which is the engine's mind.
 */
struct world {
	char dir[64];
	struct model *m;
	pid_t keeper;
	int listen_fd;
	int relay_fd; /* of the present engine; -1 */
	pid_t engine;
	uint32_t generation;
	char tree[512]; /* cgroup of all programs, from WELCOME; "" before */
	size_t welcome_fds;
	uint64_t order;
	struct world_message *first; /* came and was not asked for yet */
};

/* Whether this machine can run it: else the test is skipped. */
bool world_is_possible(void);

/* Start a keeper with these [service] and [program] sections, and take its engine's READY. */
void world_start(struct world *w, const char *sections);
/* The same keeper's next engine: wait for it, and take all until READY. */
void world_take_engine(struct world *w);
/* keeper_run() in the calling process. */
int world_run_keeper(const struct world *w);
/* kill -9, and reaped. */
void world_kill_keeper(struct world *w);
/* SIGTERM, DONE, exit 0, and nothing left. */
void world_stop(struct world *w);
/* After the keeper's death: clean up. */
void world_bury(struct world *w);
/* Kill whatever a test has left, and clean up; nothing to do after world_stop(). */
void world_abandon(struct world *w);

/* Send as the engine; the generation is put in where it is 0. */
void world_send(struct world *w, const void *msg, size_t len);
/* Tell the relay to stop feeding. */
void world_stop_feeding(struct world *w);

/* The next message of a type, others are kept.  Fails the test when none comes. */
void world_expect(struct world *w, enum ipc_type type, void *ret, size_t size);
/* Whether one has come by now. */
bool world_has(struct world *w, enum ipc_type type);
/* Drop what came and was not asked for. */
void world_forget(struct world *w);
/* What was sent before is in the keeper's socket when this returns, also while the keeper stands. */
void world_pass_on(struct world *w);
/* A round trip: what was sent before is with the keeper when this returns. */
void world_sync(struct world *w);

/* START with a term; returns the order. */
uint64_t world_order_start(struct world *w, const char *program, uint64_t term, mtime valid_for,
			   mtime kill_in);
/* START, and SPAWNED. */
struct ipc_spawned world_spawn(struct world *w, const char *program, uint64_t term);
void world_order_kill(struct world *w, const struct ipc_spawned *s);
void world_order_quiesce(struct world *w, const char *service, uint64_t term);

/* Processes in a cgroup below the programs' tree ("": all), zombies not counted. */
unsigned world_count(const struct world *w, const char *below, pid_t *ret_pids, unsigned max);
/* Wait until there are that many. */
void world_await_count(const struct world *w, const char *below, unsigned n);
/* Whole content of a file in the world's directory, once it has `until` in it. */
void world_await_file(const struct world *w, const char *name, const char *until, char *ret,
		      size_t size);
/* Wait until a process is gone (reaped, or never ours). */
void world_await_death(pid_t pid);
unsigned world_keeper_fds(const struct world *w);
/* How long the keeper has waited for a CPU since it began: no lateness of its own. */
mtime world_keeper_waited(const struct world *w);
/* Fail the test if the keeper uses more than a tenth of a CPU: look for a while. */
void world_check_keeper_sleeps(const struct world *w);
/* Write a file of a cgroup below the programs' tree. */
void world_write_cgroup(const struct world *w, const char *file, const char *text);

#endif
