/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "supd/core/program_group.h"

#define MEMBERS 3

/* Three programs of one service, and whatever is given to them. */
struct rig {
	struct program_group g;
	struct program_fsm p[MEMBERS];
	struct group_member members[MEMBERS];
	mtime now;
};

/* A chain, where the test does not say otherwise: each requires the one before. */

static void init(struct rig *r)
{
	struct program_config c = {
		.autorestart = PROGRAM_RESTART_ALWAYS,
		.exitcodes = { 1 },
		.stopsignal = 15,
		.startsecs = MTIME_SEC(1),
		.stopwaitsecs = MTIME_SEC(10),
		.restart_delay_max = MTIME_SEC(60),
		.kill_wait = MTIME_SEC(5),
		.restart_limit = 3,
		.restart_window = MTIME_SEC(60),
		.gated = true,
	};

	memset(r, 0, sizeof(*r));
	r->now = MTIME_SEC(100);
	group_init(&r->g, r->members);
	r->g.n = MEMBERS;
	for (unsigned i = 0; i < MEMBERS; i++) {
		program_init(&r->p[i], &c);
		r->g.members[i] = (struct group_member){ .program = &r->p[i], .autostart = true };
		if (i > 0)
			assert_int_equal(group_require(&r->g, i, i - 1), 0);
	}
}

static void init_without_order(struct rig *r)
{
	init(r);
	for (unsigned i = 0; i < MEMBERS; i++) {
		r->g.members[i].n_requires = 0;
		r->g.members[i].required = false;
	}
}

static void give(struct rig *r, unsigned member, enum program_event_type type)
{
	struct program_event ev = { .type = type, .run = member + 1, .pid = 1 };
	struct program_actions out;

	program_step(&r->p[member], &ev, r->now, &out);
	assert_true(program_check(&r->p[member]));
}

/* Carry out the next order, which must be this one. */
static void expect_order(struct rig *r, unsigned member, enum program_event_type event)
{
	struct group_order o = { 0 };

	assert_true(group_reconcile(&r->g, &o));
	assert_int_equal(o.member, member);
	assert_int_equal(o.event, event);
	give(r, o.member, o.event);
}

static void expect_no_order(struct rig *r)
{
	struct group_order o;

	assert_false(group_reconcile(&r->g, &o));
}

static void bring_up(struct rig *r)
{
	struct group_order o;

	group_up(&r->g);
	while (group_reconcile(&r->g, &o)) {
		give(r, o.member, o.event);
		give(r, o.member, PROGRAM_EV_SPAWNED);
	}
	assert_true(group_ready(&r->g));
}

static void end_of(struct rig *r, unsigned member)
{
	give(r, member, PROGRAM_EV_EXITED);
	give(r, member, PROGRAM_EV_GONE);
}

static void members_start_in_order_each_when_the_one_before_is_ready(void **state)
{
	struct rig r;

	init(&r);
	expect_no_order(&r); /* nothing is wanted yet */
	group_up(&r.g);
	for (unsigned i = 0; i < MEMBERS; i++) {
		assert_false(group_ready(&r.g));
		expect_order(&r, i, PROGRAM_EV_START);
		expect_no_order(&r); /* ordered, not ready */
		give(&r, i, PROGRAM_EV_SPAWNED);
	}
	expect_no_order(&r);
	assert_true(group_ready(&r.g));
	assert_false(group_gone(&r.g));
}

static void members_stop_in_reverse_each_when_the_one_after_is_gone(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	group_down(&r.g, false);
	for (unsigned i = MEMBERS; i-- > 0;) {
		expect_order(&r, i, PROGRAM_EV_STOP);
		expect_no_order(&r);
		give(&r, i, PROGRAM_EV_EXITED);
		expect_no_order(&r); /* main is dead, its tree is not gone */
		assert_false(group_gone(&r.g));
		give(&r, i, PROGRAM_EV_GONE);
	}
	expect_no_order(&r);
	assert_true(group_gone(&r.g));
	assert_true(group_gone_or_unkillable(&r.g));
}

