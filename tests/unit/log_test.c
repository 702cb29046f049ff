/* SPDX-License-Identifier: MIT */
#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"

static int pipe_fds[2];

static int set_up(void **state)
{
	return fd_pipe(pipe_fds, O_NONBLOCK);
}

static int tear_down(void **state)
{
	log_init(STDERR_FILENO, "supd", LOG_LEVEL_INFO, false);
	fd_close(&pipe_fds[0]);
	fd_close(&pipe_fds[1]);
	return 0;
}

static const char *read_log(void)
{
	static char buf[8192];
	ssize_t n = read(pipe_fds[0], buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void framed_line_begins_with_its_level(void **state)
{
	log_init(pipe_fds[1], "engine", LOG_LEVEL_DEBUG, true);
	log_error("a %d", 1);
	log_warn("b");
	log_notice("c");
	log_info("d");
	log_debug("e");
	assert_string_equal(read_log(), "3engine: a 1\n4engine: b\n5engine: c\n6engine: d\n"
					"7engine: e\n");
}

static void plain_line_has_the_role_only(void **state)
{
	log_init(pipe_fds[1], "keeper", LOG_LEVEL_INFO, false);
	log_info("hello");
	assert_string_equal(read_log(), "keeper: hello\n");
}

static void lines_above_the_level_are_not_written(void **state)
{
	log_init(pipe_fds[1], "net", LOG_LEVEL_WARN, true);
	log_notice("no");
	log_warn("yes");
	assert_string_equal(read_log(), "4net: yes\n");
	log_set_level(LOG_LEVEL_NOTICE);
	log_notice("now");
	assert_string_equal(read_log(), "5net: now\n");
}

static void a_text_cannot_forge_a_second_line(void **state)
{
	log_init(pipe_fds[1], "engine", LOG_LEVEL_INFO, true);
	log_info("one\n3keeper: two\r\x1b[0m");
	assert_string_equal(read_log(), "6engine: one 3keeper: two  [0m\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	char text[4 * LOG_LINE_MAX];
	const char *line;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_init(pipe_fds[1], "engine", LOG_LEVEL_INFO, true);
	log_info("%s", text);
	line = read_log();
	assert_true(strlen(line) <= LOG_LINE_MAX);
	assert_true(strlen(line) > LOG_LINE_MAX - 8);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void a_full_pipe_drops_counts_and_says_so(void **state)
{
	char buf[65536];
	int written = 0;

	log_init(pipe_fds[1], "engine", LOG_LEVEL_INFO, true);
	memset(buf, 'f', sizeof(buf));
	while (write(pipe_fds[1], buf, sizeof(buf)) > 0)
		written++;
	assert_true(written > 0);
	errno = ERANGE;
	for (int i = 0; i < 7; i++)
		log_info("lost");
	assert_int_equal(errno, ERANGE); /* a log line in an error path changes nothing */
	while (read(pipe_fds[0], buf, sizeof(buf)) > 0)
		;
	log_info("kept");
	assert_string_equal(read_log(), "4engine: 7 log lines dropped\n6engine: kept\n");
	log_info("next");
	assert_string_equal(read_log(), "6engine: next\n");
}

static void levels_have_names(void **state)
{
	static const enum log_level all[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE,
					     LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
	enum log_level level = LOG_LEVEL_DEBUG;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(log_level_parse(log_level_name(all[i]), &level), 0);
		assert_int_equal(level, all[i]);
	}
	assert_int_equal(log_level_parse("warning", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void die_says_why_and_exits_1(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(pipe_fds[1], STDERR_FILENO);
		log_init(-1, "supd", LOG_LEVEL_INFO, false);
		die("no %s", "way");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_string_equal(read_log(), "supd: no way\n");
}

/* A daemon's stderr is /dev/null: why a role does not start must be in the log too. */
static void a_role_that_dies_says_why_in_the_log(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		close(STDERR_FILENO);
		log_init(pipe_fds[1], "scribe", LOG_LEVEL_INFO, true);
		die("no %s", "way");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_string_equal(read_log(), "3scribe: no way\n");
}

#define t(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(framed_line_begins_with_its_level), t(plain_line_has_the_role_only),
		t(lines_above_the_level_are_not_written), t(a_text_cannot_forge_a_second_line),
		t(a_long_line_is_cut_and_still_ends), t(a_full_pipe_drops_counts_and_says_so),
		t(levels_have_names), t(die_says_why_and_exits_1),
		t(a_role_that_dies_says_why_in_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
