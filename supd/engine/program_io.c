/* SPDX-License-Identifier: MIT */
#include "supd/engine/program_internal.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

/*
 * The hands of program_fsm: its actions become orders to the keeper, the keeper's reports become
 * its events, and what matters to the service is passed on.
 */
#define KILL_WAIT_LOCAL	     MTIME_SEC(10)
#define WINDOW_LOCAL	     MTIME_SEC(60)
#define ORDER_LIFE_LOCAL     MTIME_SEC(1)

/* ---- configuration of the machine ----------------------------------------------------------------- */

static enum program_restart restart_of(enum model_autorestart r)
{
	switch (r) {
	case MODEL_RESTART_ALWAYS:
		return PROGRAM_RESTART_ALWAYS;
	case MODEL_RESTART_UNEXPECTED:
		return PROGRAM_RESTART_UNEXPECTED;
	case MODEL_RESTART_NEVER:
		return PROGRAM_RESTART_NEVER;
	}
	return PROGRAM_RESTART_ALWAYS;
}

static void config_of(const struct model *m, uint32_t row, struct program_config *ret)
{
	const struct model_program *mp = model_program(m, row);

	*ret = (struct program_config){
		.autorestart = restart_of(mp->autorestart),
		.stopsignal = mp->stopsignal,
		.startsecs = mp->startsecs,
		.stopwaitsecs = mp->stopwaitsecs,
		.restart_delay_max = mp->restart_delay_max,
		.kill_wait = KILL_WAIT_LOCAL,
		.restart_window = WINDOW_LOCAL,
		.has_pre_start = mp->pre_start.count > 0,
		.has_post_stop = mp->post_stop.count > 0,
		.ready_timeout = mp->ready.kind == MODEL_PROBE_NONE && !mp->forking
					 ? 0
					 : mp->ready_timeout,
		.ready_at_main = mp->ready.kind == MODEL_PROBE_NONE && mp->forking,
	};
	memcpy(ret->exitcodes, mp->exitcodes, sizeof(ret->exitcodes));
	if (mp->service != MODEL_NONE) {
		const struct model_service *ms = model_service(m, (uint32_t)mp->service);

		ret->kill_wait = ms->kill_wait;
		ret->restart_limit = ms->restart_limit;
		ret->restart_window = ms->restart_window;
		ret->gated = true;
	}
}

/* ---- the log --------------------------------------------------------------------------------------- */

/* The state that the transition of action i led to: where the next one begins, or the present one. */
static enum program_state led_to(const struct program_fsm *p, const struct program_actions *acts,
				 unsigned i)
{
	for (unsigned k = i + 1; k < acts->n; k++) {
		if (acts->a[k].type == PROGRAM_ACT_STATE)
			return acts->a[k].from;
	}
	return p->state;
}

/* ---- hooks ----------------------------------------------------------------------------------------------- */

uint64_t program_order_hook(struct engine_program *ep, enum ipc_hook_kind kind)
{
	struct engine *e = ep->engine;
	const struct service_fsm *f =
		ep->service == MODEL_NONE ? NULL : &e->services[ep->service].fsm;
	mtime now = mtime_now();
	struct ipc_hook h = {
		.order = e->next_order++,
		.kind = kind,
		.row = (int32_t)ep->row,
		.node = MODEL_NONE,
		.term = f != NULL ? f->term : 0,
		.valid_until = f != NULL ? service_order_valid_until(f, now)
					 : mtime_add(now, ORDER_LIFE_LOCAL),
	};

	strncpy(h.cause, f != NULL ? service_cause_name(f->cause) : "start", sizeof(h.cause) - 1);
	return keeper_order_hook(e, &h) ? h.order : 0;
}

static void hook_ended(struct engine_program *ep, enum program_hook hook, bool ok, int error)
{
	struct program_event ev = {
		.type = PROGRAM_EV_HOOK_DONE,
		.hook = hook,
		.ok = ok,
		.stage = IPC_STAGE_PRE_START,
		.error = error,
	};

	ep->hook_order = 0;
	engine_program_event(ep->engine, ep->row, &ev);
}

static void run_hook(struct engine_program *ep, enum program_hook hook)
{
	bool before = hook == PROGRAM_HOOK_PRE_START;

	ep->hook_order = program_order_hook(ep, before ? IPC_HOOK_PRE_START : IPC_HOOK_POST_STOP);
	if (ep->hook_order == 0)
		hook_ended(ep, hook, false, 0);
}

