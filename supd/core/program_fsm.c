/* SPDX-License-Identifier: MIT */
#include "supd/core/program_internal.h"

#include <limits.h>
#include <string.h>

/*
 * One program.  Three things are kept apart, and most of the code follows from that:
 *
 *   wanted       what somebody asked for: START, STOP and their kin change only this
 *   alive        what the keeper reported: `ordered` (unknown), main_alive, tree_alive, `hook`
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
 *   starting = [pre_start] -> ordered -> [waits to be ready]
 *   an end   = GONE -> [post_stop] -> what the state says
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
 *     granted its term), a restart waits for ALLOW, and so does what a person asks for;
 *   - post_stop follows each end of a start that was tried, pre_start's failure included, but not
 *     a KILL: then the service is another node's, and nothing of it may run here any more;
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

const char *program_end_name(enum program_end e)
{
	static const char *const names[] = {
#define X(name, text) [PROGRAM_END_##name] = text,
		PROGRAM_ENDS(X)
#undef X
	};

	return names[e];
}

void program_emit(struct program_actions *out, enum program_action_type type, uint32_t run)
{
	if (out->n < PROGRAM_ACTIONS_MAX)
		out->a[out->n++] = (struct program_action){.type = type, .run = run};
}

/* The one place where the state changes. */
void program_set_state(struct program_fsm *p, enum program_state to, struct program_actions *out)
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
		p->failing = PROGRAM_END_NONE;
	}
	program_emit(out, PROGRAM_ACT_STATE, p->run);
	out->a[out->n - 1].from = from;
}

void program_init(struct program_fsm *p, const struct program_config *config)
{
	memset(p, 0, sizeof(*p));
	p->config = *config;
	p->state = PROGRAM_STATE_STOPPED;
	p->next_start = MTIME_NEVER;
	p->stop_at = MTIME_NEVER;
	p->ready_by = MTIME_NEVER;
	p->last_exit = (struct program_exit){.code = -1};
	p->last_stage = UINT_MAX;
	restart_policy_init(&p->policy, config->restart_limit, config->restart_window,
			    config->restart_delay_max, config->startsecs);
}

bool program_gone(const struct program_fsm *p)
{
	return !p->tree_alive && !p->main_alive && !p->ordered &&
	       p->hook == PROGRAM_HOOK_NONE && !p->post_owed;
}

bool program_wants_allow(const struct program_fsm *p, mtime now)
{
	return p->state == PROGRAM_STATE_BACKOFF && p->config.gated && !p->allowed &&
	       program_gone(p) && now >= p->next_start;
}

/* ---- small actions ------------------------------------------------------------------------- */

void program_kill_tree(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (!p->tree_alive || p->killed)
		return;
	p->killed = true;
	p->stop_at = mtime_add(now, p->config.kill_wait);
	program_emit(out, PROGRAM_ACT_KILL, p->run);
}

void program_send_stop_signal(struct program_fsm *p, mtime now, struct program_actions *out)
{
	p->stop_at = mtime_add(now, p->config.stopwaitsecs);
	program_emit(out, PROGRAM_ACT_SIGNAL, p->run);
	out->a[out->n - 1].signo = p->config.stopsignal;
}

static void order_hook(struct program_fsm *p, enum program_hook hook, struct program_actions *out)
{
	p->hook = hook;
	p->hook_killed = false;
	program_emit(out, PROGRAM_ACT_HOOK, p->run);
	out->a[out->n - 1].hook = hook;
}

void program_kill_hook(struct program_fsm *p, struct program_actions *out)
{
	if (p->hook == PROGRAM_HOOK_NONE || p->hook_killed)
		return;
	p->hook_killed = true;
	program_emit(out, PROGRAM_ACT_HOOK_KILL, p->run);
}

void program_order_spawn(struct program_fsm *p, struct program_actions *out)
{
	p->ordered = true;
	program_emit(out, PROGRAM_ACT_SPAWN, 0);
}

void program_order_start(struct program_fsm *p, struct program_actions *out)
{
	p->allowed = false;
	p->post_owed = p->config.has_post_stop;
	program_set_state(p, PROGRAM_STATE_STARTING, out);
	if (p->config.has_pre_start)
		order_hook(p, PROGRAM_HOOK_PRE_START, out);
	else
		program_order_spawn(p, out);
}

void program_fail(struct program_fsm *p, enum program_end why, mtime now,
		  struct program_actions *out)
{
	p->failed_after = p->ready ? now - p->ready_at : 0;
	p->ready = false;
	program_set_state(p, PROGRAM_STATE_STOPPING, out);
	p->failing = why;
	program_emit(out, PROGRAM_ACT_FAILED, p->run);
	program_send_stop_signal(p, now, out);
}

/* Backoff with nothing alive: order the start if it is due and allowed, else say what it waits for.
 */
