/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * The engine as a process: born, stopped, killed, woken by sockets and timers.  While it is
 * stopped its sockets fill; when it goes on it reads them all before it believes a timer.
 */

#define TREE_WAIT    MTIME_SEC(2)
#define ADDRESS_WAIT MTIME_SEC(1)

/* ---- inputs ---------------------------------------------------------------------------------------- */

struct input *engine_post(struct world *w, struct host *h, mtime in, enum input_type type)
{
	struct event *e = world_post(w, in, EVENT_ENGINE_INPUT, h->row);

	e->life = h->engine.life;
	e->input.type = type;
	return &e->input;
}

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
	case PEER_TYPES_END:
		break;
	}
	return SERVICE_EV_HEARD;
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
		glue_hello(w, h, true, in->from);
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
		glue_hello(w, h, true, in->from);
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
	engine_post(w, h, MTIME_MS(1), INPUT_SOCKETS);
	engine_post(w, h, MTIME_MS(1), INPUT_LINK);
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

/* ---- without a keeper ---------------------------------------------------------------------------------- */

/*
 * The keeper is dead, or silent and therefore killed by us through cgroup.kill: its programs are
 * dead with it.  The machines are not asked any more: the addresses go, the trees are seen gone,
 * RELEASE, the end.
 */
static void become_orphan(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (e->orphan)
		return;
	e->orphan = true;
	e->orphan_since = w->now;
	STORY(w, h, "engine: the keeper is gone, ending");
	keeper_die(w, h);
	if (w->scenario.tooth != TOOTH_GUARD)
		keeper_kill_all(w, h, false);
	glue_order_address(w, h, false);
}

static void orphan_progress(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime waited = w->now - e->orphan_since;

	if ((keeper_populated(h) && waited < TREE_WAIT) ||
	    (e->address_order && waited < ADDRESS_WAIT)) {
		e->armed = w->now + MTIME_MS(5);
		world_post(w, MTIME_MS(5), EVENT_ENGINE_WAKE, h->row)->life = e->life;
		return;
	}
	if (e->ready)
		glue_last_words(w, h);
	STORY(w, h, "engine ends");
	engine_die(w, h);
}

static void on_input(struct world *w, struct host *h, const struct input *in)
{
	struct engine *e = &h->engine;
	struct service_event ev = { .ok = true };

	if (e->orphan) { /* only net is still listened to */
		if (in->type == INPUT_ADDRESSES && in->net.order == e->address_order)
			e->address_order = 0;
		return;
	}
	switch (in->type) {
	case INPUT_LETTER:
		on_letter(w, h, in);
		break;
	case INPUT_ADVERT:
		on_advert(w, h, in);
		break;
	case INPUT_PROBE_ANSWER:
		on_probe(w, h, in);
		break;
	case INPUT_CONFLICT:
		on_conflict(w, h, in);
		break;
	case INPUT_READY:
		glue_resume(w, h);
		break;
	case INPUT_SPAWNED:
	case INPUT_SPAWN_FAILED:
	case INPUT_EXITED:
	case INPUT_GONE:
		on_run(w, h, in);
		break;
	case INPUT_QUIESCED:
		ev.type = SERVICE_EV_QUIESCED;
		ev.term = in->quiesced.term;
		ev.by_deadline = in->quiesced.by_deadline;
		glue_service(w, h, &ev);
		break;
	case INPUT_KEEPER_DEAD:
		become_orphan(w, h);
		break;
	case INPUT_SHUTDOWN:
		ev.type = SERVICE_EV_COMMAND;
		ev.command = SERVICE_CMD_END;
		glue_service(w, h, &ev);
		break;
	case INPUT_SOCKETS:
		e->sockets = true;
		e->addresses_settled = false;
		service_event(w, h, SERVICE_EV_SOCKETS, true);
		break;
	case INPUT_LINK:
		service_event(w, h, SERVICE_EV_LINK, !w->no_carrier[h->row]);
		break;
	case INPUT_ADDRESSES:
		on_net(w, h, in);
		break;
	case INPUT_ADDRESS_LOST:
		if (glue_holds_addresses(&e->fsm))
			service_event(w, h, SERVICE_EV_ADDRESS_LOST, true);
		break;
	case INPUT_STATE:
		ev.type = SERVICE_EV_LOADED;
		ev.persist = &in->scribe.persist;
		glue_service(w, h, &ev);
		break;
	case INPUT_SAVED:
		ev.type = SERVICE_EV_PERSISTED;
		ev.seq = in->scribe.seq;
		ev.ok = in->scribe.ok;
		glue_service(w, h, &ev);
		break;
	case INPUT_SCRIBE_NEW:
		if (e->fsm.loaded)
			host_save(w, h, e->fsm.persist_seq, &e->fsm.persist);
		else if (e->ready && !e->has_baton)
			host_load(w, h);
		break;
	case INPUT_NET_NEW:
		on_net_new(w, h);
		break;
	case INPUT_COMMAND:
		on_command(w, h, in);
		break;
	}
}

/* ---- timers ------------------------------------------------------------------------------------------------ */

static mtime next_wake(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h), at = e->keeper_silent_at;

	if (!e->ready)
		return at;
	at = mtime_min(at, e->hello_at + service_hello_interval(&e->fsm, now));
	at = mtime_min(at, e->probe_at + service_probe_interval(&e->fsm, now));
	at = mtime_min(at, service_deadline(&e->fsm, now));
	if (glue_holds_addresses(&e->fsm))
		at = mtime_min(at, e->lease_at + w->scenario.vip_lease / 4);
	for (unsigned i = 0; i < w->scenario.n_programs; i++)
		at = mtime_min(at, program_deadline(&e->programs[i]));
	return at;
}

