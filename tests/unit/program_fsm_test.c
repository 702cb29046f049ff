/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supd/core/program_fsm.h"

#define S(n)  MTIME_SEC(n)
#define MS(n) MTIME_MS(n)
#define T0    S(1000)
#define RUN   7 /* the run that the situations below have */

/* One program under test, with its clock and what it said last. */
struct rig {
	struct program_fsm p;
	struct program_actions out;
	mtime now;
	char said[128];
};

static struct program_config config(bool gated)
{
	return (struct program_config){
		.autorestart = PROGRAM_RESTART_ALWAYS,
		.exitcodes = { 1 }, /* 0 */
		.stopsignal = SIGTERM,
		.startsecs = S(1),
		.stopwaitsecs = S(10),
		.restart_delay_max = S(60),
		.kill_wait = S(5),
		.restart_limit = gated ? 3 : 0,
		.restart_window = S(60),
		.gated = gated,
	};
}

static const char *act_name(enum program_action_type t)
{
	switch (t) {
	case PROGRAM_ACT_SPAWN:
		return "spawn";
	case PROGRAM_ACT_SIGNAL:
		return "signal";
	case PROGRAM_ACT_KILL:
		return "kill";
	case PROGRAM_ACT_STATE:
		return "state";
	case PROGRAM_ACT_READY:
		return "ready";
	case PROGRAM_ACT_DIED:
		return "died";
	case PROGRAM_ACT_LIMIT:
		return "limit";
	case PROGRAM_ACT_WANTS_ALLOW:
		return "wants_allow";
	case PROGRAM_ACT_ENDED:
		return "ended";
	case PROGRAM_ACT_UNKILLABLE:
		return "unkillable";
	case PROGRAM_ACT_HOOK:
		return "hook";
	case PROGRAM_ACT_HOOK_KILL:
		return "hook_kill";
	case PROGRAM_ACT_FAILED:
		return "failed";
	}
	return "?";
}

/* Step, check the invariants, and put "state: action action" into r->said. */
static void give_event(struct rig *r, struct program_event ev)
{
	int n;

	program_step(&r->p, &ev, r->now, &r->out);
	n = snprintf(r->said, sizeof(r->said), "%s:", program_state_name(r->p.state));
	for (unsigned i = 0; i < r->out.n; i++)
		n += snprintf(r->said + n, sizeof(r->said) - (size_t)n, " %s",
			      act_name(r->out.a[i].type));
	if (!program_check(&r->p))
		fail_msg("invariant broken after event %d: %s", (int)ev.type, r->said);
}

static void give(struct rig *r, enum program_event_type type)
{
	struct program_event ev = { .type = type, .run = RUN, .pid = 4711, .exit = { .code = 1 } };

	if (type == PROGRAM_EV_SPAWN_FAILED) {
		ev.stage = 10;
		ev.error = 2;
	}
	if (type == PROGRAM_EV_UNHEALTHY)
		ev.end = PROGRAM_END_UNHEALTHY;
	ev.extend = S(5);
	ev.hook = r->p.hook;
	ev.ok = true;
	give_event(r, ev);
}

static void exits_with(struct rig *r, int code)
{
	give_event(r, (struct program_event){
			      .type = PROGRAM_EV_EXITED, .run = RUN, .exit = { .code = code } });
}

static void expect(struct rig *r, const char *said)
{
	assert_string_equal(r->said, said);
}

static void start_rig(struct rig *r, bool gated)
{
	struct program_config c = config(gated);

	memset(r, 0, sizeof(*r));
	r->now = T0;
	program_init(&r->p, &c);
	assert_true(program_check(&r->p));
}

static void run_rig(struct rig *r, bool gated)
{
	start_rig(r, gated);
	give(r, PROGRAM_EV_START);
	give(r, PROGRAM_EV_SPAWNED);
	r->now += S(2);
}

/* ---- every situation x every event ------------------------------------------------------------ */

enum situation {
	AT_STOPPED,
	AT_STARTING,
	AT_RUNNING,
	AT_RUNNING_GONE_EARLY, /* GONE came before EXITED */
	AT_BACKOFF,	       /* waiting for its delay, nothing alive */
	AT_BACKOFF_LEFTOVERS,  /* the killed tree is not gone yet */
	AT_BACKOFF_DUE,	       /* gated, due, waits for ALLOW */
	AT_STOPPING,	       /* signalled */
	AT_STOPPING_KILLED,
	AT_STOPPING_ORDERED, /* stopped before the result of the start order came */
	AT_RESTARTING,	     /* a person's RESTART: signalled, wanted */
	AT_EXITED,
	AT_EXITED_LEFTOVERS,
	AT_FATAL,
	AT_PRE_START,
	AT_STOPPING_PRE_START, /* stopped meanwhile: it is being killed */
	AT_NOT_READY,	       /* spawned, and says nothing yet */
	AT_POST_STOP,	       /* after a death; the next start is due when it is done */
	AT_STOPPING_POST_STOP,
	AT_EXITED_POST_STOP,
	AT_FAILING, /* stopped for being unhealthy */
	SITUATIONS_END
};

#define EVENTS_END (PROGRAM_EV_HOOK_DONE + 1)

/* A program with hooks and a probe. */
static void start_full_rig(struct rig *r)
{
	start_rig(r, false);
	r->p.config.has_pre_start = r->p.config.has_post_stop = true;
	r->p.config.ready_timeout = S(30);
}

static void run_full_rig(struct rig *r)
{
	start_full_rig(r);
	give(r, PROGRAM_EV_START);
	give(r, PROGRAM_EV_HOOK_DONE);
	give(r, PROGRAM_EV_SPAWNED);
	r->now += S(2);
	give(r, PROGRAM_EV_READY);
	r->now += S(2);
}

static void put_into_full(struct rig *r, enum situation s)
{
	if (s == AT_PRE_START || s == AT_STOPPING_PRE_START || s == AT_NOT_READY) {
		start_full_rig(r);
		give(r, PROGRAM_EV_START);
	} else {
		run_full_rig(r);
	}
	if (s == AT_STOPPING_PRE_START || s == AT_STOPPING_POST_STOP)
		give(r, PROGRAM_EV_STOP);
	if (s == AT_NOT_READY) {
		give(r, PROGRAM_EV_HOOK_DONE);
		give(r, PROGRAM_EV_SPAWNED);
	}
	if (s == AT_EXITED_POST_STOP)
		r->p.config.autorestart = PROGRAM_RESTART_NEVER;
	if (s == AT_POST_STOP || s == AT_STOPPING_POST_STOP || s == AT_EXITED_POST_STOP) {
		give(r, PROGRAM_EV_EXITED);
		give(r, PROGRAM_EV_GONE);
	}
	if (s == AT_FAILING)
		give(r, PROGRAM_EV_UNHEALTHY);
}

