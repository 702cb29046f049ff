/* SPDX-License-Identifier: MIT */
#include "supd/keeper/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/process.h"
#include "supd/keeper/run.h"
#include "supd/keeper/service.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/state.h"

/*
 *   keeper                                   guard (new PID and mount namespace)
 *     clone3 ------------------------------->  mounts: slaves, own /proc
 *     opens /proc/PID/ns/{pid,mnt}
 *     "go" --------------------------------->  setresuid, then PDEATHSIG, then: is the keeper alive?
 *     ready: starts that waited go on  <-----  "0"
 *     ...                                      reaps orphans, for ever
 *
 * The namespaces are opened before the guard drops its uid: afterwards that takes SYS_PTRACE.
 * setresuid clears PDEATHSIG, so it comes before.  In its own namespace the guard cannot see its
 * parent by getppid(): it looks at the keeper's pidfd.
 *
 * A killed guard ends only when the keeper has reaped every member, so its pidfd comes last; until
 * then it is `retired`, and a new one is at work.
 */

#define GUARD_QUICK	MTIME_SEC(1)
#define GUARD_DELAY_MAX MTIME_SEC(1)
#define GUARD_DELAY_MIN MTIME_MS(10)
#define GUARD_READY_MAX MTIME_SEC(2) /* it takes a millisecond; later: stopped, or stuck in a mount */

/* ---- the guard's own life ------------------------------------------------------------------- */

__attribute__((noreturn)) static void give_up(int sync_fd, int error)
{
	(void)!send(sync_fd, &error, sizeof(error), MSG_NOSIGNAL);
	_exit(1);
}

/* Slaves: mounts of the host still come in, none go out. */
static int make_mounts(void)
{
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	return 0;
}

static bool keeper_is_alive(int keeper_pidfd)
{
	struct pollfd p = { .fd = keeper_pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

/* SIGCHLD is blocked and taken by sigwaitinfo: no wake-up is lost between the two calls. */
__attribute__((noreturn)) static void reap_for_ever(void)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		sigwaitinfo(&chld, NULL);
	}
}

__attribute__((noreturn)) static void guard_main(const struct keeper *k, uint32_t service,
						 int sync_fd)
{
	const int keep[] = { sync_fd, k->self_pidfd };
	sigset_t chld;
	char go;
	int r;

	process_reset_signals();
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_SETMASK, &chld, NULL);
	for (int fd = 0; fd < 3; fd++)
		dup2(k->null_fd, fd);
	fd_close_all_but(keep, 2);
	setsid();
	title_set(&k->title, "guard", model_service_name(k->m, service));
	r = chdir("/") < 0 ? -errno : make_mounts();
	if (r < 0)
		give_up(sync_fd, -r);
	if (recv(sync_fd, &go, 1, 0) != 1) /* the keeper is gone */
		_exit(1);
	r = process_confine(k->m, false);
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		r = -errno;
	if (r < 0)
		give_up(sync_fd, -r);
	if (!keeper_is_alive(k->self_pidfd) || send(sync_fd, &r, sizeof(r), MSG_NOSIGNAL) < 0)
		_exit(1);
	fd_close_all_but(NULL, 0);
	reap_for_ever();
}

/* ---- the keeper's side ------------------------------------------------------------------------- */

struct guard *guard_ready(const struct service *s)
{
	return s->guard && s->guard->ready ? s->guard : NULL;
}

bool guard_is_dying(const struct guard *g)
{
	return process_is_dying(g->pid);
}

/* A kernel that does not tell (no CONFIG_PROC_CHILDREN): perhaps. */
bool guard_has_strays(const struct guard *g)
{
	char path[48];
	bool found = false;
	int child;
	FILE *f;

	if (!g->used)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)g->pid, (int)g->pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	while (!found && fscanf(f, "%d", &child) == 1)
		found = !process_is_dying(child);
	fclose(f);
	return found;
}

bool guard_is_ending(const struct keeper *k, const struct service *s)
{
	for (const struct guard *g = k->guards; g; g = g->next) {
		struct pollfd p = { .fd = g->pidfd, .events = POLLIN };

		if (g->service == s->row && g->retired && poll(&p, 1, 0) == 0)
			return true;
	}
	return false;
}

