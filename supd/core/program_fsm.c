/* SPDX-License-Identifier: MIT */
#include "supd/core/program_fsm.h"

#include <limits.h>
#include <string.h>

/*
 * One program.  Three things are kept apart, and most of the code follows from that:
 *
 *   wanted       what somebody asked for: START, STOP and their kin change only this
 *   alive        what the keeper reported: `ordered` (unknown), main_alive, tree_alive
 *   state        what the outside is told; STOPPING means "on the way to nothing alive"
 *
 *                     START                SPAWNED                 EXITED unasked
 *   stopped, fatal ----------> starting ------------> running --------------------> backoff
 *        ^   ^                  |    ^                   |      (or exited, where the end was
 *        |   |             STOP |    | due, allowed,     | STOP  the expected one)
 *        |   |                  v    | nothing alive     v
 *        |   +------------- stopping <---- backoff    stopping: signal, stopwaitsecs, kill
 *        +------------------- GONE
 *
 * settle() is the one place that decides what follows once nothing is alive: it is called at the
 * end of every step, so a start can never overtake the end of the run before (issue Q16 of every
 * other supervisor: a start over left-overs).
 *
 * Invariants (program_check()):
 *   - SPAWN is emitted only while nothing is alive and no order is outstanding;
 *   - at most one run is known at a time; a report about another run changes nothing, and a run
 *     that nobody here ordered is killed;
 *   - whatever the main process leaves behind is killed when it ends, and the next start waits
 *     until it is gone;
 *   - gated: each SPAWN uses up one permission; START brings one (its service has just been
 *     granted its term), a restart waits for ALLOW, and so does a person's RESTART;
 *   - a start order whose result does not come is waited for: only the keeper knows whether
 *     something lives, and its silence is the engine's business, not a program's.
 */

const char *program_state_name(enum program_state s)
{
	static const char *const names[] = {
#define X(name, text) [PROGRAM_STATE_##name] = text,
		PROGRAM_STATES(X)
#undef X
	};

	return names[s];
}

static void emit(struct program_actions *out, enum program_action_type type, uint32_t run)
{
	if (out->n < PROGRAM_ACTIONS_MAX)
		out->a[out->n++] = (struct program_action){ .type = type, .run = run };
}

/* The one place where the state changes. */
static void set_state(struct program_fsm *p, enum program_state to, struct program_actions *out)
{
	enum program_state from = p->state;

	if (from == to)
		return;
	p->state = to;
	if (to != PROGRAM_STATE_BACKOFF) {
		p->next_start = MTIME_NEVER;
		p->due = false;
	}
	if (to != PROGRAM_STATE_STOPPING) {
		p->kill_asked = false;
		p->giving_up = false;
	}
	emit(out, PROGRAM_ACT_STATE, p->run);
	out->a[out->n - 1].from = from;
}

void program_init(struct program_fsm *p, const struct program_config *config)
{
	memset(p, 0, sizeof(*p));
	p->config = *config;
	p->state = PROGRAM_STATE_STOPPED;
	p->next_start = MTIME_NEVER;
	p->stop_at = MTIME_NEVER;
	p->last_exit = (struct program_exit){ .code = -1 };
	p->last_stage = UINT_MAX;
	restart_policy_init(&p->policy, config->restart_limit, config->restart_window,
			    config->restart_delay_max, config->startsecs);
}

bool program_gone(const struct program_fsm *p)
{
	return !p->tree_alive && !p->main_alive && !p->ordered;
}

bool program_wants_allow(const struct program_fsm *p, mtime now)
{
	return p->state == PROGRAM_STATE_BACKOFF && p->config.gated && !p->allowed &&
	       program_gone(p) && now >= p->next_start;
}

/* ---- small actions ------------------------------------------------------------------------- */

static void kill_tree(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (!p->tree_alive || p->killed)
		return;
	p->killed = true;
	p->stop_at = mtime_add(now, p->config.kill_wait);
	emit(out, PROGRAM_ACT_KILL, p->run);
}

