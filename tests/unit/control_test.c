/* SPDX-License-Identifier: MIT */
#include "tests/unit/control_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The control server's socket: clients good and bad, and the form of the two large answers. */

#define VERSION "{\"command\":\"version\"}"

/* ---- requests --------------------------------------------------------------------------------------- */

static void a_request_is_answered_on_one_line(void **state)
{
	struct control_kit *k = *state;
	json_t *reply = kit_ask(k, VERSION);
	const json_t *result = json_object_get(reply, "result");

	assert_string_equal(json_string_value(json_object_get(result, "version")), SUPD_VERSION);
	assert_int_equal(json_integer_value(json_object_get(result, "pid")), 4321);
	json_decref(reply);
}

static void what_makes_no_sense_is_refused_and_the_next_request_is_heard(void **state)
{
	static const struct {
		const char *request;
		int code;
		const char *why;
	} cases[] = {
		{ "", 2, "an empty line" },
		{ "status", 2, "not JSON" },
		{ "{\"command\":", 2, "cut JSON" },
		{ "[1]", 2, "not an object" },
		{ "{}", 2, "no command" },
		{ "{\"command\":7}", 2, "a command that is no string" },
		{ "{\"command\":\"frobnicate\"}", 2, "an unknown command" },
		{ "{\"command\":\"Status\"}", 2, "names are exact" },
		{ "{\"command\":\"keygen\"}", 2, "supctl's own" },
		{ "{\"command\":\"metrics\"}", 2, "known, not supported yet" },
		{ "{\"command\":\"status\",\"args\":7}", 2, "args that are no object" },
		{ "{\"command\":\"status\",\"args\":{\"x\":1}}", 2, "an unknown argument" },
		{ "{\"command\":\"status\",\"args\":{\"force\":true}}", 2, "of another verb" },
		{ "{\"command\":\"start\"}", 2, "a name is missing" },
		{ "{\"command\":\"start\",\"args\":{\"name\":7}}", 2, "a name that is a number" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"a b\"}}", 4, "no possible name" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"\\n\"}}", 4, "not into the log" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"nobody\"}}", 4, "an unknown name" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"maste\"}}", 4, "no beginnings" },
		{ "{\"command\":\"stop\",\"args\":{\"name\":\"worker\",\"here\":1}}", 2,
		  "a flag that is a number" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"worker\",\"timeout_ms\":0}}", 2,
		  "no time at all" },
		{ "{\"command\":\"start\",\"args\":{\"name\":\"worker\",\"timeout_ms\":1e3}}", 2,
		  "a fraction" },
		{ "{\"command\":\"explain\",\"args\":{\"name\":\"master\"}}", 4, "no service" },
	};
	struct control_kit *k = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *message;
		json_t *reply = kit_ask(k, cases[i].request);
		int code = control_reply_code(reply, &message);

		if (code != cases[i].code || message[0] == '\0')
			fail_msg("%s: code %d \"%s\"", cases[i].why, code, message);
		json_decref(reply);
	}
	kit_check(k, VERSION, 0, NULL);
	assert_int_equal(k->n_spawns[WORKER] + k->n_spawns[MASTER] + k->n_commands, 0);
}

/* ---- logs: the connection goes to the scribe ---- */

