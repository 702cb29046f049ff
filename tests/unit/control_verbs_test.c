/* SPDX-License-Identifier: MIT */
#include "tests/unit/control_kit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* What each verb sets in motion, and when its request ends. */

#define START_WORKER  "{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}\n"
#define START_MASTER  "{\"command\":\"start\",\"args\":{\"name\":\"master\"}}\n"
#define STOP_WORKER   "{\"command\":\"stop\",\"args\":{\"name\":\"worker\"}}\n"
#define START_SERVICE "{\"command\":\"start\",\"args\":{\"name\":\"scheduler\"}}\n"
#define STOP_SERVICE  "{\"command\":\"stop\",\"args\":{\"name\":\"scheduler\"}}\n"
#define FAILOVER      "{\"command\":\"failover\"}\n"
#define FORCE	      "{\"command\":\"failover\",\"args\":{\"force\":true}}\n"

static json_t *request(struct control_kit *k, const char *text)
{
	kit_send(k, text);
	return kit_reply(k);
}

static void run(struct control_kit *k, unsigned program)
{
	struct program_event start = { .type = PROGRAM_EV_START };

	engine_program_event(k->e, program, &start);
	kit_spawned(k, program);
	assert_int_equal(kit_program(k, program)->state, PROGRAM_STATE_RUNNING);
}

static const char *result_text(const json_t *reply, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(reply, "result"), key));

	return s != NULL ? s : "";
}

static void expect_active_node(json_t *reply, const char *node)
{
	assert_string_equal(result_text(reply, "active_node"), node);
	assert_true(json_is_integer(json_object_get(json_object_get(reply, "result"), "ms")));
	json_decref(reply);
}

/* ---- programs ----------------------------------------------------------------------------------------- */

static void start_is_answered_when_the_program_runs(void **state)
{
	struct control_kit *k = *state;
	json_t *reply;

	kit_send(k, START_WORKER);
	kit_expect_silence(k);
	assert_int_equal(k->n_spawns[WORKER], 1);
	kit_spawned(k, WORKER);
	reply = kit_reply(k);
	assert_string_equal(result_text(reply, "state"), "running");
	json_decref(reply);
}

static void start_of_a_running_program_is_done_already(void **state)
{
	struct control_kit *k = *state;

	run(k, WORKER);
	kit_expect(request(k, START_WORKER), 0, NULL);
	assert_int_equal(k->n_spawns[WORKER], 1);
}

static void start_says_why_the_program_does_not_run(void **state)
{
	struct control_kit *k = *state;

	kit_send(k, START_WORKER);
	kit_spin(k);
	kit_spawn_failed(k, WORKER, IPC_STAGE_EXEC, ENOENT);
	kit_expect(kit_reply(k), 1, "exec: No such file or directory");
}

static void start_times_out_and_the_start_goes_on(void **state)
{
	struct control_kit *k = *state;

	kit_expect(request(k, "{\"command\":\"start\",\"args\":{\"name\":\"worker\","
			      "\"timeout_ms\":60}}\n"),
		   8, "it goes on");
	kit_spawned(k, WORKER);
	assert_int_equal(kit_program(k, WORKER)->state, PROGRAM_STATE_RUNNING);
}

static void stop_is_answered_when_the_tree_is_gone(void **state)
{
	struct control_kit *k = *state;

	run(k, WORKER);
	kit_send(k, STOP_WORKER);
	kit_expect_silence(k);
	assert_int_equal(k->n_signals[WORKER], 1);
	kit_exited(k, WORKER, 0, 0);
	kit_expect(kit_reply(k), 0, NULL);
	assert_int_equal(kit_program(k, WORKER)->state, PROGRAM_STATE_STOPPED);
}

static void stop_of_a_stopped_program_is_done_already(void **state)
{
	kit_expect(request(*state, STOP_WORKER), 0, NULL);
}

static void a_stop_interrupts_a_start(void **state)
{
	struct control_kit *k = *state;
	int other = kit_connect(k);

	kit_send(k, START_WORKER);
	kit_spin(k);
	assert_true(send(other, STOP_WORKER, strlen(STOP_WORKER), 0) > 0);
	kit_spin(k);
	kit_spawn_failed(k, WORKER, IPC_STAGE_ORDER, 0);
	kit_expect(kit_reply(k), 1, NULL);
	kit_expect(kit_reply_on(k, other), 0, NULL);
	close(other);
}

