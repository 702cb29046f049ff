/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <stddef.h>

/*
 * Taking over: the verdict (DESIGN, "service_fsm"), the fence, and the steps after it.
 *
 *   backup --verdict--> FENCE --all FENCED, or unheard--> ADDRESS --> START --ready--> active
 *                         | (and confirmed off: service_command.c; a plain router that must
 *                         |  yield first: CLAIM, service_plain.c)
 *                         | verdict fails, a higher term, an answer for the address
 *                         +--> backup, Active_Down in full
 *
 * The term is one reserved on disk before, so that no takeover waits for a disk.  Until START
 * nothing of ours runs, so giving up costs nothing; from START on giving up means killing first.
 */

/* ---- verdict ---------------------------------------------------------------------------------- */

/* Evidence 1, 4 and 5; 2 (silence) is what brings us here, 6 (fence) comes next. */
static bool verdict_holds(const struct service_fsm *s, mtime now)
{
	bool reasons[SERVICE_UNFITS_END];

	if (!service_fit(s, now, reasons)) {
		for (unsigned i = 0; i < SERVICE_UNFITS_END; i++) {
			if (reasons[i] && !service_unfit_is_soft(i) &&
			    !(s->forced && i == SERVICE_UNFIT_ISOLATED))
				return false;
		}
	}
	/* The releaser vouches for itself, a person for everything. */
	if (s->forced || (s->take_cause == SERVICE_CAUSE_RELEASE && s->released_named))
		return true;
	/* Who has not asked around yet could not notice that it is cut off. */
	if (s->has_target && !s->target_answered && RULE(CONTACT) &&
	    now - s->started < 2 * svc_down_interval(s))
		return false;
	if (RULE(CONTACT) && !svc_has_contact(s, now))
		return false;
	return !svc_conflict_holds(s, now);
}

/* Of itself a softly unfit node begins only in its turn; who hands over to it by name knows of it. */
static bool soft_reasons_count(const struct service_fsm *s, mtime now)
{
	bool by_name = s->take_cause == SERVICE_CAUSE_RELEASE && s->released_named;

	return service_softly_unfit(s, now) && !s->forced && !by_name &&
	       now < svc_soft_turn(s, now) && RULE(SOFT);
}

/* Our programs could live for a while: S is fresh enough for the keeper not to kill them at once. */
static bool s_is_fresh(const struct service_fsm *s, mtime now)
{
	return !RULE(BUDGET) || s->budget.life == MTIME_NEVER ||
	       now + s->budget.life / 4 < s->s + s->budget.life;
}

static void send_fence(struct svc_step *x)
{
	x->s->fence_sent = x->now;
	svc_emit(x, SERVICE_ACT_SEND_FENCE);
}

/*
 * Twice within fence_timeout: a node that we do not hear is waited for no longer than that, and one
 * datagram may be lost, or overtaken by another and refused as a replay.
 */
mtime svc_fence_again(const struct service_fsm *s)
{
	bool first = s->fence_sent - s->fence_started < s->config.fence_timeout / 2;

	return s->fence_sent + (first ? s->config.fence_timeout / 2 : s->config.advert_int / 3);
}

void svc_repeat_fence(struct svc_step *x)
{
	if (x->now >= svc_fence_again(x->s))
		send_fence(x);
}

void svc_begin_fence(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	s->fence_started = x->now;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		s->peers[p].dead_before =
			!svc_within(x->now, s->peers[p].heard, svc_down_interval(s));
		s->peers[p].fenced = 0;
	}
	send_fence(x);
}

/*
 * Its HELLO, sent after our FENCE, says all that FENCED says but for the disk: nothing runs, and it
 * knows the term.  Good enough after Active_Down: a node that cannot write its state file must not
 * keep the service down for ever.
 */
