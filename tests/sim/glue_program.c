/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <signal.h>

/*
 * The other half of the glue: program_fsm and program_group between the service and the keeper,
 * and how an engine comes into the world with what the keeper has kept.
 */

#define N_PROGRAMS(w) ((w)->scenario.n_programs)

/* ---- programs ----------------------------------------------------------------------------------------------- */

static void tell_service(struct world *w, struct host *h, enum service_event_type type, bool ok)
{
	struct service_event ev = { .type = type, .ok = ok };

	if (h->engine.ready) /* before, it does not know yet what it is */
		glue_service(w, h, &ev);
}

/*
 * What is known when a start is ordered.  A takeover is one act: who hears of a newer term between
 * the first of its programs and the last one does not leave the service half started.
 */
static uint64_t known_at_start(struct host *h, unsigned program)
{
	struct engine *e = &h->engine;
	const unsigned bit = 1u << program;

	if (e->began_term != e->fsm.term) {
		e->began_term = e->fsm.term;
		e->began_known = oracle_known(h);
		e->began = 0;
	}
	if (e->began & bit)
		return oracle_known(h);
	e->began |= bit;
	return e->began_known;
}

static void start_program(struct world *w, struct host *h, unsigned program)
{
	struct engine *e = &h->engine;
	mtime now = host_now(w, h);
	struct order *o;

	e->order_of[program] = ++e->orders;
	o = keeper_post(w, h, ORDER_START);
	o->program = (uint8_t)program;
	o->order = e->order_of[program];
	o->term = e->fsm.term;
	o->known = known_at_start(h, program);
	o->kill_at = service_kill_at(&e->fsm);
	o->valid_until = service_order_valid_until(&e->fsm, now);
}

static void program_act(struct world *w, struct host *h, unsigned program,
			const struct program_action *a)
{
	struct order *o;

	switch (a->type) {
	case PROGRAM_ACT_SPAWN:
		start_program(w, h, program);
		break;
	case PROGRAM_ACT_SIGNAL:
	case PROGRAM_ACT_KILL:
		o = keeper_post(w, h, a->type == PROGRAM_ACT_KILL ? ORDER_KILL : ORDER_SIGNAL);
		o->program = (uint8_t)program;
		o->run = a->run;
		o->signo = a->signo;
		break;
	case PROGRAM_ACT_DIED:
		tell_service(w, h, SERVICE_EV_PROGRAM_DIED, true);
		break;
	case PROGRAM_ACT_WANTS_ALLOW:
		tell_service(w, h, SERVICE_EV_RESTART_DUE, true);
		break;
	case PROGRAM_ACT_LIMIT:
		STORY(w, h, "program %u has reached its limit", program + 1);
		tell_service(w, h, SERVICE_EV_PROGRAM_LIMIT, true);
		break;
	case PROGRAM_ACT_STATE:
	case PROGRAM_ACT_READY:
	case PROGRAM_ACT_ENDED:
	case PROGRAM_ACT_UNKILLABLE:
	case PROGRAM_ACT_FAILED:
	case PROGRAM_ACT_HOOK: /* no scenario has any */
	case PROGRAM_ACT_HOOK_KILL:
		break;
	}
}

void glue_program(struct world *w, struct host *h, unsigned program, const struct program_event *ev)
{
	struct program_fsm *p = &h->engine.programs[program];
	struct program_actions acts;

	acts.n = 0;
	program_step(p, ev, host_now(w, h), &acts);
	if (!program_check(p))
		oracle_fail(w, "%c: program_check", story_name(h->row));
	for (unsigned i = 0; i < acts.n; i++)
		program_act(w, h, program, &acts.a[i]);
}

/* The keeper must know a deadline that came nearer at once, and a later one before it matters. */
static void feed_if_moved(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	mtime kill_at = service_kill_at(&e->fsm);
	mtime step = w->scenario.advert_int / 4;
	bool moved = kill_at < e->fed_kill_at ||
		     (e->fed_kill_at != MTIME_NEVER && kill_at - e->fed_kill_at > step);

	if (!moved || !e->fsm.loaded)
		return;
	e->fed_kill_at = kill_at;
	keeper_post(w, h, ORDER_FEED)->kill_at = kill_at;
	if (e->fsm.may_run && e->fsm.s - e->baton_s > step)
		glue_send_baton(w, h);
}

/* What the group is, when the service waits for that: true when it was told. */
static bool tell_group(struct world *w, struct host *h)
{
	const struct engine *e = &h->engine;
	const struct service_fsm *f = &e->fsm;

	if (e->group.want == GROUP_UP && f->may_run && !f->programs_ready &&
	    group_ready(&e->group)) {
		tell_service(w, h, SERVICE_EV_PROGRAMS_READY, true);
		return true;
	}
	if (e->group.want == GROUP_DOWN && f->state == SERVICE_STATE_RELEASING &&
	    f->phase == SERVICE_PHASE_STOP && group_gone_or_unkillable(&e->group)) {
		tell_service(w, h, SERVICE_EV_PROGRAMS_GONE, group_gone(&e->group));
		return true;
	}
	return false;
}

/* Once per net process: left-overs go, addresses that belong here come. */
static void settle_addresses(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;

	if (e->addresses_settled || !e->fsm.loaded || !e->sockets)
		return;
	e->addresses_settled = true;
	glue_order_address(w, h, glue_holds_addresses(&e->fsm));
}