void engine_arm(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime at = next_wake(w, h);

	if (at == MTIME_NEVER)
		return;
	at = mtime_max(host_world(h, at), w->now + MTIME_US(10));
	if (e->armed && e->armed <= at)
		return;
	e->armed = at;
	world_post(w, at - w->now, EVENT_ENGINE_WAKE, h->row)->life = e->life;
}

static void timers_io(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h);

	if (e->sockets && now >= e->probe_at + service_probe_interval(&e->fsm, now)) {
		e->probe_at = now;
		network_probe_targets(w, h);
		if (service_wants_conflict_probe(&e->fsm, now))
			network_probe_address(w, h);
	}
	if (now >= e->hello_at + service_hello_interval(&e->fsm, now))
		glue_hello(w, h, false, 0);
	if (glue_holds_addresses(&e->fsm) && now >= e->lease_at + w->scenario.vip_lease / 4)
		glue_refresh_lease(w, h);
}

static void tick(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct program_event program = { .type = PROGRAM_EV_TICK };

	if (host_now(w, h) >= e->keeper_silent_at) {
		e->keeper_silent_at = MTIME_NEVER;
		if (w->scenario.tooth != TOOTH_KEEPER_TIMEOUT)
			become_orphan(w, h);
	}
	if (!e->ready || e->orphan)
		return;
	service_event(w, h, SERVICE_EV_TICK, true);
	for (unsigned i = 0; i < w->scenario.n_programs; i++)
		if (host_now(w, h) >= program_deadline(&e->programs[i]))
			glue_program(w, h, i, &program);
	timers_io(w, h);
}

static void after(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (e->orphan) {
		orphan_progress(w, h);
		return;
	}
	glue_settle(w, h);
	if (e->ended) {
		e->ended = false;
		keeper_post(w, h, ORDER_DONE);
	}
	engine_arm(w, h);
}

/* ---- birth, stop, death ---------------------------------------------------------------------------------------- */

void engine_start(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct keeper *k = &h->keeper;
	struct backlog keep = e->backlog;
	uint32_t life = e->life;

	*e = (struct engine){ .alive = true, .life = life + 1, .backlog = keep,
			      .keeper_silent_at = MTIME_NEVER, .has_baton = k->has_baton,
			      .baton = k->baton };
	e->backlog.n = 0;
	k->engines++;
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++) {
		if (h->runs[i].state == RUN_FORKED) /* nobody waits for its result any more */
			h->runs[i].state = RUN_NONE;
		e->found[i] = h->runs[i];
	}
	glue_init(w, h);
	STORY(w, h, "engine starts%s", k->has_baton ? " and goes on from the baton" : "");
	e->last_arrival = w->now + world_noise(w, MTIME_MS(1), MTIME_MS(5));
	engine_post(w, h, e->last_arrival - w->now, INPUT_READY);
	if (h->net_alive) {
		mtime net = e->last_arrival - w->now;

		engine_post(w, h, net + world_noise(w, MTIME_US(100), MTIME_MS(10)), INPUT_SOCKETS);
		engine_post(w, h, net + world_noise(w, MTIME_US(100), MTIME_MS(10)), INPUT_LINK);
	}
	if (k->ending)
		engine_post(w, h, MTIME_MS(20), INPUT_SHUTDOWN);
}

void engine_die(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (!e->alive)
		return;
	e->alive = e->stalled = false;
	e->life++;
	e->backlog.n = 0;
	if (h->keeper.alive)
		keeper_engine_died(w, h);
	else
		host_supd_gone(w, h);
}

void engine_stall(struct world *w, struct host *h, mtime length)
{
	struct engine *e = &h->engine;
	mtime until = w->now + length;

	if (!e->alive || (e->stalled && e->resume_at >= until))
		return;
	e->resume_at = until;
	world_post(w, length, EVENT_ENGINE_RESUME, h->row)->life = e->life;
	if (!e->stalled)
		keeper_engine_silent(w, h);
	e->stalled = true;
}

static void resume(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct backlog b = e->backlog;
	uint32_t life = e->life;

	if (!e->stalled || w->now < e->resume_at)
		return;
	e->stalled = false;
	e->backlog = (struct backlog){ 0 };
	STORY(w, h, "engine goes on");
	for (unsigned i = 0; i < b.n && e->alive && e->life == life; i++)
		on_input(w, h, &b.e[i].input);
	b.n = 0;
	e->backlog = b;
	if (!e->alive || e->life != life)
		return;
	e->keeper_silent_at = MTIME_NEVER;
	if (h->keeper.alive && h->keeper.stalled)
		e->keeper_silent_at = host_now(w, h) + w->engine_timeout +
				      w->engine_timeout / 4;
	e->armed = 0;
	tick(w, h);
	after(w, h);
}

void engine_event(struct world *w, const struct event *ev)
{
	struct host *h = &w->hosts[ev->host];
	struct engine *e = &h->engine;

	if (ev->type == EVENT_ENGINE_BORN) {
		if (h->keeper.alive && ev->life == h->keeper.life && !e->alive)
			engine_start(w, h);
		return;
	}
	if (!e->alive || ev->life != e->life)
		return;
	if (ev->type == EVENT_ENGINE_RESUME) {
		resume(w, h);
	} else if (e->stalled) {
		if (ev->type == EVENT_ENGINE_INPUT)
			backlog_add(&e->backlog, ev);
	} else if (ev->type == EVENT_ENGINE_INPUT) {
		on_input(w, h, &ev->input);
		after(w, h);
	} else if (ev->at == e->armed) {
		e->armed = 0;
		tick(w, h);
		after(w, h);
	}
}