static void failed_start_holds_up_those_behind_it(void **state)
{
	struct rig r;

	init(&r);
	group_up(&r.g);
	expect_order(&r, 0, PROGRAM_EV_START);
	give(&r, 0, PROGRAM_EV_SPAWN_FAILED);
	expect_no_order(&r);
	assert_false(group_ready(&r.g));
}

static void death_of_one_member_leaves_the_others_alone(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	end_of(&r, 0);
	expect_no_order(&r);
	assert_false(group_ready(&r.g));
	assert_true(group_wants_restart(&r.g, r.now + MTIME_MS(100)));
	r.now += MTIME_MS(100);
	give(&r, 0, PROGRAM_EV_TICK);
	give(&r, 0, PROGRAM_EV_ALLOW);
	assert_false(group_wants_restart(&r.g, r.now));
	give(&r, 0, PROGRAM_EV_SPAWNED);
	assert_true(group_ready(&r.g));
}

static void restart_is_wanted_only_when_it_is_due_and_nothing_is_alive(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	assert_false(group_wants_restart(&r.g, r.now));
	give(&r, 1, PROGRAM_EV_EXITED);
	assert_false(group_wants_restart(&r.g, r.now + MTIME_SEC(10)));
	give(&r, 1, PROGRAM_EV_GONE);
	assert_false(group_wants_restart(&r.g, r.now));
	assert_true(group_wants_restart(&r.g, r.now + RESTART_DELAY_MIN));
}

static void down_on_the_way_up_stops_what_was_begun(void **state)
{
	struct rig r;

	init(&r);
	group_up(&r.g);
	expect_order(&r, 0, PROGRAM_EV_START);
	give(&r, 0, PROGRAM_EV_SPAWNED);
	expect_order(&r, 1, PROGRAM_EV_START);
	group_down(&r.g, false);
	expect_order(&r, 1, PROGRAM_EV_STOP);
	expect_no_order(&r);
	assert_false(group_gone(&r.g)); /* an order is under way: who knows */
	give(&r, 1, PROGRAM_EV_SPAWN_FAILED);
	expect_order(&r, 0, PROGRAM_EV_STOP);
	end_of(&r, 0);
	assert_true(group_gone(&r.g));
}

static void up_on_the_way_down_starts_again_in_order(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	group_down(&r.g, false);
	expect_order(&r, 2, PROGRAM_EV_STOP);
	group_up(&r.g);
	expect_order(&r, 2, PROGRAM_EV_START);
	expect_no_order(&r);
	end_of(&r, 2);
	give(&r, 2, PROGRAM_EV_SPAWNED);
	assert_true(group_ready(&r.g));
}

static void given_up_members_end_fatal_and_are_cleared_by_a_plain_down(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	group_down(&r.g, true);
	for (unsigned i = MEMBERS; i-- > 0;) {
		expect_order(&r, i, PROGRAM_EV_GIVE_UP);
		end_of(&r, i);
		assert_int_equal(r.p[i].state, PROGRAM_STATE_FATAL);
	}
	expect_no_order(&r);
	group_down(&r.g, false); /* reset by a person */
	for (unsigned i = MEMBERS; i-- > 0;)
		expect_order(&r, i, PROGRAM_EV_STOP);
	expect_no_order(&r);
	assert_int_equal(r.p[0].state, PROGRAM_STATE_STOPPED);
}

static void unkillable_member_does_not_keep_the_others_alive(void **state)
{
	struct rig r;

	init(&r);
	bring_up(&r);
	group_down(&r.g, false);
	expect_order(&r, 2, PROGRAM_EV_STOP);
	r.now = program_deadline(&r.p[2]);
	give(&r, 2, PROGRAM_EV_TICK);
	expect_no_order(&r);
	assert_false(group_gone_or_unkillable(&r.g));
	r.now = program_deadline(&r.p[2]);
	give(&r, 2, PROGRAM_EV_TICK);
	for (unsigned i = 2; i-- > 0;) {
		expect_order(&r, i, PROGRAM_EV_STOP);
		end_of(&r, i);
	}
	assert_false(group_gone(&r.g));
	assert_true(group_gone_or_unkillable(&r.g));
}

