/* SPDX-License-Identifier: MIT */
#include "supd/keeper/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/process.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/service.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/spawn_child.h"
#include "supd/keeper/state.h"
#include "supd/keeper/streams.h"

/*
 *   START --> [pending: no guard yet] --> STARTING --exec pipe--> UP --------> ENDED --> NONE
 *                 |                          |  EOF: SPAWNED      |  EXITED     |  GONE
 *                 |                          |                    |             |
 *            SPAWN_FAILED                    +--status--> FAILED --reaped--> NONE
 *                                                         SPAWN_FAILED
 *
 * The exec pipe is CLOEXEC in the child: EOF means exec, or death before it.  Which of the two is
 * not told apart: killed a moment before or after exec is the same death (SPAWNED, then EXITED).
 *
 * A program has one run at a time: the next START is refused until GONE, so nothing is ever
 * started into, or beside, what is left of the last one.
 */

#define REFILL_STEP 16 /* leaves at a time: 0.1 ms each */

static struct service *service_of(struct keeper *k, const struct program *p)
{
	return p->service == MODEL_NONE ? NULL : &k->services[p->service];
}

static int64_t pid_or_0(const struct run *r)
{
	return r->state == RUN_ENDED ? 0 : r->pid;
}

/* ---- telling the engine ----------------------------------------------------------------------- */

static void tell_failed(struct keeper *k, const struct program *p, uint64_t order, uint32_t stage,
			int error)
{
	const struct ipc_spawn_failed m = { .h = { IPC_SPAWN_FAILED, k->generation },
					    .order = order,
					    .program = (int32_t)p->row,
					    .stage = stage,
					    .error = error };

	log_info("program %s: not started: %s%s%s", model_program_name(k->m, p->row),
		 ipc_stage_name(stage), error ? ": " : "", error ? strerror(error) : "");
	engine_send(k, &m, sizeof(m));
}

static void tell_spawned(struct keeper *k, struct program *p)
{
	const struct ipc_spawned m = { .h = { IPC_SPAWNED, k->generation },
				       .order = p->run.order,
				       .program = (int32_t)p->row,
				       .run = p->run.number,
				       .pid = p->run.pid,
				       .at = mtime_now() };

	if (!p->run.announced)
		engine_send(k, &m, sizeof(m));
	p->run.announced = true;
}

static void tell_exited(struct keeper *k, const struct program *p, int code, int signo)
{
	const struct ipc_exited m = { .h = { IPC_EXITED, k->generation },
				      .program = (int32_t)p->row,
				      .run = p->run.number,
				      .code = code,
				      .signo = signo,
				      .killed_by_deadline = p->run.killed_by_deadline };

	engine_send(k, &m, sizeof(m));
}

static void tell_gone(struct keeper *k, const struct program *p)
{
	const struct ipc_gone m = { .h = { IPC_GONE, k->generation },
				    .program = (int32_t)p->row,
				    .run = p->run.number };

	engine_send(k, &m, sizeof(m));
}

/* A run that is still on its way to exec is told too: if that fails, it "exits" with 127. */
void run_tell_all(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct run *r = &k->programs[i].run;
		const struct ipc_run m = { .h = { IPC_RUN, k->generation },
					   .program = (int32_t)i,
					   .run = r->number,
					   .term = r->term,
					   .pid = (pid_t)pid_or_0(r),
					   .started = r->started };

		if (r->state == RUN_NONE)
			continue;
		engine_send(k, &m, sizeof(m));
		r->announced = true;
	}
}

/* ---- leaves ------------------------------------------------------------------------------------ */