static void restart_is_answered_by_the_next_run_only(void **state)
{
	struct control_kit *k = *state;

	run(k, WORKER);
	kit_send(k, "{\"command\":\"restart\",\"args\":{\"name\":\"worker\"}}\n");
	kit_expect_silence(k);
	kit_exited(k, WORKER, 0, 0);
	kit_expect_silence(k);
	assert_int_equal(k->n_spawns[WORKER], 2);
	kit_spawned(k, WORKER);
	kit_expect(kit_reply(k), 0, NULL);
}

static void a_services_program_obeys_only_where_the_service_is_active(void **state)
{
	static const char *const verbs[] = { "start", "stop", "restart" };
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	for (size_t i = 0; i < 3; i++) {
		char text[96];

		snprintf(text, sizeof(text), "{\"command\":\"%s\",\"args\":{\"name\":\"master\"}}\n",
			 verbs[i]);
		kit_expect(request(k, text), 9, "active on b");
	}
	assert_int_equal(k->n_spawns[MASTER], 0);
	assert_false(k->e->services[0].group.members[MASTER].manual_stop);
}

static void a_persons_stop_of_a_services_program_lasts_until_his_start(void **state)
{
	struct control_kit *k = *state;
	const struct group_member *m = &k->e->services[0].group.members[MASTER];

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	run(k, MASTER);
	kit_send(k, "{\"command\":\"stop\",\"args\":{\"name\":\"master\"}}\n");
	kit_spin(k);
	kit_exited(k, MASTER, 0, 0);
	kit_expect(kit_reply(k), 0, NULL);
	assert_true(m->manual_stop);
	assert_true(k->n_reconciles > 0);
	kit_send(k, START_MASTER);
	kit_spin(k);
	assert_false(m->manual_stop);
	kit_spawned(k, MASTER);
	kit_expect(kit_reply(k), 0, NULL);
}

static void is_active_tells_the_state_of_this_node(void **state)
{
	static const struct {
		const char *name, *state;
		bool active;
	} cases[] = { { "worker", "running", true },
		      { "master", "stopped", false },
		      { "scheduler", "backup", false } };
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	run(k, WORKER);
	for (size_t i = 0; i < 3; i++) {
		char text[96];
		json_t *reply;

		snprintf(text, sizeof(text),
			 "{\"command\":\"is-active\",\"args\":{\"name\":\"%s\"}}\n", cases[i].name);
		reply = request(k, text);
		assert_string_equal(result_text(reply, "state"), cases[i].state);
		assert_int_equal(json_is_true(json_object_get(json_object_get(reply, "result"),
							      "active")),
				 cases[i].active);
		json_decref(reply);
	}
}

static void an_action_waits_until_a_new_engine_knows_what_there_is(void **state)
{
	struct control_kit *k = *state;

	k->e->ready = false;
	kit_send(k, START_WORKER);
	kit_expect_silence(k);
	assert_int_equal(k->n_spawns[WORKER], 0);
	k->e->ready = true;
	control_poll(k->e);
	assert_int_equal(k->n_spawns[WORKER], 1);
	kit_spawned(k, WORKER);
	kit_expect(kit_reply(k), 0, NULL);
}

static void a_disk_that_hangs_keeps_only_services_waiting(void **state)
{
	struct control_kit *k = *state;
	int other = kit_connect(k);

	k->e->state_loaded = false;
	assert_true(send(other, START_SERVICE, strlen(START_SERVICE), 0) > 0);
	kit_spin(k);
	assert_int_equal(k->n_commands, 0);
	kit_send(k, START_WORKER);
	kit_spin(k);
	assert_int_equal(k->n_spawns[WORKER], 1);
	k->e->state_loaded = true;
	control_poll(k->e);
	assert_int_equal(k->n_commands, 1);
	close(other);
}

static void nothing_new_is_begun_while_supd_ends(void **state)
{
	struct control_kit *k = *state;

	k->e->ending = true;
	kit_expect(request(k, START_WORKER), 9, "supd is ending");
	kit_expect(request(k, "{\"command\":\"status\"}\n"), 0, NULL);
	assert_int_equal(k->n_spawns[WORKER], 0);
}

/* ---- services ----------------------------------------------------------------------------------------- */

static void start_of_a_service_ends_when_it_is_active_and_ready_somewhere(void **state)
{
	struct control_kit *k = *state;
	json_t *reply;

	kit_set_state(k, SERVICE_STATE_STOPPED);
	kit_service(k)->persist.stopped = true;
	kit_send(k, START_SERVICE);
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_START);
	kit_service(k)->persist.stopped = false;
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_TAKING_OVER);
	kit_expect_silence(k);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	reply = kit_reply(k);
	assert_string_equal(result_text(reply, "active_node"), "b");
	json_decref(reply);
}