static void put_into(struct rig *r, enum situation s)
{
	if (s >= AT_PRE_START) {
		put_into_full(r, s);
		return;
	}
	if (s == AT_STOPPED || s == AT_STARTING || s == AT_STOPPING_ORDERED)
		start_rig(r, false);
	else
		run_rig(r, s == AT_BACKOFF_DUE);
	switch (s) {
	case AT_STOPPED:
	case AT_RUNNING:
	case AT_PRE_START:
	case AT_STOPPING_PRE_START:
	case AT_NOT_READY:
	case AT_POST_STOP:
	case AT_STOPPING_POST_STOP:
	case AT_EXITED_POST_STOP:
	case AT_FAILING:
	case SITUATIONS_END:
		break;
	case AT_STARTING:
		give(r, PROGRAM_EV_START);
		break;
	case AT_STOPPING_ORDERED:
		give(r, PROGRAM_EV_START);
		give(r, PROGRAM_EV_STOP);
		break;
	case AT_RUNNING_GONE_EARLY:
		give(r, PROGRAM_EV_GONE);
		break;
	case AT_BACKOFF:
		r->p.policy.counted = 1; /* the next is the second death: 1 s */
		give(r, PROGRAM_EV_EXITED);
		give(r, PROGRAM_EV_GONE);
		break;
	case AT_BACKOFF_LEFTOVERS:
	case AT_BACKOFF_DUE:
		give(r, PROGRAM_EV_EXITED);
		if (s == AT_BACKOFF_DUE)
			give(r, PROGRAM_EV_GONE);
		break;
	case AT_STOPPING:
		give(r, PROGRAM_EV_STOP);
		break;
	case AT_STOPPING_KILLED:
		give(r, PROGRAM_EV_KILL);
		break;
	case AT_RESTARTING:
		give(r, PROGRAM_EV_RESTART);
		break;
	case AT_EXITED:
	case AT_EXITED_LEFTOVERS:
		r->p.config.autorestart = PROGRAM_RESTART_NEVER;
		exits_with(r, 0);
		if (s == AT_EXITED)
			give(r, PROGRAM_EV_GONE);
		break;
	case AT_FATAL:
		give(r, PROGRAM_EV_GIVE_UP);
		give(r, PROGRAM_EV_EXITED);
		give(r, PROGRAM_EV_GONE);
		break;
	}
}

