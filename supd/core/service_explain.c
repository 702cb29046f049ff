/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <stdio.h>
#include <string.h>

/*
 * The verdict in words: the same facts that service_take.c weighs, each with its age and what
 * follows from it.  `ok` speaks for being, or becoming, active here.
 */

#define X(name, text) [SERVICE_EVIDENCE_##name] = text,
static const char *const evidence_names[] = {SERVICE_EVIDENCES(X)};
#undef X

const char *service_evidence_name(enum service_evidence_kind k)
{
	return evidence_names[k];
}

const char *service_verdict_name(enum service_verdict v)
{
	static const char *const names[] = {[SERVICE_VERDICT_HOLD] = "hold",
					    [SERVICE_VERDICT_TAKE] = "take",
					    [SERVICE_VERDICT_KEEP] = "keep",
					    [SERVICE_VERDICT_STEP_DOWN] = "step_down"};
	return names[v];
}

static void say(struct service_evidence *e, bool ok, mtime age, const char *detail,
		const char *consequence)
{
	e->ok = ok;
	e->age = age;
	e->node = MODEL_NONE;
	snprintf(e->detail, sizeof(e->detail), "%s", detail);
	snprintf(e->consequence, sizeof(e->consequence), "%s", consequence);
}

static mtime age_of(mtime now, mtime at)
{
	return at == 0 ? -1 : now - at;
}

static void explain_fit(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	static const char *const why[] = {
		[SERVICE_UNFIT_FAILED] = "latched as failed (supctl reset ends it)",
		[SERVICE_UNFIT_STOPPED] = "stopped, or barred here, by a person (supctl start ends it)",
		[SERVICE_UNFIT_PAUSED] = "paused by a person (supctl resume ends it)",
		[SERVICE_UNFIT_LINK] = "the service's interface is down or missing",
		[SERVICE_UNFIT_ISOLATED] = "isolated: no peer and no probe target answers",
		[SERVICE_UNFIT_DIGEST] = "a peer's configuration differs in what must be equal",
		[SERVICE_UNFIT_STATE_FILE] = "the state file is not readable or not writable",
		[SERVICE_UNFIT_ENDING] = "supd is ending here",
		[SERVICE_UNFIT_SOCKETS] = "sockets are not open yet",
		[SERVICE_UNFIT_FILE] = "its file is not the one that the service ran under last",
		[SERVICE_UNFIT_CHECK] = "a check fails",
		[SERVICE_UNFIT_LOAD] = "the load is above max_load",
		[SERVICE_UNFIT_MEMORY] = "less memory than reserved_memory is available",
	};
	bool reasons[SERVICE_UNFITS_END];
	size_t at = 0;

	if (service_fit(s, now, reasons)) {
		say(e, true, now - s->since, "nothing speaks against this node",
		    "it may be active");
		return;
	}
	say(e, false, now - s->since, "",
	    !service_softly_unfit(s, now) ? "it may not take over while this lasts"
	    : s->may_run		  ? "it goes on; nobody hands over to it by choice"
					  : "it takes over only where nobody fit is left, one more "
					    "Active_Down later");
	for (unsigned i = 0; i < SERVICE_UNFITS_END && at < sizeof(e->detail); i++) {
		if (reasons[i])
			at += (size_t)snprintf(e->detail + at, sizeof(e->detail) - at, "%s%s",
					       at > 0 ? "; " : "", why[i]);
	}
}

/* Newest sign of life of an Active: an advert, or the restart of Active_Down by a HELLO. */
static mtime last_life(const struct service_fsm *s)
{
	mtime by_timer = s->vrrp.down_at == MTIME_NEVER
				 ? 0
				 : s->vrrp.down_at - svc_down_interval(s);

	return mtime_max(s->vrrp.last_advert, by_timer);
}

static void explain_silence(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	int active = service_active_node(s, now);
	mtime left = s->vrrp.down_at == MTIME_NEVER ? 0 : s->vrrp.down_at - now;

	if (active == (int)s->config.self) {
		say(e, true, now - s->since, "this node is the active one", "it keeps the service");
	} else if (s->released_term != 0) {
		say(e, true, -1, "the active node has released the service",
		    "this node takes over without waiting");
	} else if (active >= 0 && s->lesser_since != 0) {
		say(e, s->vrrp.expired, now - s->lesser_since,
		    "a plain VRRP router of lower priority is active",
		    "this node takes over from it after failback and Active_Down");
	} else if (active >= 0) {
		say(e, false, age_of(now, last_life(s)), "another node is active and heard",
		    "this node stays on standby");
	} else if (s->vrrp.expired) {
		say(e, true, age_of(now, last_life(s)),
		    "no active node has been heard for Active_Down",
		    service_fit(s, now, NULL) ? "this node may take over"
					      : "a fit node may take over; this one is not");
	} else {
		say(e, false, age_of(now, last_life(s)), "", "a takeover waits for Active_Down");
		snprintf(e->detail, sizeof(e->detail),
			 "no active node is known; Active_Down ends in %lld ms",
			 (long long)mtime_to_ms(left > 0 ? left : 0));
	}
}

static void explain_path(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	mtime age = age_of(now, s->vrrp.last_advert);

	if (s->alarms[SERVICE_ALARM_VRRP_PATH])
		say(e, false, age, "the peer link says active, but no advert arrives",
		    "no takeover: protocol 112 is blocked on the way here");
	else if (s->alarms[SERVICE_ALARM_PEER_LINK])
		say(e, false, age, "adverts arrive, but no peer is heard on the peer link",
		    "no takeover: the peer link's UDP port is blocked, or the keys differ");
	else if (svc_plain_refused(s, now))
		say(e, false, age, "a plain VRRP router speaks, but its adverts are refused",
		    "no takeover: the log says what differs (version, password, interval, TTL)");
	else
		say(e, true, age, "adverts and the peer link agree", "neither path is doubted");
}

