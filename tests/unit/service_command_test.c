/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/*
 * fence_command: when it is run, what is waited for, and what follows from how it ended.  Node a of
 * two or three; the others are silent, and only the gateway answers.
 */

static void silence(struct kit *k, mtime length)
{
	for (mtime t = 0; t < length; t += MTIME_MS(100)) {
		kit_tick(k, MTIME_MS(100));
		kit_gateway(k);
	}
}

static void ended(struct kit *k, unsigned peer, uint64_t term, bool ok)
{
	kit_step(k, (struct service_event){
			    .type = SERVICE_EV_FENCE_COMMAND, .peer = peer, .term = term, .ok = ok});
}

/* Time passes until an action of that type comes; the actions of that step stand in k->acts. */
static const struct service_action *await(struct kit *k, enum service_action_type type, mtime max)
{
	for (mtime t = 0; t < max; t += MTIME_MS(10)) {
		kit_tick(k, MTIME_MS(10));
		if (kit_did(k, type))
			return kit_act(k, type);
		kit_gateway(k);
		if (kit_did(k, type))
			return kit_act(k, type);
	}
	fail_msg("action %d did not come within %lld ms", type, (long long)mtime_to_ms(max));
	return NULL;
}

/* Backup; b was active under term 2 and has just gone silent. */
static void silent_active(struct kit *k)
{
	kit_backup(k);
	k->s.config.has_fence_command = true;
}

/* ... and the command for it is running. */
static uint64_t command_runs(struct kit *k)
{
	const struct service_action *a;

	silent_active(k);
	a = await(k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10));
	assert_int_equal(a->peer, 1);
	assert_int_equal(a->term, 257);
	assert_int_equal(k->s.state, SERVICE_STATE_TAKING_OVER);
	return a->term;
}

static void nothing_starts_before_the_command_has_succeeded(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	/* far beyond 2 x Active_Down: that bound waits for the command */
	for (mtime t = 0; t < MTIME_SEC(30); t += MTIME_MS(100)) {
		silence(&k, MTIME_MS(100));
		assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));
		assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
		assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	}
	ended(&k, 1, term, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_addresses(&k, true, true);
	assert_int_equal(await(&k, SERVICE_ACT_PROGRAMS_START, ADV)->term, term);
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

static void fence_is_repeated_while_the_command_runs(void **state)
{
	struct kit k;
	unsigned sent = 0;

	command_runs(&k);
	for (int i = 0; i < 30; i++) {
		kit_tick(&k, MTIME_MS(100));
		sent += kit_did(&k, SERVICE_ACT_SEND_FENCE);
		kit_gateway(&k);
	}
	assert_in_range(sent, 7, 10);
}

static void failure_abandons_with_an_alarm_and_is_tried_again_after_active_down(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);
	mtime failed_at;

	ended(&k, 1, term, false);
	failed_at = k.now;
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_true(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
	assert_true(kit_act(&k, SERVICE_ACT_ALARM)->ok);
	assert_int_equal(await(&k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10))->term, term + 256);
	assert_true(k.now - failed_at >= vrrp_active_down(&k.s.vrrp));
	assert_true(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]); /* until it has succeeded */
	ended(&k, 1, term + 256, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

static void the_alarm_ends_when_somebody_is_active(void **state)
{
	struct kit k;

	ended(&k, 1, command_runs(&k), false);
	assert_true(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 258));
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_BACKUP, 258));
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

static void a_lost_answer_counts_as_failure(void **state)
{
	struct kit k;

	command_runs(&k);
	silence(&k, SERVICE_COMMAND_MAX + ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

/* ---- who needs it ---- */

static void no_command_without_the_key(void **state)
{
	struct kit k;

	kit_backup(&k);
	await(&k, SERVICE_ACT_ADDRESSES_ADD, MTIME_SEC(10));
	assert_false(k.s.command_runs);
}

/* b, active under term 2, gives the service to `successor`. */
static void released(struct kit *k, unsigned n_nodes, unsigned successor)
{
	kit_boot(k, n_nodes);
	k->s.config.has_fence_command = true;
	kit_gateway(k);
	kit_hello(k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	kit_step(k, (struct service_event){.type = SERVICE_EV_RELEASE,
					   .peer = 1,
					   .term = 2,
					   .successor = successor});
	assert_int_equal(k->s.state, SERVICE_STATE_TAKING_OVER);
}

static void who_is_named_by_the_releaser_fences_nobody_else_the_third(void **state)
{
	struct kit k;

	released(&k, 3, 0); /* c is silent, perhaps switched off: no reason to wait for its power */
	await(&k, SERVICE_ACT_ADDRESSES_ADD, ADV);
	assert_false(k.s.command_runs);
	released(&k, 3, MODEL_NODES_MAX); /* c may have been asked, too */
	assert_int_equal(await(&k, SERVICE_ACT_FENCE_COMMAND, ADV)->peer, 2);
}

static void no_command_after_release_fenced_or_an_election(void **state)
{
	struct kit k;

	released(&k, 2, 0);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));

	silent_active(&k);
	await(&k, SERVICE_ACT_SEND_FENCE, MTIME_SEC(10));
	kit_term(&k, SERVICE_EV_FENCED, 1, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));

	kit_boot(&k, 2);
	k.s.config.has_fence_command = true;
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	kit_finish_takeover(&k);
	assert_false(k.s.command_runs);
}