/* TICK is given at the machine's own deadline, or a year later where it has none. */
static const char *const expected[SITUATIONS_END][EVENTS_END] = {
	[AT_STOPPED] = {
		[PROGRAM_EV_TICK] = "stopped:",
		[PROGRAM_EV_START] = "starting: state spawn",
		[PROGRAM_EV_START_PERSON] = "starting: state spawn",
		[PROGRAM_EV_STOP] = "stopped:",
		[PROGRAM_EV_KILL] = "stopped:",
		[PROGRAM_EV_RESTART] = "starting: state spawn",
		[PROGRAM_EV_GIVE_UP] = "fatal: state ended",
		[PROGRAM_EV_ALLOW] = "stopped:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill", /* nobody ordered it */
		[PROGRAM_EV_SPAWN_FAILED] = "stopped:",
		[PROGRAM_EV_EXITED] = "stopped:",
		[PROGRAM_EV_GONE] = "stopped:",
		[PROGRAM_EV_ADOPT] = "running: state ready",
		[PROGRAM_EV_READY] = "stopped:",
		[PROGRAM_EV_UNHEALTHY] = "stopped:",
		[PROGRAM_EV_EXTEND] = "stopped:",
		[PROGRAM_EV_MAIN] = "stopped:",
		[PROGRAM_EV_HOOK_DONE] = "stopped:",
	},
	[AT_STARTING] = {
		[PROGRAM_EV_TICK] = "starting:",
		[PROGRAM_EV_START] = "starting:",
		[PROGRAM_EV_START_PERSON] = "starting:",
		[PROGRAM_EV_STOP] = "stopping: state",
		[PROGRAM_EV_KILL] = "stopping: state",
		[PROGRAM_EV_RESTART] = "starting:",
		[PROGRAM_EV_GIVE_UP] = "stopping: state",
		[PROGRAM_EV_ALLOW] = "starting:",
		[PROGRAM_EV_SPAWNED] = "running: state ready",
		[PROGRAM_EV_SPAWN_FAILED] = "backoff: state died",
		[PROGRAM_EV_EXITED] = "starting:",
		[PROGRAM_EV_GONE] = "starting:",
		[PROGRAM_EV_ADOPT] = "starting:",
		[PROGRAM_EV_READY] = "starting:",
		[PROGRAM_EV_UNHEALTHY] = "starting:",
		[PROGRAM_EV_EXTEND] = "starting:",
		[PROGRAM_EV_MAIN] = "starting:",
		[PROGRAM_EV_HOOK_DONE] = "starting:",
	},
	[AT_RUNNING] = {
		[PROGRAM_EV_TICK] = "running:",
		[PROGRAM_EV_START] = "running:",
		[PROGRAM_EV_START_PERSON] = "running:",
		[PROGRAM_EV_STOP] = "stopping: state signal",
		[PROGRAM_EV_KILL] = "stopping: state kill",
		[PROGRAM_EV_RESTART] = "stopping: state signal",
		[PROGRAM_EV_GIVE_UP] = "stopping: state signal",
		[PROGRAM_EV_ALLOW] = "running:",
		[PROGRAM_EV_SPAWNED] = "running:", /* said twice */
		[PROGRAM_EV_SPAWN_FAILED] = "running:",
		[PROGRAM_EV_EXITED] = "backoff: state died kill",
		[PROGRAM_EV_GONE] = "running:", /* EXITED follows */
		[PROGRAM_EV_ADOPT] = "running:",
		[PROGRAM_EV_READY] = "running:",
		[PROGRAM_EV_UNHEALTHY] = "stopping: state failed signal",
		[PROGRAM_EV_EXTEND] = "running:",
		[PROGRAM_EV_MAIN] = "running:",
		[PROGRAM_EV_HOOK_DONE] = "running:",
	},
	[AT_RUNNING_GONE_EARLY] = {
		[PROGRAM_EV_TICK] = "running:",
		[PROGRAM_EV_START] = "running:",
		[PROGRAM_EV_START_PERSON] = "running:",
		[PROGRAM_EV_STOP] = "stopping: state signal",
		[PROGRAM_EV_KILL] = "stopping: state kill",
		[PROGRAM_EV_RESTART] = "stopping: state signal",
		[PROGRAM_EV_GIVE_UP] = "stopping: state signal",
		[PROGRAM_EV_ALLOW] = "running:",
		[PROGRAM_EV_SPAWNED] = "running:",
		[PROGRAM_EV_SPAWN_FAILED] = "running:",
		[PROGRAM_EV_EXITED] = "starting: state died state spawn", /* first death: at once */
		[PROGRAM_EV_GONE] = "running:",
		[PROGRAM_EV_ADOPT] = "running:",
		[PROGRAM_EV_READY] = "running:",
		[PROGRAM_EV_UNHEALTHY] = "stopping: state failed signal",
		[PROGRAM_EV_EXTEND] = "running:",
		[PROGRAM_EV_MAIN] = "running:",
		[PROGRAM_EV_HOOK_DONE] = "running:",
	},
	[AT_BACKOFF] = {
		[PROGRAM_EV_TICK] = "starting: state spawn",
		[PROGRAM_EV_START] = "backoff:",
		[PROGRAM_EV_START_PERSON] = "starting: state spawn",
		[PROGRAM_EV_STOP] = "stopped: state ended",
		[PROGRAM_EV_KILL] = "stopped: state ended",
		[PROGRAM_EV_RESTART] = "starting: state spawn",
		[PROGRAM_EV_GIVE_UP] = "fatal: state ended",
		[PROGRAM_EV_ALLOW] = "backoff:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "backoff:",
		[PROGRAM_EV_EXITED] = "backoff:",
		[PROGRAM_EV_GONE] = "backoff:",
		[PROGRAM_EV_ADOPT] = "backoff:",
		[PROGRAM_EV_READY] = "backoff:",
		[PROGRAM_EV_UNHEALTHY] = "backoff:",
		[PROGRAM_EV_EXTEND] = "backoff:",
		[PROGRAM_EV_MAIN] = "backoff:",
		[PROGRAM_EV_HOOK_DONE] = "backoff:",
	},
	[AT_BACKOFF_LEFTOVERS] = {
		[PROGRAM_EV_TICK] = "backoff: unkillable",
		[PROGRAM_EV_START] = "backoff:",
		[PROGRAM_EV_START_PERSON] = "backoff:", /* never before it is gone */
		[PROGRAM_EV_STOP] = "stopping: state",
		[PROGRAM_EV_KILL] = "stopping: state",
		[PROGRAM_EV_RESTART] = "backoff:",
		[PROGRAM_EV_GIVE_UP] = "stopping: state",
		[PROGRAM_EV_ALLOW] = "backoff:",
		[PROGRAM_EV_SPAWNED] = "backoff:",
		[PROGRAM_EV_SPAWN_FAILED] = "backoff:",
		[PROGRAM_EV_EXITED] = "backoff:",
		[PROGRAM_EV_GONE] = "starting: state spawn",
		[PROGRAM_EV_ADOPT] = "backoff:",
		[PROGRAM_EV_READY] = "backoff:",
		[PROGRAM_EV_UNHEALTHY] = "backoff:",
		[PROGRAM_EV_EXTEND] = "backoff:",
		[PROGRAM_EV_MAIN] = "backoff:",
		[PROGRAM_EV_HOOK_DONE] = "backoff:",
	},
	[AT_BACKOFF_DUE] = {
		[PROGRAM_EV_TICK] = "backoff:",
		[PROGRAM_EV_START] = "backoff:",
		[PROGRAM_EV_START_PERSON] = "backoff:", /* a person does not replace the fence */
		[PROGRAM_EV_STOP] = "stopped: state ended",
		[PROGRAM_EV_KILL] = "stopped: state ended",
		[PROGRAM_EV_RESTART] = "backoff:",
		[PROGRAM_EV_GIVE_UP] = "fatal: state ended",
		[PROGRAM_EV_ALLOW] = "starting: state spawn",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "backoff:",
		[PROGRAM_EV_EXITED] = "backoff:",
		[PROGRAM_EV_GONE] = "backoff:",
		[PROGRAM_EV_ADOPT] = "backoff:",
		[PROGRAM_EV_READY] = "backoff:",
		[PROGRAM_EV_UNHEALTHY] = "backoff:",
		[PROGRAM_EV_EXTEND] = "backoff:",
		[PROGRAM_EV_MAIN] = "backoff:",
		[PROGRAM_EV_HOOK_DONE] = "backoff:",
	},
	[AT_STOPPING] = {
		[PROGRAM_EV_TICK] = "stopping: kill",
		[PROGRAM_EV_START] = "stopping:", /* starts again when gone */
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping: kill",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping:",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "stopping: kill", /* what main left behind */
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping:",
	},
	[AT_STOPPING_KILLED] = {
		[PROGRAM_EV_TICK] = "stopping: unkillable",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping:",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping:",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "stopping:",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping:",
	},
	[AT_STOPPING_ORDERED] = {
		[PROGRAM_EV_TICK] = "stopping:",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping:",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping: signal",
		[PROGRAM_EV_SPAWN_FAILED] = "stopped: state ended",
		[PROGRAM_EV_EXITED] = "stopping:",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping:",
	},
	[AT_RESTARTING] = {
		[PROGRAM_EV_TICK] = "stopping: kill",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping: kill",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping:",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "stopping: kill",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping:",
	},
	[AT_EXITED] = {
		[PROGRAM_EV_TICK] = "exited:",
		[PROGRAM_EV_START] = "exited:",
		[PROGRAM_EV_START_PERSON] = "starting: state spawn",
		[PROGRAM_EV_STOP] = "stopped: state ended",
		[PROGRAM_EV_KILL] = "stopped: state ended",
		[PROGRAM_EV_RESTART] = "starting: state spawn",
		[PROGRAM_EV_GIVE_UP] = "fatal: state ended",
		[PROGRAM_EV_ALLOW] = "exited:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "exited:",
		[PROGRAM_EV_EXITED] = "exited:",
		[PROGRAM_EV_GONE] = "exited:",
		[PROGRAM_EV_ADOPT] = "exited:",
		[PROGRAM_EV_READY] = "exited:",
		[PROGRAM_EV_UNHEALTHY] = "exited:",
		[PROGRAM_EV_EXTEND] = "exited:",
		[PROGRAM_EV_MAIN] = "exited:",
		[PROGRAM_EV_HOOK_DONE] = "exited:",
	},
	[AT_EXITED_LEFTOVERS] = {
		[PROGRAM_EV_TICK] = "exited: unkillable",
		[PROGRAM_EV_START] = "exited:",
		[PROGRAM_EV_START_PERSON] = "backoff: state", /* until it is gone */
		[PROGRAM_EV_STOP] = "stopping: state",
		[PROGRAM_EV_KILL] = "stopping: state",
		[PROGRAM_EV_RESTART] = "backoff: state",
		[PROGRAM_EV_GIVE_UP] = "stopping: state",
		[PROGRAM_EV_ALLOW] = "exited:",
		[PROGRAM_EV_SPAWNED] = "exited:",
		[PROGRAM_EV_SPAWN_FAILED] = "exited:",
		[PROGRAM_EV_EXITED] = "exited:",
		[PROGRAM_EV_GONE] = "exited: ended",
		[PROGRAM_EV_ADOPT] = "exited:",
		[PROGRAM_EV_READY] = "exited:",
		[PROGRAM_EV_UNHEALTHY] = "exited:",
		[PROGRAM_EV_EXTEND] = "exited:",
		[PROGRAM_EV_MAIN] = "exited:",
		[PROGRAM_EV_HOOK_DONE] = "exited:",
	},
	[AT_FATAL] = {
		[PROGRAM_EV_TICK] = "fatal:",
		[PROGRAM_EV_START] = "starting: state spawn",
		[PROGRAM_EV_START_PERSON] = "starting: state spawn",
		[PROGRAM_EV_STOP] = "stopped: state ended",
		[PROGRAM_EV_KILL] = "stopped: state ended",
		[PROGRAM_EV_RESTART] = "starting: state spawn",
		[PROGRAM_EV_GIVE_UP] = "fatal:",
		[PROGRAM_EV_ALLOW] = "fatal:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "fatal:",
		[PROGRAM_EV_EXITED] = "fatal:",
		[PROGRAM_EV_GONE] = "fatal:",
		[PROGRAM_EV_ADOPT] = "fatal:",
		[PROGRAM_EV_READY] = "fatal:",
		[PROGRAM_EV_UNHEALTHY] = "fatal:",
		[PROGRAM_EV_EXTEND] = "fatal:",
		[PROGRAM_EV_MAIN] = "fatal:",
		[PROGRAM_EV_HOOK_DONE] = "fatal:",
	},
	[AT_PRE_START] = {
		[PROGRAM_EV_TICK] = "starting:",
		[PROGRAM_EV_START] = "starting:",
		[PROGRAM_EV_START_PERSON] = "starting:",
		[PROGRAM_EV_STOP] = "stopping: state hook_kill",
		[PROGRAM_EV_KILL] = "stopping: state hook_kill",
		[PROGRAM_EV_RESTART] = "starting:",
		[PROGRAM_EV_GIVE_UP] = "stopping: state hook_kill",
		[PROGRAM_EV_ALLOW] = "starting:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "starting:",
		[PROGRAM_EV_EXITED] = "starting:",
		[PROGRAM_EV_GONE] = "starting:",
		[PROGRAM_EV_ADOPT] = "starting:",
		[PROGRAM_EV_READY] = "starting:",
		[PROGRAM_EV_UNHEALTHY] = "starting:",
		[PROGRAM_EV_EXTEND] = "starting:",
		[PROGRAM_EV_MAIN] = "starting:",
		[PROGRAM_EV_HOOK_DONE] = "starting: spawn",
	},
	[AT_STOPPING_PRE_START] = {
		[PROGRAM_EV_TICK] = "stopping:",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping:",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping: kill",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "stopping:",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping: hook",
	},
	[AT_NOT_READY] = {
		[PROGRAM_EV_TICK] = "stopping: state failed signal",
		[PROGRAM_EV_START] = "starting:",
		[PROGRAM_EV_START_PERSON] = "starting:",
		[PROGRAM_EV_STOP] = "stopping: state signal",
		[PROGRAM_EV_KILL] = "stopping: state kill",
		[PROGRAM_EV_RESTART] = "stopping: state signal",
		[PROGRAM_EV_GIVE_UP] = "stopping: state signal",
		[PROGRAM_EV_ALLOW] = "starting:",
		[PROGRAM_EV_SPAWNED] = "starting:",
		[PROGRAM_EV_SPAWN_FAILED] = "starting:",
		[PROGRAM_EV_EXITED] = "backoff: state died kill",
		[PROGRAM_EV_GONE] = "starting:",
		[PROGRAM_EV_ADOPT] = "starting:",
		[PROGRAM_EV_READY] = "running: state ready",
		[PROGRAM_EV_UNHEALTHY] = "starting:",
		[PROGRAM_EV_EXTEND] = "starting:",
		[PROGRAM_EV_MAIN] = "starting:",
		[PROGRAM_EV_HOOK_DONE] = "starting:",
	},
	[AT_POST_STOP] = {
		[PROGRAM_EV_TICK] = "backoff:",
		[PROGRAM_EV_START] = "backoff:",
		[PROGRAM_EV_START_PERSON] = "backoff:",
		[PROGRAM_EV_STOP] = "stopping: state",
		[PROGRAM_EV_KILL] = "stopping: state hook_kill",
		[PROGRAM_EV_RESTART] = "backoff:",
		[PROGRAM_EV_GIVE_UP] = "stopping: state",
		[PROGRAM_EV_ALLOW] = "backoff:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "backoff:",
		[PROGRAM_EV_EXITED] = "backoff:",
		[PROGRAM_EV_GONE] = "backoff:",
		[PROGRAM_EV_ADOPT] = "backoff:",
		[PROGRAM_EV_READY] = "backoff:",
		[PROGRAM_EV_UNHEALTHY] = "backoff:",
		[PROGRAM_EV_EXTEND] = "backoff:",
		[PROGRAM_EV_MAIN] = "backoff:",
		[PROGRAM_EV_HOOK_DONE] = "starting: state hook",
	},
	[AT_STOPPING_POST_STOP] = {
		[PROGRAM_EV_TICK] = "stopping:",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping: hook_kill",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping: kill",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "stopping:",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopped: state ended",
	},
	[AT_EXITED_POST_STOP] = {
		[PROGRAM_EV_TICK] = "exited:",
		[PROGRAM_EV_START] = "exited:",
		[PROGRAM_EV_START_PERSON] = "backoff: state",
		[PROGRAM_EV_STOP] = "stopping: state",
		[PROGRAM_EV_KILL] = "stopping: state hook_kill",
		[PROGRAM_EV_RESTART] = "backoff: state",
		[PROGRAM_EV_GIVE_UP] = "stopping: state",
		[PROGRAM_EV_ALLOW] = "exited:",
		[PROGRAM_EV_SPAWNED] = "stopping: state kill",
		[PROGRAM_EV_SPAWN_FAILED] = "exited:",
		[PROGRAM_EV_EXITED] = "exited:",
		[PROGRAM_EV_GONE] = "exited:",
		[PROGRAM_EV_ADOPT] = "exited:",
		[PROGRAM_EV_READY] = "exited:",
		[PROGRAM_EV_UNHEALTHY] = "exited:",
		[PROGRAM_EV_EXTEND] = "exited:",
		[PROGRAM_EV_MAIN] = "exited:",
		[PROGRAM_EV_HOOK_DONE] = "exited: ended",
	},
	[AT_FAILING] = {
		[PROGRAM_EV_TICK] = "stopping: kill",
		[PROGRAM_EV_START] = "stopping:",
		[PROGRAM_EV_START_PERSON] = "stopping:",
		[PROGRAM_EV_STOP] = "stopping:",
		[PROGRAM_EV_KILL] = "stopping: kill",
		[PROGRAM_EV_RESTART] = "stopping:",
		[PROGRAM_EV_GIVE_UP] = "stopping:",
		[PROGRAM_EV_ALLOW] = "stopping:",
		[PROGRAM_EV_SPAWNED] = "stopping:",
		[PROGRAM_EV_SPAWN_FAILED] = "stopping:",
		[PROGRAM_EV_EXITED] = "backoff: state died kill",
		[PROGRAM_EV_GONE] = "stopping:",
		[PROGRAM_EV_ADOPT] = "stopping:",
		[PROGRAM_EV_READY] = "stopping:",
		[PROGRAM_EV_UNHEALTHY] = "stopping:",
		[PROGRAM_EV_EXTEND] = "stopping:",
		[PROGRAM_EV_MAIN] = "stopping:",
		[PROGRAM_EV_HOOK_DONE] = "stopping:",
	},
};