static void explain_isolation(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	mtime age = age_of(now, s->s);

	if (s->config.isolation == MODEL_ISOLATION_OFF)
		say(e, true, -1, "isolation_probe = off", "an isolated host is not noticed");
	else if (!s->target_answered)
		say(e, true, -1, "no probe target but nodes has answered since start",
		    "this rule cannot speak; an isolated host is not noticed");
	else if (s->isolated)
		say(e, false, age, "no peer in two-way contact, and no probe target answers",
		    "this node is cut off: its programs are killed, and it may not take over");
	else if (!svc_has_contact(s, now))
		say(e, false, age, "the newest proof of contact is too old",
		    "no takeover until a peer or a target answers");
	else
		say(e, true, age, "a peer or a probe target answers", "this node is not cut off");
}

static void explain_conflict(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	mtime adv = s->config.advert_int;

	if (s->config.n_vips == 0 || !s->config.conflict_probe) {
		say(e, true, -1, "the virtual address is not asked for",
		    "a host that lives while its supd is silent is not noticed by it");
	} else if (svc_within(now, s->conflict_node_at, adv)) {
		say(e, s->may_run, now - s->conflict_node_at, "",
		    s->may_run ? "an alarm: the other node is told to give the address up"
			       : "that host is alive: Active_Down begins again with each answer");
		snprintf(e->detail, sizeof(e->detail),
			 "the host of a node answers for the virtual address");
		e->node = (int)s->conflict_node;
	} else if (svc_within(now, s->conflict_unknown_at, adv)) {
		say(e, !svc_conflict_holds(s, now), now - s->conflict_unknown_at,
		    "a host that is no node answers for the virtual address",
		    "the takeover is held for vip_lease + 1.5 s, then the address is defended");
	} else {
		say(e, true, -1, "nobody else answers for the virtual address",
		    "the address is free, or ours");
	}
}

/* What fence_command says about a takeover, where it says anything. */
static bool explain_command(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	bool taking = s->state == SERVICE_STATE_TAKING_OVER;
	bool runs = taking && s->command_runs && s->command_term == s->term;
	unsigned node = s->command_peer;

	if (runs)
		say(e, false, now - s->command_since, "", "the start waits until it has succeeded");
	else if (s->command_failed)
		say(e, false, now - s->command_failed_at, "",
		    "nothing starts here; tried again after Active_Down, or: failover --force");
	else if (s->term != 0 && s->peers[node].commanded == s->term && (taking || s->may_run))
		say(e, svc_fence_done(s, now), age_of(now, s->fence_sent), "",
		    "that node is off; the programs may run under this term");
	else
		return false;
	snprintf(e->detail, sizeof(e->detail), "fence_command %s",
		 runs		     ? "is running"
		 : s->command_failed ? "has failed"
				     : "has succeeded");
	e->node = (int)node;
	return true;
}

static void explain_fence(const struct service_fsm *s, mtime now, struct service_evidence *e)
{
	mtime age = age_of(now, s->fence_sent);

	if (explain_command(s, now, e))
		age = e->age;
	else if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_FENCE)
		say(e, svc_fence_done(s, now), age, "FENCE is out, not every answer is in",
		    "the start waits for FENCED, or until the peer is unheard for Active_Down");
	else if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_CLAIM)
		say(e, false, now - s->claimed_at, "a plain VRRP router is told to yield by adverts",
		    "the start waits for its release_delay, and for its silence");
	else if (s->may_run)
		say(e, true, age, "every peer that could be heard has confirmed that nothing runs",
		    "the programs may run under this term");
	else
		say(e, true, age, "nothing to fence: this node is not taking over",
		    "a takeover fences every other node first");
	if (e->age < 0 || s->term == 0)
		return;
	size_t n = strlen(e->detail);
	snprintf(e->detail + n, sizeof(e->detail) - n, " (term %llu)", (unsigned long long)s->term);
}

enum service_verdict service_explain(const struct service_fsm *s, mtime now,
				     struct service_evidence ret[SERVICE_EVIDENCES_END])
{
	bool all = true;

	explain_fit(s, now, &ret[SERVICE_EVIDENCE_FIT]);
	explain_silence(s, now, &ret[SERVICE_EVIDENCE_SILENCE]);
	explain_path(s, now, &ret[SERVICE_EVIDENCE_PATH]);
	explain_isolation(s, now, &ret[SERVICE_EVIDENCE_ISOLATION]);
	explain_conflict(s, now, &ret[SERVICE_EVIDENCE_CONFLICT]);
	explain_fence(s, now, &ret[SERVICE_EVIDENCE_FENCE]);
	if (s->state == SERVICE_STATE_RELEASING)
		return SERVICE_VERDICT_STEP_DOWN;
	if (s->state == SERVICE_STATE_ACTIVE)
		return SERVICE_VERDICT_KEEP;
	if (s->state == SERVICE_STATE_TAKING_OVER)
		return SERVICE_VERDICT_TAKE;
	for (unsigned i = 0; i < SERVICE_EVIDENCES_END; i++)
		all = all && ret[i].ok;
	return all && s->state == SERVICE_STATE_BACKUP ? SERVICE_VERDICT_TAKE
						       : SERVICE_VERDICT_HOLD;
}
