/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <signal.h>

/*
 * The keeper's hands and the kernel's truth about programs.
 *
 * A run is alive from its exec until SIGKILL is pending for every task of it ("dead"); it is gone
 * when its cgroup is empty.  What happens to a run happens whether the keeper runs or not; what
 * the keeper does (carry out an order, enforce a deadline, tell the engine) waits while it is
 * stopped.
 */

/* ---- telling the engine ------------------------------------------------------------------------ */

static mtime keeper_late(const struct world *w, const struct host *h)
{
	return h->keeper.stalled ? mtime_max(h->keeper.resume_at - w->now, 0) : 0;
}

/* In order, and not before the keeper runs again. */
static struct input *tell(struct world *w, struct host *h, enum input_type type)
{
	struct engine *e = &h->engine;
	mtime at = w->now + keeper_late(w, h) + world_noise(w, MTIME_US(30), MTIME_US(500));

	e->last_arrival = mtime_max(at, e->last_arrival + 1);
	return engine_post(w, h, e->last_arrival - w->now, type);
}

static void tell_run(struct world *w, struct host *h, enum input_type type, unsigned program)
{
	const struct run *r = &h->runs[program];
	struct input *in;

	if (!h->keeper.alive || !h->engine.alive)
		return;
	in = tell(w, h, type);
	in->run.program = (uint8_t)program;
	in->run.run = r->number;
	in->run.order = r->order;
	in->run.exit = (struct program_exit){ .code = -1, .signo = SIGKILL };
}

static void tell_failed(struct world *w, struct host *h, unsigned program, uint64_t order)
{
	struct input *in;

	if (!h->keeper.alive || !h->engine.alive)
		return;
	in = tell(w, h, INPUT_SPAWN_FAILED);
	in->run.program = (uint8_t)program;
	in->run.order = order;
}

static void tell_quiesced(struct world *w, struct host *h, uint64_t term, bool by_deadline)
{
	struct input *in;

	if (!h->engine.alive)
		return;
	in = tell(w, h, INPUT_QUIESCED);
	in->quiesced.term = term;
	in->quiesced.by_deadline = by_deadline;
}

/* ---- life and death of a run --------------------------------------------------------------------- */

bool host_lives(const struct host *h)
{
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		if (h->runs[i].state == RUN_ALIVE)
			return true;
	return false;
}

bool keeper_populated(const struct host *h)
{
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		if (h->runs[i].state != RUN_NONE)
			return true;
	return false;
}

static void run_later(struct world *w, struct host *h, unsigned program, mtime in,
		      enum event_type type)
{
	struct event *e = world_post(w, in, type, h->row);

	e->program = (uint8_t)program;
	e->number = h->runs[program].number;
}

/* SIGKILL is pending for all of it. */
static void run_dies(struct world *w, struct host *h, unsigned program, const char *why)
{
	struct run *r = &h->runs[program];
	mtime reaped = world_noise(w, MTIME_US(50), MTIME_MS(5));
	mtime gone = w->scenario.heavy ? world_noise(w, MTIME_MS(1), MTIME_SEC(1)) : MTIME_US(100);

	if (r->state == RUN_FORKED) {
		r->state = RUN_NONE;
		tell_failed(w, h, program, r->order);
		return;
	}
	if (r->state != RUN_ALIVE)
		return;
	STORY(w, h, "program %u dead (%s)", program + 1, why);
	r->state = RUN_DEAD;
	r->main_alive = r->rest_alive = false;
	oracle_dead(w, h);
	if (!r->reaped)
		run_later(w, h, program, reaped, EVENT_RUN_REAPED);
	run_later(w, h, program, reaped + gone, EVENT_RUN_GONE);
}

static void kill_runs(struct world *w, struct host *h, const char *why)
{
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		run_dies(w, h, i, why);
}

void keeper_kill_all(struct world *w, struct host *h, bool by_deadline)
{
	kill_runs(w, h, by_deadline ? "deadline" : "killed");
}