static void a_client_that_wants_logs_is_passed_on(void **state)
{
	struct control_kit *k = *state;
	char text[8] = "";

	kit_send(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\",\"lines\":5,"
		    "\"follow\":true}}\n");
	kit_spin(k);
	assert_true(k->passed_fd > 0);
	assert_int_equal(k->logs.program, WORKER);
	assert_int_equal(k->logs.output, 0);
	assert_int_equal(k->logs.lines, 5);
	assert_true(k->logs.follow);
	/* The engine has let go of it: who has it now can talk, and end it. */
	assert_int_equal(k->e->control->n_clients, 0);
	assert_int_equal(write(k->passed_fd, "hello", 5), 5);
	close(k->passed_fd);
	assert_int_equal(read(k->fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(read(k->fd, text, sizeof(text)), 0);
}

static void logs_that_cannot_be_had_say_why(void **state)
{
	struct control_kit *k = *state;

	kit_check(k, "{\"command\":\"logs\"}", CONTROL_USAGE, "needs a name");
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"workr\"}}", CONTROL_UNKNOWN,
		  "is it worker?");
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"scheduler\"}}",
		  CONTROL_USAGE, "master, helper");
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\",\"lines\":-1}}",
		  CONTROL_USAGE, "0 to 1000000");
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\",\"lines\":\"5\"}}",
		  CONTROL_USAGE, "0 to 1000000");
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\",\"follow\":1}}",
		  CONTROL_USAGE, "true or false");
	kit_check(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\",\"lines\":1}}",
		  CONTROL_USAGE, "no such argument");
	tiny_program(&k->model, WORKER)->redirect_stderr = true;
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\",\"stderr\":true}}",
		  CONTROL_USAGE, "redirect_stderr");
	k->send_error = -ENOTCONN;
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\"}}", CONTROL_FAILED,
		  "try again");
	k->send_error = 0;
	tiny_program(&k->model, WORKER)->stdout_logfile = tiny_str(&k->model, MODEL_LOG_SYSLOG);
	kit_check(k, "{\"command\":\"logs\",\"args\":{\"name\":\"worker\"}}", CONTROL_FAILED,
		  "syslog");
	assert_int_equal(k->passed_fd, 0);
}

static void commands_of_a_later_version_say_so(void **state)
{
	kit_check(*state, "{\"command\":\"reload\"}", 2, "known, not supported yet");
}

static void a_misspelt_name_is_answered_with_the_right_one(void **state)
{
	kit_check(*state, "{\"command\":\"is-active\",\"args\":{\"name\":\"mastre\"}}", 4,
		  "is it master?");
}

static void requests_in_one_piece_are_answered_in_order(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, VERSION "\n{\"command\":\"metrics\"}\n" VERSION "\n");
	kit_expect(kit_reply(k), 0, NULL);
	kit_expect(kit_reply(k), 2, NULL);
	kit_expect(kit_reply(k), 0, NULL);
}

static void a_request_in_pieces_is_one_request(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, "{\"command\":");
	kit_spin(k);
	kit_send(k, "\"version\"");
	kit_spin(k);
	kit_send(k, "}\n");
	kit_expect(kit_reply(k), 0, NULL);
}

static void requests_behind_one_that_waits_are_kept(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}\n" VERSION "\n");
	kit_expect_silence(k);
	kit_spawned(k, WORKER);
	kit_expect(kit_reply(k), 0, NULL);
	kit_expect(kit_reply(k), 0, NULL);
}

/* ---- clients ------------------------------------------------------------------------------------------ */

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
	struct control_kit *k = *state;
	char *line = malloc(CONTROL_LINE_MAX + 1);

	memset(line, 'x', CONTROL_LINE_MAX);
	line[CONTROL_LINE_MAX] = '\0';
	kit_send(k, line);
	kit_expect(kit_reply(k), 2, "65536");
	kit_expect_closed(k, k->fd);
	free(line);
}

static void a_line_of_the_greatest_length_is_read(void **state)
{
	struct control_kit *k = *state;
	char *line = malloc(CONTROL_LINE_MAX + 1);

	memset(line, ' ', CONTROL_LINE_MAX);
	memcpy(line, VERSION, strlen(VERSION));
	line[CONTROL_LINE_MAX - 1] = '\n';
	line[CONTROL_LINE_MAX] = '\0';
	kit_send(k, line);
	kit_expect(kit_reply(k), 0, NULL);
	free(line);
}

static void half_a_request_is_not_waited_for(void **state)
{
	struct control_kit *k = *state;

	k->e->control->client_timeout = 0.05;
	kit_send(k, "{\"command\":");
	kit_expect(kit_reply(k), 2, "did not come");
	kit_expect_closed(k, k->fd);
}

static void a_quiet_client_may_stay(void **state)
{
	struct control_kit *k = *state;

	k->e->control->client_timeout = 0.05;
	kit_check(k, VERSION, 0, NULL);
	kit_expect_silence(k);
	kit_check(k, VERSION, 0, NULL);
}

