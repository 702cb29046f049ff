/* SPDX-License-Identifier: MIT */
#include "common/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void closing_sets_minus_one_and_keeps_errno(void **state)
{
	int fds[2], old;

	assert_int_equal(fd_pipe(fds, 0), 0);
	old = fds[0];
	errno = ERANGE;
	fd_close(&fds[0]);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(fds[0], -1);
	assert_false(is_open(old));
	fd_close(&fds[0]); /* twice is harmless */
	fd_close(&fds[1]);
}

static void pipes_are_cloexec_with_the_flags_asked_for(void **state)
{
	int fds[2];

	assert_int_equal(fd_pipe(fds, O_NONBLOCK), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		fd_close(&fds[i]);
	}
	assert_int_equal(fd_pipe(fds, 0), 0);
	assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_nonblock(fds[0]), 0);
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	assert_int_equal(fd_set_nonblock(-1), -EBADF);
}

/* More than a pipe holds: the write must go on where the reader made room. */
static void write_all_writes_all(void **state)
{
	static char data[300000], back[300000];
	int fds[2], status;
	pid_t pid;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	assert_int_equal(fd_pipe(fds, 0), 0);
	pid = fork();
	if (pid == 0)
		_exit(fd_write_all(fds[1], data, sizeof(data)) == 0 ? 0 : 1);
	fd_close(&fds[1]);
	for (size_t got = 0; got < sizeof(back);) {
		ssize_t n = read(fds[0], back + got, sizeof(back) - got);

		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(fd_write_all(fds[0], data, 1), -EBADF);
	assert_int_equal(fd_write_all(-1, data, 0), 0);
	fd_close(&fds[0]);
}

/* In a child: the test runner keeps its own descriptors. */
static int close_all_but_in_child(const int *keep, size_t n_keep, const int *expect_open,
				  const int *expect_closed)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fd_close_all_but(keep, n_keep);
		for (; *expect_open >= 0; expect_open++)
			if (!is_open(*expect_open))
				_exit(1);
		for (; *expect_closed >= 0; expect_closed++)
			if (is_open(*expect_closed))
				_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void only_the_kept_descriptors_stay(void **state)
{
	static const int all[] = {10, 11, 12, 500, -1}, none[] = {-1};
	static const struct {
		const char *why;
		int keep[4];
		size_t n_keep;
		int open[6], closed[6];
	} cases[] = {
		{"none kept: the standard three stay", {0}, 0, {0, 1, 2, -1}, {10, 11, 12, 500, -1}},
		{"descending order", {500, 10}, 2, {0, 1, 2, 10, 500, -1}, {11, 12, -1}},
		{"neighbours", {11, 12, 10}, 3, {10, 11, 12, -1}, {500, -1}},
		{"twice the same, and a standard one", {11, 11, 2}, 3, {2, 11, -1}, {10, 12, 500, -1}},
		{"one that is not open", {400, 12}, 2, {12, -1}, {10, 11, 400, 500, -1}},
	};

	for (size_t i = 0; all[i] >= 0; i++)
		assert_int_equal(dup2(1, all[i]), all[i]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = close_all_but_in_child(cases[i].keep, cases[i].n_keep, cases[i].open,
					       cases[i].closed);

		if (r != 0)
			fail_msg("%s: %s", cases[i].why, r == 1 ? "closed" : "left open");
	}
	assert_int_equal(close_all_but_in_child(all, 4, all, none), 0);
	for (size_t i = 0; all[i] >= 0; i++)
		close(all[i]);
}

static void directories_are_made_with_their_parents(void **state)
{
	char base[64], path[128], part[128], command[128];
	struct stat st;

	snprintf(base, sizeof(base), "/tmp/supd-fd-test.%d.XXXXXX", (int)getpid());
	assert_non_null(mkdtemp(base));
	snprintf(path, sizeof(path), "%s/a/b/c", base);
	snprintf(part, sizeof(part), "%s/a/b", base);
	assert_int_equal(fd_mkdir_parents(path, 0750, getuid(), getgid()), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0007, 0);
	assert_int_equal(stat(part, &st), 0);
	assert_true(st.st_mode & 0001); /* whoever owns the last one must pass */
	assert_int_equal(fd_mkdir_parents(path, 0750, getuid(), getgid()), 0); /* again */

	snprintf(part, sizeof(part), "%s/file", base);
	close(open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(fd_mkdir_parents(part, 0750, getuid(), getgid()), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/file/below", base);
	assert_int_equal(fd_mkdir_parents(path, 0750, getuid(), getgid()), -ENOTDIR);
	assert_int_equal(fd_mkdir_parents("", 0750, 0, 0), -EINVAL);
	snprintf(command, sizeof(command), "rm -rf '%s'", base);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closing_sets_minus_one_and_keeps_errno),
		cmocka_unit_test(pipes_are_cloexec_with_the_flags_asked_for),
		cmocka_unit_test(write_all_writes_all),
		cmocka_unit_test(only_the_kept_descriptors_stay),
		cmocka_unit_test(directories_are_made_with_their_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
