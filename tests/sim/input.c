/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * What an engine reads from its sockets, and what it makes of it: the next event of one of its
 * machines.
 */

static void service_event(struct world *w, struct host *h, enum service_event_type type, bool ok)
{
	struct service_event ev = { .type = type, .ok = ok };

	glue_service(w, h, &ev);
}

static enum service_event_type letter_event(enum peer_type type)
{
	switch (type) {
	case PEER_TYPE_HELLO:
		return SERVICE_EV_HELLO;
	case PEER_TYPE_FENCE:
		return SERVICE_EV_FENCE;
	case PEER_TYPE_FENCED:
		return SERVICE_EV_FENCED;
	case PEER_TYPE_RELEASE:
		return SERVICE_EV_RELEASE;
	case PEER_TYPE_RELEASED:
		return SERVICE_EV_RELEASED;
	case PEER_TYPE_NONE:
	case PEER_TYPE_COMMAND:
	case PEER_TYPE_RESULT:
	case PEER_TYPE_DETAILS:
	case PEER_TYPE_ADVERT:
	case PEER_TYPES_END:
		break;
	}
	return SERVICE_EV_HEARD;
}

static void on_unproven(struct world *w, struct host *h, const struct input *in)
{
	const struct letter *l = &in->letter;
	struct service_event ev = { .type = SERVICE_EV_UNPROVEN, .peer = in->from };

	if (l->h.type == PEER_TYPE_HELLO && peer_is_news(&h->engine.peers[in->from], &l->h))
		ev.report = &l->report;
	else if (l->h.type == PEER_TYPE_FENCE)
		ev.term = l->term.term;
	else
		return;
	glue_service(w, h, &ev);
}

static void on_letter(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;
	struct peer_fsm *peer = &e->peers[in->from];
	const struct letter *l = &in->letter;
	mtime now = host_now(w, h);
	enum peer_verdict verdict;
	struct service_event ev = { .type = letter_event(l->h.type), .peer = in->from };

	if (!e->sockets)
		return;
	verdict = peer_receive(peer, &l->h, now);
	if (verdict == PEER_VERDICT_CHALLENGE && peer_may_challenge(peer, now))
		glue_answer(w, h, in->from, true);
	if (verdict == PEER_VERDICT_CHALLENGE)
		on_unproven(w, h, in);
	if (verdict != PEER_VERDICT_ACCEPT)
		return;
	oracle_told(h, l);
	ev.echoed = peer->echoed;
	if (l->h.type == PEER_TYPE_HELLO) {
		e->mac_known[in->from] = true;
		ev.report = &l->report;
	} else {
		ev.term = l->term.term;
		ev.successor = l->term.successor;
		ev.ending = l->term.ending;
	}
	if (l->h.type == PEER_TYPE_FENCE)
		STORY(w, h, "hears FENCE(%llu) of %c", (unsigned long long)ev.term,
		      story_name(in->from));
	glue_service(w, h, &ev);
	if (l->h.type == PEER_TYPE_HELLO && l->answer)
		glue_answer(w, h, in->from, false);
}

static void on_run(struct world *w, struct host *h, const struct input *in)
{
	struct program_event ev = { .run = in->run.run, .pid = 4711, .exit = in->run.exit };

	if (in->type == INPUT_SPAWNED) {
		ev.type = PROGRAM_EV_SPAWNED;
	} else if (in->type == INPUT_SPAWN_FAILED) {
		if (in->run.order != h->engine.order_of[in->run.program])
			return;
		ev.type = PROGRAM_EV_SPAWN_FAILED;
	} else {
		ev.type = in->type == INPUT_EXITED ? PROGRAM_EV_EXITED : PROGRAM_EV_GONE;
	}
	glue_program(w, h, in->run.program, &ev);
}

static void on_net(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;
	struct service_event ev = { .type = SERVICE_EV_ADDRESSES, .adding = in->net.adding,
				    .ok = in->net.ok };

	if (in->net.order != e->address_order)
		return;
	e->address_order = 0;
	glue_service(w, h, &ev);
}

/* The new net opens everything again. */
static void on_net_new(struct world *w, struct host *h)
{
	mtime in = mtime_max(h->net_free_at - w->now, MTIME_MS(1));

	engine_post(w, h, in, INPUT_SOCKETS);
	engine_post(w, h, in, INPUT_LINK);
}

static void on_command(struct world *w, struct host *h, const struct input *in)
{
	struct service_event ev = { .type = SERVICE_EV_COMMAND, .command = in->command.command,
				    .force = in->command.force };

	glue_service(w, h, &ev);
}

static void on_probe(struct world *w, struct host *h, const struct input *in)
{
	struct service_event ev = { .type = SERVICE_EV_PROBE_ANSWER, .sent_at = in->probe.sent_at,
				    .is_node = in->probe.is_node };

	if (!h->engine.sockets)
		return;
	if (in->probe.is_node) /* its ARP answer tells its MAC, as its HELLO does */
		h->engine.mac_known[in->from] = true;
	glue_service(w, h, &ev);
}

