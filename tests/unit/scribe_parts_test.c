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
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/mtime.h"
#include "supd/scribe/log_sink.h"
#include "supd/scribe/stall.h"

/* The scribe's parts, each by itself, in this process. */

static int make_dir(char *buf, size_t size)
{
	snprintf(buf, size, "/tmp/supd-scribe-parts.%d.XXXXXX", (int)getpid());
	return mkdtemp(buf) ? 0 : -errno;
}

static void remove_dir(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

/* ---- a program's output ----------------------------------------------------------------------- */

struct output {
	char dir[64], path[96];
	pthread_mutex_t lock;
	struct log_out_conf conf;
	struct peek peek;
	struct stream stream;
	int program; /* its end */
};

static int open_output(void **state)
{
	struct output *o = calloc(1, sizeof(*o));
	int program[2], stage[2];

	assert_non_null(o);
	assert_int_equal(make_dir(o->dir, sizeof(o->dir)), 0);
	snprintf(o->path, sizeof(o->path), "%s/p.log", o->dir);
	assert_int_equal(fd_pipe(program, 0), 0);
	assert_int_equal(fd_pipe(stage, 0), 0);
	pthread_mutex_init(&o->lock, NULL);
	o->conf = (struct log_out_conf){.name = "p", .path = o->path};
	assert_int_equal(peek_init(&o->peek), 0);
	stream_init(&o->stream, &o->conf, (const int[]){program[0], stage[0], stage[1]}, &o->peek,
		    &o->lock);
	o->program = program[1];
	*state = o;
	return 0;
}

static int close_output(void **state)
{
	struct output *o = *state;

	stream_fini(&o->stream);
	peek_fini(&o->peek);
	fd_close(&o->program);
	remove_dir(o->dir);
	free(o);
	return 0;
}

static char *text_of(const struct output *o)
{
	char *text = calloc(1, 1 << 20);
	int fd = open(o->path, O_RDONLY | O_CLOEXEC);

	assert_non_null(text);
	assert_true(fd >= 0);
	assert_true(read(fd, text, (1 << 20) - 1) >= 0);
	close(fd);
	return text;
}

/* Lines of 100 bytes, numbered. */
static void write_numbered(struct output *o, unsigned from, unsigned to)
{
	char line[101];

	for (unsigned i = from; i < to; i++) {
		snprintf(line, sizeof(line), "%08u%91s\n", i, "");
		assert_int_equal(fd_write_all(o->program, line, 100), 0);
	}
}

static void the_gap_is_told_where_it_is(void **state)
{
	struct output *o = *state;
	char *text, *notice;

	write_numbered(o, 0, 300);
	pthread_mutex_lock(&o->lock);
	stream_relieve(&o->stream); /* the disk did not answer: the oldest lines are lost */
	pthread_mutex_unlock(&o->lock);
	write_numbered(o, 300, 310);
	stream_pump(&o->stream, 1 << 20);
	text = text_of(o);
	notice = strstr(text, "bytes of output dropped here");
	assert_non_null(notice);
	assert_null(strstr(text, "00000000"));
	assert_true(strstr(text, "00000299") > notice);
	assert_true(strstr(text, "00000309") > strstr(text, "00000299"));
	free(text);
}

/* The second thread holds the lock: the first one must get it, whatever the program writes. */
static void a_flood_does_not_keep_the_second_thread(void **state)
{
	struct output *o = *state;
	static const char noise[4096] = "noise";
	pid_t writer = fork();
	int waiting = 0;

	assert_true(writer >= 0);
	if (writer == 0)
		for (prctl(PR_SET_PDEATHSIG, SIGKILL);;)
			if (write(o->program, noise, sizeof(noise)) < 0)
				_exit(0);
	while (waiting < 60000)
		assert_int_equal(ioctl(o->stream.program_fd, FIONREAD, &waiting), 0);
	alarm(20);
	for (int i = 0; i < 10; i++) {
		uint64_t before = o->stream.dropped;

		stream_relieve(&o->stream);
		assert_true(o->stream.dropped - before <= 1 << 20);
	}
	alarm(0);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
}

/* ---- the second thread ------------------------------------------------------------------------ */

static void count(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* A long time, but never 200 ms with one piece of work: the clock says whether that was so. */
static bool work_in_pieces(struct stall *s)
{
	mtime begun = mtime_now(), last = begun;
	bool punctual = true;

	for (; last - begun < MTIME_MS(600); last = mtime_now()) {
		stall_begin(s);
		usleep(20000);
		punctual = punctual && mtime_now() - last < MTIME_MS(150);
	}
	stall_end(s);
	return punctual;
}

static void much_to_do_is_not_a_hanging_disk(void **state)
{
	struct stall s;
	atomic_uint n = 0;
	mtime give_up = mtime_now() + MTIME_SEC(30);

	assert_int_equal(stall_init(&s, count, &n), 0);
	while (!work_in_pieces(&s)) {
		assert_true(mtime_now() < give_up);
		atomic_store(&n, 0);
	}
	assert_int_equal(atomic_load(&n), 0);
	stall_begin(&s);
	while (atomic_load(&n) < 3) {
		assert_true(mtime_now() < give_up);
		usleep(1000);
	}
	stall_fini(&s);
}

/* ---- syslog ----------------------------------------------------------------------------------- */

struct journal {
	char dir[64], path[96];
	struct log_sink sink;
	int fd;
};

static int open_journal(void **state)
{
	struct journal *j = calloc(1, sizeof(*j));

	assert_non_null(j);
	assert_int_equal(make_dir(j->dir, sizeof(j->dir)), 0);
	snprintf(j->path, sizeof(j->path), "%s/log", j->dir);
	log_sink_init(&j->sink, false, "supd", j->path);
	j->fd = -1;
	*state = j;
	return 0;
}

static int close_journal(void **state)
{
	struct journal *j = *state;

	log_sink_fini(&j->sink);
	fd_close(&j->fd);
	remove_dir(j->dir);
	free(j);
	return 0;
}

static void start_journal(struct journal *j, int type)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	fd_close(&j->fd);
	unlink(j->path);
	strcpy(sa.sun_path, j->path);
	j->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(j->fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(j->fd, 4), 0);
}

static void assert_read(int fd, const char *begin, const char *end)
{
	char buf[2048] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n > 0);
	buf[n] = '\0';
	assert_memory_equal(buf, begin, strlen(begin));
	assert_true(strlen(buf) >= strlen(end));
	assert_string_equal(buf + strlen(buf) - strlen(end), end);
}

