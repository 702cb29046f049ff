/* SPDX-License-Identifier: MIT */
#include "supd/core/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct budget compute(mtime advert_int, unsigned n, const uint8_t *priorities)
{
	const struct budget_input in = {
		.advert_int = advert_int, .n_peers = n, .peer_priorities = priorities};
	struct budget b;

	budget_compute(&in, &b);
	return b;
}

/* The formula of DESIGN.md, in floating point. */
static double d_min(double advert_int, uint8_t priority)
{
	return 0.99 * (3.0 + (256.0 - priority) / 256.0 - 1.0) * advert_int;
}

static void d_min_is_the_formula_of_the_design(void **state)
{
	static const mtime intervals[] = {MTIME_MS(10), MTIME_MS(100), MTIME_SEC(1),
					  MTIME_MS(40950)};

	for (size_t i = 0; i < COUNT(intervals); i++)
		for (unsigned p = 1; p <= 254; p++) {
			uint8_t priority = (uint8_t)p;
			struct budget b = compute(intervals[i], 1, &priority);
			double wanted = d_min((double)intervals[i], priority);

			assert_true((double)b.d_min <= wanted + 1.0); /* of rounding */
			assert_true((double)b.d_min > wanted - 1000.0);
		}
}

static void the_strongest_peer_decides(void **state)
{
	static const uint8_t three[] = {50, 200, 100}, strongest[] = {200};

	assert_true(compute(MTIME_SEC(1), 3, three).d_min ==
		    compute(MTIME_SEC(1), 1, strongest).d_min);
}

static void tiers(void **state)
{
	static const struct {
		mtime advert_int;
		uint8_t priority;
		bool tier0, renewal_fits;
		const char *why;
	} cases[] = {
		{MTIME_SEC(1), 100, true, true, "the defaults"},
		{MTIME_SEC(1), 245, true, true, "the highest priority that fits at 1 s"},
		{MTIME_SEC(1), 246, false, true, "and the first that does not"},
		{MTIME_SEC(1), 254, false, true, "skew of almost nothing"},
		{MTIME_SEC(40), 254, false, true, "no advert_int helps against that"},
		{MTIME_MS(100), 150, true, true, "100 ms"},
		{MTIME_MS(10), 1, false, false, "10 ms: kill_budget eats it all"},
		{MTIME_MS(10), 254, false, false, "10 ms, D_min below kill_budget"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct budget b = compute(cases[i].advert_int, 1, &cases[i].priority);

		if (b.tier0 != cases[i].tier0 || b.renewal_fits != cases[i].renewal_fits)
			fail_msg("%s: tier0 %d, renewal_fits %d", cases[i].why, b.tier0,
				 b.renewal_fits);
	}
}

static void life_ends_before_a_peer_can_start(void **state)
{
	static const mtime intervals[] = {MTIME_MS(10), MTIME_MS(50),  MTIME_MS(100),
					  MTIME_SEC(1), MTIME_SEC(10), MTIME_MS(40950)};

	for (size_t i = 0; i < COUNT(intervals); i++)
		for (unsigned p = 1; p <= 254; p++) {
			uint8_t priority = (uint8_t)p;
			struct budget b = compute(intervals[i], 1, &priority);

			assert_true(b.life > 0);
			if (b.tier0) {
				assert_true(b.life == b.d_min - BUDGET_KILL);
				assert_true(b.life >= 2 * intervals[i]);
				assert_true(b.life > b.renewal_need);
			} else if (b.d_min - BUDGET_KILL < 2 * intervals[i]) {
				assert_true(b.life == 2 * intervals[i] + MTIME_MS(20));
			}
		}
}

static void nobody_can_start_without_a_peer(void **state)
{
	struct budget b = compute(MTIME_SEC(1), 0, NULL);

	assert_true(b.d_min == MTIME_NEVER);
	assert_true(b.life == MTIME_NEVER);
	assert_true(b.tier0 && b.renewal_fits);
	assert_true(b.engine_timeout == MTIME_SEC(1));
}

static void renewal_needs_an_interval_and_two_answers(void **state)
{
	uint8_t priority = 100;

	assert_true(compute(MTIME_SEC(1), 1, &priority).renewal_need == MTIME_MS(1210));
	assert_true(compute(MTIME_MS(100), 1, &priority).renewal_need == MTIME_MS(130));
}

static void time_outs_that_auto_stands_for(void **state)
{
	static const struct {
		mtime advert_int;
		mtime engine_min, engine_max, fence;
		const char *why;
	} cases[] = {
		{MTIME_SEC(10), MTIME_SEC(1), MTIME_SEC(1), MTIME_MS(50), "at most 1 s"},
		{MTIME_SEC(1), MTIME_MS(861), MTIME_MS(862), MTIME_MS(50), "a third of D_min"},
		{MTIME_MS(100), MTIME_MS(86), MTIME_MS(87), MTIME_MS(50), "fence: the limit"},
		{MTIME_MS(50), MTIME_MS(50), MTIME_MS(50), MTIME_MS(25), "at least 50 ms"},
		{MTIME_MS(10), MTIME_MS(50), MTIME_MS(50), MTIME_MS(5), "fence: half an interval"},
	};
	uint8_t priority = 100;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct budget b = compute(cases[i].advert_int, 1, &priority);

		if (b.engine_timeout < cases[i].engine_min ||
		    b.engine_timeout > cases[i].engine_max || b.fence_timeout != cases[i].fence)
			fail_msg("%s: %lld, %lld", cases[i].why, (long long)b.engine_timeout,
				 (long long)b.fence_timeout);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(d_min_is_the_formula_of_the_design),
		cmocka_unit_test(the_strongest_peer_decides),
		cmocka_unit_test(tiers),
		cmocka_unit_test(life_ends_before_a_peer_can_start),
		cmocka_unit_test(nobody_can_start_without_a_peer),
		cmocka_unit_test(renewal_needs_an_interval_and_two_answers),
		cmocka_unit_test(time_outs_that_auto_stands_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