void program_io_hook_done(struct engine *e, const struct ipc_hook_done *d)
{
	struct engine_program *ep = &e->programs[d->row];
	bool before = d->kind == IPC_HOOK_PRE_START;

	if (d->kind == IPC_HOOK_READY || d->kind == IPC_HOOK_HEALTH) {
		program_watch_hook_done(ep, d);
		return;
	}
	if (ep->hook_order == 0 || d->order != ep->hook_order)
		return;
	program_log_hook_done(ep, d);
	hook_ended(ep, before ? PROGRAM_HOOK_PRE_START : PROGRAM_HOOK_POST_STOP, d->ok,
		   d->timed_out ? ETIMEDOUT : 0);
}

/* ---- actions ---------------------------------------------------------------------------------------------- */

static void order_start(struct engine_program *ep, mtime now)
{
	struct engine *e = ep->engine;
	const struct service_fsm *f;

	if (ep->service == MODEL_NONE) {
		keeper_order_start(e, ep->row, 0, now + ORDER_LIFE_LOCAL, MTIME_NEVER, "start");
		return;
	}
	f = &e->services[ep->service].fsm;
	keeper_order_start(e, ep->row, f->term, service_order_valid_until(f, now),
			   service_kill_at(f), service_cause_name(f->cause));
}

/* Before READY the service does not know yet what it is; engine_life.c tells it afterwards. */
static void tell_service(struct engine_program *ep, enum service_event_type type)
{
	struct service_event ev = { .type = type };

	if (ep->service != MODEL_NONE && ep->engine->ready)
		engine_service_event(ep->engine, (uint32_t)ep->service, &ev);
}

static void carry_out(struct engine_program *ep, const struct program_actions *acts, unsigned i,
		      mtime now)
{
	const struct program_action *a = &acts->a[i];
	struct engine *e = ep->engine;

	switch (a->type) {
	case PROGRAM_ACT_SPAWN:
		program_notify_forget(ep);
		order_start(ep, now);
		break;
	case PROGRAM_ACT_SIGNAL:
		keeper_order_signal(e, ep->row, a->run, a->signo);
		break;
	case PROGRAM_ACT_KILL:
		keeper_order_kill(e, ep->row, a->run);
		break;
	case PROGRAM_ACT_STATE:
		program_log_transition(ep, a->from, led_to(&ep->fsm, acts, i), now);
		break;
	case PROGRAM_ACT_DIED:
		tell_service(ep, SERVICE_EV_PROGRAM_DIED);
		break;
	case PROGRAM_ACT_WANTS_ALLOW:
		tell_service(ep, SERVICE_EV_RESTART_DUE);
		break;
	case PROGRAM_ACT_LIMIT:
		tell_service(ep, SERVICE_EV_PROGRAM_LIMIT);
		break;
	case PROGRAM_ACT_UNKILLABLE:
		log_error("program %s: killed, and not gone after %lld ms, going on without it",
			  model_program_name(e->m, ep->row),
			  (long long)mtime_to_ms(ep->fsm.config.kill_wait));
		break;
	case PROGRAM_ACT_HOOK:
		run_hook(ep, a->hook);
		break;
	case PROGRAM_ACT_HOOK_KILL:
		if (ep->hook_order != 0)
			keeper_order_hook_kill(e, ep->hook_order);
		break;
	case PROGRAM_ACT_FAILED:
		program_log_failing(ep);
		break;
	case PROGRAM_ACT_READY:
		if (ep->fsm.config.ready_timeout > 0)
			keeper_send_note(e, ep->row, a->run, true);
		break;
	case PROGRAM_ACT_ENDED: /* seen in the group by the reconciliation below */
		break;
	}
}

static void arm_timer(struct engine_program *ep)
{
	struct ev_loop *loop = ep->engine->loop;
	mtime at = program_deadline(&ep->fsm);
	mtime now;

	ev_timer_stop(loop, &ep->timer);
	if (at == MTIME_NEVER)
		return;
	now = mtime_now();
	ev_now_update(loop);
	ev_timer_set(&ep->timer, at > now ? (double)(at - now) / 1e9 : 0., 0.);
	ev_timer_start(loop, &ep->timer);
}

