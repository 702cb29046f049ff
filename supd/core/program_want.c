/* SPDX-License-Identifier: MIT */
#include "supd/core/program_internal.h"

/*
 * What somebody asks of a program, in every state: start, stop, restart, and the permission for a
 * start that waits for one.  It changes what is wanted, and begins the way there; what follows once
 * nothing is alive is settled in program_fsm.c.
 */

/*
 * Nothing runs, and something shall: now, or as soon as the left-overs of the last run are gone.
 * START comes with a permission; a person's start, at any later time, asks for one like a restart.
 */
static void begin(struct program_fsm *p, bool allowed, mtime now, struct program_actions *out)
{
	p->wanted = true;
	p->allowed = allowed;
	restart_policy_reset(&p->policy);
	if (program_gone(p) && (allowed || !p->config.gated))
		program_order_start(p, out);
	else
		program_wait_for_start(p, now, out);
}

static void want(struct program_fsm *p, bool allowed, mtime now, struct program_actions *out)
{
	switch (p->state) {
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		begin(p, allowed, now, out);
		break;
	case PROGRAM_STATE_STOPPING:
		if (!p->wanted) {
			p->wanted = true;
			p->allowed = allowed;
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

void program_on_start(struct program_fsm *p, mtime now, struct program_actions *out)
{
	want(p, true, now, out);
}

void program_on_start_person(struct program_fsm *p, mtime now, struct program_actions *out)
{
	switch (p->state) {
	case PROGRAM_STATE_EXITED:
		begin(p, false, now, out);
		break;
	case PROGRAM_STATE_BACKOFF:
		p->next_start = mtime_min(p->next_start, now);
		break;
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
	case PROGRAM_STATE_STOPPING:
		want(p, false, now, out);
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
	program_set_state(p, PROGRAM_STATE_STOPPING, out);
	if (kill)
		program_kill_tree(p, now, out);
	else
		program_send_stop_signal(p, now, out);
}

/* Its main process is up, whether it is ready or not. */
static bool is_up(const struct program_fsm *p)
{
	return p->main_alive &&
	       (p->state == PROGRAM_STATE_RUNNING || p->state == PROGRAM_STATE_STARTING);
}

void program_on_restart(struct program_fsm *p, mtime now, struct program_actions *out)
{
	if (!is_up(p)) {
		program_on_start_person(p, now, out);
		return;
	}
	restart_policy_reset(&p->policy);
	stop_running(p, false, now, out);
}

/* STOP, GIVE_UP and KILL, in every state. */
void program_on_unwanted(struct program_fsm *p, enum program_event_type how, mtime now,
			 struct program_actions *out)
{
	bool give_up = how == PROGRAM_EV_GIVE_UP;
	bool kill = how == PROGRAM_EV_KILL;
	enum program_state end = give_up ? PROGRAM_STATE_FATAL : PROGRAM_STATE_STOPPED;

	p->wanted = false;
	p->allowed = false;
	p->failing = PROGRAM_END_NONE;
	if (program_gone(p)) {
		if (p->state != end)
			program_end_as(p, end, out);
		return;
	}
	if (is_up(p))
		stop_running(p, kill, now, out);
	else
		program_set_state(p, PROGRAM_STATE_STOPPING, out);
	p->giving_up = give_up;
	if (kill || p->hook == PROGRAM_HOOK_PRE_START)
		program_kill_hook(p, out);
	if (kill) {
		p->kill_asked = true;
		p->post_owed = false;
		program_kill_tree(p, now, out);
	}
}

void program_on_allow(struct program_fsm *p, mtime now)
{
	/*
	 * It stands for a fence of this moment.  Kept for a start that is not due yet, or for one
	 * that nobody waits for, it would let that start pass on stale evidence.
	 */
	if ((p->state == PROGRAM_STATE_BACKOFF && now >= p->next_start) ||
	    (p->state == PROGRAM_STATE_STOPPING && p->wanted))
		p->allowed = true;
}
