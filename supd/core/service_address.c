/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * The addresses of an active service, after the takeover.
 *
 * What somebody takes off (a network manager, a person, the end of a lease) is put back: at once,
 * then once a second.  A node that loses them LOSSES times within a minute, or may not set them for
 * as many seconds, is not fit to have them: it hands over to a fit peer and is latched as failed,
 * so that it does not get them back before somebody has looked.  Without a fit peer it goes on
 * trying: losing the address does not stop the job from being done.
 *
 * A command that fails (vip_backend = command) says nothing about this node: what it asks is asked
 * by the peer as well.
 */

#define LOSSES	      5
#define LOSSES_WITHIN MTIME_SEC(60)

static void count_loss(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (!svc_within(x->now, s->address_losses_since, LOSSES_WITHIN)) {
		s->address_losses_since = x->now;
		s->address_losses = 0;
	}
	s->address_losses++;
}

/* Several addresses that go together are one loss. */
void svc_address_lost(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->addresses_held && s->state == SERVICE_STATE_ACTIVE)
		count_loss(x);
	s->addresses_held = false;
}

void svc_add_addresses(struct svc_step *x)
{
	x->s->addresses_may = x->s->config.n_vips > 0;
	svc_emit(x, SERVICE_ACT_ADDRESSES_ADD);
}

void svc_addresses_added(struct svc_step *x, bool ok)
{
	struct service_fsm *s = x->s;

	s->addresses_held = ok;
	s->address_failed = !ok;
	if (!ok && s->state == SERVICE_STATE_ACTIVE && !s->config.vip_command)
		count_loss(x);
	if (ok && (s->state == SERVICE_STATE_ACTIVE || s->state == SERVICE_STATE_TAKING_OVER))
		svc_emit(x, SERVICE_ACT_ANNOUNCE);
}

mtime svc_address_patience(const struct service_fsm *s)
{
	return s->config.vip_command ? MODEL_VIP_COMMAND_TIMEOUT : SERVICE_ADDRESS_RETRY;
}

void svc_progress_addresses(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	int best = service_best_peer(s, x->now);
	struct svc_release r = {.to = SERVICE_STATE_FAILED, .cause = SERVICE_CAUSE_FAILED};

	if (s->state != SERVICE_STATE_ACTIVE || s->addresses_held || s->config.n_vips == 0)
		return;
	if (s->address_losses >= LOSSES && best >= 0 && !s->persist.paused) {
		r.successor = (unsigned)best;
		s->address_losses = 0;
		s->address_failed = true;
		svc_release(x, &r);
		return;
	}
	if (s->address_lost_at != 0 && x->now - s->address_lost_at < SERVICE_ADDRESS_RETRY)
		return;
	s->address_lost_at = x->now;
	svc_add_addresses(x);
}
