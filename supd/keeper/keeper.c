/* SPDX-License-Identifier: MIT */
#include "supd/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/cgroup_tree.h"
#include "supd/keeper/deputy.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/handover.h"
#include "supd/keeper/notify_socket.h"
#include "supd/keeper/pidfile.h"
#include "supd/keeper/process.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/rundir.h"
#include "supd/keeper/service.h"
#include "supd/keeper/silence.h"
#include "supd/keeper/state.h"

/*
 * The order of a start, each step only after the one before:
 *
 *   directories -> lock (one supd a run_dir) -> an earlier supd's trees killed and gone
 *     -> control socket, log pipe -> loop: guards, scribe, net, engine
 *
 * From the lock on nobody else touches the cgroups, and before they are clean nothing of ours runs.
 */

/* ---- storage ------------------------------------------------------------------------------------ */

static void init_program(struct keeper *k, uint32_t row)
{
	struct program *p = &k->programs[row];

	p->k = k;
	p->row = row;
	p->service = model_program(k->m, row)->service;
	p->next = p->old = p->run.leaf = CGROUP_LEAF_NONE;
	p->leaf_n = 1;
	p->notify_fd = -1;
	p->run.pidfd = p->run.exec_fd = p->run.scout_fd = p->run.scout_pidfd = -1;
	for (int i = 0; i < 2; i++)
		p->out[i] = (struct stream){ { -1, -1 }, { -1, -1 } };
}

static void init_service(struct keeper *k, uint32_t row)
{
	struct service *s = &k->services[row];

	s->k = k;
	s->row = row;
	s->dir_fd = s->kill_fd = -1;
	s->namespaced = model_service(k->m, row)->pid_namespace;
	s->guard_n = 1;
	s->kill_at = MTIME_NEVER;
}

static void init_fds(struct keeper *k)
{
	int *const fds[] = { &k->self_pidfd,	   &k->self_pid_ns,	   &k->null_fd,
			     &k->lock_fd,	   &k->state_lock_fd,	   &k->control_fd,
			     &k->log_pipe[0],
			     &k->log_pipe[1],	   &k->signal_fd,	   &k->base_fd,
			     &k->tree_fd,	   &k->programs_fd,	   &k->node_fd,
			     &k->programs_kill_fd, &k->programs_events_fd, &k->inotify_fd,
			     &k->deadline_fd,	   &k->hooks_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		*fds[i] = -1;
	for (int i = 0; i < ROLES_END; i++) {
		k->roles[i] = (struct role){ .k = k, .id = (enum role_id)i, .pidfd = -1,
					     .leaf = CGROUP_LEAF_NONE };
		channel_init(&k->roles[i].channel, -1);
	}
	k->self_leaf = k->reexec.leaf = CGROUP_LEAF_NONE;
	k->reexec.pidfd = k->reexec.model_fd = k->reexec.problems_fd = -1;
}

static struct keeper *keeper_new(const struct keeper_args *args)
{
	struct keeper *k = calloc(1, sizeof(*k));
	const struct model *m = args->m;

	if (!k)
		return NULL;
	k->m = m;
	k->title = args->title;
	k->image = &args->image;
	k->ready_fd = args->ready_fd;
	k->started = mtime_now();
	k->role_leaf_n = k->hook_n = 1;
	k->status = 1;
	init_fds(k);
	if (args->lock_fd > 0)
		k->lock_fd = args->lock_fd;
	k->services = calloc(m->n_services + 1, sizeof(*k->services));
	k->programs = calloc(m->n_programs + 1, sizeof(*k->programs));
	k->batons = calloc(m->n_services + 1, sizeof(*k->batons));
	for (uint32_t i = 0; k->services && i < m->n_services; i++)
		init_service(k, i);
	for (uint32_t i = 0; k->programs && i < m->n_programs; i++)
		init_program(k, i);
	k->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	return k;
}

static void free_programs(struct keeper *k)
{
	for (uint32_t i = 0; k->programs && i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		run_drop_next(k, p);
		for (int o = 0; o < 2; o++)
			for (int end = 0; end < 2; end++) {
				fd_close(&p->out[o].program[end]);
				fd_close(&p->out[o].stage[end]);
			}
	}
	for (uint32_t i = 0; k->services && i < k->m->n_services; i++) {
		fd_close(&k->services[i].dir_fd);
		fd_close(&k->services[i].kill_fd);
	}
}

static void keeper_free(struct keeper *k)
{
	int *const fds[] = { &k->self_pidfd,  &k->self_pid_ns, &k->null_fd,    &k->control_fd,
			     &k->log_pipe[0], &k->signal_fd,   &k->inotify_fd, &k->deadline_fd };

	notify_sockets_close(k);
	free_programs(k);
	cgroup_tree_close(k);
	if (k->lock_fd >= 0)
		rundir_clean(k->m, k->control_fd >= 0);
	if (k->loop)
		ev_loop_destroy(k->loop);
	log_init(STDERR_FILENO, "supd", LOG_LEVEL_INFO, false);
	fd_close(&k->log_pipe[1]);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fd_close(fds[i]);
	fd_close(&k->state_lock_fd);
	fd_close(&k->lock_fd); /* last: now the next one may start */
	free(k->services);
	free(k->programs);
	free(k->batons);
	free(k);
}

/* ---- signals -------------------------------------------------------------------------------------- */

static void on_signal(struct ev_loop *loop, ev_io *w, int revents)
{
	struct signalfd_siginfo info;
	struct keeper *k = w->data;

	(void)loop;
	(void)revents;
	while (read(k->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			log_warn("reload is not supported yet, ignoring SIGHUP");
		} else if (!k->shutdown) {
			log_notice("signal %u from process %u: handing over and ending",
				   info.ssi_signo, info.ssi_pid);
			k->shutdown = true;
			reexec_cancel(k);
			engine_shutdown(k);
		}
	}
}

static int open_signals(struct keeper *k)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGHUP);
	k->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signal_fd < 0)
		return -errno;
	ev_io_init(&k->signal, on_signal, k->signal_fd, EV_READ);
	k->signal.data = k;
	ev_io_start(k->loop, &k->signal);
	return 0;
}