static void who_does_not_read_is_dropped_and_nobody_waits_for_him(void **state)
{
	struct control_kit *k = *state;
	int slow = kit_connect(k);
	unsigned sent = 0;
	mtime until = mtime_now() + MTIME_SEC(5);

	k->e->control->client_timeout = 0.3;
	kit_spin(k);
	assert_int_equal(k->e->control->n_clients, 2);
	/* Until the server has an answer that it cannot get rid of: it takes no more requests. */
	while (mtime_now() < until && k->e->control->n_clients == 2) {
		if (send(slow, "{\"command\":\"status\"}\n", 21, MSG_NOSIGNAL) == 21)
			sent++;
		ev_run(k->e->loop, EVRUN_NOWAIT);
		kit_check(k, VERSION, 0, NULL);
	}
	assert_int_equal(k->e->control->n_clients, 1);
	assert_true(sent > 10);
	kit_expect_closed(k, slow);
	close(slow);
}

static void who_closes_one_side_still_gets_his_answer(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}\n");
	kit_spin(k);
	assert_int_equal(shutdown(k->fd, SHUT_WR), 0);
	kit_spin(k);
	kit_spawned(k, WORKER);
	kit_expect(kit_reply(k), 0, NULL);
	kit_expect_closed(k, k->fd);
	assert_int_equal(k->e->control->n_clients, 0);
}

static void who_leaves_loses_his_answer_and_nothing_else(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}\n");
	kit_spin(k);
	close(k->fd);
	k->fd = -1;
	kit_spin(k);
	assert_int_equal(k->e->control->n_clients, 0);
	assert_int_equal(k->e->control->n_requests, 0);
	assert_int_equal(k->n_spawns[WORKER], 1);
	kit_spawned(k, WORKER);
	assert_int_equal(kit_program(k, WORKER)->state, PROGRAM_STATE_RUNNING);
	k->fd = kit_connect(k);
	kit_check(k, "{\"command\":\"is-active\",\"args\":{\"name\":\"worker\"}}", 0, NULL);
}

static void the_sixty_fifth_client_is_told_so(void **state)
{
	struct control_kit *k = *state;
	int fds[CONTROL_CLIENTS_MAX];

	kit_check(k, VERSION, 0, NULL);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fds[i] = kit_connect(k);
	kit_expect(kit_reply_on(k, fds[CONTROL_CLIENTS_MAX - 1]), 1, "64 clients");
	kit_expect_closed(k, fds[CONTROL_CLIENTS_MAX - 1]);
	kit_check(k, VERSION, 0, NULL);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
	kit_spin(k);
	assert_int_equal(k->e->control->n_clients, 1);
}

static void the_end_of_supd_answers_what_waits(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}\n");
	kit_spin(k);
	control_close(k->e);
	kit_expect(kit_reply(k), 1, "supd is ending");
	control_close(k->e); /* harmless */
}

/* ---- who may ------------------------------------------------------------------------------------------- */

/* Ask as somebody else; the code of the answer as exit status. */
static void child_asks(const struct control_kit *k, gid_t gid, gid_t group)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char buf[4096];
	const char *message;
	json_t *reply;
	ssize_t n;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", k->path);
	if (setgroups(1, &group) < 0 || setgid(gid) < 0 || setuid(65534) < 0)
		_exit(100);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    write(fd, VERSION "\n", sizeof(VERSION)) < 0)
		_exit(101);
	n = read(fd, buf, sizeof(buf));
	if (n <= 0 || control_parse(buf, (size_t)n, &reply) < 0)
		_exit(102);
	_exit(control_reply_code(reply, &message));
}

static int ask_as(struct control_kit *k, gid_t gid, gid_t group)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0)
		child_asks(k, gid, group);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		ev_run(k->e->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void root_and_the_group_may_and_nobody_else(void **state)
{
	struct control_kit *k = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(ask_as(k, 65534, 65534), CONTROL_PERMISSION);
	assert_int_equal(ask_as(k, 4242, 65534), CONTROL_OK);
	assert_int_equal(ask_as(k, 65534, 4242), CONTROL_OK);
	kit_check(k, VERSION, 0, NULL);
}

/* ---- the form of the large answers -------------------------------------------------------------------- */

/* types: s string, i integer, f number, b boolean, n null, a array, o object */
struct key {
	const char *name, *types;
};

static char type_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return 's';
	case JSON_INTEGER:
		return 'i';
	case JSON_REAL:
		return 'f';
	case JSON_TRUE:
	case JSON_FALSE:
		return 'b';
	case JSON_NULL:
		return 'n';
	case JSON_ARRAY:
		return 'a';
	case JSON_OBJECT:
		return 'o';
	}
	return '?';
}

