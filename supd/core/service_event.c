/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * What happens to a service, one function an event; those of other nodes are in service_peer.c.  An
 * event notes facts; where it forbids what runs (FENCE, a higher term, the link, an answer for the
 * address) it begins the step-down at once.  Everything else is decided afterwards, in
 * service_fsm.c, from the facts as they then stand.
 */

/* ---- events: facts only ----------------------------------------------------------------------- */

static void ev_loaded(struct svc_step *x, const struct service_persist *p)
{
	struct service_fsm *s = x->s;

	if (s->loaded)
		return;
	s->loaded = true;
	s->persist = *p;
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
static void ev_resume(struct svc_step *x, const struct service_baton *b, bool running)
{
	struct service_fsm *s = x->s;
	bool was_active = b->state == SERVICE_STATE_ACTIVE;

	s->target_answered = s->target_answered || b->target_answered;
	/* An engine that died before it had read its state knew nothing: LOADED is still to come. */
	if (s->loaded || b->state == SERVICE_STATE_DOWN)
		return;
	s->loaded = true;
	s->persist = b->persist;
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
		return;
	}
	s->may_run = s->quiesced < s->term;
	/* Net events will tell; nobody who could take the address away has spoken yet. */
	s->link_up = s->sockets_ok = was_active;
	s->state = SERVICE_STATE_TAKING_OVER;
	s->phase = SERVICE_PHASE_START;
	if (!was_active || !running || !s->may_run) {
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
		return;
	}
	svc_vrrp(x, VRRP_EV_GRANT_ACTIVE);
	svc_emit(x, SERVICE_ACT_ADDRESSES_ADD);
	svc_set_state(x, SERVICE_STATE_ACTIVE, (enum service_cause)b->cause);
	s->since = b->since;
	s->programs_ready = b->ready;
	struct service_action *a = svc_emit(x, SERVICE_ACT_PROGRAMS_START);
	a->cause = s->cause;
}

static void ev_link(struct svc_step *x, bool up)
{
	struct service_fsm *s = x->s;
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
		s->addresses_held = ev->ok;
		s->address_failed = !ev->ok;
		if (ev->ok && (s->state == SERVICE_STATE_ACTIVE ||
			       s->state == SERVICE_STATE_TAKING_OVER))
			svc_emit(x, SERVICE_ACT_ANNOUNCE);
		if (s->state == SERVICE_STATE_TAKING_OVER && s->phase == SERVICE_PHASE_ADDRESS)
			svc_set_phase(x, SERVICE_PHASE_START);
		return;
	}
	if (ev->ok)
		s->addresses_held = false;
	if (s->state == SERVICE_STATE_RELEASING && s->phase == SERVICE_PHASE_REMOVE)
		svc_set_phase(x, SERVICE_PHASE_TELL);
}

static void ev_sockets(struct svc_step *x, bool ok)
{
	struct service_fsm *s = x->s;

	s->sockets_ok = ok;
	/*
	 * An advert before the first probe: S counts on the peers having heard one within an
	 * advert_int before it, and what a new engine sent until now went nowhere.
	 */
	if (!ok || s->vrrp.state != VRRP_STATE_ACTIVE)
		return;
	svc_vrrp(x, VRRP_EV_ANNOUNCE);
	svc_emit(x, SERVICE_ACT_HELLO_NOW);
}

static void ev_programs_gone(struct svc_step *x, bool gone)
{
	x->s->unkillable = !gone;
	if (x->s->state == SERVICE_STATE_RELEASING && x->s->phase == SERVICE_PHASE_STOP)
		svc_set_phase(x, SERVICE_PHASE_QUIESCE);
}

/* FENCE goes out when the restart is due, not when the program died: that may be a minute ago. */
static void ev_restart_due(struct svc_step *x)
{
	if (x->s->state == SERVICE_STATE_ACTIVE || x->s->state == SERVICE_STATE_TAKING_OVER)
		svc_restart_fence(x);
}