static void start_that_times_out_says_whom_it_waits_for(void **state)
{
	static const char start[] = "{\"command\":\"start\",\"args\":{\"name\":\"scheduler\","
				    "\"timeout_ms\":60}}\n";
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_WAITING);
	kit_service(k)->config.wait_for_peer = MTIME_SEC(60);
	kit_service(k)->listening = mtime_now();
	kit_service(k)->wait_until = mtime_now() + MTIME_SEC(30);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_expect(request(k, start), 8, "waiting for c to be heard (without it, this node starts in 30 s");
	kit_service(k)->wait_until = mtime_now();
	kit_expect(request(k, start), 8, "or a probe target to answer");
}

static void nothing_is_started_in_a_pause_and_that_is_said_at_once(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_service(k)->persist.paused = true;
	kit_expect(request(k, "{\"command\":\"start\",\"args\":{\"name\":\"master\"}}\n"), 9,
		   "paused");
	kit_expect(request(k, "{\"command\":\"restart\",\"args\":{\"name\":\"master\"}}\n"), 9,
		   "supctl resume");
	kit_expect(request(k, "{\"command\":\"restart\",\"args\":{\"name\":\"scheduler\"}}\n"), 9,
		   "paused");
	assert_int_equal(k->n_spawns[0], 0);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_expect(request(k, START_SERVICE), 9, "scheduler is paused");
	run(k, WORKER); /* it belongs to no service */
}

static void start_does_not_wait_for_what_has_failed_everywhere(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_FAILED);
	kit_service(k)->persist.latched = true;
	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_expect(request(k, START_SERVICE), 9, "supctl reset --all");
}

static void stop_of_a_service_waits_for_every_node_that_is_heard(void **state)
{
	struct control_kit *k = *state;
	struct service_fsm *s = kit_service(k);

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_C, SERVICE_STATE_BACKUP);
	run(k, MASTER);
	kit_send(k, STOP_SERVICE);
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_STOP);
	s->persist.stopped = true;
	s->persist_seq++;
	kit_exited(k, MASTER, 0, 0);
	kit_set_state(k, SERVICE_STATE_STOPPED);
	kit_peer_says(k, NODE_B, SERVICE_STATE_STOPPED);
	kit_expect_silence(k); /* c has not said so, and it is not on disk */
	kit_peer_says(k, NODE_C, SERVICE_STATE_STOPPED);
	kit_expect_silence(k);
	s->persist_done = s->persist_seq;
	kit_expect(kit_reply(k), 0, NULL);
}

static void stop_of_a_service_names_the_nodes_that_were_not_told(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_STOPPED);
	kit_service(k)->persist.stopped = true;
	kit_peer_says(k, NODE_B, SERVICE_STATE_STOPPED);
	kit_expect(request(k, STOP_SERVICE), 1, "not told: c");
}

static void stop_here_bars_this_node_alone(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_send(k, "{\"command\":\"stop\",\"args\":{\"name\":\"scheduler\",\"here\":true}}\n");
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_STOP_HERE);
	kit_service(k)->persist.barred = true;
	kit_set_state(k, SERVICE_STATE_STOPPED);
	kit_expect(kit_reply(k), 0, NULL);
}

static void here_is_not_for_programs(void **state)
{
	kit_expect(request(*state, "{\"command\":\"stop\",\"args\":{\"name\":\"worker\","
				   "\"here\":true}}\n"),
		   2, "--here");
}

static void restart_of_a_service_renews_its_programs_where_it_is_active(void **state)
{
	static const char restart[] =
		"{\"command\":\"restart\",\"args\":{\"name\":\"scheduler\"}}\n";
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_expect(request(k, restart), 9, "is backup on this node");
	kit_set_state(k, SERVICE_STATE_ACTIVE);
	run(k, MASTER);
	run(k, HELPER);
	kit_send(k, restart);
	kit_spin(k);
	kit_exited(k, MASTER, 0, 0);
	kit_spawned(k, MASTER);
	kit_expect_silence(k);
	kit_exited(k, HELPER, 0, 0);
	kit_spawned(k, HELPER);
	kit_expect(kit_reply(k), 0, NULL);
	assert_int_equal(k->n_commands, 0);
}

/* ---- failover ----------------------------------------------------------------------------------------- */

