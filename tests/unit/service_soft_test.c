/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/*
 * Soft fitness: who yields to whom, and that the service comes up all the same where nobody fit is
 * left.  Node a (row 0) has the highest priority.
 */

#define OTHER_FILE 99

static void silence(struct kit *k, mtime length)
{
	for (mtime t = 0; t < length && k->s.state != SERVICE_STATE_TAKING_OVER;
	     t += MTIME_MS(100)) {
		kit_tick(k, MTIME_MS(100));
		kit_gateway(k);
	}
}

/* The other node is dead: its FENCED is not waited for. */
static void finish(struct kit *k)
{
	assert_int_equal(k->s.state, SERVICE_STATE_TAKING_OVER);
	kit_tick(k, MTIME_MS(60));
	kit_gateway(k);
	kit_addresses(k, true, true);
	kit_tick(k, MTIME_MS(10));
	assert_true(k->s.may_run);
	kit_step(k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k->s.state, SERVICE_STATE_ACTIVE);
}

static void check(struct kit *k, bool passes)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_FITNESS,
					   .unfit = SERVICE_UNFIT_CHECK,
					   .ok = passes});
}

static struct service_report soft_report(enum service_state state, uint64_t term)
{
	struct service_report r = kit_report(state, term);

	r.fit = false;
	r.soft = true;
	return r;
}

/* Node c of three, beside a softly unfit or fit b. */
static void hears(struct kit *k, unsigned peer, const struct service_report *r, mtime length)
{
	for (mtime t = 0; t < length; t += MTIME_MS(500)) {
		kit_tick(k, MTIME_MS(500));
		kit_gateway(k);
		kit_hello(k, peer, *r);
		if (k->s.state == SERVICE_STATE_TAKING_OVER)
			return;
	}
}

/* ---- what is told ---- */

static void a_failing_check_is_a_soft_reason_and_told(void **state)
{
	bool reasons[SERVICE_UNFITS_END];
	struct service_report r;
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	assert_false(service_fit(&k.s, k.now, reasons));
	assert_true(reasons[SERVICE_UNFIT_CHECK]);
	assert_true(service_softly_unfit(&k.s, k.now));
	service_to_report(&k.s, k.now, &r);
	assert_true(!r.fit && r.soft);
	kit_command(&k, SERVICE_CMD_STOP_HERE); /* a hard one beside it */
	assert_false(service_softly_unfit(&k.s, k.now));
	service_to_report(&k.s, k.now, &r);
	assert_true(!r.fit && !r.soft);
	kit_command(&k, SERVICE_CMD_START);
	check(&k, true);
	assert_true(service_fit(&k.s, k.now, NULL));
}

static void hard_reasons_cannot_be_told_away(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_FITNESS,
					    .unfit = SERVICE_UNFIT_ISOLATED});
	assert_true(service_fit(&k.s, k.now, NULL));
}

static void explain_says_when_a_softly_unfit_node_would_start(void **state)
{
	struct service_evidence e[SERVICE_EVIDENCES_END];
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	assert_int_equal(service_explain(&k.s, k.now, e), SERVICE_VERDICT_HOLD);
	assert_false(e[SERVICE_EVIDENCE_FIT].ok);
	assert_non_null(strstr(e[SERVICE_EVIDENCE_FIT].detail, "a check fails"));
	assert_non_null(strstr(e[SERVICE_EVIDENCE_FIT].consequence, "where nobody fit is left"));
}

/* ---- the takeover ---- */

