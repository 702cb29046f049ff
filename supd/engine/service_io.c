/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "supd/engine/address_io.h"
#include "supd/engine/control.h"

/*
 * The hands of service_fsm: carries out its actions through the other modules, in the order in
 * which they were emitted, and brings results back as events.
 *
 * Order that matters: a baton goes to the keeper before the start order that it covers (same
 * channel, so it is there first); HELLO goes out once, at the end, and says what is true then.
 */

/* ---- configuration of the machine ----------------------------------------------------------------- */

/* How the addresses of the nodes compare: 1 for the lowest. */
static uint32_t rank_of(const struct model *m, uint32_t node)
{
	uint32_t rank = 1;

	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (ip_addr_compare(&model_node(m, i)->address, &model_node(m, node)->address) < 0)
			rank++;
	return rank;
}

static void config_of(const struct model *m, uint32_t row, struct service_config *ret)
{
	const struct model_service *ms = model_service(m, row);

	memset(ret, 0, sizeof(*ret));
	ret->self = (unsigned)m->self;
	ret->n_nodes = m->n_nodes;
	for (uint32_t i = 0; i < m->n_nodes; i++) {
		const struct model_node *n = model_node(m, i);

		ret->nodes[i].priority = n->priority;
		ret->nodes[i].address = rank_of(m, i);
		ret->nodes[i].peer_link = n->peer_link;
		ret->nodes[i].release_delay = n->release_delay;
	}
	ret->advert_int = ms->advert_int;
	ret->vip_lease = ms->vip_lease;
	ret->wait_for_peer = ms->wait_for_peer;
	ret->fence_timeout = ms->fence_timeout;
	ret->failure_reset = ms->failure_reset;
	ret->isolation = ms->isolation;
	ret->failback = ms->failback;
	ret->hold_on_silence = ms->hold_on_silence;
	ret->has_fence_command = ms->fence_argv.count > 0;
	ret->n_vips = ms->vip_backend == MODEL_VIP_NONE ? 0 : ms->n_vips;
	ret->vip_command = ms->vip_backend == MODEL_VIP_COMMAND;
	ret->conflict_probe = ms->conflict_probe && ms->vip_backend == MODEL_VIP_NETLINK;
	ret->digest = ms->digest;
	ret->file = details_config_digest(m);
}

/* ---- programs ------------------------------------------------------------------------------------------- */

static void each_member(struct engine_service *svc, enum program_event_type type)
{
	struct program_event ev = {.type = type};

	for (unsigned i = 0; i < svc->group.n; i++)
		engine_program_event(svc->engine, svc->group_rows[i], &ev);
}

/* A new term begins with clean counters; a new engine that resumes keeps what it adopted. */
static void start_programs(struct engine_service *svc)
{
	for (unsigned i = 0; i < svc->group.n; i++) {
		struct group_member *member = &svc->group.members[i];

		if (!member->program->tree_alive) {
			restart_policy_reset(&member->program->policy);
			member->manual_stop = false;
		}
	}
	group_up(&svc->group);
}

static void kill_programs(struct engine_service *svc, uint64_t term)
{
	keeper_order_quiesce(svc->engine, svc->row, term);
	if (svc->group.want == GROUP_DOWN && group_gone(&svc->group))
		return;
	group_down(&svc->group, false);
	each_member(svc, PROGRAM_EV_KILL);
}

void service_io_reconcile(struct engine *e, uint32_t row)
{
	struct engine_service *svc = &e->services[row];
	struct service_fsm *f = &svc->fsm;
	struct service_event ev = {0};
	struct group_order order;

	/* One order at a time: the next look comes when the member has taken it. */
	if (group_reconcile(&svc->group, &order)) {
		struct program_event pe = {.type = order.event};

		engine_program_event(e, svc->group_rows[order.member], &pe);
	}
	if (svc->group.want == GROUP_UP && f->may_run && !f->programs_ready &&
	    group_ready(&svc->group)) {
		ev.type = SERVICE_EV_PROGRAMS_READY;
		engine_service_event(e, row, &ev);
	} else if (f->state == SERVICE_STATE_RELEASING && f->phase == SERVICE_PHASE_STOP &&
		   svc->group.want == GROUP_DOWN && group_gone_or_unkillable(&svc->group)) {
		ev.type = SERVICE_EV_PROGRAMS_GONE;
		ev.ok = group_gone(&svc->group);
		engine_service_event(e, row, &ev);
	}
}

/* ---- actions ------------------------------------------------------------------------------------------------ */

/* What a reader of the log asks next, where the cause alone does not say it; else "". */
static void change_detail(const struct engine_service *svc, const struct service_action *a,
			  char *buf, size_t size)
{
	const struct service_fsm *f = &svc->fsm;
	mtime now = mtime_now();

	buf[0] = '\0';
	if (a->to == SERVICE_STATE_RELEASING && a->cause == SERVICE_CAUSE_STEP_DOWN &&
	    f->persist.term_seen > f->term)
		snprintf(buf, size, "; another node has term %llu",
			 (unsigned long long)f->persist.term_seen);
	if (a->to != SERVICE_STATE_TAKING_OVER || a->cause != SERVICE_CAUSE_TAKEOVER)
		return;
	for (uint32_t p = 0; p < f->config.n_nodes; p++) {
		const char *name = model_node_name(svc->engine->m, p);
		size_t len = strlen(buf);

		if (p == f->config.self || !f->config.nodes[p].peer_link)
			continue;
		if (f->peers[p].heard == 0)
			snprintf(buf + len, size - len, "; %s was never heard", name);
		else
			snprintf(buf + len, size - len, "; %s last heard %lld ms ago", name,
				 (long long)mtime_to_ms(now - f->peers[p].heard));
	}
}

