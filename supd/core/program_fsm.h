/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PROGRAM_FSM_H
#define SUPD_CORE_PROGRAM_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"
#include "supd/core/restart_policy.h"

/*
 * One supervised program: what is wanted against what runs.
 *
 *   stopped --START--> starting --SPAWNED--> running --EXITED--> (tree killed, GONE) --> backoff
 *      ^                  |  ^                  |                                         |
 *      |                  |  +------------------|-----------------------------------------+ due, allowed
 *      +--GONE-- stopping <-------STOP----------+        exited: ended and not restarted
 *                                                        fatal: given up by its service
 *
 * starting is pre_start, the start order, and the time until it is ready; post_stop comes when the
 * tree is gone, before anything else does.  A program that does not get ready in its time, or is
 * unhealthy, is stopped, and that is a death.
 *
 * A new run is never started before the old tree is GONE.  STOP interrupts every state.
 * An action is a request; its result comes back as an event.
 */
#define PROGRAM_STATES(X)                                                                          \
	X(STOPPED, "stopped") X(STARTING, "starting") X(RUNNING, "running")                        \
	X(BACKOFF, "backoff") X(STOPPING, "stopping") X(EXITED, "exited") X(FATAL, "fatal")

enum program_state {
#define X(name, text) PROGRAM_STATE_##name,
	PROGRAM_STATES(X)
#undef X
};
const char *program_state_name(enum program_state s);

/* Why a run ended, or is being ended. */
#define PROGRAM_ENDS(X)                                                                            \
	X(NONE, "none") X(ASKED, "asked") X(DIED, "died") X(NOT_READY, "not_ready")                \
	X(UNHEALTHY, "unhealthy") X(WATCHDOG, "watchdog") X(DEADLINE, "deadline")

enum program_end {
#define X(name, text) PROGRAM_END_##name,
	PROGRAM_ENDS(X)
#undef X
};
const char *program_end_name(enum program_end e);

enum program_hook { PROGRAM_HOOK_NONE, PROGRAM_HOOK_PRE_START, PROGRAM_HOOK_POST_STOP };

enum program_restart { PROGRAM_RESTART_ALWAYS, PROGRAM_RESTART_UNEXPECTED, PROGRAM_RESTART_NEVER };

struct program_config {
	enum program_restart autorestart;
	uint8_t exitcodes[32]; /* expected codes, a bit each */
	int stopsignal;
	mtime startsecs, stopwaitsecs, restart_delay_max;
	mtime kill_wait;      /* after a kill: GONE is expected within this, else an alarm */
	unsigned restart_limit; /* 0: none (a program without a service) */
	mtime restart_window;
	bool gated; /* of a service: a restart waits for ALLOW */
	bool has_pre_start, has_post_stop;
	mtime ready_timeout; /* from SPAWNED to READY; 0: ready at exec */
	bool ready_at_main;  /* forking: ready as soon as its daemon is known */
};

struct program_exit {
	int code; /* -1: none, or killed by signo */
	int signo;
};

struct program_fsm {
	struct program_config config;
	enum program_state state;
	bool wanted;
	bool allowed;	     /* gated: a start may be ordered */
	bool tree_alive;     /* a run's tree is not yet gone */
	bool main_alive;     /* its main process */
	bool ordered;	     /* a start was ordered and neither SPAWNED nor failed yet */
	bool killed;	     /* KILL was emitted for the present run */
	bool kill_asked;     /* stopping, not yet spawned: kill it as soon as it is */
	bool giving_up;	     /* stopping: ends as fatal */
	bool gone_early;     /* GONE came before EXITED (a zombie does not populate a cgroup) */
	bool due;	     /* backoff: due, and ALLOW was asked for */
	bool unkillable;     /* killed, and not gone within kill_wait */
	bool ready;
	enum program_hook hook; /* ordered, and not done */
	bool hook_killed;	/* and ordered to be killed */
	bool post_owed;		/* a start was tried: post_stop follows its end */
	enum program_end failing; /* stopping: the end that is to come counts as a death */
	mtime failed_after;	  /* of ready time */
	uint32_t run;	     /* of the keeper */
	int pid;
	mtime started_at;    /* of the present run, at SPAWNED */
	mtime ready_at;
	mtime ready_by;	     /* starting, its main process alive */
	mtime next_start;    /* backoff: MTIME_NEVER unless waiting for it */
	mtime stop_at;	     /* stopping: when the kill is due, then when the alarm is due */
	struct restart_policy policy;
	struct program_exit last_exit;
	enum program_end last_end;
	bool has_exited;
	unsigned last_stage; /* of the last failed spawn; UINT_MAX: none */
	int last_errno;
};

