/* SPDX-License-Identifier: MIT */
#include "supd/keeper/process.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supd/config/model.h"
#include "supd/keeper/state.h"

#define OOM_SCORE_ADJ  (-900)
#define NICE	       (-15)
#define NOFILE_WANTED  262144u /* 4,096 programs with two outputs: 11 descriptors each */

/* ---- the keeper itself -------------------------------------------------------------------- */

static void prepare_signals(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* ignored by our parent: no exit status would be left for us */
}

static void raise_descriptors(struct rlimit *ret_old)
{
	struct rlimit wanted;
	unsigned long nr_open = NOFILE_WANTED;
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");

	getrlimit(RLIMIT_NOFILE, ret_old);
	if (f) {
		if (fscanf(f, "%lu", &nr_open) != 1 || nr_open > NOFILE_WANTED)
			nr_open = NOFILE_WANTED;
		fclose(f);
	}
	wanted.rlim_cur = wanted.rlim_max = ret_old->rlim_max < nr_open ? nr_open : ret_old->rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
		return;
	wanted.rlim_cur = wanted.rlim_max = ret_old->rlim_max;
	setrlimit(RLIMIT_NOFILE, &wanted);
}

int process_write_proc(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd, r;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void set_oom(struct inherited *ret)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "re");
	char text[16];

	ret->oom_changed = false;
	if (!f)
		return;
	if (fscanf(f, "%d", &ret->oom_score_adj) == 1 && ret->oom_score_adj > OOM_SCORE_ADJ) {
		snprintf(text, sizeof(text), "%d", OOM_SCORE_ADJ);
		ret->oom_changed = process_write_proc(getpid(), "oom_score_adj", text) == 0;
	}
	fclose(f);
}

void process_prepare(struct inherited *ret)
{
	prepare_signals();
	raise_descriptors(&ret->nofile);
	ret->nice = getpriority(PRIO_PROCESS, 0);
	if (ret->nice > NICE)
		setpriority(PRIO_PROCESS, 0, NICE);
	set_oom(ret);
	/* As PID 1, or without cgroup v2, orphans of what we started come to us. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

uint64_t process_ignored_signals(void)
{
	uint64_t ignored = 0;
	struct sigaction sa;

	for (int signo = 1; signo < NSIG; signo++)
		if (sigaction(signo, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
			ignored |= UINT64_C(1) << (signo - 1);
	return ignored;
}

/* ---- others ---------------------------------------------------------------------------------- */

#define TASK_EXITING 0x4u /* PF_EXITING of the kernel's task flags, field 9 of stat */

bool process_is_dying(pid_t pid)
{
	char path[48], text[512];
	const char *at = NULL;
	unsigned flags;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	at = strrchr(text, ')'); /* a name may hold anything, also ") " */
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
		return true;
	return (flags & TASK_EXITING) != 0;
}

/* ---- forks ----------------------------------------------------------------------------------- */

pid_t process_fork(int cgroup_fd, uint64_t flags, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = { .flags = flags | CLONE_PIDFD,
				   .pidfd = (uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD };
	long r;

	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	r = syscall(SYS_clone3, &args, sizeof(args));
	if (r < 0)
		return -errno;
	if (r > 0)
		*ret_pidfd = pidfd;
	return (pid_t)r;
}

void process_reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int process_confine(const struct model *m, bool net)
{
	const int uid = (int)m->supd.uid, gid = (int)m->supd.gid;
	int r;

	capng_clear(CAPNG_SELECT_BOTH);
	if (net)
		capng_updatev(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
			      CAP_NET_ADMIN, CAP_NET_RAW, -1);
	r = capng_change_id(uid, gid, (capng_flags_t)(CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING));
	if (r != 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int process_signal(int pidfd, int signo)
{
	if (pidfd < 0)
		return -ESRCH;
	return pidfd_send_signal(pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

bool process_reap(int pidfd, int *ret_code, int *ret_signo)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) {
		if (errno != ECHILD)
			return false;
		/* Somebody else has reaped it: how it ended is lost, that it ended is not. */
		info.si_pid = -1;
		info.si_code = CLD_KILLED;
		info.si_status = SIGKILL;
	}
	if (info.si_pid == 0)
		return false;
	*ret_code = info.si_code == CLD_EXITED ? info.si_status : -1;
	*ret_signo = info.si_code == CLD_EXITED ? 0 : info.si_status;
	return true;
}
