/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include "common/fd.h"
#include "common/log.h"

/*
 * How an engine comes into the world and leaves it.
 *
 *   WELCOME RUN... BATON... CHANNEL... READY     it may be the first, or replace one that died:
 *                                                what runs is adopted, and each service goes on
 *                                                from its baton
 *   SHUTDOWN ... DONE ... the channel's end      everything is handed over or stopped
 *
 * Nothing is decided before READY: an adopted program belongs to a service whose state is not known
 * yet, and net's or scribe's news would meet a machine that is about to be given another past.
 */

/* Something of the service may be alive. */
static bool runs(const struct engine_service *svc)
{
	return !group_gone(&svc->group);
}

static void resume(struct engine_service *svc)
{
	struct service_event ev = {
		.type = SERVICE_EV_RESUME,
		.baton = &svc->baton,
		.running = runs(svc),
	};

	log_notice("service %s: going on as %s, term %llu%s",
		   model_service_name(svc->engine->m, svc->row),
		   service_state_name((enum service_state)svc->baton.state),
		   (unsigned long long)svc->baton.term, ev.running ? ", programs running" : "");
	engine_service_event(svc->engine, svc->row, &ev);
}

/*
 * Programs without a record of who ordered them: nobody can say whether they may still run.  The
 * scribe's state brings the machine up afterwards, with a term above theirs.
 */
static void clear_strays(struct engine_service *svc)
{
	struct engine *e = svc->engine;

	log_error("service %s: programs of term %llu run without a record, killing them",
		  model_service_name(e->m, svc->row), (unsigned long long)svc->found_term);
	keeper_order_quiesce(e, svc->row, svc->found_term);
	for (unsigned i = 0; i < svc->group.n; i++) {
		struct program_event ev = { .type = PROGRAM_EV_KILL };

		engine_program_event(e, svc->group_rows[i], &ev);
	}
}

/* Deaths among the adopted, which nobody has told the service about. */
static void tell_deaths(struct engine_service *svc)
{
	for (unsigned i = 0; i < svc->group.n; i++) {
		struct service_event ev = { .type = SERVICE_EV_PROGRAM_DIED };

		if (svc->group.members[i].program->state != PROGRAM_STATE_BACKOFF)
			continue;
		engine_service_event(svc->engine, svc->row, &ev);
		return;
	}
}

static void bring_up(struct engine_service *svc)
{
	/* One of an engine that had not read its state says nothing: LOADED comes from the scribe. */
	bool told = svc->has_baton && svc->baton.state != SERVICE_STATE_DOWN;

	if (svc->has_baton)
		resume(svc);
	if (told) {
		tell_deaths(svc);
	} else if (svc->found_alive) {
		clear_strays(svc);
	}
}

static void open_role(struct engine *e, enum ipc_role role, int fd)
{
	switch (role) {
	case IPC_ROLE_NET:
		net_link_open(e, fd);
		break;
	case IPC_ROLE_SCRIBE:
		scribe_link_open(e, fd);
		break;
	}
}

void engine_life_channel(struct engine *e, enum ipc_role role, int fd)
{
	if (e->ready) {
		open_role(e, role, fd);
		return;
	}
	fd_close(&e->early_fds[role]);
	e->early_fds[role] = fd;
}

static void open_early(struct engine *e, enum ipc_role role)
{
	int fd = e->early_fds[role];

	e->early_fds[role] = -1;
	if (fd >= 0)
		open_role(e, role, fd);
}

void engine_life_ready(struct engine *e)
{
	if (e->ready)
		return;
	e->ready = true;
	/* Ways out first, for what the services have to say; nothing is read from them here. */
	open_early(e, IPC_ROLE_NET);
	for (uint32_t i = 0; i < e->m->n_services; i++)
		bring_up(&e->services[i]);
	open_early(e, IPC_ROLE_SCRIBE);
	if (e->ending)
		engine_life_end(e);
	else
		program_io_start_local(e);
}

/* ---- the end ------------------------------------------------------------------------------------- */

void engine_life_end(struct engine *e)
{
	e->ending = true;
	if (!e->ready)
		return;
	log_notice("ending: handing over what is active here");
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct service_event ev = { .type = SERVICE_EV_COMMAND,
					    .command = SERVICE_CMD_END };

		engine_service_event(e, i, &ev);
	}
	program_io_stop_local(e);
}

static bool local_program_ended(const struct engine_program *ep)
{
	return ep->service != MODEL_NONE || ep->fsm.unkillable ||
	       (!ep->fsm.wanted && program_gone(&ep->fsm));
}

void engine_check_ended(struct engine *e)
{
	if (!e->ending || !e->ready || e->done || e->finished)
		return;
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		if (!e->services[i].ended)
			return;
	}
	for (uint32_t i = 0; i < e->m->n_programs; i++) {
		if (!local_program_ended(&e->programs[i]))
			return;
	}
	log_notice("everything is released, done");
	peer_io_hello_now(e); /* or a standby that ended would be handed the service */
	keeper_send_done(e);
}

void engine_finish(struct engine *e, int status)
{
	if (e->finished)
		return;
	e->finished = true;
	e->status = status;
	ev_break(e->loop, EVBREAK_ALL);
}
