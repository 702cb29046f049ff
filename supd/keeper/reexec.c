/* SPDX-License-Identifier: MIT */
#include "supd/keeper/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/deputy.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/handover.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/process.h"
#include "supd/keeper/reexec_ask.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/state.h"

#define PREPARE_MAX MTIME_SEC(10) /* user look-ups may ask a network */
#define QUIET_MAX   MTIME_SEC(10)
#define MARGIN	    MTIME_MS(100) /* to the next deadline: ten times what a replacement takes */

/* ---- the end of a try ----------------------------------------------------------------------------- */

static void clear(struct keeper *k)
{
	struct reexec *x = &k->reexec;

	ev_io_stop(k->loop, &x->death);
	fd_close(&x->pidfd);
	fd_close(&x->model_fd);
	fd_close(&x->problems_fd);
	cgroup_leaf_drop(&x->leaf);
	x->pid = 0;
	x->phase = REEXEC_NOT;
}

__attribute__((format(printf, 2, 3))) static void fail(struct keeper *k, const char *fmt, ...)
{
	struct ipc_reexec_failed m = { .h = { IPC_REEXEC_FAILED, k->generation },
				       .order = k->reexec.order };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m.why, sizeof(m.why), fmt, ap);
	va_end(ap);
	log_error("not replaced in place: %s", m.why);
	clear(k);
	engine_send(k, &m, sizeof(m));
}

void reexec_cancel(struct keeper *k)
{
	if (k->reexec.phase == REEXEC_NOT)
		return;
	process_signal(k->reexec.pidfd, SIGKILL); /* reaped as an orphan, or by init */
	clear(k);
}

/* ---- the new image ---------------------------------------------------------------------------------- */

static void keep_over_exec(const int *fds, size_t n, bool keep)
{
	for (size_t i = 0; i < n; i++)
		fcntl(fds[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
}

/* argv with one more option. */
static const char **argv_with(const struct image *image, const char *option, const char *value)
{
	const char **argv = calloc(image->argc + 3, sizeof(*argv));

	if (!argv)
		return NULL;
	memcpy(argv, image->argv, image->argc * sizeof(*argv));
	argv[image->argc] = option;
	argv[image->argc + 1] = value;
	return argv;
}

/* Returns only where it fails: -errno. */
static int execute(struct keeper *k, int fd)
{
	const char **argv;
	char number[16];
	int *fds, model_fd, r;
	size_t n;

	snprintf(number, sizeof(number), "%d", fd);
	r = handover_fds(fd, &fds, &n, &model_fd);
	if (r < 0)
		return r;
	argv = argv_with(k->image, "--adopt", number);
	r = argv ? 0 : -ENOMEM;
	if (r == 0) {
		keep_over_exec(fds, n, true);
		execv(k->image->path, (char *const *)(uintptr_t)argv);
		r = -errno;
		keep_over_exec(fds, n, false);
	}
	free(argv);
	free(fds);
	return r;
}

/*
 * What takes long comes first, while the engine still sends adverts and moves the deadlines.  Then
 * the deputy, who keeps them from the death of the engine to the next image; then in one go.
 */
static void replace(struct keeper *k)
{
	int fd = -1, r;

	for (uint32_t i = 0; i < k->m->n_programs; i++)
		run_drop_next(k, &k->programs[i]);
	k->reexec.deputy = deputy_start(k);
	r = k->reexec.deputy < 0 ? k->reexec.deputy : roles_kill(k);
	hook_kill_all(k); /* probes; the next engine asks again */
	if (r == 0 && (k->shutdown || k->ending != ENDING_NOT)) /* its last words */
		r = -ECANCELED;
	if (r == 0)
		r = handover_write(k, k->reexec.model_fd, &fd);
	if (r == 0)
		r = execute(k, fd);
	deputy_end(k->reexec.deputy);
	fd_close(&fd);
	run_refill(k);
	fail(k, "%s cannot be executed: %s; net, scribe and engine are started again",
	     k->image->path, strerror(-r));
}

/* A deadline is near: the last word about it is the engine's, who knows what was heard. */
static bool is_pressed(const struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_services; i++)
		if (k->services[i].kill_at - mtime_now() < MARGIN)
			return true;
	return false;
}

/* What must be over first: it would not outlive the image, or is not written into the handover. */
static const char *what_moves(const struct keeper *k)
{
	const struct program *p = run_any_changing(k);

	if (p)
		return model_program_name(k->m, p->row);
	if (is_pressed(k))
		return "a service without contact";
	if (hook_any_but_probes(k))
		return "a command of the file";
	return guard_any_changing(k) ? "a guard" : NULL;
}

/* The guard's child, not ours: between two images its death would be lost. */
static const char *any_daemon(const struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].run.state != RUN_NONE && k->programs[i].run.daemon)
			return model_program_name(k->m, i);
	return NULL;
}

