/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <string.h>

/*
 * What can be derived from the facts of a service: contact, S and the deadlines that follow from it
 * (fitness: service_fit.c).  Nothing here changes a state but svc_update_contact(), which keeps S and the
 * isolation flag.
 *
 * Ages, in advert_int (DESIGN, "The budget"):
 *   contact at a takeover   probe sent within 1 and answered, or a HELLO heard within 1.5 that
 *                           echoes one of ours sent within 2
 *   isolation               no HELLO within 2 echoing one sent within 3 (one HELLO may be late),
 *                           no answer to a probe sent within 2
 *   first missed advert     1.2
 */

mtime svc_down_interval(const struct service_fsm *s)
{
	return vrrp_active_down(&s->vrrp);
}

bool svc_within(mtime now, mtime at, mtime age)
{
	return at != 0 && now - at <= age;
}

bool svc_linked(const struct service_fsm *s, unsigned p)
{
	return p < s->config.n_nodes && p != s->config.self && s->config.nodes[p].peer_link;
}

bool service_peer_reachable(const struct service_fsm *s, unsigned p, mtime now)
{
	mtime down = svc_down_interval(s);

	return svc_linked(s, p) && svc_within(now, s->peers[p].heard, down) &&
	       svc_within(now, s->peers[p].echoed, down);
}

bool svc_report_fresh(const struct service_fsm *s, unsigned p, mtime now)
{
	return svc_linked(s, p) && svc_within(now, s->peers[p].reported, svc_down_interval(s));
}

bool svc_peer_busy(const struct service_fsm *s, unsigned p, mtime now)
{
	enum service_state state = s->peers[p].report.state;

	return svc_report_fresh(s, p, now) &&
	       (state == SERVICE_STATE_ACTIVE || state == SERVICE_STATE_TAKING_OVER ||
		state == SERVICE_STATE_RELEASING || s->peers[p].report.running);
}

bool svc_acts(enum service_state state)
{
	return state == SERVICE_STATE_ACTIVE || state == SERVICE_STATE_TAKING_OVER;
}

/* The least Active_Down of all nodes but p. */
static mtime least_down(const struct service_fsm *s, unsigned p)
{
	unsigned highest = 1;

	for (unsigned i = 0; i < s->config.n_nodes; i++)
		if (i != p && s->config.nodes[i].priority > highest)
			highest = s->config.nodes[i].priority;
	return s->config.advert_int * (3 * 256 + 256 - highest) / 256;
}

/* By its messages, or by adverts that are all that comes of it (its peer link to us is blocked). */
static mtime last_acted(const struct service_peer *p)
{
	bool by_advert = p->advert > p->reported && !p->disbelieved;

	return mtime_max(p->acted, by_advert ? p->advert : 0);
}

/*
 * Something runs or begins on another node, and whoever asks may not hear it: we do, so it does not
 * get our FENCED.  Who hears what we hear asks no sooner than this after the last of it.
 */
mtime svc_witnessed_until(const struct service_fsm *s, unsigned asks)
{
	mtime until = 0;

	for (unsigned p = 0; p < s->config.n_nodes && RULE(WITNESS); p++) {
		mtime acted = last_acted(&s->peers[p]);

		if (p != asks && svc_linked(s, p) && acted != 0)
			until = mtime_max(until, acted + least_down(s, p));
	}
	return until;
}

/* ---- contact ---------------------------------------------------------------------------------- */

static bool two_way(const struct service_fsm *s, unsigned p, mtime now, mtime heard, mtime echoed)
{
	return svc_linked(s, p) && svc_within(now, s->peers[p].heard, heard) &&
	       svc_within(now, s->peers[p].echoed, echoed);
}

static bool any_two_way(const struct service_fsm *s, mtime now, mtime heard, mtime echoed)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (two_way(s, p, now, heard, echoed))
			return true;
	}
	return false;
}

/* Whether the isolation rule can speak: a target that is not a node has answered since start. */
static bool isolation_speaks(const struct service_fsm *s)
{
	return s->config.isolation != MODEL_ISOLATION_OFF && s->target_answered;
}

static bool contact_now(const struct service_fsm *s, mtime now)
{
	mtime adv = s->config.advert_int;

	return any_two_way(s, now, 2 * adv, 3 * adv) ||
	       svc_within(now, s->target_answer, 2 * adv);
}

bool svc_has_contact(const struct service_fsm *s, mtime now)
{
	mtime adv = s->config.advert_int;

	return !isolation_speaks(s) || any_two_way(s, now, adv + adv / 2, 2 * adv) ||
	       svc_within(now, s->target_answer, adv + BUDGET_ANSWER);
}

