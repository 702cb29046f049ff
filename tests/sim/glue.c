/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * Between the real machines and the world: what engine/service_io.c, program_io.c, peer_io.c and
 * keeper_link.c are in supd.  An action becomes a letter, an order or a request; its result comes
 * back as an input.
 */

#define N_PROGRAMS(w) ((w)->scenario.n_programs)

/* ---- letters ------------------------------------------------------------------------------------- */

static void send_letter(struct world *w, struct host *h, unsigned peer, struct letter *l,
			enum peer_type type)
{
	struct engine *e = &h->engine;
	bool new_ceiling;

	if (!e->sockets)
		return;
	peer_stamp(&e->peers[peer], host_now(w, h), &l->h, &new_ceiling);
	l->h.type = type;
	if (new_ceiling) /* the baton first: it is in the keeper's socket before the letter goes */
		peer_to_baton(&e->peers[peer], &h->keeper.sessions[peer]);
	network_letter(w, h, peer, l);
}

static void send_term(struct world *w, struct host *h, const struct service_action *a,
		      enum peer_type type, bool to_all)
{
	for (unsigned p = 0; p < w->scenario.n_nodes; p++) {
		struct letter l = { .term = { .term = a->term, .successor = (uint8_t)a->successor,
					      .ending = a->ending } };

		if (p != h->row && (to_all || p == a->peer))
			send_letter(w, h, p, &l, type);
	}
}

void glue_answer(struct world *w, struct host *h, unsigned peer, bool ask)
{
	struct engine *e = &h->engine;
	struct letter l = { .answer = ask };

	if (!e->ready)
		return;
	service_to_report(&e->fsm, host_now(w, h), &l.report);
	send_letter(w, h, peer, &l, PEER_TYPE_HELLO);
}

void glue_hello(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h);
	struct service_event sent = { .type = SERVICE_EV_SENT, .sent_at = now };
	enum service_state state = e->fsm.state;
	struct letter l = { .answer = state == SERVICE_STATE_ACTIVE ||
				      state == SERVICE_STATE_TAKING_OVER };

	if (!e->ready)
		return;
	service_to_report(&e->fsm, now, &l.report);
	for (unsigned p = 0; p < w->scenario.n_nodes; p++)
		if (p != h->row)
			send_letter(w, h, p, &l, PEER_TYPE_HELLO);
	e->hello_at = now;
	if (e->sockets && !w->no_carrier[h->row])
		glue_service(w, h, &sent);
}

/* Load, memory and the like: here they prove no more than that their sender lives. */
void glue_details(struct world *w, struct host *h)
{
	h->engine.details_at = host_now(w, h);
	for (unsigned p = 0; p < w->scenario.n_nodes; p++) {
		struct letter l = { .answer = false };

		if (p != h->row)
			send_letter(w, h, p, &l, PEER_TYPE_DETAILS);
	}
}

/* RELEASE of an engine that has lost its keeper and has seen everything dead. */
void glue_last_words(struct world *w, struct host *h)
{
	const struct service_fsm *f = &h->engine.fsm;
	int best = service_successor(f, host_now(w, h));
	struct service_action a = { .term = f->term, .ending = true,
				    .successor = best < 0 ? 0xff : (unsigned)best };

	if (f->state != SERVICE_STATE_ACTIVE && f->state != SERVICE_STATE_TAKING_OVER &&
	    f->state != SERVICE_STATE_RELEASING)
		return;
	STORY(w, h, "RELEASE(%llu) to all: the last words", (unsigned long long)f->term);
	for (unsigned i = 0; i < 3; i++) {
		send_term(w, h, &a, PEER_TYPE_RELEASE, true);
		if (h->engine.sockets)
			network_advert(w, h, 0);
	}
}

/* ---- net, scribe, keeper ----------------------------------------------------------------------------- */

/* Whether the addresses belong here now: from their adding to the moment they are to go. */
bool glue_holds_addresses(const struct service_fsm *f)
{
	if (f->state == SERVICE_STATE_TAKING_OVER)
		return f->phase == SERVICE_PHASE_ADDRESS || f->phase == SERVICE_PHASE_START;
	if (f->state == SERVICE_STATE_RELEASING)
		return !f->release_kill && (f->phase == SERVICE_PHASE_STOP ||
					    f->phase == SERVICE_PHASE_QUIESCE);
	return f->state == SERVICE_STATE_ACTIVE;
}

void glue_order_address(struct world *w, struct host *h, bool adding)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h);

	e->address_order = ++e->orders;
	if (adding)
		e->lease_at = now;
	host_net_order(w, h, adding, false, e->address_order, now + w->scenario.vip_lease);
}

void glue_refresh_lease(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	e->lease_at = host_now(w, h);
	host_net_order(w, h, true, true, 0,
		       mtime_min(e->lease_at + w->scenario.vip_lease, service_kill_at(&e->fsm)));
}

void glue_send_baton(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	e->baton_s = e->fsm.s;
	service_to_baton(&e->fsm, &keeper_post(w, h, ORDER_BATON)->baton);
}

/* Kill everything of the service, and be told when it is dead. */
static void quiesce(struct world *w, struct host *h, uint64_t term)
{
	struct program_event kill = { .type = PROGRAM_EV_KILL };
	struct program_group *g = &h->engine.group;

	keeper_post(w, h, ORDER_QUIESCE)->term = term;
	if (g->want == GROUP_DOWN && group_gone(g))
		return;
	group_down(g, false);
	for (unsigned i = 0; i < N_PROGRAMS(w); i++)
		glue_program(w, h, i, &kill);
}

