/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * The nerve between head and hands: FEED and FED in both directions at a steady beat, orders one
 * way, results the other.
 *
 * A start order whose result does not come is waited for as long as the keeper answers FED: only
 * the keeper knows whether something lives, and a second guess here could start a second one.  A
 * keeper that does not answer is keeper_silence()'s business.
 */
#define FEED_MAX MTIME_MS(250)
#define FEED_MIN MTIME_MS(10)
#define SILENCE_IDLE MTIME_SEC(2) /* of a keeper with nothing alive */

union keeper_msg {
	struct ipc_header h;
	struct ipc_welcome welcome;
	struct ipc_run run;
	struct ipc_baton baton;
	struct ipc_fed fed;
	struct ipc_spawned spawned;
	struct ipc_spawn_failed spawn_failed;
	struct ipc_exited exited;
	struct ipc_gone gone;
	struct ipc_quiesced quiesced;
	struct ipc_hook_done hook_done;
	struct ipc_reexec_failed reexec_failed;
	struct ipc_channel channel;
	struct ipc_notify notify;
	struct ipc_main main;
};

/* ---- what the keeper says -------------------------------------------------------------------- */

static bool valid_program(const struct engine *e, int32_t row)
{
	return row >= 0 && (uint32_t)row < e->m->n_programs;
}

static bool valid_service(const struct engine *e, int32_t row)
{
	return row >= 0 && (uint32_t)row < e->m->n_services;
}

static int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

static bool on_welcome(struct engine *e, const struct ipc_welcome *w, int *fds)
{
	e->welcome = *w;
	e->welcome.cgroup[sizeof(e->welcome.cgroup) - 1] = '\0';
	e->welcome.mount[sizeof(e->welcome.mount) - 1] = '\0';
	e->keeper_pid = w->keeper_pid;
	e->supd_started = w->started;
	e->engine_restarts = w->engine_restarts;
	for (size_t i = 0; i < 3; i++) {
		fd_close(&e->kill_fds[i]);
		e->kill_fds[i] = take_fd(&fds[i]);
	}
	return true;
}

static bool on_run(struct engine *e, const struct ipc_run *r)
{
	int service;

	if (!valid_program(e, r->program))
		return false;
	service = e->programs[r->program].service;
	if (service != MODEL_NONE) {
		struct engine_service *svc = &e->services[service];

		svc->found_alive = true;
		if (r->term > svc->found_term)
			svc->found_term = r->term;
	}
	program_io_run(e, r);
	return true;
}

static bool is_service_baton(const struct ipc_baton *b)
{
	struct service_baton baton;

	if (b->len != sizeof(baton))
		return false;
	memcpy(&baton, b->data, sizeof(baton));
	return baton.format == SERVICE_BATON_FORMAT && baton.state < SERVICE_STATES_END;
}

static bool on_baton(struct engine *e, const struct ipc_baton *b, size_t len)
{
	struct engine_service *svc;

	if (b->len > IPC_BATON_MAX || len < offsetof(struct ipc_baton, data) + b->len)
		return false;
	if (b->slot == IPC_BATON_NODE) {
		peer_io_from_baton(e, b->data, b->len);
		return true;
	}
	if (b->slot >= e->m->n_services || e->ready)
		return false;
	svc = &e->services[b->slot];
	svc->has_baton = is_service_baton(b);
	if (svc->has_baton)
		memcpy(&svc->baton, b->data, sizeof(svc->baton));
	else
		log_error("service %s: the record of the engine before cannot be read, "
			  "beginning anew",
			  model_service_name(e->m, b->slot));
	return true;
}

static bool on_channel(struct engine *e, const struct ipc_channel *c, int *fds)
{
	if ((c->role != IPC_ROLE_NET && c->role != IPC_ROLE_SCRIBE) || fds[0] < 0)
		return false;
	engine_life_channel(e, (enum ipc_role)c->role, take_fd(&fds[0]));
	return true;
}