static void a_late_fenced_ends_the_wait_and_the_command_counts_no_more(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	kit_term(&k, SERVICE_EV_FENCED, 1, term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_addresses(&k, true, true);
	ended(&k, 1, term, false);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

static void a_person_with_force_vouches_for_everybody(void **state)
{
	struct kit k;

	silent_active(&k);
	k.s.config.hold_on_silence = true;
	silence(&k, MTIME_SEC(10));
	kit_command(&k, SERVICE_CMD_TAKE);
	await(&k, SERVICE_ACT_ADDRESSES_ADD, MTIME_SEC(1));
	assert_false(k.s.command_runs);
}

static void force_is_heard_while_it_hangs_and_after_it_failed(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	silence(&k, MTIME_SEC(5));
	kit_command(&k, SERVICE_CMD_TAKE);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));

	term = command_runs(&k);
	ended(&k, 1, term, false);
	kit_command(&k, SERVICE_CMD_TAKE);
	await(&k, SERVICE_ACT_ADDRESSES_ADD, MTIME_SEC(1));
	assert_false(k.s.command_runs);
}

static void boot_alone_needs_it(void **state)
{
	struct kit k;
	const struct service_action *a;

	kit_boot(&k, 2);
	k.s.config.has_fence_command = true;
	silence(&k, MTIME_SEC(60));
	a = await(&k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10));
	ended(&k, a->peer, a->term, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void a_restart_on_the_active_node_needs_none(void **state)
{
	struct kit k;

	kit_active(&k);
	k.s.config.has_fence_command = true;
	silence(&k, MTIME_SEC(10)); /* b is gone; the gateway keeps S young */
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RESTART_DUE});
	for (int i = 0; i < 20 && !kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW); i++)
		kit_tick(&k, MTIME_MS(10));
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	assert_false(k.s.command_runs);
}

