/* SPDX-License-Identifier: MIT */
#include "supd/keeper/run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/daemon.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/process.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run_internal.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/spawn_child.h"
#include "supd/keeper/stray.h"

/*
 *   START --> [pending: no guard yet] --> STARTING --exec pipe--> UP --------> ENDED --> NONE
 *                 |                          |  EOF: SPAWNED      |  EXITED     |  GONE
 *                 |                          |                    |             |
 *            SPAWN_FAILED                    +--status--> FAILED --reaped--> NONE
 *                                                         SPAWN_FAILED
 *
 * The exec pipe is CLOEXEC in the child: EOF means exec, or death before it.  Which of the two is
 * not told apart: killed a moment before or after exec is the same death (SPAWNED, then EXITED).
 * What takes too long for it (a file system that hangs) is killed, and FAILED.
 *
 * A program has one run at a time: the next START is refused until GONE, so nothing is ever
 * started into, or beside, what is left of the last one.
 */

struct service *run_service(struct keeper *k, const struct program *p)
{
	return p->service == MODEL_NONE ? NULL : &k->services[p->service];
}

static int64_t pid_or_0(const struct run *r)
{
	return r->state == RUN_NONE || r->state == RUN_ENDED || r->told ? 0 : r->pid;
}

/* ---- telling the engine ----------------------------------------------------------------------- */

void run_tell_failed(struct keeper *k, const struct program *p, uint64_t order, uint32_t stage,
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
		const struct program *p = &k->programs[i];
		struct run *r = &k->programs[i].run;
		const struct ipc_run m = { .h = { IPC_RUN, k->generation },
					   .program = (int32_t)i,
					   .run = r->number,
					   .term = r->term,
					   .pid = (pid_t)pid_or_0(r),
					   .ready = r->ready,
					   .started = r->started };

		if (r->state == RUN_NONE && !p->post_owed)
			continue;
		engine_send(k, &m, sizeof(m));
		if (r->state == RUN_NONE)
			tell_gone(k, p);
		r->announced = true;
	}
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void clear(struct keeper *k, struct program *p)
{
	struct run *r = &p->run;

	ev_io_stop(k->loop, &r->death);
	ev_io_stop(k->loop, &r->exec);
	fd_close(&r->pidfd);
	fd_close(&r->exec_fd);
	daemon_stop_seeking(k, p);
	spawn_free_block(&p->run.block, p->run.block_size);
	run_retire_leaf(k, p);
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

static bool others_run(const struct keeper *k, const struct program *p)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].service == p->service && &k->programs[i] != p &&
		    k->programs[i].run.state != RUN_NONE)
			return true;
	return false;
}

/*
 * A process may have left its cgroup (su with pam_systemd moves itself into a session's), but not
 * its PID namespace: whatever is there once nothing else of the service runs is this run's, and the
 * guard takes it along.  Beside others, or without a namespace, it must tell itself whose it is.
 */
static bool left_something(struct keeper *k, const struct program *p)
{
	struct service *s = run_service(k, p);

	if (!s)
		return false;
	if (!s->namespaced || others_run(k, p) || hook_any_of_service(k, s->row, false))
		return (s->guard || !s->namespaced) &&
		       stray_kill(s->guard ? s->guard->pid : getpid(),
				  k->has_cgroup ? k->tree_name : NULL,
				  model_program_name(k->m, p->row));
	if (s->guard && guard_has_strays(s->guard)) {
		log_warn("program %s: processes of it have left its cgroup, killing them",
			 model_program_name(k->m, p->row));
		guard_retire(k, s);
	}
	return guard_is_ending(k, s);
}

static bool is_gone(struct keeper *k, const struct program *p)
{
	return p->run.state == RUN_ENDED && is_empty(&p->run) && !left_something(k, p);
}

