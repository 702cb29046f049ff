/* SPDX-License-Identifier: MIT */
#include "supd/core/program_internal.h"

#include <limits.h>

/*
 * What the keeper reports of a program's run: begun, failed to begin, its main process ended, all
 * of it gone, or found alive by a new engine; and what is found out about it while it lives.
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

static void become_ready(struct program_fsm *p, mtime at, struct program_actions *out)
{
	program_set_state(p, PROGRAM_STATE_RUNNING, out);
	p->ready = true;
	p->ready_at = at;
	p->ready_by = MTIME_NEVER;
	p->last_stage = UINT_MAX;
	p->last_errno = 0;
	program_emit(out, PROGRAM_ACT_READY, p->run);
}

/* Its main process is up: that is all, or it has some time to get ready in. */
static void is_up(struct program_fsm *p, bool ready, struct program_actions *out)
{
	if (ready || p->config.ready_timeout == 0) {
		become_ready(p, p->started_at, out);
		return;
	}
	program_set_state(p, PROGRAM_STATE_STARTING, out);
	p->ready_by = mtime_add(p->started_at, p->config.ready_timeout);
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
		is_up(p, false, out);
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
	if (p->state == PROGRAM_STATE_EXITED && !p->post_owed)
		program_emit(out, PROGRAM_ACT_ENDED, p->run);
}

static enum program_end end_of(const struct program_fsm *p, const struct program_event *ev)
{
	if (p->failing != PROGRAM_END_NONE)
		return p->failing;
	if (ev->end != PROGRAM_END_NONE)
		return ev->end;
	return p->state == PROGRAM_STATE_STOPPING ? PROGRAM_END_ASKED : PROGRAM_END_DIED;
}

void program_on_exited(struct program_fsm *p, const struct program_event *ev, mtime now,
		       struct program_actions *out)
{
	/* Killed for what it did not do, it may well have ended with an exit code that is expected. */
	static const struct program_exit unexpected = {.code = -1};
	mtime ready_for = p->ready ? now - p->ready_at : 0;

	if (!p->main_alive || ev->run != p->run)
		return;
	p->main_alive = false;
	p->pid = 0;
	p->ready = false;
	p->ready_by = MTIME_NEVER;
	p->has_exited = true;
	p->last_exit = ev->exit;
	p->last_end = end_of(p, ev);
	if (p->failing != PROGRAM_END_NONE)
		main_ended(p, &unexpected, p->failed_after, now, out);
	else if (p->state != PROGRAM_STATE_STOPPING)
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
	p->post_owed = p->config.has_post_stop;
	if (p->main_alive) {
		is_up(p, ev->ready, out);
		return;
	}
	/* It ended while no engine looked, and nobody knows how. */
	main_ended(p, &(struct program_exit){.code = -1}, 0, now, out);
	program_kill_tree(p, now, out);
}

/* ---- what is found out about it while it lives ------------------------------------------------- */

/* The present run's, and nobody is ending it. */
static bool is_about_us(const struct program_fsm *p, const struct program_event *ev,
			enum program_state state)
{
	return p->state == state && p->main_alive && ev->run == p->run;
}

void program_on_ready(struct program_fsm *p, const struct program_event *ev, mtime now,
		      struct program_actions *out)
{
	if (is_about_us(p, ev, PROGRAM_STATE_STARTING))
		become_ready(p, now, out);
}

void program_on_unhealthy(struct program_fsm *p, const struct program_event *ev, mtime now,
			  struct program_actions *out)
{
	if (is_about_us(p, ev, PROGRAM_STATE_RUNNING))
		program_fail(p, ev->end, now, out);
}

void program_on_main(struct program_fsm *p, const struct program_event *ev, mtime now,
		     struct program_actions *out)
{
	if (!p->main_alive || ev->run != p->run)
		return;
	p->pid = ev->pid;
	if (p->config.ready_at_main)
		program_on_ready(p, ev, now, out);
}

void program_on_extend(struct program_fsm *p, const struct program_event *ev, mtime now)
{
	if (is_about_us(p, ev, PROGRAM_STATE_STARTING))
		p->ready_by = mtime_max(p->ready_by, mtime_add(now, ev->extend));
}

static void pre_start_failed(struct program_fsm *p, const struct program_event *ev, mtime now,
			     struct program_actions *out)
{
	p->last_stage = ev->stage;
	p->last_errno = ev->error;
	died(p, 0, now, out);
}

void program_on_hook_done(struct program_fsm *p, const struct program_event *ev, mtime now,
			  struct program_actions *out)
{
	if (p->hook == PROGRAM_HOOK_NONE || ev->hook != p->hook)
		return;
	p->hook = PROGRAM_HOOK_NONE;
	p->hook_killed = false;
	if (ev->hook == PROGRAM_HOOK_POST_STOP) {
		p->post_owed = false;
		if (p->state == PROGRAM_STATE_EXITED)
			program_emit(out, PROGRAM_ACT_ENDED, p->run);
	} else if (p->state == PROGRAM_STATE_STARTING) {
		if (ev->ok)
			program_order_spawn(p, out);
		else
			pre_start_failed(p, ev, now, out);
	}
}