static void ev_quiesced(struct svc_step *x, uint64_t term, bool by_deadline)
{
	struct service_fsm *s = x->s;

	if (term > s->quiesced)
		s->quiesced = term;
	if (s->quiesced > s->quiesce_asked)
		s->quiesce_asked = s->quiesced;
	if (!s->may_run || s->quiesced < s->term)
		return;
	s->may_run = false;
	if (by_deadline && s->state != SERVICE_STATE_RELEASING) {
		svc_step_down(x, SERVICE_STATE_BACKUP, SERVICE_CAUSE_STEP_DOWN);
		/* They are dead, but nobody has said yet that they are not wanted any more. */
		svc_emit(x, SERVICE_ACT_PROGRAMS_STOP);
	}
	svc_emit(x, SERVICE_ACT_BATON);
}

static void ev_persisted(struct svc_step *x, uint64_t seq, bool ok)
{
	struct service_fsm *s = x->s;

	if (!ok) {
		s->persist_failed = true;
		s->persist_retry_at = x->now + MTIME_SEC(1);
		return;
	}
	s->persist_failed = false;
	if (seq > s->persist_done && seq <= s->persist_seq) {
		s->persist_done = seq;
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
	int best = service_best_peer(s, x->now);
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

void svc_apply(struct svc_step *x, const struct service_event *ev)
{
	struct service_fsm *s = x->s;

	switch (ev->type) {
	case SERVICE_EV_TICK:
		svc_vrrp(x, VRRP_EV_TICK);
		break;
	case SERVICE_EV_LOADED:
		ev_loaded(x, ev->persist);
		break;
	case SERVICE_EV_RESUME:
		ev_resume(x, ev->baton, ev->running);
		break;
	case SERVICE_EV_HEARD:
		svc_on_heard(x, ev->peer, ev->echoed);
		break;
	case SERVICE_EV_HELLO:
		svc_on_hello(x, ev);
		break;
	case SERVICE_EV_FENCE:
		svc_on_fence_message(x, ev);
		break;
	case SERVICE_EV_FENCED:
		svc_on_fenced(x, ev);
		break;
	case SERVICE_EV_RELEASE:
		svc_on_release(x, ev);
		break;
	case SERVICE_EV_RELEASED:
		svc_on_released(x, ev);
		break;
	case SERVICE_EV_ADVERT:
		svc_on_advert(x, ev);
		break;
	case SERVICE_EV_SENT:
		s->last_sent = mtime_max(s->last_sent, ev->sent_at);
		break;
	case SERVICE_EV_PROBE_ANSWER:
		svc_on_probe_answer(x, ev);
		break;
	case SERVICE_EV_TARGETS:
		s->has_target = ev->ok;
		break;
	case SERVICE_EV_CONFLICT:
		svc_on_conflict(x, ev);
		break;
	case SERVICE_EV_LINK:
		ev_link(x, ev->ok);
		break;
	case SERVICE_EV_SOCKETS:
		ev_sockets(x, ev->ok);
		break;
	case SERVICE_EV_ADDRESSES:
		ev_addresses(x, ev);
		break;
	case SERVICE_EV_ADDRESS_LOST:
		s->addresses_held = false;
		break;
	case SERVICE_EV_PROGRAMS_READY:
		s->programs_ready = true;
		break;
	case SERVICE_EV_PROGRAMS_GONE:
		ev_programs_gone(x, ev->ok);
		break;
	case SERVICE_EV_PROGRAM_DIED:
		s->programs_ready = false;
		break;
	case SERVICE_EV_RESTART_DUE:
		ev_restart_due(x);
		break;
	case SERVICE_EV_PROGRAM_LIMIT:
		s->exhausted = true;
		break;
	case SERVICE_EV_QUIESCED:
		ev_quiesced(x, ev->term, ev->by_deadline);
		break;
	case SERVICE_EV_PERSISTED:
		ev_persisted(x, ev->seq, ev->ok);
		break;
	case SERVICE_EV_COMMAND:
		ev_command(x, ev);
		break;
	case SERVICE_EV_FENCE_COMMAND:
		svc_on_command(x, ev->peer, ev->term, ev->ok);
		break;
	}
}
