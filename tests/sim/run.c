/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <signal.h>

/*
 * The kernel's truth about programs.
 *
 * A run is alive from its exec until SIGKILL is pending for every task of it ("dead"); it is gone
 * when its cgroup is empty.  What happens to a run happens whether the keeper runs or not; only
 * telling the engine waits while the keeper is stopped.
 */

/* ---- telling the engine ------------------------------------------------------------------------ */

mtime keeper_late(const struct world *w, const struct host *h)
{
	return h->keeper.stalled ? mtime_max(h->keeper.resume_at - w->now, 0) : 0;
}

/* In order, and not before the keeper runs again. */
struct input *keeper_tell(struct world *w, struct host *h, enum input_type type)
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
	in = keeper_tell(w, h, type);
	in->run.program = (uint8_t)program;
	in->run.run = r->number;
	in->run.order = r->order;
	in->run.exit = (struct program_exit){ .code = -1, .signo = SIGKILL };
}

void run_tell_failed(struct world *w, struct host *h, unsigned program, uint64_t order)
{
	struct input *in;

	if (!h->keeper.alive || !h->engine.alive)
		return;
	in = keeper_tell(w, h, INPUT_SPAWN_FAILED);
	in->run.program = (uint8_t)program;
	in->run.order = order;
}

void keeper_tell_quiesced(struct world *w, struct host *h, uint64_t term, bool by_deadline)
{
	struct input *in;

	if (!h->engine.alive)
		return;
	in = keeper_tell(w, h, INPUT_QUIESCED);
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

void run_later(struct world *w, struct host *h, unsigned program, mtime in,
		      enum event_type type)
{
	struct event *e = world_post(w, in, type, h->row);

	e->program = (uint8_t)program;
	e->number = h->runs[program].number;
}

/* SIGKILL is pending for all of it. */
void run_kill(struct world *w, struct host *h, unsigned program, const char *why)
{
	struct run *r = &h->runs[program];
	mtime reaped = world_noise(w, MTIME_US(50), MTIME_MS(5));
	mtime gone = w->scenario.heavy ? world_noise(w, MTIME_MS(1), MTIME_SEC(1)) : MTIME_US(100);

	if (r->state == RUN_FORKED) {
		r->state = RUN_NONE;
		run_tell_failed(w, h, program, r->order);
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

void run_kill_all(struct world *w, struct host *h, const char *why)
{
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		run_kill(w, h, i, why);
}

void keeper_kill_all(struct world *w, struct host *h, bool by_deadline)
{
	run_kill_all(w, h, by_deadline ? "deadline" : "killed");
}

void keeper_program_dies(struct world *w, struct host *h, unsigned program, bool only_main)
{
	struct run *r = &h->runs[program];

	if (r->state != RUN_ALIVE)
		return;
	if (!only_main || !r->main_alive) {
		run_kill(w, h, program, "by itself");
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
		run_tell_failed(w, h, program, r->order);
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

void run_event(struct world *w, struct host *h, const struct event *e)
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
