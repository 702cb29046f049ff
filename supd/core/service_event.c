/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * What happens to a service, one function an event; those of other nodes are in service_peer.c.  An
 * event notes facts; where it forbids what runs (FENCE, a higher term, the link, an answer for the
 * address) it begins the step-down at once.  Everything else is decided afterwards, in
 * service_fsm.c, from the facts as they then stand.
 */

/* ---- events: facts only ----------------------------------------------------------------------- */

static void ev_loaded(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (s->loaded)
		return;
	s->loaded = true;
	s->persist = *ev->persist;
	/* A reserved term may have been used: the next one is above it. */
	if (s->persist.reserved > s->persist.term_seen)
		s->persist.term_seen = s->persist.reserved;
	s->persist.reserved = service_next_term(s->persist.term_seen, s->config.self);
	s->term = 0;
	if (s->persist.latched)
		s->failed_at = x->now;
	svc_persist(x);
	svc_see_term(x, s->term_heard);
	svc_vrrp(x, VRRP_EV_STARTUP);
	/* service_fsm.c goes on from down when link and sockets are known. */
}

/*
 * A new engine.  What was active with its programs alive goes on; what was in between is killed
 * first, for nobody knows how far it had come.
 */
static void ev_resume(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	const struct service_baton *b = ev->baton;
	bool running = ev->running;
	bool was_active = b->state == SERVICE_STATE_ACTIVE;

	s->target_answered = s->target_answered || b->target_answered;
	/* An engine that died before it had read its state knew nothing: LOADED is still to come. */
	if (s->loaded || b->state == SERVICE_STATE_DOWN)
		return;
	s->loaded = true;
	s->persist = b->persist;
	s->failed_at = b->state == SERVICE_STATE_FAILED ? b->since : x->now;
	s->term = b->term;
	s->s = b->s;
	s->quiesced = b->quiesced;
	s->quiesce_asked = b->quiesced;
	s->last_sent = b->s;
	svc_persist(x);
	svc_vrrp(x, VRRP_EV_STARTUP);
	if (!was_active && b->state != SERVICE_STATE_TAKING_OVER &&
	    b->state != SERVICE_STATE_RELEASING && !running) {
		svc_enter_idle(x, (enum service_cause)b->cause, b->state == SERVICE_STATE_WAITING);
		if (s->state == (enum service_state)b->state)
			s->since = b->since;
		return;
	}
	s->may_run = s->quiesced < s->term;
	s->addresses_may = s->config.n_vips > 0;
	/* Net events will tell; nobody who could take the address away has spoken yet. */
	s->link_up = s->sockets_ok = was_active;
	s->state = was_active ? SERVICE_STATE_ACTIVE : SERVICE_STATE_TAKING_OVER;
	s->phase = SERVICE_PHASE_START;
	if (!was_active || !running || !s->may_run) {
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
		return;
	}
	svc_own_file(s);
	s->taken_unfit = b->taken_unfit;
	svc_vrrp(x, VRRP_EV_GRANT_ACTIVE);
	svc_add_addresses(x);
	svc_set_state(x, SERVICE_STATE_ACTIVE, (enum service_cause)b->cause);
	s->since = b->since;
	s->programs_ready = b->ready;
	struct service_action *a = svc_emit(x, SERVICE_ACT_PROGRAMS_START);
	a->cause = s->cause;
}

static void ev_link(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	bool up = ev->ok;
	bool came_up = up && !s->link_up;

	s->link_up = up;
	if (!s->loaded)
		return;
	if (came_up)
		svc_vrrp(x, VRRP_EV_HOLD);
	if (up)
		return;
	if (s->may_run)
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
	else if (s->state == SERVICE_STATE_TAKING_OVER)
		svc_abandon(x, 0);
}

