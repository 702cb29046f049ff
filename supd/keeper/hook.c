/* SPDX-License-Identifier: MIT */
#include "supd/keeper/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/process.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/spawn_child.h"
#include "supd/keeper/state.h"
#include "supd/keeper/streams.h"

/*
 *   HOOK --> [WAITS: no guard yet] --> RUNS --its tree is killed, then it is reaped--> ENDED --> freed
 *    |              |                    |                                        empty: HOOK_DONE
 *    |              |                    +--time-out: its tree is killed, HOOK_DONE(timed_out)
 *    +--------------+-- refused: HOOK_DONE, not ok
 *
 * One at a time of each kind and row.  The answer of one that ended by itself comes when nothing of
 * it is left, so that the next order is not refused for that; the answer of one that was killed at
 * its time-out comes at once: dead is dead, and what does not go away (a stuck NFS server) holds up
 * the next order alone.
 *
 * The leaves of a service's own stand beside those of the services: what kills a service does not
 * kill the command that its next start waits for.  Those of a program's stand within its service's:
 * one write, and one guard, end them with it.  The engine's kill of everything (silence) ends all.
 */

/* ---- words ---------------------------------------------------------------------------------------- */

/* The service whose end is its end too, or NULL. */
static struct service *service_of(struct keeper *k, enum ipc_hook_kind kind, uint32_t row)
{
	int service = hook_is_of_service(kind) ? MODEL_NONE : k->programs[row].service;

	return service == MODEL_NONE ? NULL : &k->services[service];
}

static void complain(struct keeper *k, enum ipc_hook_kind kind, uint32_t row, const char *what)
{
	if (hook_is_of_service(kind))
		log_error("%s of service %s: %s", ipc_hook_name(kind), model_service_name(k->m, row),
			  what);
	else if (!hook_is_probe(kind))
		log_error("%s of program %s: %s", ipc_hook_name(kind),
			  model_program_name(k->m, row), what);
	else /* the engine judges, and says so; it may ask every second */
		log_debug("%s of program %s: %s", ipc_hook_name(kind),
			  model_program_name(k->m, row), what);
}

/* ---- telling the engine ----------------------------------------------------------------------- */

static void refuse(struct keeper *k, const struct ipc_hook *o, const char *why)
{
	const struct ipc_hook_done m = { .h = { IPC_HOOK_DONE, k->generation },
					 .order = o->order,
					 .kind = o->kind,
					 .row = o->row,
					 .code = -1 };
	char text[128];

	snprintf(text, sizeof(text), "not started: %s", why);
	complain(k, (enum ipc_hook_kind)o->kind, (uint32_t)o->row, text);
	if (o->h.generation == k->generation)
		engine_send(k, &m, sizeof(m));
}

/* Once; and never to an engine that did not ask. */
static void tell_done(struct hook *h, bool timed_out)
{
	const struct ipc_hook_done m = { .h = { IPC_HOOK_DONE, h->k->generation },
					 .order = h->order.order,
					 .kind = h->order.kind,
					 .row = h->order.row,
					 .code = h->code,
					 .signo = h->signo,
					 .ok = !timed_out && !h->failed && h->code == 0,
					 .timed_out = timed_out };

	if (!h->answered && h->order.h.generation == h->k->generation)
		engine_send(h->k, &m, sizeof(m));
	h->answered = true;
}

/* ---- the list ----------------------------------------------------------------------------------- */

static struct hook *find(struct keeper *k, uint32_t kind, int32_t row)
{
	for (struct hook *h = k->hooks; h; h = h->next)
		if (h->order.kind == kind && h->order.row == row)
			return h;
	return NULL;
}