static void check_keys(const char *what, const json_t *object, const struct key *keys)
{
	for (; keys->name != NULL; keys++) {
		const json_t *v = json_object_get(object, keys->name);

		if (v == NULL)
			fail_msg("%s has no %s", what, keys->name);
		if (strchr(keys->types, type_of(v)) == NULL)
			fail_msg("%s.%s is '%c', not one of '%s'", what, keys->name, type_of(v),
				 keys->types);
	}
}

static void check_each(const char *what, const json_t *array, size_t n, const struct key *keys)
{
	assert_int_equal(json_array_size(array), n);
	for (size_t i = 0; i < n; i++)
		check_keys(what, json_array_get(array, i), keys);
}

static const struct key status_keys[] = {
	{ "schema", "i" },   { "node", "s" },	  { "cluster", "s" }, { "paused", "b" },
	{ "alarms", "a" },   { "services", "a" }, { "programs", "a" }, { "tasks", "a" },
	{ "checks", "a" },   { "nodes", "a" },	  { "supd", "o" },     { NULL, NULL },
};
static const struct key alarm_keys[] = {
	{ "code", "s" }, { "text", "s" }, { "service", "s" }, { NULL, NULL },
};
static const struct key service_keys[] = {
	{ "name", "s" },     { "state", "s" },	  { "active_node", "sn" },   { "term", "i" },
	{ "vrrp", "s" },     { "priority", "i" }, { "addresses", "a" },	     { "since_ms", "i" },
	{ "fit", "b" },	     { "unfit_because", "a" }, { "last_change", "on" }, { "counters", "o" },
	{ NULL, NULL },
};
static const struct key address_keys[] = {
	{ "address", "s" }, { "present", "b" }, { NULL, NULL },
};
static const struct key unfit_keys[] = { { "code", "s" }, { "text", "s" }, { NULL, NULL } };
static const struct key change_keys[] = { { "cause", "s" }, { "at", "s" }, { NULL, NULL } };
static const struct key program_keys[] = {
	{ "name", "s" },	 { "service", "sn" },	   { "state", "s" },
	{ "wanted", "b" },	 { "ready", "b" },	   { "pid", "in" },
	{ "uptime_ms", "in" },	 { "restarts", "o" },	   { "next_start_ms", "in" },
	{ "last_exit", "on" },	 { "last_error", "on" },   { "processes", "in" },
	{ "memory_bytes", "in" }, { "cpu_ms", "in" },	   { NULL, NULL },
};
static const struct key restart_keys[] = {
	{ "total", "i" }, { "counted", "i" }, { "limit", "in" }, { "window_ms", "in" },
	{ NULL, NULL },
};
static const struct key exit_keys[] = { { "code", "in" }, { "signal", "sn" }, { NULL, NULL } };
static const struct key error_keys[] = { { "stage", "s" }, { "errno", "sn" }, { NULL, NULL } };
static const struct key node_keys[] = {
	{ "name", "s" },	{ "self", "b" },     { "reachable", "b" },
	{ "heard_ms", "in" },	{ "hears_us_ms", "in" }, { "services", "o" },
	{ "load", "an" },	{ "cpu_pct", "in" }, { "memory_available_bytes", "in" },
	{ "started_at", "sn" }, { "config_matches", "bn" }, { "paths", "a" },
	{ NULL, NULL },
};
static const struct key node_service_keys[] = {
	{ "state", "s" }, { "term_seen", "i" }, { "fit", "b" }, { NULL, NULL },
};
static const struct key supd_keys[] = {
	{ "version", "s" }, { "pid", "i" }, { "engine_restarts", "i" }, { "cgroup", "sn" },
	{ "started_at", "s" }, { NULL, NULL },
};

