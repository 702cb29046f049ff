/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * The engine as a process: born, stopped, killed, woken by sockets and timers.  While it is
 * stopped its sockets fill; when it goes on it reads them all before it believes a timer.
 */

#define TREE_WAIT    MTIME_SEC(2)
#define ADDRESS_WAIT MTIME_SEC(1)

/* ---- inputs ---------------------------------------------------------------------------------------- */

struct input *engine_post(struct world *w, struct host *h, mtime in, enum input_type type)
{
	struct event *e = world_post(w, in, EVENT_ENGINE_INPUT, h->row);

	e->life = h->engine.life;
	e->input.type = type;
	return &e->input;
}

/* ---- without a keeper ---------------------------------------------------------------------------------- */

/*
 * The keeper is dead, or silent and therefore killed by us through cgroup.kill: its programs are
 * dead with it.  The machines are not asked any more: the addresses go, the trees are seen gone,
 * RELEASE, the end.
 */
void engine_become_orphan(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (e->orphan)
		return;
	e->orphan = true;
	e->orphan_since = w->now;
	STORY(w, h, "engine: the keeper is gone, ending");
	keeper_die(w, h);
	if (w->scenario.tooth != TOOTH_GUARD)
		keeper_kill_all(w, h, false);
	glue_order_address(w, h, false);
}

static void orphan_progress(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime waited = w->now - e->orphan_since;

	if ((keeper_populated(h) && waited < TREE_WAIT) ||
	    (e->address_order && waited < ADDRESS_WAIT)) {
		e->armed = w->now + MTIME_MS(5);
		world_post(w, MTIME_MS(5), EVENT_ENGINE_WAKE, h->row)->life = e->life;
		return;
	}
	if (e->ready)
		glue_last_words(w, h);
	STORY(w, h, "engine ends");
	engine_die(w, h);
}

/* ---- timers ------------------------------------------------------------------------------------------------ */

static mtime next_wake(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h), at = e->keeper_silent_at;

	if (!e->ready)
		return at;
	at = mtime_min(at, e->hello_at + service_hello_interval(&e->fsm, now));
	if (e->sockets)
		at = mtime_min(at, e->probe_at + service_probe_interval(&e->fsm, now));
	if (e->sockets && service_wants_conflict_probe(&e->fsm, now))
		at = mtime_min(at, e->conflict_at + service_probe_interval(&e->fsm, now));
	at = mtime_min(at, service_deadline(&e->fsm, now));
	if (w->scenario.details)
		at = mtime_min(at, e->details_at + MTIME_SEC(1));
	if (glue_holds_addresses(&e->fsm))
		at = mtime_min(at, e->lease_at + w->scenario.vip_lease / 4);
	for (unsigned i = 0; i < w->scenario.n_programs; i++)
		at = mtime_min(at, program_deadline(&e->programs[i]));
	return at;
}

void engine_arm(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime at = next_wake(w, h);

	if (at == MTIME_NEVER)
		return;
	at = mtime_max(host_world(h, at), w->now + MTIME_US(10));
	if (e->armed && e->armed <= at)
		return;
	e->armed = at;
	world_post(w, at - w->now, EVENT_ENGINE_WAKE, h->row)->life = e->life;
}

static void timers_io(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h);

	mtime probe = service_probe_interval(&e->fsm, now);

	/* An answer renews S, which promises that the peers have heard of us shortly before. */
	if (e->sockets && now >= e->probe_at + probe) {
		e->probe_at = now;
		if (e->fsm.may_run && now - e->hello_at > probe / 50)
			glue_hello(w, h);
		network_probe_targets(w, h);
	}
	if (e->sockets && service_wants_conflict_probe(&e->fsm, now) &&
	    now >= e->conflict_at + probe) {
		e->conflict_at = now;
		network_probe_address(w, h);
	}
	if (now >= e->hello_at + service_hello_interval(&e->fsm, now))
		glue_hello(w, h);
	if (w->scenario.details && now >= e->details_at + MTIME_SEC(1))
		glue_details(w, h);
	if (glue_holds_addresses(&e->fsm) && now >= e->lease_at + w->scenario.vip_lease / 4)
		glue_refresh_lease(w, h);
}

