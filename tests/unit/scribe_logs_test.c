/* SPDX-License-Identifier: MIT */
#include "supd/scribe/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/mtime.h"
#include "supd/config/model.h"
#include "supd/scribe/rotate.h"

/* Where a program's output goes: rotation, moved files, FIFOs, devices, syslog. */

/* ---- where a log ends --------------------------------------------------------------------------- */

static void a_log_ends_at_the_end_of_a_line(void **state)
{
	static const struct {
		const char *text;
		uint64_t room;
		bool at_line_end;
		size_t expected;
		const char *why;
	} cases[] = {
		{"ab\ncd\n", 6, true, 6, "all of it has room"},
		{"ab\ncd\n", 5, true, 3, "the second line has not"},
		{"ab\ncd\n", 3, true, 3, "just the first"},
		{"ab\ncd\n", 2, true, 0, "none of them: the next log gets them"},
		{"ab\ncd\n", 0, true, 0, "the log is full"},
		{"ab\ncd\n", 0, false, 3, "the line that was begun here ends here"},
		{"ab\ncd\n", 2, false, 3, "or the log is empty, and the line is too long for any"},
		{"abcdef", 3, false, 6, "a line without an end goes on"},
		{"abcdef", 3, true, 0, "one that has not been begun is for the next log"},
		{"\nab", 0, false, 1, "nothing but the end of the line"},
		{"abc", 9, true, 3, "the begin of a line has room"},
		{"ab\ncd", 4, true, 3, "as far as lines are whole"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = rotate_cut(cases[i].text, strlen(cases[i].text), cases[i].room,
				      cases[i].at_line_end);

		if (n != cases[i].expected)
			fail_msg("%s: %zu, expected %zu", cases[i].why, n, cases[i].expected);
	}
}

/* ---- one output ----------------------------------------------------------------------------------- */

struct output {
	char dir[64], path[96];
	pthread_mutex_t lock;
	struct log_out_conf conf;
	struct peek peek;
	struct stream stream;
	int program, stage[2]; /* the program's end; duplicates of the stage's ends */
	int journal;	       /* syslog's socket */
};

/* The stage and what it holds outlive the stream, as they outlive the scribe. */
static void start(struct output *o)
{
	stream_init(&o->stream, &o->conf,
		    (const int[]){o->stream.program_fd, dup(o->stage[0]), dup(o->stage[1])},
		    &o->peek, &o->lock);
}

static int open_output(void **state)
{
	struct output *o = calloc(1, sizeof(*o));
	int program[2];

	assert_non_null(o);
	snprintf(o->dir, sizeof(o->dir), "/tmp/supd-scribe-logs.%d.XXXXXX", (int)getpid());
	assert_non_null(mkdtemp(o->dir));
	snprintf(o->path, sizeof(o->path), "%s/p.log", o->dir);
	assert_int_equal(fd_pipe(program, 0), 0);
	assert_int_equal(fd_pipe(o->stage, O_NONBLOCK), 0);
	assert_int_equal(peek_init(&o->peek), 0);
	pthread_mutex_init(&o->lock, NULL);
	o->conf = (struct log_out_conf){.name = "p", .path = o->path, .backups = 3};
	o->stream.program_fd = program[0];
	o->program = program[1];
	o->journal = -1;
	start(o);
	*state = o;
	return 0;
}

static int close_output(void **state)
{
	struct output *o = *state;
	char command[128];

	stream_fini(&o->stream);
	peek_fini(&o->peek);
	fd_close(&o->program);
	fd_close(&o->stage[0]);
	fd_close(&o->stage[1]);
	fd_close(&o->journal);
	snprintf(command, sizeof(command), "rm -rf '%s'", o->dir);
	assert_int_equal(system(command), 0);
	free(o);
	return 0;
}

static void put(struct output *o, const char *text)
{
	assert_int_equal(fd_write_all(o->program, text, strlen(text)), 0);
	stream_pump(&o->stream, 1 << 20);
}

/* Numbered lines of 100 bytes. */
static void put_numbered(struct output *o, unsigned from, unsigned to)
{
	char line[101];

	for (unsigned i = from; i < to; i++) {
		snprintf(line, sizeof(line), "%08u%91s\n", i, "");
		assert_int_equal(fd_write_all(o->program, line, 100), 0);
		if (i % 100 == 99)
			stream_pump(&o->stream, 1 << 20);
	}
	stream_pump(&o->stream, 1 << 20);
}

/* The text of log number n, "" when there is none; free() it. */
static char *text_of(const struct output *o, uint32_t n)
{
	char name[128], *text = calloc(1, 1 << 20);
	int fd;

	assert_int_equal(rotate_name(name, sizeof(name), o->path, n), 0);
	assert_non_null(text);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		assert_true(read(fd, text, (1 << 20) - 1) >= 0);
		close(fd);
	}
	return text;
}

