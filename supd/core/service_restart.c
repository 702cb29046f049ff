/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * A restart of a program on the active node: FENCE first, for somebody may have taken over unheard.
 * It is waited for only where a peer's newest HELLO does not say by itself that nothing runs there
 * and that it knows this term (svc_fence_done).
 */

/*
 * Somebody may have run under a newer term while we did not hear (cut off in turn), and it is over
 * there: nothing makes us step down, but a start under ours would take SUPD_TERM back.
 */
static bool term_is_old(const struct service_fsm *s)
{
	return s->persist.term_seen > s->term && RULE(FRESH_TERM);
}

void svc_restart_fence(struct svc_step *x)
{
	x->s->restart_fence = true;
	if (!term_is_old(x->s))
		svc_begin_fence(x);
}

static void renew_term(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	struct service_action *a;

	svc_take_term(s);
	svc_persist(x);
	a = svc_emit(x, SERVICE_ACT_STATE);
	a->from = a->to = s->state;
	a->cause = s->cause;
	svc_emit(x, SERVICE_ACT_HELLO_NOW);
	svc_begin_fence(x);
}

void svc_progress_restart(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (!s->restart_fence || s->persist.paused)
		return;
	if (term_is_old(s)) {
		if (!svc_persist_settled(s))
			return;
		renew_term(x);
	}
	if (!svc_fence_done(s, x->now)) {
		svc_repeat_fence(x);
		return;
	}
	s->restart_fence = false;
	svc_emit(x, SERVICE_ACT_PROGRAMS_ALLOW);
}
