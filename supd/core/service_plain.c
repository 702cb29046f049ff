/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <stddef.h>

/*
 * Plain VRRP routers among the nodes (peer_link = no): keepalived, FRR, a router.
 *
 * Their adverts are all that is known of them, and anybody on the network can forge those; so they
 * are heard as RFC 9568 has it, and nothing is promised about their processes.
 *
 *   its advert         while we are Backup                       while we are Active
 *   priority 0         Active_Down = max(Skew, release_delay)    answered with ours
 *   it wins            Active_Down anew, its interval learned    killed first, then Backup
 *   it loses           the same; or discarded, which lets        answered with ours: it yields
 *                      Active_Down expire: preemption
 *
 * failback is Preempt_Mode: `never` and `manual` are false; a duration is true once this node has
 * been fit beside a lesser Active for that long.  on_peer_silence = hold never preempts.
 *
 * A router that yields (priority 0, or a better advert) stops being Active first, and gives up the
 * address and its programs afterwards: nobody waits for its scripts there.  release_delay covers
 * that, and nothing starts here before it has passed:
 *
 *   FENCE --verdict--> CLAIM: our adverts go out --release_delay, and silence--> ADDRESS --> START
 *                        |  it wins, goes on as if it did not hear us, or keeps the address
 *                        +--> backup; no preemption for a minute
 *
 * Its answer for the virtual address is expected until then.  Later it is judged like that of a
 * host that is no node: it delays a takeover, by a bounded time, and does not prevent it, for
 * there is no lease that would end it after a kill -9.
 */

#define CLAIM_AGAIN MTIME_SEC(60) /* after a router that did not yield */

bool svc_plain(const struct service_fsm *s, unsigned p)
{
	return p < s->config.n_nodes && p != s->config.self && !s->config.nodes[p].peer_link;
}

bool svc_has_plain(const struct service_fsm *s)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_plain(s, p))
			return true;
	}
	return false;
}

bool svc_plain_active(const struct service_fsm *s, unsigned p, mtime now)
{
	return svc_plain(s, p) && svc_within(now, s->peers[p].advert, svc_down_interval(s));
}

/* Its adverts come as they should: none is missing yet. */
static bool speaks(const struct service_fsm *s, unsigned p, mtime now)
{
	mtime interval = s->vrrp.active_interval;

	return svc_plain(s, p) && svc_within(now, s->peers[p].advert, interval + interval / 2);
}

static bool may_preempt(const struct service_fsm *s, mtime now)
{
	return s->config.failback != MTIME_NEVER && !s->config.hold_on_silence &&
	       now >= s->claim_again && service_fit(s, now, NULL);
}

/* Before the virtual router hears the advert: it goes by Preempt_Mode. */
void svc_plain_advert(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	struct service_peer *peer = &s->peers[ev->peer];
	bool went_on = svc_plain_active(s, ev->peer, x->now);

	peer->released = ev->priority == 0 ? x->now : 0;
	s->hold_until = 0; /* somebody did begin, and may have ended */
	if (s->state != SERVICE_STATE_BACKUP)
		return;
	if (ev->priority == 0 || ev->priority >= s->vrrp.config.priority || !may_preempt(s, x->now))
		s->lesser_since = 0;
	else if (s->lesser_since == 0 || !went_on)
		s->lesser_since = x->now;
	s->vrrp.config.preempt =
		s->lesser_since != 0 && x->now - s->lesser_since >= s->config.failback;
}

/* How long a router must have been silent after the newest thing that made it yield. */
static mtime yield_time(const struct service_fsm *s, unsigned p)
{
	/* One that does not hear us would have sent another advert by then. */
	return mtime_max(s->config.nodes[p].release_delay,
			 s->config.advert_int + s->config.advert_int / 2);
}

/*
 * It speaks our VRID but has another version, password or interval: it is Active, and both would be
 * if its adverts went unheard.
 */
void svc_on_refused(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (!s->loaded || !svc_plain(s, ev->peer))
		return;
	s->peers[ev->peer].refused = x->now;
	svc_vrrp(x, VRRP_EV_HOLD);
	if (s->state == SERVICE_STATE_TAKING_OVER && !s->may_run && !s->forced)
		svc_abandon(x, 0);
}

static bool refused_lately(const struct service_fsm *s, unsigned p, mtime now)
{
	return svc_within(now, s->peers[p].refused, 3 * s->config.advert_int);
}

bool svc_plain_refused(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (refused_lately(s, p, now))
			return true;
	}
	return false;
}

static bool must_yield(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (speaks(s, p, now))
			return true;
	}
	return false;
}

static void begin_claim(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	s->claim_until = x->now;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (speaks(s, p, x->now))
			s->claim_until = mtime_max(s->claim_until, x->now + yield_time(s, p));
	}
	svc_set_phase(x, SERVICE_PHASE_CLAIM);
}

bool svc_claim(struct svc_step *x)
{
	x->s->claimed_at = x->now;
	if (!RULE(CLAIM) || !must_yield(x->s, x->now))
		return false;
	begin_claim(x);
	return true;
}

void svc_unclaim(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->vrrp.state != VRRP_STATE_ACTIVE || !svc_has_plain(s))
		return;
	s->claim_again = x->now + CLAIM_AGAIN;
	svc_emit(x, SERVICE_ACT_SEND_ADVERT_0);
}

/* An advert of priority > 0 while we take over: true where it is no reason to give up. */
bool svc_plain_yields(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	uint8_t own = s->vrrp.config.priority;
	mtime crossing = mtime_max(s->config.advert_int / 2, MTIME_MS(20));

	if (!svc_plain(s, ev->peer) || ev->priority > own)
		return false;
	if (s->phase == SERVICE_PHASE_FENCE) /* it has not been told yet */
		return s->vrrp.config.preempt && ev->priority < own;
	if (ev->priority == own &&
	    s->config.nodes[ev->peer].address > s->config.nodes[s->config.self].address)
		return false;
	if (x->now - s->claimed_at > crossing)
		return false;
	begin_claim(x); /* our adverts and its have crossed: it yields from now on */
	return true;
}

/* An answer of its for the virtual address that is no news: it has had no time to give it up. */
bool svc_plain_may_answer(const struct service_fsm *s, unsigned p, mtime now)
{
	mtime delay = s->config.nodes[p].release_delay;

	if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_CLAIM)
		return true;
	if (s->state == SERVICE_STATE_TAKING_OVER && s->phase != SERVICE_PHASE_FENCE)
		return false;
	return speaks(s, p, now) || refused_lately(s, p, now) ||
	       svc_within(now, s->peers[p].released, delay);
}
