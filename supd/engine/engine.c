/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/engine/confine.h"

#define DRAIN_AGAIN MTIME_MS(1)

/*
 * The engine's process: builds the parts, runs the one loop, and takes the parts down.
 *
 * Order in one turn of the loop, by watcher priority: sockets first (+1), timers (0), the ticks of
 * the services (-1), the control socket last (-2).  After a stall everything is due at once, and
 * then what was said in the meantime must be heard before an expiry is believed.
 */

/* ---- building ------------------------------------------------------------------------------------ */

static void init_service(struct engine *e, uint32_t row)
{
	struct engine_service *svc = &e->services[row];

	svc->engine = e;
	svc->row = row;
	svc->vrrp_fd = -1;
	svc->wires[0].fd = svc->wires[1].fd = -1;
	svc->kill_sent = MTIME_NEVER;
	group_init(&svc->group, svc->members);
}

/* The members of a service in the order of the file, which is that of their rows. */
static int init_program(struct engine *e, uint32_t row)
{
	const struct model_program *mp = model_program(e->m, row);
	struct engine_program *ep = &e->programs[row];
	bool local = mp->service == MODEL_NONE;
	struct program_group *g = local ? &e->local : &e->services[mp->service].group;
	uint32_t *rows = local ? e->local_rows : e->services[mp->service].group_rows;

	ep->engine = e;
	ep->row = row;
	ep->service = mp->service;
	ep->notify.fd = -1;
	if (!local && g->n >= GROUP_MEMBERS_MAX)
		return -E2BIG;
	ep->member = g->n++;
	rows[ep->member] = row;
	g->members[ep->member] = (struct group_member){
		.program = &ep->fsm,
		.autostart = mp->autostart,
	};
	return 0;
}

/* Both are members of one group: config/validate_requires.c. */
static int init_requires(struct engine *e, uint32_t row)
{
	const struct model_program *mp = model_program(e->m, row);
	struct program_group *g = mp->service == MODEL_NONE ? &e->local
							     : &e->services[mp->service].group;
	int r = 0;

	for (uint32_t i = 0; i < mp->n_requires && r == 0; i++)
		r = group_require(g, e->programs[row].member,
				  e->programs[mp->requires[i]].member);
	return r;
}

static int init_rows(struct engine *e)
{
	const struct model *m = e->m;
	struct group_member *members = calloc(m->n_programs + 1, sizeof(members[0]));
	int r = 0;

	group_init(&e->local, members);
	e->local_rows = calloc(m->n_programs + 1, sizeof(e->local_rows[0]));
	/* One more than needed: calloc(0) may return NULL. */
	e->services = calloc(m->n_services + 1, sizeof(e->services[0]));
	e->programs = calloc(m->n_programs + 1, sizeof(e->programs[0]));
	if (e->services == NULL || e->programs == NULL || members == NULL ||
	    e->local_rows == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->n_services; i++)
		init_service(e, i);
	for (uint32_t i = 0; i < m->n_programs && r == 0; i++)
		r = init_program(e, i);
	for (uint32_t i = 0; i < m->n_programs && r == 0; i++)
		r = init_requires(e, i);
	return r;
}

static void init_fields(struct engine *e, const struct engine_args *args)
{
	e->m = args->m;
	e->generation = args->generation;
	e->keeper_pidfd = args->keeper_pidfd;
	/* Never one that an engine before used: the keeper may still hold one of its orders. */
	e->next_order = ((uint64_t)args->generation << 32) + 1;
	e->keeper.channel.fd = -1;
	e->net.channel.fd = -1;
	e->scribe.channel.fd = -1;
	e->keeper.engine = e->net.engine = e->scribe.engine = e;
	for (size_t i = 0; i < 3; i++)
		e->kill_fds[i] = -1;
	e->early_fds[IPC_ROLE_NET] = -1;
	e->early_fds[IPC_ROLE_SCRIBE] = -1;
	e->fed_at = mtime_now();
}

static void engine_free(struct engine *e)
{
	if (e->control != NULL)
		control_close(e);
	link_close(&e->keeper);
	link_close(&e->net);
	link_close(&e->scribe);
	for (size_t i = 0; i < 3; i++)
		fd_close(&e->kill_fds[i]);
	fd_close(&e->early_fds[IPC_ROLE_NET]);
	fd_close(&e->early_fds[IPC_ROLE_SCRIBE]);
	engine_queue_fini(e);
	if (e->loop != NULL)
		ev_loop_destroy(e->loop);
	free(e->services);
	for (uint32_t i = 0; e->programs != NULL && i < e->m->n_programs; i++)
		fd_close(&e->programs[i].notify.fd);
	free(e->programs);
	free(e->local.members);
	free(e->local_rows);
	free(e);
}

static int engine_new(const struct engine_args *args, struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (e == NULL)
		return -ENOMEM;
	init_fields(e, args);
	e->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	r = e->loop == NULL ? -ENOMEM : engine_queue_init(e);
	if (r == 0)
		r = init_rows(e);
	if (r < 0) {
		engine_free(e);
		return r;
	}
	program_io_init(e);
	probe_init(e);
	peer_io_init(e);
	service_io_init(e);
	*ret = e;
	return 0;
}

/* ---- running ---------------------------------------------------------------------------------------- */

/* The keeper decides when supd ends; a terminal's Ctrl-C goes to every process of it. */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

static void confine_or_say(void)
{
	int r = confine();

	if (r == -ENOSYS)
		log_info("built without libseccomp, going on without a system call filter");
	else if (r < 0)
		log_warn("system call filter: %s, going on without it", strerror(-r));
}

int engine_run(const struct engine_args *args)
{
	struct engine *e;
	int r, status;

	ignore_signals();
	r = engine_new(args, &e);
	if (r < 0) {
		log_error("engine: %s", strerror(-r));
		return 1;
	}
	r = control_open(e, args->control_fd);
	if (r < 0)
		log_error("control socket: %s, going on without it", strerror(-r));
	keeper_link_open(e, args->keeper_fd);
	confine_or_say();
	if (!e->finished)
		ev_run(e->loop, 0);
	status = e->status;
	engine_free(e);
	return status;
}

void engine_drain(struct engine *e)
{
	mtime now = mtime_now();

	/* With many services one timer follows another, and this has just been done. */
	if (e->drained_at != 0 && now - e->drained_at < DRAIN_AGAIN)
		return;
	e->drained_at = now;
	keeper_link_drain(e);
	peer_io_drain(e);
	for (uint32_t i = 0; i < e->m->n_services && !e->finished; i++) {
		vrrp_io_drain(e, i);
		probe_drain(e, i);
	}
	net_link_drain(e);
	scribe_link_drain(e);
}
