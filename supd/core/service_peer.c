/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * What comes from other nodes: messages of the peer link, answers to ARP and ND (adverts:
 * service_advert.c).
 *
 * Each is first of all a fact about its sender (heard, echoed, its report).  A term is remembered
 * even before the own state has been read.  An Active that is heard in whatever way restarts
 * Active_Down; a higher term that acts ends ours; adverts and ARP, which anybody can forge, delay
 * but never cause anything.
 */

static void hear_term(struct service_fsm *s, uint64_t term)
{
	if (term > s->term_heard)
		s->term_heard = term;
}

static void hear_act(struct service_fsm *s, uint64_t term)
{
	if (term > s->term_acted)
		s->term_acted = term;
}

void svc_on_heard(struct svc_step *x, unsigned p, mtime echoed)
{
	struct service_peer *peer = &x->s->peers[p];

	peer->heard = x->now;
	peer->adverts_alone = 0;
	peer->disbelieved = false;
	if (echoed > peer->echoed)
		peer->echoed = echoed;
}

/*
 * The wish of a person (stop or start, pause or resume) with the highest version counts, wherever it
 * was said.  Two that were said apart, under one number: stop and pause count, on either side.
 */
static void adopt_wish(struct svc_step *x, const struct service_report *r)
{
	struct service_persist *own = &x->s->persist;
	const bool same = r->wish_version == own->wish_version;
	const bool stopped = r->stopped || (same && own->stopped);
	const bool paused = r->paused || (same && own->paused);

	if (r->wish_version < own->wish_version ||
	    (same && stopped == own->stopped && paused == own->paused))
		return;
	own->wish_version = r->wish_version;
	own->stopped = stopped;
	own->paused = paused;
	svc_persist(x);
}

void svc_on_hello(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	struct service_peer *peer = &s->peers[ev->peer];
	const struct service_report *r = ev->report;

	svc_on_heard(x, ev->peer, ev->echoed);
	peer->report = *r;
	peer->reported = x->now;
	peer->acted = svc_acts(r->state) || r->running ? x->now : 0;
	if (r->fit || r->soft) /* whoever ends is neither: it is back */
		peer->ending = false;
	hear_term(s, r->term > r->term_seen ? r->term : r->term_seen);
	hear_act(s, r->term);
	svc_note_file(s, ev->peer);
	if (!s->loaded)
		return;
	adopt_wish(x, r);
	svc_see_term(x, s->term_heard);
	if (!svc_acts(r->state))
		return;
	if (RULE(HELLO_IS_LIFE))
		svc_vrrp(x, VRRP_EV_HOLD);
	s->hold_until = 0; /* somebody did begin */
	s->by_advert = false;
	if (s->released_term != 0 && r->term > s->released_term)
		s->released_term = 0;
	if (r->term > s->term && RULE(HIGHER_TERM) && s->state == SERVICE_STATE_TAKING_OVER &&
	    !s->may_run)
		svc_abandon(x, 0);
	else if (r->term > s->term && RULE(HIGHER_TERM) && s->may_run)
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
	else if (r->term < s->term && s->may_run)
		svc_repeat_fence(x);
}

/*
 * Old is what somebody has acted after.  A higher term that is merely known proves nothing: each
 * start of a node uses up its reservation, and tells.
 */
static bool is_old_release(const struct service_fsm *s, uint64_t term)
{
	return term < s->term_acted || term < s->term;
}

void svc_on_release(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	svc_on_heard(x, ev->peer, ev->echoed);
	hear_term(s, ev->term);
	hear_act(s, ev->term);
	s->peers[ev->peer].ending = ev->ending;
	s->peers[ev->peer].acted = 0;
	if (!s->loaded || is_old_release(s, ev->term) || s->may_run) {
		if (s->loaded) {
			struct service_action *a = svc_emit(x, SERVICE_ACT_SEND_RELEASED);
			a->peer = ev->peer;
			a->term = ev->term;
		}
		return;
	}
	svc_see_term(x, ev->term);
	/*
	 * It was sent after the newest of our messages that its sender had heard.  One that has been
	 * under way for longer may have been taken back by what got lost; it is repeated.
	 */
	if (!svc_within(x->now, s->peers[ev->peer].echoed, svc_down_interval(s)))
		return;
	struct service_action *a = svc_emit(x, SERVICE_ACT_SEND_RELEASED);
	a->peer = ev->peer;
	a->term = ev->term;
	if (ev->successor != s->config.self && ev->successor < MODEL_NODES_MAX) {
		svc_vrrp(x, VRRP_EV_HOLD);
		return;
	}
	/* Whoever is latched, stopped or still booting has no use for it, now or later. */
	if (s->state != SERVICE_STATE_BACKUP && s->state != SERVICE_STATE_TAKING_OVER)
		return;
	s->released_term = ev->term;
	s->released_at = x->now;
	s->released_named = ev->successor == s->config.self;
	s->releaser = ev->peer;
	if (s->conflict_node == ev->peer)
		s->conflict_node_at = 0; /* it was the active one, and right to answer */
}