/* ---- start ------------------------------------------------------------------------------------------ */

static int open_own_fds(struct keeper *k)
{
	k->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	k->self_pidfd = pidfd_open(getpid(), 0);
	k->self_pid_ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (k->null_fd >= 0 && k->self_pidfd >= 0 && k->self_pid_ns >= 0)
		return 0;
	log_error("cannot open /dev/null, a pidfd or /proc/self/ns/pid: %s", strerror(errno));
	return -errno;
}

int keeper_lock(const struct model *m, int *ret_fd)
{
	char path[PATH_MAX];
	pid_t holder = 0;
	int r = rundir_make(m);

	if (r < 0)
		return r; /* logged */
	r = rundir_path(m, "supd.pid", path, sizeof(path));
	if (r == 0)
		r = pidfile_lock(path, ret_fd, &holder);
	if (r == -EBUSY)
		log_error("supd is running already, pid %d (%s is locked)", (int)holder, path);
	else if (r == -EPERM)
		log_error("%s is not a plain file of root, remove it", path);
	else if (r < 0)
		log_error("cannot lock %s: %s", path, strerror(-r));
	return r;
}

void keeper_unlock(const struct model *m, int *fd)
{
	char path[PATH_MAX];

	if (rundir_path(m, "supd.pid", path, sizeof(path)) == 0)
		unlink(path);
	fd_close(fd);
}

/* Both ends stay open here: a role that dies loses no line, and no reader is no SIGPIPE. */
static int open_log_pipe(struct keeper *k)
{
	int r = fd_pipe(k->log_pipe, 0);

	if (r == 0)
		r = fd_set_nonblock(k->log_pipe[0]);
	if (r == 0)
		r = fd_set_nonblock(k->log_pipe[1]);
	if (r < 0)
		log_error("cannot make the log pipe: %s", strerror(-r));
	return r;
}

static int open_watches(struct keeper *k)
{
	int r = open_signals(k);

	if (r == 0)
		r = service_open_deadline(k);
	if (r == 0)
		r = run_open(k);
	if (r < 0)
		log_error("cannot watch signals, time or cgroups: %s", strerror(-r));
	return r;
}

static int keeper_open(struct keeper *k)
{
	int r = k->lock_fd >= 0 ? 0 : keeper_lock(k->m, &k->lock_fd);

	if (r == 0)
		r = rundir_lock_state(k->m, &k->state_lock_fd);
	if (r == 0)
		r = open_own_fds(k);
	if (r == 0)
		r = cgroup_tree_open(k);
	if (r == 0)
		r = rundir_bind_socket(k->m, &k->control_fd);
	if (r == 0)
		r = notify_sockets_open(k);
	if (r == 0)
		r = open_log_pipe(k);
	if (r == 0)
		r = open_watches(k);
	return r;
}

/* What is alive is watched from the first moment on, and its deadlines hold. */
static int keeper_adopt(struct keeper *k, int fd)
{
	int r = open_own_fds(k);

	if (r == 0)
		r = open_watches(k);
	if (r == 0)
		r = handover_read(k, fd);
	if (r == 0) {
		service_arm_deadline(k);
		deputy_end(k->reexec.deputy);
	}
	return r;
}

static void keeper_loop(struct keeper *k)
{
	log_init(k->log_pipe[1], "keeper", (enum log_level)k->m->supd.log_level, true);
	for (uint32_t i = 0; i < k->m->n_services; i++)
		guard_want(k, &k->services[i]);
	roles_open(k);
	run_refill_now(k);
	silence_open(k);
	ev_run(k->loop, 0);
}

int keeper_run(const struct keeper_args *args)
{
	struct keeper *k = keeper_new(args);
	int status;

	if (!k || !k->loop || !k->services || !k->programs || !k->batons)
		die("out of memory");
	title_set(&k->title, "keeper", NULL);
	process_prepare(&k->inherited);
	k->inherited.ignored = process_ignored_signals();
	if ((args->adopt_fd > 0 ? keeper_adopt(k, args->adopt_fd) : keeper_open(k)) == 0)
		keeper_loop(k);
	status = k->status;
	keeper_free(k);
	return status;
}
