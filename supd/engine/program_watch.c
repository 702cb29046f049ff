/* SPDX-License-Identifier: MIT */
#include "supd/engine/program_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

/*
 * Whether a program is ready, and whether it is well: check_fsm says when to ask, and this asks.
 *
 *   starting, its main process up     READY    tcp, http, exec: asked until the first good answer
 *   running                           HEALTH   the same, until health_fall bad ones in a row;
 *                                              notify: WATCHDOG=1 in every interval
 *
 * Level-driven: watch_update() looks at the program after each of its steps.  What is asked of one
 * run is forgotten with it.  Nothing here blocks: connections are watched, and commands are run by
 * the keeper, which kills them at their time-out, too.
 */
#define READY_INTERVAL_MAX MTIME_MS(500) /* it is what a takeover may be waiting for */
#define READY_INTERVAL_EXEC MTIME_SEC(1)
#define EXEC_MARGIN	   MTIME_MS(500) /* for the keeper's own answer to a time-out */

static const struct model_probe *probe_of(const struct engine_program *ep)
{
	const struct model_program *mp = model_program(ep->engine->m, ep->row);

	return ep->watch.kind == WATCH_READY ? &mp->ready : &mp->health;
}

/* What is to be watched now. */
static enum watch_kind wanted(const struct engine_program *ep)
{
	const struct model_program *mp = model_program(ep->engine->m, ep->row);
	const struct program_fsm *p = &ep->fsm;

	if (p->state == PROGRAM_STATE_STARTING && p->main_alive &&
	    mp->ready.kind != MODEL_PROBE_NOTIFY && mp->ready.kind != MODEL_PROBE_NONE)
		return WATCH_READY;
	if (p->state == PROGRAM_STATE_RUNNING && mp->health.kind != MODEL_PROBE_NONE)
		return WATCH_HEALTH;
	return WATCH_NOTHING;
}

static void config_of(const struct engine_program *ep, struct check_config *ret)
{
	const struct model_program *mp = model_program(ep->engine->m, ep->row);
	const bool exec = probe_of(ep)->kind == MODEL_PROBE_EXEC;

	*ret = (struct check_config){
		.interval = mp->health_interval,
		.timeout = mtime_add(mp->health_timeout, exec ? EXEC_MARGIN : 0),
		.rise = 1,
		.fall = mp->health_fall,
		.passive = probe_of(ep)->kind == MODEL_PROBE_NOTIFY,
	};
	if (ep->watch.kind == WATCH_HEALTH)
		return;
	ret->fall = 0;
	ret->interval = mtime_min(ret->interval, exec ? READY_INTERVAL_EXEC : READY_INTERVAL_MAX);
}

/* ---- asking ----------------------------------------------------------------------------------------- */

static void give(struct engine_program *ep, enum check_event_type type, bool good);

static void note(struct engine_program *ep, const char *why)
{
	snprintf(ep->watch.why, sizeof(ep->watch.why), "%s", why);
}

static void on_answer(void *arg, bool good, const char *why)
{
	struct engine_program *ep = arg;

	note(ep, why);
	give(ep, CHECK_EV_RESULT, good);
}

static void ask_keeper(struct engine_program *ep)
{
	enum ipc_hook_kind kind =
		ep->watch.kind == WATCH_READY ? IPC_HOOK_READY : IPC_HOOK_HEALTH;

	ep->watch.order = program_order_hook(ep, kind);
	if (ep->watch.order == 0)
		on_answer(ep, false, "the keeper cannot be asked");
}

static void put_question(struct engine_program *ep)
{
	if (probe_of(ep)->kind == MODEL_PROBE_EXEC)
		ask_keeper(ep);
	else
		ask_start(&ep->watch.ask, ep->engine->loop, ep->engine->m, probe_of(ep));
}

static void cancel(struct engine_program *ep)
{
	ask_stop(&ep->watch.ask);
	if (ep->watch.order != 0)
		keeper_order_hook_kill(ep->engine, ep->watch.order);
	ep->watch.order = 0;
}

