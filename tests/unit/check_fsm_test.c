/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supd/core/check_fsm.h"

#define S(n)  MTIME_SEC(n)
#define MS(n) MTIME_MS(n)
#define T0    S(1000)

struct rig {
	struct check_fsm c;
	struct check_actions out;
	mtime now;
	char said[64];
};

static void init(struct rig *r, bool passive)
{
	const struct check_config config = {
		.interval = S(5), .timeout = S(2), .rise = 2, .fall = 3, .passive = passive,
	};

	memset(r, 0, sizeof(*r));
	r->now = T0;
	check_init(&r->c, &config);
}

static void give(struct rig *r, enum check_event_type type, bool good)
{
	static const char *const names[] = { "ask", "cancel", "timeout", "good", "bad" };
	const struct check_event ev = { .type = type, .good = good };
	size_t n = 0;

	check_step(&r->c, &ev, r->now, &r->out);
	assert_true(check_check(&r->c));
	r->said[0] = '\0';
	for (unsigned i = 0; i < r->out.n; i++)
		n += (size_t)snprintf(r->said + n, sizeof(r->said) - n, "%s%s", i > 0 ? " " : "",
				      names[r->out.a[i]]);
}

static void expect(struct rig *r, enum check_event_type type, bool good, const char *said)
{
	give(r, type, good);
	assert_string_equal(r->said, said);
}

static void tick_at_deadline(struct rig *r, const char *said)
{
	r->now = check_deadline(&r->c) - 1;
	expect(r, CHECK_EV_TICK, false, "");
	r->now++;
	expect(r, CHECK_EV_TICK, false, said);
}

/* From asked to asked: a bad answer, and the next question. */
static void bad_round(struct rig *r, const char *said)
{
	expect(r, CHECK_EV_RESULT, false, said);
	tick_at_deadline(r, "ask");
}

static void a_bad_start_is_asked_at_once_and_a_good_one_after_an_interval(void **state)
{
	struct rig r;

	init(&r, false);
	assert_int_equal(check_deadline(&r.c), MTIME_NEVER);
	expect(&r, CHECK_EV_START, false, "ask");
	init(&r, false);
	expect(&r, CHECK_EV_START, true, "");
	assert_int_equal(check_deadline(&r.c), T0 + S(5));
	tick_at_deadline(&r, "ask");
}

static void fall_bad_answers_in_a_row_turn_it_and_rise_good_ones_turn_it_back(void **state)
{
	struct rig r;

	init(&r, false);
	give(&r, CHECK_EV_START, true);
	tick_at_deadline(&r, "ask");
	bad_round(&r, "");
	bad_round(&r, "");
	expect(&r, CHECK_EV_RESULT, true, ""); /* breaks the row */
	tick_at_deadline(&r, "ask");
	bad_round(&r, "");
	bad_round(&r, "");
	bad_round(&r, "bad");
	bad_round(&r, ""); /* said once */
	expect(&r, CHECK_EV_RESULT, true, "");
	tick_at_deadline(&r, "ask");
	expect(&r, CHECK_EV_RESULT, true, "good");
}

static void a_question_without_an_answer_is_cancelled_and_bad(void **state)
{
	struct rig r;

	init(&r, false);
	give(&r, CHECK_EV_START, false);
	assert_int_equal(check_deadline(&r.c), T0 + S(2));
	tick_at_deadline(&r, "cancel timeout");
	assert_int_equal(r.c.failures, 1);
	expect(&r, CHECK_EV_RESULT, true, ""); /* too late: nothing is asked */
	assert_int_equal(check_deadline(&r.c), T0 + S(5));
}

static void the_interval_is_that_of_the_questions(void **state)
{
	struct rig r;

	init(&r, false);
	give(&r, CHECK_EV_START, false);
	r.now += S(1);
	give(&r, CHECK_EV_RESULT, false);
	assert_int_equal(check_deadline(&r.c), T0 + S(5));
	r.now += S(60); /* a stall of ours: one question, not twelve */
	expect(&r, CHECK_EV_TICK, false, "ask");
	give(&r, CHECK_EV_RESULT, false);
	assert_int_equal(check_deadline(&r.c), r.now + S(5));
}