static void send_stop_signal(struct program_fsm *p, mtime now, struct program_actions *out)
{
	p->stop_at = mtime_add(now, p->config.stopwaitsecs);
	emit(out, PROGRAM_ACT_SIGNAL, p->run);
	out->a[out->n - 1].signo = p->config.stopsignal;
}

static void order_start(struct program_fsm *p, struct program_actions *out)
{
	p->ordered = true;
	p->allowed = false;
	set_state(p, PROGRAM_STATE_STARTING, out);
	emit(out, PROGRAM_ACT_SPAWN, 0);
}

/* Backoff with nothing alive: order the start if it is due and allowed, else say what it waits for. */
static void start_or_wait(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (now < p->next_start)
		return;
	if (!p->config.gated || p->allowed) {
		order_start(p, out);
	} else if (!p->due) {
		p->due = true;
		emit(out, PROGRAM_ACT_WANTS_ALLOW, 0);
	}
}

static void wait_for_start(struct program_fsm *p, mtime at, struct program_actions *out)
{
	set_state(p, PROGRAM_STATE_BACKOFF, out);
	p->next_start = at;
	p->due = false;
}

static void end_as(struct program_fsm *p, enum program_state to, struct program_actions *out)
{
	set_state(p, to, out);
	emit(out, PROGRAM_ACT_ENDED, p->run);
}

/* What follows once nothing is alive. */
static void settle(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (!program_gone(p))
		return;
	switch (p->state) {
	case PROGRAM_STATE_STOPPING:
		if (!p->wanted) {
			end_as(p, p->giving_up ? PROGRAM_STATE_FATAL : PROGRAM_STATE_STOPPED, out);
		} else if (!p->config.gated || p->allowed) {
			order_start(p, out);
		} else {
			wait_for_start(p, now, out);
			start_or_wait(p, now, out);
		}
		break;
	case PROGRAM_STATE_BACKOFF:
		start_or_wait(p, now, out);
		break;
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_RUNNING:
	case PROGRAM_STATE_EXITED:
	case PROGRAM_STATE_FATAL:
		break;
	}
}

/* ---- what somebody asks for ------------------------------------------------------------------ */

/* Nothing runs, and something shall: now, or as soon as the left-overs of the last run are gone. */
static void begin(struct program_fsm *p, mtime now, struct program_actions *out)
{
	p->wanted = true;
	p->allowed = true;
	restart_policy_reset(&p->policy);
	if (program_gone(p))
		order_start(p, out);
	else
		wait_for_start(p, now, out);
}

static void on_start(struct program_fsm *p, mtime now, struct program_actions *out)
{
	switch (p->state) {
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		begin(p, now, out);
		break;
	case PROGRAM_STATE_STOPPING:
		if (!p->wanted) {
			p->wanted = true;
			p->allowed = true;
			p->giving_up = false;
			restart_policy_reset(&p->policy);
		}
		break;
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_RUNNING:
	case PROGRAM_STATE_BACKOFF:
	case PROGRAM_STATE_EXITED: /* ended as configured: its next start is the next way up */
		break;
	}
}

static void on_start_person(struct program_fsm *p, mtime now, struct program_actions *out)
{
	switch (p->state) {
	case PROGRAM_STATE_EXITED:
		begin(p, now, out);
		break;
	case PROGRAM_STATE_BACKOFF:
		p->next_start = mtime_min(p->next_start, now);
		break;
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
	case PROGRAM_STATE_STOPPING:
		on_start(p, now, out);
		break;
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_RUNNING:
		break;
	}
	restart_policy_reset(&p->policy);
}

static void stop_running(struct program_fsm *p, bool kill, mtime now, struct program_actions *out)
{
	p->ready = false;
	set_state(p, PROGRAM_STATE_STOPPING, out);
	if (kill)
		kill_tree(p, now, out);
	else
		send_stop_signal(p, now, out);
}