void program_watch_hook_done(struct engine_program *ep, const struct ipc_hook_done *d)
{
	char why[64];

	if (ep->watch.order == 0 || d->order != ep->watch.order)
		return;
	ep->watch.order = 0;
	if (d->timed_out)
		snprintf(why, sizeof(why), "no end in time");
	else if (d->code >= 0)
		snprintf(why, sizeof(why), "exit code %d", d->code);
	else if (d->signo > 0)
		snprintf(why, sizeof(why), "killed by signal %d", d->signo);
	else
		snprintf(why, sizeof(why), "it could not be run");
	on_answer(ep, d->ok, why);
}

/* ---- what comes of it ------------------------------------------------------------------------------- */

static void tell_ready(struct engine_program *ep)
{
	struct program_event ev = { .type = PROGRAM_EV_READY, .run = ep->fsm.run };

	engine_program_event(ep->engine, ep->row, &ev);
}

static void tell_unhealthy(struct engine_program *ep)
{
	const bool silent = probe_of(ep)->kind == MODEL_PROBE_NOTIFY;
	struct program_event ev = { .type = PROGRAM_EV_UNHEALTHY,
				    .run = ep->fsm.run,
				    .end = silent ? PROGRAM_END_WATCHDOG : PROGRAM_END_UNHEALTHY };

	if (silent)
		note(ep, "no WATCHDOG=1");
	engine_program_event(ep->engine, ep->row, &ev);
}

static void carry_out(struct engine_program *ep, enum check_action a)
{
	switch (a) {
	case CHECK_ACT_ASK:
		put_question(ep);
		break;
	case CHECK_ACT_CANCEL:
		cancel(ep);
		break;
	case CHECK_ACT_TIMEOUT:
		note(ep, "no answer in time");
		break;
	case CHECK_ACT_GOOD:
		if (ep->watch.kind == WATCH_READY)
			tell_ready(ep);
		break;
	case CHECK_ACT_BAD:
		tell_unhealthy(ep);
		break;
	}
}

static void arm_timer(struct engine_program *ep)
{
	mtime at = check_deadline(&ep->watch.check), now = mtime_now();
	struct ev_loop *loop = ep->engine->loop;

	ev_timer_stop(loop, &ep->watch.timer);
	if (at == MTIME_NEVER)
		return;
	ev_now_update(loop);
	ev_timer_set(&ep->watch.timer, at > now ? (double)(at - now) / 1e9 : 0., 0.);
	ev_timer_start(loop, &ep->watch.timer);
}

/* An answer may come from within a question: the timer is armed by whoever was last. */
static void give(struct engine_program *ep, enum check_event_type type, bool good)
{
	struct check_event ev = { .type = type, .good = good };
	struct check_actions acts;

	check_step(&ep->watch.check, &ev, mtime_now(), &acts);
	arm_timer(ep);
	for (unsigned i = 0; i < acts.n; i++)
		carry_out(ep, acts.a[i]);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine_program *ep = w->data;

	/* After a stall the answer, or WATCHDOG=1, may still wait in its socket. */
	program_notify_drain(ep);
	if (ep->watch.order != 0)
		keeper_link_drain(ep->engine);
	give(ep, CHECK_EV_TICK, false);
}

void program_watch_alive(struct engine_program *ep)
{
	if (ep->watch.kind == WATCH_HEALTH && probe_of(ep)->kind == MODEL_PROBE_NOTIFY)
		give(ep, CHECK_EV_RESULT, true);
}

void program_watch_update(struct engine_program *ep)
{
	enum watch_kind kind = wanted(ep);
	struct check_config config;

	if (kind == ep->watch.kind && (kind == WATCH_NOTHING || ep->watch.run == ep->fsm.run))
		return;
	if (ep->watch.kind != WATCH_NOTHING)
		give(ep, CHECK_EV_STOP, false);
	ep->watch.kind = kind;
	ep->watch.run = ep->fsm.run;
	if (kind == WATCH_NOTHING)
		return;
	config_of(ep, &config);
	check_init(&ep->watch.check, &config);
	ep->watch.why[0] = '\0';
	give(ep, CHECK_EV_START, kind == WATCH_HEALTH);
}

void program_watch_init(struct engine_program *ep)
{
	static const struct check_config none = { .rise = 1 };

	check_init(&ep->watch.check, &none);
	ask_init(&ep->watch.ask);
	ep->watch.ask.on_answer = on_answer;
	ep->watch.ask.arg = ep;
	ev_init(&ep->watch.timer, on_timer);
	ev_set_priority(&ep->watch.timer, -2);
	ep->watch.timer.data = ep;
}