/*
 * The releaser has said that nothing of it runs; its address may linger for a moment, and what it
 * announced before its RELEASE may be read after it.
 */
static bool is_of_the_releaser(const struct service_fsm *s, unsigned peer, mtime now)
{
	if (peer != s->releaser)
		return false;
	return s->released_term != 0 ||
	       (s->may_run && svc_within(now, s->released_at, s->config.advert_int));
}

void svc_on_conflict(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	mtime gap = 3 * s->config.advert_int;
	bool unknown = ev->conflict == SERVICE_CONFLICT_UNKNOWN || svc_plain(s, ev->peer);

	if (ev->conflict == SERVICE_CONFLICT_NODE &&
	    (svc_plain(s, ev->peer) ? svc_plain_may_answer(s, ev->peer, x->now)
				    : is_of_the_releaser(s, ev->peer, x->now)))
		return;
	if (unknown) {
		if (!svc_within(x->now, s->conflict_unknown_at, gap))
			s->conflict_unknown_first = x->now;
		s->conflict_unknown_at = x->now;
	} else {
		if (!svc_within(x->now, s->conflict_node_at, gap))
			s->conflict_node_first = x->now;
		s->conflict_node_at = x->now;
		s->conflict_node = ev->peer;
	}
	if (!s->loaded || s->may_run || unknown || !RULE(CONFLICT))
		return;
	svc_vrrp(x, VRRP_EV_HOLD);
	if (s->state == SERVICE_STATE_TAKING_OVER && !s->forced)
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
}

void svc_on_fence_message(struct svc_step *x, const struct service_event *ev)
{
	svc_on_heard(x, ev->peer, ev->echoed);
	hear_term(x->s, ev->term);
	hear_act(x->s, ev->term);
	if (x->s->loaded)
		svc_on_fence(x, ev->peer, ev->term);
}

/*
 * Its sender does not echo us: it has started anew and does not hear us (one direction is dead), or
 * it is a recording, which comes here once (peer_is_news).  Somebody who acts there delays us for as
 * long as it says so: our FENCE would not reach it.  A FENCE above every term that we have seen is
 * none that we heard before; who sends it starts soon, whatever we think of it.
 */
void svc_on_unproven(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (!s->loaded || !RULE(UNPROVEN))
		return;
	if (ev->report != NULL && svc_acts(ev->report->state) &&
	    s->vrrp.state == VRRP_STATE_BACKUP)
		svc_vrrp(x, VRRP_EV_HOLD);
	if (ev->report != NULL || ev->term <= s->persist.term_seen)
		return;
	hear_term(s, ev->term);
	hear_act(s, ev->term);
	svc_on_fence(x, ev->peer, ev->term);
}

void svc_on_fenced(struct svc_step *x, const struct service_event *ev)
{
	struct service_peer *peer = &x->s->peers[ev->peer];

	svc_on_heard(x, ev->peer, ev->echoed);
	if (ev->term > peer->fenced)
		peer->fenced = ev->term;
}

void svc_on_released(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	svc_on_heard(x, ev->peer, ev->echoed);
	if (s->state == SERVICE_STATE_RELEASING && s->phase == SERVICE_PHASE_TELL &&
	    ev->term == s->term &&
	    (s->successor >= MODEL_NODES_MAX || ev->peer == s->successor))
		s->release_told = true;
}

void svc_on_probe_answer(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	s->target_answer = mtime_max(s->target_answer, ev->sent_at);
	if (ev->is_node)
		return;
	/* A new engine must know that the isolation rule can speak. */
	if (!s->target_answered)
		svc_emit(x, SERVICE_ACT_BATON);
	s->target_answered = true;
	s->target_answer_other = mtime_max(s->target_answer_other, ev->sent_at);
}