void program_io_event(struct engine *e, uint32_t row, const struct program_event *ev)
{
	struct engine_program *ep = &e->programs[row];
	struct program_actions acts;
	mtime now = mtime_now();

	program_step(&ep->fsm, ev, now, &acts);
	ep->adopting = ev->type == PROGRAM_EV_ADOPT;
	for (unsigned i = 0; i < acts.n; i++)
		carry_out(ep, &acts, i, now);
	arm_timer(ep);
	program_watch_update(ep);
	program_notify_update(ep);
	if (ep->service == MODEL_NONE)
		program_io_reconcile_local(e);
	else if (e->ready)
		service_io_reconcile(e, (uint32_t)ep->service);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine_program *ep = w->data;
	struct program_event ev = { .type = PROGRAM_EV_TICK };

	/* After a stall the report that makes this expiry void may still wait in the socket. */
	keeper_link_drain(ep->engine);
	engine_program_event(ep->engine, ep->row, &ev);
}

/* ---- the keeper's reports ---------------------------------------------------------------------------------- */

void program_io_run(struct engine *e, const struct ipc_run *r)
{
	struct program_event ev = {
		.type = PROGRAM_EV_ADOPT,
		.run = r->run,
		.pid = r->pid,
		.started_at = r->started,
		.ready = r->ready != 0,
	};

	engine_program_event(e, (uint32_t)r->program, &ev);
}

void program_io_spawned(struct engine *e, const struct ipc_spawned *s)
{
	struct engine_program *ep = &e->programs[s->program];
	struct program_event ev = {
		.type = PROGRAM_EV_SPAWNED,
		.run = s->run,
		.pid = s->pid,
		.started_at = s->at,
	};

	if (ep->fsm.ordered && s->order != ep->order) {
		log_error("program %s: started by an order that is not ours, killing it",
			  model_program_name(e->m, ep->row));
		keeper_order_kill(e, ep->row, s->run);
		return;
	}
	engine_program_event(e, ep->row, &ev);
}

void program_io_spawn_failed(struct engine *e, const struct ipc_spawn_failed *f)
{
	struct engine_program *ep = &e->programs[f->program];
	struct program_event ev = {
		.type = PROGRAM_EV_SPAWN_FAILED,
		.stage = f->stage,
		.error = f->error,
	};

	if (f->order == ep->order)
		engine_program_event(e, ep->row, &ev);
}

void program_io_main(struct engine *e, const struct ipc_main *m)
{
	struct program_event ev = { .type = PROGRAM_EV_MAIN, .run = m->run, .pid = m->pid };

	engine_program_event(e, (uint32_t)m->program, &ev);
}

void program_io_exited(struct engine *e, const struct ipc_exited *x)
{
	struct program_event ev = {
		.type = PROGRAM_EV_EXITED,
		.run = x->run,
		.exit = { .code = x->code, .signo = x->signo },
		.end = x->killed_by_deadline ? PROGRAM_END_DEADLINE : PROGRAM_END_NONE,
	};

	/* What it said before it ended. */
	if (x->run == e->programs[x->program].fsm.run)
		program_notify_drain(&e->programs[x->program]);

	if (x->killed_by_deadline)
		log_warn("program %s: killed by the keeper at its deadline",
			 model_program_name(e->m, (uint32_t)x->program));
	engine_program_event(e, (uint32_t)x->program, &ev);
}

void program_io_gone(struct engine *e, const struct ipc_gone *g)
{
	struct program_event ev = { .type = PROGRAM_EV_GONE, .run = g->run };

	engine_program_event(e, (uint32_t)g->program, &ev);
}

/* ---- the node's own programs ------------------------------------------------------------------------------- */

void program_io_reconcile_local(struct engine *e)
{
	struct group_order order;

	if (!e->ready)
		return;
	/* One order at a time: the next look comes when the member has taken it. */
	if (group_reconcile(&e->local, &order)) {
		struct program_event ev = { .type = order.event };

		engine_program_event(e, e->local_rows[order.member], &ev);
		return;
	}
	engine_check_ended(e);
}

void program_io_start_local(struct engine *e)
{
	group_up(&e->local);
	program_io_reconcile_local(e);
}

void program_io_stop_local(struct engine *e)
{
	group_down(&e->local, false);
	program_io_reconcile_local(e);
}

/* ---- init ------------------------------------------------------------------------------------------------------ */

void program_io_init(struct engine *e)
{
	struct program_config config;

	for (uint32_t i = 0; i < e->m->n_programs; i++) {
		struct engine_program *ep = &e->programs[i];

		config_of(e->m, i, &config);
		program_init(&ep->fsm, &config);
		ev_init(&ep->timer, on_timer);
		ep->timer.data = ep;
		program_watch_init(ep);
	}
}