static void failover_ends_when_the_peer_is_ready(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_send(k, FAILOVER);
	kit_expect_silence(k);
	assert_int_equal(k->n_commands, 1);
	assert_int_equal(k->commands[0], SERVICE_CMD_FAILOVER);
	kit_set_state(k, SERVICE_STATE_RELEASING);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_TAKING_OVER);
	kit_expect_silence(k);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	expect_active_node(kit_reply(k), "b");
}

static void failover_without_a_fit_peer_is_refused_with_the_reason(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_expect(request(k, FAILOVER), 9, "b has failed: supctl reset there, c is unreachable");
	assert_int_equal(k->n_commands, 0);
}

static void failover_by_force_releases_without_a_successor(void **state)
{
	struct control_kit *k = *state;
	json_t *reply;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_send(k, FORCE);
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_FAILOVER);
	assert_true(k->command_force);
	kit_set_state(k, SERVICE_STATE_RELEASING);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	reply = kit_reply(k);
	assert_true(json_is_null(
		json_object_get(json_object_get(reply, "result"), "active_node")));
	json_decref(reply);
}

static void failover_fails_when_the_service_comes_back(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_send(k, FAILOVER);
	kit_spin(k);
	kit_set_state(k, SERVICE_STATE_RELEASING);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_expect(kit_reply(k), 1, "active here again");
}

static void a_second_failover_waits_with_the_first(void **state)
{
	struct control_kit *k = *state;
	int other = kit_connect(k);

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_send(k, FAILOVER);
	kit_spin(k);
	kit_set_state(k, SERVICE_STATE_RELEASING);
	assert_true(send(other, FAILOVER, strlen(FAILOVER), 0) > 0);
	kit_spin(k);
	assert_int_equal(k->n_commands, 1);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	expect_active_node(kit_reply(k), "b");
	expect_active_node(kit_reply_on(k, other), "b");
	close(other);
}

static void failover_elsewhere_is_passed_on_and_the_answer_relayed(void **state)
{
	struct control_kit *k = *state;
	json_t *command;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	kit_send(k, "{\"command\":\"failover\",\"args\":{\"name\":\"scheduler\",\"force\":true}}\n");
	kit_expect_silence(k);
	assert_int_equal(k->n_commands, 0);
	assert_int_equal(k->n_sent, 1);
	assert_int_equal(k->sent[0].peer, NODE_B);
	assert_false(k->sent[0].is_result);
	assert_int_equal(control_parse(k->sent[0].json, strlen(k->sent[0].json), &command), 0);
	assert_string_equal(json_string_value(json_object_get(command, "command")), "failover");
	assert_true(json_is_true(json_object_get(json_object_get(command, "args"), "force")));
	json_decref(command);
	control_remote_result(k->e, NODE_C, k->sent[0].id, "{\"schema\":1}"); /* not asked */
	control_remote_result(k->e, NODE_B, k->sent[0].id + 1, "{\"schema\":1}"); /* not this */
	control_remote_result(k->e, NODE_B, k->sent[0].id, "garbage");
	kit_expect_silence(k);
	control_remote_result(k->e, NODE_B, k->sent[0].id,
			      "{\"schema\":1,\"error\":{\"code\":9,\"message\":\"no fit peer\"}}");
	kit_expect(kit_reply(k), 9, "no fit peer");
}

static void failover_elsewhere_ends_by_what_is_seen_here(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	kit_send(k, FAILOVER);
	kit_spin(k);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	kit_set_state(k, SERVICE_STATE_ACTIVE);
	expect_active_node(kit_reply(k), "a");
}

static void a_lost_command_is_sent_again(void **state)
{
	struct control_kit *k = *state;
	mtime until = mtime_now() + MTIME_SEC(5);

	k->send_error = -ENOTCONN;
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	kit_send(k, FAILOVER);
	while (k->n_sent < 3 && mtime_now() < until)
		kit_spin(k);
	assert_int_equal(k->n_sent, 3);
	assert_int_equal(k->sent[0].id, k->sent[2].id);
	control_remote_result(k->e, NODE_B, k->sent[0].id,
			      "{\"schema\":1,\"result\":{\"active_node\":\"a\",\"ms\":5}}");
	expect_active_node(kit_reply(k), "a");
}