static void log_transition(struct engine_service *svc, const struct service_action *a)
{
	struct service_fsm *f = &svc->fsm;
	char detail[256];

	change_detail(svc, a, detail, sizeof(detail));
	svc->last_cause = a->cause;
	/* A new engine that goes on changes nothing: the machine knows since when it is so. */
	svc->last_change_wall = (int64_t)time(NULL) - (mtime_now() - f->since) / MTIME_SEC(1);
	if (a->from == a->to) {
		log_notice("service %s: still %s (cause %s, term %llu)",
			   model_service_name(svc->engine->m, svc->row), service_state_name(a->to),
			   service_cause_name(a->cause), (unsigned long long)f->term);
		return;
	}
	log_notice("service %s: %s -> %s (cause %s, term %llu%s)",
		   model_service_name(svc->engine->m, svc->row), service_state_name(a->from),
		   service_state_name(a->to), service_cause_name(a->cause),
		   (unsigned long long)f->term, detail);
}

static void log_alarm(struct engine_service *svc, const struct service_action *a)
{
	const char *name = model_service_name(svc->engine->m, svc->row);
	char text[CONTROL_TEXT_MAX];

	control_alarm_text(svc->engine, svc->row, a->alarm, text, sizeof(text));
	if (a->ok)
		log_warn("service %s: alarm %s: %s", name, service_alarm_name(a->alarm), text);
	else
		log_notice("service %s: alarm %s is over", name, service_alarm_name(a->alarm));
}

static void send_baton(struct engine_service *svc)
{
	struct service_baton baton;

	service_to_baton(&svc->fsm, &baton);
	svc->baton_s = svc->fsm.s;
	keeper_send_baton(svc->engine, svc->row, &baton, sizeof(baton));
}

static void carry_out(struct engine_service *svc, const struct service_action *a, mtime now)
{
	struct engine *e = svc->engine;
	uint32_t row = svc->row;

	switch (a->type) {
	case SERVICE_ACT_SEND_ADVERT:
		vrrp_io_send(e, row, svc->fsm.vrrp.config.priority);
		break;
	case SERVICE_ACT_SEND_ADVERT_0:
		vrrp_io_send(e, row, VRRP_PRIO_RELEASE);
		break;
	case SERVICE_ACT_SEND_FENCE:
		peer_io_send_term(e, MODEL_NONE, PEER_TYPE_FENCE, row, a->term, 0xff, false);
		break;
	case SERVICE_ACT_SEND_FENCED:
		peer_io_send_term(e, (int)a->peer, PEER_TYPE_FENCED, row, a->term, 0xff, false);
		break;
	case SERVICE_ACT_SEND_RELEASE:
		peer_io_send_term(e, MODEL_NONE, PEER_TYPE_RELEASE, row, a->term, a->successor,
				  a->ending);
		break;
	case SERVICE_ACT_SEND_RELEASED:
		peer_io_send_term(e, (int)a->peer, PEER_TYPE_RELEASED, row, a->term, 0xff, false);
		break;
	case SERVICE_ACT_HELLO_NOW:
		e->hello_wanted = true;
		break;
	case SERVICE_ACT_PERSIST:
		scribe_save_state(e, row, a->seq);
		break;
	case SERVICE_ACT_BATON:
		send_baton(svc);
		break;
	case SERVICE_ACT_ADDRESSES_ADD:
		address_io_order(svc, IPC_ADDRESS_ADD, now);
		break;
	case SERVICE_ACT_ADDRESSES_REMOVE:
		address_io_order(svc, IPC_ADDRESS_REMOVE, now);
		break;
	case SERVICE_ACT_ANNOUNCE:
		probe_announce(e, row);
		break;
	case SERVICE_ACT_PROGRAMS_START:
		start_programs(svc);
		break;
	case SERVICE_ACT_PROGRAMS_STOP:
		group_down(&svc->group, a->give_up);
		break;
	case SERVICE_ACT_PROGRAMS_ALLOW:
		each_member(svc, PROGRAM_EV_ALLOW);
		break;
	case SERVICE_ACT_QUIESCE:
		kill_programs(svc, a->term);
		break;
	case SERVICE_ACT_STATE:
		log_transition(svc, a);
		break;
	case SERVICE_ACT_ALARM:
		log_alarm(svc, a);
		break;
	case SERVICE_ACT_FENCE_COMMAND:
		hook_io_fence(e, row, a->peer, a->term);
		break;
	case SERVICE_ACT_ENDED:
		svc->ended = true;
		engine_check_ended(e);
		break;
	}
}