void glue_settle(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct group_order o;
	bool more = e->ready;

	for (unsigned bound = 0; more; bound++) {
		more = group_reconcile(&e->group, &o);
		if (more) {
			struct program_event ev = { .type = o.event };

			glue_program(w, h, o.member, &ev);
		}
		more = tell_group(w, h) || more;
		if (bound > 32) {
			oracle_fail(w, "%c: group and service never settle", story_name(h->row));
			return;
		}
	}
	if (!e->ready)
		return;
	settle_addresses(w, h);
	feed_if_moved(w, h);
	if (e->hello_due) {
		e->hello_due = false;
		glue_hello(w, h);
	}
}

/* ---- birth -------------------------------------------------------------------------------------------------------- */

static void config_service(const struct world *w, const struct host *h, struct service_config *c)
{
	const struct scenario *s = &w->scenario;
	struct budget_input in = { .advert_int = s->advert_int, .n_peers = s->n_nodes,
				   .peer_priorities = s->priority };
	struct budget b;

	budget_compute(&in, &b);
	*c = (struct service_config){
		.self = h->row, .n_nodes = s->n_nodes, .advert_int = s->advert_int,
		.vip_lease = s->vip_lease, .wait_for_peer = s->wait_for_peer,
		.fence_timeout = b.fence_timeout, .failure_reset = MTIME_NEVER,
		.failback = s->failback, .hold_on_silence = s->hold,
		.has_fence_command = s->fence_command,
		.isolation = MODEL_ISOLATION_AUTO, .n_vips = 1, .conflict_probe = true, .digest = 4711,
	};
	for (unsigned n = 0; n < s->n_nodes; n++)
		c->nodes[n] = (struct service_node){ .priority = s->priority[n],
						     .address = 0xc0000200u + n,
						     .peer_link = true };
}

void glue_init(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct service_config service;
	struct program_config program = {
		.autorestart = PROGRAM_RESTART_ALWAYS, .stopsignal = SIGTERM,
		.startsecs = MTIME_SEC(1), .stopwaitsecs = MTIME_SEC(2),
		.restart_delay_max = w->scenario.restart_delay_max, .kill_wait = MTIME_SEC(10),
		.restart_limit = 3, .restart_window = MTIME_SEC(60), .gated = true,
	};

	config_service(w, h, &service);
	service_init(&e->fsm, &service, host_now(w, h));
	group_init(&e->group, e->members);
	e->fed_kill_at = MTIME_NEVER;
	e->group.n = N_PROGRAMS(w);
	for (unsigned i = 0; i < N_PROGRAMS(w); i++) {
		program_init(&e->programs[i], &program);
		e->group.members[i] = (struct group_member){ .program = &e->programs[i],
							     .autostart = true };
	}
	for (unsigned i = 1; i < N_PROGRAMS(w); i++)
		group_require(&e->group, i, i - 1);
	for (unsigned p = 0; p < w->scenario.n_nodes; p++) {
		peer_init(&e->peers[p], h->row, (uint8_t)p, h->keeper.session);
		if (h->keeper.sessions[p].session)
			peer_from_baton(&e->peers[p], &h->keeper.sessions[p]);
	}
}

void glue_fitness(struct world *w, struct host *h)
{
	struct service_event ev = { .type = SERVICE_EV_FITNESS, .unfit = SERVICE_UNFIT_CHECK,
				    .ok = h->checks_failed == 0 };

	glue_service(w, h, &ev);
}

/* Programs without a record of who ordered them: nobody can say whether they may still run. */
static void clear_strays(struct world *w, struct host *h)
{
	struct program_event kill = { .type = PROGRAM_EV_KILL };
	uint64_t term = 0;

	for (unsigned i = 0; i < N_PROGRAMS(w); i++)
		if (h->engine.found[i].state != RUN_NONE && h->engine.found[i].term > term)
			term = h->engine.found[i].term;
	if (!term)
		return;
	keeper_post(w, h, ORDER_QUIESCE)->term = term;
	for (unsigned i = 0; i < N_PROGRAMS(w); i++)
		glue_program(w, h, i, &kill);
}

static void adopt(struct world *w, struct host *h)
{
	for (unsigned i = 0; i < N_PROGRAMS(w); i++) {
		const struct run *r = &h->engine.found[i];
		struct program_event ev = { .type = PROGRAM_EV_ADOPT, .run = r->number,
					    .pid = r->main_alive ? 4711 : 0,
					    .started_at = host_now(w, h) };

		if (r->state == RUN_ALIVE || r->state == RUN_DEAD)
			glue_program(w, h, i, &ev);
	}
}

/* The keeper's records are complete: go on with what runs, or begin from the disk. */
void glue_resume(struct world *w, struct host *h)
{
	struct engine *e = &h->engine;
	struct service_event ev = { .type = SERVICE_EV_RESUME, .baton = &e->baton };

	adopt(w, h);
	e->ready = true;
	if (h->checks_failed)
		glue_fitness(w, h);
	if (!e->has_baton) {
		clear_strays(w, h);
		host_load(w, h);
		return;
	}
	ev.running = !group_gone(&e->group);
	glue_service(w, h, &ev);
	if (!e->fsm.loaded) { /* the engine before had not read its state either */
		host_load(w, h);
		return;
	}
	for (unsigned i = 0; i < N_PROGRAMS(w); i++) {
		if (e->programs[i].state != PROGRAM_STATE_BACKOFF)
			continue;
		tell_service(w, h, SERVICE_EV_PROGRAM_DIED, true);
		break;
	}
}