static void try_to_replace(struct keeper *k)
{
	const char *moving = what_moves(k), *daemon = any_daemon(k);

	if (daemon)
		fail(k, "%s has type = forking: restart supd instead", daemon);
	else if (!moving)
		replace(k);
	else if (mtime_now() - k->reexec.since > QUIET_MAX)
		fail(k, "%s has been starting or ending for too long", moving);
}

/* ---- the preparation ------------------------------------------------------------------------------------ */

/* The first line that the child has left. */
static void first_problem(const struct keeper *k, char *buf, size_t size)
{
	ssize_t n = read(k->reexec.problems_fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

static void on_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct keeper *k = w->data;
	struct reexec *x = &k->reexec;
	char problem[160];
	int code, signo;

	(void)revents;
	ev_io_stop(loop, w); /* where it cannot be reaped: reexec_poll() goes on, see process.h */
	if (!process_reap(x->pidfd, &code, &signo))
		return;
	fd_close(&x->pidfd);
	x->pid = 0;
	first_problem(k, problem, sizeof(problem));
	if (code != 0) {
		fail(k, "%s does not take over: %s", k->image->path,
		     problem[0] ? problem : signo ? "it was killed" : "it did not say why");
		return;
	}
	x->phase = REEXEC_WAITING;
	x->since = mtime_now();
	try_to_replace(k);
}

__attribute__((noreturn)) static void child(const struct keeper *k, const char **argv, int problems)
{
	int fd = k->reexec.model_fd;

	process_reset_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(k->null_fd, STDIN_FILENO);
	dup2(problems, STDERR_FILENO);
	dup2(problems, STDOUT_FILENO);
	fd_close_all_but(&fd, 1);
	fcntl(fd, F_SETFD, 0);
	execv(k->image->path, (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s\n", strerror(errno));
	_exit(127);
}

static int start_child(struct keeper *k)
{
	struct reexec *x = &k->reexec;
	const char **argv;
	char number[16];
	int problems[2], r = fd_pipe(problems, 0);

	if (r < 0)
		return r;
	x->problems_fd = problems[0];
	fd_set_nonblock(problems[0]);
	if (k->has_cgroup)
		r = cgroup_leaf_make(k->tree_fd, "roles", &k->role_leaf_n, &x->leaf);
	snprintf(number, sizeof(number), "%d", x->model_fd);
	argv = argv_with(k->image, "--prepare", number);
	if (r == 0)
		r = argv ? process_fork(x->leaf.dir_fd, 0, &x->pidfd) : -ENOMEM;
	if (r == 0)
		child(k, argv, problems[1]);
	free(argv);
	close(problems[1]);
	if (r < 0)
		return r;
	x->pid = r;
	ev_io_init(&x->death, on_death, x->pidfd, EV_READ);
	x->death.data = k;
	ev_io_start(k->loop, &x->death);
	return 0;
}

void reexec_begin(struct keeper *k, const struct ipc_reexec *order)
{
	struct reexec *x = &k->reexec;
	int r;

	if (x->phase != REEXEC_NOT) { /* the same question: the answer goes to whoever asked last */
		x->order = order->order;
		return;
	}
	x->order = order->order;
	x->since = mtime_now();
	x->phase = REEXEC_PREPARING;
	if (!k->has_cgroup_kill) {
		fail(k, "it needs cgroup v2 with cgroup.kill: restart supd instead");
		return;
	}
	if (k->image->argc == 0) {
		fail(k, "it is not known how this supd was started, or --prefix was no absolute path");
		return;
	}
	x->model_fd = memfd_create("supd-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = x->model_fd < 0 ? -errno : reexec_ask_write(k->m, x->model_fd);
	if (r == 0)
		r = spawn_own_namespace(k);
	if (r == 0)
		r = start_child(k);
	if (r < 0)
		fail(k, "cannot start %s: %s", k->image->path, strerror(-r));
}

void reexec_poll(struct keeper *k)
{
	struct reexec *x = &k->reexec;

	switch (x->phase) {
	case REEXEC_NOT:
		break;
	case REEXEC_PREPARING:
		ev_io_start(k->loop, &x->death); /* on_death() may have stopped it */
		if (mtime_now() - x->since > PREPARE_MAX)
			process_signal(x->pidfd, SIGKILL);
		break;
	case REEXEC_WAITING:
		try_to_replace(k);
		break;
	}
}
