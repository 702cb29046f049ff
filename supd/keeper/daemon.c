/* SPDX-License-Identifier: MIT */
#include "supd/keeper/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/process.h"
#include "supd/keeper/run.h"
#include "supd/keeper/run_internal.h"
#include "supd/keeper/spawn.h"

/*
 * A child looks, the scout: the file may lie on a file system that hangs, and the keeper never
 * waits for one.  In the program's mount namespace it reads the pid, which is one of the program's
 * PID namespace, and compares it with what each process of the run's cgroup calls itself (NSpid in
 * /proc/PID/status).  It tells the host's pid by its pipe, and gives up by closing it: when the
 * cgroup is empty, or after ready_timeout.
 */
#define SCOUT_STEP MTIME_MS(5)

/* ---- the scout ----------------------------------------------------------------------------------- */

struct scout {
	int out_fd, leaf_fd, proc_fd, mnt_ns;
	const char *pidfile;
	mtime until;
};

/* 0: there is none (yet). */
static long read_pid(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[32];
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

/* What a process of the host calls itself in its innermost namespace; 0: it is gone. */
static long own_pid(int proc_fd, long pid)
{
	char name[32], text[4096], *at;
	ssize_t n = -1;
	int fd;

	snprintf(name, sizeof(name), "%ld/status", pid);
	fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strstr(text, "\nNSpid:");
	if (!at)
		return pid;
	at[strcspn(at + 1, "\n") + 1] = '\0';
	return strtol(strrchr(at, '\t'), NULL, 10);
}

/* The host's pid of the member that calls itself `wanted`; 0: none; -1: the cgroup is empty. */
static long find_member(const struct scout *s, long wanted)
{
	int fd = openat(s->leaf_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	long pid, found = 0;
	bool any = false;

	while (f && !found && fscanf(f, "%ld", &pid) == 1) {
		any = true;
		if (wanted > 1 && own_pid(s->proc_fd, pid) == wanted)
			found = pid;
	}
	if (f)
		fclose(f);
	return any ? found : -1;
}

__attribute__((noreturn)) static void scout_main(const struct scout *s)
{
	const struct timespec step = { .tv_nsec = SCOUT_STEP };
	const int keep[] = { s->out_fd, s->leaf_fd, s->proc_fd, s->mnt_ns };
	int32_t answer = 0;

	process_reset_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd_close_all_but(keep, sizeof(keep) / sizeof(keep[0]));
	if (s->mnt_ns >= 0 && setns(s->mnt_ns, CLONE_NEWNS) < 0)
		_exit(1);
	while (answer == 0 && mtime_now() < s->until) {
		answer = (int32_t)find_member(s, read_pid(s->pidfile));
		if (answer == 0)
			nanosleep(&step, NULL);
	}
	if (answer > 0)
		(void)!write(s->out_fd, &answer, sizeof(answer));
	_exit(0);
}

/* ---- in the keeper ------------------------------------------------------------------------------- */

void daemon_stop_seeking(struct keeper *k, struct program *p)
{
	struct run *r = &p->run;

	if (r->scout_fd < 0)
		return;
	ev_io_stop(k->loop, &r->scout);
	fd_close(&r->scout_fd);
	process_signal(r->scout_pidfd, SIGKILL); /* reaped with the orphans (silence.c) */
	fd_close(&r->scout_pidfd);
}

/* Nothing but a process that is in the cgroup now, and cannot be another one since. */
static int open_member(const struct run *r, pid_t pid)
{
	const struct scout s = { .leaf_fd = r->leaf.dir_fd };
	int fd = openat(s.leaf_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC), pidfd = -1;
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	int member;

	if (f)
		pidfd = pidfd_open(pid, 0);
	while (f && fscanf(f, "%d", &member) == 1)
		if (member == pid && pidfd >= 0) {
			fclose(f);
			return pidfd;
		}
	if (f)
		fclose(f);
	fd_close(&pidfd);
	return -ESRCH;
}

static void on_scout(struct ev_loop *loop, ev_io *w, int revents)
{
	struct program *p = w->data;
	struct keeper *k = p->k;
	int32_t pid = 0;
	int pidfd = -ESRCH;

	(void)loop;
	(void)revents;
	if (read(p->run.scout_fd, &pid, sizeof(pid)) == sizeof(pid))
		pidfd = open_member(&p->run, (pid_t)pid);
	daemon_stop_seeking(k, p);
	if (pidfd >= 0)
		run_found(k, p, (pid_t)pid, pidfd);
	else
		run_not_found(k, p);
}

int daemon_seek(struct keeper *k, struct program *p)
{
	const struct model_program *mp = model_program(k->m, p->row);
	const struct service *s = run_service(k, p);
	const struct guard *g = s ? guard_ready(s) : NULL;
	struct scout scout = { .leaf_fd = p->run.leaf.dir_fd,
			       .mnt_ns = g ? g->mnt_ns : -1,
			       .pidfile = model_str(k->m, mp->pidfile),
			       .until = mtime_add(mtime_now(), mp->ready_timeout) };
	struct run *r = &p->run;
	int pipe_fds[2], result = spawn_own_namespace(k);
	pid_t pid;

	if (result == 0)
		result = fd_pipe(pipe_fds, 0);
	if (result < 0)
		return result;
	scout.out_fd = pipe_fds[1];
	scout.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid = process_fork(k->hooks_fd, 0, &r->scout_pidfd);
	if (pid == 0)
		scout_main(&scout);
	close(pipe_fds[1]);
	fd_close(&scout.proc_fd);
	if (pid < 0) {
		close(pipe_fds[0]);
		return (int)pid;
	}
	r->scout_fd = pipe_fds[0];
	ev_io_init(&r->scout, on_scout, r->scout_fd, EV_READ);
	r->scout.data = p;
	ev_io_start(k->loop, &r->scout);
	return 0;
}

/* ---- the end of what is not our child -------------------------------------------------------------- */

/* linux/pidfd.h of 6.15 and later */
struct pidfd_info_64 {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define INFO_EXIT     (1u << 3)
#define GET_INFO      _IOWR(0xff, 11, struct pidfd_info_64)
#define REAP_WAIT_MS  2 /* for its reaper, the guard */

void daemon_end(int pidfd, int *ret_code, int *ret_signo)
{
	struct pidfd_info_64 info = { .mask = INFO_EXIT };
	struct pollfd reaped = { .fd = pidfd };
	siginfo_t own = { .si_pid = 0 };

	*ret_code = -1;
	*ret_signo = 0;
	/* Where there is no namespace it came to us: we are a subreaper. */
	if (waitid(P_PIDFD, (id_t)pidfd, &own, WEXITED | WNOHANG) == 0 && own.si_pid > 0) {
		*ret_code = own.si_code == CLD_EXITED ? own.si_status : -1;
		*ret_signo = own.si_code == CLD_EXITED ? 0 : own.si_status;
		return;
	}
	poll(&reaped, 1, REAP_WAIT_MS);
	if (ioctl(pidfd, GET_INFO, &info) < 0 || (info.mask & INFO_EXIT) == 0)
		return;
	*ret_code = WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -1;
	*ret_signo = WIFSIGNALED(info.exit_code) ? WTERMSIG(info.exit_code) : 0;
}
