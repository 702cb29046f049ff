/* SPDX-License-Identifier: MIT */
#include "supd/scribe/tails.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/control_proto.h"
#include "common/fd.h"
#include "supd/scribe/rotate.h"
#include "supd/scribe/utf8.h"
#include "tests/unit/tiny_model.h"

/* `supctl logs`: the scribe's side of it, with real files and sockets in this process. */

#define CLIENTS (TAILS_MAX + 1)

struct fixture {
	char dir[64], path[96];
	struct tiny_model model;
	struct ev_loop *loop;
	struct stall stall; /* not started */
	struct tails tails;
	int fd[CLIENTS];
	struct control_buffer in[CLIENTS];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/supd-scribe-tails.%d.XXXXXX", (int)getpid());
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/p.log", f->dir);
	f->model = tiny_model_new(1, 0, 1);
	tiny_program(&f->model, 0)->name = tiny_str(&f->model, "p");
	tiny_program(&f->model, 0)->stdout_logfile = tiny_str(&f->model, f->path);
	tiny_program(&f->model, 0)->logfile_backups = 3;
	f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	tails_init(&f->tails, f->loop, f->model.m, &f->stall);
	for (int i = 0; i < CLIENTS; i++) {
		f->fd[i] = -1;
		control_buffer_init(&f->in[i], CONTROL_REPLY_MAX);
	}
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	tails_fini(&f->tails);
	ev_loop_destroy(f->loop);
	for (int i = 0; i < CLIENTS; i++) {
		fd_close(&f->fd[i]);
		control_buffer_fini(&f->in[i]);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	free(f->model.m);
	free(f);
	return 0;
}

static void append(struct fixture *f, uint32_t number, const char *text, size_t len)
{
	char name[128];
	int fd;

	assert_int_equal(rotate_name(name, sizeof(name), f->path, number), 0);
	fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, len), 0);
	close(fd);
	tails_poke(&f->tails, 0);
}

static void print(struct fixture *f, const char *text)
{
	append(f, 0, text, strlen(text));
}

static void ask(struct fixture *f, int client, uint32_t lines, bool follow)
{
	struct ipc_logs order = {.program = 0, .output = 0, .lines = lines, .follow = follow};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	f->fd[client] = pair[0];
	tails_add(&f->tails, &order, pair[1]);
}

/* Everything that can be done at the moment. */
static void spin(struct fixture *f)
{
	for (int idle = 0; idle < 3;) {
		unsigned before = ev_iteration(f->loop);

		ev_run(f->loop, EVRUN_NOWAIT);
		idle = ev_pending_count(f->loop) == 0 && ev_iteration(f->loop) == before + 1
			       ? idle + 1
			       : 0;
	}
}

/* The next object, which ends with *ret_text (its line, or NULL); NULL: the connection has ended. */
static json_t *next(struct fixture *f, int client)
{
	struct control_buffer *in = &f->in[client];
	json_t *object;
	size_t len;
	char *line;

	for (int i = 0; !(line = control_buffer_line(in, &len)); i++) {
		ssize_t n;

		ev_run(f->loop, EVRUN_NOWAIT);
		n = control_buffer_read(in, f->fd[client]);
		if (n == 0)
			return NULL;
		assert_true(n > 0 || n == -EAGAIN);
		assert_true(i < 100000);
	}
	assert_int_equal(control_parse(line, len, &object), 0);
	control_buffer_drop(in, len + 1);
	return object;
}

static void expect_log(struct fixture *f, int client)
{
	json_t *object = next(f, client);

	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "log")), f->path);
	json_decref(object);
}

static void expect_line(struct fixture *f, int client, const char *text, bool more)
{
	json_t *object = next(f, client);

	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "line")), text);
	assert_int_equal(json_is_true(json_object_get(object, "more")), more);
	json_decref(object);
}