static void ev_addresses(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (ev->adding) {
		svc_addresses_added(x, ev->ok);
		if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_ADDRESS)
			svc_set_phase(x, SERVICE_PHASE_START);
		return;
	}
	if (ev->ok)
		s->addresses_held = s->addresses_may = false;
	if (s->state == SERVICE_STATE_RELEASING && s->phase == SERVICE_PHASE_REMOVE)
		svc_set_phase(x, SERVICE_PHASE_TELL);
}

static void ev_sockets(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	s->sockets_ok = ev->ok;
	/*
	 * An advert before the first probe: S counts on the peers having heard one within an
	 * advert_int before it, and what a new engine sent until now went nowhere.
	 */
	if (!ev->ok || s->vrrp.state != VRRP_STATE_ACTIVE)
		return;
	svc_vrrp(x, VRRP_EV_ANNOUNCE);
	svc_emit(x, SERVICE_ACT_HELLO_NOW);
}

static void ev_programs_gone(struct svc_step *x, const struct service_event *ev)
{
	x->s->unkillable = !ev->ok;
	if (x->s->state == SERVICE_STATE_RELEASING && x->s->phase == SERVICE_PHASE_STOP)
		svc_set_phase(x, SERVICE_PHASE_QUIESCE);
}

/* FENCE goes out when the restart is due, not when the program died: that may be a minute ago. */
static void ev_restart_due(struct svc_step *x, const struct service_event *ev)
{
	if (x->s->state == SERVICE_STATE_ACTIVE || x->s->state == SERVICE_STATE_TAKING_OVER)
		svc_restart_fence(x);
}

static void ev_quiesced(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (ev->term > s->quiesced)
		s->quiesced = ev->term;
	if (s->quiesced > s->quiesce_asked)
		s->quiesce_asked = s->quiesced;
	if (!s->may_run || s->quiesced < s->term)
		return;
	s->may_run = false;
	if (ev->by_deadline && s->state != SERVICE_STATE_RELEASING) {
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
		/* They are dead, but nobody has said yet that they are not wanted any more. */
		svc_emit(x, SERVICE_ACT_PROGRAMS_STOP);
	}
	svc_emit(x, SERVICE_ACT_BATON);
}

static void ev_persisted(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	if (!ev->ok) {
		s->persist_failed = true;
		s->persist_retry_at = x->now + MTIME_SEC(1);
		return;
	}
	s->persist_failed = false;
	if (ev->seq > s->persist_done && ev->seq <= s->persist_seq) {
		s->persist_done = ev->seq;
		s->persist_since = x->now;
	}
}

/* stop, start, pause, resume: one record with one version, so that the newest wins everywhere. */
static void set_wish(struct svc_step *x, bool stopped, bool paused)
{
	struct service_fsm *s = x->s;

	/* Even where nothing changes here: somebody may have said the contrary elsewhere, unheard. */
	s->persist.stopped = stopped;
	s->persist.paused = paused;
	s->persist.wish_version++;
	svc_persist(x);
	svc_emit(x, SERVICE_ACT_HELLO_NOW);
}

static void ev_command(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;
	int best = ev->force ? service_successor(s, x->now) : service_best_peer(s, x->now);
	struct svc_release r = {.to = SERVICE_STATE_BACKUP,
				.cause = SERVICE_CAUSE_FAILOVER,
				.successor = best < 0 ? MODEL_NODES_MAX : (unsigned)best};

	if (!s->loaded && ev->command != SERVICE_CMD_END)
		return;
	switch (ev->command) {
	case SERVICE_CMD_START:
		if (s->persist.barred) {
			s->persist.barred = false;
			svc_persist(x);
		}
		set_wish(x, false, s->persist.paused);
		break;
	case SERVICE_CMD_STOP:
		set_wish(x, true, s->persist.paused);
		break;
	case SERVICE_CMD_PAUSE:
	case SERVICE_CMD_RESUME:
		set_wish(x, s->persist.stopped, ev->command == SERVICE_CMD_PAUSE);
		break;
	case SERVICE_CMD_STOP_HERE:
		s->persist.barred = true;
		svc_persist(x);
		break;
	case SERVICE_CMD_FAILOVER:
		if (s->state == SERVICE_STATE_ACTIVE && (best >= 0 || ev->force))
			svc_release(x, &r);
		break;
	case SERVICE_CMD_TAKE:
		s->forced = service_may_be_forced(s);
		/* A person vouches that we are not the ones cut off, until a target answers again. */
		if (s->forced)
			s->target_answered = s->isolated = false;
		break;
	case SERVICE_CMD_RESET:
		if (s->persist.latched || s->persist.barred) {
			s->persist.latched = s->persist.barred = false;
			svc_persist(x);
		}
		break;
	case SERVICE_CMD_END:
		s->ending = true;
		break;
	}
}