void keeper_program_dies(struct world *w, struct host *h, unsigned program, bool only_main)
{
	struct run *r = &h->runs[program];

	if (r->state != RUN_ALIVE)
		return;
	if (!only_main || !r->main_alive) {
		run_dies(w, h, program, "by itself");
		return;
	}
	STORY(w, h, "program %u: main process dead, what it started lives on", program + 1);
	r->main_alive = false;
	run_later(w, h, program, world_noise(w, MTIME_US(50), MTIME_MS(2)), EVENT_RUN_REAPED);
}

static void run_exec(struct world *w, struct host *h, unsigned program)
{
	struct run *r = &h->runs[program];

	if (w->scenario.tooth != TOOTH_ORDER_DEADLINE && host_now(w, h) >= r->valid_until) {
		STORY(w, h, "program %u: start order too old at exec, refused", program + 1);
		r->state = RUN_NONE;
		tell_failed(w, h, program, r->order);
		return;
	}
	r->state = RUN_ALIVE;
	r->main_alive = true;
	r->rest_alive = w->scenario.wrapper;
	r->reaped = false;
	oracle_exec(w, h, r);
	tell_run(w, h, INPUT_SPAWNED, program);
	if (w->now < h->sane_at)
		run_later(w, h, program, world_noise(w, MTIME_MS(5), MTIME_MS(600)), EVENT_RUN_DIE);
}

static void run_event(struct world *w, struct host *h, const struct event *e)
{
	struct run *r = &h->runs[e->program];

	if (r->number != e->number)
		return;
	if (e->type == EVENT_RUN_EXEC && r->state == RUN_FORKED) {
		run_exec(w, h, e->program);
	} else if (e->type == EVENT_RUN_DIE) {
		keeper_program_dies(w, h, e->program,
				    w->scenario.wrapper && rng_permille(&w->rng, 500));
	} else if (e->type == EVENT_RUN_REAPED && !r->reaped) {
		r->reaped = true;
		tell_run(w, h, INPUT_EXITED, e->program);
	} else if (e->type == EVENT_RUN_GONE && r->state == RUN_DEAD) {
		tell_run(w, h, INPUT_GONE, e->program);
		r->state = RUN_NONE;
	}
}

/* ---- the deadline ----------------------------------------------------------------------------------- */

static void arm_deadline(struct world *w, struct host *h)
{
	struct keeper *k = &h->keeper;
	mtime at;

	if (k->kill_at == MTIME_NEVER)
		return;
	at = mtime_max(host_world(h, k->kill_at), w->now);
	if (k->deadline_armed && k->deadline_armed <= at)
		return;
	k->deadline_armed = at;
	world_post(w, at - w->now, EVENT_KEEPER_DEADLINE, h->row)->life = k->life;
}

static void enforce_deadline(struct world *w, struct host *h)
{
	struct keeper *k = &h->keeper;

	if (k->kill_at == MTIME_NEVER || host_now(w, h) < k->kill_at) {
		arm_deadline(w, h);
		return;
	}
	k->kill_at = MTIME_NEVER;
	if (w->scenario.tooth == TOOTH_KEEPER_DEADLINE || !keeper_populated(h))
		return;
	STORY(w, h, "keeper: not fed, the kill deadline has come");
	if (k->top_term > k->quiesced)
		k->quiesced = k->top_term;
	kill_runs(w, h, "deadline");
	tell_quiesced(w, h, k->quiesced, true);
}

/* ---- orders -------------------------------------------------------------------------------------------- */

static const char *refusal(const struct world *w, const struct host *h, const struct order *o)
{
	if (w->scenario.tooth != TOOTH_ORDER_DEADLINE && host_now(w, h) >= o->valid_until)
		return "too old";
	if (w->scenario.tooth != TOOTH_QUIESCED && o->term <= h->keeper.quiesced)
		return "its term is quiesced";
	if (h->runs[o->program].state != RUN_NONE)
		return "it still runs";
	return NULL;
}