static void expect_end(struct fixture *f, int client, int lines)
{
	json_t *object = next(f, client);
	json_t *result = json_object_get(object, "result");

	assert_non_null(result);
	assert_int_equal(json_integer_value(json_object_get(result, "lines")), lines);
	json_decref(object);
	assert_null(next(f, client));
}

static void expect_error(struct fixture *f, int client, const char *part)
{
	json_t *object = next(f, client);
	const char *message;

	assert_int_equal(control_reply_code(object, &message), CONTROL_FAILED);
	assert_non_null(strstr(message, part));
	json_decref(object);
	assert_null(next(f, client));
}

/* Nothing comes, and the loop has nothing to do. */
static void expect_silence(struct fixture *f, int client)
{
	spin(f);
	assert_int_equal(control_buffer_read(&f->in[client], f->fd[client]), -EAGAIN);
}

/* ---- the end of a log -------------------------------------------------------------------------- */

static void the_last_lines_are_sent(void **state)
{
	struct fixture *f = *state;

	print(f, "one\ntwo\n\nfour\nfive\n");
	ask(f, 0, 3, false);
	expect_log(f, 0);
	expect_line(f, 0, "", false);
	expect_line(f, 0, "four", false);
	expect_line(f, 0, "five", false);
	expect_end(f, 0, 3);
}

static void a_line_without_an_end_is_one(void **state)
{
	struct fixture *f = *state;

	print(f, "one\ntwo\nthr");
	ask(f, 0, 2, false);
	expect_log(f, 0);
	expect_line(f, 0, "two", false);
	expect_line(f, 0, "thr", true);
	expect_end(f, 0, 2);
}

static void more_lines_than_there_are_is_all(void **state)
{
	struct fixture *f = *state;

	print(f, "one\ntwo\n");
	ask(f, 0, 100, false);
	expect_log(f, 0);
	expect_line(f, 0, "one", false);
	expect_line(f, 0, "two", false);
	expect_end(f, 0, 2);
	ask(f, 1, 0, false);
	expect_log(f, 1);
	expect_end(f, 1, 0);
}

static void lines_reach_back_into_older_logs(void **state)
{
	struct fixture *f = *state;

	append(f, 2, "one\ntwo\n", 8);
	append(f, 1, "three\n", 6);
	append(f, 0, "", 0); /* rotated just now */
	ask(f, 0, 2, false);
	expect_log(f, 0);
	expect_line(f, 0, "two", false);
	expect_line(f, 0, "three", false);
	expect_end(f, 0, 2);
	print(f, "four\n");
	ask(f, 1, 9, false);
	expect_log(f, 1);
	expect_line(f, 1, "one", false);
	expect_line(f, 1, "two", false);
	expect_line(f, 1, "three", false);
	expect_line(f, 1, "four", false);
	expect_end(f, 1, 4);
}

/* More than a block to look through, more than a piece to send. */
static void long_logs_are_found_and_sent_in_pieces(void **state)
{
	struct fixture *f = *state;
	char line[1001], expected[1001];

	for (int i = 0; i < 300; i++) {
		snprintf(line, sizeof(line), "%0999d\n", i);
		print(f, line);
	}
	ask(f, 0, 200, false);
	expect_log(f, 0);
	for (int i = 100; i < 300;) {
		json_t *object = next(f, 0);
		size_t len = strlen(strcpy(expected, json_string_value(json_object_get(object, "line"))));

		while (json_is_true(json_object_get(object, "more"))) {
			json_decref(object);
			object = next(f, 0);
			strcpy(expected + len, json_string_value(json_object_get(object, "line")));
			len = strlen(expected);
		}
		json_decref(object);
		assert_int_equal(len, 999);
		assert_int_equal(atoi(expected), i++);
	}
	expect_end(f, 0, 200);
}

