/* SPDX-License-Identifier: MIT */
#include "supd/keeper/hook.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/process.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/spawn_child.h"
#include "supd/keeper/state.h"

/*
 *   HOOK --> RUNS --ended: its tree is killed, then it is reaped--> ENDED --empty--> NONE, HOOK_DONE
 *    |         |                                                      ^
 *    |         +--time-out: its tree is killed, HOOK_DONE(timed_out)--+
 *    +-- refused: HOOK_DONE, not ok
 *
 * A service has one at a time.  The answer of one that ended by itself comes when nothing of it is
 * left, so that the next order is not refused for that; the answer of one that was killed at its
 * time-out comes at once: dead is dead, and what does not go away (a stuck NFS server) holds up the
 * next order alone.
 *
 * The leaves stand beside those of the services: what kills a service does not kill the command
 * that its next start waits for.  The engine's kill of everything (silence) does.
 */

/* ---- telling the engine ----------------------------------------------------------------------- */

static void tell_refused(struct keeper *k, const struct ipc_hook *o)
{
	const struct ipc_hook_done m = { .h = { IPC_HOOK_DONE, k->generation },
					 .order = o->order,
					 .service = o->service,
					 .code = -1 };

	engine_send(k, &m, sizeof(m));
}

/* Once; and never to an engine that did not ask. */
static void tell_done(struct hook *h, bool timed_out)
{
	const struct ipc_hook_done m = { .h = { IPC_HOOK_DONE, h->k->generation },
					 .order = h->order,
					 .service = (int32_t)h->service,
					 .code = h->code,
					 .signo = h->signo,
					 .ok = !timed_out && !h->failed && h->code == 0,
					 .timed_out = timed_out };

	if (!h->answered && h->generation == h->k->generation)
		engine_send(h->k, &m, sizeof(m));
	h->answered = true;
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* A process group is all that there is without cgroup v2; its number is its own until the reaping. */
static void kill_tree(struct hook *h)
{
	int r = cgroup_leaf_kill(&h->leaf);

	if (r < 0)
		log_error("fence_command of service %s: cannot kill its cgroup: %s, only its main "
			  "process is killed",
			  model_service_name(h->k->m, h->service), strerror(-r));
	if (h->state != HOOK_RUNS)
		return;
	if (h->leaf.dir_fd < 0)
		kill(-h->pid, SIGKILL);
	process_signal(h->pidfd, SIGKILL);
}

static bool is_empty(const struct hook *h)
{
	return h->leaf.dir_fd < 0 || cgroup_populated(h->leaf.events_fd) == 0;
}

static void check_gone(struct hook *h)
{
	if (h->state != HOOK_ENDED || !is_empty(h))
		return;
	ev_timer_stop(h->k->loop, &h->timeout);
	cgroup_leaf_drop(&h->leaf);
	h->state = HOOK_NONE;
	tell_done(h, false);
	ending_poll(h->k);
}

/* Read what there is; at EOF the child has left our memory. */
static void read_exec(struct hook *h)
{
	struct spawn_status status;
	ssize_t n;

	if (h->exec_fd < 0)
		return;
	while ((n = read(h->exec_fd, &status, sizeof(status))) == sizeof(status)) {
		h->failed = true;
		log_error("fence_command of service %s: not started: %s%s%s",
			  model_service_name(h->k->m, h->service),
			  ipc_stage_name((enum ipc_stage)status.stage), status.error ? ": " : "",
			  status.error ? strerror(status.error) : "");
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ev_io_stop(h->k->loop, &h->exec);
	fd_close(&h->exec_fd);
	spawn_free_hook_block(h);
	if (!h->failed)
		spawn_restore_oom(h->k, h->pid);
}

static void on_exec(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	read_exec(w->data);
}

static void on_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct hook *h = w->data;
	int code, signo;

	(void)revents;
	ev_io_stop(loop, w); /* where it cannot be reaped: hook_poll() goes on, see process.h */
	kill_tree(h);
	if (!process_reap(h->pidfd, &code, &signo))
		return;
	read_exec(h); /* dead: EOF is there */
	fd_close(&h->pidfd);
	h->code = h->failed ? -1 : code;
	h->signo = signo;
	h->state = HOOK_ENDED;
	check_gone(h);
}

/* Ended by itself, it has its own result; what it left behind may be stuck. */
static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct hook *h = w->data;

	(void)loop;
	(void)revents;
	kill_tree(h);
	tell_done(h, h->state == HOOK_RUNS);
}

/* ---- starting ------------------------------------------------------------------------------------ */

static void watch(struct hook *h)
{
	struct ev_loop *loop = h->k->loop;
	mtime timeout = model_service(h->k->m, h->service)->fence_command_timeout;

	ev_io_init(&h->exec, on_exec, h->exec_fd, EV_READ);
	ev_io_init(&h->death, on_death, h->pidfd, EV_READ);
	ev_now_update(loop);
	ev_timer_init(&h->timeout, on_timeout, (double)timeout / 1e9, 0.);
	h->exec.data = h->death.data = h->timeout.data = h;
	ev_io_start(loop, &h->exec);
	ev_io_start(loop, &h->death);
	ev_timer_start(loop, &h->timeout);
}

/* Why an order is void, or NULL. */
static const char *refusal(const struct keeper *k, const struct hook *h, const struct ipc_hook *o)
{
	if (k->ending != ENDING_NOT)
		return "supd is ending";
	if (model_service(k->m, h->service)->fence_argv.count == 0)
		return "there is none";
	if (h->state != HOOK_NONE)
		return "the last one is not gone";
	if (o->valid_until <= mtime_now())
		return "the order came too late";
	return NULL;
}

static int launch(struct hook *h, const struct ipc_hook *o)
{
	struct keeper *k = h->k;
	int r = 0;

	if (k->has_cgroup)
		r = cgroup_leaf_make(k->hooks_fd, "fence", &k->hook_n, &h->leaf);
	if (r == 0)
		r = spawn_hook(k, h, o);
	if (r < 0)
		cgroup_leaf_drop(&h->leaf);
	return r;
}

void hook_start(struct keeper *k, const struct ipc_hook *order)
{
	struct hook *h = &k->services[order->service].hook;
	const char *why = refusal(k, h, order);
	int r = why ? 0 : launch(h, order);

	if (why || r < 0) {
		log_error("fence_command of service %s: not started: %s",
			  model_service_name(k->m, h->service), why ? why : strerror(-r));
		tell_refused(k, order);
		return;
	}
	h->state = HOOK_RUNS;
	h->order = order->order;
	h->generation = k->generation;
	h->answered = h->failed = false;
	h->code = -1;
	h->signo = 0;
	watch(h);
}

/* ---- of all ------------------------------------------------------------------------------------------ */

void hook_kill_all(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_services; i++) {
		struct hook *h = &k->services[i].hook;

		if (h->state == HOOK_NONE)
			continue;
		h->answered = true;
		kill_tree(h);
	}
}

void hook_poll(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_services; i++) {
		struct hook *h = &k->services[i].hook;

		if (h->state == HOOK_RUNS)
			ev_io_start(k->loop, &h->death);
		check_gone(h);
	}
}

bool hook_any(const struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_services; i++)
		if (k->services[i].hook.state != HOOK_NONE)
			return true;
	return false;
}

bool hook_owns(const struct keeper *k, pid_t pid)
{
	for (uint32_t i = 0; i < k->m->n_services; i++)
		if (k->services[i].hook.state == HOOK_RUNS && k->services[i].hook.pid == pid)
			return true;
	return false;
}
