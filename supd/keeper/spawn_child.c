/* SPDX-License-Identifier: MIT */
#include "supd/keeper/spawn_child.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include "supd/ipc/msg.h"
#include "supd/keeper/rawsys.h"

/*
 * Between clone3(CLONE_VM) and execve: in the keeper's memory, on a stack of its own, beside the
 * running keeper.  Nothing here may touch what libc keeps: raw system calls only, locals only.
 *
 * All signals are blocked until the uid is the program's.  A signal that dumps core must not be
 * deliverable while a user may send it and the memory is the keeper's: before 5.16 a dump killed
 * every process that shares it; setresuid makes the memory undumpable.
 */

/* As the kernel has it: sigset_t of libc is larger. */
#define KERNEL_SIGNALS 64
#define KERNEL_SIGSET_SIZE (KERNEL_SIGNALS / 8)

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

RAW_CODE __attribute__((noreturn)) static void fail(const struct spawn_child *c,
						    enum ipc_stage stage, long r)
{
	struct spawn_status status = { .stage = stage, .error = (int32_t)-r };

	RAW3(write, c->status_fd, &status, sizeof(status));
	for (;;)
		RAW1(exit_group, 127);
}

/*
 * SIG_DFL for what the keeper or its parents ignored (SIGPIPE, SIGHUP); exec does it for what has a
 * handler.  One by one they would be 64 system calls in the way of every start.
 */
RAW_CODE static void reset_dispositions(const struct spawn_child *c)
{
	struct kernel_sigaction dfl = { .handler = (void *)0, .mask = 0 };

	for (int signo = 1; signo <= KERNEL_SIGNALS; signo++)
		if (c->ignored >> (signo - 1) & 1)
			RAW4(rt_sigaction, signo, &dfl, 0, KERNEL_SIGSET_SIZE);
}

RAW_CODE static void unblock_signals(void)
{
	uint64_t none = 0;

	RAW4(rt_sigprocmask, SIG_SETMASK, &none, 0, KERNEL_SIGSET_SIZE);
}

/* Back to what supd was started with.  oom_score_adj is not here: see spawn_set_oom(). */
RAW_CODE static void reset_scheduling(const struct spawn_child *c)
{
	int other = 0;

	RAW3(sched_setscheduler, 0, SCHED_OTHER, &other);
	RAW3(setpriority, PRIO_PROCESS, 0, c->nice);
	RAW4(prlimit64, 0, RLIMIT_NOFILE, &c->nofile, 0);
}

RAW_CODE static void set_limits(const struct spawn_child *c)
{
	for (int i = 0; c->rlimits && i < MODEL_RLIMITS; i++) {
		struct rlimit l = { c->rlimits[i].soft, c->rlimits[i].hard };
		long r = c->rlimits[i].set ? RAW4(prlimit64, 0, i, &l, 0) : 0;

		if (r < 0)
			fail(c, IPC_STAGE_RLIMIT, r);
	}
}

RAW_CODE static void set_descriptors(const struct spawn_child *c)
{
	long r = RAW3(dup3, c->null_fd, 0, 0);

	if (r >= 0)
		r = RAW3(dup3, c->stdout_fd, 1, 0);
	if (r >= 0)
		r = RAW3(dup3, c->stderr_fd, 2, 0);
	if (r < 0)
		fail(c, IPC_STAGE_LOG, r);
}

RAW_CODE static void set_user(const struct spawn_child *c)
{
	long r = RAW2(setgroups, c->n_groups, c->groups);

	if (r == 0)
		r = RAW3(setresgid, c->gid, c->gid, c->gid);
	if (r < 0)
		fail(c, IPC_STAGE_GROUP, r);
	r = RAW3(setresuid, c->uid, c->uid, c->uid);
	if (r < 0)
		fail(c, IPC_STAGE_USER, r);
}

/*
 * After setresuid, which clears it.  The keeper may have died before: then nobody would kill us.
 * A member of a PID namespace does not see its parent; its guard dies with the keeper.
 */
RAW_CODE static void die_with_keeper(const struct spawn_child *c)
{
	RAW2(prctl, PR_SET_PDEATHSIG, SIGKILL);
	if (c->keeper != 0 && RAW0(getppid) != c->keeper)
		fail(c, IPC_STAGE_GUARD, -ESRCH);
}

/* The last look: an order that was stuck in a stopped keeper, or a stopped child, is void. */
RAW_CODE static void check_deadline(const struct spawn_child *c)
{
	struct timespec now = { 0, 0 };

	RAW2(clock_gettime, CLOCK_BOOTTIME, &now);
	if (MTIME_SEC(now.tv_sec) + now.tv_nsec >= c->valid_until)
		fail(c, IPC_STAGE_DEADLINE, 0);
}

RAW_CODE void spawn_child(void *arg)
{
	const struct spawn_child *c = arg;
	long r = 0;

	reset_dispositions(c);
	RAW0(setsid);
	reset_scheduling(c);
	set_limits(c);
	if (c->mnt_ns >= 0)
		r = RAW2(setns, c->mnt_ns, CLONE_NEWNS);
	if (r < 0)
		fail(c, IPC_STAGE_NAMESPACE, r);
	set_descriptors(c);
	set_user(c);
	r = RAW1(chdir, c->directory);
	if (r < 0)
		fail(c, IPC_STAGE_DIRECTORY, r);
	RAW1(umask, c->umask);
	die_with_keeper(c);
	unblock_signals();
	/* Each of the keeper's is CLOEXEC already; this is for a kernel with the call (5.11). */
	RAW3(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
	check_deadline(c);
	r = RAW3(execve, c->argv[0], c->argv, c->envp);
	fail(c, IPC_STAGE_EXEC, r);
}
