/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * Giving the service away: in order, or killing first; and what is owed to who fences us.
 *
 *   in order   STOP (programs end, adverts go on) -> QUIESCE -> REMOVE -> TELL -> idle
 *   at once    QUIESCE and removal together, no more adverts  ------------^
 *
 * RELEASE and FENCED leave this node only after the keeper has confirmed that everything of the
 * term is dead and that later orders of it are refused (QUIESCED).  A program that was killed and
 * does not go away is dead all the same: no instruction of it follows.
 */

#define RELEASES_MAX 3 /* the peer takes over by silence when all are lost */

static void begin(struct svc_step *x, const struct svc_release *r, bool kill)
{
	struct service_fsm *s = x->s;

	s->release_to = r->to;
	s->successor = r->successor;
	s->release_kill = kill;
	s->release_told = false;
	s->releases_sent = 0;
	s->restart_fence = s->forced = false;
	s->released_term = 0;
	if (r->to == SERVICE_STATE_FAILED) {
		s->persist.latched = true;
		s->failed_at = x->now;
		svc_persist(x);
	}
	svc_set_state(x, SERVICE_STATE_RELEASING, r->cause);
}

void svc_release(struct svc_step *x, const struct svc_release *r)
{
	struct service_fsm *s = x->s;

	begin(x, r, false);
	svc_set_phase(x, SERVICE_PHASE_STOP);
	if (s->may_run)
		svc_emit(x, SERVICE_ACT_PROGRAMS_STOP)->give_up = r->give_up;
}

void svc_step_down(struct svc_step *x, enum service_state to, enum service_cause cause)
{
	struct service_fsm *s = x->s;
	struct svc_release r = {.to = to, .cause = cause, .successor = MODEL_NODES_MAX};

	if (s->state == SERVICE_STATE_RELEASING) {
		if (s->release_kill)
			return;
		s->release_kill = true;
	} else {
		begin(x, &r, true);
	}
	if (s->phase == SERVICE_PHASE_NONE || s->phase == SERVICE_PHASE_STOP)
		svc_set_phase(x, SERVICE_PHASE_QUIESCE);
	svc_quiesce(x, s->term);
	if (s->vrrp.state == VRRP_STATE_ACTIVE)
		svc_vrrp(x, VRRP_EV_GRANT_BACKUP);
	svc_emit(x, SERVICE_ACT_ADDRESSES_REMOVE);
}

static bool somebody_to_tell(const struct service_fsm *s, mtime now)
{
	/* Who acts under a higher term knows already. */
	if (s->term_acted > s->term)
		return false;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_linked(s, p) && svc_within(now, s->peers[p].heard, svc_down_interval(s)))
			return true;
	}
	return false;
}

static void send_release(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	struct service_action *a = svc_emit(x, SERVICE_ACT_SEND_RELEASE);

	a->successor = s->successor;
	a->ending = s->ending;
	s->releases_sent++;
	s->release_sent = x->now;
}

static void finish(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	s->addresses_held = false;
	if (s->release_to == SERVICE_STATE_DOWN) {
		svc_vrrp(x, VRRP_EV_SHUTDOWN);
		svc_set_state(x, SERVICE_STATE_DOWN, s->cause);
		svc_emit(x, SERVICE_ACT_ENDED);
		return;
	}
	svc_vrrp(x, VRRP_EV_HOLD);
	/* The others first: should every RELEASE be lost, we come back after they could have begun. */
	s->hold_until = x->now + svc_down_interval(s) + 2 * s->config.advert_int;
	svc_enter_idle(x, s->cause, false);
}

static void tell(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->vrrp.state == VRRP_STATE_ACTIVE) {
		svc_emit(x, SERVICE_ACT_SEND_ADVERT_0);
		svc_vrrp(x, VRRP_EV_GRANT_BACKUP);
	}
	if (s->release_told || !somebody_to_tell(s, x->now)) {
		finish(x);
	} else if (s->releases_sent == 0) {
		send_release(x);
	} else if (x->now - s->release_sent >= s->config.advert_int / 3) {
		if (s->releases_sent >= RELEASES_MAX)
			finish(x);
		else
			send_release(x);
	}
}