static void failover_needs_somebody_who_is_active_or_force(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_expect(request(k, FAILOVER), 9, "--force");
	kit_set_state(k, SERVICE_STATE_FAILED);
	kit_expect(request(k, FORCE), 9, "supctl reset");
	kit_set_state(k, SERVICE_STATE_STOPPED);
	kit_expect(request(k, FORCE), 9, "supctl start");
	kit_set_state(k, SERVICE_STATE_WAITING);
	k->e->services[0].fsm.persist.paused = true;
	kit_expect(request(k, FORCE), 9, "supctl resume");
	k->e->services[0].fsm.persist.paused = false;
	assert_int_equal(k->n_commands, 0);
	kit_send(k, FORCE);
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_TAKE);
	kit_set_state(k, SERVICE_STATE_ACTIVE);
	expect_active_node(kit_reply(k), "a");
}

/* ---- from and to peers -------------------------------------------------------------------------------- */

static void a_peers_command_is_carried_out_once_and_answered_as_often_as_asked(void **state)
{
	static const char failover[] =
		"{\"command\":\"failover\",\"args\":{\"name\":\"scheduler\"}}";
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_ACTIVE);
	kit_peer_says(k, NODE_B, SERVICE_STATE_BACKUP);
	control_remote_command(k->e, NODE_B, 7, failover);
	control_remote_command(k->e, NODE_B, 7, failover);
	assert_int_equal(k->n_commands, 1);
	assert_int_equal(k->n_sent, 0);
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_B, SERVICE_STATE_ACTIVE);
	assert_int_equal(k->n_sent, 1);
	assert_true(k->sent[0].is_result);
	assert_int_equal(k->sent[0].id, 7);
	assert_non_null(strstr(k->sent[0].json, "\"active_node\":\"b\""));
	control_remote_command(k->e, NODE_B, 7, failover);
	assert_int_equal(k->n_commands, 1);
	assert_int_equal(k->n_sent, 2);
	assert_string_equal(k->sent[0].json, k->sent[1].json);
}

static void a_peer_may_not_ask_for_everything(void **state)
{
	static const char *const bad[] = {
		"{\"command\":\"start\",\"args\":{\"name\":\"worker\"}}",
		"{\"command\":\"status\"}",
		"nonsense",
	};
	struct control_kit *k = *state;

	for (unsigned i = 0; i < 3; i++) {
		control_remote_command(k->e, NODE_B, i, bad[i]);
		assert_int_equal(k->n_sent, i + 1);
		assert_non_null(strstr(k->sent[i].json, "\"code\":2"));
	}
	assert_int_equal(k->n_spawns[WORKER], 0);
	/* The active one has changed meanwhile: no command goes round in circles. */
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_peer_says(k, NODE_C, SERVICE_STATE_ACTIVE);
	control_remote_command(k->e, NODE_B, 9, "{\"command\":\"failover\"}");
	assert_int_equal(k->n_sent, 4);
	assert_true(k->sent[3].is_result);
	assert_non_null(strstr(k->sent[3].json, "\"code\":9"));
}

static void reset_clears_the_latch_of_this_node(void **state)
{
	struct control_kit *k = *state;

	kit_set_state(k, SERVICE_STATE_FAILED);
	kit_service(k)->persist.latched = true;
	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_send(k, "{\"command\":\"reset\"}\n");
	kit_expect_silence(k);
	assert_int_equal(k->commands[0], SERVICE_CMD_RESET);
	assert_int_equal(k->n_sent, 0);
	kit_service(k)->persist.latched = false;
	kit_expect(kit_reply(k), 0, NULL);
}

static void reset_of_all_asks_every_peer_and_names_who_did_not_hear(void **state)
{
	static const char all[] = "{\"command\":\"reset\",\"args\":{\"all\":true}}\n";
	struct control_kit *k = *state;

	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_send(k, all);
	kit_expect_silence(k);
	assert_int_equal(k->n_sent, 1);
	control_remote_result(k->e, NODE_B, k->sent[0].id, "{\"schema\":1}");
	kit_expect(kit_reply(k), 1, "not on: c");

	kit_peer_says(k, NODE_C, SERVICE_STATE_BACKUP);
	kit_send(k, all);
	kit_spin(k);
	assert_int_equal(k->n_sent, 3);
	control_remote_result(k->e, NODE_B, k->sent[1].id, "{\"schema\":1}");
	kit_expect_silence(k);
	control_remote_result(k->e, NODE_C, k->sent[1].id, "{\"schema\":1}");
	kit_expect(kit_reply(k), 0, NULL);
}