bool svc_said_idle(const struct service_fsm *s, unsigned p, mtime now)
{
	const struct service_peer *peer = &s->peers[p];

	return now - s->fence_started >= svc_down_interval(s) &&
	       peer->reported > s->fence_started && peer->echoed > s->fence_started &&
	       !peer->report.running && !(peer->report.adverts_heard && RULE(WITNESS)) &&
	       peer->report.term_seen >= s->term;
}

static bool must_wait_for(const struct service_fsm *s, unsigned p, mtime now)
{
	const struct service_peer *peer = &s->peers[p];
	const struct service_report *r = &peer->report;

	if (!svc_linked(s, p) || peer->fenced >= s->term)
		return false;
	if (s->released_term != 0 && s->releaser == p && !s->may_run)
		return false;
	/* Two who elect themselves without hearing each other cannot both get every answer. */
	if (s->elected && !s->may_run)
		return !svc_said_idle(s, p, now);
	if (svc_peer_busy(s, p, now))
		return true;
	if (svc_said_idle(s, p, now))
		return false;
	if (s->may_run && (peer->dead_before ||
			   (svc_report_fresh(s, p, now) && r->term_seen >= s->term)))
		return false;
	return now - s->fence_started < s->config.fence_timeout ||
	       service_peer_reachable(s, p, now);
}

bool svc_fence_done(const struct service_fsm *s, mtime now)
{
	if (!RULE(FENCE))
		return true;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (must_wait_for(s, p, now))
			return false;
	}
	return true;
}

/* ---- begin, give up ------------------------------------------------------------------------------ */

/* The one reserved; the next one is reserved by the write that follows. */
void svc_take_term(struct service_fsm *s)
{
	s->term = s->persist.reserved;
	s->persist.term_seen = s->term;
	s->persist.reserved = service_next_term(s->term, s->config.self);
}

void svc_begin_takeover(struct svc_step *x, enum service_cause cause, bool elected)
{
	struct service_fsm *s = x->s;

	s->take_cause = cause;
	s->elected = elected;
	/* The reservation must be on disk; a write that is under way takes milliseconds. */
	if (!svc_persist_settled(s) || s->persist.reserved <= s->persist.term_seen ||
	    !verdict_holds(s, x->now) || soft_reasons_count(s, x->now))
		return;
	s->taken_unfit = service_softly_unfit(s, x->now);
	s->file_replaced = s->file_known && s->file_in_force != s->config.file;
	svc_take_term(s);
	s->restart_fence = s->programs_ready = s->exhausted = false;
	s->command_time = 0;
	s->conflict_taken = svc_within(x->now, s->conflict_unknown_at, s->config.advert_int);
	svc_persist(x);
	svc_set_state(x, SERVICE_STATE_TAKING_OVER, cause);
	svc_set_phase(x, SERVICE_PHASE_FENCE);
	svc_begin_fence(x);
}

void svc_abandon(struct svc_step *x, mtime hold)
{
	struct service_fsm *s = x->s;

	if (s->may_run) {
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
		return;
	}
	if (s->phase != SERVICE_PHASE_FENCE)
		svc_emit(x, SERVICE_ACT_ADDRESSES_REMOVE);
	svc_unclaim(x);
	svc_vrrp(x, s->vrrp.state == VRRP_STATE_ACTIVE ? VRRP_EV_GRANT_BACKUP : VRRP_EV_HOLD);
	s->hold_until = x->now + hold;
	s->forced = false;
	s->released_term = 0;
	svc_set_state(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
}

void svc_enter_idle(struct svc_step *x, enum service_cause cause, bool boot)
{
	struct service_fsm *s = x->s;

	s->forced = s->exhausted = s->by_advert = false;
	s->released_term = 0;
	if (s->persist.reserved <= s->persist.term_seen) {
		s->persist.reserved = service_next_term(s->persist.term_seen, s->config.self);
		svc_persist(x);
	}
	if (s->persist.stopped || s->persist.barred) {
		svc_set_state(x, SERVICE_STATE_STOPPED, SERVICE_CAUSE_STOP);
	} else if (s->persist.latched) {
		svc_set_state(x, SERVICE_STATE_FAILED, SERVICE_CAUSE_FAILED);
	} else if (boot) {
		s->wait_until = mtime_add(x->now, s->config.wait_for_peer);
		svc_set_state(x, SERVICE_STATE_WAITING, cause);
	} else {
		svc_set_state(x, SERVICE_STATE_BACKUP, cause);
	}
}

/* ---- backup --------------------------------------------------------------------------------------------- */

bool svc_any_busy(const struct service_fsm *s, mtime now)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (svc_peer_busy(s, p, now))
			return true;
	}
	return false;
}

