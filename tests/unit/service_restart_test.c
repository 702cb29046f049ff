/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/* Under which term the active node starts its programs again. */

static void due(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_RESTART_DUE});
}

/* b was active under a newer term while we were deaf, and is idle again: nobody fences us. */
static struct service_report idle_again(uint64_t term)
{
	return kit_report(SERVICE_STATE_BACKUP, term);
}

static void restart_goes_on_under_its_term_while_no_newer_one_is_known(void **state)
{
	uint64_t term;
	struct kit k;

	kit_active(&k);
	term = k.s.term;
	due(&k);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	assert_int_equal(k.s.term, term);
}

static void restart_takes_a_fresh_term_when_a_newer_one_has_run_elsewhere(void **state)
{
	struct service_report after;
	struct kit k;

	kit_active(&k);
	kit_hello(&k, 1, idle_again(258));
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_int_equal(k.s.term, 1);
	due(&k);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_int_equal(k.s.term, 513);
	assert_int_equal(kit_act(&k, SERVICE_ACT_SEND_FENCE)->term, 513);
	assert_true(kit_did(&k, SERVICE_ACT_BATON)); /* a new engine goes on from it */
	assert_true(k.s.persist.reserved > 513);
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW)); /* b has not answered this one */
	kit_term(&k, SERVICE_EV_FENCED, 1, 513);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	service_to_report(&k.s, k.now, &after);
	assert_int_equal(after.term, 513);
}

static void a_fresh_term_waits_for_its_reservation_on_disk(void **state)
{
	struct kit k;

	kit_active(&k);
	k.disk_ok = false;
	kit_hello(&k, 1, idle_again(258)); /* the new reservation is being written */
	due(&k);
	assert_int_equal(k.s.term, 1);
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PERSISTED,
					    .seq = k.s.persist_seq,
					    .ok = true});
	assert_int_equal(k.s.term, 513);
	kit_term(&k, SERVICE_EV_FENCED, 1, 513);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
}

static void a_newer_term_heard_of_while_fencing_begins_the_fence_anew(void **state)
{
	struct service_report unknown = kit_report(SERVICE_STATE_BACKUP, 0);
	struct kit k;

	kit_active(&k);
	unknown.term_seen = 0;
	kit_hello(&k, 1, unknown);
	due(&k);
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_hello(&k, 1, idle_again(258));
	kit_tick(&k, MTIME_MS(1));
	assert_int_equal(k.s.term, 513);
	kit_term(&k, SERVICE_EV_FENCED, 1, 1); /* of the old one: too late */
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_term(&k, SERVICE_EV_FENCED, 1, 513);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
}

static void paused_it_takes_no_term(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_command(&k, SERVICE_CMD_PAUSE);
	kit_hello(&k, 1, idle_again(258));
	due(&k);
	assert_int_equal(k.s.term, 1);
	kit_command(&k, SERVICE_CMD_RESUME);
	assert_int_equal(k.s.term, 513);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restart_goes_on_under_its_term_while_no_newer_one_is_known),
		cmocka_unit_test(restart_takes_a_fresh_term_when_a_newer_one_has_run_elsewhere),
		cmocka_unit_test(a_fresh_term_waits_for_its_reservation_on_disk),
		cmocka_unit_test(a_newer_term_heard_of_while_fencing_begins_the_fence_anew),
		cmocka_unit_test(paused_it_takes_no_term),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
