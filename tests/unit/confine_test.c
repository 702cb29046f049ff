/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supd/engine/confine.h"

/*
 * Each row runs in a child of its own that was confined first: 0 stands for "as it should be".
 * The children run as root where the test does: what is refused, is refused by the filter.
 */
static int refused(long r)
{
	return r == -1 && errno == EPERM ? 0 : 1;
}

static int try_fork(void)
{
	return refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_clone3(void)
{
	return refused(syscall(SYS_clone3, NULL, 0));
}

static int try_exec(void)
{
	char *const argv[] = { (char *)(uintptr_t)"true", NULL };

	return refused(execv("/bin/true", argv));
}

static int try_execveat(void)
{
	return refused(syscall(SYS_execveat, -1, "/bin/true", NULL, NULL, 0));
}

static int try_ptrace(void)
{
	return refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_mount(void)
{
	return refused(mount("none", "/proc", "tmpfs", MS_RDONLY, NULL));
}

static int try_unshare(void)
{
	return refused(unshare(CLONE_NEWUTS));
}

static int try_setns(void)
{
	return refused(setns(-1, 0));
}

static int try_bpf(void)
{
	return refused(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_bind(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 2 : refused(bind(fd, (struct sockaddr *)&any, sizeof(any)));
}

static int try_unix(void)
{
	return refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int try_netlink(void)
{
	return refused(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int try_packet(void)
{
	return refused(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

/* What an engine does all day. */
static int try_daily_work(void)
{
	char buf[64];
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	int fds[2];

	if (fd < 0 || read(fd, buf, sizeof(buf)) <= 0)
		return 2;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return 3;
	if (send(fds[0], "x", 1, 0) != 1 || recv(fds[1], buf, sizeof(buf), 0) != 1)
		return 4;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 5;
}

static int run_confined(int (*try)(void))
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confine() != 0)
			_exit(99);
		_exit(try());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void what_an_engine_never_does_is_refused(void **state)
{
	static const struct {
		int (*try)(void);
		const char *what;
	} rows[] = {
		{ try_fork, "clone" },	     { try_clone3, "clone3" },
		{ try_exec, "execve" },	     { try_execveat, "execveat" },
		{ try_ptrace, "ptrace" },    { try_mount, "mount" },
		{ try_unshare, "unshare" },  { try_setns, "setns" },
		{ try_bpf, "bpf" },	     { try_bind, "bind" },
		{ try_unix, "an AF_UNIX socket" },  { try_netlink, "an AF_NETLINK socket" },
		{ try_packet, "an AF_PACKET socket" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = run_confined(rows[i].try);

		if (r == 99)
			skip(); /* built or run without seccomp */
		if (r != 0)
			fail_msg("%s was not refused (%d)", rows[i].what, r);
	}
}

static void what_an_engine_does_goes_on(void **state)
{
	int r = run_confined(try_daily_work);

	if (r == 99)
		skip();
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_engine_never_does_is_refused),
		cmocka_unit_test(what_an_engine_does_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