static void guard_free(struct guard *g)
{
	struct guard **at = &g->k->guards;

	while (*at && *at != g)
		at = &(*at)->next;
	if (*at)
		*at = g->next;
	ev_io_stop(g->k->loop, &g->death);
	ev_io_stop(g->k->loop, &g->sync);
	fd_close(&g->pidfd);
	fd_close(&g->pid_ns);
	fd_close(&g->mnt_ns);
	fd_close(&g->sync_fd);
	cgroup_leaf_drop(&g->leaf);
	free(g);
}

static void on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct service *s = w->data;

	(void)loop;
	(void)revents;
	guard_want(s->k, s);
}

static void schedule(struct keeper *k, struct service *s, mtime delay)
{
	if (s->guard || ev_is_active(&s->guard_again) || k->ending != ENDING_NOT)
		return;
	ev_timer_init(&s->guard_again, on_again, (double)mtime_to_ms(delay) / 1000, 0);
	s->guard_again.data = s;
	ev_timer_start(k->loop, &s->guard_again);
}

/* At once the first time, then later and later while they keep dying young. */
static void schedule_after_failure(struct keeper *k, struct service *s)
{
	schedule(k, s, s->guard_delay);
	s->guard_delay = mtime_min(mtime_max(2 * s->guard_delay, GUARD_DELAY_MIN), GUARD_DELAY_MAX);
}

static void failed(struct keeper *k, struct service *s, int error)
{
	log_error("service %s: its guard cannot be made: %s, retrying",
		  model_service_name(k->m, s->row), strerror(error));
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].service == (int)s->row)
			run_refuse_pending(k, &k->programs[i], IPC_STAGE_GUARD, error);
	schedule_after_failure(k, s);
}

void guard_retire(struct keeper *k, struct service *s)
{
	struct guard *g = s->guard;

	if (!g)
		return;
	process_signal(g->pidfd, SIGKILL);
	cgroup_leaf_kill(&g->leaf);
	ev_io_stop(k->loop, &g->sync);
	fd_close(&g->sync_fd);
	fd_close(&g->pid_ns);
	fd_close(&g->mnt_ns);
	g->ready = false;
	g->retired = true;
	s->guard = NULL;
	schedule(k, s, 0);
}

/* Nobody asked for it: the kernel has killed the members; their deaths come by their own pidfds. */
static void died_unasked(struct keeper *k, struct guard *g)
{
	struct service *s = &k->services[g->service];
	bool was_ready = g->ready;

	s->guard = NULL;
	if (k->ending != ENDING_NOT)
		return;
	if (!was_ready) {
		failed(k, s, ECHILD);
		return;
	}
	log_warn("service %s: its guard was killed, and its programs with it; making a new one",
		 model_service_name(k->m, g->service));
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].service == (int)g->service &&
		    k->programs[i].run.state != RUN_NONE)
			run_kill(k, &k->programs[i]);
	if (mtime_now() - g->started >= GUARD_QUICK)
		s->guard_delay = 0;
	schedule_after_failure(k, s);
}

static void on_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct guard *g = w->data;
	struct keeper *k = g->k;
	int code, signo;

	(void)revents;
	ev_io_stop(loop, w); /* where it cannot be reaped: guard_poll() goes on, see process.h */
	if (!process_reap(g->pidfd, &code, &signo))
		return;
	if (!g->retired)
		died_unasked(k, g);
	guard_free(g);
	run_poll(k); /* runs that waited for it are gone */
}

static void retire_unready(struct guard *g, int error)
{
	struct service *s = &g->k->services[g->service];

	process_signal(g->pidfd, SIGKILL);
	ev_io_stop(g->k->loop, &g->sync);
	fd_close(&g->sync_fd);
	g->retired = true;
	s->guard = NULL;
	failed(g->k, s, error);
}

static void on_sync(struct ev_loop *loop, ev_io *w, int revents)
{
	struct guard *g = w->data;
	int error = ECHILD;
	ssize_t n = recv(g->sync_fd, &error, sizeof(error), MSG_DONTWAIT);

	(void)revents;
	if (n < 0 && errno == EAGAIN)
		return;
	ev_io_stop(loop, &g->sync);
	fd_close(&g->sync_fd);
	if (n == sizeof(error) && error == 0) {
		g->ready = true;
		run_start_pending(g->k, g->service);
		hook_start_waiting(g->k, g->service);
		return;
	}
	retire_unready(g, error);
}

