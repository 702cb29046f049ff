/* SPDX-License-Identifier: MIT */
#include "service_kit.h"

/*
 * Adverts of a linked node by a foreign hand.  Node a (us, priority 150) has Active_Down at
 * (3 + 106/256) adverts.  What is shown here is what README promises: an advert delays a takeover,
 * for a bounded time, and causes nothing.
 */
#define DOWN  (3 * ADV + 106 * ADV / 256)
#define OFTEN (ADV / 10)
#define LONG  MTIME_SEC(600)

static void forge(struct kit *k, uint8_t priority, mtime interval)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_ADVERT,
					   .peer = 1,
					   .priority = priority,
					   .interval = interval});
}

static void answer_for_the_address(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_CONFLICT,
					   .peer = 1,
					   .conflict = SERVICE_CONFLICT_NODE});
}

/* Time in which nothing is heard but the gateway. */
static void pass(struct kit *k, mtime time)
{
	const mtime start = k->now;

	while (k->now - start < time) {
		kit_tick(k, mtime_min(OFTEN, start + time - k->now));
		kit_gateway(k);
	}
}

/* Adverts without end, b's kernel answering for the address at first: when we begin, or LONG. */
static mtime time_to_takeover(struct kit *k, mtime kernel_answers)
{
	const mtime start = k->now;

	while (k->s.state != SERVICE_STATE_TAKING_OVER && k->now - start < LONG) {
		kit_tick(k, OFTEN);
		kit_gateway(k);
		forge(k, 100, ADV);
		forge(k, 0, ADV);
		if (k->now - start <= kernel_answers && service_wants_conflict_probe(&k->s, k->now))
			answer_for_the_address(k);
	}
	return k->now - start;
}

static void an_advert_delays_by_one_active_down_whatever_interval_it_says(void **state)
{
	const mtime intervals[] = {MTIME_MS(10), ADV, MTIME_MS(40950)};

	for (int i = 0; i < 3; i++) {
		struct kit k;

		kit_backup(&k);
		pass(&k, 3 * ADV);
		forge(&k, 254, intervals[i]);
		pass(&k, DOWN - OFTEN);
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		pass(&k, 2 * OFTEN);
		assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	}
}

static void adverts_without_end_delay_by_four_active_downs(void **state)
{
	struct kit k;
	mtime took;

	kit_backup(&k);
	took = time_to_takeover(&k, 0);
	assert_true(took > 3 * DOWN && took <= 4 * DOWN + 4 * OFTEN);
	/* ... nor do they hold us off in the middle of it. */
	kit_tick(&k, MTIME_MS(60));
	forge(&k, 100, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

/* All of supd was killed there: the kernel answers until the lease ends. */
static void a_kernel_that_answers_for_the_address_adds_its_time(void **state)
{
	const mtime lease = MTIME_SEC(3) + MTIME_MS(1500);
	struct kit k;
	mtime took;

	kit_backup(&k);
	took = time_to_takeover(&k, lease);
	assert_true(took <= lease + 3 * DOWN + 4 * OFTEN);
}

/* The peer link is blocked, the other one lives: never two. */
static void adverts_hold_for_as_long_as_a_node_answers_for_the_address(void **state)
{
	struct kit k;

	kit_backup(&k);
	assert_true(time_to_takeover(&k, LONG) >= LONG);
	assert_true(k.s.alarms[SERVICE_ALARM_PEER_LINK]);
}

/* It is asked often enough for a network that loses most of what is sent. */
static void one_answer_in_two_active_downs_is_enough(void **state)
{
	struct kit k;

	kit_backup(&k);
	for (int i = 1; i <= 600; i++) {
		kit_tick(&k, OFTEN);
		kit_gateway(&k);
		forge(&k, 100, ADV);
		if (i % 60 == 0)
			answer_for_the_address(&k);
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	}
}

static void a_node_that_says_it_runs_nothing_is_believed_rather_than_its_adverts(void **state)
{
	struct kit k;
	mtime start;

	kit_backup(&k);
	start = k.now;
	while (k.s.state == SERVICE_STATE_BACKUP && k.now - start < LONG) {
		kit_tick(&k, OFTEN);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_BACKUP, 2));
		forge(&k, 100, ADV);
	}
	assert_true(k.now - start <= DOWN + 2 * OFTEN);
}

struct blind_case {
	const char *why;
	bool conflict_probe, heard, gateway;
	unsigned n_vips;
};