static void arm_timer(struct engine_service *svc, mtime now)
{
	mtime at = service_deadline(&svc->fsm, now);

	if (at == MTIME_NEVER) {
		ev_timer_stop(svc->engine->loop, &svc->timer);
		return;
	}
	ev_now_update(svc->engine->loop);
	svc->timer.repeat = at > now ? (double)(at - now) / 1e9 : 0.0001;
	ev_timer_again(svc->engine->loop, &svc->timer);
}

/* The keeper must know a deadline that came nearer at once, and a later one before it matters. */
static void feed_if_moved(struct engine_service *svc)
{
	mtime kill_at = service_kill_at(&svc->fsm);
	mtime step = svc->fsm.config.advert_int / 4;
	bool moved = kill_at < svc->fed_kill_at ||
		     (svc->fed_kill_at != MTIME_NEVER && kill_at - svc->fed_kill_at > step);

	if (!moved)
		return;
	svc->fed_kill_at = kill_at;
	keeper_feed(svc->engine);
	if (svc->fsm.may_run && svc->fsm.s - svc->baton_s > step)
		send_baton(svc);
}

void service_io_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	struct engine_service *svc = &e->services[row];
	struct service_actions acts = {0};
	mtime now = mtime_now();

	service_step(&svc->fsm, ev, now, &acts);
	for (unsigned i = 0; i < acts.n; i++)
		carry_out(svc, &acts.a[i], now);
	service_io_reconcile(e, row);
	address_io_update(svc, now);
	arm_timer(svc, now);
	feed_if_moved(svc);
	probe_update(e, row);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct engine_service *svc = w->data;
	struct service_event ev = {.type = SERVICE_EV_TICK};

	/* After a stall the news of the time may still wait in the sockets: read them first. */
	ev_timer_stop(loop, w);
	engine_drain(svc->engine);
	engine_service_event(svc->engine, svc->row, &ev);
}

/* ---- results ------------------------------------------------------------------------------------------------ */

void service_io_link(struct engine *e, const struct ipc_link *l)
{
	struct engine_service *svc = &e->services[l->service];
	struct service_event ev = {.type = SERVICE_EV_LINK, .ok = l->exists && l->up};
	bool anew = false;

	if (svc->link_up != ev.ok || !svc->link_known)
		log_notice("service %s: interface %s is %s", model_service_name(e->m, l->service),
			   model_str(e->m, model_service(e->m, l->service)->interface),
			   !l->exists ? "missing" : ev.ok ? "up" : "down");
	svc->link_up = ev.ok;
	svc->link_known = true;
	if (l->exists) {
		svc->ifindex = l->ifindex;
		anew = memcmp(svc->mac, l->mac, sizeof(svc->mac)) != 0;
		memcpy(svc->mac, l->mac, sizeof(svc->mac));
		probe_set_six(e, (uint32_t)l->service, &l->link_local, l->router);
	}
	engine_service_event(e, l->service, &ev);
	if (anew && svc->fsm.state == SERVICE_STATE_ACTIVE)
		probe_announce(e, (uint32_t)l->service); /* the neighbours have the old MAC */
}

void service_io_sockets(struct engine *e, const struct ipc_service_sockets *s, int vrrp_fd,
			const int neigh_fds[2])
{
	struct engine_service *svc = &e->services[s->service];
	struct service_event ev = {.type = SERVICE_EV_SOCKETS, .ok = s->error == 0};

	if (ev.ok) {
		svc->ifindex = s->ifindex;
		memcpy(svc->mac, s->mac, sizeof(svc->mac));
		vrrp_io_open(e, s->service, vrrp_fd);
		probe_open(e, s->service, neigh_fds);
	}
	svc->sockets_ok = ev.ok;
	svc->net_up = ev.ok;
	svc->addresses_settled = false;
	engine_service_event(e, s->service, &ev);
}

void service_io_gateway(struct engine *e, const struct ipc_gateway *g)
{
	probe_set_gateways(e, (uint32_t)g->service, g->address);
}

void service_io_quiesced(struct engine *e, const struct ipc_quiesced *q)
{
	struct service_event ev = {.type = SERVICE_EV_QUIESCED,
				   .term = q->term,
				   .by_deadline = q->by_deadline};

	if (q->by_deadline)
		log_warn("service %s: killed by the keeper: no proof of contact in time (term %llu)",
			 model_service_name(e->m, (uint32_t)q->service),
			 (unsigned long long)q->term);
	engine_service_event(e, (uint32_t)q->service, &ev);
}

/* ---- init ------------------------------------------------------------------------------------------------------ */

void service_io_init(struct engine *e)
{
	struct service_config config;
	mtime now = mtime_now();

	for (uint32_t row = 0; row < e->m->n_services; row++) {
		struct engine_service *svc = &e->services[row];

		config_of(e->m, row, &config);
		service_init(&svc->fsm, &config, now);
		svc->fed_kill_at = MTIME_NEVER;
		ev_init(&svc->timer, on_timer);
		ev_set_priority(&svc->timer, -1);
		svc->timer.data = svc;
		address_io_init(svc);
	}
}