void svc_progress_release(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	switch (s->phase) {
	case SERVICE_PHASE_STOP:
		if (!s->may_run)
			svc_set_phase(x, SERVICE_PHASE_QUIESCE);
		break;
	case SERVICE_PHASE_QUIESCE:
		svc_quiesce(x, s->term);
		if (!RULE(QUIESCE))
			s->may_run = false;
		if (s->may_run)
			break;
		if (s->addresses_may && !s->release_kill)
			svc_emit(x, SERVICE_ACT_ADDRESSES_REMOVE);
		svc_set_phase(x, s->addresses_may ? SERVICE_PHASE_REMOVE : SERVICE_PHASE_TELL);
		break;
	case SERVICE_PHASE_REMOVE:
		if (x->now - s->phase_since >= MTIME_SEC(1)) {
			s->address_failed = true;
			svc_set_phase(x, SERVICE_PHASE_TELL);
		}
		break;
	case SERVICE_PHASE_TELL:
		tell(x);
		break;
	case SERVICE_PHASE_NONE:
	case SERVICE_PHASE_FENCE:
	case SERVICE_PHASE_CLAIM:
	case SERVICE_PHASE_ADDRESS:
	case SERVICE_PHASE_START:
		break;
	}
}

/* ---- FENCE -------------------------------------------------------------------------------------------- */

void svc_on_fence(struct svc_step *x, unsigned peer, uint64_t term)
{
	struct service_fsm *s = x->s;

	if (term < s->persist.term_seen || term % 256 != (peer + 1) % 256)
		return;
	svc_see_term(x, term);
	s->peers[peer].acted = x->now;
	s->fence_owed[peer] = term;
	s->fence_owed_seq[peer] = s->persist_seq;
	s->released_term = 0;
	if (s->state != SERVICE_STATE_DOWN && s->vrrp.state == VRRP_STATE_BACKUP)
		svc_vrrp(x, VRRP_EV_HOLD);
	if (!RULE(FENCE))
		return;
	if (s->may_run)
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
	else if (s->state == SERVICE_STATE_TAKING_OVER)
		svc_abandon(x, 0);
	else if (s->state == SERVICE_STATE_WAITING)
		svc_set_state(x, SERVICE_STATE_BACKUP, s->cause);
	svc_quiesce(x, term);
}

void svc_pay_fences(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->may_run || s->persist_failed)
		return;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		/* Outbid meanwhile: its answer would be a lie. */
		if (s->fence_owed[p] < s->persist.term_seen)
			s->fence_owed[p] = 0;
		if (s->fence_owed[p] == 0 || s->persist_done < s->fence_owed_seq[p] ||
		    (s->quiesced < s->fence_owed[p] && RULE(FENCE)) ||
		    x->now < svc_witnessed_until(s, p))
			continue;
		struct service_action *a = svc_emit(x, SERVICE_ACT_SEND_FENCED);
		a->peer = p;
		a->term = s->fence_owed[p];
		s->fence_owed[p] = 0;
	}
}

/* ---- the limit of restarts ------------------------------------------------------------------------------ */

/* Every peer is reachable and has failed too. */
static bool all_failed(const struct service_fsm *s, mtime now)
{
	bool any = false;

	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (p == s->config.self)
			continue;
		if (!service_peer_reachable(s, p, now) || !svc_report_fresh(s, p, now) ||
		    !s->peers[p].report.latched)
			return false;
		any = true;
	}
	return any;
}

/*
 * A program has died too often.  With a fit peer: over to it.  When every peer has failed too: a
 * person.  Otherwise (a peer is merely unreachable or unfit) it goes on being restarted here, at
 * the longest delay; the next death brings us here again.
 */
void svc_on_limit(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	int best = service_best_peer(s, x->now);
	struct svc_release r = {.to = SERVICE_STATE_FAILED,
				.cause = SERVICE_CAUSE_FAILED,
				.successor = best < 0 ? MODEL_NODES_MAX : (unsigned)best,
				.give_up = true};

	if (!s->exhausted || s->persist.paused)
		return;
	s->exhausted = false;
	if (best >= 0 || all_failed(s, x->now))
		svc_release(x, &r);
}