static int make_leaf(struct keeper *k, struct program *p)
{
	struct service *s = service_of(k, p);
	char path[64];
	int r;

	if (!k->has_cgroup || p->next.dir_fd >= 0)
		return 0;
	r = cgroup_leaf_make(s ? s->dir_fd : k->node_fd, model_program_name(k->m, p->row),
			     &p->leaf_n, &p->next);
	if (r < 0)
		return r;
	/* Where the watch cannot be had (fs.inotify limits), run_poll() finds the end. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p->next.events_fd);
	p->next.wd = inotify_add_watch(k->inotify_fd, path, IN_MODIFY);
	return 0;
}

static void drop_leaf(struct keeper *k, struct cgroup_leaf *l)
{
	if (l->wd >= 0)
		inotify_rm_watch(k->inotify_fd, l->wd);
	cgroup_leaf_drop(l);
}

void run_drop_next(struct keeper *k, struct program *p)
{
	drop_leaf(k, &p->next);
}

static void on_refill(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct keeper *k = w->data;
	unsigned made = 0;

	(void)loop;
	(void)revents;
	for (uint32_t i = 0; i < k->m->n_programs && k->ending == ENDING_NOT; i++) {
		if (!k->has_cgroup || k->programs[i].next.dir_fd >= 0)
			continue;
		if (made++ == REFILL_STEP) {
			run_refill(k);
			return;
		}
		/* No further one now, or this would go round and round: each start tries anew. */
		if (make_leaf(k, &k->programs[i]) < 0)
			return;
	}
}

void run_refill(struct keeper *k)
{
	if (ev_is_active(&k->refill))
		return;
	ev_timer_init(&k->refill, on_refill, 0., 0.);
	k->refill.data = k;
	ev_timer_start(k->loop, &k->refill);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void clear(struct keeper *k, struct program *p)
{
	struct run *r = &p->run;

	ev_io_stop(k->loop, &r->death);
	ev_io_stop(k->loop, &r->exec);
	fd_close(&r->pidfd);
	fd_close(&r->exec_fd);
	spawn_free_block(p);
	drop_leaf(k, &r->leaf);
	r->state = RUN_NONE;
	run_refill(k);
	ending_poll(k);
}

/* Without cgroup v2 the process group is all that can be asked after. */
static bool is_empty(const struct run *r)
{
	if (r->leaf.dir_fd >= 0)
		return cgroup_populated(r->leaf.events_fd) == 0;
	return kill(-r->pid, 0) < 0 && errno == ESRCH;
}

static void check_gone(struct keeper *k, struct program *p)
{
	if (p->run.state != RUN_ENDED || !is_empty(&p->run))
		return;
	tell_gone(k, p);
	clear(k, p);
}

/* A start that no guard came up for in its time is void: said, or the engine would wait for it. */
static void check_pending(struct keeper *k, struct program *p)
{
	if (p->pending && p->start.valid_until <= mtime_now())
		run_refuse_pending(k, p, IPC_STAGE_GUARD, ETIMEDOUT);
}

void run_poll(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		if (p->run.pidfd >= 0)
			ev_io_start(k->loop, &p->run.death); /* on_death() may have stopped it */
		check_gone(k, p);
		check_pending(k, p);
	}
}

static void on_inotify(struct ev_loop *loop, ev_io *w, int revents)
{
	_Alignas(struct inotify_event) char buf[4096];
	struct keeper *k = w->data;
	ssize_t n = read(k->inotify_fd, buf, sizeof(buf));

	(void)loop;
	(void)revents;
	for (char *at = buf; n > 0 && at < buf + n;) {
		const struct inotify_event *e = (const struct inotify_event *)(const void *)at;

		at += sizeof(*e) + e->len;
		for (uint32_t i = 0; i < k->m->n_programs; i++)
			if (k->programs[i].run.state == RUN_ENDED &&
			    k->programs[i].run.leaf.wd == e->wd)
				check_gone(k, &k->programs[i]);
	}
}

/* ---- the exec pipe ------------------------------------------------------------------------------- */

static void take_status(struct program *p, const struct spawn_status *status)
{
	p->run.state = RUN_FAILED;
	p->run.stage = status->stage < IPC_STAGES_END ? status->stage : IPC_STAGE_CLONE;
	p->run.error = status->error;
}

