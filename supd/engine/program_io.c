/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <signal.h>
#include <stdio.h>
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

/* ---- the log ------------------------------------------------------------------------------------------ */

static const char *exit_text(const struct program_exit *x, char *buf, size_t size)
{
	const char *name;

	if (x->code >= 0) {
		snprintf(buf, size, "exit code %d", x->code);
		return buf;
	}
	name = x->signo > 0 ? sigabbrev_np(x->signo) : NULL;
	if (name != NULL)
		snprintf(buf, size, "killed by SIG%s", name);
	else if (x->signo > 0)
		snprintf(buf, size, "killed by signal %d", x->signo);
	else
		snprintf(buf, size, "end not seen");
	return buf;
}

static const char *failure_text(const struct program_fsm *p, char *buf, size_t size)
{
	if (p->last_errno != 0)
		snprintf(buf, size, "start failed: %s: %s",
			 ipc_stage_name((enum ipc_stage)p->last_stage), strerror(p->last_errno));
	else
		snprintf(buf, size, "start refused: %s",
			 ipc_stage_name((enum ipc_stage)p->last_stage));
	return buf;
}

/* Why it is in this state; "" where the state says it all. */
static const char *why(const struct program_fsm *p, mtime now, char *buf, size_t size)
{
	char text[128];

	switch (p->state) {
	case PROGRAM_STATE_RUNNING:
		snprintf(buf, size, " (pid %d)", p->pid);
		return buf;
	case PROGRAM_STATE_BACKOFF:
		if (p->last_stage < IPC_STAGES_END)
			failure_text(p, text, sizeof(text));
		else
			exit_text(&p->last_exit, text, sizeof(text));
		if (p->policy.counted == 0) /* asked for */
			snprintf(buf, size, " (%s; starting again)", text);
		else
			snprintf(buf, size, " (%s; death %u, next start in %lld ms)", text,
				 p->policy.counted,
				 (long long)mtime_to_ms(mtime_max(0, p->next_start - now)));
		return buf;
	case PROGRAM_STATE_EXITED:
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		if (!p->has_exited)
			return "";
		snprintf(buf, size, " (%s)", exit_text(&p->last_exit, text, sizeof(text)));
		return buf;
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_STOPPING:
		return "";
	}
	return "";
}

/* The one place where a transition of a program is logged, once the whole step is known. */
static void log_transition(const struct engine_program *ep, const struct program_action *a,
			   enum program_state to, mtime now)
{
	const char *name = model_program_name(ep->engine->m, ep->row);
	char buf[192];

	log_notice("program %s: %s -> %s%s", name,
		   ep->adopting ? "found" : program_state_name(a->from), program_state_name(to),
		   to == ep->fsm.state ? why(&ep->fsm, now, buf, sizeof(buf)) : "");
}

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
		order_start(ep, now);
		break;
	case PROGRAM_ACT_SIGNAL:
		keeper_order_signal(e, ep->row, a->run, a->signo);
		break;
	case PROGRAM_ACT_KILL:
		keeper_order_kill(e, ep->row, a->run);
		break;
	case PROGRAM_ACT_STATE:
		log_transition(ep, a, led_to(&ep->fsm, acts, i), now);
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
	case PROGRAM_ACT_HOOK_KILL:
	case PROGRAM_ACT_FAILED:
		break;
	case PROGRAM_ACT_READY: /* both are seen in the group by the reconciliation below */
	case PROGRAM_ACT_ENDED:
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
	if (ep->service == MODEL_NONE)
		engine_check_ended(e);
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

void program_io_exited(struct engine *e, const struct ipc_exited *x)
{
	struct program_event ev = {
		.type = PROGRAM_EV_EXITED,
		.run = x->run,
		.exit = { .code = x->code, .signo = x->signo },
	};

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

/* ---- init ------------------------------------------------------------------------------------------------------ */

void program_io_start_local(struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_programs; i++) {
		struct program_event ev = { .type = PROGRAM_EV_START };

		if (e->programs[i].service != MODEL_NONE || !model_program(e->m, i)->autostart)
			continue;
		engine_program_event(e, i, &ev);
	}
}

void program_io_init(struct engine *e)
{
	struct program_config config;

	for (uint32_t i = 0; i < e->m->n_programs; i++) {
		struct engine_program *ep = &e->programs[i];

		config_of(e->m, i, &config);
		program_init(&ep->fsm, &config);
		ev_init(&ep->timer, on_timer);
		ep->timer.data = ep;
	}
}
