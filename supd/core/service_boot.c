/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <stddef.h>

/*
 * Boot, and every other beginning with nothing known of the others (a start, a reset): listen first.
 *
 *   somebody runs it                             backup
 *   every node heard, nothing runs               the best fit one takes over at once, by election
 *   not every node heard for wait_for_peer       alone, where a target that is no node answers (or
 *                                                isolation_probe = off), in the order of rank
 */

/* In two-way contact, and its state is read: if it runs nothing now, it will say so. */
static bool is_here(const struct service_fsm *s, unsigned p, mtime now)
{
	return service_peer_reachable(s, p, now) && svc_report_fresh(s, p, now) &&
	       s->peers[p].report.state != SERVICE_STATE_DOWN;
}

static bool all_heard(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (p == s->config.self)
			continue;
		/* A plain router tells nothing: only its silence counts. */
		if (!s->config.nodes[p].peer_link && !s->vrrp.expired)
			return false;
		if (svc_linked(s, p) && !is_here(s, p, now))
			return false;
	}
	return true;
}

/*
 * Silence that was listened to counts from its beginning, whatever this node was meanwhile: what is
 * waited for is each missing node, not the time since a person's command.
 */
mtime service_waits_until(const struct service_fsm *s, mtime now)
{
	mtime since = s->listening;

	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_linked(s, p) && !is_here(s, p, now))
			since = mtime_max(since, s->peers[p].heard);
	}
	return mtime_min(s->wait_until, mtime_add(since, s->config.wait_for_peer));
}

/*
 * Alone after wait_for_peer: only with a witness that it is not we who are cut off.  One after the
 * other, by rank, so that the later one can see the address of the earlier one.
 */
static bool may_start_alone(const struct service_fsm *s, mtime now)
{
	mtime turn = svc_rank(s) * 2 * s->config.advert_int;

	if (now < mtime_add(service_waits_until(s, now), turn) || !s->vrrp.expired || s->config.hold_on_silence)
		return false;
	return s->config.isolation == MODEL_ISOLATION_OFF ||
	       svc_within(now, s->target_answer_other, 2 * s->config.advert_int);
}

bool svc_may_boot(const struct service_fsm *s, mtime now)
{
	return all_heard(s, now) || may_start_alone(s, now);
}

void svc_consider_boot(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	bool all = all_heard(s, x->now);

	if (svc_any_busy(s, x->now)) {
		svc_set_state(x, SERVICE_STATE_BACKUP, s->cause);
		return;
	}
	if (s->forced) {
		svc_begin_takeover(x, SERVICE_CAUSE_FAILOVER, false);
		return;
	}
	if (!all && !may_start_alone(s, x->now))
		return;
	if (!svc_best_here(s, x->now) ||
	    (!service_fit(s, x->now, NULL) && service_best_peer(s, x->now) >= 0))
		svc_set_state(x, SERVICE_STATE_BACKUP, s->cause);
	else
		svc_begin_takeover(x, s->cause, all);
}