/* S: the send time of the newest of our messages that proves that we are connected. */
static mtime proof_of_contact(const struct service_fsm *s, mtime now)
{
	mtime adv = s->config.advert_int;
	mtime best = s->target_answer;
	bool heard = false;

	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (!svc_linked(s, p))
			continue;
		best = mtime_max(best, s->peers[p].echoed);
		heard = heard || svc_within(now, s->peers[p].heard, adv + adv / 2);
	}
	if (!heard && !isolation_speaks(s))
		best = mtime_max(best, s->last_sent);
	return best;
}

void svc_update_contact(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	bool contact = contact_now(s, x->now);
	bool isolated = !contact && isolation_speaks(s);
	bool regained = contact && !s->contact;

	mtime proof = proof_of_contact(s, x->now);
	/* A gap between two proofs: what was said in it may have been missed. */
	bool gap = proof - s->s > s->config.advert_int + s->config.advert_int / 4;

	s->s = mtime_max(s->s, proof);
	s->contact = contact;
	if (!contact && s->config.isolation != MODEL_ISOLATION_OFF)
		s->listening = x->now;
	/* Silence heard without contact proves nothing: Active_Down begins again with contact. */
	if (s->vrrp.state == VRRP_STATE_BACKUP && RULE(ISOLATION_HOLD)) {
		if (isolated && !s->isolated)
			svc_vrrp(x, VRRP_EV_SUSPEND);
		else if (regained || gap || (s->isolated && !isolated))
			svc_vrrp(x, VRRP_EV_HOLD);
	}
	s->isolated = isolated;
	/* The same of a takeover: another's FENCE, and its start, may have fallen into the gap. */
	if ((regained || gap) && s->state == SERVICE_STATE_TAKING_OVER && !s->may_run &&
	    !s->forced && s->take_cause == SERVICE_CAUSE_TAKEOVER && RULE(ISOLATION_HOLD))
		svc_abandon(x, 0);
}

/* ---- conflict ----------------------------------------------------------------------------------- */

bool svc_conflict_holds(const struct service_fsm *s, mtime now)
{
	mtime recent = s->config.advert_int;
	mtime patience = s->config.vip_lease + MTIME_MS(1500);

	if (!RULE(CONFLICT))
		return false;
	if (svc_within(now, s->conflict_node_at, recent))
		return true;
	return svc_within(now, s->conflict_unknown_at, recent) &&
	       now - s->conflict_unknown_first < patience;
}

bool service_wants_conflict_probe(const struct service_fsm *s, mtime now)
{
	mtime last_life;

	if (!s->config.conflict_probe || s->config.n_vips == 0 || !s->link_up)
		return false;
	if (s->state == SERVICE_STATE_TAKING_OVER)
		return !s->may_run;
	if (s->state != SERVICE_STATE_BACKUP && s->state != SERVICE_STATE_WAITING)
		return false;
	if (svc_adverts_doubtful(s, now))
		return true;
	if (s->vrrp.down_at == MTIME_NEVER)
		return s->vrrp.expired;
	last_life = s->vrrp.down_at - svc_down_interval(s);
	return now - last_life >= s->config.advert_int + s->config.advert_int / 5;
}

/* ---- facts of this node and of others ---------------------------------------------------------------- */

bool svc_persist_settled(const struct service_fsm *s)
{
	return s->persist_done == s->persist_seq && !s->persist_failed;
}

int service_active_node(const struct service_fsm *s, mtime now)
{
	int best = s->state == SERVICE_STATE_ACTIVE ? (int)s->config.self : MODEL_NONE;
	uint64_t term = best >= 0 ? s->term : 0;

	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (!svc_report_fresh(s, p, now) ||
		    s->peers[p].report.state != SERVICE_STATE_ACTIVE ||
		    s->peers[p].report.term <= term)
			continue;
		best = (int)p;
		term = s->peers[p].report.term;
	}
	for (unsigned p = 0; p < s->config.n_nodes && best < 0; p++) {
		if (svc_plain_active(s, p, now))
			best = (int)p;
	}
	return best;
}

/* ---- deadlines ------------------------------------------------------------------------------------------ */

mtime service_kill_at(const struct service_fsm *s)
{
	if (!s->may_run || !RULE(BUDGET))
		return MTIME_NEVER;
	return mtime_add(s->s, s->budget.life);
}

mtime service_order_valid_until(const struct service_fsm *s, mtime now)
{
	return mtime_min(service_kill_at(s), now + mtime_max(s->config.advert_int, MTIME_SEC(1)));
}

static bool hurried(const struct service_fsm *s, mtime now)
{
	mtime late = s->config.advert_int + s->config.advert_int / 5;

	return s->may_run && now - s->s > late;
}

mtime service_hello_interval(const struct service_fsm *s, mtime now)
{
	return hurried(s, now) ? s->config.advert_int / 3 : s->config.advert_int;
}

