/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_STATE_H
#define SUPD_KEEPER_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/mtime.h"
#include "supd/config/model.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"
#include "supd/ipc/msg_hook.h"
#include "supd/keeper/cgroup.h"
#include "supd/keeper/reexec.h"
#include "supd/keeper/title.h"

/*
 * What the keeper knows.  Everything that lives is a child of the keeper with a pidfd and a cgroup
 * leaf of its own:
 *
 *   role   net, scribe, engine; always wanted, started anew when it dies     roles.c
 *   guard  init of a service's PID namespace; always wanted                  guard.c
 *   run    one start of a program; wanted by the engine alone                run.c
 *   hook   one run of a command of the file; the engine's, and no other      hook.c
 *
 * A service groups guard and runs: one cgroup, one kill deadline, one term below which nothing
 * starts (service.c).
 */

struct keeper;
struct program;

/* The first two are enum ipc_role. */
enum role_id { ROLE_NET, ROLE_SCRIBE, ROLE_ENGINE, ROLES_END };

struct role {
	struct keeper *k;
	enum role_id id;
	pid_t pid; /* 0: not running */
	int pidfd;
	struct channel channel;
	struct cgroup_leaf leaf;
	ev_io death, reader, writer;
	ev_timer again;
	mtime started, delay;
	bool replaced; /* killed by the image before this one */
};

struct guard {
	struct guard *next; /* of the keeper's list of all, also the retired */
	struct keeper *k;
	uint32_t service;
	pid_t pid;
	int pidfd, pid_ns, mnt_ns;
	int sync_fd; /* our end while it is being made; -1 */
	bool ready;
	bool used;    /* something was cloned into it */
	bool retired; /* killed by us, not yet reaped */
	struct cgroup_leaf leaf;
	ev_io death, sync;
	mtime started;
};

enum hook_state {
	HOOK_WAITS, /* for a guard */
	HOOK_RUNS,  /* cloned; not reaped */
	HOOK_ENDED, /* reaped; what it left behind is killed, and not gone */
};

/* A command of the file on its way (hook.c). */
struct hook {
	struct hook *next; /* of the keeper's list of all */
	struct keeper *k;
	struct ipc_hook order;
	enum hook_state state;
	bool answered;
	bool killed; /* by an order, or with its service */
	bool failed; /* it did not get to exec */
	pid_t pid;
	int pidfd;
	int exec_fd; /* as of a run */
	void *block;
	size_t block_size;
	int32_t code, signo; /* where HOOK_ENDED */
	struct cgroup_leaf leaf;
	ev_io death, exec;
	ev_timer timeout;
};

struct service {
	struct keeper *k;
	uint32_t row;
	int dir_fd, kill_fd; /* of its cgroup; -1 */
	bool namespaced;     /* pid_namespace = yes */
	struct guard *guard; /* the one to clone into; NULL: none (yet) */
	unsigned guard_n;
	ev_timer guard_again;
	mtime guard_delay;
	uint64_t term_started;	/* highest term of an accepted START */
	uint64_t term_quiesced; /* no START up to this one */
	mtime kill_at;
};

/* The two pipes of one output (ipc/msg.h, STREAM). */
struct stream {
	int program[2], stage[2]; /* read end, write end; -1: not made yet */
};

enum run_state {
	RUN_NONE,
	RUN_STARTING, /* cloned; the exec pipe has not said anything yet */
	RUN_FAILED,   /* did not get to exec; not yet reaped */
	RUN_UP,
	RUN_SEEKING, /* forking: the launcher has ended well, the daemon is looked for (daemon.c) */
	RUN_ENDED, /* the main process is reaped; its tree is not gone */
};

struct run {
	enum run_state state;
	uint32_t number;
	uint64_t order, term;
	bool announced; /* the engine knows its number */
	bool ready;	/* NOTE */
	bool daemon;	/* its main process is not the one that was started */
	bool killed_by_deadline;
	bool killed; /* by cgroup.kill: no instruction of its tree follows */
	pid_t pid;
	int pidfd;
	int exec_fd;	  /* read end: what failed before execve, or EOF; -1 */
	void *block;	  /* the child's stack and arguments, until EOF */
	size_t block_size;
	uint32_t stage;
	int32_t error; /* where RUN_FAILED */
	bool told;     /* and the engine knows it */
	mtime started, exec_by;
	int scout_fd, scout_pidfd; /* -1 */
	struct cgroup_leaf leaf;
	ev_io death, exec, scout;
};