static bool on_fed(struct engine *e, const struct ipc_fed *f)
{
	if (f->seq > e->feed_seq)
		return false;
	if (f->seq > e->fed_seq)
		e->fed_seq = f->seq;
	e->fed_at = mtime_now();
	return true;
}

static bool on_quiesced(struct engine *e, const struct ipc_quiesced *q)
{
	if (!valid_service(e, q->service))
		return false;
	service_io_quiesced(e, q);
	return true;
}

static bool on_hook_done(struct engine *e, const struct ipc_hook_done *d)
{
	if (d->kind >= IPC_HOOKS_END)
		return false;
	const bool of_service = d->kind == IPC_HOOK_FENCE || d->kind == IPC_HOOK_VIP;

	if (of_service ? !valid_service(e, d->row) : !valid_program(e, d->row))
		return false;
	hook_io_done(e, d);
	return true;
}

static bool on_reexec_failed(struct engine *e, const struct ipc_reexec_failed *f)
{
	char why[sizeof(f->why)];

	memcpy(why, f->why, sizeof(why));
	why[sizeof(why) - 1] = '\0';
	control_reexec_failed(e, why);
	return true;
}

static bool on_notify(struct engine *e, const struct ipc_notify *n, int *fds)
{
	if (!valid_program(e, n->program) || fds[0] < 0)
		return false;
	program_notify_open(e, (uint32_t)n->program, take_fd(&fds[0]));
	return true;
}

static bool on_report(struct engine *e, const union keeper_msg *m)
{
	/* Of one form up to here: the row stands where each type has it. */
	switch (m->h.type) {
	case IPC_SPAWNED:
		if (!valid_program(e, m->spawned.program))
			return false;
		program_io_spawned(e, &m->spawned);
		return true;
	case IPC_SPAWN_FAILED:
		if (!valid_program(e, m->spawn_failed.program) ||
		    m->spawn_failed.stage >= IPC_STAGES_END)
			return false;
		program_io_spawn_failed(e, &m->spawn_failed);
		return true;
	case IPC_MAIN:
		if (!valid_program(e, m->main.program))
			return false;
		program_io_main(e, &m->main);
		return true;
	case IPC_EXITED:
		if (!valid_program(e, m->exited.program))
			return false;
		program_io_exited(e, &m->exited);
		return true;
	case IPC_GONE:
		if (!valid_program(e, m->gone.program))
			return false;
		program_io_gone(e, &m->gone);
		return true;
	default:
		return false;
	}
}

static bool handle(struct engine *e, const union keeper_msg *m, size_t len, int *fds)
{
	switch (m->h.type) {
	case IPC_WELCOME:
		return len == sizeof(m->welcome) && on_welcome(e, &m->welcome, fds);
	case IPC_RUN:
		return len == sizeof(m->run) && on_run(e, &m->run);
	case IPC_BATON:
		return len >= offsetof(struct ipc_baton, data) && on_baton(e, &m->baton, len);
	case IPC_CHANNEL:
		return len == sizeof(m->channel) && on_channel(e, &m->channel, fds);
	case IPC_NOTIFY:
		return len == sizeof(m->notify) && on_notify(e, &m->notify, fds);
	case IPC_MAIN:
		return len == sizeof(m->main) && on_report(e, m);
	case IPC_READY:
		engine_life_ready(e);
		return true;
	case IPC_SHUTDOWN:
		engine_life_end(e);
		return true;
	case IPC_FED:
		return len == sizeof(m->fed) && on_fed(e, &m->fed);
	case IPC_SPAWNED:
		return len == sizeof(m->spawned) && on_report(e, m);
	case IPC_SPAWN_FAILED:
		return len == sizeof(m->spawn_failed) && on_report(e, m);
	case IPC_EXITED:
		return len == sizeof(m->exited) && on_report(e, m);
	case IPC_GONE:
		return len == sizeof(m->gone) && on_report(e, m);
	case IPC_QUIESCED:
		return len == sizeof(m->quiesced) && on_quiesced(e, &m->quiesced);
	case IPC_HOOK_DONE:
		return len == sizeof(m->hook_done) && on_hook_done(e, &m->hook_done);
	case IPC_REEXEC_FAILED:
		return len == sizeof(m->reexec_failed) && on_reexec_failed(e, &m->reexec_failed);
	default: /* an integer off the wire */
		return false;
	}
}