static void a_slow_answer_does_not_bring_the_next_question_into_the_past(void **state)
{
	struct rig r;

	init(&r, false);
	r.c.config.timeout = S(20);
	give(&r, CHECK_EV_START, false);
	r.now += S(9);
	give(&r, CHECK_EV_RESULT, false);
	assert_int_equal(check_deadline(&r.c), r.now);
	expect(&r, CHECK_EV_TICK, false, "ask");
}

static void stop_cancels_what_is_asked_and_forgets(void **state)
{
	struct rig r;

	init(&r, false);
	expect(&r, CHECK_EV_STOP, false, "");
	give(&r, CHECK_EV_START, false);
	expect(&r, CHECK_EV_START, false, ""); /* twice */
	expect(&r, CHECK_EV_STOP, false, "cancel");
	assert_int_equal(check_deadline(&r.c), MTIME_NEVER);
	expect(&r, CHECK_EV_RESULT, true, "");
	expect(&r, CHECK_EV_TICK, false, "");
	expect(&r, CHECK_EV_START, true, "");
	assert_int_equal(r.c.failures, 0);
}

static void never_falls_where_fall_is_0(void **state)
{
	struct rig r;

	init(&r, false);
	r.c.config.fall = 0;
	give(&r, CHECK_EV_START, true);
	tick_at_deadline(&r, "ask");
	for (int i = 0; i < 1000; i++)
		bad_round(&r, "");
}

static void a_watchdog_barks_after_fall_intervals_of_silence(void **state)
{
	struct rig r;

	init(&r, true);
	expect(&r, CHECK_EV_START, true, "");
	r.now += S(4);
	expect(&r, CHECK_EV_RESULT, true, "");
	assert_int_equal(check_deadline(&r.c), r.now + S(5));
	tick_at_deadline(&r, "");
	tick_at_deadline(&r, "");
	expect(&r, CHECK_EV_RESULT, true, ""); /* just in time */
	tick_at_deadline(&r, "");
	tick_at_deadline(&r, "");
	tick_at_deadline(&r, "bad");
	assert_int_equal(r.now, T0 + S(4) + S(10) + S(15));
}

static void random_walk_keeps_the_invariants(void **state)
{
	for (unsigned seed = 0; seed < 200; seed++) {
		unsigned dice = seed;
		struct rig r;

		init(&r, (seed & 1) != 0);
		for (int i = 0; i < 500; i++) {
			bool asked = r.c.asking;

			r.now += MS(rand_r(&dice) % 4000);
			give(&r, (enum check_event_type)(rand_r(&dice) % 4),
			     (rand_r(&dice) & 1) != 0);
			for (unsigned a = 0; a < r.out.n; a++) {
				if (r.out.a[a] == CHECK_ACT_ASK)
					assert_false(asked);
				if (r.out.a[a] == CHECK_ACT_CANCEL)
					assert_true(asked);
			}
			assert_true(check_deadline(&r.c) == MTIME_NEVER || r.c.on);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_start_is_asked_at_once_and_a_good_one_after_an_interval),
		cmocka_unit_test(fall_bad_answers_in_a_row_turn_it_and_rise_good_ones_turn_it_back),
		cmocka_unit_test(a_question_without_an_answer_is_cancelled_and_bad),
		cmocka_unit_test(the_interval_is_that_of_the_questions),
		cmocka_unit_test(a_slow_answer_does_not_bring_the_next_question_into_the_past),
		cmocka_unit_test(stop_cancels_what_is_asked_and_forgets),
		cmocka_unit_test(never_falls_where_fall_is_0),
		cmocka_unit_test(a_watchdog_barks_after_fall_intervals_of_silence),
		cmocka_unit_test(random_walk_keeps_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