mtime service_probe_interval(const struct service_fsm *s, mtime now)
{
	bool often = hurried(s, now) || service_wants_conflict_probe(s, now);

	if (svc_last_look(s))
		return BUDGET_ANSWER / 2;
	return often ? s->config.advert_int / 3 : s->config.advert_int;
}

static mtime phase_deadline(const struct service_fsm *s)
{
	if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_FENCE)
		return mtime_min(s->fence_started + s->config.fence_timeout,
				 svc_fence_again(s));
	if (svc_last_look(s))
		return s->phase_since + SERVICE_LAST_LOOK;
	if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_CLAIM)
		return s->claim_until;
	if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_ADDRESS)
		return s->phase_since + svc_address_patience(s);
	if (s->state == SERVICE_STATE_RELEASING && s->phase == SERVICE_PHASE_REMOVE)
		return s->phase_since + MTIME_SEC(1);
	if (s->state == SERVICE_STATE_RELEASING && s->phase == SERVICE_PHASE_TELL)
		return s->release_sent + s->config.advert_int / 3;
	if (s->restart_fence)
		return mtime_min(s->fence_started + s->config.fence_timeout,
				 svc_fence_again(s));
	return MTIME_NEVER;
}

/*
 * The next look.  Facts that only age (contact, reports, alarms) are looked at once per
 * advert_int; what must not be late has its own deadline.
 */
mtime service_deadline(const struct service_fsm *s, mtime now)
{
	mtime at = now + s->config.advert_int;
	mtime soon = now + MTIME_MS(1);
	mtime phase = phase_deadline(s);

	if (!s->loaded)
		return mtime_max(at, s->started + SERVICE_LOADS_WITHIN);
	at = mtime_min(at, vrrp_deadline(&s->vrrp));
	if (!s->release_kill || s->state != SERVICE_STATE_RELEASING)
		at = mtime_min(at, service_kill_at(s)); /* else the kill is under way already */
	if (s->state == SERVICE_STATE_WAITING)
		at = mtime_min(at, service_waits_until(s, now) > now
					   ? service_waits_until(s, now)
					   : at);
	if (s->state == SERVICE_STATE_BACKUP && s->hold_until > now)
		at = mtime_min(at, s->hold_until);
	if (svc_soft_turn(s, now) > now)
		at = mtime_min(at, svc_soft_turn(s, now));
	if (s->persist_failed)
		at = mtime_min(at, s->persist_retry_at);
	if (s->state == SERVICE_STATE_ACTIVE && !s->addresses_held && s->config.n_vips > 0)
		at = mtime_min(at, s->address_lost_at + SERVICE_ADDRESS_RETRY);
	for (unsigned p = 0; p < s->config.n_nodes; p++)
		if (s->fence_owed[p] != 0 && svc_witnessed_until(s, p) > now)
			at = mtime_min(at, svc_witnessed_until(s, p));
	/* A phase's deadline that has passed means "waiting for somebody": look again soon. */
	at = mtime_min(at, phase > now ? phase : now + s->config.advert_int / 3);
	return mtime_max(at, soon);
}

/* ---- what others are told ---------------------------------------------------------------------------------- */

/* That something runs elsewhere, by whatever way: an idle word of ours vouches for nobody then. */
static bool hears_somebody(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		const struct service_report *r = &s->peers[p].report;

		if (svc_report_fresh(s, p, now) && (r->running || r->state == SERVICE_STATE_ACTIVE))
			return true;
	}
	return svc_within(now, s->vrrp.last_advert, svc_down_interval(s));
}

void service_to_report(const struct service_fsm *s, mtime now, struct service_report *ret)
{
	*ret = (struct service_report){
		.state = s->state,
		.priority = s->config.nodes[s->config.self].priority,
		.fit = service_fit(s, now, NULL),
		.soft = service_softly_unfit(s, now),
		.running = s->may_run,
		.ready = s->state == SERVICE_STATE_ACTIVE && s->programs_ready,
		.stopped = s->persist.stopped,
		.paused = s->persist.paused,
		.latched = s->persist.latched,
		.adverts_heard = hears_somebody(s, now),
		.wish_version = s->persist.wish_version,
		.term = s->term,
		.term_seen = s->persist.term_seen,
		.digest = s->config.digest,
		.file = s->config.file,
	};
}

void service_to_baton(const struct service_fsm *s, struct service_baton *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->format = SERVICE_BATON_FORMAT;
	ret->state = s->state;
	ret->cause = s->cause;
	ret->term = s->term;
	ret->s = s->s;
	ret->since = s->since;
	ret->quiesced = s->quiesced;
	ret->target_answered = s->target_answered;
	ret->ready = s->programs_ready;
	ret->taken_unfit = s->taken_unfit;
	ret->persist = s->persist;
}
