/* SPDX-License-Identifier: MIT */
#include "supd/core/service_fsm.h"

#include <string.h>

#include "supd/core/service_internal.h"

/*
 * The policy of one service on one node.
 *
 *            LOADED                 an Active is heard, or another is better
 *   down ------------> waiting --------------------------------------> backup
 *                         |  every node heard, nothing runs, best        |  ^
 *                         |  (or alone after wait_for_peer)      verdict |  | gone
 *                         v                                              v  |
 *                    taking_over <---------------------------------------+  |
 *                         | FENCE, addresses, programs ready                |
 *                         v                                                 |
 *                       active ----------------> releasing -----------------+
 *                                 failover, limit, stop, end;               +--> failed
 *                                 at once: FENCE, link, budget              +--> stopped, down
 *
 * Events change facts only; svc_progress() then compares facts with what is wanted and moves on,
 * so that a lost, late or repeated event is only a late or repeated look.  Every change of state
 * goes through svc_set_state(), which assigns first and emits afterwards.
 *
 * Invariants (service_check):
 *   - something may run here (may_run) only in taking_over, active and releasing, and only under
 *     a term that the keeper has not confirmed quiesced;
 *   - active means that the virtual router is Active;
 *   - a phase belongs to taking_over and releasing alone;
 *   - the term acted under is one of ours (residue), and never above term_seen.
 *
 * RFC 9568 section 6.4 is vrrp_fsm's; here its transitions are requests (policy mode).
 */

#define X(name, text) [SERVICE_STATE_##name] = text,
static const char *const state_names[] = {SERVICE_STATES(X)};
#undef X
#define X(name, text) [SERVICE_CAUSE_##name] = text,
static const char *const cause_names[] = {SERVICE_CAUSES(X)};
#undef X
#define X(name, text, kind) [SERVICE_UNFIT_##name] = text,
static const char *const unfit_names[] = {SERVICE_UNFITS(X)};
#undef X
#define X(name, text) [SERVICE_ALARM_##name] = text,
static const char *const alarm_names[] = {SERVICE_ALARMS(X)};
#undef X

const char *service_state_name(enum service_state s)
{
	return state_names[s];
}

const char *service_cause_name(enum service_cause c)
{
	return cause_names[c];
}

const char *service_unfit_name(enum service_unfit u)
{
	return unfit_names[u];
}

const char *service_alarm_name(enum service_alarm a)
{
	return alarm_names[a];
}

uint64_t service_next_term(uint64_t seen, unsigned self)
{
	uint64_t residue = self + 1;
	uint64_t term = seen - seen % 256 + residue;

	return term > seen ? term : term + 256;
}

/* ---- emitting ------------------------------------------------------------------------------- */

struct service_action *svc_emit(struct svc_step *x, enum service_action_type type)
{
	/* The last slot is a spill that is never reached: a step emits far fewer (service_check). */
	unsigned i = x->out->n < SERVICE_ACTIONS_MAX - 1 ? x->out->n++ : SERVICE_ACTIONS_MAX - 1;
	struct service_action *a = &x->out->a[i];

	memset(a, 0, sizeof(*a));
	a->type = type;
	a->term = x->s->term;
	return a;
}

void svc_set_state(struct svc_step *x, enum service_state state, enum service_cause cause)
{
	struct service_fsm *s = x->s;
	enum service_state from = s->state;
	struct service_action *a;

	s->state = state;
	s->cause = cause;
	s->since = x->now;
	s->phase = SERVICE_PHASE_NONE;
	s->phase_since = x->now;
	s->better_since = 0; /* counted anew by each Active */
	a = svc_emit(x, SERVICE_ACT_STATE);
	a->from = from;
	a->to = state;
	a->cause = cause;
	svc_emit(x, SERVICE_ACT_BATON);
	svc_emit(x, SERVICE_ACT_HELLO_NOW);
}

void svc_set_phase(struct svc_step *x, enum service_phase phase)
{
	x->s->phase = phase;
	x->s->phase_since = x->now;
}

void svc_vrrp(struct svc_step *x, enum vrrp_event_type type)
{
	struct vrrp_actions acts = {0};
	struct vrrp_event ev = {.type = type};

	vrrp_step(&x->s->vrrp, &ev, x->now, &acts);
	for (unsigned i = 0; i < acts.n; i++) {
		if (acts.a[i] == VRRP_ACT_SEND_ADVERT)
			svc_emit(x, SERVICE_ACT_SEND_ADVERT);
		else if (acts.a[i] == VRRP_ACT_SEND_RELEASE)
			svc_emit(x, SERVICE_ACT_SEND_ADVERT_0);
	}
}