static void every_state_and_event_pair_is_as_stated(void **state)
{
	for (int s = 0; s < SITUATIONS_END; s++) {
		for (int e = 0; e < EVENTS_END; e++) {
			struct rig r;

			if (expected[s][e] == NULL)
				fail_msg("situation %d, event %d is not stated", s, e);
			put_into(&r, (enum situation)s);
			if (e == PROGRAM_EV_TICK)
				r.now = mtime_min(program_deadline(&r.p), r.now + S(31536000));
			give(&r, (enum program_event_type)e);
			if (strcmp(r.said, expected[s][e]) != 0)
				fail_msg("situation %d, event %d: \"%s\", expected \"%s\"", s, e,
					 r.said, expected[s][e]);
		}
	}
}

static void reports_about_another_run_change_nothing(void **state)
{
	static const enum program_event_type reports[] = { PROGRAM_EV_EXITED, PROGRAM_EV_GONE };

	for (int s = 0; s < SITUATIONS_END; s++) {
		for (size_t i = 0; i < 2; i++) {
			struct rig r;
			struct program_fsm before;

			put_into(&r, (enum situation)s);
			before = r.p;
			give_event(&r, (struct program_event){ .type = reports[i], .run = RUN + 1 });
			assert_int_equal(r.out.n, 0);
			assert_memory_equal(&r.p, &before, sizeof(before));
		}
	}
}