static void on_restart(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (p->state != PROGRAM_STATE_RUNNING) {
		on_start_person(p, now, out);
		return;
	}
	restart_policy_reset(&p->policy);
	stop_running(p, false, now, out);
}

/* STOP, GIVE_UP and KILL, in every state. */
static void on_unwanted(struct program_fsm *p, enum program_event_type how, mtime now,
			struct program_actions *out)
{
	bool give_up = how == PROGRAM_EV_GIVE_UP;
	bool kill = how == PROGRAM_EV_KILL;
	enum program_state end = give_up ? PROGRAM_STATE_FATAL : PROGRAM_STATE_STOPPED;

	p->wanted = false;
	p->allowed = false;
	if (program_gone(p)) {
		if (p->state != end)
			end_as(p, end, out);
		return;
	}
	if (p->state == PROGRAM_STATE_RUNNING)
		stop_running(p, kill, now, out);
	else
		set_state(p, PROGRAM_STATE_STOPPING, out);
	p->giving_up = give_up;
	if (kill) {
		p->kill_asked = true;
		kill_tree(p, now, out);
	}
}

static void on_allow(struct program_fsm *p, mtime now)
{
	/*
	 * It stands for a fence of this moment.  Kept for a start that is not due yet, or for one
	 * that nobody waits for, it would let that start pass on stale evidence.
	 */
	if ((p->state == PROGRAM_STATE_BACKOFF && now >= p->next_start) ||
	    (p->state == PROGRAM_STATE_STOPPING && p->wanted))
		p->allowed = true;
}

/* ---- what the keeper reports ------------------------------------------------------------------ */

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
	wait_for_start(p, mtime_add(now, delay), out);
	emit(out, PROGRAM_ACT_DIED, p->run);
	if (restart_policy_exhausted(&p->policy))
		emit(out, PROGRAM_ACT_LIMIT, p->run);
}

/* Unasked. */
static void main_ended(struct program_fsm *p, const struct program_exit *x, mtime ready_for,
		       mtime now, struct program_actions *out)
{
	if (restarts_after(&p->config, x))
		died(p, ready_for, now, out);
	else
		set_state(p, PROGRAM_STATE_EXITED, out);
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
	set_state(p, PROGRAM_STATE_RUNNING, out);
	p->ready = true;
	p->ready_at = p->started_at;
	p->last_stage = UINT_MAX;
	p->last_errno = 0;
	emit(out, PROGRAM_ACT_READY, p->run);
}

/* Something lives that nobody here ordered: make it go. */
static void on_stray(struct program_fsm *p, const struct program_event *ev, mtime now,
		     struct program_actions *out)
{
	if (p->tree_alive) {
		if (ev->run != p->run)
			emit(out, PROGRAM_ACT_KILL, ev->run);
		return;
	}
	take_run(p, ev, now);
	set_state(p, PROGRAM_STATE_STOPPING, out);
	kill_tree(p, now, out);
}

static void on_spawned(struct program_fsm *p, const struct program_event *ev, mtime now,
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
		kill_tree(p, now, out);
	else
		send_stop_signal(p, now, out);
}

static void on_spawn_failed(struct program_fsm *p, const struct program_event *ev, mtime now,
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
		emit(out, PROGRAM_ACT_ENDED, p->run);
}

static void on_exited(struct program_fsm *p, const struct program_event *ev, mtime now,
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
		kill_tree(p, now, out);
}

static void on_gone(struct program_fsm *p, const struct program_event *ev,
		    struct program_actions *out)
{
	if (!p->tree_alive || ev->run != p->run)
		return;
	if (p->main_alive)
		p->gone_early = true; /* EXITED follows, and knows how it ended */
	else
		tree_is_gone(p, out);
}

static void on_adopt(struct program_fsm *p, const struct program_event *ev, mtime now,
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
	main_ended(p, &(struct program_exit){ .code = -1 }, 0, now, out);
	kill_tree(p, now, out);
}

/* ---- time ---------------------------------------------------------------------------------------- */