void svc_consider_takeover(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->forced) {
		if (svc_any_busy(s, x->now))
			s->forced = false;
		else
			svc_begin_takeover(x, SERVICE_CAUSE_FAILOVER, false);
		return;
	}
	if (s->released_term != 0 && x->now - s->released_at <= svc_down_interval(s)) {
		svc_begin_takeover(x, SERVICE_CAUSE_RELEASE, false);
		return;
	}
	s->released_term = 0;
	/* Tier 0-hold: silence is told (alarm "held"), and a person confirms with failover --force. */
	if (s->config.hold_on_silence && RULE(HOLD))
		return;
	/* As if it had not come: whoever forged it shall not make us start before our time. */
	if (s->by_advert && !svc_may_boot(s, x->now))
		return;
	if (s->vrrp.expired && x->now >= s->hold_until)
		svc_begin_takeover(x, SERVICE_CAUSE_TAKEOVER, false);
}

/* ---- taking over ----------------------------------------------------------------------------------------- */

static void add_addresses(struct svc_step *x)
{
	svc_set_phase(x, SERVICE_PHASE_ADDRESS);
	svc_add_addresses(x);
	if (x->s->config.n_vips == 0)
		svc_set_phase(x, SERVICE_PHASE_START);
}

/* Whoever had to yield has been silent for long enough. */
static void progress_claim(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (x->now < s->claim_until)
		return;
	if (verdict_holds(s, x->now))
		add_addresses(x);
	else
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
}

static void grant(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (svc_command_awaited(x))
		return;
	/* Before each command, and after the last one: what it took may be half a minute. */
	if (!verdict_holds(s, x->now)) {
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
		return;
	}
	if (svc_command_next(x))
		return;
	if (!s_is_fresh(s, x->now)) { /* who cannot be heard cannot hear what has changed, either */
		if (x->now - s->fence_started - svc_command_time(s, x->now) >
		    2 * s->config.advert_int)
			svc_abandon(x, 0);
		return;
	}
	svc_vrrp(x, VRRP_EV_GRANT_ACTIVE);
	if (!svc_claim(x))
		add_addresses(x);
}

/* Nobody but us was asked to take it, or everybody has answered: no look around is needed. */
static bool undisputed(const struct service_fsm *s)
{
	return s->forced || (s->elected && !svc_has_plain(s)) ||
	       (s->take_cause == SERVICE_CAUSE_RELEASE && s->released_named);
}

bool svc_last_look(const struct service_fsm *s)
{
	return s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_START &&
	       !s->may_run && !undisputed(s);
}

/* Contact proven by something sent after this takeover began: we were not cut off just before. */
static bool proven_since_fence(const struct service_fsm *s)
{
	bool proven = s->config.isolation == MODEL_ISOLATION_OFF || !s->target_answered ||
		      s->target_answer >= s->fence_started;

	for (unsigned p = 0; p < s->config.n_nodes; p++)
		proven = proven || (svc_linked(s, p) && s->peers[p].echoed >= s->fence_started);
	return proven || !RULE(FRESH_PROOF);
}