static void on_conflict(struct world *w, struct host *h, const struct input *in)
{
	struct service_event ev = { .type = SERVICE_EV_CONFLICT, .peer = in->from,
				    .conflict = in->conflict };

	STORY(w, h, "somebody answers for the address: %s %c",
	      in->conflict == SERVICE_CONFLICT_NODE ? "node" : "unknown",
	      story_name(in->from));
	if (h->engine.sockets)
		glue_service(w, h, &ev);
}

static void on_advert(struct world *w, struct host *h, const struct input *in)
{
	struct service_event ev = { .type = SERVICE_EV_ADVERT, .peer = in->from,
				    .priority = in->advert.priority,
				    .interval = in->advert.interval };

	if (h->engine.sockets)
		glue_service(w, h, &ev);
}

/* ---- whose it is ----------------------------------------------------------------------------- */

static void on_quiesced(struct world *w, struct host *h, const struct input *in)
{
	struct service_event ev = { .type = SERVICE_EV_QUIESCED, .term = in->quiesced.term,
				    .by_deadline = in->quiesced.by_deadline };

	glue_service(w, h, &ev);
}

static void on_hook(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;
	struct service_event ev = { .type = SERVICE_EV_FENCE_COMMAND, .peer = e->hook_node,
				    .term = e->hook_term, .ok = in->hook.ok };

	if (e->hook_order == 0 || in->hook.order != e->hook_order)
		return;
	e->hook_order = 0;
	glue_service(w, h, &ev);
}

static void on_shutdown(struct world *w, struct host *h)
{
	struct service_event ev = { .type = SERVICE_EV_COMMAND, .command = SERVICE_CMD_END };

	glue_service(w, h, &ev);
}

static void from_keeper(struct world *w, struct host *h, const struct input *in)
{
	if (in->type == INPUT_READY)
		glue_resume(w, h);
	else if (in->type == INPUT_QUIESCED)
		on_quiesced(w, h, in);
	else if (in->type == INPUT_KEEPER_DEAD)
		engine_become_orphan(w, h);
	else if (in->type == INPUT_SHUTDOWN)
		on_shutdown(w, h);
	else if (in->type == INPUT_HOOK_DONE)
		on_hook(w, h, in);
	else
		on_run(w, h, in);
}

static void from_net(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;

	if (in->type == INPUT_SOCKETS) {
		e->sockets = true;
		e->addresses_settled = false;
		service_event(w, h, SERVICE_EV_SOCKETS, true);
		service_event(w, h, SERVICE_EV_TARGETS, true);
	} else if (in->type == INPUT_LINK) {
		service_event(w, h, SERVICE_EV_LINK, !w->no_carrier[h->row]);
	} else if (in->type == INPUT_ADDRESSES) {
		on_net(w, h, in);
	} else if (in->type == INPUT_NET_NEW) {
		on_net_new(w, h);
	} else if (glue_holds_addresses(&e->fsm)) { /* ADDRESS_LOST */
		service_event(w, h, SERVICE_EV_ADDRESS_LOST, true);
	}
}

static void from_scribe(struct world *w, struct host *h, const struct input *in)
{
	const struct service_fsm *f = &h->engine.fsm;
	struct service_event ev = { .type = SERVICE_EV_LOADED, .persist = &in->scribe.persist };

	if (in->type == INPUT_STATE) {
		glue_service(w, h, &ev);
	} else if (in->type == INPUT_SAVED) {
		ev.type = SERVICE_EV_PERSISTED;
		ev.seq = in->scribe.seq;
		ev.ok = in->scribe.ok;
		glue_service(w, h, &ev);
	} else if (f->loaded) { /* a new scribe */
		host_save(w, h, f->persist_seq, &f->persist);
	} else if (h->engine.ready) {
		host_load(w, h);
	}
}

static void from_outside(struct world *w, struct host *h, const struct input *in)
{
	if (in->type == INPUT_LETTER)
		on_letter(w, h, in);
	else if (in->type == INPUT_ADVERT)
		on_advert(w, h, in);
	else if (in->type == INPUT_PROBE_ANSWER)
		on_probe(w, h, in);
	else if (in->type == INPUT_CONFLICT)
		on_conflict(w, h, in);
	else
		on_command(w, h, in);
}

void input_handle(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;

	if (e->orphan) { /* only net is still listened to */
		if (in->type == INPUT_ADDRESSES && in->net.order == e->address_order)
			e->address_order = 0;
		return;
	}
	switch (in->type) {
	case INPUT_LETTER:
	case INPUT_ADVERT:
	case INPUT_PROBE_ANSWER:
	case INPUT_CONFLICT:
	case INPUT_COMMAND:
		from_outside(w, h, in);
		break;
	case INPUT_READY:
	case INPUT_SPAWNED:
	case INPUT_SPAWN_FAILED:
	case INPUT_EXITED:
	case INPUT_GONE:
	case INPUT_QUIESCED:
	case INPUT_KEEPER_DEAD:
	case INPUT_SHUTDOWN:
	case INPUT_HOOK_DONE:
		from_keeper(w, h, in);
		break;
	case INPUT_SOCKETS:
	case INPUT_LINK:
	case INPUT_ADDRESSES:
	case INPUT_ADDRESS_LOST:
	case INPUT_NET_NEW:
		from_net(w, h, in);
		break;
	case INPUT_STATE:
	case INPUT_SAVED:
	case INPUT_SCRIBE_NEW:
		from_scribe(w, h, in);
		break;
	}
}