static void what_is_no_text_is_replaced(void **state)
{
	struct fixture *f = *state;

	append(f, 0, "caf\xc3\xa9 \xff\xc3 a\0b \xe2\x82\xac\n\xe2\x82", 19);
	ask(f, 0, 9, false);
	expect_log(f, 0);
	expect_line(f, 0, "café \xef\xbf\xbd\xef\xbf\xbd a\xef\xbf\xbd" "b €", false);
	expect_line(f, 0, "\xef\xbf\xbd\xef\xbf\xbd", true);
	expect_end(f, 0, 2);
}

static void every_byte_becomes_text_or_is_replaced(void **state)
{
	char in[3], out[9];
	size_t used;

	for (unsigned i = 0; i < 1u << 24; i += i < 1u << 16 ? 1 : 251) {
		json_t *text;
		size_t n;

		in[0] = (char)(i >> 16);
		in[1] = (char)(i >> 8);
		in[2] = (char)i;
		n = utf8_clean(in, 3, true, out, &used);
		assert_int_equal(used, 3);
		text = json_stringn(out, n); /* refuses what is not UTF-8 */
		assert_non_null(text);
		json_decref(text);
		utf8_clean(in, 3, false, out, &used);
		assert_true(used <= 3);
	}
}

/* ---- following ----------------------------------------------------------------------------------- */

static void a_follower_gets_what_comes(void **state)
{
	struct fixture *f = *state;

	print(f, "one\n");
	ask(f, 0, 10, true);
	expect_log(f, 0);
	expect_line(f, 0, "one", false);
	expect_silence(f, 0);
	print(f, "tw");
	expect_line(f, 0, "tw", true);
	print(f, "o\nthree\n");
	expect_line(f, 0, "o", false);
	expect_line(f, 0, "three", false);
	print(f, "\xe2\x82"); /* the begin of a character */
	expect_silence(f, 0);
	print(f, "\xac\n");
	expect_line(f, 0, "€", false);
}

static void a_follower_goes_along_with_rotations(void **state)
{
	struct fixture *f = *state;
	char expected[32];
	int sent = 0;

	ask(f, 0, 10, true); /* there is no log yet */
	expect_log(f, 0);
	for (int i = 0; i < 20; i++) {
		char text[32];

		snprintf(text, sizeof(text), "line %d\n", i);
		print(f, text);
		if (i == 0)
			spin(f);
		if (i % 3 == 2)
			assert_int_equal(rotate_files(f->path, 3), 0);
		for (; i % 7 == 6 && sent <= i; sent++) { /* two rotations behind at most */
			snprintf(expected, sizeof(expected), "line %d", sent);
			expect_line(f, 0, expected, false);
		}
	}
	for (; sent < 20; sent++) {
		snprintf(expected, sizeof(expected), "line %d", sent);
		expect_line(f, 0, expected, false);
	}
	expect_silence(f, 0);
}

static void a_follower_that_is_left_behind_goes_on_with_the_oldest(void **state)
{
	struct fixture *f = *state;

	print(f, "one\n");
	ask(f, 0, 1, true);
	expect_log(f, 0);
	expect_line(f, 0, "one", false);
	for (int i = 0; i < 5; i++) {
		char text[16];

		assert_int_equal(rotate_files(f->path, 3), 0);
		snprintf(text, sizeof(text), "after %d\n", i);
		print(f, text);
	}
	expect_line(f, 0, "after 1", false);
	expect_line(f, 0, "after 2", false);
	expect_line(f, 0, "after 3", false);
	expect_line(f, 0, "after 4", false);
	expect_silence(f, 0);
}

static void a_truncated_log_is_followed_from_its_begin(void **state)
{
	struct fixture *f = *state;

	print(f, "a long line\n");
	ask(f, 0, 1, true);
	expect_log(f, 0);
	expect_line(f, 0, "a long line", false);
	assert_int_equal(truncate(f->path, 0), 0);
	print(f, "short\n");
	expect_line(f, 0, "short", false);
}

/* ---- clients --------------------------------------------------------------------------------------- */