static void nothing_is_due_before_the_deadline(void **state)
{
	for (int s = 0; s < SITUATIONS_END; s++) {
		struct rig r;
		mtime deadline;

		put_into(&r, (enum situation)s);
		deadline = program_deadline(&r.p);
		r.now = mtime_min(deadline, r.now + S(31536000)) - 1;
		give(&r, PROGRAM_EV_TICK);
		assert_int_equal(r.out.n, 0);
		assert_int_equal(program_deadline(&r.p), deadline);
	}
}

/* A tick at the deadline must move it, or the loop would spin. */
static void tick_at_the_deadline_moves_it(void **state)
{
	for (int s = 0; s < SITUATIONS_END; s++) {
		struct rig r;

		put_into(&r, (enum situation)s);
		if (program_deadline(&r.p) == MTIME_NEVER)
			continue;
		r.now = program_deadline(&r.p);
		give(&r, PROGRAM_EV_TICK);
		assert_true(program_deadline(&r.p) > r.now);
	}
}

/* ---- stories ------------------------------------------------------------------------------------ */

static void restart_after_a_death_waits_until_the_tree_is_gone(void **state)
{
	struct rig r;

	run_rig(&r, false);
	give(&r, PROGRAM_EV_EXITED);
	expect(&r, "backoff: state died kill");
	assert_int_equal(r.p.next_start, r.now);
	r.now += S(3);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "backoff:");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "starting: state spawn");
}

static void gated_restart_waits_for_allow(void **state)
{
	struct rig r;

	run_rig(&r, true);
	assert_false(program_wants_allow(&r.p, r.now));
	give(&r, PROGRAM_EV_EXITED);
	expect(&r, "backoff: state died kill");
	assert_false(program_wants_allow(&r.p, r.now)); /* its tree is alive */
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff: wants_allow");
	assert_true(program_wants_allow(&r.p, r.now));
	assert_int_equal(program_deadline(&r.p), MTIME_NEVER);
	r.now += S(5);
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "starting: state spawn");
	give(&r, PROGRAM_EV_SPAWN_FAILED);
	expect(&r, "backoff: state died"); /* the permission was used up */
	assert_false(r.p.allowed);
}

static void allow_before_the_delay_is_over_is_asked_for_again(void **state)
{
	struct rig r;

	run_rig(&r, true);
	r.p.policy.counted = 1;
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff:");
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "backoff:");
	assert_int_equal(program_deadline(&r.p), r.now + S(1));
	r.now += S(1);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "backoff: wants_allow"); /* the fence of a second ago is stale */
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "starting: state spawn");
}

static void allow_while_the_tree_is_dying_is_kept(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "backoff:");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "starting: state spawn");
}

static void allow_while_running_does_not_serve_a_later_restart(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_ALLOW);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff: wants_allow");
}

static void gated_restart_by_a_person_waits_for_allow_too(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_RESTART);
	expect(&r, "stopping: state signal");
	exits_with(&r, 0);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff: state wants_allow");
	assert_int_equal(r.p.policy.counted, 0); /* asked for: no death */
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "starting: state spawn");
}

static void gated_start_by_a_person_waits_for_allow_too(void **state)
{
	struct rig r;

	start_rig(&r, true);
	give(&r, PROGRAM_EV_START_PERSON); /* its service was granted its term long ago */
	expect(&r, "backoff: state wants_allow");
	assert_int_equal(r.p.policy.counted, 0);
	give(&r, PROGRAM_EV_ALLOW);
	expect(&r, "starting: state spawn");
	run_rig(&r, true);
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_START_PERSON);
	exits_with(&r, 0);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff: state wants_allow");
}

static void limit_follows_the_nth_death(void **state)
{
	struct rig r;

	start_rig(&r, true);
	give(&r, PROGRAM_EV_START);
	give(&r, PROGRAM_EV_SPAWN_FAILED);
	expect(&r, "backoff: state died");
	assert_int_equal(r.p.next_start, r.now + RESTART_DELAY_MIN);
	for (int i = 2; i <= 3; i++) {
		r.now = r.p.next_start;
		give(&r, PROGRAM_EV_TICK);
		expect(&r, "backoff: wants_allow");
		give(&r, PROGRAM_EV_ALLOW);
		give(&r, PROGRAM_EV_SPAWN_FAILED);
	}
	expect(&r, "backoff: state died limit");
	assert_int_equal(r.p.next_start, r.now + S(60));
	assert_int_equal(r.p.last_stage, 10);
	assert_int_equal(r.p.last_errno, 2);
}

static void given_up_program_ends_fatal_and_starts_afresh(void **state)
{
	struct rig r;

	run_rig(&r, true);
	r.p.policy.counted = 2;
	give(&r, PROGRAM_EV_EXITED);
	expect(&r, "backoff: state died limit kill");
	give(&r, PROGRAM_EV_GIVE_UP);
	expect(&r, "stopping: state");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "fatal: state ended");
	assert_false(r.p.wanted);
	give(&r, PROGRAM_EV_START);
	expect(&r, "starting: state spawn"); /* a new term: no ALLOW needed, count cleared */
	assert_int_equal(r.p.policy.counted, 0);
}

static void stop_signals_then_kills_then_complains(void **state)
{
	struct rig r;

	run_rig(&r, false);
	give(&r, PROGRAM_EV_STOP);
	assert_int_equal(r.out.a[1].signo, SIGTERM);
	assert_int_equal(r.out.a[1].run, RUN);
	assert_int_equal(program_deadline(&r.p), r.now + S(10));
	r.now += S(10);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "stopping: kill");
	assert_int_equal(program_deadline(&r.p), r.now + S(5));
	r.now += S(5);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "stopping: unkillable");
	assert_true(r.p.unkillable);
	assert_int_equal(program_deadline(&r.p), MTIME_NEVER);
	exits_with(&r, -1);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
	assert_false(r.p.unkillable);
}