static void on_start(struct world *w, struct host *h, const struct order *o)
{
	struct keeper *k = &h->keeper;
	struct run *r = &h->runs[o->program];
	const char *why = refusal(w, h, o);

	if (why) {
		STORY(w, h, "keeper refuses to start program %u: %s", o->program + 1u, why);
		tell_failed(w, h, o->program, o->order);
		return;
	}
	if (o->term > k->top_term)
		k->top_term = o->term;
	k->kill_at = o->kill_at;
	arm_deadline(w, h);
	*r = (struct run){ .state = RUN_FORKED, .number = ++h->last_run, .order = o->order,
			   .term = o->term, .valid_until = o->valid_until };
	run_later(w, h, o->program,
		  rng_permille(&w->rng, 50) ? world_noise(w, MTIME_MS(5), MTIME_MS(50))
					    : world_noise(w, MTIME_MS(1), MTIME_MS(5)),
		  EVENT_RUN_EXEC);
}

/* Most programs end at once when asked to, some take their time, some never do. */
static void on_signal(struct world *w, struct host *h, const struct order *o)
{
	unsigned dice = (unsigned)rng_below(&w->rng, 100);

	if (h->runs[o->program].number != o->run || dice >= 95)
		return;
	run_later(w, h, o->program,
		  dice < 75 ? world_noise(w, MTIME_MS(1), MTIME_MS(100))
			    : world_noise(w, MTIME_MS(100), MTIME_SEC(3)),
		  EVENT_RUN_DIE);
}

static void on_order(struct world *w, struct host *h, const struct event *e)
{
	struct keeper *k = &h->keeper;
	const struct order *o = &e->order;

	if (e->number != k->engines)
		return;
	switch (o->type) {
	case ORDER_FEED:
		k->kill_at = o->kill_at;
		arm_deadline(w, h);
		break;
	case ORDER_START:
		on_start(w, h, o);
		break;
	case ORDER_SIGNAL:
		on_signal(w, h, o);
		break;
	case ORDER_KILL:
		if (h->runs[o->program].number == o->run)
			run_dies(w, h, o->program, "killed");
		break;
	case ORDER_QUIESCE:
		if (o->term > k->quiesced)
			k->quiesced = o->term;
		kill_runs(w, h, "quiesced");
		tell_quiesced(w, h, o->term, false);
		break;
	case ORDER_BATON:
		k->baton = o->baton;
		k->has_baton = true;
		break;
	case ORDER_DONE:
		STORY(w, h, "supd ends");
		engine_die(w, h);
		keeper_die(w, h);
		break;
	}
}

struct order *keeper_post(struct world *w, struct host *h, enum order_type type)
{
	struct keeper *k = &h->keeper;
	mtime at = w->now + world_noise(w, MTIME_US(20), MTIME_US(400));
	struct event *e;

	if (rng_permille(&w->rng, 10)) /* it was busy */
		at += MTIME_MS(5);
	k->last_arrival = mtime_max(at, k->last_arrival + 1);
	e = world_post(w, k->last_arrival - w->now, EVENT_KEEPER_ORDER, h->row);
	e->life = k->alive ? k->life : 0;
	e->number = k->engines;
	e->order.type = type;
	return &e->order;
}

/* ---- the engine's silence -------------------------------------------------------------------------------- */

static void birth(struct world *w, struct host *h, mtime in)
{
	world_post(w, in, EVENT_ENGINE_BORN, h->row)->life = h->keeper.life;
}

void keeper_engine_died(struct world *w, struct host *h)
{
	if (h->keeper.alive)
		birth(w, h, keeper_late(w, h) + world_noise(w, MTIME_MS(4), MTIME_MS(20)));
}

/*
 * FEED goes out every quarter of engine_timeout, and that often it is looked at: who stops has fed
 * up to a quarter before, and is found silent up to a quarter late.
 */
static mtime seen_silent_after(struct world *w)
{
	return w->engine_timeout + world_noise(w, 0, w->engine_timeout / 4);
}