/*
 * The keeper's end is closed.  After DONE that is how supd ends.  Before it, the keeper is dying:
 * its pidfd says so in a moment, and if it does not, its silence will.
 */
static void on_end(struct engine *e)
{
	link_close(&e->keeper);
	if (e->done)
		engine_finish(e, 0);
}

/* One message; false: nothing more waits. */
static bool receive(struct engine *e)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds = 0;
	union keeper_msg m;
	ssize_t len;

	for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
		fds[i] = -1;
	len = channel_recv(&e->keeper.channel, &m, sizeof(m), fds, &n_fds);
	if (len == -EAGAIN)
		return false;
	if (len == -EBADMSG)
		return true;
	if (len <= 0) {
		on_end(e);
		return false;
	}
	if (!handle(e, &m, (size_t)len, fds))
		log_warn("keeper: message of type %u and %zd bytes makes no sense, ignoring",
			 m.h.type, len);
	for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
		fd_close(&fds[i]);
	return e->keeper.channel.fd >= 0;
}

void keeper_link_drain(struct engine *e)
{
	if (e->keeper.channel.fd < 0)
		return;
	while (!e->finished && receive(e))
		;
}

/* ---- the beat ---------------------------------------------------------------------------------------- */

static mtime feed_period(const struct engine *e)
{
	mtime quarter = e->m->supd.engine_timeout / 4;

	return mtime_max(FEED_MIN, mtime_min(FEED_MAX, quarter));
}

/*
 * The keeper is silent when an answer has been due for engine_timeout while we were awake: a tick
 * that came late by half of it says that we were not (SIGSTOP, a paused machine, no CPU), and then
 * the keeper may not have been either.
 */
static bool anything_runs(const struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (e->services[i].fsm.may_run)
			return true;
	for (uint32_t i = 0; i < e->m->n_programs; i++)
		if (!program_gone(&e->programs[i].fsm))
			return true;
	return false;
}

/*
 * How long the keeper may be silent.  Where nothing runs, nothing can outlive anything: ending supd
 * over a short stall would only cost the others their standby.
 */
static mtime silence_limit(const struct engine *e)
{
	mtime timeout = e->m->supd.engine_timeout;

	return anything_runs(e) ? timeout : mtime_max(timeout, SILENCE_IDLE);
}

static void on_feed_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	mtime timeout = e->m->supd.engine_timeout;
	mtime now = mtime_now();
	bool stalled = now - e->feed_due > timeout / 2;

	e->feed_due = now + feed_period(e);
	keeper_link_drain(e);
	if (e->finished)
		return;
	keeper_feed(e);
	if (stalled)
		e->feed_base = now;
	if (now - mtime_max(e->fed_at, e->feed_base) > silence_limit(e))
		keeper_silence(e, false);
}

static void on_keeper_dead(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct engine *e = w->data;

	ev_io_stop(loop, w);
	keeper_link_drain(e); /* what it said last: QUIESCED, or the end after DONE */
	if (e->finished)
		return;
	if (e->done)
		engine_finish(e, 0);
	else
		keeper_silence(e, true);
}

void keeper_link_open(struct engine *e, int fd)
{
	double period = (double)feed_period(e) / 1e9;
	mtime now = mtime_now();

	e->feed_due = now + feed_period(e);
	e->feed_base = now;
	link_open(e, &e->keeper, fd, keeper_link_drain);
	ev_timer_init(&e->feed_timer, on_feed_timer, period, period);
	e->feed_timer.data = e;
	ev_timer_start(e->loop, &e->feed_timer);
	ev_io_init(&e->keeper_watcher, on_keeper_dead, e->keeper_pidfd, EV_READ);
	e->keeper_watcher.data = e;
	if (e->keeper_pidfd >= 0)
		ev_io_start(e->loop, &e->keeper_watcher);
	keeper_feed(e);
}