static void assert_text(const struct output *o, uint32_t n, const char *expected)
{
	char *text = text_of(o, n);

	assert_string_equal(text, expected);
	free(text);
}

static void make_file(const struct output *o, uint32_t n, const char *text)
{
	char name[128];
	int fd;

	assert_int_equal(rotate_name(name, sizeof(name), o->path, n), 0);
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

/* ---- rotation --------------------------------------------------------------------------------------- */

static void logs_hold_whole_lines_and_the_newest_are_kept(void **state)
{
	struct output *o = *state;
	unsigned next = 500 - 40; /* 10 lines a log: the last four of fifty */

	o->stream.out.conf.max_bytes = 1050;
	put_numbered(o, 0, 500);
	assert_text(o, 4, "");
	for (uint32_t n = 3; n != UINT32_MAX; n--) {
		char *text = text_of(o, n);

		assert_int_equal(strlen(text), 1000);
		for (char *at = text; *at; at += 100, next++)
			assert_int_equal(strtoul(at, NULL, 10), next);
		free(text);
	}
	assert_int_equal(next, 500);
}

static void a_line_longer_than_a_log_is_not_torn(void **state)
{
	struct output *o = *state;

	o->stream.out.conf.max_bytes = 10;
	put(o, "one\n");
	put(o, "a line that is longer than any log\ntwo\n");
	put(o, "begun");
	put(o, ", gone on with and ended\nlast\n");
	assert_text(o, 3, "one\n");
	assert_text(o, 2, "a line that is longer than any log\n");
	assert_text(o, 1, "two\nbegun, gone on with and ended\n");
	assert_text(o, 0, "last\n");
}

/* A program that never ends a line must not fill the disk with one log. */
static void an_endless_line_is_cut_at_last(void **state)
{
	struct output *o = *state;
	char *text;

	o->stream.out.conf.max_bytes = 1 << 10;
	for (int i = 0; i < 300; i++)
		put(o, "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789");
	text = text_of(o, 1);
	assert_true(strlen(text) > 1 << 10 && strlen(text) < 80 << 10);
	free(text);
}

static void with_no_limit_a_log_grows(void **state)
{
	struct output *o = *state;
	char *text;

	o->stream.out.conf.max_bytes = 0;
	put_numbered(o, 0, 5000);
	text = text_of(o, 0);
	assert_int_equal(strlen(text), 500000);
	free(text);
	assert_text(o, 1, "");
}

static void without_backups_the_old_log_goes(void **state)
{
	struct output *o = *state;

	o->stream.out.conf.max_bytes = 8;
	o->stream.out.conf.backups = 0;
	put(o, "first\n");
	put(o, "second\n");
	assert_text(o, 0, "second\n");
	assert_text(o, 1, "");
}

/* Killed after any of its renames: what the next scribe does loses no log that was to be kept. */
static void a_rotation_that_was_cut_short_loses_no_log(void **state)
{
	struct output *o = *state;

	for (uint32_t gap = 1; gap <= 3; gap++) {
		static const char *const names[] = {"newest\n", "b\n", "c\n", "d\n"};
		uint32_t name = 0;

		for (uint32_t n = 0; n <= 3; n++) {
			char path[128];

			rotate_name(path, sizeof(path), o->path, n);
			unlink(path);
			if (n != gap)
				make_file(o, n, names[name++]);
		}
		assert_int_equal(rotate_files(o->path, 3), 0);
		assert_text(o, 0, "");
		assert_text(o, 1, "newest\n");
		assert_text(o, 2, "b\n");
		assert_text(o, 3, "c\n");
	}
}

/* Killed after the renames, before the new file; or after a write beyond the limit. */
static void the_next_scribe_goes_on_where_the_last_one_was_killed(void **state)
{
	struct output *o = *state;

	o->conf.max_bytes = 12;
	make_file(o, 0, "0123456789ab\n");
	assert_int_equal(write(o->stage[1], "staged\n", 7), 7);
	o->stream.out.conf.max_bytes = 12;
	stream_pump(&o->stream, 1 << 20);
	assert_text(o, 1, "0123456789ab\n");
	assert_text(o, 0, "staged\n");
	assert_int_equal(rotate_files(o->path, 3), 0);
	log_out_fini(&o->stream.out); /* killed */
	log_out_init(&o->stream.out, &o->conf, &o->peek);
	put(o, "next\n");
	assert_text(o, 2, "0123456789ab\n");
	assert_text(o, 1, "staged\n");
	assert_text(o, 0, "next\n");
}

static void a_log_that_cannot_be_rotated_grows(void **state)
{
	struct output *o = *state;
	char path[128];

	o->stream.out.conf.max_bytes = 8;
	o->stream.out.conf.backups = 1;
	rotate_name(path, sizeof(path), o->path, 1);
	assert_int_equal(mkdir(path, 0755), 0); /* in the way */
	put(o, "first\n");
	put(o, "second\n");
	put(o, "third\n");
	assert_text(o, 0, "first\nsecond\nthird\n");
	assert_int_equal(rmdir(path), 0);
	put(o, "later\n");
	assert_text(o, 1, "first\nsecond\nthird\n");
	assert_text(o, 0, "later\n");
}

static void the_target_of_a_link_is_rotated_and_the_link_stays(void **state)
{
	struct output *o = *state;
	char target[96], rotated[112];
	struct stat st;

	snprintf(target, sizeof(target), "%s/elsewhere", o->dir);
	snprintf(rotated, sizeof(rotated), "%s.1", target);
	assert_int_equal(symlink(target, o->path), 0);
	o->stream.out.conf.max_bytes = 8;
	put(o, "first\n");
	put(o, "second\n");
	assert_int_equal(lstat(o->path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_text(o, 0, "second\n");
	assert_int_equal(stat(rotated, &st), 0);
	assert_int_equal(st.st_size, 6);
}

/* ---- somebody else's hand ----------------------------------------------------------------------------- */

static void a_log_that_was_moved_away_is_opened_anew(void **state)
{
	struct output *o = *state;
	char other[128];

	snprintf(other, sizeof(other), "%s/kept", o->dir);
	put(o, "before\n");
	assert_int_equal(rename(o->path, other), 0);
	put(o, "after\n");
	assert_text(o, 0, "after\n");
	assert_int_equal(unlink(o->path), 0);
	put(o, "and again\n");
	assert_text(o, 0, "and again\n");
}

static void a_log_that_was_truncated_goes_on_at_its_begin(void **state)
{
	struct output *o = *state;

	put(o, "before\n");
	assert_int_equal(truncate(o->path, 0), 0);
	put(o, "after\n");
	assert_text(o, 0, "after\n");
}

static void a_directory_in_its_place_is_an_error_until_it_goes(void **state)
{
	struct output *o = *state;

	assert_int_equal(mkdir(o->path, 0755), 0);
	put(o, "kept in the pipe\n");
	assert_int_equal(o->stream.error, EISDIR);
	assert_int_equal(rmdir(o->path), 0);
	stream_retry(&o->stream);
	assert_int_equal(o->stream.error, 0);
	assert_text(o, 0, "kept in the pipe\n");
}

static void the_directory_gone_is_an_error_until_it_is_back(void **state)
{
	struct output *o = *state;
	char away[80];

	snprintf(away, sizeof(away), "%s.away", o->dir);
	put(o, "before\n");
	assert_int_equal(rename(o->dir, away), 0);
	put(o, "in between\n");
	assert_int_equal(o->stream.error, ENOENT);
	assert_int_equal(rename(away, o->dir), 0);
	stream_retry(&o->stream);
	assert_text(o, 0, "before\nin between\n");
}

static void one_gap_has_one_notice(void **state)
{
	struct output *o = *state;
	char dir[96], path[112], *text, *notice;

	snprintf(dir, sizeof(dir), "%s/none", o->dir);
	snprintf(path, sizeof(path), "%s/p.log", dir);
	o->stream.out.conf.path = path;
	put_numbered(o, 0, 1000); /* more than the stage holds */
	put(o, "whole\nbegun");
	assert_true(o->stream.dropped > 0 && o->stream.mid_line);
	assert_int_equal(fd_write_all(o->program, " and ended\nnext\n", 16), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	stream_retry(&o->stream);
	stream_pump(&o->stream, 1 << 20);
	assert_int_equal(rename(path, o->path), 0);
	text = text_of(o, 0);
	notice = strstr(text, "bytes of output dropped here: No such file or directory\n");
	assert_non_null(notice);
	assert_string_equal(strchr(notice, '\n'), "\nnext\n");
	free(text);
}

/* ---- FIFOs and devices --------------------------------------------------------------------------------- */

static void a_fifo_is_written_while_somebody_reads(void **state)
{
	struct output *o = *state;
	char buf[64] = "";
	int fd;

	assert_int_equal(mkfifo(o->path, 0600), 0);
	put(o, "one\n");
	assert_int_equal(o->stream.error, ENXIO); /* nobody reads */
	fd = open(o->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	stream_retry(&o->stream);
	put(o, "two\n");
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), 8);
	assert_string_equal(buf, "one\ntwo\n");
	close(fd);
	put(o, "three\n");
	assert_int_equal(o->stream.error, EPIPE);
}

/* Both pipes and the FIFO are full: not an error, and nothing is dropped before its patience ends. */
static void a_slow_reader_is_waited_for_but_not_for_ever(void **state)
{
	struct output *o = *state;
	static char buf[1 << 20];
	ssize_t n, got = 0;
	unsigned lines = 0;
	int fd;

	assert_int_equal(mkfifo(o->path, 0600), 0);
	fd = open(o->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	fcntl(o->program, F_SETFL, O_NONBLOCK);
	do {
		stream_pump(&o->stream, 1 << 20);
		n = write(o->program, "0123456789012345678901234567890123456789012345678\n", 50);
		lines += n == 50;
	} while (n == 50);
	assert_int_equal(o->stream.error, 0);
	assert_true(o->stream.stuck_since != 0 && o->stream.dropped == 0);
	assert_int_equal(log_out_wait_fd(&o->stream.out), o->stream.out.fd);
	o->stream.stuck_since -= STREAM_PATIENCE;
	stream_pump(&o->stream, 1 << 20);
	assert_true(o->stream.dropped > 0);
	lines -= (unsigned)(o->stream.dropped / 50);
	do {
		stream_pump(&o->stream, 1 << 20);
		n = read(fd, buf + got, sizeof(buf) - 1 - (size_t)got);
		got += n > 0 ? n : 0;
	} while (n > 0);
	assert_non_null(strstr(buf, "bytes of output dropped here: nobody read it in time"));
	assert_true((size_t)got > lines * 50);
	assert_int_equal(o->stream.stuck_since, 0);
	close(fd);
}

static void devices_take_everything(void **state)
{
	struct output *o = *state;

	o->conf.path = "/dev/null";
	o->conf.max_bytes = 1 << 10;
	log_out_init(&o->stream.out, &o->conf, &o->peek);
	put_numbered(o, 0, 5000);
	assert_int_equal(pipe_waiting(o->stage[0]), 0);
	assert_true(o->stream.error == 0 && o->stream.dropped == 0);
}

/* ---- syslog ---------------------------------------------------------------------------------------------- */

static void use_syslog(struct output *o)
{
	o->conf.path = MODEL_LOG_SYSLOG;
	o->conf.syslog_path = o->path;
	log_out_fini(&o->stream.out);
	log_out_init(&o->stream.out, &o->conf, &o->peek);
}

static void start_journal(struct output *o)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	fd_close(&o->journal);
	unlink(o->path);
	strcpy(sa.sun_path, o->path);
	o->journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(o->journal, (const struct sockaddr *)&sa, sizeof(sa)), 0);
}

/* The next message, without its time. */
static void assert_message(struct output *o, const char *expected)
{
	char buf[10000];
	ssize_t n = recv(o->journal, buf, sizeof(buf) - 1, 0);

	assert_true(n > 20);
	buf[n] = '\0';
	assert_memory_equal(buf, "<30>", 4);
	assert_string_equal(buf + 4 + strlen("Mmm dd hh:mm:ss "), expected);
}

static void syslog_gets_lines_with_the_programs_name(void **state)
{
	struct output *o = *state;

	start_journal(o);
	use_syslog(o);
	put(o, "first\n\nsecond\nbegun");
	assert_message(o, "p: first");
	assert_message(o, "p: second");
	assert_int_equal(recv(o->journal, (char[1]){0}, 1, 0), -1);
	assert_int_equal(stream_rest(&o->stream), 5);
	put(o, " and ended\n");
	assert_message(o, "p: begun and ended");
	assert_int_equal(stream_rest(&o->stream), 0);
}

static void the_begin_of_a_line_reaches_syslog_at_the_end(void **state)
{
	struct output *o = *state;

	start_journal(o);
	use_syslog(o);
	put(o, "password: ");
	stream_finish(&o->stream, 1 << 20);
	assert_message(o, "p: password: ");
}

/* A progress bar: each dot is a piece of its own in the pipes, which have room for 16. */
static void dots_without_an_end_do_not_clog_the_pipes(void **state)
{
	struct output *o = *state;

	start_journal(o);
	use_syslog(o);
	for (int i = 0; i < 20; i++)
		put(o, ".");
	assert_int_equal(pipe_waiting(o->stream.program_fd), 0);
	assert_message(o, "p: ................");
	put(o, "\n");
	assert_message(o, "p: ....");
}

static void syslog_gets_a_long_line_in_pieces(void **state)
{
	struct output *o = *state;
	char line[20001], expected[10000] = "p: ";

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	line[sizeof(line) - 2] = '\n';
	start_journal(o);
	use_syslog(o);
	put(o, line);
	memset(expected + 3, 'x', 8000);
	assert_message(o, expected);
	assert_message(o, expected);
	expected[3 + 19999 - 16000] = '\0';
	assert_message(o, expected);
}

static void without_syslog_output_waits_and_is_not_lost(void **state)
{
	struct output *o = *state;

	use_syslog(o);
	put(o, "early\n");
	assert_int_equal(o->stream.error, ENOENT);
	start_journal(o);
	stream_retry(&o->stream);
	assert_message(o, "p: early");
	start_journal(o); /* syslog is started anew */
	put(o, "later\n");
	assert_message(o, "p: later");
}

static void a_stopped_syslog_loses_nothing_while_there_is_room(void **state)
{
	struct output *o = *state;
	char expected[32];

	start_journal(o);
	use_syslog(o);
	for (int i = 0; i < 2000; i++) {
		char line[16];

		snprintf(line, sizeof(line), "line %d\n", i);
		put(o, line);
	}
	assert_true(o->stream.stuck_since != 0 && o->stream.dropped == 0);
	assert_true(log_out_wait_fd(&o->stream.out) >= 0);
	for (int i = 0; i < 2000; i++) {
		snprintf(expected, sizeof(expected), "p: line %d", i);
		stream_pump(&o->stream, 1 << 20);
		assert_message(o, expected);
	}
}

#define output(name) cmocka_unit_test_setup_teardown(name, open_output, close_output)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_ends_at_the_end_of_a_line),
		output(logs_hold_whole_lines_and_the_newest_are_kept),
		output(a_line_longer_than_a_log_is_not_torn),
		output(an_endless_line_is_cut_at_last),
		output(with_no_limit_a_log_grows),
		output(without_backups_the_old_log_goes),
		output(a_rotation_that_was_cut_short_loses_no_log),
		output(the_next_scribe_goes_on_where_the_last_one_was_killed),
		output(a_log_that_cannot_be_rotated_grows),
		output(the_target_of_a_link_is_rotated_and_the_link_stays),
		output(a_log_that_was_moved_away_is_opened_anew),
		output(a_log_that_was_truncated_goes_on_at_its_begin),
		output(a_directory_in_its_place_is_an_error_until_it_goes),
		output(the_directory_gone_is_an_error_until_it_is_back),
		output(one_gap_has_one_notice),
		output(a_fifo_is_written_while_somebody_reads),
		output(a_slow_reader_is_waited_for_but_not_for_ever),
		output(devices_take_everything),
		output(syslog_gets_lines_with_the_programs_name),
		output(the_begin_of_a_line_reaches_syslog_at_the_end),
		output(dots_without_an_end_do_not_clog_the_pipes),
		output(syslog_gets_a_long_line_in_pieces),
		output(without_syslog_output_waits_and_is_not_lost),
		output(a_stopped_syslog_loses_nothing_while_there_is_room),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