void run_check_gone(struct keeper *k, struct program *p)
{
	if (!is_gone(k, p))
		return;
	tell_gone(k, p);
	clear(k, p);
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
	spawn_free_block(&p->run.block, p->run.block_size);
	if (p->run.state != RUN_STARTING)
		return;
	p->run.state = RUN_UP;
	spawn_set_oom(k, model_program(k->m, p->row), p->run.pid);
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

static void tell_never_ran(struct keeper *k, struct program *p)
{
	if (p->run.told)
		return;
	p->run.told = true;
	if (p->run.announced)
		tell_exited(k, p, 127, 0);
	else
		run_tell_failed(k, p, p->run.order, p->run.stage, p->run.error);
}

static void never_ran(struct keeper *k, struct program *p)
{
	tell_never_ran(k, p);
	if (p->run.announced)
		tell_gone(k, p);
	clear(k, p);
}

/*
 * Before exec the child looks at directories and files that may never answer.  It is dead from here
 * on, though perhaps not gone for long: the engine must not wait for that.
 */
static void check_exec(struct keeper *k, struct program *p)
{
	struct run *r = &p->run;

	if (r->state != RUN_STARTING || mtime_now() < r->exec_by)
		return;
	run_kill(k, p);
	r->state = RUN_FAILED;
	r->stage = IPC_STAGE_DEADLINE;
	r->error = ETIMEDOUT;
	tell_never_ran(k, p);
}

static void main_has_ended(struct keeper *k, struct program *p, int code, int signo)
{
	p->run.state = RUN_ENDED;
	/*
	 * GONE goes first where it is true already, as most often: the engine then has nothing to
	 * kill, and orders the next start with the one message that follows.
	 */
	if (is_gone(k, p)) {
		tell_gone(k, p);
		tell_exited(k, p, code, signo);
		clear(k, p);
		return;
	}
	tell_exited(k, p, code, signo);
}

/* The process that was started has ended as it should. */
static bool leaves_a_daemon(const struct keeper *k, const struct program *p, int code)
{
	return p->run.state == RUN_UP && !p->run.daemon && !p->run.killed && code == 0 &&
	       model_program(k->m, p->row)->forking;
}

static void on_daemon_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct program *p = w->data;
	int code, signo;

	(void)revents;
	ev_io_stop(loop, w);
	daemon_end(p->run.pidfd, &code, &signo);
	fd_close(&p->run.pidfd);
	main_has_ended(p->k, p, code, signo);
}

static void watch_daemon(struct keeper *k, struct program *p)
{
	ev_io_init(&p->run.death, on_daemon_death, p->run.pidfd, EV_READ);
	p->run.death.data = p;
	ev_io_start(k->loop, &p->run.death);
}

void run_found(struct keeper *k, struct program *p, pid_t pid, int pidfd)
{
	const struct ipc_main m = { .h = { IPC_MAIN, k->generation },
				    .program = (int32_t)p->row,
				    .run = p->run.number,
				    .pid = pid };

	p->run.state = RUN_UP;
	p->run.daemon = true;
	p->run.pid = pid;
	p->run.pidfd = pidfd;
	spawn_set_oom(k, model_program(k->m, p->row), pid);
	watch_daemon(k, p);
	engine_send(k, &m, sizeof(m));
}

void run_not_found(struct keeper *k, struct program *p)
{
	const char *pidfile = model_str(k->m, model_program(k->m, p->row)->pidfile);

	if (!p->run.killed)
		log_error("program %s: %s names no process of its own, killing what there is",
			  model_program_name(k->m, p->row), pidfile);
	main_has_ended(k, p, -1, p->run.killed ? SIGKILL : 0);
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
	if (leaves_a_daemon(k, p, code) && daemon_seek(k, p) == 0) {
		p->run.state = RUN_SEEKING;
		return;
	}
	main_has_ended(k, p, code, signo);
}

void run_watch(struct keeper *k, struct program *p)
{
	struct run *r = &p->run;

	ev_io_init(&r->exec, on_exec, r->exec_fd, EV_READ);
	ev_io_init(&r->death, on_death, r->pidfd, EV_READ);
	r->exec.data = r->death.data = p;
	ev_io_start(k->loop, &r->exec);
	ev_io_start(k->loop, &r->death);
}

int run_adopt(struct keeper *k, struct program *p, const char *leaf)
{
	struct service *s = run_service(k, p);
	struct run *r = &p->run;
	int result = leaf ? cgroup_leaf_open(s ? s->dir_fd : k->node_fd, leaf, &r->leaf) : 0;

	if (result < 0)
		return result;
	r->pidfd = pidfd_open(r->pid, 0);
	if (r->pidfd < 0)
		return -errno;
	if (leaf)
		run_watch_leaf(k, &r->leaf);
	ev_init(&r->exec, on_exec);
	ev_io_init(&r->death, r->daemon ? on_daemon_death : on_death, r->pidfd, EV_READ);
	r->exec.data = r->death.data = p;
	ev_io_start(k->loop, &r->death);
	return 0;
}

const struct program *run_any_changing(const struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		const struct program *p = &k->programs[i];

		if (p->pending || (p->run.state != RUN_NONE && p->run.state != RUN_UP))
			return p;
	}
	return NULL;
}

/* ---- the look at all ------------------------------------------------------------------------------ */

void run_poll(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		if (p->run.pidfd >= 0)
			ev_io_start(k->loop, &p->run.death); /* on_death() may have stopped it */
		run_check_gone(k, p);
		check_exec(k, p);
		run_check_pending(k, p);
	}
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