static void logs_that_cannot_be_read_are_an_error(void **state)
{
	struct fixture *f = *state;

	ask(f, 0, 10, false);
	expect_error(f, 0, "No such file");
	assert_int_equal(mkfifo(f->path, 0600), 0);
	ask(f, 1, 10, true);
	expect_error(f, 1, "not a regular file");
	assert_int_equal(f->tails.n, 0);
}

static void a_client_that_leaves_is_forgotten(void **state)
{
	struct fixture *f = *state;

	print(f, "one\n");
	ask(f, 0, 10, true);
	ask(f, 1, 10, true);
	expect_log(f, 1);
	fd_close(&f->fd[0]);
	spin(f);
	assert_int_equal(f->tails.n, 1);
	shutdown(f->fd[1], SHUT_WR); /* it only sends no more */
	expect_line(f, 1, "one", false);
	print(f, "two\n");
	expect_line(f, 1, "two", false);
	assert_int_equal(f->tails.n, 1);
}

/* Nothing is read for who does not read, and nothing is lost for it. */
static void a_slow_client_costs_no_memory(void **state)
{
	struct fixture *f = *state;
	static char newlines[8 << 20];
	size_t got = 0;
	json_t *object;

	memset(newlines, '\n', sizeof(newlines));
	append(f, 0, newlines, sizeof(newlines) / 16);
	ask(f, 0, 1000000, true);
	spin(f);
	append(f, 0, newlines, sizeof(newlines));
	spin(f); /* ends: it does not spin on who does not read */
	expect_log(f, 0);
	for (; got < sizeof(newlines) / 16 + sizeof(newlines); got++) {
		object = next(f, 0);
		assert_string_equal(json_string_value(json_object_get(object, "line")), "");
		json_decref(object);
		if (got == 100000) /* that is enough of it */
			break;
	}
	assert_int_equal(f->tails.n, 1);
}

static void the_number_of_clients_is_bounded(void **state)
{
	struct fixture *f = *state;
	char text[2048];

	memset(text, 'x', sizeof(text));
	print(f, "one\n");
	for (int i = 0; i < TAILS_MAX; i++) {
		ask(f, i, 10, true);
		expect_log(f, i);
		expect_line(f, i, "one", false);
	}
	ask(f, TAILS_MAX, 10, true);
	expect_error(f, TAILS_MAX, "16 clients");
	fd_close(&f->fd[TAILS_MAX]);
	control_buffer_drop(&f->in[TAILS_MAX], f->in[TAILS_MAX].len);

	/* One that does not read gives way, after a time. */
	for (int i = 0; i < 1000; i++)
		append(f, 0, text, sizeof(text));
	for (int k = 0; k < 3000; k++) {
		ev_run(f->loop, EVRUN_NOWAIT);
		for (int i = 1; i < TAILS_MAX; i++) {
			control_buffer_read(&f->in[i], f->fd[i]);
			control_buffer_drop(&f->in[i], f->in[i].len);
		}
	}
	f->tails.patience = 0;
	ask(f, TAILS_MAX, 0, true);
	expect_log(f, TAILS_MAX);
	assert_int_equal(f->tails.n, TAILS_MAX);
}

#define t(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(the_last_lines_are_sent),
		t(a_line_without_an_end_is_one),
		t(more_lines_than_there_are_is_all),
		t(lines_reach_back_into_older_logs),
		t(long_logs_are_found_and_sent_in_pieces),
		t(what_is_no_text_is_replaced),
		cmocka_unit_test(every_byte_becomes_text_or_is_replaced),
		t(a_follower_gets_what_comes),
		t(a_follower_goes_along_with_rotations),
		t(a_follower_that_is_left_behind_goes_on_with_the_oldest),
		t(a_truncated_log_is_followed_from_its_begin),
		t(logs_that_cannot_be_read_are_an_error),
		t(a_client_that_leaves_is_forgotten),
		t(a_slow_client_costs_no_memory),
		t(the_number_of_clients_is_bounded),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