static void asked_end_is_no_death(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_STOP);
	exits_with(&r, 143);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
	assert_int_equal(r.p.policy.total, 0);
	assert_int_equal(r.p.last_exit.code, 143);
}

static void start_during_stop_starts_once_it_is_gone(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_START);
	expect(&r, "stopping:");
	exits_with(&r, 0);
	expect(&r, "stopping: kill");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "starting: state spawn");
}

static void stop_takes_back_a_start_and_a_restart(void **state)
{
	struct rig r;

	run_rig(&r, false);
	give(&r, PROGRAM_EV_RESTART);
	give(&r, PROGRAM_EV_STOP);
	exits_with(&r, 0);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
}

static void kill_of_an_ordered_start_kills_what_comes_up(void **state)
{
	struct rig r;

	start_rig(&r, false);
	give(&r, PROGRAM_EV_START);
	give(&r, PROGRAM_EV_KILL);
	expect(&r, "stopping: state");
	assert_false(program_gone(&r.p));
	give(&r, PROGRAM_EV_SPAWNED);
	expect(&r, "stopping: kill");
}

static void give_up_of_an_ordered_start_ends_fatal(void **state)
{
	struct rig r;

	start_rig(&r, true);
	give(&r, PROGRAM_EV_START);
	give(&r, PROGRAM_EV_GIVE_UP);
	give(&r, PROGRAM_EV_SPAWN_FAILED);
	expect(&r, "fatal: state ended");
	assert_int_equal(r.p.policy.total, 0); /* nobody wanted it any more */
}

static void expected_exit_is_not_restarted(void **state)
{
	static const struct {
		enum program_restart restart;
		int code;
		const char *said, *why;
	} rows[] = {
		{ PROGRAM_RESTART_ALWAYS, 0, "backoff: state died kill", "always means always" },
		{ PROGRAM_RESTART_ALWAYS, 1, "backoff: state died kill", "always means always" },
		{ PROGRAM_RESTART_UNEXPECTED, 0, "exited: state kill", "0 is in exitcodes" },
		{ PROGRAM_RESTART_UNEXPECTED, 8, "backoff: state died kill", "8 is not: bit 0 of byte 1" },
		{ PROGRAM_RESTART_UNEXPECTED, 255, "backoff: state died kill", "the last code" },
		{ PROGRAM_RESTART_UNEXPECTED, -1, "backoff: state died kill", "killed by a signal" },
		{ PROGRAM_RESTART_UNEXPECTED, 256, "backoff: state died kill", "no such exit code" },
		{ PROGRAM_RESTART_NEVER, 1, "exited: state kill", "never means never" },
		{ PROGRAM_RESTART_NEVER, -1, "exited: state kill", "never means never" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		run_rig(&r, false);
		r.p.config.autorestart = rows[i].restart;
		exits_with(&r, rows[i].code);
		if (strcmp(r.said, rows[i].said) != 0)
			fail_msg("row %zu: \"%s\", but %s", i, r.said, rows[i].why);
	}
}

static void person_clears_counter_and_delay(void **state)
{
	struct rig r;

	run_rig(&r, false);
	r.p.policy.counted = 5;
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff:");
	give(&r, PROGRAM_EV_START_PERSON);
	expect(&r, "starting: state spawn");
	assert_int_equal(r.p.policy.counted, 0);
	assert_int_equal(r.p.policy.total, 1);
}

static void count_is_cleared_by_a_window_of_ready_time(void **state)
{
	struct rig r;

	run_rig(&r, false);
	assert_int_equal(program_deadline(&r.p), MTIME_NEVER);
	r.p.policy.counted = 2;
	assert_int_equal(program_deadline(&r.p), r.p.ready_at + S(60));
	r.now = r.p.ready_at + S(60);
	give(&r, PROGRAM_EV_TICK);
	assert_int_equal(r.p.policy.counted, 0);
	assert_int_equal(program_deadline(&r.p), MTIME_NEVER);
}

static void gone_before_exited_keeps_the_exit_status(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopping:");
	assert_false(program_gone(&r.p));
	exits_with(&r, 3);
	expect(&r, "stopped: state ended");
	assert_int_equal(r.p.last_exit.code, 3);
}

static void adopted_run_goes_on_as_it_is(void **state)
{
	struct rig r;

	start_rig(&r, true);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = 9, .pid = 12,
					       .started_at = T0 - S(30) });
	expect(&r, "running: state ready");
	assert_true(r.p.wanted);
	assert_int_equal(r.p.run, 9);
	assert_int_equal(r.p.pid, 12);
	assert_int_equal(r.p.ready_at, T0 - S(30));
	give(&r, PROGRAM_EV_START);
	expect(&r, "running:");
}

static void adopted_left_overs_are_killed_and_counted(void **state)
{
	struct rig r;

	start_rig(&r, true);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = RUN, .pid = 0,
					       .started_at = T0 - S(30) });
	expect(&r, "backoff: state died kill");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff:"); /* 100 ms: nobody knows how long it was ready */
	r.now = program_deadline(&r.p);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "backoff: wants_allow");
}

static void adopted_left_overs_of_a_run_once_program_are_killed(void **state)
{
	struct rig r;

	start_rig(&r, false);
	r.p.config.autorestart = PROGRAM_RESTART_NEVER;
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = RUN, .pid = 0 });
	expect(&r, "exited: state kill");
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "exited: ended");
}

static void second_run_that_nobody_ordered_is_killed(void **state)
{
	struct rig r;

	run_rig(&r, true);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_SPAWNED, .run = 8, .pid = 1 });
	expect(&r, "running: kill");
	assert_int_equal(r.out.a[0].run, 8);
	assert_int_equal(r.p.run, RUN);
}

static void spawned_time_is_the_keepers(void **state)
{
	struct rig r;

	start_rig(&r, false);
	give(&r, PROGRAM_EV_START);
	r.now += MS(20);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_SPAWNED, .run = RUN, .pid = 5,
					       .started_at = T0 + MS(3) });
	assert_int_equal(r.p.started_at, T0 + MS(3));
	assert_int_equal(r.p.ready_at, T0 + MS(3));
}

static void state_names_are_those_of_the_interface(void **state)
{
	assert_string_equal(program_state_name(PROGRAM_STATE_STOPPED), "stopped");
	assert_string_equal(program_state_name(PROGRAM_STATE_FATAL), "fatal");
}

/* ---- hooks, readiness, health ------------------------------------------------------------------- */

static void hooks_stand_before_the_start_and_after_the_end(void **state)
{
	struct rig r;

	start_full_rig(&r);
	give(&r, PROGRAM_EV_START);
	expect(&r, "starting: state hook");
	assert_int_equal(r.out.a[1].hook, PROGRAM_HOOK_PRE_START);
	give(&r, PROGRAM_EV_HOOK_DONE);
	expect(&r, "starting: spawn");
	give(&r, PROGRAM_EV_SPAWNED);
	expect(&r, "starting:");
	give(&r, PROGRAM_EV_READY);
	expect(&r, "running: state ready");
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopping: hook");
	assert_int_equal(r.out.a[0].hook, PROGRAM_HOOK_POST_STOP);
	assert_false(program_gone(&r.p)); /* its service waits for it, and so does a start */
	give(&r, PROGRAM_EV_START);
	expect(&r, "stopping:");
	give(&r, PROGRAM_EV_HOOK_DONE);
	expect(&r, "starting: state hook");
}