/* The contract's keys, everywhere. */
static void check_status(const json_t *s)
{
	const json_t *service = json_array_get(json_object_get(s, "services"), 0);
	const json_t *change = json_object_get(service, "last_change");
	const json_t *p;
	size_t i;

	check_keys("status", s, status_keys);
	check_each("alarm", json_object_get(s, "alarms"),
		   json_array_size(json_object_get(s, "alarms")), alarm_keys);
	check_each("service", json_object_get(s, "services"), 1, service_keys);
	check_each("address", json_object_get(service, "addresses"), 1, address_keys);
	check_each("unfit", json_object_get(service, "unfit_because"),
		   json_array_size(json_object_get(service, "unfit_because")), unfit_keys);
	if (!json_is_null(change))
		check_keys("last_change", change, change_keys);
	check_each("program", json_object_get(s, "programs"), 3, program_keys);
	json_array_foreach(json_object_get(s, "programs"), i, p) {
		check_keys("restarts", json_object_get(p, "restarts"), restart_keys);
		if (!json_is_null(json_object_get(p, "last_exit")))
			check_keys("last_exit", json_object_get(p, "last_exit"), exit_keys);
		if (!json_is_null(json_object_get(p, "last_error")))
			check_keys("last_error", json_object_get(p, "last_error"), error_keys);
	}
	check_each("node", json_object_get(s, "nodes"), 3, node_keys);
	check_keys("supd", json_object_get(s, "supd"), supd_keys);
}

static const char *text_at(const json_t *json, const char *key)
{
	const char *s = json_string_value(json_object_get(json, key));

	return s != NULL ? s : "";
}

static void status_of_a_quiet_node_has_the_form_of_the_contract(void **state)
{
	json_t *s = kit_ask(*state, "{\"command\":\"status\"}");
	const json_t *p = json_array_get(json_object_get(s, "programs"), WORKER);
	const json_t *service = json_array_get(json_object_get(s, "services"), 0);

	check_status(s);
	assert_true(json_is_null(json_object_get(service, "active_node")));
	assert_true(json_is_null(json_object_get(service, "last_change")));
	assert_true(json_is_null(json_object_get(p, "service")));
	assert_true(json_is_null(json_object_get(p, "pid")));
	assert_true(json_is_null(json_object_get(json_object_get(p, "restarts"), "limit")));
	json_decref(s);
}

/* Active here, b failed, c never heard of; master died once, helper cannot be started. */
static void make_a_busy_world(struct control_kit *k)
{
	struct program_event start = { .type = PROGRAM_EV_START };
	struct engine_peer *b = &k->e->peers[NODE_B];

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_service(k)->alarms[SERVICE_ALARM_NO_STANDBY] = true;
	kit_service(k)->persist_failed = true;
	k->e->services[0].addresses_present = 1;
	k->e->services[0].last_cause = SERVICE_CAUSE_TAKEOVER;
	k->e->services[0].last_change_wall = 1700000000;
	k->e->services[0].rejects[VRRP_REJECT_TTL] = 7;
	b->has_details = true;
	b->details = (struct peer_details){ .load100 = { 12, 34, 56 }, .cpu_pct = 3,
					    .memory_available = 1u << 30, .started_at = 1600000000 };
	engine_program_event(k->e, MASTER, &start);
	kit_spawned(k, MASTER);
	kit_exited(k, MASTER, -1, 9);
	engine_program_event(k->e, HELPER, &start);
	kit_spawn_failed(k, HELPER, IPC_STAGE_EXEC, ENOENT);
	engine_program_event(k->e, WORKER, &start);
	kit_spawned(k, WORKER);
}