static void a_line_has_priority_time_and_name(void **state)
{
	struct journal *j = *state;

	start_journal(j, SOCK_DGRAM);
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_WARN, "engine: hello"));
	assert_read(j->fd, "<28>", " supd: engine: hello");
}

static void without_syslog_lines_are_dropped_and_later_ones_are_not(void **state)
{
	struct journal *j = *state;

	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "lost"));
	start_journal(j, SOCK_DGRAM);
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "first"));
	assert_read(j->fd, "<30>", " supd: first");
	start_journal(j, SOCK_DGRAM); /* syslog is started anew: another socket of that name */
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "second"));
	assert_read(j->fd, "<30>", " supd: second");
}

static void a_stopped_syslog_is_not_waited_for(void **state)
{
	struct journal *j = *state;
	unsigned n = 0;

	start_journal(j, SOCK_DGRAM);
	alarm(20);
	while (log_sink_put(&j->sink, LOG_LEVEL_INFO, "line"))
		n++;
	alarm(0);
	assert_true(n > 0);
	for (; n > 0; n--)
		assert_read(j->fd, "<30>", " supd: line");
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "goes on"));
	assert_read(j->fd, "<30>", " supd: goes on");
}

static void an_old_stream_syslog_gets_lines_with_an_end(void **state)
{
	struct journal *j = *state;
	char buf[256] = "";
	ssize_t n;
	int fd;

	start_journal(j, SOCK_STREAM);
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "one"));
	assert_true(log_sink_put(&j->sink, LOG_LEVEL_INFO, "two"));
	fd = accept(j->fd, NULL, NULL);
	assert_true(fd >= 0);
	n = recv(fd, buf, sizeof(buf), 0);
	assert_true(n > 0 && (size_t)n > strlen(buf) + 1);
	assert_non_null(strstr(buf, " supd: one"));
	assert_non_null(strstr(buf + strlen(buf) + 1, " supd: two"));
	close(fd);
}

#define output(name)  cmocka_unit_test_setup_teardown(name, open_output, close_output)
#define journal(name) cmocka_unit_test_setup_teardown(name, open_journal, close_journal)

int main(void)
{
	const struct CMUnitTest tests[] = {
		output(the_gap_is_told_where_it_is),
		output(a_flood_does_not_keep_the_second_thread),
		cmocka_unit_test(much_to_do_is_not_a_hanging_disk),
		journal(a_line_has_priority_time_and_name),
		journal(without_syslog_lines_are_dropped_and_later_ones_are_not),
		journal(a_stopped_syslog_is_not_waited_for),
		journal(an_old_stream_syslog_gets_lines_with_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