void keeper_engine_silent(struct world *w, struct host *h)
{
	struct event *e;

	if (w->scenario.tooth == TOOTH_ENGINE_TIMEOUT)
		return;
	e = world_post(w, seen_silent_after(w), EVENT_KEEPER_WATCH, h->row);
	e->life = h->keeper.life;
	e->number = h->engine.life;
}

static void on_watch(struct world *w, struct host *h, const struct event *e)
{
	if (h->engine.life != e->number || !h->engine.alive || !h->engine.stalled)
		return;
	if (h->keeper.stalled) { /* it was late itself: a full time-out from then on */
		struct event *again = world_post(w, keeper_late(w, h) + w->engine_timeout,
						 EVENT_KEEPER_WATCH, h->row);
		again->life = e->life;
		again->number = e->number;
		return;
	}
	STORY(w, h, "keeper: engine is silent, replaced");
	engine_die(w, h);
}

/* ---- birth, stop, death -------------------------------------------------------------------------------------- */

void keeper_start(struct world *w, struct host *h)
{
	struct keeper *k = &h->keeper;
	struct backlog keep = k->backlog;
	uint32_t life = k->life;

	*k = (struct keeper){ .alive = true, .life = life + 1, .kill_at = MTIME_NEVER,
			      .session = rng_next(&w->rng) | 1, .backlog = keep };
	k->backlog.n = 0;
	STORY(w, h, "supd starts");
	birth(w, h, world_noise(w, MTIME_MS(2), MTIME_MS(20)));
}

void keeper_die(struct world *w, struct host *h)
{
	struct keeper *k = &h->keeper;

	if (!k->alive)
		return;
	k->alive = k->stalled = false;
	k->life++;
	k->backlog.n = 0;
	if (w->scenario.tooth != TOOTH_GUARD)
		kill_runs(w, h, "its guard died");
	if (h->engine.alive)
		engine_post(w, h, world_noise(w, MTIME_US(50), MTIME_MS(1)), INPUT_KEEPER_DEAD);
	else
		host_supd_gone(w, h);
}

void keeper_stall(struct world *w, struct host *h, mtime length)
{
	struct keeper *k = &h->keeper;
	mtime until = w->now + length;

	if (!k->alive || (k->stalled && k->resume_at >= until))
		return;
	k->stalled = true;
	k->resume_at = until;
	world_post(w, length, EVENT_KEEPER_RESUME, h->row)->life = k->life;
	if (!h->engine.alive || h->engine.stalled)
		return;
	h->engine.keeper_silent_at = host_local(h, w->now + seen_silent_after(w));
	engine_arm(w, h);
}

static void on_resume(struct world *w, struct host *h)
{
	struct keeper *k = &h->keeper;
	struct backlog b = k->backlog;

	if (w->now < k->resume_at)
		return;
	k->stalled = false;
	k->backlog = (struct backlog){ 0 };
	if (!h->engine.stalled)
		h->engine.keeper_silent_at = MTIME_NEVER;
	STORY(w, h, "keeper goes on");
	for (unsigned i = 0; i < b.n && k->alive; i++)
		keeper_event(w, &b.e[i]);
	b.n = 0;
	k->backlog = b;
}

void keeper_event(struct world *w, const struct event *e)
{
	struct host *h = &w->hosts[e->host];
	struct keeper *k = &h->keeper;

	if (e->type == EVENT_RUN_EXEC || e->type == EVENT_RUN_DIE ||
	    e->type == EVENT_RUN_REAPED || e->type == EVENT_RUN_GONE) {
		run_event(w, h, e);
		return;
	}
	if (!k->alive || e->life != k->life)
		return;
	if (e->type == EVENT_KEEPER_RESUME) {
		on_resume(w, h);
	} else if (e->type == EVENT_KEEPER_WATCH) {
		on_watch(w, h, e);
	} else if (k->stalled) {
		backlog_add(&k->backlog, e);
	} else if (e->type == EVENT_KEEPER_ORDER) {
		on_order(w, h, e);
	} else if (e->type == EVENT_KEEPER_DEADLINE) {
		k->deadline_armed = 0;
		enforce_deadline(w, h);
	}
}
