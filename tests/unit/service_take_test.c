/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/* Taking over: what the simulator has found once is told here for good. */

/* Backup whose Active_Down has just expired, b unheard, the gateway answering. */
static void kit_taking(struct kit *k)
{
	mtime down;

	kit_backup(k);
	down = k->now + vrrp_active_down(&k->s.vrrp);
	while (k->now < down) {
		kit_tick(k, MTIME_MS(100));
		kit_gateway(k);
	}
	assert_int_equal(k->s.state, SERVICE_STATE_TAKING_OVER);
	assert_int_equal(k->s.phase, SERVICE_PHASE_FENCE);
}

/* A node in one direction only reachable gets no second chance after fence_timeout. */
static void fence_goes_out_twice_before_an_unheard_node_is_given_up(void **state)
{
	struct kit k;
	unsigned again = 0;

	kit_taking(&k);
	for (int i = 0; i < 49; i++) {
		kit_tick(&k, MTIME_MS(1));
		again += kit_did(&k, SERVICE_ACT_SEND_FENCE);
		assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	}
	assert_int_equal(again, 1);
	kit_tick(&k, MTIME_MS(2));
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

/* The deadline wakes the machine in time for it. */
static void the_second_fence_has_a_deadline(void **state)
{
	struct kit k;

	kit_taking(&k);
	assert_int_equal(service_deadline(&k.s, k.now), k.now + MTIME_MS(25));
}

/*
 * A person said --force to a node that could not hear anything just then (a new engine without
 * sockets); seconds later, when it could, another one ran the service.
 */
static void a_forced_start_does_not_wait_for_contact_for_ever(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_tick(&k, MTIME_SEC(5));
	kit_command(&k, SERVICE_CMD_TAKE);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	for (int i = 0; i < 21; i++)
		kit_tick(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_gateway(&k);
	kit_tick(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

/* Its address was ordered, and the contact lost before the programs were. */
static void a_forced_start_is_given_up_between_address_and_order(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_tick(&k, MTIME_SEC(5));
	kit_gateway(&k);
	kit_command(&k, SERVICE_CMD_TAKE);
	kit_tick(&k, MTIME_MS(51));
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_tick(&k, MTIME_SEC(2)); /* no address in time, and S is too old to start on */
	assert_int_equal(k.s.phase, SERVICE_PHASE_START);
	assert_false(k.s.may_run);
	for (int i = 0; i < 11; i++)
		kit_tick(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_gateway(&k);
	assert_false(k.s.may_run);
}

/* It bounced after each takeover: the time had begun when this node was active before. */
static void failback_counts_from_this_takeover(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 1);
	struct kit k;

	kit_active(&k);
	k.s.config.nodes[1].priority = 200;
	k.s.config.failback = MTIME_SEC(10);
	for (int i = 0; i < 5; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
		kit_hello(&k, 1, r);
	}
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	kit_quiesced(&k, 258);
	kit_addresses(&k, false, true);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	for (int i = 0; i < 8; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 258));
	}
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RELEASE,
					    .peer = 1,
					    .term = 258,
					    .successor = 0,
					    .echoed = k.now - MTIME_MS(1)});
	kit_addresses(&k, true, true);
	r.term_seen = k.s.term;
	kit_hello(&k, 1, r);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	kit_tick(&k, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fence_goes_out_twice_before_an_unheard_node_is_given_up),
		cmocka_unit_test(the_second_fence_has_a_deadline),
		cmocka_unit_test(a_forced_start_does_not_wait_for_contact_for_ever),
		cmocka_unit_test(a_forced_start_is_given_up_between_address_and_order),
		cmocka_unit_test(failback_counts_from_this_takeover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