static void status_of_a_busy_node_has_the_form_and_the_facts(void **state)
{
	struct control_kit *k = *state;
	const json_t *service, *master, *helper, *b, *there;
	json_t *s;

	make_a_busy_world(k);
	s = kit_ask(k, "{\"command\":\"status\",\"args\":{}}");
	check_status(s);
	service = json_array_get(json_object_get(s, "services"), 0);
	assert_string_equal(text_at(service, "state"), "active");
	assert_string_equal(text_at(service, "active_node"), "a");
	assert_string_equal(text_at(service, "vrrp"), "active");
	assert_string_equal(text_at(json_object_get(service, "last_change"), "cause"), "takeover");
	assert_string_equal(text_at(json_object_get(service, "last_change"), "at"),
			    "2023-11-14T22:13:20Z");
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(json_object_get(service, "counters"), "rejects"),
				 "ttl")),
			 7);
	assert_true(json_is_false(json_object_get(service, "fit")));
	assert_string_equal(
		text_at(json_array_get(json_object_get(service, "unfit_because"), 0), "code"),
		"state_file");
	assert_string_equal(text_at(json_array_get(json_object_get(s, "alarms"), 0), "code"),
			    "no_standby");

	master = json_array_get(json_object_get(s, "programs"), MASTER);
	assert_string_equal(text_at(json_object_get(master, "last_exit"), "signal"), "KILL");
	assert_true(json_is_null(json_object_get(json_object_get(master, "last_exit"), "code")));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(master, "restarts"), "total")), 1);
	helper = json_array_get(json_object_get(s, "programs"), HELPER);
	assert_string_equal(text_at(json_object_get(helper, "last_error"), "stage"), "exec");
	assert_string_equal(text_at(json_object_get(helper, "last_error"), "errno"), "ENOENT");
	assert_string_equal(text_at(helper, "state"), "backoff");
	assert_true(json_is_integer(json_object_get(helper, "next_start_ms")));

	b = json_array_get(json_object_get(s, "nodes"), NODE_B);
	there = json_object_get(json_object_get(b, "services"), "scheduler");
	check_keys("service there", there, node_service_keys);
	assert_string_equal(text_at(there, "state"), "failed");
	assert_string_equal(text_at(b, "started_at"), "2020-09-13T12:26:40Z");
	assert_true(json_is_true(json_object_get(b, "reachable")));
	assert_true(json_is_true(json_object_get(b, "config_matches")));
	b = json_array_get(json_object_get(s, "nodes"), NODE_C);
	assert_true(json_is_false(json_object_get(b, "reachable")));
	assert_true(json_is_null(json_object_get(b, "config_matches")));
	assert_int_equal(json_object_size(json_object_get(b, "services")), 0);
	json_decref(s);
}

static void paths_of_the_peer_link_are_shown_and_a_dead_one_is_an_alarm(void **state)
{
	static const struct key keys[] = {
		{ "address", "s" }, { "heard_ms", "in" }, { NULL, NULL },
	};
	struct control_kit *k = *state;
	const json_t *nodes, *paths, *alarm;
	mtime now = mtime_now();
	json_t *s;

	for (uint32_t i = 0; i < 3; i++) {
		struct model_node *n = tiny_node(&k->model, i);

		n->address = ip_addr_v4(htonl(0xc0000200 + i));
		n->n_further = i < 2;
		n->further[0] = ip_addr_v4(htonl(0xc6336400 + i));
	}
	peer_paths_init(&k->e->peers[NODE_B].paths, 2);
	peer_paths_init(&k->e->peers[NODE_C].paths, 2); /* of A's: C has only one */
	k->e->peers[NODE_B].paths.path[0].heard = now - MTIME_MS(12);
	k->e->peers[NODE_B].paths.path[1].lost = true;
	s = control_status_json(k->e, now);
	nodes = json_object_get(s, "nodes");
	for (uint32_t i = 0; i < 3; i++) {
		paths = json_object_get(json_array_get(nodes, i), "paths");
		check_each("path", paths, 2, keys);
	}
	assert_string_equal(text_at(json_array_get(paths, 1), "address"), "192.0.2.2");
	paths = json_object_get(json_array_get(nodes, NODE_B), "paths");
	assert_string_equal(text_at(json_array_get(paths, 1), "address"), "198.51.100.1");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(paths, 0), "heard_ms")),
			 12);
	assert_true(json_is_null(json_object_get(json_array_get(paths, 1), "heard_ms")));
	assert_int_equal(json_array_size(json_object_get(s, "alarms")), 1);
	alarm = json_array_get(json_object_get(s, "alarms"), 0);
	assert_string_equal(text_at(alarm, "code"), "path_lost");
	assert_string_equal(text_at(alarm, "node"), "b");
	assert_string_equal(text_at(alarm, "address"), "198.51.100.1");
	assert_non_null(strstr(text_at(alarm, "text"), "from b at 198.51.100.1 to 198.51.100.0"));
	json_decref(s);
}

static void every_alarm_and_unfitness_has_its_text(void **state)
{
	struct control_kit *k = *state;
	char text[CONTROL_TEXT_MAX];

	for (int a = 0; a < SERVICE_ALARMS_END; a++) {
		control_alarm_text(k->e, 0, a, text, sizeof(text));
		assert_in_range(strlen(text), 20, sizeof(text) - 2);
	}
	for (int u = 0; u < SERVICE_UNFITS_END; u++) {
		control_unfit_text(k->e, 0, u, text, sizeof(text));
		assert_in_range(strlen(text), 10, sizeof(text) - 2);
	}
}