static void ev_tick(struct svc_step *x, const struct service_event *ev)
{
	(void)ev;
	svc_vrrp(x, VRRP_EV_TICK);
}

static void ev_heard(struct svc_step *x, const struct service_event *ev)
{
	svc_on_heard(x, ev->peer, ev->echoed);
}

static void ev_sent(struct svc_step *x, const struct service_event *ev)
{
	x->s->last_sent = mtime_max(x->s->last_sent, ev->sent_at);
}

static void ev_targets(struct svc_step *x, const struct service_event *ev)
{
	x->s->has_target = ev->ok;
}

static void ev_fitness(struct svc_step *x, const struct service_event *ev)
{
	if (service_unfit_is_soft(ev->unfit))
		x->s->unfit_told[ev->unfit] = !ev->ok;
}

static void ev_address_lost(struct svc_step *x, const struct service_event *ev)
{
	(void)ev;
	svc_address_lost(x);
}

static void ev_programs_ready(struct svc_step *x, const struct service_event *ev)
{
	(void)ev;
	x->s->programs_ready = true;
}

static void ev_program_died(struct svc_step *x, const struct service_event *ev)
{
	(void)ev;
	x->s->programs_ready = false;
}

static void ev_program_limit(struct svc_step *x, const struct service_event *ev)
{
	(void)ev;
	x->s->exhausted = true;
}

static void ev_fence_command(struct svc_step *x, const struct service_event *ev)
{
	svc_on_command(x, ev->peer, ev->term, ev->ok);
}

/* Which function takes which event. */
#define HANDLERS(X)                                                                                \
	X(TICK, ev_tick) X(LOADED, ev_loaded) X(RESUME, ev_resume) X(HEARD, ev_heard)              \
	X(HELLO, svc_on_hello) X(FENCE, svc_on_fence_message) X(FENCED, svc_on_fenced)             \
	X(RELEASE, svc_on_release) X(RELEASED, svc_on_released) X(ADVERT, svc_on_advert)           \
	X(UNPROVEN, svc_on_unproven)                                                               \
	X(SENT, ev_sent) X(PROBE_ANSWER, svc_on_probe_answer) X(TARGETS, ev_targets)               \
	X(CONFLICT, svc_on_conflict) X(LINK, ev_link) X(SOCKETS, ev_sockets)                       \
	X(FITNESS, ev_fitness) X(ADVERT_REFUSED, svc_on_refused)                                   \
	X(ADDRESSES, ev_addresses) X(ADDRESS_LOST, ev_address_lost)                                \
	X(PROGRAMS_READY, ev_programs_ready) X(PROGRAMS_GONE, ev_programs_gone)                    \
	X(PROGRAM_DIED, ev_program_died) X(RESTART_DUE, ev_restart_due)                            \
	X(PROGRAM_LIMIT, ev_program_limit) X(QUIESCED, ev_quiesced) X(PERSISTED, ev_persisted)     \
	X(FENCE_COMMAND, ev_fence_command) X(COMMAND, ev_command)

void svc_apply(struct svc_step *x, const struct service_event *ev)
{
	switch (ev->type) {
#define X(name, function)                                                                          \
	case SERVICE_EV_##name:                                                                    \
		function(x, ev);                                                                   \
		break;
		HANDLERS(X)
#undef X
	}
}