/* ---- the service's actions ------------------------------------------------------------------------------ */

static void story_state(struct world *w, struct host *h, const struct service_action *a)
{
	const struct service_fsm *s = &h->engine.fsm;

	STORY(w, h, "%s -> %s (%s), term %llu", service_state_name(a->from),
	      service_state_name(s->state), service_cause_name(s->cause),
	      (unsigned long long)s->term);
}

/* A new term begins with clean counters; a new engine that resumes keeps what it adopted. */
static void programs_up(struct world *w, struct host *h)
{
	for (unsigned i = 0; i < N_PROGRAMS(w); i++)
		if (!h->engine.programs[i].tree_alive)
			restart_policy_reset(&h->engine.programs[i].policy);
	group_up(&h->engine.group);
}

static void programs_allow(struct world *w, struct host *h)
{
	struct program_event allow = { .type = PROGRAM_EV_ALLOW };

	for (unsigned i = 0; i < N_PROGRAMS(w); i++)
		glue_program(w, h, i, &allow);
}

static void fence_command(struct world *w, struct host *h, const struct service_action *a)
{
	struct engine *e = &h->engine;
	struct order *o = keeper_post(w, h, ORDER_HOOK);

	STORY(w, h, "fence_command for %c", story_name(a->peer));
	e->hook_order = ++e->orders;
	e->hook_node = a->peer;
	e->hook_term = a->term;
	o->order = e->hook_order;
	o->node = (uint8_t)a->peer;
	o->valid_until = service_order_valid_until(&e->fsm, host_now(w, h));
}

static void act(struct world *w, struct host *h, const struct service_action *a)
{
	switch (a->type) {
	case SERVICE_ACT_SEND_ADVERT:
		if (h->engine.sockets)
			network_advert(w, h, w->scenario.priority[h->row]);
		break;
	case SERVICE_ACT_SEND_ADVERT_0:
		if (h->engine.sockets)
			network_advert(w, h, 0);
		break;
	case SERVICE_ACT_SEND_FENCE:
		STORY(w, h, "FENCE(%llu) to all", (unsigned long long)a->term);
		send_term(w, h, a, PEER_TYPE_FENCE, true);
		break;
	case SERVICE_ACT_SEND_FENCED:
		STORY(w, h, "FENCED(%llu) to %c", (unsigned long long)a->term, story_name(a->peer));
		send_term(w, h, a, PEER_TYPE_FENCED, false);
		break;
	case SERVICE_ACT_SEND_RELEASE:
		STORY(w, h, "RELEASE(%llu) to all", (unsigned long long)a->term);
		send_term(w, h, a, PEER_TYPE_RELEASE, true);
		break;
	case SERVICE_ACT_SEND_RELEASED:
		send_term(w, h, a, PEER_TYPE_RELEASED, false);
		break;
	case SERVICE_ACT_HELLO_NOW:
		h->engine.hello_due = true;
		break;
	case SERVICE_ACT_PERSIST:
		host_save(w, h, a->seq, &h->engine.fsm.persist);
		break;
	case SERVICE_ACT_BATON:
		glue_send_baton(w, h);
		break;
	case SERVICE_ACT_ADDRESSES_ADD:
		glue_order_address(w, h, true);
		break;
	case SERVICE_ACT_ADDRESSES_REMOVE:
		glue_order_address(w, h, false);
		break;
	case SERVICE_ACT_ANNOUNCE:
		break;
	case SERVICE_ACT_PROGRAMS_START:
		oracle_begins(w, h);
		programs_up(w, h);
		break;
	case SERVICE_ACT_PROGRAMS_STOP:
		group_down(&h->engine.group, a->give_up);
		break;
	case SERVICE_ACT_PROGRAMS_ALLOW:
		programs_allow(w, h);
		break;
	case SERVICE_ACT_QUIESCE:
		quiesce(w, h, a->term);
		break;
	case SERVICE_ACT_STATE:
		story_state(w, h, a);
		if (a->to == SERVICE_STATE_TAKING_OVER)
			oracle_takes(w, h);
		break;
	case SERVICE_ACT_ALARM:
		STORY(w, h, "alarm %s: %s", a->ok ? "raised" : "cleared",
		      service_alarm_name(a->alarm));
		break;
	case SERVICE_ACT_FENCE_COMMAND:
		fence_command(w, h, a);
		break;
	case SERVICE_ACT_ENDED:
		h->engine.ended = true;
		break;
	}
}

static void step(struct world *w, struct host *h, const struct service_event *ev)
{
	struct service_actions acts;

	acts.n = 0;
	service_step(&h->engine.fsm, ev, host_now(w, h), &acts);
	oracle_step(w, h);
	for (unsigned i = 0; i < acts.n; i++)
		act(w, h, &acts.a[i]);
}

void glue_service(struct world *w, struct host *h, const struct service_event *ev)
{
	struct engine *e = &h->engine;
	struct service_event next;

	if (e->in_service) {
		if (e->n_pending == sizeof(e->pending) / sizeof(e->pending[0]))
			oracle_fail(w, "%c: service events pile up", story_name(h->row));
		else
			e->pending[e->n_pending++] = *ev;
		return;
	}
	e->in_service = true;
	step(w, h, ev);
	while (e->n_pending) {
		next = e->pending[0];
		e->n_pending--;
		for (unsigned i = 0; i < e->n_pending; i++)
			e->pending[i] = e->pending[i + 1];
		step(w, h, &next);
	}
	e->in_service = false;
}
