/* SPDX-License-Identifier: MIT */
#include "supd/core/program_internal.h"

#include <limits.h>

/*
 * What the keeper reports of a program's run: begun, failed to begin, its main process ended, all
 * of it gone, or found alive by a new engine.
 */

static bool is_expected(const struct program_config *c, const struct program_exit *x)
{
	return x->code >= 0 && x->code < 256 &&
	       (c->exitcodes[x->code / 8] >> (x->code % 8) & 1) != 0;
}

static bool restarts_after(const struct program_config *c, const struct program_exit *x)
{
	switch (c->autorestart) {
	case PROGRAM_RESTART_ALWAYS:
		return true;
	case PROGRAM_RESTART_UNEXPECTED:
		return !is_expected(c, x);
	case PROGRAM_RESTART_NEVER:
		return false;
	}
	return true;
}

static void died(struct program_fsm *p, mtime ready_for, mtime now, struct program_actions *out)
{
	mtime delay = restart_policy_death(&p->policy, ready_for);

	p->allowed = false;
	program_wait_for_start(p, mtime_add(now, delay), out);
	program_emit(out, PROGRAM_ACT_DIED, p->run);
	if (restart_policy_exhausted(&p->policy))
		program_emit(out, PROGRAM_ACT_LIMIT, p->run);
}

/* Unasked. */
static void main_ended(struct program_fsm *p, const struct program_exit *x, mtime ready_for,
		       mtime now, struct program_actions *out)
{
	if (restarts_after(&p->config, x))
		died(p, ready_for, now, out);
	else
		program_set_state(p, PROGRAM_STATE_EXITED, out);
}

static void take_run(struct program_fsm *p, const struct program_event *ev, mtime now)
{
	p->run = ev->run;
	p->pid = ev->pid;
	p->started_at = ev->started_at > 0 ? ev->started_at : now;
	p->tree_alive = true;
	p->main_alive = ev->type != PROGRAM_EV_ADOPT || ev->pid > 0;
	p->killed = false;
	p->unkillable = false;
	p->gone_early = false;
}

static void become_ready(struct program_fsm *p, struct program_actions *out)
{
	program_set_state(p, PROGRAM_STATE_RUNNING, out);
	p->ready = true;
	p->ready_at = p->started_at;
	p->last_stage = UINT_MAX;
	p->last_errno = 0;
	program_emit(out, PROGRAM_ACT_READY, p->run);
}

/* Something lives that nobody here ordered: make it go. */
static void on_stray(struct program_fsm *p, const struct program_event *ev, mtime now,
		     struct program_actions *out)
{
	if (p->tree_alive) {
		if (ev->run != p->run)
			program_emit(out, PROGRAM_ACT_KILL, ev->run);
		return;
	}
	take_run(p, ev, now);
	program_set_state(p, PROGRAM_STATE_STOPPING, out);
	program_kill_tree(p, now, out);
}

void program_on_spawned(struct program_fsm *p, const struct program_event *ev, mtime now,
			struct program_actions *out)
{
	if (!p->ordered) {
		on_stray(p, ev, now, out);
		return;
	}
	p->ordered = false;
	take_run(p, ev, now);
	if (p->state == PROGRAM_STATE_STARTING)
		become_ready(p, out);
	else if (p->kill_asked)
		program_kill_tree(p, now, out);
	else
		program_send_stop_signal(p, now, out);
}

void program_on_spawn_failed(struct program_fsm *p, const struct program_event *ev, mtime now,
			     struct program_actions *out)
{
	if (!p->ordered)
		return;
	p->ordered = false;
	p->last_stage = ev->stage;
	p->last_errno = ev->error;
	if (p->state == PROGRAM_STATE_STARTING)
		died(p, 0, now, out);
}

static void tree_is_gone(struct program_fsm *p, struct program_actions *out)
{
	p->tree_alive = false;
	p->killed = false;
	p->unkillable = false;
	p->gone_early = false;
	p->stop_at = MTIME_NEVER;
	if (p->state == PROGRAM_STATE_EXITED)
		program_emit(out, PROGRAM_ACT_ENDED, p->run);
}

void program_on_exited(struct program_fsm *p, const struct program_event *ev, mtime now,
		       struct program_actions *out)
{
	mtime ready_for = p->ready ? now - p->ready_at : 0;

	if (!p->main_alive || ev->run != p->run)
		return;
	p->main_alive = false;
	p->pid = 0;
	p->ready = false;
	p->has_exited = true;
	p->last_exit = ev->exit;
	if (p->state == PROGRAM_STATE_RUNNING)
		main_ended(p, &ev->exit, ready_for, now, out);
	if (p->gone_early)
		tree_is_gone(p, out);
	else
		program_kill_tree(p, now, out);
}

void program_on_gone(struct program_fsm *p, const struct program_event *ev,
		     struct program_actions *out)
{
	if (!p->tree_alive || ev->run != p->run)
		return;
	if (p->main_alive)
		p->gone_early = true; /* EXITED follows, and knows how it ended */
	else
		tree_is_gone(p, out);
}

void program_on_adopt(struct program_fsm *p, const struct program_event *ev, mtime now,
		      struct program_actions *out)
{
	if (!program_gone(p) || p->state != PROGRAM_STATE_STOPPED)
		return;
	take_run(p, ev, now);
	p->wanted = true;
	if (p->main_alive) {
		become_ready(p, out);
		return;
	}
	/* It ended while no engine looked, and nobody knows how. */
	main_ended(p, &(struct program_exit){.code = -1}, 0, now, out);
	program_kill_tree(p, now, out);
}