static const struct blind_case blind[] = {
	{"conflict_probe = no", false, true, true, 1},
	{"no address", true, true, true, 0},
	{"a node that was never heard", true, false, true, 1},
	{"no target answers: perhaps nothing of ours arrives", true, true, false, 1},
};

static void where_no_answer_can_be_had_adverts_are_believed(void **state)
{
	for (size_t i = 0; i < sizeof(blind) / sizeof(blind[0]); i++) {
		const struct blind_case *c = &blind[i];
		struct kit k;
		mtime start;

		print_message("%s\n", c->why);
		kit_boot(&k, 2);
		k.s.config.conflict_probe = c->conflict_probe;
		k.s.config.n_vips = c->n_vips;
		kit_gateway(&k);
		if (c->heard)
			kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		for (start = k.now; k.now - start < LONG;) {
			kit_tick(&k, OFTEN);
			if (c->gateway)
				kit_gateway(&k);
			forge(&k, 100, ADV);
			assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		}
	}
}

/* ---- and causes nothing --------------------------------------------------------------------- */

static void no_advert_makes_a_backup_take_over(void **state)
{
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 600; i++) {
		kit_tick(&k, OFTEN);
		kit_gateway(&k);
		if (i % 10 == 0)
			kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		forge(&k, (uint8_t)(i % 3 == 0 ? 0 : i), MTIME_MS(10));
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	}
}

/* Priority 0 is no release: that comes sealed, or not at all. */
static void priority_0_neither_hastens_nor_delays(void **state)
{
	struct kit k;
	mtime start;

	kit_backup(&k);
	start = k.now;
	while (k.s.state == SERVICE_STATE_BACKUP) {
		kit_tick(&k, OFTEN);
		kit_gateway(&k);
		forge(&k, 0, ADV);
	}
	assert_true(k.now - start >= DOWN && k.now - start <= DOWN + 2 * OFTEN);
}

/* A host that boots alone waits for the other one: an advert does not shorten that. */
static void no_advert_shortens_the_wait_at_the_boot(void **state)
{
	struct kit k;
	mtime start;

	kit_boot(&k, 2);
	start = k.now;
	kit_gateway(&k);
	forge(&k, 100, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	while (k.s.state == SERVICE_STATE_BACKUP && k.now - start < LONG) {
		kit_tick(&k, OFTEN);
		kit_gateway(&k);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_true(k.now - start >= MTIME_SEC(60));
}

static void no_advert_makes_an_active_step_down(void **state)
{
	struct kit k;
	uint64_t term;

	kit_active(&k);
	term = k.s.term;
	for (int i = 0; i < 2000; i++) {
		kit_tick(&k, OFTEN);
		kit_gateway(&k);
		forge(&k, (uint8_t)i, MTIME_MS(10) * (1 + i));
		assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
		assert_false(kit_did(&k, SERVICE_ACT_QUIESCE));
	}
	assert_int_equal(k.s.term, term);
}

/* A person vouches that the other one is dead. */
static void no_advert_ends_a_forced_takeover(void **state)
{
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 5; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
		forge(&k, 254, ADV);
	}
	kit_command(&k, SERVICE_CMD_TAKE);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	forge(&k, 254, ADV);
	kit_tick(&k, MTIME_MS(60));
	forge(&k, 254, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD) || k.s.phase != SERVICE_PHASE_FENCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_advert_delays_by_one_active_down_whatever_interval_it_says),
		cmocka_unit_test(adverts_without_end_delay_by_four_active_downs),
		cmocka_unit_test(a_kernel_that_answers_for_the_address_adds_its_time),
		cmocka_unit_test(adverts_hold_for_as_long_as_a_node_answers_for_the_address),
		cmocka_unit_test(one_answer_in_two_active_downs_is_enough),
		cmocka_unit_test(a_node_that_says_it_runs_nothing_is_believed_rather_than_its_adverts),
		cmocka_unit_test(where_no_answer_can_be_had_adverts_are_believed),
		cmocka_unit_test(no_advert_makes_a_backup_take_over),
		cmocka_unit_test(priority_0_neither_hastens_nor_delays),
		cmocka_unit_test(no_advert_shortens_the_wait_at_the_boot),
		cmocka_unit_test(no_advert_makes_an_active_step_down),
		cmocka_unit_test(no_advert_ends_a_forced_takeover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
