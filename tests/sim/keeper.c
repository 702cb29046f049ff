/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * The keeper: it carries out orders, enforces the deadline of the newest FEED, replaces a silent
 * engine.  While it is stopped all of that waits.
 */

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
	run_kill_all(w, h, "deadline");
	keeper_tell_quiesced(w, h, k->quiesced, true);
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
		run_tell_failed(w, h, o->program, o->order);
		return;
	}
	if (o->term > k->top_term)
		k->top_term = o->term;
	if (w->scenario.tooth != TOOTH_ORDER_DEADLINE) {
		k->kill_at = o->kill_at;
		arm_deadline(w, h);
	}
	*r = (struct run){ .state = RUN_FORKED, .number = ++h->last_run, .order = o->order,
			   .term = o->term, .known = o->known,
			   .valid_until = o->valid_until };
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

/* ---- fence_command ------------------------------------------------------------------------------------ */

static void tell_hook(struct world *w, struct host *h, uint64_t order, bool ok)
{
	struct input *in;

	if (!h->engine.alive)
		return;
	in = keeper_tell(w, h, INPUT_HOOK_DONE);
	in->hook.order = order;
	in->hook.ok = ok || w->scenario.tooth == TOOTH_FENCE_COMMAND;
}

/* Most end soon and well; some fail at once; some hang, and half of these have done it. */
static void on_hook(struct world *w, struct host *h, const struct order *o)
{
	struct keeper *k = &h->keeper;
	unsigned dice = (unsigned)rng_below(&w->rng, 100);
	struct event *e;

	if (k->ending || k->hook || host_now(w, h) >= o->valid_until) {
		tell_hook(w, h, o->order, false);
		return;
	}
	k->hook = o->order;
	e = world_post(w, dice < 85 ? world_noise(w, MTIME_MS(50), MTIME_SEC(3)) : MTIME_SEC(30),
		       EVENT_KEEPER_HOOK, h->row);
	e->life = k->life;
	e->program = o->node;
	e->number = dice; /* how it ends */
}

/* It runs, and ends, whether the keeper is stopped or not. */
static void hook_done(struct world *w, struct host *h, const struct event *e)
{
	struct host *other = &w->hosts[e->program];
	bool ok = e->number < 65, done = ok || e->number >= 92;
	uint64_t order = h->keeper.hook;

	h->keeper.hook = 0;
	STORY(w, h, "fence_command for %c %s", story_name(e->program),
	      ok     ? "has switched it off"
	      : done ? "timed out, but it is off"
		     : "failed");
	if (done && other->up) {
		host_crash(w, other);
		world_post(w, world_noise(w, MTIME_SEC(5), MTIME_SEC(30)), EVENT_HOST_BOOT,
			   other->row);
	}
	tell_hook(w, h, order, ok);
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
			run_kill(w, h, o->program, "killed");
		break;
	case ORDER_QUIESCE:
		if (o->term > k->quiesced)
			k->quiesced = o->term;
		run_kill_all(w, h, "quiesced");
		keeper_tell_quiesced(w, h, o->term, false);
		break;
	case ORDER_BATON:
		k->baton = o->baton;
		k->has_baton = true;
		break;
	case ORDER_HOOK:
		on_hook(w, h, o);
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
		run_kill_all(w, h, "its guard died");
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
	bool first;

	if (w->now < k->resume_at)
		return;
	k->stalled = false;
	k->backlog = (struct backlog){ 0 };
	if (!h->engine.stalled)
		h->engine.keeper_silent_at = MTIME_NEVER;
	STORY(w, h, "keeper goes on");
	/* What came first is first; but the timer may be looked at before, or a turn later. */
	first = rng_permille(&w->rng, 500);
	if (first && k->deadline_armed && w->now >= k->deadline_armed) {
		k->deadline_armed = 0;
		enforce_deadline(w, h);
	}
	for (unsigned i = 0; i < b.n && k->alive; i++) {
		if (b.e[i].type != EVENT_KEEPER_DEADLINE)
			keeper_event(w, &b.e[i]);
		else if (!first)
			world_repost(w, world_noise(w, 0, MTIME_MS(5)), &b.e[i]);
	}
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
	if (e->type == EVENT_KEEPER_HOOK) {
		hook_done(w, h, e);
	} else if (e->type == EVENT_KEEPER_RESUME) {
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