static void alone_and_softly_unfit_it_takes_over_one_active_down_later(void **state)
{
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	silence(&k, MTIME_SEC(6)); /* Active_Down is 3.4 s */
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	silence(&k, MTIME_SEC(1));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	finish(&k);
	assert_true(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
	silence(&k, MTIME_SEC(1)); /* it stays up, and the alarm stands, while the check fails */
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_true(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
	check(&k, true);
	assert_false(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
}

static void its_check_passing_again_ends_the_wait(void **state)
{
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	silence(&k, MTIME_SEC(5));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	check(&k, true);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	finish(&k);
	assert_false(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
}

static void a_check_that_fails_on_the_way_does_not_turn_it_back(void **state)
{
	struct kit k;

	kit_backup(&k);
	silence(&k, MTIME_SEC(4));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	check(&k, false);
	finish(&k);
}

static void a_softly_unfit_node_yields_to_a_fit_one_as_long_as_it_is_heard(void **state)
{
	struct service_report fit = kit_report(SERVICE_STATE_BACKUP, 2);
	struct kit k;

	kit_boot(&k, 3);
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	check(&k, false);
	hears(&k, 2, &fit, MTIME_SEC(30));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	silence(&k, MTIME_SEC(12)); /* it died, too: its silence, and one more Active_Down */
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void of_two_softly_unfit_nodes_the_better_one_begins(void **state)
{
	struct service_report soft = soft_report(SERVICE_STATE_BACKUP, 2);
	mtime began[2];
	struct kit k;

	for (unsigned i = 0; i < 2; i++) {
		kit_boot(&k, 3);
		k.s.config.nodes[2].priority = i == 0 ? 50 : 250;
		kit_gateway(&k);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		check(&k, false);
		began[i] = k.now;
		hears(&k, 2, &soft, MTIME_SEC(30));
		assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
		began[i] = k.now - began[i];
	}
	assert_in_range(began[0], MTIME_MS(6700), MTIME_MS(7500));
	assert_in_range(began[1], began[0] + 2 * ADV - MTIME_MS(500), began[0] + 3 * ADV);
}

static void at_boot_two_softly_unfit_nodes_bring_it_up_one_active_down_later(void **state)
{
	struct service_report soft = soft_report(SERVICE_STATE_WAITING, 0);
	struct kit k;

	kit_boot(&k, 2);
	check(&k, false);
	hears(&k, 1, &soft, MTIME_SEC(6));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	hears(&k, 1, &soft, MTIME_SEC(2));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void at_boot_a_softly_unfit_node_leaves_it_to_a_fit_one(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	check(&k, false);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void an_unnamed_release_makes_it_wait_a_named_one_does_not(void **state)
{
	struct service_report failed = kit_report(SERVICE_STATE_FAILED, 2);
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	kit_term(&k, SERVICE_EV_RELEASE, 1, 2);
	failed.latched = true;
	failed.fit = false;
	kit_hello(&k, 1, failed);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	silence(&k, MTIME_SEC(4)); /* Active_Down from the release, not two */
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);

	kit_backup(&k);
	check(&k, false);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RELEASE, .peer = 1, .term = 2,
					    .successor = 0, .echoed = k.now - MTIME_MS(1)});
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void a_person_who_forces_it_is_not_asked_for_checks(void **state)
{
	struct kit k;

	kit_backup(&k);
	check(&k, false);
	silence(&k, MTIME_SEC(4));
	kit_command(&k, SERVICE_CMD_TAKE);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

/* ---- handing over ---- */

static void a_softly_unfit_peer_is_no_standby_and_gets_nothing_planned(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_hello(&k, 1, soft_report(SERVICE_STATE_BACKUP, k.s.term));
	assert_int_equal(service_best_peer(&k.s, k.now), MODEL_NONE);
	assert_int_equal(service_successor(&k.s, k.now), 1);
	kit_command(&k, SERVICE_CMD_FAILOVER);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	for (int i = 0; i < 5; i++) {
		silence(&k, ADV);
		kit_hello(&k, 1, soft_report(SERVICE_STATE_BACKUP, k.s.term));
	}
	assert_true(k.s.alarms[SERVICE_ALARM_NO_STANDBY]);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_COMMAND,
					    .command = SERVICE_CMD_FAILOVER,
					    .force = true});
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_int_equal(k.s.successor, 1);
}

static void who_ends_in_any_case_names_a_softly_unfit_peer(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_hello(&k, 1, soft_report(SERVICE_STATE_BACKUP, k.s.term));
	kit_command(&k, SERVICE_CMD_END);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_int_equal(k.s.successor, 1);
}

static void a_softly_unfit_peer_does_not_get_what_failed_here(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_hello(&k, 1, soft_report(SERVICE_STATE_BACKUP, k.s.term));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAM_LIMIT});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE); /* restarted here, at the longest delay */
}

/* ---- files ---- */

static void the_standby_whose_file_is_not_the_actives_is_the_unfit_one(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	bool reasons[SERVICE_UNFITS_END];
	struct kit k;

	kit_backup(&k);
	r.file = OTHER_FILE;
	kit_hello(&k, 1, r);
	assert_false(service_fit(&k.s, k.now, reasons));
	assert_true(reasons[SERVICE_UNFIT_FILE]);
	assert_true(service_softly_unfit(&k.s, k.now));
	assert_true(k.s.alarms[SERVICE_ALARM_CONFIG_FILE]);
	assert_true(service_peer_differs(&k.s, 1, k.now, SERVICE_UNFIT_FILE));
	assert_false(service_peer_differs(&k.s, 1, k.now, SERVICE_UNFIT_DIGEST));

	kit_active(&k);
	r = kit_report(SERVICE_STATE_BACKUP, k.s.term);
	r.file = OTHER_FILE;
	kit_hello(&k, 1, r);
	assert_true(service_fit(&k.s, k.now, NULL));
	assert_true(k.s.alarms[SERVICE_ALARM_CONFIG_FILE]);
}

static void another_file_than_the_dead_actives_costs_one_active_down_and_is_said(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	r.file = OTHER_FILE;
	kit_hello(&k, 1, r);
	silence(&k, MTIME_SEC(6));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	silence(&k, MTIME_SEC(1));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	finish(&k);
	kit_tick(&k, MTIME_MS(10));
	assert_true(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
	r = kit_report(SERVICE_STATE_BACKUP, k.s.term);
	kit_hello(&k, 1, r); /* it is back, with the file that is in force now */
	assert_false(k.s.alarms[SERVICE_ALARM_ACTIVE_UNFIT]);
}

static void at_boot_each_node_with_another_file_is_a_measure(void **state)
{
	struct service_report r = soft_report(SERVICE_STATE_WAITING, 0);
	struct kit k;

	kit_boot(&k, 2);
	r.file = OTHER_FILE;
	kit_hello(&k, 1, r);
	assert_true(service_softly_unfit(&k.s, k.now));
	hears(&k, 1, &r, MTIME_SEC(8));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void another_safety_digest_is_one_alarm_and_not_two(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	r.file = OTHER_FILE;
	r.digest = 78;
	kit_hello(&k, 1, r);
	assert_false(service_softly_unfit(&k.s, k.now));
	assert_true(k.s.alarms[SERVICE_ALARM_CONFIG_DIFFERS]);
	assert_false(k.s.alarms[SERVICE_ALARM_CONFIG_FILE]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failing_check_is_a_soft_reason_and_told),
		cmocka_unit_test(hard_reasons_cannot_be_told_away),
		cmocka_unit_test(explain_says_when_a_softly_unfit_node_would_start),
		cmocka_unit_test(alone_and_softly_unfit_it_takes_over_one_active_down_later),
		cmocka_unit_test(its_check_passing_again_ends_the_wait),
		cmocka_unit_test(a_check_that_fails_on_the_way_does_not_turn_it_back),
		cmocka_unit_test(a_softly_unfit_node_yields_to_a_fit_one_as_long_as_it_is_heard),
		cmocka_unit_test(of_two_softly_unfit_nodes_the_better_one_begins),
		cmocka_unit_test(at_boot_two_softly_unfit_nodes_bring_it_up_one_active_down_later),
		cmocka_unit_test(at_boot_a_softly_unfit_node_leaves_it_to_a_fit_one),
		cmocka_unit_test(an_unnamed_release_makes_it_wait_a_named_one_does_not),
		cmocka_unit_test(a_person_who_forces_it_is_not_asked_for_checks),
		cmocka_unit_test(a_softly_unfit_peer_is_no_standby_and_gets_nothing_planned),
		cmocka_unit_test(who_ends_in_any_case_names_a_softly_unfit_peer),
		cmocka_unit_test(a_softly_unfit_peer_does_not_get_what_failed_here),
		cmocka_unit_test(the_standby_whose_file_is_not_the_actives_is_the_unfit_one),
		cmocka_unit_test(another_file_than_the_dead_actives_costs_one_active_down_and_is_said),
		cmocka_unit_test(at_boot_each_node_with_another_file_is_a_measure),
		cmocka_unit_test(another_safety_digest_is_one_alarm_and_not_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