/* The last look before the order; false: not yet. */
static bool may_order(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	mtime waited = x->now - s->phase_since;

	/* Fit, and the keeper still takes orders of this term. */
	if ((!service_fit(s, x->now, NULL) && !service_softly_unfit(s, x->now) && !s->forced) ||
	    s->quiesced >= s->term) {
		svc_abandon(x, 0);
		return false;
	}
	/* Whoever vouched for it, or was asked: what was true then is too old by now. */
	if (waited > mtime_max(s->config.advert_int, 10 * SERVICE_LAST_LOOK)) {
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
		return false;
	}
	if (!s_is_fresh(s, x->now))
		return false;
	if (undisputed(s))
		return true;
	if (!verdict_holds(s, x->now)) {
		svc_abandon(x, s->config.advert_int / 3 * s->config.self);
		return false;
	}
	if (s->config.conflict_probe && s->config.n_vips > 0 && waited < SERVICE_LAST_LOOK &&
	    RULE(LAST_LOOK))
		return false;
	return proven_since_fence(s);
}

static void start_programs(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (!may_order(x))
		return;
	s->may_run = true;
	s->unkillable = false;
	svc_emit(x, SERVICE_ACT_BATON);
	svc_emit(x, SERVICE_ACT_PROGRAMS_START)->cause = s->take_cause;
	svc_emit(x, SERVICE_ACT_PROGRAMS_ALLOW);
}

/*
 * A higher term is known than the one we fence with: nobody will answer it, and nobody may act
 * under it.  Begin again with a new number, all evidence unchanged.
 */
static void renumber(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	bool boot = s->take_cause == SERVICE_CAUSE_BOOT || s->take_cause == SERVICE_CAUSE_START ||
		    s->take_cause == SERVICE_CAUSE_RESET;

	if (s->phase != SERVICE_PHASE_FENCE)
		svc_abandon(x, 0);
	else
		svc_set_state(x, boot ? SERVICE_STATE_WAITING : SERVICE_STATE_BACKUP,
			      s->take_cause);
}

static bool unwanted(const struct service_fsm *s)
{
	return s->ending || s->persist.stopped || s->persist.barred;
}

void svc_progress_takeover(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (unwanted(s)) {
		struct svc_release r = {.to = SERVICE_STATE_BACKUP,
					.cause = SERVICE_CAUSE_STOP,
					.successor = MODEL_NODES_MAX};
		if (s->may_run)
			svc_release(x, &r);
		else
			svc_abandon(x, 0);
		return;
	}
	if (!s->may_run && s->persist.term_seen > s->term && RULE(RENUMBER)) {
		renumber(x);
		return;
	}
	if (s->phase == SERVICE_PHASE_FENCE) {
		/* What was true when this began is too old to start on, whoever vouched for it. */
		if (x->now - s->fence_started - svc_command_time(s, x->now) >
		    2 * svc_down_interval(s))
			svc_abandon(x, 0);
		else if (svc_fence_done(s, x->now))
			grant(x);
		else if (s->elected && x->now - s->fence_started > svc_down_interval(s))
			svc_enter_idle(x, s->take_cause, true); /* somebody was lost: wait again */
		else
			svc_repeat_fence(x);
		return;
	}
	if (s->phase == SERVICE_PHASE_CLAIM) {
		progress_claim(x);
		return;
	}
	if (s->phase == SERVICE_PHASE_ADDRESS) {
		/* Net may wait for a lock of the kernel; the job must run all the same. */
		if (x->now - s->phase_since >= svc_address_patience(s)) {
			s->address_failed = true;
			svc_set_phase(x, SERVICE_PHASE_START);
		}
		return;
	}
	if (!s->may_run) {
		start_programs(x);
		return;
	}
	if (s->programs_ready) {
		s->released_term = 0;
		s->forced = false;
		svc_own_file(s);
		svc_set_state(x, SERVICE_STATE_ACTIVE, s->take_cause);
		return;
	}
	svc_progress_restart(x);
	svc_on_limit(x);
}
