/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supd/core/restart_policy.h"

#define S(n)  MTIME_SEC(n)
#define MS(n) MTIME_MS(n)

static struct restart_policy policy(unsigned limit)
{
	struct restart_policy p;

	restart_policy_init(&p, limit, S(60), S(60), S(1));
	return p;
}

static void delays_double_up_to_the_maximum(void **state)
{
	static const struct {
		mtime delay;
		const char *why;
	} rows[] = {
		{ 0, "the first death is probably alone: at once" },
		{ S(1), "the second waits" },
		{ S(2), "and doubles" },
		{ S(4), "and doubles" },
		{ S(8), "and doubles" },
		{ S(16), "and doubles" },
		{ S(32), "and doubles" },
		{ S(60), "64 s is above restart_delay_max" },
		{ S(60), "and stays there" },
	};
	struct restart_policy p = policy(0);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (restart_policy_death(&p, S(2)) != rows[i].delay)
			fail_msg("death %zu: %s", i + 1, rows[i].why);
		assert_int_equal(p.counted, i + 1);
		assert_int_equal(p.total, i + 1);
		assert_false(restart_policy_exhausted(&p));
	}
}

static void delay_never_overflows_and_never_gives_up_without_a_limit(void **state)
{
	struct restart_policy p = policy(0);

	for (int i = 0; i < 1000; i++)
		assert_true(restart_policy_death(&p, S(2)) <= S(60));
	p.counted = p.total = UINT32_MAX;
	assert_int_equal(restart_policy_death(&p, S(2)), S(60));
	assert_int_equal(p.counted, UINT32_MAX);
	assert_int_equal(p.total, UINT32_MAX);
	assert_false(restart_policy_exhausted(&p));
}

static void early_death_waits_at_least_the_minimum(void **state)
{
	static const struct {
		mtime startsecs, delay_max, ready_for, first;
		const char *why;
	} rows[] = {
		{ S(1), S(60), 0, MS(100), "was never ready" },
		{ S(1), S(60), MS(999), MS(100), "died before startsecs" },
		{ S(1), S(60), S(1), 0, "startsecs were lived through" },
		{ 0, S(60), 0, MS(100), "a failed spawn waits even with startsecs = 0" },
		{ 0, S(60), 1, 0, "with startsecs = 0 any ready time will do" },
		{ S(1), MS(10), 0, MS(100), "the minimum stands above restart_delay_max" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct restart_policy p;

		restart_policy_init(&p, 0, S(60), rows[i].delay_max, rows[i].startsecs);
		if (restart_policy_death(&p, rows[i].ready_for) != rows[i].first)
			fail_msg("row %zu: %s", i, rows[i].why);
	}
}

static void early_death_does_not_shorten_a_longer_delay(void **state)
{
	struct restart_policy p = policy(0);

	restart_policy_death(&p, 0);
	assert_int_equal(restart_policy_death(&p, 0), S(1));
	assert_int_equal(restart_policy_death(&p, 0), S(2));
}

static void small_maximum_caps_every_delay(void **state)
{
	struct restart_policy p;

	restart_policy_init(&p, 0, S(60), MS(500), S(1));
	assert_int_equal(restart_policy_death(&p, S(2)), 0);
	assert_int_equal(restart_policy_death(&p, S(2)), MS(500));
	assert_int_equal(restart_policy_death(&p, S(2)), MS(500));
}

static void limit_is_reached_at_its_nth_death_and_then_waits_longest(void **state)
{
	struct restart_policy p = policy(3);

	assert_int_equal(restart_policy_death(&p, S(2)), 0);
	assert_int_equal(restart_policy_death(&p, S(2)), S(1));
	assert_false(restart_policy_exhausted(&p));
	assert_int_equal(restart_policy_death(&p, S(2)), S(60));
	assert_true(restart_policy_exhausted(&p));
	assert_int_equal(restart_policy_death(&p, S(2)), S(60));
	assert_true(restart_policy_exhausted(&p));
}

static void limit_of_one_hands_over_at_once(void **state)
{
	struct restart_policy p = policy(1);

	assert_int_equal(restart_policy_death(&p, S(2)), S(60));
	assert_true(restart_policy_exhausted(&p));
}

static void only_a_whole_window_of_ready_time_clears_the_count(void **state)
{
	struct restart_policy p = policy(3);

	restart_policy_death(&p, S(2));
	restart_policy_death(&p, S(2));
	restart_policy_ready(&p, S(60) - 1);
	assert_int_equal(p.counted, 2);
	restart_policy_ready(&p, S(60));
	assert_int_equal(p.counted, 0);
	assert_int_equal(p.total, 2);
}

static void death_after_a_whole_window_is_the_first_again(void **state)
{
	struct restart_policy p = policy(3);

	restart_policy_death(&p, S(2));
	restart_policy_death(&p, S(2));
	assert_int_equal(restart_policy_death(&p, S(60)), 0);
	assert_int_equal(p.counted, 1);
	assert_false(restart_policy_exhausted(&p));
}

static void slow_crashes_add_up(void **state)
{
	struct restart_policy p = policy(3);

	/* Each within the window of the one before, though never 3 within one window. */
	restart_policy_death(&p, S(50));
	restart_policy_death(&p, S(50));
	restart_policy_death(&p, S(50));
	assert_true(restart_policy_exhausted(&p));
}

static void reset_clears_the_count_and_keeps_the_total(void **state)
{
	struct restart_policy p = policy(2);

	restart_policy_death(&p, 0);
	restart_policy_death(&p, 0);
	restart_policy_reset(&p);
	assert_false(restart_policy_exhausted(&p));
	assert_int_equal(p.total, 2);
	assert_int_equal(restart_policy_death(&p, S(2)), 0);
}

static void window_of_never_is_never_lived_through(void **state)
{
	struct restart_policy p;

	restart_policy_init(&p, 2, MTIME_NEVER, S(60), S(1));
	restart_policy_death(&p, S(2));
	restart_policy_ready(&p, S(1000000));
	assert_int_equal(p.counted, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_maximum),
		cmocka_unit_test(delay_never_overflows_and_never_gives_up_without_a_limit),
		cmocka_unit_test(early_death_waits_at_least_the_minimum),
		cmocka_unit_test(early_death_does_not_shorten_a_longer_delay),
		cmocka_unit_test(small_maximum_caps_every_delay),
		cmocka_unit_test(limit_is_reached_at_its_nth_death_and_then_waits_longest),
		cmocka_unit_test(limit_of_one_hands_over_at_once),
		cmocka_unit_test(only_a_whole_window_of_ready_time_clears_the_count),
		cmocka_unit_test(death_after_a_whole_window_is_the_first_again),
		cmocka_unit_test(slow_crashes_add_up),
		cmocka_unit_test(reset_clears_the_count_and_keeps_the_total),
		cmocka_unit_test(window_of_never_is_never_lived_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