static void several_nodes_are_fenced_one_after_the_other(void **state)
{
	struct kit k;
	const struct service_action *a;
	uint64_t term;

	kit_boot(&k, 3);
	k.s.config.has_fence_command = true;
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	a = await(&k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10));
	assert_int_equal(a->peer, 1);
	term = a->term;
	silence(&k, MTIME_SEC(3));
	assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));
	ended(&k, 1, term, true);
	assert_int_equal(kit_act(&k, SERVICE_ACT_FENCE_COMMAND)->peer, 2);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	ended(&k, 1, term, true); /* said twice: not for node 2 */
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	ended(&k, 2, term, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void only_the_silent_one_of_several_needs_it(void **state)
{
	struct kit k;
	uint64_t term;

	kit_boot(&k, 3);
	k.s.config.has_fence_command = true;
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	for (int i = 0; i < 500 && k.s.state != SERVICE_STATE_TAKING_OVER; i++) {
		kit_hello(&k, 2, kit_report(SERVICE_STATE_BACKUP, 2));
		silence(&k, MTIME_MS(100));
	}
	term = k.s.term;
	kit_term(&k, SERVICE_EV_FENCED, 2, term);
	assert_int_equal(await(&k, SERVICE_ACT_FENCE_COMMAND, ADV)->peer, 1);
	ended(&k, 1, term, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

/* ---- the world moves on meanwhile ---- */

static void who_is_heard_as_active_after_success_is_waited_for(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;
	uint64_t term = command_runs(&k);

	kit_hello(&k, 1, r); /* it lied, or somebody has switched the host on again */
	ended(&k, 1, term, true);
	silence(&k, ADV);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_term(&k, SERVICE_EV_FENCED, 1, term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void the_verdict_is_asked_again_after_it(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	for (int i = 0; i < 10; i++) /* the gateway is silent now: perhaps we are cut off */
		kit_tick(&k, ADV);
	ended(&k, 1, term, true);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void who_may_be_cut_off_itself_runs_no_further_command(void **state)
{
	struct kit k;
	uint64_t term;

	kit_boot(&k, 3);
	k.s.config.has_fence_command = true;
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	term = await(&k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10))->term;
	for (int i = 0; i < 3; i++)
		kit_tick(&k, ADV);
	ended(&k, 1, term, true);
	assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void an_answer_of_an_abandoned_takeover_counts_for_nothing(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.command_runs);
	/* silent again: the next takeover waits for the old command, and then runs its own */
	for (int i = 0; i < 100 && k.s.state != SERVICE_STATE_TAKING_OVER; i++)
		silence(&k, MTIME_MS(100));
	silence(&k, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_false(kit_did(&k, SERVICE_ACT_FENCE_COMMAND));
	ended(&k, 1, term, true);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	term = kit_act(&k, SERVICE_ACT_FENCE_COMMAND)->term;
	assert_int_equal(term, 513);
	ended(&k, 1, term, true);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void stop_while_it_runs_starts_nothing(void **state)
{
	struct kit k;
	uint64_t term = command_runs(&k);

	kit_command(&k, SERVICE_CMD_STOP);
	ended(&k, 1, term, true);
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
	assert_false(k.s.alarms[SERVICE_ALARM_FENCE_FAILED]);
}

/* ---- explain ---- */

static const struct service_evidence *fence_item(const struct kit *k,
						 struct service_evidence all[SERVICE_EVIDENCES_END])
{
	service_explain(&k->s, k->now, all);
	return &all[SERVICE_EVIDENCE_FENCE];
}

static void explain_tells_how_the_command_stands(void **state)
{
	struct service_evidence all[SERVICE_EVIDENCES_END];
	const struct service_evidence *e;
	struct kit k;
	uint64_t term = command_runs(&k);

	silence(&k, MTIME_SEC(2));
	e = fence_item(&k, all);
	assert_false(e->ok);
	assert_string_equal(e->detail, "fence_command is running (term 257)");
	assert_in_range(e->age, MTIME_MS(2000), MTIME_MS(2100));
	ended(&k, 1, term, false);
	e = fence_item(&k, all);
	assert_false(e->ok);
	assert_string_equal(e->detail, "fence_command has failed (term 257)");
	term = await(&k, SERVICE_ACT_FENCE_COMMAND, MTIME_SEC(10))->term;
	ended(&k, 1, term, true);
	kit_addresses(&k, true, true);
	e = fence_item(&k, all);
	assert_true(e->ok);
	assert_string_equal(e->detail, "fence_command has succeeded (term 513)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_starts_before_the_command_has_succeeded),
		cmocka_unit_test(fence_is_repeated_while_the_command_runs),
		cmocka_unit_test(
			failure_abandons_with_an_alarm_and_is_tried_again_after_active_down),
		cmocka_unit_test(the_alarm_ends_when_somebody_is_active),
		cmocka_unit_test(a_lost_answer_counts_as_failure),
		cmocka_unit_test(no_command_without_the_key),
		cmocka_unit_test(no_command_after_release_fenced_or_an_election),
		cmocka_unit_test(who_is_named_by_the_releaser_fences_nobody_else_the_third),
		cmocka_unit_test(a_late_fenced_ends_the_wait_and_the_command_counts_no_more),
		cmocka_unit_test(a_person_with_force_vouches_for_everybody),
		cmocka_unit_test(force_is_heard_while_it_hangs_and_after_it_failed),
		cmocka_unit_test(boot_alone_needs_it),
		cmocka_unit_test(a_restart_on_the_active_node_needs_none),
		cmocka_unit_test(several_nodes_are_fenced_one_after_the_other),
		cmocka_unit_test(only_the_silent_one_of_several_needs_it),
		cmocka_unit_test(who_is_heard_as_active_after_success_is_waited_for),
		cmocka_unit_test(the_verdict_is_asked_again_after_it),
		cmocka_unit_test(who_may_be_cut_off_itself_runs_no_further_command),
		cmocka_unit_test(an_answer_of_an_abandoned_takeover_counts_for_nothing),
		cmocka_unit_test(stop_while_it_runs_starts_nothing),
		cmocka_unit_test(explain_tells_how_the_command_stands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