static void start_or_wait(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (now < p->next_start)
		return;
	if (!p->config.gated || p->allowed) {
		program_order_start(p, out);
	} else if (!p->due) {
		p->due = true;
		program_emit(out, PROGRAM_ACT_WANTS_ALLOW, 0);
	}
}

void program_wait_for_start(struct program_fsm *p, mtime at, struct program_actions *out)
{
	program_set_state(p, PROGRAM_STATE_BACKOFF, out);
	p->next_start = at;
	p->due = false;
}

void program_end_as(struct program_fsm *p, enum program_state to, struct program_actions *out)
{
	program_set_state(p, to, out);
	program_emit(out, PROGRAM_ACT_ENDED, p->run);
}

/* Nothing of the run is alive, and what follows its end has not been ordered. */
static bool owes_post_stop(const struct program_fsm *p)
{
	return p->post_owed && !p->tree_alive && !p->main_alive && !p->ordered &&
	       p->hook == PROGRAM_HOOK_NONE;
}

/* What follows once nothing is alive. */
static void settle(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (owes_post_stop(p))
		order_hook(p, PROGRAM_HOOK_POST_STOP, out);
	if (!program_gone(p))
		return;
	switch (p->state) {
	case PROGRAM_STATE_STOPPING:
		if (!p->wanted) {
			program_end_as(
				p, p->giving_up ? PROGRAM_STATE_FATAL : PROGRAM_STATE_STOPPED, out);
		} else if (!p->config.gated || p->allowed) {
			program_order_start(p, out);
		} else {
			program_wait_for_start(p, now, out);
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

/* ---- time ------------------------------------------------------------------------------------ */

static void on_tick(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (p->state == PROGRAM_STATE_RUNNING)
		restart_policy_ready(&p->policy, now - p->ready_at);
	if (p->state == PROGRAM_STATE_STARTING && p->main_alive && now >= p->ready_by) {
		program_fail(p, PROGRAM_END_NOT_READY, now, out);
		return;
	}
	if (!p->tree_alive || now < p->stop_at)
		return;
	if (!p->killed) {
		program_kill_tree(p, now, out);
		return;
	}
	p->stop_at = MTIME_NEVER;
	p->unkillable = true;
	program_emit(out, PROGRAM_ACT_UNKILLABLE, p->run);
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
		return p->due || p->hook != PROGRAM_HOOK_NONE ? MTIME_NEVER : p->next_start;
	case PROGRAM_STATE_STOPPING:
	case PROGRAM_STATE_EXITED:
		return p->tree_alive ? p->stop_at : MTIME_NEVER;
	case PROGRAM_STATE_STARTING:
		return p->main_alive ? p->ready_by : MTIME_NEVER;
	case PROGRAM_STATE_STOPPED:
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
		program_on_start(p, now, out);
		break;
	case PROGRAM_EV_START_PERSON:
		program_on_start_person(p, now, out);
		break;
	case PROGRAM_EV_STOP:
	case PROGRAM_EV_KILL:
	case PROGRAM_EV_GIVE_UP:
		program_on_unwanted(p, ev->type, now, out);
		break;
	case PROGRAM_EV_RESTART:
		program_on_restart(p, now, out);
		break;
	case PROGRAM_EV_ALLOW:
		program_on_allow(p, now);
		break;
	case PROGRAM_EV_SPAWNED:
		program_on_spawned(p, ev, now, out);
		break;
	case PROGRAM_EV_SPAWN_FAILED:
		program_on_spawn_failed(p, ev, now, out);
		break;
	case PROGRAM_EV_EXITED:
		program_on_exited(p, ev, now, out);
		break;
	case PROGRAM_EV_GONE:
		program_on_gone(p, ev, out);
		break;
	case PROGRAM_EV_ADOPT:
		program_on_adopt(p, ev, now, out);
		break;
	case PROGRAM_EV_READY:
		program_on_ready(p, ev, now, out);
		break;
	case PROGRAM_EV_UNHEALTHY:
		program_on_unhealthy(p, ev, now, out);
		break;
	case PROGRAM_EV_EXTEND:
		program_on_extend(p, ev, now);
		break;
	case PROGRAM_EV_MAIN:
		program_on_main(p, ev, now, out);
		break;
	case PROGRAM_EV_HOOK_DONE:
		program_on_hook_done(p, ev, now, out);
		break;
	}
	settle(p, now, out);
}

/* ---- invariants ------------------------------------------------------------------------------ */

static bool check_state(const struct program_fsm *p)
{
	switch (p->state) {
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		return !p->wanted && program_gone(p);
	case PROGRAM_STATE_STARTING:
		return p->wanted && (p->ordered || p->hook == PROGRAM_HOOK_PRE_START ||
				     (p->main_alive && !p->killed && p->config.ready_timeout > 0));
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
	       (!p->failing || (p->state == PROGRAM_STATE_STOPPING && p->wanted)) &&
	       (p->hook == PROGRAM_HOOK_NONE || !p->ordered) &&
	       (p->tree_alive || p->stop_at == MTIME_NEVER);
}