enum program_event_type {
	PROGRAM_EV_TICK,
	PROGRAM_EV_START,	 /* wanted from now on */
	PROGRAM_EV_START_PERSON, /* the same by a person: clears counter and delay */
	PROGRAM_EV_STOP,	 /* not wanted; stop signal, time-out, kill */
	PROGRAM_EV_KILL,	 /* not wanted; kill at once */
	PROGRAM_EV_RESTART,	 /* stop, then start (a person) */
	PROGRAM_EV_GIVE_UP,	 /* not wanted; ends as fatal */
	PROGRAM_EV_ALLOW,	 /* gated: the next start may be ordered */
	PROGRAM_EV_SPAWNED,	 /* run, pid, started_at (0: now) */
	PROGRAM_EV_SPAWN_FAILED, /* stage, error */
	PROGRAM_EV_EXITED,	 /* run, exit */
	PROGRAM_EV_GONE,	 /* run */
	PROGRAM_EV_ADOPT, /* a new engine found it: run, pid (0: only the tree), started_at, ready */
	PROGRAM_EV_READY,     /* run: it says so, or a probe does */
	PROGRAM_EV_UNHEALTHY, /* run, end: UNHEALTHY or WATCHDOG */
	PROGRAM_EV_EXTEND,    /* run, extend: it asks for this time to get ready in */
	PROGRAM_EV_MAIN,      /* run, pid: its main process is another one from now on */
	PROGRAM_EV_HOOK_DONE, /* hook, ok; error: errno where it says more */
};

struct program_event {
	enum program_event_type type;
	uint32_t run;
	int pid;
	struct program_exit exit;
	unsigned stage;
	int error;
	mtime started_at;
	mtime extend;
	enum program_end end; /* EXITED: DEADLINE, or NONE */
	enum program_hook hook;
	bool ok;
	bool ready;
};

enum program_action_type {
	PROGRAM_ACT_SPAWN,
	PROGRAM_ACT_SIGNAL,	/* run, signo */
	PROGRAM_ACT_KILL,	/* run: the whole tree */
	PROGRAM_ACT_STATE,	/* state has changed: from */
	PROGRAM_ACT_READY,
	PROGRAM_ACT_DIED,	/* a death that counts; the next start is due at next_start */
	PROGRAM_ACT_LIMIT,	/* after DIED: the limit is reached */
	PROGRAM_ACT_WANTS_ALLOW, /* gated: a start is due, and waits for ALLOW */
	PROGRAM_ACT_ENDED,	/* stopped, exited or fatal now, its tree gone */
	PROGRAM_ACT_UNKILLABLE, /* alarm: killed, and not gone within kill_wait */
	PROGRAM_ACT_HOOK,	/* run hook: HOOK_DONE comes in any case */
	PROGRAM_ACT_HOOK_KILL,	/* the one that runs */
	PROGRAM_ACT_FAILED,	/* stopped for not being ready or healthy: failing */
};

struct program_action {
	enum program_action_type type;
	uint32_t run;
	int signo;
	enum program_state from;
	enum program_hook hook;
};

#define PROGRAM_ACTIONS_MAX 12
struct program_actions {
	unsigned n;
	struct program_action a[PROGRAM_ACTIONS_MAX];
};

void program_init(struct program_fsm *p, const struct program_config *config);
void program_step(struct program_fsm *p, const struct program_event *ev, mtime now,
		  struct program_actions *out);
mtime program_deadline(const struct program_fsm *p);
/* Nothing of it is alive, and no start order is under way. */
bool program_gone(const struct program_fsm *p);
/* Gated: its next start is due now but for ALLOW. */
bool program_wants_allow(const struct program_fsm *p, mtime now);
bool program_check(const struct program_fsm *p);

#endif