static void texts_name_the_nodes_that_differ_and_the_command_that_helps(void **state)
{
	struct control_kit *k = *state;
	struct service_fsm *s = kit_service(k);
	char text[CONTROL_TEXT_MAX];

	kit_peer_says(k, 1, SERVICE_STATE_ACTIVE);
	s->peers[1].report.file = s->config.file + 1;
	control_alarm_text(k->e, 0, SERVICE_ALARM_CONFIG_FILE, text, sizeof(text));
	assert_non_null(strstr(text, "another one on: b)"));
	control_unfit_text(k->e, 0, SERVICE_UNFIT_FILE, text, sizeof(text));
	assert_non_null(strstr(text, "another one on: b)"));
	s->persist.barred = true;
	control_unfit_text(k->e, 0, SERVICE_UNFIT_STOPPED, text, sizeof(text));
	assert_non_null(strstr(text, "supctl start scheduler on this node"));
	s->persist.stopped = true;
	control_unfit_text(k->e, 0, SERVICE_UNFIT_STOPPED, text, sizeof(text));
	assert_non_null(strstr(text, "supctl start ends"));
}

static void explain_has_the_form_of_the_contract(void **state)
{
	static const struct key keys[] = {
		{ "schema", "i" }, { "node", "s" }, { "services", "a" }, { NULL, NULL },
	};
	static const struct key of_service[] = {
		{ "name", "s" }, { "state", "s" }, { "verdict", "s" }, { "evidence", "a" },
		{ NULL, NULL },
	};
	static const struct key of_evidence[] = {
		{ "kind", "s" },   { "ok", "b" },	   { "age_ms", "in" },
		{ "detail", "s" }, { "consequence", "s" }, { NULL, NULL },
	};
	static const char verdicts[] = "hold take keep step_down";
	static const char kinds[] = "fit silence path isolation conflict fence witness";
	struct control_kit *k = *state;
	const json_t *service, *ev;
	json_t *s;
	size_t i;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	s = kit_ask(k, "{\"command\":\"explain\",\"args\":{\"name\":\"scheduler\"}}");
	check_keys("explain", s, keys);
	check_each("service", json_object_get(s, "services"), 1, of_service);
	service = json_array_get(json_object_get(s, "services"), 0);
	assert_non_null(strstr(verdicts, text_at(service, "verdict")));
	check_each("evidence", json_object_get(service, "evidence"), SERVICE_EVIDENCES_END,
		   of_evidence);
	json_array_foreach(json_object_get(service, "evidence"), i, ev)
		assert_non_null(strstr(kinds, text_at(ev, "kind")));
	json_decref(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_answered_on_one_line),
		TEST(what_makes_no_sense_is_refused_and_the_next_request_is_heard),
		TEST(a_client_that_wants_logs_is_passed_on),
		TEST(logs_that_cannot_be_had_say_why),
		TEST(commands_of_a_later_version_say_so),
		TEST(a_misspelt_name_is_answered_with_the_right_one),
		TEST(requests_in_one_piece_are_answered_in_order),
		TEST(a_request_in_pieces_is_one_request),
		TEST(requests_behind_one_that_waits_are_kept),
		TEST(a_line_that_is_too_long_ends_the_connection),
		TEST(a_line_of_the_greatest_length_is_read),
		TEST(half_a_request_is_not_waited_for),
		TEST(a_quiet_client_may_stay),
		TEST(who_does_not_read_is_dropped_and_nobody_waits_for_him),
		TEST(who_closes_one_side_still_gets_his_answer),
		TEST(who_leaves_loses_his_answer_and_nothing_else),
		TEST(the_sixty_fifth_client_is_told_so),
		TEST(the_end_of_supd_answers_what_waits),
		TEST(root_and_the_group_may_and_nobody_else),
		TEST(status_of_a_quiet_node_has_the_form_of_the_contract),
		TEST(status_of_a_busy_node_has_the_form_and_the_facts),
		TEST(paths_of_the_peer_link_are_shown_and_a_dead_one_is_an_alarm),
		TEST(every_alarm_and_unfitness_has_its_text),
		TEST(texts_name_the_nodes_that_differ_and_the_command_that_helps),
		TEST(explain_has_the_form_of_the_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
