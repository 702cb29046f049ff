/* SPDX-License-Identifier: MIT */
#include "supd/engine/probe.h"

/*
 * Gratuitous announcements of the virtual addresses: ARP, and unsolicited advertisements of ND.
 *
 *   a series      after a takeover.  A lost one costs a neighbour with traffic tens of seconds, so
 *                 there are garp_count: close together at first, when an entry somewhere is still
 *                 the old node's, then spread over a second, in case a switch was just relearning
 *                 its ports.
 *   a refresh     every garp_refresh while the service is active here, for those who were not there
 *   a defence     at once, when a stranger announces one of them: neighbours go by the last word.
 *                 Two that both defend would go on for ever, hence ever longer pauses (RFC 5227
 *                 section 2.4 allows one in 10 s).
 *   a series      when nobody has contradicted for a while
 *
 * Of addresses that somebody else sets (vip_backend) nothing is announced.
 */

#define AFTER_CONFLICT 2.0 /* s */
#define DEFEND_FIRST   MTIME_SEC(1)
#define DEFEND_LAST    MTIME_SEC(10)
#define DEFEND_CALM    MTIME_SEC(60) /* without a conflict: it begins anew */

static const double gaps[] = {0.05, 0.15, 0.3, 0.5}; /* s, after the first, the second, ... */
#define GAP_LAST 1.0

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

static bool may_announce(const struct engine_service *svc)
{
	if (config_of(svc)->vip_backend != MODEL_VIP_NETLINK)
		return false;
	return svc->fsm.state == SERVICE_STATE_ACTIVE ||
	       svc->fsm.state == SERVICE_STATE_TAKING_OVER;
}

static void wait_for_next(struct engine_service *svc, double seconds)
{
	ev_timer_stop(svc->engine->loop, &svc->garp_timer);
	ev_timer_set(&svc->garp_timer, seconds, 0.);
	ev_timer_start(svc->engine->loop, &svc->garp_timer);
}

/* For the next regular one, where they are wanted. */
static void wait_for_refresh(struct engine_service *svc)
{
	const mtime refresh = config_of(svc)->garp_refresh;

	if (refresh > 0)
		wait_for_next(svc, (double)refresh / 1e9);
}

static void send_all(struct engine_service *svc)
{
	const struct model_service *ms = config_of(svc);
	uint8_t frame[NEIGH_FRAME_MAX];

	for (unsigned i = 0; i < ms->n_vips; i++)
		probe_send_frame(svc, &ms->vips[i], frame,
				 neigh_announce(svc->mac, &ms->vips[i], svc->router, frame));
}

static void announce_all(struct engine_service *svc)
{
	const size_t n_gaps = sizeof(gaps) / sizeof(gaps[0]);

	send_all(svc);
	svc->garp_sent++;
	if (svc->garp_left > 0)
		svc->garp_left--;
	if (svc->garp_left == 0)
		wait_for_refresh(svc);
	else
		wait_for_next(svc, svc->garp_sent <= n_gaps ? gaps[svc->garp_sent - 1] : GAP_LAST);
}

static void on_garp(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine_service *svc = w->data;

	if (may_announce(svc))
		announce_all(svc);
}

void announce_init(struct engine_service *svc)
{
	ev_timer_init(&svc->garp_timer, on_garp, 0., 0.);
	svc->garp_timer.data = svc;
}

/* A new engine that goes on with an active service has announced nothing itself. */
void announce_update(struct engine_service *svc)
{
	if (!may_announce(svc))
		ev_timer_stop(svc->engine->loop, &svc->garp_timer);
	else if (svc->fsm.state == SERVICE_STATE_ACTIVE && !ev_is_active(&svc->garp_timer))
		wait_for_refresh(svc);
}

static void begin_series(struct engine_service *svc)
{
	svc->garp_left = config_of(svc)->garp_count;
	svc->garp_sent = 0;
}

void probe_announce(struct engine *e, uint32_t service)
{
	struct engine_service *svc = &e->services[service];

	begin_series(svc);
	if (svc->garp_left > 0 && may_announce(svc))
		announce_all(svc);
}

static void defend(struct engine_service *svc, mtime now)
{
	if (svc->defended_at != 0 && now - svc->defended_at < svc->defend_gap)
		return;
	if (svc->defended_at == 0 || now - svc->defended_at >= DEFEND_CALM)
		svc->defend_gap = DEFEND_FIRST;
	else
		svc->defend_gap = mtime_min(2 * svc->defend_gap, DEFEND_LAST);
	svc->defended_at = now;
	send_all(svc);
}

void announce_again(struct engine_service *svc, bool contest)
{
	if (svc->fsm.state != SERVICE_STATE_ACTIVE || !may_announce(svc))
		return;
	if (contest)
		defend(svc, mtime_now());
	begin_series(svc);
	wait_for_next(svc, AFTER_CONFLICT);
}
