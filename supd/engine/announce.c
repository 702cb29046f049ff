/* SPDX-License-Identifier: MIT */
#include "supd/engine/probe.h"

#include "supd/core/arp.h"

/*
 * Gratuitous announcements of the virtual addresses.  A lost one costs a neighbour with traffic
 * tens of seconds, so there are several: close together at first, when an entry somewhere is still
 * the old node's, then spread over a second, in case a switch was just relearning its ports.
 * While the service is active here they are repeated (garp_refresh), for those who were not there.
 */

static const double gaps[] = {0.05, 0.15, 0.3, 0.5}; /* s, after the first, the second, ... */
#define GAP_LAST 1.0

static bool may_announce(const struct engine_service *svc)
{
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
	const mtime refresh = model_service(svc->engine->m, svc->row)->garp_refresh;

	if (refresh > 0)
		wait_for_next(svc, (double)refresh / 1e9);
}

static void announce_all(struct engine_service *svc)
{
	const struct model_service *ms = model_service(svc->engine->m, svc->row);
	const size_t n_gaps = sizeof(gaps) / sizeof(gaps[0]);
	struct arp_frame f;

	for (unsigned i = 0; i < ms->n_vips; i++) {
		if (ms->vips[i].family != AF_INET)
			continue;
		arp_announce(&f, svc->mac, ms->vips[i].v4.s_addr);
		probe_send_frame(svc, &f);
	}
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

void probe_announce(struct engine *e, uint32_t service)
{
	struct engine_service *svc = &e->services[service];

	svc->garp_left = model_service(e->m, service)->garp_count;
	svc->garp_sent = 0;
	if (svc->garp_left > 0)
		announce_all(svc);
}