static void pre_start_that_fails_is_a_death_and_post_stop_still_runs(void **state)
{
	struct rig r;

	start_full_rig(&r);
	give(&r, PROGRAM_EV_START);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_HOOK_DONE, .stage = 11,
					       .hook = PROGRAM_HOOK_PRE_START });
	expect(&r, "backoff: state died hook");
	assert_int_equal(r.p.last_stage, 11);
	assert_int_equal(r.p.policy.counted, 1);
	r.now += S(5);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "backoff:"); /* due, but post_stop comes first */
	give(&r, PROGRAM_EV_HOOK_DONE);
	expect(&r, "starting: state hook");
}

static void what_is_killed_for_another_node_has_no_post_stop(void **state)
{
	struct rig r;

	run_full_rig(&r);
	give(&r, PROGRAM_EV_KILL);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
	run_full_rig(&r);
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	give(&r, PROGRAM_EV_KILL);
	expect(&r, "stopping: hook_kill");
	give(&r, PROGRAM_EV_HOOK_DONE);
	expect(&r, "stopped: state ended");
}

static void not_ready_in_time_is_a_death(void **state)
{
	struct rig r;

	start_full_rig(&r);
	r.p.config.has_post_stop = false;
	give(&r, PROGRAM_EV_START);
	give(&r, PROGRAM_EV_HOOK_DONE);
	give(&r, PROGRAM_EV_SPAWNED);
	r.now += S(29);
	give(&r, PROGRAM_EV_EXTEND); /* by 5 s from now */
	r.now += S(4);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "starting:");
	r.now += S(1);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "stopping: state failed signal");
	assert_int_equal(r.p.failing, PROGRAM_END_NOT_READY);
	r.now += S(10);
	give(&r, PROGRAM_EV_TICK);
	expect(&r, "stopping: kill");
	exits_with(&r, 0);
	expect(&r, "backoff: state died");
	assert_int_equal(r.p.last_end, PROGRAM_END_NOT_READY);
	assert_int_equal(r.p.policy.counted, 1);
	give(&r, PROGRAM_EV_READY); /* too late */
	expect(&r, "backoff:");
}

static void unhealthy_is_a_death_and_climbs_to_the_limit(void **state)
{
	struct rig r;

	run_rig(&r, true);
	for (int death = 1; death <= 3; death++) {
		give(&r, PROGRAM_EV_UNHEALTHY);
		expect(&r, "stopping: state failed signal");
		exits_with(&r, 128 + SIGTERM);
		expect(&r, death < 3 ? "backoff: state died kill" : "backoff: state died limit kill");
		assert_int_equal(r.p.last_end, PROGRAM_END_UNHEALTHY);
		give(&r, PROGRAM_EV_GONE);
		r.now += S(60);
		give(&r, PROGRAM_EV_TICK);
		give(&r, PROGRAM_EV_ALLOW);
		give(&r, PROGRAM_EV_SPAWNED);
		r.now += S(2);
	}
}

static void unhealthy_program_of_autorestart_unexpected_is_restarted_whatever_its_code(void **state)
{
	struct rig r;

	run_rig(&r, false);
	r.p.config.autorestart = PROGRAM_RESTART_UNEXPECTED;
	give(&r, PROGRAM_EV_UNHEALTHY);
	exits_with(&r, 0);
	expect(&r, "backoff: state died kill");
}

static void a_person_stops_what_is_being_stopped_for_its_health(void **state)
{
	struct rig r;

	run_rig(&r, false);
	give(&r, PROGRAM_EV_UNHEALTHY);
	give(&r, PROGRAM_EV_STOP);
	give(&r, PROGRAM_EV_EXITED);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
	assert_int_equal(r.p.policy.counted, 0);
	assert_int_equal(r.p.last_end, PROGRAM_END_ASKED);
}

/* 128 + stopsignal, as a JVM and a shell end: nobody counts it after our own stop. */
static void the_code_of_an_asked_end_does_not_matter(void **state)
{
	struct rig r;

	run_rig(&r, false);
	give(&r, PROGRAM_EV_STOP);
	exits_with(&r, 128 + SIGTERM);
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "stopped: state ended");
	assert_int_equal(r.p.policy.total, 0);
	assert_int_equal(r.p.last_end, PROGRAM_END_ASKED);
	run_rig(&r, false);
	exits_with(&r, 128 + SIGTERM); /* unasked it is a death */
	expect(&r, "backoff: state died kill");
	assert_int_equal(r.p.last_end, PROGRAM_END_DIED);
}

static void an_adopted_run_is_as_ready_as_it_was(void **state)
{
	struct rig r;

	start_full_rig(&r);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = RUN, .pid = 1,
					       .started_at = T0 - S(10) });
	expect(&r, "starting: state");
	assert_int_equal(program_deadline(&r.p), T0 + S(20));
	give(&r, PROGRAM_EV_READY);
	expect(&r, "running: state ready");
	start_full_rig(&r);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = RUN, .pid = 1,
					       .started_at = T0 - S(10), .ready = true });
	expect(&r, "running: state ready");
}

static void a_daemon_is_ready_when_its_main_process_is_known(void **state)
{
	struct rig r;

	start_rig(&r, false);
	r.p.config.ready_timeout = S(30);
	r.p.config.ready_at_main = true;
	give(&r, PROGRAM_EV_START);
	give(&r, PROGRAM_EV_SPAWNED);
	expect(&r, "starting:");
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_MAIN, .run = RUN, .pid = 99 });
	expect(&r, "running: state ready");
	assert_int_equal(r.p.pid, 99);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_MAIN, .run = RUN + 1, .pid = 5 });
	assert_int_equal(r.p.pid, 99);
}

/* The run ended while no engine looked; the keeper owes its post_stop. */
static void an_adopted_end_has_its_post_stop(void **state)
{
	struct rig r;

	start_full_rig(&r);
	give_event(&r, (struct program_event){ .type = PROGRAM_EV_ADOPT, .run = RUN });
	give(&r, PROGRAM_EV_GONE);
	expect(&r, "backoff: hook");
	assert_int_equal(r.out.a[0].hook, PROGRAM_HOOK_POST_STOP);
}

/* ---- a keeper of a kind: random events, and what must never happen ------------------------------ */

struct fake_keeper {
	bool main_alive, tree_alive, ordered;
	enum program_hook hook;
	uint32_t run;
};

