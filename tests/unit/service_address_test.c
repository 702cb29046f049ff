/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/* service_address.c: what happens to the addresses of an active service. */

static void lose(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_ADDRESS_LOST});
}

/* The peer and the gateway go on; time passes in steps that no deadline of theirs outlasts. */
static void live(struct kit *k, mtime time)
{
	const mtime until = k->now + time;

	while (k->now < until) {
		struct service_report r = kit_report(SERVICE_STATE_BACKUP, 0);

		k->now = mtime_min(until, k->now + MTIME_MS(500));
		r.term_seen = k->s.term;
		kit_gateway(k);
		kit_hello(k, 1, r);
	}
}

static void tick(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_TICK});
}

static void a_lost_address_is_put_back_at_once_then_once_a_second(void **state)
{
	struct kit k;

	kit_active(&k);
	lose(&k);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_addresses(&k, true, true);
	assert_true(kit_did(&k, SERVICE_ACT_ANNOUNCE));
	k.now += MTIME_MS(300);
	lose(&k);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_true(service_deadline(&k.s, k.now) <= k.now + MTIME_MS(700));
	k.now += MTIME_MS(700);
	tick(&k);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

/* Lost and put back, n times, one a second. */
static void lose_often(struct kit *k, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		live(k, MTIME_SEC(1));
		lose(k);
		kit_addresses(k, true, true);
	}
}

static void who_loses_them_five_times_in_a_minute_hands_over_and_is_latched(void **state)
{
	struct kit k;

	kit_active(&k);
	lose_often(&k, 4);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	live(&k, MTIME_SEC(1));
	lose(&k);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_STOP));
	assert_int_equal(k.s.successor, 1);
	assert_true(k.s.persist.latched);
	assert_true(k.s.alarms[SERVICE_ALARM_ADDRESS]);
}

static void losses_far_apart_are_not_added_up(void **state)
{
	struct kit k;

	kit_active(&k);
	for (int i = 0; i < 4; i++) {
		lose_often(&k, 4);
		live(&k, MTIME_SEC(61));
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void addresses_that_go_together_are_one_loss(void **state)
{
	struct kit k;

	kit_active(&k);
	for (int i = 0; i < 10; i++)
		lose(&k);
	assert_int_equal(k.s.address_losses, 1);
}

static void without_a_fit_peer_it_goes_on_putting_them_back(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_FAILED, 0);
	struct kit k;

	kit_active(&k);
	r.fit = false;
	r.latched = true;
	for (int i = 0; i < 20; i++) {
		k.now += MTIME_SEC(1);
		kit_gateway(&k);
		kit_hello(&k, 1, r);
		lose(&k);
		assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
		kit_addresses(&k, true, true);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void what_cannot_be_set_is_handed_over_as_well(void **state)
{
	struct kit k;

	kit_active(&k);
	lose(&k);
	for (int i = 0; i < 10 && k.s.state == SERVICE_STATE_ACTIVE; i++) {
		kit_addresses(&k, true, false);
		live(&k, MTIME_SEC(1));
	}
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(k.s.persist.latched);
}

static void a_command_that_fails_moves_nothing(void **state)
{
	struct kit k;

	kit_active(&k);
	k.s.config.vip_command = true;
	lose(&k);
	for (int i = 0; i < 20; i++) {
		kit_addresses(&k, true, false);
		assert_true(k.s.alarms[SERVICE_ALARM_ADDRESS]);
		live(&k, MTIME_SEC(1));
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void a_pause_keeps_the_service_where_it_is(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_command(&k, SERVICE_CMD_PAUSE);
	lose_often(&k, 10);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

/* ---- a takeover --------------------------------------------------------------------------------- */

static void begin_takeover(struct kit *k, bool by_command)
{
	kit_boot(k, 2);
	k->s.config.vip_command = by_command;
	kit_gateway(k);
	kit_hello(k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	kit_term(k, SERVICE_EV_FENCED, 1, k->s.term);
	assert_true(kit_did(k, SERVICE_ACT_ADDRESSES_ADD));
	assert_int_equal(k->s.phase, SERVICE_PHASE_ADDRESS);
}

static void a_takeover_waits_a_second_for_the_kernel_and_ten_for_a_command(void **state)
{
	struct kit k;

	begin_takeover(&k, false);
	live(&k, MTIME_MS(900));
	assert_int_equal(k.s.phase, SERVICE_PHASE_ADDRESS);
	live(&k, MTIME_MS(100));
	tick(&k);
	assert_true(k.s.may_run);

	begin_takeover(&k, true);
	live(&k, MTIME_MS(9900));
	assert_int_equal(k.s.phase, SERVICE_PHASE_ADDRESS);
	live(&k, MTIME_MS(100));
	tick(&k);
	assert_true(k.s.may_run);
	assert_true(k.s.alarms[SERVICE_ALARM_ADDRESS]);
}

static void a_release_waits_a_second_for_either(void **state)
{
	for (int by_command = 0; by_command < 2; by_command++) {
		struct kit k;

		kit_active(&k);
		k.s.config.vip_command = by_command;
		kit_command(&k, SERVICE_CMD_FAILOVER);
		kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
		kit_quiesced(&k, k.s.term);
		assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
		assert_int_equal(k.s.phase, SERVICE_PHASE_REMOVE);
		k.now += MTIME_SEC(1);
		tick(&k);
		assert_true(kit_did(&k, SERVICE_ACT_SEND_RELEASE));
	}
}

/* One of several was lost: the others are here all the same. */
static void what_is_left_is_removed_by_a_release_after_a_loss(void **state)
{
	struct kit k;

	kit_active(&k);
	lose(&k);
	kit_addresses(&k, true, false);
	kit_command(&k, SERVICE_CMD_FAILOVER);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
	assert_false(kit_did(&k, SERVICE_ACT_SEND_RELEASE));
	kit_addresses(&k, false, true);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_RELEASE));
}

static void without_addresses_to_set_none_is_ordered(void **state)
{
	struct kit k;

	kit_active(&k);
	k.s.config.n_vips = 0;
	lose(&k);
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	live(&k, MTIME_SEC(2));
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_address_is_put_back_at_once_then_once_a_second),
		cmocka_unit_test(who_loses_them_five_times_in_a_minute_hands_over_and_is_latched),
		cmocka_unit_test(losses_far_apart_are_not_added_up),
		cmocka_unit_test(addresses_that_go_together_are_one_loss),
		cmocka_unit_test(without_a_fit_peer_it_goes_on_putting_them_back),
		cmocka_unit_test(what_cannot_be_set_is_handed_over_as_well),
		cmocka_unit_test(a_command_that_fails_moves_nothing),
		cmocka_unit_test(a_pause_keeps_the_service_where_it_is),
		cmocka_unit_test(a_takeover_waits_a_second_for_the_kernel_and_ten_for_a_command),
		cmocka_unit_test(a_release_waits_a_second_for_either),
		cmocka_unit_test(what_is_left_is_removed_by_a_release_after_a_loss),
		cmocka_unit_test(without_addresses_to_set_none_is_ordered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