/* Read what there is; at EOF the child has left our memory. */
static void read_exec(struct keeper *k, struct program *p)
{
	struct spawn_status status;
	ssize_t n;

	if (p->run.exec_fd < 0)
		return;
	while ((n = read(p->run.exec_fd, &status, sizeof(status))) == sizeof(status))
		take_status(p, &status);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ev_io_stop(k->loop, &p->run.exec);
	fd_close(&p->run.exec_fd);
	spawn_free_block(p);
	if (p->run.state != RUN_STARTING)
		return;
	p->run.state = RUN_UP;
	spawn_restore_oom(k, p->run.pid);
	tell_spawned(k, p);
	run_refill(k);
}

static void on_exec(struct ev_loop *loop, ev_io *w, int revents)
{
	struct program *p = w->data;

	(void)loop;
	(void)revents;
	read_exec(p->k, p);
}

/* ---- death of the main process -------------------------------------------------------------------- */

static void never_ran(struct keeper *k, struct program *p)
{
	if (p->run.announced) {
		tell_exited(k, p, 127, 0);
		tell_gone(k, p);
	} else {
		tell_failed(k, p, p->run.order, p->run.stage, p->run.error);
	}
	clear(k, p);
}

static void on_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct program *p = w->data;
	struct keeper *k = p->k;
	int code, signo;

	(void)revents;
	ev_io_stop(loop, &p->run.death); /* where that fails: run_poll() goes on, see process.h */
	if (!process_reap(p->run.pidfd, &code, &signo))
		return;
	read_exec(k, p); /* dead: EOF is there */
	fd_close(&p->run.pidfd);
	if (p->run.state == RUN_FAILED) {
		never_ran(k, p);
		return;
	}
	p->run.state = RUN_ENDED;
	tell_exited(k, p, code, signo);
	check_gone(k, p);
}

/* ---- starting ---------------------------------------------------------------------------------------- */

/* An empty cgroup may be tidied away by whoever finds it. */
static bool leaf_was_removed(const struct program *p, int r, enum ipc_stage stage)
{
	return p->next.dir_fd >= 0 && stage == IPC_STAGE_CLONE && (r == -ENODEV || r == -ENOENT);
}

static int launch(struct keeper *k, struct program *p, const struct ipc_start *s,
		  enum ipc_stage *ret_stage)
{
	struct service *svc = service_of(k, p);
	const struct guard *g = svc ? guard_ready(svc) : NULL;
	int r;

	*ret_stage = IPC_STAGE_LOG;
	r = streams_open(k, p);
	if (r < 0)
		return r;
	*ret_stage = IPC_STAGE_CGROUP;
	r = make_leaf(k, p);
	if (r == 0)
		r = spawn_program(k, p, s, g, ret_stage);
	if (!leaf_was_removed(p, r, *ret_stage))
		return r;
	run_drop_next(k, p);
	*ret_stage = IPC_STAGE_CGROUP;
	r = make_leaf(k, p);
	return r < 0 ? r : spawn_program(k, p, s, g, ret_stage);
}

static void launched(struct keeper *k, struct program *p, const struct ipc_start *s)
{
	struct run *r = &p->run;

	r->state = RUN_STARTING;
	r->number = ++p->runs;
	r->order = s->order;
	r->term = s->term;
	r->announced = r->killed_by_deadline = r->killed = false;
	r->started = mtime_now();
	r->leaf = p->next;
	p->next = CGROUP_LEAF_NONE;
	ev_io_init(&r->exec, on_exec, r->exec_fd, EV_READ);
	ev_io_init(&r->death, on_death, r->pidfd, EV_READ);
	r->exec.data = r->death.data = p;
	ev_io_start(k->loop, &r->exec);
	ev_io_start(k->loop, &r->death);
}