struct program {
	struct keeper *k;
	uint32_t row;
	int service;		  /* row, or MODEL_NONE */
	struct cgroup_leaf next;  /* of the next start, made in advance */
	struct cgroup_leaf old;	  /* of the last run, empty, to be removed when there is time */
	unsigned leaf_n;
	uint32_t runs;		  /* number of the newest run */
	bool pending;		  /* accepted; waits for a guard */
	struct ipc_start start;	  /* the pending one */
	struct stream out[2];
	bool post_owed; /* the newest run's post_stop has not been run */
	int notify_fd;	/* what it may say of itself (notify_socket.c); -1 */
	struct run run;
};

enum reexec_phase { REEXEC_NOT, REEXEC_PREPARING, REEXEC_WAITING };

/* A replacement of this image that is under way (reexec.h). */
struct reexec {
	enum reexec_phase phase;
	uint64_t order;
	pid_t pid; /* of the child that prepares; 0 */
	pid_t deputy; /* deputy.h */
	int pidfd, model_fd, problems_fd;
	struct cgroup_leaf leaf;
	ev_io death;
	mtime since; /* of the phase */
};

struct baton {
	uint32_t len; /* 0: none */
	uint8_t data[IPC_BATON_MAX];
};

/* What supd was started with; programs get it back. */
struct inherited {
	int nice;
	int oom_score_adj;
	bool oom_changed;
	struct rlimit nofile;
	uint64_t ignored; /* signals, as the kernel has them in a set: what exec would not reset */
};

/* From DONE to the end: each phase waits for its own, for a bounded time. */
enum ending { ENDING_NOT, ENDING_TREES, ENDING_ENGINE, ENDING_NET, ENDING_SCRIBE };

struct keeper {
	const struct model *m;
	struct title title;
	const struct image *image; /* how the next one is started */
	uint32_t image_n; /* 0, and one more with each replacement in place */
	struct reexec reexec;
	int ready_fd;
	struct ev_loop *loop;
	mtime started;
	struct inherited inherited;

	int self_pidfd, self_pid_ns, null_fd;
	int lock_fd, state_lock_fd, control_fd;
	int log_pipe[2];
	int signal_fd;
	ev_io signal;

	/* cgroups: see cgroup_tree.c; all -1 without cgroup v2 */
	bool has_cgroup, has_cgroup_kill;
	struct cgroup_place place;
	int base_fd, tree_fd, programs_fd, node_fd, hooks_fd;
	unsigned hook_n;
	char tree_name[CGROUP_NAME_MAX * 2 + 32];
	char programs_path[CGROUP_PATH_MAX];
	int programs_kill_fd, programs_events_fd;
	struct cgroup_leaf self_leaf;
	char programs_name[CGROUP_NAME_MAX];
	unsigned role_leaf_n;
	int inotify_fd;
	ev_io inotify;

	struct role roles[ROLES_END];
	struct service *services; /* rows of the model */
	struct guard *guards;
	struct hook *hooks;
	struct program *programs;
	struct baton *batons; /* services, then the node's own */
	bool namespace_lost; /* the own PID namespace must be entered again before any fork */

	uint32_t generation; /* of the newest engine */
	mtime fed_at;	     /* newest FEED, or the engine's start */
	bool fed;	     /* the present engine has fed us */
	unsigned hasty;	     /* engines in a row that were silent soon after their start */
	bool ready;	     /* told to whoever waits for us */
	ev_timer tick;
	mtime tick_at; /* when the next tick is due */
	int deadline_fd;
	ev_io deadline;
	ev_timer refill;

	bool shutdown;		/* SIGTERM came */
	bool done;		/* the engine has released everything */
	unsigned engine_deaths; /* since then */
	enum ending ending;
	mtime ending_since; /* of the phase */
	int status;

	union {
		struct ipc_header header;
		struct ipc_start start; /* for the alignment: 64-bit fields */
		uint8_t bytes[CHANNEL_MSG_MAX];
	} message; /* being read */
};

#endif
