/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * Alarms: each is what is wrong now, derived anew after every step, so that none can be forgotten
 * or left standing.  A standing one is said again every hour.  An alarm changes nothing else.
 */


/* Adverts are missing while the peer link says "active", or the reverse. */
static bool vrrp_path_blocked(const struct service_fsm *s, mtime now)
{
	mtime down = svc_down_interval(s);

	if (s->vrrp.state != VRRP_STATE_BACKUP || svc_within(now, s->vrrp.last_advert, down))
		return false;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_report_fresh(s, p, now) &&
		    s->peers[p].report.state == SERVICE_STATE_ACTIVE && now - s->since > down)
			return true;
	}
	return false;
}

static bool peer_link_blocked(const struct service_fsm *s, mtime now)
{
	mtime down = svc_down_interval(s);
	bool adverts = false;

	if (now - s->started < 2 * down)
		return false;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_report_fresh(s, p, now))
			return false;
		adverts = adverts ||
			  (svc_linked(s, p) && svc_within(now, s->peers[p].advert, down));
	}
	return adverts;
}

/* The last rung of the ladder: latched here, and nobody else who could. */
static bool person_needed(const struct service_fsm *s, mtime now)
{
	if (s->state != SERVICE_STATE_FAILED || service_active_node(s, now) >= 0 ||
	    service_best_peer(s, now) >= 0)
		return false;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_peer_busy(s, p, now))
			return false;
	}
	return true;
}

static bool no_standby(const struct service_fsm *s, mtime now)
{
	return s->state == SERVICE_STATE_ACTIVE && now - s->since > svc_down_interval(s) &&
	       service_best_peer(s, now) < 0;
}

static bool any_differs(const struct service_fsm *s, mtime now, enum service_unfit what)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (service_peer_differs(s, p, now, what))
			return true;
	}
	return false;
}

/* It runs here only because nobody fit was left; over when the reasons are. */
static bool active_unfit(struct service_fsm *s, mtime now)
{
	if (!s->may_run)
		s->taken_unfit = s->taken_unfit && s->state == SERVICE_STATE_TAKING_OVER;
	else if (service_fit(s, now, NULL) && !s->file_replaced)
		s->taken_unfit = false;
	return s->taken_unfit && s->may_run;
}

/* It failed, or the disk has not answered for too long. */
static bool state_file_alarm(const struct service_fsm *s, mtime now)
{
	bool reasons[SERVICE_UNFITS_END];

	service_fit(s, now, reasons);
	return reasons[SERVICE_UNFIT_STATE_FILE];
}

/* Nobody runs it, because a node could not be confirmed off; over as soon as somebody does. */
static bool fence_failed(struct service_fsm *s, mtime now)
{
	bool idle = s->state == SERVICE_STATE_BACKUP || s->state == SERVICE_STATE_WAITING ||
		    s->state == SERVICE_STATE_TAKING_OVER;

	if (!idle || s->may_run || service_active_node(s, now) >= 0)
		s->command_failed = false;
	return s->command_failed;
}

static void set(struct svc_step *x, enum service_alarm alarm, bool on)
{
	mtime *said = &x->s->alarm_said[alarm];

	if (x->s->alarms[alarm] == on && !(on && x->now - *said >= SERVICE_REMIND))
		return;
	x->s->alarms[alarm] = on;
	*said = x->now;
	struct service_action *a = svc_emit(x, SERVICE_ACT_ALARM);
	a->alarm = alarm;
	a->ok = on;
}

/*
 * About two paths of which one is silent: after a repair the first message of one of them is always
 * there before the first one of the other.
 */
static void set_lasting(struct svc_step *x, enum service_alarm alarm, bool on)
{
	mtime *since = &x->s->alarm_since[alarm];

	if (!on)
		*since = 0;
	else if (*since == 0)
		*since = x->now;
	set(x, alarm, on && x->now - *since >= 2 * x->s->config.advert_int);
}

void svc_alarm_not_loaded(struct svc_step *x)
{
	set(x, SERVICE_ALARM_STATE_FILE, x->now - x->s->started >= SERVICE_LOADS_WITHIN);
}

void svc_update_alarms(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	mtime adv = s->config.advert_int;
	mtime settled = s->started + 2 * svc_down_interval(s);
	mtime patience = s->config.vip_lease + MTIME_MS(1500);
	bool node_answers = svc_within(x->now, s->conflict_node_at, 3 * adv);
	bool unknown_answers = svc_within(x->now, s->conflict_unknown_at, 3 * adv);

	set(x, SERVICE_ALARM_NO_STANDBY, no_standby(s, x->now));
	set(x, SERVICE_ALARM_PERSON_NEEDED, person_needed(s, x->now));
	set_lasting(x, SERVICE_ALARM_VRRP_PATH, vrrp_path_blocked(s, x->now));
	set_lasting(x, SERVICE_ALARM_PEER_LINK, peer_link_blocked(s, x->now));
	set(x, SERVICE_ALARM_VRRP_REFUSED, svc_plain_refused(s, x->now));
	set(x, SERVICE_ALARM_CONFIG_DIFFERS, any_differs(s, x->now, SERVICE_UNFIT_DIGEST));
	set(x, SERVICE_ALARM_CONFIG_FILE, any_differs(s, x->now, SERVICE_UNFIT_FILE) &&
						  !s->alarms[SERVICE_ALARM_CONFIG_DIFFERS]);
	set(x, SERVICE_ALARM_ACTIVE_UNFIT, active_unfit(s, x->now));
	set(x, SERVICE_ALARM_NO_TARGET, s->config.isolation != MODEL_ISOLATION_OFF &&
						!s->target_answered && x->now > settled);
	set(x, SERVICE_ALARM_CONFLICT, unknown_answers || (node_answers && s->may_run));
	set(x, SERVICE_ALARM_ACTIVE_FILTERED,
	    node_answers && !s->may_run && x->now - s->conflict_node_first > patience &&
		    service_active_node(s, x->now) < 0);
	set(x, SERVICE_ALARM_ADDRESS, s->address_failed);
	set(x, SERVICE_ALARM_UNKILLABLE, s->unkillable);
	set(x, SERVICE_ALARM_STATE_FILE, state_file_alarm(s, x->now));
	set(x, SERVICE_ALARM_BUDGET, !s->budget.tier0 && s->budget.d_min != MTIME_NEVER);
	set(x, SERVICE_ALARM_HELD, s->config.hold_on_silence && s->vrrp.expired &&
					   s->state == SERVICE_STATE_BACKUP &&
					   s->released_term == 0);
	set(x, SERVICE_ALARM_FENCE_FAILED, fence_failed(s, x->now));
	set(x, SERVICE_ALARM_WAIT_FOR_PEER, s->state == SERVICE_STATE_WAITING && !s->persist.paused &&
						    x->now >= service_waits_until(s, x->now));
}
