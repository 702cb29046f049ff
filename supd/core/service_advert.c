/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * Adverts.  Of a plain router they are all there is, and mean what RFC 9568 says (service_plain.c).
 * Of a linked node they are evidence of life and nothing else: anybody on the network can forge one,
 * so none makes us take over, sooner or at all, or step down; terms decide all that.
 * What is left to a forger is to hold a takeover off, and that has an end:
 *
 *   priority 0                         not believed: RELEASE on the peer link says that
 *   the node's HELLO says otherwise    not believed
 *   each advert                        Active_Down in our interval, whatever it says itself
 *   a node that was heard, and is silent on the peer link
 *                                      believed while somebody whom we know answers for the virtual
 *                                      address, and for two Active_Downs after
 *
 * The last one is not for the dead but for the living whose peer link is blocked: their kernel
 * answers for the address, so that their adverts are believed for as long as it takes.  Where no
 * answer can be had (conflict_probe = no, another vip_backend, a node that was never heard since we
 * started) adverts are believed too: better held off by a forger than two instances.
 */

/* For how long nobody may answer for the address. */
static mtime doubt_after(const struct service_fsm *s)
{
	return 2 * svc_down_interval(s);
}

/* Whether its adverts, and nothing else, have been all that came from this node for a while. */
static bool adverts_alone(const struct service_fsm *s, unsigned p, mtime now)
{
	return svc_linked(s, p) && s->peers[p].heard != 0 && s->peers[p].adverts_alone != 0 &&
	       svc_within(now, s->peers[p].advert, svc_down_interval(s));
}

bool svc_adverts_doubtful(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (adverts_alone(s, p, now))
			return true;
	}
	return false;
}

/* We asked for the address, nobody answered for long enough, and the network does carry answers. */
static bool nobody_answers(const struct service_fsm *s, unsigned p, mtime now)
{
	bool asked = s->state == SERVICE_STATE_BACKUP || s->state == SERVICE_STATE_WAITING;
	mtime since = mtime_max(s->peers[p].adverts_alone, mtime_max(s->conflict_node_at, s->since));

	return asked && s->config.conflict_probe && s->config.n_vips > 0 && s->link_up &&
	       now - since > doubt_after(s) &&
	       svc_within(now, s->target_answer_other, 2 * s->config.advert_int);
}

static bool is_believed(const struct service_fsm *s, unsigned p, uint8_t priority, mtime now)
{
	if (!svc_linked(s, p))
		return true;
	if (priority == 0)
		return false;
	if (svc_report_fresh(s, p, now))
		return svc_peer_busy(s, p, now);
	return !s->peers[p].disbelieved;
}

static void note_advert(struct service_fsm *s, unsigned p, mtime now)
{
	struct service_peer *peer = &s->peers[p];
	const mtime down = svc_down_interval(s);

	bool pause = !svc_within(now, peer->advert, down);

	peer->advert = now;
	if (svc_within(now, peer->heard, down))
		peer->adverts_alone = 0;
	else if (peer->adverts_alone == 0 || pause)
		peer->adverts_alone = now;
	if (peer->adverts_alone == 0 || pause || svc_within(now, s->conflict_node_at, down))
		peer->disbelieved = false;
	else if (adverts_alone(s, p, now) && nobody_answers(s, p, now))
		peer->disbelieved = true;
}

/* What the machine of RFC 9568 makes of it. */
static void step_vrrp(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	const struct service_node *node = &s->config.nodes[ev->peer];
	struct vrrp_actions acts = {0};
	struct vrrp_event v = {.type = VRRP_EV_ADVERT,
			       .priority = ev->priority,
			       .interval = ev->interval,
			       .src_above_own =
				       node->address > s->config.nodes[s->config.self].address,
			       .plain = svc_plain(s, ev->peer),
			       .grace = node->release_delay};

	vrrp_step(&s->vrrp, &v, x->now, &acts);
	for (unsigned i = 0; i < acts.n; i++) {
		if (acts.a[i] == VRRP_ACT_SEND_ADVERT)
			svc_emit(x, SERVICE_ACT_SEND_ADVERT);
		/* Who yields to a peer is decided by terms; to a plain router, by the RFC. */
		else if (acts.a[i] == VRRP_ACT_WANT_BACKUP && s->may_run && !node->peer_link)
			svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
	}
}

void svc_on_advert(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (!s->loaded)
		return;
	if (svc_plain(s, ev->peer))
		svc_plain_advert(x, ev);
	if (ev->priority != 0)
		note_advert(s, ev->peer, x->now);
	else if (svc_plain(s, ev->peer))
		s->peers[ev->peer].advert = 0;
	if (!is_believed(s, ev->peer, ev->priority, x->now))
		return;
	step_vrrp(x, ev);
	if (ev->priority == 0)
		return;
	if (s->state == SERVICE_STATE_WAITING) {
		s->by_advert = !svc_plain(s, ev->peer);
		svc_set_state(x, SERVICE_STATE_BACKUP, s->cause);
	}
	/* Somebody else was granted the service; the peer link may be blocked, so its advert counts. */
	if (s->state == SERVICE_STATE_TAKING_OVER && !s->may_run && !s->forced &&
	    RULE(ADVERT_IS_LIFE) && s->peers[ev->peer].fenced < s->term &&
	    !(s->released_term != 0 && ev->peer == s->releaser) && !svc_plain_yields(x, ev))
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
}
