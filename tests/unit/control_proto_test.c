/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/control_proto.h"

static void lines_come_out_as_they_went_in_whatever_the_pieces(void **state)
{
	static const char text[] = "one\n\nthree 3\nrest";
	static const char *const lines[] = { "one", "", "three 3" };

	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct control_buffer b;
		size_t n = 0, len;
		char *line;

		control_buffer_init(&b, 64);
		for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
			size_t left = sizeof(text) - 1 - at;

			assert_int_equal(control_buffer_append(&b, text + at,
							       left < piece ? left : piece),
					 0);
			while ((line = control_buffer_line(&b, &len)) != NULL) {
				assert_true(n < 3);
				assert_int_equal(len, strlen(lines[n]));
				assert_memory_equal(line, lines[n], len);
				n++;
				control_buffer_drop(&b, len + 1);
			}
		}
		assert_int_equal(n, 3);
		assert_int_equal(b.len, 4);
		control_buffer_fini(&b);
	}
}

static void a_line_stays_until_it_is_dropped(void **state)
{
	struct control_buffer b;
	size_t len;

	control_buffer_init(&b, 64);
	assert_null(control_buffer_line(&b, &len));
	control_buffer_append(&b, "ab\n", 3);
	assert_non_null(control_buffer_line(&b, &len));
	control_buffer_append(&b, "cd\n", 3);
	assert_non_null(control_buffer_line(&b, &len));
	assert_int_equal(len, 2);
	control_buffer_fini(&b);
}

static void a_buffer_never_holds_more_than_its_maximum(void **state)
{
	struct control_buffer b;
	json_t *json = json_pack("{s:s}", "key", "a value of some length");

	control_buffer_init(&b, 10);
	assert_int_equal(control_buffer_append(&b, "12345678", 8), 0);
	assert_int_equal(control_buffer_append(&b, "901", 3), -EMSGSIZE);
	assert_int_equal(control_buffer_append_json(&b, json), -EMSGSIZE);
	assert_int_equal(b.len, 8); /* nothing of what did not fit */
	assert_int_equal(control_buffer_append(&b, "90", 2), 0);
	assert_int_equal(control_buffer_read(&b, 0), -EMSGSIZE);
	control_buffer_fini(&b);
	json_decref(json);
}

static void what_the_socket_does_not_take_is_sent_later(void **state)
{
	struct control_buffer out, in;
	char *text = malloc(1 << 20);
	int fds[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	memset(text, 'x', 1 << 20);
	text[(1 << 20) - 1] = '\n';
	control_buffer_init(&out, 2 << 20);
	control_buffer_init(&in, 2 << 20);
	assert_int_equal(control_buffer_append(&out, text, 1 << 20), 0);
	while (control_buffer_flush(&out, fds[0]) == -EAGAIN)
		while ((n = control_buffer_read(&in, fds[1])) > 0)
			;
	while ((n = control_buffer_read(&in, fds[1])) > 0)
		;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(in.len, 1 << 20);
	assert_memory_equal(in.data, text, 1 << 20);

	close(fds[1]);
	control_buffer_append(&out, "x", 1);
	assert_int_equal(control_buffer_flush(&out, fds[0]), -EPIPE);
	close(fds[0]);
	control_buffer_fini(&out);
	control_buffer_fini(&in);
	free(text);
}

static void numbers_go_out_as_they_are_written(void **state)
{
	struct control_buffer b;
	json_t *json = json_pack("{s:f}", "load", 0.1);

	control_buffer_init(&b, 100);
	assert_int_equal(control_buffer_append_json(&b, json), 0);
	assert_int_equal(b.len, strlen("{\"load\":0.1}\n"));
	assert_memory_equal(b.data, "{\"load\":0.1}\n", b.len);
	control_buffer_fini(&b);
	json_decref(json);
}

static void only_objects_are_messages(void **state)
{
	static const struct {
		const char *line, *why;
	} bad[] = {
		{ "", "nothing" },
		{ "[]", "an array" },
		{ "7", "a number" },
		{ "{} {}", "two" },
		{ "{\"a\":1,\"a\":2}", "which of the two?" },
		{ "{\"a\":", "cut" },
		{ "{\"a\":\"\xff\"}", "not UTF-8" },
	};
	json_t *json = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (control_parse(bad[i].line, strlen(bad[i].line), &json) != -EBADMSG)
			fail_msg("accepted: %s", bad[i].why);
		assert_null(json);
	}
	assert_int_equal(control_parse("{}", 2, &json), 0);
	json_decref(json);
}

static int code_of(const char *text, const char **message)
{
	static json_t *reply;

	json_decref(reply);
	reply = json_loads(text, 0, NULL);
	return control_reply_code(reply, message);
}

static void the_code_of_a_reply_is_an_exit_code(void **state)
{
	const char *m;

	assert_int_equal(code_of("{\"schema\":1}", &m), 0);
	assert_int_equal(
		code_of("{\"schema\":1,\"error\":{\"code\":9,\"message\":\"no\"}}", &m), 9);
	assert_string_equal(m, "no");
	/* What this version does not understand is never "done". */
	assert_int_equal(code_of("{\"schema\":2}", &m), 1);
	assert_int_equal(code_of("{}", &m), 1);
	assert_int_equal(code_of("{\"schema\":1,\"error\":{\"code\":77}}", &m), 1);
	assert_int_equal(code_of("{\"schema\":1,\"error\":{\"code\":0}}", &m), 1);
	assert_int_equal(code_of("{\"schema\":1,\"error\":7}", &m), 1);
	code_of("{}", &m);
}

static void an_error_is_sent_whatever_is_in_its_text(void **state)
{
	char long_text[600];
	const char *m;
	json_t *error;
	char *dump;

	memset(long_text, 'y', sizeof(long_text));
	/* The cut falls into the middle of a character. */
	memcpy(long_text + 510, "\xc3\xa4", 3);
	error = control_error_new(CONTROL_FAILED, "%s", long_text);
	dump = json_dumps(error, 0);
	assert_non_null(dump);
	assert_int_equal(control_reply_code(error, &m), CONTROL_FAILED);
	free(dump);
	json_decref(error);
}

static void a_misspelt_name_finds_the_right_one(void **state)
{
	assert_int_equal(control_name_distance("foo", "foobar"), 1); /* a beginning */
	assert_int_equal(control_name_distance("master", "mastre"), 2);
	assert_int_equal(control_name_distance("wroker", "worker"), 2);
	assert_int_equal(control_name_distance("worker", "master"), -1);
	assert_int_equal(control_name_distance("a", "b"), -1);
	assert_int_equal(control_name_distance("", "x"), -1);
	assert_true(control_name_distance("masters", "master") > 0);
}

static void later_commands_are_known(void **state)
{
	assert_true(control_command_is_later("metrics"));
	assert_true(control_command_is_later("metrics"));
	assert_false(control_command_is_later("status"));
	assert_false(control_command_is_later("paus"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_out_as_they_went_in_whatever_the_pieces),
		cmocka_unit_test(a_line_stays_until_it_is_dropped),
		cmocka_unit_test(a_buffer_never_holds_more_than_its_maximum),
		cmocka_unit_test(what_the_socket_does_not_take_is_sent_later),
		cmocka_unit_test(numbers_go_out_as_they_are_written),
		cmocka_unit_test(only_objects_are_messages),
		cmocka_unit_test(the_code_of_a_reply_is_an_exit_code),
		cmocka_unit_test(an_error_is_sent_whatever_is_in_its_text),
		cmocka_unit_test(a_misspelt_name_finds_the_right_one),
		cmocka_unit_test(later_commands_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