uint64_t svc_persist(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->persist_done == s->persist_seq)
		s->persist_since = x->now;
	s->persist_seq++;
	svc_emit(x, SERVICE_ACT_PERSIST)->seq = s->persist_seq;
	svc_emit(x, SERVICE_ACT_BATON);
	return s->persist_seq;
}

void svc_see_term(struct svc_step *x, uint64_t term)
{
	struct service_fsm *s = x->s;

	if (term <= s->persist.term_seen)
		return;
	s->persist.term_seen = term;
	if (s->persist.reserved <= term)
		s->persist.reserved = service_next_term(term, s->config.self);
	svc_persist(x);
}

void svc_quiesce(struct svc_step *x, uint64_t term)
{
	struct service_fsm *s = x->s;

	if (term <= s->quiesced || term <= s->quiesce_asked)
		return;
	s->quiesce_asked = term;
	svc_emit(x, SERVICE_ACT_QUIESCE)->term = term;
}

/* ---- init ----------------------------------------------------------------------------------- */

void service_init(struct service_fsm *s, const struct service_config *config, mtime now)
{
	struct vrrp_config vrrp = {
		.priority = config->nodes[config->self].priority,
		.interval = config->advert_int,
		/* Peers share our interval (safety digest): nothing longer is believed. */
		.interval_max = config->advert_int,
		/* A forged advert must not silence us for minutes. */
		.plain_interval_max = 10 * config->advert_int,
		.preempt = false,
		.policy = true,
	};
	uint8_t priorities[MODEL_NODES_MAX];
	struct budget_input in = {.advert_int = config->advert_int,
				  .peer_priorities = priorities};

	memset(s, 0, sizeof(*s));
	s->config = *config;
	s->since = s->started = s->listening = now;
	s->successor = MODEL_NODES_MAX;
	for (unsigned p = 0; p < config->n_nodes; p++) {
		if (p != config->self)
			priorities[in.n_peers++] = config->nodes[p].priority;
	}
	budget_compute(&in, &s->budget);
	vrrp_init(&s->vrrp, &vrrp);
}

/* ---- progress: facts against what is wanted ----------------------------------------------------- */

/*
 * failback = DURATION: a fit node that goes before this one has been so for that long.  Every look
 * asks again, so that one missed HELLO of it begins the time anew.
 */
static bool failback_due(struct svc_step *x, int best)
{
	struct service_fsm *s = x->s;

	if (s->config.failback == MTIME_NEVER || s->persist.paused || best < 0 ||
	    svc_best_here(s, x->now)) {
		s->better_since = 0;
		return false;
	}
	if (s->better_since == 0)
		s->better_since = x->now;
	return x->now - s->better_since >= s->config.failback;
}

static void progress_active(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	int best = service_best_peer(s, x->now);
	int next = service_successor(s, x->now);
	struct svc_release r = {.successor = next < 0 ? MODEL_NODES_MAX : (unsigned)next};

	if (s->ending) {
		r.to = SERVICE_STATE_DOWN;
		r.cause = SERVICE_CAUSE_STOP;
	} else if (s->persist.stopped || s->persist.barred) {
		r.to = SERVICE_STATE_STOPPED;
		r.cause = SERVICE_CAUSE_STOP;
		if (s->persist.stopped)
			r.successor = MODEL_NODES_MAX;
	} else if (failback_due(x, best)) {
		r.to = SERVICE_STATE_BACKUP;
		r.cause = SERVICE_CAUSE_FAILBACK;
	} else {
		svc_progress_restart(x);
		svc_on_limit(x);
		svc_progress_addresses(x);
		return;
	}
	svc_release(x, &r);
}

/* Ended, stopped or barred where nothing runs: only the state changes. */
static bool progress_idle_wish(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->ending) {
		svc_vrrp(x, VRRP_EV_SHUTDOWN);
		svc_set_state(x, SERVICE_STATE_DOWN, SERVICE_CAUSE_STOP);
		svc_emit(x, SERVICE_ACT_ENDED);
		return true;
	}
	if ((s->persist.stopped || s->persist.barred) && s->state != SERVICE_STATE_STOPPED) {
		svc_set_state(x, SERVICE_STATE_STOPPED, SERVICE_CAUSE_STOP);
		return true;
	}
	return false;
}