void guard_poll(struct keeper *k)
{
	mtime now = mtime_now();

	for (struct guard *g = k->guards; g; g = g->next) {
		ev_io_start(k->loop, &g->death);
		if (!g->ready && !g->retired && now - g->started > GUARD_READY_MAX)
			retire_unready(g, ETIMEDOUT);
	}
}

static int open_namespace(pid_t pid, const char *name, int *ret_fd)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

/* Clone it; on failure nothing is left but what guard_free() takes. */
static int guard_clone(struct keeper *k, struct guard *g, int pair[2])
{
	int r = spawn_own_namespace(k);

	if (r == 0 && k->has_cgroup)
		r = cgroup_leaf_make(k->services[g->service].dir_fd, "guard",
				     &k->services[g->service].guard_n, &g->leaf);
	if (r < 0)
		return r;
	g->pid = process_fork(g->leaf.dir_fd, CLONE_NEWPID | CLONE_NEWNS, &g->pidfd);
	if (g->pid == 0)
		guard_main(k, g->service, pair[1]);
	return g->pid < 0 ? g->pid : 0;
}

static void watch(struct keeper *k, struct guard *g)
{
	ev_io_init(&g->death, on_death, g->pidfd, EV_READ);
	ev_io_init(&g->sync, on_sync, g->sync_fd, EV_READ);
	g->death.data = g->sync.data = g;
	ev_io_start(k->loop, &g->death);
	ev_io_start(k->loop, &g->sync);
}

static struct guard *guard_new(struct keeper *k, const struct service *s)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	*g = (struct guard){ .k = k, .service = s->row, .pidfd = -1, .pid_ns = -1, .mnt_ns = -1,
			     .sync_fd = -1, .leaf = CGROUP_LEAF_NONE, .started = mtime_now() };
	ev_init(&g->death, on_death);
	ev_init(&g->sync, on_sync);
	return g;
}

int guard_adopt(struct keeper *k, struct service *s, const struct guard_left *left)
{
	struct guard *g = guard_new(k, s);
	int r = g ? 0 : -ENOMEM;

	if (r == 0 && left->leaf)
		r = cgroup_leaf_open(s->dir_fd, left->leaf, &g->leaf);
	if (r == 0) {
		g->pidfd = pidfd_open(left->pid, 0);
		r = g->pidfd < 0 ? -errno : 0;
	}
	if (r < 0) {
		free(g);
		return r;
	}
	g->pid = left->pid;
	g->pid_ns = left->pid_ns;
	g->mnt_ns = left->mnt_ns;
	g->used = left->used;
	g->ready = true;
	ev_io_set(&g->death, g->pidfd, EV_READ);
	g->death.data = g;
	ev_io_start(k->loop, &g->death);
	g->next = k->guards;
	k->guards = g;
	s->guard = g;
	return 0;
}

bool guard_any_changing(const struct keeper *k)
{
	for (const struct guard *g = k->guards; g; g = g->next)
		if (!g->ready || g->retired)
			return true;
	return false;
}

static int guard_make(struct keeper *k, struct service *s)
{
	struct guard *g = guard_new(k, s);
	int pair[2], r;

	if (!g)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		guard_free(g);
		return -errno;
	}
	g->sync_fd = pair[0];
	r = guard_clone(k, g, pair);
	close(pair[1]);
	if (r < 0) {
		guard_free(g);
		return r;
	}
	watch(k, g);
	g->next = k->guards;
	k->guards = g;
	s->guard = g;
	r = open_namespace(g->pid, "pid", &g->pid_ns);
	if (r == 0)
		r = open_namespace(g->pid, "mnt", &g->mnt_ns);
	if (r == 0 && send(g->sync_fd, "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		r = -errno;
	if (r < 0) {
		guard_retire(k, s);
		ev_timer_stop(k->loop, &s->guard_again);
	}
	return r;
}

void guard_want(struct keeper *k, struct service *s)
{
	int r;

	if (!s->namespaced || s->guard || k->ending != ENDING_NOT ||
	    ev_is_active(&s->guard_again))
		return;
	r = guard_make(k, s);
	if (r < 0)
		failed(k, s, -r);
}