static void keeper_does(struct fake_keeper *k, const struct program_actions *out)
{
	for (unsigned i = 0; i < out->n; i++) {
		switch (out->a[i].type) {
		case PROGRAM_ACT_SPAWN:
			if (k->ordered || k->tree_alive || k->main_alive)
				fail_msg("a start over something alive");
			k->ordered = true;
			break;
		case PROGRAM_ACT_SIGNAL:
		case PROGRAM_ACT_KILL:
			assert_int_equal(out->a[i].run, k->run);
			break;
		case PROGRAM_ACT_ENDED:
			assert_false(k->ordered || k->tree_alive || k->main_alive);
			break;
		case PROGRAM_ACT_STATE:
		case PROGRAM_ACT_READY:
		case PROGRAM_ACT_DIED:
		case PROGRAM_ACT_LIMIT:
		case PROGRAM_ACT_WANTS_ALLOW:
		case PROGRAM_ACT_UNKILLABLE:
		case PROGRAM_ACT_FAILED:
			break;
		case PROGRAM_ACT_HOOK:
			if (k->ordered || k->tree_alive || k->main_alive || k->hook)
				fail_msg("a hook beside something alive");
			k->hook = out->a[i].hook;
			break;
		case PROGRAM_ACT_HOOK_KILL:
			assert_int_not_equal(k->hook, PROGRAM_HOOK_NONE);
			break;
		}
	}
}

/* What such a keeper could report next, at random; false: nothing. */
static bool keeper_reports(struct fake_keeper *k, int dice, struct program_event *ret)
{
	*ret = (struct program_event){ .run = k->run, .pid = 1, .exit = { .code = dice & 1 } };
	if (k->ordered) {
		k->ordered = false;
		ret->type = (dice & 2) != 0 ? PROGRAM_EV_SPAWNED : PROGRAM_EV_SPAWN_FAILED;
		if (ret->type == PROGRAM_EV_SPAWNED) {
			ret->run = ++k->run;
			k->main_alive = k->tree_alive = true;
		}
		return true;
	}
	if (k->hook != PROGRAM_HOOK_NONE) {
		ret->type = PROGRAM_EV_HOOK_DONE;
		ret->hook = k->hook;
		ret->ok = (dice & 2) != 0;
		k->hook = PROGRAM_HOOK_NONE;
		return true;
	}
	if (k->main_alive && (dice & 12) != 0) {
		ret->type = (dice & 4) != 0 ? PROGRAM_EV_READY : PROGRAM_EV_UNHEALTHY;
		ret->end = PROGRAM_END_WATCHDOG;
		return true;
	}
	if (k->main_alive && (dice & 2) != 0) {
		k->main_alive = false;
		ret->type = PROGRAM_EV_EXITED;
		return true;
	}
	if (k->tree_alive && !k->main_alive) {
		k->tree_alive = false;
		ret->type = PROGRAM_EV_GONE;
		return true;
	}
	return false;
}

static void random_walk_never_starts_over_left_overs(void **state)
{
	static const enum program_event_type asks[] = {
		PROGRAM_EV_START, PROGRAM_EV_START_PERSON, PROGRAM_EV_STOP, PROGRAM_EV_KILL,
		PROGRAM_EV_RESTART, PROGRAM_EV_GIVE_UP, PROGRAM_EV_ALLOW, PROGRAM_EV_TICK,
	};

	for (unsigned seed = 0; seed < 400; seed++) {
		struct fake_keeper k = { 0 };
		struct rig r;
		unsigned dice = seed;

		start_rig(&r, (seed & 1) != 0);
		r.p.config.autorestart = (enum program_restart)(seed % 3);
		r.p.config.has_pre_start = (seed & 2) != 0;
		r.p.config.has_post_stop = (seed & 4) != 0;
		r.p.config.ready_timeout = (seed & 8) != 0 ? S(20) : 0;
		for (int i = 0; i < 500; i++) {
			struct program_event ev = { .type = asks[rand_r(&dice) % 8] };

			r.now += MS(rand_r(&dice) % 3000);
			if (rand_r(&dice) % 2 == 0)
				keeper_reports(&k, rand_r(&dice), &ev);
			give_event(&r, ev);
			keeper_does(&k, &r.out);
			assert_int_equal(program_gone(&r.p),
					 !k.ordered && !k.tree_alive && !k.main_alive && !k.hook);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event_pair_is_as_stated),
		cmocka_unit_test(reports_about_another_run_change_nothing),
		cmocka_unit_test(nothing_is_due_before_the_deadline),
		cmocka_unit_test(tick_at_the_deadline_moves_it),
		cmocka_unit_test(restart_after_a_death_waits_until_the_tree_is_gone),
		cmocka_unit_test(gated_restart_waits_for_allow),
		cmocka_unit_test(allow_before_the_delay_is_over_is_asked_for_again),
		cmocka_unit_test(allow_while_the_tree_is_dying_is_kept),
		cmocka_unit_test(allow_while_running_does_not_serve_a_later_restart),
		cmocka_unit_test(gated_restart_by_a_person_waits_for_allow_too),
		cmocka_unit_test(gated_start_by_a_person_waits_for_allow_too),
		cmocka_unit_test(limit_follows_the_nth_death),
		cmocka_unit_test(given_up_program_ends_fatal_and_starts_afresh),
		cmocka_unit_test(stop_signals_then_kills_then_complains),
		cmocka_unit_test(asked_end_is_no_death),
		cmocka_unit_test(start_during_stop_starts_once_it_is_gone),
		cmocka_unit_test(stop_takes_back_a_start_and_a_restart),
		cmocka_unit_test(kill_of_an_ordered_start_kills_what_comes_up),
		cmocka_unit_test(give_up_of_an_ordered_start_ends_fatal),
		cmocka_unit_test(expected_exit_is_not_restarted),
		cmocka_unit_test(person_clears_counter_and_delay),
		cmocka_unit_test(count_is_cleared_by_a_window_of_ready_time),
		cmocka_unit_test(gone_before_exited_keeps_the_exit_status),
		cmocka_unit_test(adopted_run_goes_on_as_it_is),
		cmocka_unit_test(adopted_left_overs_are_killed_and_counted),
		cmocka_unit_test(adopted_left_overs_of_a_run_once_program_are_killed),
		cmocka_unit_test(second_run_that_nobody_ordered_is_killed),
		cmocka_unit_test(spawned_time_is_the_keepers),
		cmocka_unit_test(state_names_are_those_of_the_interface),
		cmocka_unit_test(hooks_stand_before_the_start_and_after_the_end),
		cmocka_unit_test(pre_start_that_fails_is_a_death_and_post_stop_still_runs),
		cmocka_unit_test(what_is_killed_for_another_node_has_no_post_stop),
		cmocka_unit_test(not_ready_in_time_is_a_death),
		cmocka_unit_test(unhealthy_is_a_death_and_climbs_to_the_limit),
		cmocka_unit_test(unhealthy_program_of_autorestart_unexpected_is_restarted_whatever_its_code),
		cmocka_unit_test(a_person_stops_what_is_being_stopped_for_its_health),
		cmocka_unit_test(the_code_of_an_asked_end_does_not_matter),
		cmocka_unit_test(an_adopted_run_is_as_ready_as_it_was),
		cmocka_unit_test(an_adopted_end_has_its_post_stop),
		cmocka_unit_test(a_daemon_is_ready_when_its_main_process_is_known),
		cmocka_unit_test(random_walk_never_starts_over_left_overs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