static void progress_failed(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->persist.latched && s->config.failure_reset != MTIME_NEVER &&
	    x->now - s->failed_at >= s->config.failure_reset) {
		s->persist.latched = false;
		svc_persist(x);
	}
	if (!s->persist.latched)
		svc_enter_idle(x, SERVICE_CAUSE_RESET, true);
}

/*
 * Out of "down" only when interface and sockets have shown themselves, or a second has passed: a
 * node that says "waiting" takes part in the election, and must not lose it for a millisecond.
 */
static void progress_down(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (s->ending)
		return;
	if ((s->link_up && s->sockets_ok) || x->now - s->started >= MTIME_SEC(1) ||
	    s->persist.latched || s->persist.stopped || s->persist.barred)
		svc_enter_idle(x, SERVICE_CAUSE_BOOT, true);
}

static void progress_once(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	bool idle = s->state == SERVICE_STATE_WAITING || s->state == SERVICE_STATE_BACKUP ||
		    s->state == SERVICE_STATE_FAILED || s->state == SERVICE_STATE_STOPPED;

	if (idle && progress_idle_wish(x))
		return;
	switch (s->state) {
	case SERVICE_STATE_DOWN:
		progress_down(x);
		break;
	case SERVICE_STATE_WAITING:
		svc_consider_boot(x);
		break;
	case SERVICE_STATE_BACKUP:
		svc_consider_takeover(x);
		break;
	case SERVICE_STATE_TAKING_OVER:
		svc_progress_takeover(x);
		break;
	case SERVICE_STATE_ACTIVE:
		progress_active(x);
		break;
	case SERVICE_STATE_RELEASING:
		svc_progress_release(x);
		break;
	case SERVICE_STATE_FAILED:
		progress_failed(x);
		break;
	case SERVICE_STATE_STOPPED:
		if (!s->persist.stopped && !s->persist.barred)
			svc_enter_idle(x, SERVICE_CAUSE_START, true);
		break;
	}
}

static void progress(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	enum service_state state;
	enum service_phase phase;

	if (s->ending && s->state == SERVICE_STATE_DOWN) {
		svc_emit(x, SERVICE_ACT_ENDED);
		return;
	}
	if (!s->loaded) {
		svc_alarm_not_loaded(x);
		return;
	}
	if (s->persist_failed && x->now >= s->persist_retry_at) {
		s->persist_retry_at = x->now + MTIME_SEC(1);
		svc_persist(x);
	}
	svc_update_contact(x);
	svc_update_leaderless(x);
	if (RULE(BUDGET) && s->may_run && x->now >= service_kill_at(s) &&
	    !(s->state == SERVICE_STATE_RELEASING && s->release_kill))
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
	/* A change may make the next one due; the bound only guards against a cycle. */
	for (unsigned i = 0; i < 8; i++) {
		state = s->state;
		phase = s->phase;
		progress_once(x);
		if (state == s->state && phase == s->phase)
			break;
	}
	svc_pay_fences(x);
	svc_update_alarms(x);
}

void service_step(struct service_fsm *s, const struct service_event *ev, mtime now,
		  struct service_actions *out)
{
	struct svc_step x = {.s = s, .now = now, .out = out};

	if (ev->peer >= MODEL_NODES_MAX)
		return;
	svc_apply(&x, ev);
	progress(&x);
}

bool service_check(const struct service_fsm *s)
{
	bool acting = s->state == SERVICE_STATE_TAKING_OVER || s->state == SERVICE_STATE_ACTIVE ||
		      s->state == SERVICE_STATE_RELEASING;
	bool phased = s->state == SERVICE_STATE_TAKING_OVER || s->state == SERVICE_STATE_RELEASING;

	if (s->may_run && (!acting || (s->quiesced >= s->term && RULE(QUIESCE))))
		return false;
	if (s->state == SERVICE_STATE_ACTIVE && s->vrrp.state != VRRP_STATE_ACTIVE)
		return false;
	if (phased != (s->phase != SERVICE_PHASE_NONE))
		return false;
	if (s->state == SERVICE_STATE_FAILED && !s->loaded)
		return false;
	if (s->term != 0 && (s->term - s->config.self - 1) % 256 != 0)
		return false;
	return s->term <= s->persist.term_seen;
}