static void on_tick(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (p->state == PROGRAM_STATE_RUNNING)
		restart_policy_ready(&p->policy, now - p->ready_at);
	if (!p->tree_alive || now < p->stop_at)
		return;
	if (!p->killed) {
		kill_tree(p, now, out);
		return;
	}
	p->stop_at = MTIME_NEVER;
	p->unkillable = true;
	emit(out, PROGRAM_ACT_UNKILLABLE, p->run);
}

mtime program_deadline(const struct program_fsm *p)
{
	switch (p->state) {
	case PROGRAM_STATE_RUNNING:
		return p->policy.counted > 0 ? mtime_add(p->ready_at, p->policy.window)
					     : MTIME_NEVER;
	case PROGRAM_STATE_BACKOFF:
		if (p->tree_alive)
			return p->stop_at;
		return p->due ? MTIME_NEVER : p->next_start;
	case PROGRAM_STATE_STOPPING:
	case PROGRAM_STATE_EXITED:
		return p->tree_alive ? p->stop_at : MTIME_NEVER;
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_FATAL:
		return MTIME_NEVER;
	}
	return MTIME_NEVER;
}

void program_step(struct program_fsm *p, const struct program_event *ev, mtime now,
		  struct program_actions *out)
{
	out->n = 0;
	switch (ev->type) {
	case PROGRAM_EV_TICK:
		on_tick(p, now, out);
		break;
	case PROGRAM_EV_START:
		on_start(p, now, out);
		break;
	case PROGRAM_EV_START_PERSON:
		on_start_person(p, now, out);
		break;
	case PROGRAM_EV_STOP:
	case PROGRAM_EV_KILL:
	case PROGRAM_EV_GIVE_UP:
		on_unwanted(p, ev->type, now, out);
		break;
	case PROGRAM_EV_RESTART:
		on_restart(p, now, out);
		break;
	case PROGRAM_EV_ALLOW:
		on_allow(p, now);
		break;
	case PROGRAM_EV_SPAWNED:
		on_spawned(p, ev, now, out);
		break;
	case PROGRAM_EV_SPAWN_FAILED:
		on_spawn_failed(p, ev, now, out);
		break;
	case PROGRAM_EV_EXITED:
		on_exited(p, ev, now, out);
		break;
	case PROGRAM_EV_GONE:
		on_gone(p, ev, out);
		break;
	case PROGRAM_EV_ADOPT:
		on_adopt(p, ev, now, out);
		break;
	}
	settle(p, now, out);
}

/* ---- invariants ------------------------------------------------------------------------------------ */

static bool check_state(const struct program_fsm *p)
{
	switch (p->state) {
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		return !p->wanted && program_gone(p);
	case PROGRAM_STATE_STARTING:
		return p->wanted && p->ordered;
	case PROGRAM_STATE_RUNNING:
		return p->wanted && p->main_alive && !p->killed && p->ready;
	case PROGRAM_STATE_BACKOFF:
		return p->wanted && !p->main_alive && !p->ordered && p->next_start != MTIME_NEVER;
	case PROGRAM_STATE_STOPPING:
		return !program_gone(p);
	case PROGRAM_STATE_EXITED:
		return p->wanted && !p->main_alive && !p->ordered;
	}
	return false;
}

bool program_check(const struct program_fsm *p)
{
	if (!check_state(p))
		return false;
	if (p->ready != (p->state == PROGRAM_STATE_RUNNING))
		return false;
	if (p->next_start != MTIME_NEVER && p->state != PROGRAM_STATE_BACKOFF)
		return false;
	return (!p->main_alive || p->tree_alive) && (!p->ordered || !p->tree_alive) &&
	       (!p->killed || p->tree_alive) && (!p->unkillable || p->killed) &&
	       (!p->gone_early || p->main_alive) &&
	       (!p->giving_up || p->state == PROGRAM_STATE_STOPPING) &&
	       (p->tree_alive || p->stop_at == MTIME_NEVER);
}