static void tick(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct program_event program = { .type = PROGRAM_EV_TICK };
	struct service_event service = { .type = SERVICE_EV_TICK };

	if (host_now(w, h) >= e->keeper_silent_at) {
		e->keeper_silent_at = MTIME_NEVER;
		if (w->scenario.tooth != TOOTH_KEEPER_TIMEOUT)
			engine_become_orphan(w, h);
	}
	if (!e->ready || e->orphan)
		return;
	glue_service(w, h, &service);
	for (unsigned i = 0; i < w->scenario.n_programs; i++)
		if (host_now(w, h) >= program_deadline(&e->programs[i]))
			glue_program(w, h, i, &program);
	timers_io(w, h);
}

static void after(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (e->orphan) {
		orphan_progress(w, h);
		return;
	}
	glue_settle(w, h);
	if (e->ended) {
		e->ended = false;
		keeper_post(w, h, ORDER_DONE);
	}
	engine_arm(w, h);
}

/* ---- birth, stop, death ---------------------------------------------------------------------------------------- */

void engine_start(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct keeper *k = &h->keeper;
	struct backlog keep = e->backlog;
	uint32_t life = e->life;

	*e = (struct engine){ .alive = true, .life = life + 1, .backlog = keep,
			      .keeper_silent_at = MTIME_NEVER, .has_baton = k->has_baton,
			      .baton = k->baton };
	e->backlog.n = 0;
	k->engines++;
	e->orders = (uint64_t)k->engines << 32; /* none that an engine before used */
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++) {
		if (h->runs[i].state == RUN_FORKED) /* nobody waits for its result any more */
			h->runs[i].state = RUN_NONE;
		e->found[i] = h->runs[i];
	}
	glue_init(w, h);
	STORY(w, h, "engine starts%s", k->has_baton ? " and goes on from the baton" : "");
	e->last_arrival = w->now + world_noise(w, MTIME_MS(1), MTIME_MS(5));
	engine_post(w, h, e->last_arrival - w->now, INPUT_READY);
	if (h->net_alive) {
		mtime net = mtime_max(e->last_arrival, h->net_free_at) - w->now;

		engine_post(w, h, net + world_noise(w, MTIME_US(100), MTIME_MS(10)), INPUT_SOCKETS);
		engine_post(w, h, net + world_noise(w, MTIME_US(100), MTIME_MS(10)), INPUT_LINK);
	}
	if (k->ending)
		engine_post(w, h, MTIME_MS(20), INPUT_SHUTDOWN);
}

void engine_die(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (!e->alive)
		return;
	e->alive = e->stalled = false;
	e->life++;
	e->backlog.n = 0;
	if (h->keeper.alive)
		keeper_engine_died(w, h);
	else
		host_supd_gone(w, h);
}

void engine_stall(struct world *w, struct host *h, mtime length)
{
	struct engine *e = &h->engine;
	mtime until = w->now + length;

	if (!e->alive || (e->stalled && e->resume_at >= until))
		return;
	e->resume_at = until;
	world_post(w, length, EVENT_ENGINE_RESUME, h->row)->life = e->life;
	if (!e->stalled)
		keeper_engine_silent(w, h);
	e->stalled = true;
}

static void resume(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct backlog b = e->backlog;
	uint32_t life = e->life;

	if (!e->stalled || w->now < e->resume_at)
		return;
	e->stalled = false;
	e->backlog = (struct backlog){ 0 };
	STORY(w, h, "engine goes on");
	for (unsigned i = 0; i < b.n && e->alive && e->life == life; i++)
		input_handle(w, h, &b.e[i].input);
	b.n = 0;
	e->backlog = b;
	if (!e->alive || e->life != life)
		return;
	e->keeper_silent_at = MTIME_NEVER;
	if (h->keeper.alive && h->keeper.stalled)
		e->keeper_silent_at = host_now(w, h) + w->engine_timeout +
				      w->engine_timeout / 4;
	e->armed = 0;
	tick(w, h);
	after(w, h);
}

void engine_event(struct world *w, const struct event *ev)
{
	struct host *h = &w->hosts[ev->host];
	struct engine *e = &h->engine;

	if (ev->type == EVENT_ENGINE_BORN) {
		if (h->keeper.alive && ev->life == h->keeper.life && !e->alive)
			engine_start(w, h);
		return;
	}
	if (!e->alive || ev->life != e->life)
		return;
	if (ev->type == EVENT_ENGINE_RESUME) {
		resume(w, h);
	} else if (e->stalled) {
		if (ev->type == EVENT_ENGINE_INPUT)
			backlog_add(&e->backlog, ev);
	} else if (ev->type == EVENT_ENGINE_INPUT) {
		input_handle(w, h, &ev->input);
		after(w, h);
	} else if (ev->at == e->armed) {
		e->armed = 0;
		tick(w, h);
		after(w, h);
	}
}