static void members_that_the_group_does_not_start_are_not_waited_for(void **state)
{
	static const struct {
		bool autostart, manual_stop;
		const char *why;
	} rows[] = {
		{ false, false, "autostart = no: a person's business" },
		{ true, true, "a person stopped it" },
		{ false, true, "both" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		init(&r);
		r.g.members[1].autostart = rows[i].autostart;
		r.g.members[1].manual_stop = rows[i].manual_stop;
		group_up(&r.g);
		expect_order(&r, 0, PROGRAM_EV_START);
		give(&r, 0, PROGRAM_EV_SPAWNED);
		expect_order(&r, 2, PROGRAM_EV_START);
		give(&r, 2, PROGRAM_EV_SPAWNED);
		if (!group_ready(&r.g))
			fail_msg("waits for member 1: %s", rows[i].why);
	}
}

static void member_started_by_a_person_is_stopped_with_the_others(void **state)
{
	struct rig r;

	init(&r);
	r.g.members[2].autostart = false;
	bring_up(&r);
	give(&r, 2, PROGRAM_EV_START_PERSON);
	give(&r, 2, PROGRAM_EV_SPAWNED);
	group_down(&r.g, false);
	expect_order(&r, 2, PROGRAM_EV_STOP);
}

static void member_that_ended_as_configured_counts_as_ready_until_the_next_way_up(void **state)
{
	struct rig r;

	init(&r);
	r.p[0].config.autorestart = PROGRAM_RESTART_UNEXPECTED;
	bring_up(&r);
	end_of(&r, 0);
	assert_int_equal(r.p[0].state, PROGRAM_STATE_EXITED);
	assert_true(group_ready(&r.g));
	expect_no_order(&r);
	group_down(&r.g, false);
	for (unsigned i = MEMBERS; i-- > 0;) {
		expect_order(&r, i, PROGRAM_EV_STOP);
		if (i > 0)
			end_of(&r, i);
	}
	assert_true(group_gone(&r.g));
	group_up(&r.g);
	expect_order(&r, 0, PROGRAM_EV_START);
}

static void empty_group_is_ready_and_gone(void **state)
{
	struct rig r;

	init(&r);
	r.g.n = 0;
	group_up(&r.g);
	expect_no_order(&r);
	assert_true(group_ready(&r.g));
	assert_true(group_gone(&r.g));
	assert_true(group_gone_or_unkillable(&r.g));
	assert_false(group_wants_restart(&r.g, r.now));
}

static void members_that_require_nothing_start_and_stop_at_once(void **state)
{
	struct rig r;

	init_without_order(&r);
	group_up(&r.g);
	for (unsigned i = 0; i < MEMBERS; i++)
		expect_order(&r, i, PROGRAM_EV_START);
	expect_no_order(&r);
	for (unsigned i = 0; i < MEMBERS; i++)
		give(&r, i, PROGRAM_EV_SPAWNED);
	assert_true(group_ready(&r.g));
	group_down(&r.g, false);
	for (unsigned i = MEMBERS; i-- > 0;)
		expect_order(&r, i, PROGRAM_EV_STOP);
	expect_no_order(&r);
}

/* 2 requires 0 and 1: both must be ready before it, and it must be gone before both. */
static void one_that_requires_two_comes_last_and_goes_first(void **state)
{
	struct rig r;

	init_without_order(&r);
	assert_int_equal(group_require(&r.g, 2, 0), 0);
	assert_int_equal(group_require(&r.g, 2, 1), 0);
	group_up(&r.g);
	expect_order(&r, 0, PROGRAM_EV_START);
	expect_order(&r, 1, PROGRAM_EV_START);
	give(&r, 1, PROGRAM_EV_SPAWNED);
	expect_no_order(&r);
	give(&r, 0, PROGRAM_EV_SPAWNED);
	expect_order(&r, 2, PROGRAM_EV_START);
	give(&r, 2, PROGRAM_EV_SPAWNED);
	end_of(&r, 0); /* a death is not the dependent's business */
	expect_no_order(&r);
	group_down(&r.g, false);
	expect_order(&r, 2, PROGRAM_EV_STOP);
	expect_no_order(&r);
	end_of(&r, 2);
	expect_order(&r, 1, PROGRAM_EV_STOP);
	expect_order(&r, 0, PROGRAM_EV_STOP);
}

/* Ordered in the file the other way round. */
static void what_is_required_may_stand_behind(void **state)
{
	struct rig r;

	init_without_order(&r);
	assert_int_equal(group_require(&r.g, 0, 2), 0);
	group_up(&r.g);
	expect_order(&r, 1, PROGRAM_EV_START);
	expect_order(&r, 2, PROGRAM_EV_START);
	expect_no_order(&r);
	give(&r, 2, PROGRAM_EV_SPAWNED);
	expect_order(&r, 0, PROGRAM_EV_START);
	group_down(&r.g, false);
	expect_order(&r, 1, PROGRAM_EV_STOP);
	expect_order(&r, 0, PROGRAM_EV_STOP);
	expect_no_order(&r);
	give(&r, 0, PROGRAM_EV_SPAWN_FAILED);
	expect_order(&r, 2, PROGRAM_EV_STOP);
}

static void a_member_requires_a_bounded_number(void **state)
{
	struct rig r;

	init_without_order(&r);
	for (unsigned i = 0; i < GROUP_REQUIRES_MAX; i++)
		assert_int_equal(group_require(&r.g, 0, 1), 0);
	assert_int_equal(group_require(&r.g, 0, 1), -E2BIG);
}

static void full_group_works(void **state)
{
	static struct program_fsm programs[GROUP_MEMBERS_MAX];
	static struct group_member members[GROUP_MEMBERS_MAX];
	struct program_group g;
	struct group_order o;
	struct rig r;

	init(&r);
	group_init(&g, members);
	g.n = GROUP_MEMBERS_MAX;
	for (unsigned i = 0; i < g.n; i++) {
		programs[i] = r.p[0];
		g.members[i] = (struct group_member){ .program = &programs[i], .autostart = true };
	}
	group_up(&g);
	for (unsigned i = 0; i < g.n; i++) {
		struct program_event start = { .type = PROGRAM_EV_START };
		struct program_event spawned = { .type = PROGRAM_EV_SPAWNED, .run = 1, .pid = 1 };
		struct program_actions out;

		assert_true(group_reconcile(&g, &o));
		assert_int_equal(o.member, i);
		program_step(&programs[i], &start, r.now, &out);
		program_step(&programs[i], &spawned, r.now, &out);
	}
	assert_true(group_ready(&g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_start_in_order_each_when_the_one_before_is_ready),
		cmocka_unit_test(members_stop_in_reverse_each_when_the_one_after_is_gone),
		cmocka_unit_test(failed_start_holds_up_those_behind_it),
		cmocka_unit_test(death_of_one_member_leaves_the_others_alone),
		cmocka_unit_test(restart_is_wanted_only_when_it_is_due_and_nothing_is_alive),
		cmocka_unit_test(down_on_the_way_up_stops_what_was_begun),
		cmocka_unit_test(up_on_the_way_down_starts_again_in_order),
		cmocka_unit_test(given_up_members_end_fatal_and_are_cleared_by_a_plain_down),
		cmocka_unit_test(unkillable_member_does_not_keep_the_others_alive),
		cmocka_unit_test(members_that_the_group_does_not_start_are_not_waited_for),
		cmocka_unit_test(member_started_by_a_person_is_stopped_with_the_others),
		cmocka_unit_test(member_that_ended_as_configured_counts_as_ready_until_the_next_way_up),
		cmocka_unit_test(empty_group_is_ready_and_gone),
		cmocka_unit_test(members_that_require_nothing_start_and_stop_at_once),
		cmocka_unit_test(one_that_requires_two_comes_last_and_goes_first),
		cmocka_unit_test(what_is_required_may_stand_behind),
		cmocka_unit_test(a_member_requires_a_bounded_number),
		cmocka_unit_test(full_group_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