/* Why an order is void, or NULL. */
static const char *refusal(struct keeper *k, const struct program *p, const struct ipc_start *s)
{
	const struct service *svc = service_of(k, p);
	mtime now = mtime_now();

	if (k->ending != ENDING_NOT)
		return "supd is ending";
	if (s->h.generation != k->generation) /* it was pending */
		return "its engine is gone";
	if (p->run.state != RUN_NONE)
		return "its last run is not gone";
	if (s->valid_until <= now)
		return "the order came too late";
	if (svc && s->kill_at <= now)
		return "the service's deadline has passed";
	if (svc && s->term <= svc->term_quiesced)
		return "its term is over";
	return NULL;
}

static void attempt(struct keeper *k, struct program *p, const struct ipc_start *s)
{
	struct service *svc = service_of(k, p);
	const char *why = refusal(k, p, s);
	enum ipc_stage stage = IPC_STAGE_ORDER;
	int r = 0;

	if (why)
		log_notice("program %s: start refused: %s", model_program_name(k->m, p->row), why);
	else if (svc && svc->namespaced && !guard_ready(svc)) {
		p->pending = true;
		p->start = *s;
		guard_want(k, svc); /* may refuse it at once */
		return;
	} else {
		r = launch(k, p, s, &stage);
	}
	if (!why && r == 0) {
		launched(k, p, s);
	} else if (r == -ENOMEM && stage == IPC_STAGE_CLONE && svc && guard_ready(svc) &&
		   guard_is_dying(guard_ready(svc))) {
		guard_retire(k, svc); /* wait for the next one */
		p->pending = true;
		p->start = *s;
	} else {
		tell_failed(k, p, s->order, stage, -r);
	}
}

void run_start(struct keeper *k, const struct ipc_start *s)
{
	struct program *p = &k->programs[s->program];
	struct service *svc = service_of(k, p);

	if (p->pending) {
		tell_failed(k, p, s->order, IPC_STAGE_ORDER, 0);
		return;
	}
	if (svc && !refusal(k, p, s)) {
		if (s->term > svc->term_started)
			svc->term_started = s->term;
		service_set_deadline(k, svc->row, s->kill_at);
		service_arm_deadline(k);
	}
	attempt(k, p, s);
}

void run_start_pending(struct keeper *k, uint32_t service)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		if (p->service != (int)service || !p->pending)
			continue;
		p->pending = false;
		attempt(k, p, &p->start);
	}
}

void run_refuse_pending(struct keeper *k, struct program *p, enum ipc_stage stage, int error)
{
	if (!p->pending)
		return;
	p->pending = false;
	tell_failed(k, p, p->start.order, stage, error);
}

/* ---- signals -------------------------------------------------------------------------------------------- */

void run_signal(struct keeper *k, struct program *p, int signo)
{
	(void)k;
	if (p->run.state == RUN_STARTING || p->run.state == RUN_UP)
		process_signal(p->run.pidfd, signo);
}

void run_kill(struct keeper *k, struct program *p)
{
	int r = 0;

	if (p->run.state == RUN_NONE)
		return;
	if (p->run.leaf.dir_fd >= 0)
		r = cgroup_leaf_kill(&p->run.leaf);
	else if (p->run.state != RUN_FAILED)
		kill(-p->run.pid, SIGKILL);
	if (p->run.state != RUN_ENDED)
		process_signal(p->run.pidfd, SIGKILL);
	/* Process by process, somebody may have forked in between. */
	p->run.killed |= r == 0 && p->run.leaf.kill_fd >= 0;
	if (r < 0)
		log_error("program %s: cannot kill its cgroup: %s, only its main process is killed",
			  model_program_name(k->m, p->row), strerror(-r));
}

int run_open(struct keeper *k)
{
	k->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (k->inotify_fd < 0)
		return -errno;
	ev_io_init(&k->inotify, on_inotify, k->inotify_fd, EV_READ);
	k->inotify.data = k;
	ev_io_start(k->loop, &k->inotify);
	return 0;
}