static void reset_of_all_does_not_wait_for_who_falls_silent(void **state)
{
	struct control_kit *k = *state;

	kit_peer_says(k, NODE_B, SERVICE_STATE_FAILED);
	kit_send(k, "{\"command\":\"reset\",\"args\":{\"all\":true}}\n");
	kit_spin(k);
	kit_peer_silent(k, NODE_B);
	kit_expect(kit_reply(k), 1, "not on: b, c");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

static void reexec_waits_for_another_image(void **state)
{
	struct control_kit *k = *state;

	k->e->welcome.image = 4;
	kit_set_state(k, SERVICE_STATE_RELEASING);
	kit_check(k, "{\"command\":\"reexec\"}", CONTROL_REFUSED, "scheduler is releasing");
	kit_set_state(k, SERVICE_STATE_BACKUP);
	kit_program(k, WORKER)->state = PROGRAM_STATE_BACKOFF;
	kit_check(k, "{\"command\":\"reexec\"}", CONTROL_REFUSED, "worker is backoff");
	kit_program(k, WORKER)->state = PROGRAM_STATE_RUNNING;
	kit_check(k, "{\"command\":\"reexec\",\"args\":{\"image\":\"4\"}}", CONTROL_USAGE,
		  "must be a number");
	kit_check(k, "{\"command\":\"status\",\"args\":{\"image\":4}}", CONTROL_USAGE,
		  "no such argument");
	assert_int_equal(k->n_reexecs, 0);
	kit_send(k, "{\"command\":\"reexec\",\"args\":{\"image\":4}}\n");
	kit_expect_silence(k);
	assert_int_equal(k->n_reexecs, 1);
	control_reexec_failed(k->e, "no such binary");
	kit_expect(kit_reply(k), CONTROL_FAILED, "no such binary");
	kit_check(k, "{\"command\":\"reexec\",\"args\":{\"image\":3}}", CONTROL_OK, NULL);
	assert_int_equal(k->n_reexecs, 1);
	k->keeper_is_deaf = true;
	kit_check(k, "{\"command\":\"reexec\"}", CONTROL_FAILED, "takes no orders");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(start_is_answered_when_the_program_runs),
		TEST(reexec_waits_for_another_image),
		TEST(start_of_a_running_program_is_done_already),
		TEST(start_says_why_the_program_does_not_run),
		TEST(start_times_out_and_the_start_goes_on),
		TEST(stop_is_answered_when_the_tree_is_gone),
		TEST(stop_of_a_stopped_program_is_done_already),
		TEST(a_stop_interrupts_a_start),
		TEST(restart_is_answered_by_the_next_run_only),
		TEST(a_services_program_obeys_only_where_the_service_is_active),
		TEST(a_persons_stop_of_a_services_program_lasts_until_his_start),
		TEST(is_active_tells_the_state_of_this_node),
		TEST(an_action_waits_until_a_new_engine_knows_what_there_is),
		TEST(a_disk_that_hangs_keeps_only_services_waiting),
		TEST(nothing_new_is_begun_while_supd_ends),
		TEST(start_of_a_service_ends_when_it_is_active_and_ready_somewhere),
		TEST(start_that_times_out_says_whom_it_waits_for),
		TEST(nothing_is_started_in_a_pause_and_that_is_said_at_once),
		TEST(start_does_not_wait_for_what_has_failed_everywhere),
		TEST(stop_of_a_service_waits_for_every_node_that_is_heard),
		TEST(stop_of_a_service_names_the_nodes_that_were_not_told),
		TEST(stop_here_bars_this_node_alone),
		TEST(here_is_not_for_programs),
		TEST(restart_of_a_service_renews_its_programs_where_it_is_active),
		TEST(failover_ends_when_the_peer_is_ready),
		TEST(failover_without_a_fit_peer_is_refused_with_the_reason),
		TEST(failover_by_force_releases_without_a_successor),
		TEST(failover_fails_when_the_service_comes_back),
		TEST(a_second_failover_waits_with_the_first),
		TEST(failover_elsewhere_is_passed_on_and_the_answer_relayed),
		TEST(failover_elsewhere_ends_by_what_is_seen_here),
		TEST(a_lost_command_is_sent_again),
		TEST(failover_needs_somebody_who_is_active_or_force),
		TEST(a_peers_command_is_carried_out_once_and_answered_as_often_as_asked),
		TEST(a_peer_may_not_ask_for_everything),
		TEST(reset_clears_the_latch_of_this_node),
		TEST(reset_of_all_asks_every_peer_and_names_who_did_not_hear),
		TEST(reset_of_all_does_not_wait_for_who_falls_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