static void drop(struct hook *h)
{
	struct keeper *k = h->k;
	struct hook **at = &k->hooks;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	ev_io_stop(k->loop, &h->death);
	ev_io_stop(k->loop, &h->exec);
	ev_timer_stop(k->loop, &h->timeout);
	fd_close(&h->pidfd);
	fd_close(&h->exec_fd);
	spawn_free_block(&h->block, h->block_size);
	cgroup_leaf_drop(&h->leaf);
	free(h);
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* A process group is all that there is without cgroup v2; its number is its own until the reaping. */
static void kill_tree(struct hook *h)
{
	int r = cgroup_leaf_kill(&h->leaf);

	if (r < 0)
		log_error("%s: cannot kill its cgroup: %s, only its main process is killed",
			  ipc_hook_name((enum ipc_hook_kind)h->order.kind), strerror(-r));
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

/* The hook may be freed by this. */
static void check_gone(struct hook *h)
{
	struct keeper *k = h->k;

	if (h->state != HOOK_ENDED || !is_empty(h))
		return;
	if (h->order.kind == IPC_HOOK_POST_STOP && !h->answered)
		k->programs[h->order.row].post_owed = false;
	cgroup_leaf_drop(&h->leaf); /* before it is told: nothing of it is left here then */
	tell_done(h, false);
	drop(h);
	ending_poll(k);
}

/* Whose environment it has; NULL: root's. */
static const struct model_program *program_of(const struct hook *h)
{
	if (hook_is_of_service((enum ipc_hook_kind)h->order.kind))
		return NULL;
	return model_program(h->k->m, (uint32_t)h->order.row);
}

/* Read what there is; at EOF the child has left our memory. */
static void read_exec(struct hook *h)
{
	struct spawn_status status;
	char text[128];
	ssize_t n;

	if (h->exec_fd < 0)
		return;
	while ((n = read(h->exec_fd, &status, sizeof(status))) == sizeof(status)) {
		h->failed = true;
		snprintf(text, sizeof(text), "not started: %s%s%s",
			 ipc_stage_name((enum ipc_stage)status.stage), status.error ? ": " : "",
			 status.error ? strerror(status.error) : "");
		complain(h->k, (enum ipc_hook_kind)h->order.kind, (uint32_t)h->order.row, text);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ev_io_stop(h->k->loop, &h->exec);
	fd_close(&h->exec_fd);
	spawn_free_block(&h->block, h->block_size);
	if (!h->failed)
		spawn_set_oom(h->k, program_of(h), h->pid);
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

	if (h->order.kind == IPC_HOOK_POST_STOP)
		h->k->programs[h->order.row].post_owed = false;
	(void)loop;
	(void)revents;
	kill_tree(h);
	tell_done(h, h->state == HOOK_RUNS);
}

/* ---- starting ------------------------------------------------------------------------------------ */

static void watch(struct hook *h)
{
	const struct ipc_hook *o = &h->order;
	mtime timeout = hook_timeout(h->k->m, (enum ipc_hook_kind)o->kind, (uint32_t)o->row);
	struct ev_loop *loop = h->k->loop;

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
static const char *refusal(struct keeper *k, const struct ipc_hook *o)
{
	const struct service *s = service_of(k, (enum ipc_hook_kind)o->kind, (uint32_t)o->row);

	if (k->ending != ENDING_NOT)
		return "supd is ending";
	if (o->h.generation != k->generation) /* it waited */
		return "its engine is gone";
	if (o->valid_until <= mtime_now())
		return "the order came too late";
	if (s && s->kill_at <= mtime_now())
		return "the service's deadline has passed";
	if (s && o->term <= s->term_quiesced)
		return "its term is over";
	return NULL;
}

static int make_leaf(struct hook *h)
{
	const struct ipc_hook *o = &h->order;
	enum ipc_hook_kind kind = (enum ipc_hook_kind)o->kind;
	struct keeper *k = h->k;
	struct service *s = service_of(k, kind, (uint32_t)o->row);
	char name[CGROUP_NAME_MAX];

	if (!k->has_cgroup)
		return 0;
	if (hook_is_of_service(kind))
		return cgroup_leaf_make(k->hooks_fd, kind == IPC_HOOK_VIP ? "vip" : "fence", &k->hook_n, &h->leaf);
	snprintf(name, sizeof(name), "%s.hook", model_program_name(k->m, (uint32_t)o->row));
	return cgroup_leaf_make(s ? s->dir_fd : k->node_fd, name, &k->hook_n, &h->leaf);
}

static int launch(struct hook *h, struct guard *g)
{
	enum ipc_hook_kind kind = (enum ipc_hook_kind)h->order.kind;
	int r = 0;

	if (!hook_is_of_service(kind) && !hook_is_probe(kind))
		r = streams_open(h->k, &h->k->programs[h->order.row]);
	if (r == 0)
		r = make_leaf(h);
	if (r == 0)
		r = spawn_hook(h->k, h, g);
	if (r < 0)
		return r;
	if (g)
		g->used = true;
	h->state = HOOK_RUNS;
	watch(h);
	return 0;
}

/* Refused, started, or left to wait for a guard; the hook may be freed by this. */
static void attempt(struct hook *h)
{
	struct keeper *k = h->k;
	struct service *s = service_of(k, (enum ipc_hook_kind)h->order.kind, (uint32_t)h->order.row);
	const char *why = refusal(k, &h->order);
	int r = 0;

	if (!why && s && s->namespaced && !guard_ready(s)) {
		guard_want(k, s);
		return;
	}
	if (!why)
		r = launch(h, s ? guard_ready(s) : NULL);
	if (!why && r == 0)
		return;
	if (r == -ENOMEM && s && guard_ready(s) && guard_is_dying(guard_ready(s))) {
		guard_retire(k, s); /* wait for the next one */
		cgroup_leaf_drop(&h->leaf);
		return;
	}
	refuse(k, &h->order, why ? why : strerror(-r));
	drop(h);
}

static const char *refusal_at_once(struct keeper *k, const struct ipc_hook *o)
{
	if (hook_argv(k->m, (enum ipc_hook_kind)o->kind, (uint32_t)o->row).count == 0)
		return "there is none";
	if (find(k, o->kind, o->row))
		return "the last one is not gone";
	return refusal(k, o);
}

void hook_start(struct keeper *k, const struct ipc_hook *order)
{
	const char *why = refusal_at_once(k, order);
	struct hook *h = why ? NULL : calloc(1, sizeof(*h));

	if (!h) {
		refuse(k, order, why ? why : strerror(ENOMEM));
		return;
	}
	*h = (struct hook){ .next = k->hooks, .k = k, .order = *order, .state = HOOK_WAITS,
			    .pidfd = -1, .exec_fd = -1, .code = -1, .leaf = CGROUP_LEAF_NONE };
	ev_init(&h->death, on_death);
	ev_init(&h->exec, on_exec);
	ev_init(&h->timeout, on_timeout);
	k->hooks = h;
	attempt(h);
}

void hook_start_waiting(struct keeper *k, uint32_t service)
{
	struct hook *next;

	for (struct hook *h = k->hooks; h; h = next) {
		const struct service *s = service_of(k, (enum ipc_hook_kind)h->order.kind,
						     (uint32_t)h->order.row);

		next = h->next;
		if (h->state == HOOK_WAITS && s && s->row == service)
			attempt(h);
	}
}

/* ---- killing ------------------------------------------------------------------------------------- */

/* One that waits has nothing to kill, and is over; the hook may be freed by this. */
static void end(struct hook *h, const char *why)
{
	if (h->state == HOOK_WAITS) {
		if (!h->answered)
			refuse(h->k, &h->order, why);
		drop(h);
		return;
	}
	kill_tree(h);
	h->killed = true;
}

void hook_kill(struct keeper *k, uint64_t order)
{
	for (struct hook *h = k->hooks; h; h = h->next)
		if (h->order.order == order) {
			end(h, "not wanted any more");
			return;
		}
}

static bool belongs_to(struct keeper *k, const struct hook *h, uint32_t service)
{
	const struct service *s = service_of(k, (enum ipc_hook_kind)h->order.kind,
					     (uint32_t)h->order.row);

	return s && s->row == service;
}

void hook_kill_service(struct keeper *k, uint32_t service)
{
	struct hook *next;

	for (struct hook *h = k->hooks; h; h = next) {
		next = h->next;
		if (belongs_to(k, h, service))
			end(h, "its service was killed");
	}
}

void hook_kill_all(struct keeper *k)
{
	struct hook *next;

	for (struct hook *h = k->hooks; h; h = next) {
		next = h->next;
		h->answered = true;
		end(h, "its engine is gone");
	}
}

/* ---- of all ------------------------------------------------------------------------------------------ */

void hook_poll(struct keeper *k)
{
	struct hook *next;

	for (struct hook *h = k->hooks; h; h = next) {
		next = h->next;
		if (h->state == HOOK_RUNS)
			ev_io_start(k->loop, &h->death);
		else if (h->state == HOOK_WAITS)
			attempt(h);
		else
			check_gone(h);
	}
}

bool hook_any(const struct keeper *k)
{
	return k->hooks != NULL;
}

bool hook_any_but_probes(const struct keeper *k)
{
	for (const struct hook *h = k->hooks; h; h = h->next)
		if (!hook_is_probe((enum ipc_hook_kind)h->order.kind))
			return true;
	return false;
}

bool hook_any_of_service(const struct keeper *k, uint32_t service, bool alive)
{
	for (const struct hook *h = k->hooks; h; h = h->next) {
		bool of_program = !hook_is_of_service((enum ipc_hook_kind)h->order.kind);

		if (of_program && k->programs[h->order.row].service == (int)service &&
		    !(alive && h->killed))
			return true;
	}
	return false;
}

bool hook_owns(const struct keeper *k, pid_t pid)
{
	for (const struct hook *h = k->hooks; h; h = h->next)
		if (h->state == HOOK_RUNS && h->pid == pid)
			return true;
	return false;
}
