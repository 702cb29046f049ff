/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supd/core/peer_fsm.h"

#define DOWN  MTIME_SEC(4)
#define HELLO MTIME_SEC(1)
#define START MTIME_SEC(1000)
#define BOTH  3u

/* A peer with two paths that says something every second. */
struct world {
	struct peer_paths p;
	uint64_t session, seq;
	mtime now;
};

static struct world new_world(unsigned n)
{
	struct world w = {.session = 1, .now = START};

	peer_paths_init(&w.p, n);
	return w;
}

/* One message, which arrives by the paths of the mask; the paths whose alarm has changed. */
static unsigned say(struct world *w, unsigned mask)
{
	w->seq++;
	for (unsigned i = 0; i < w->p.n; i++)
		if (mask >> i & 1)
			peer_paths_hear(&w->p, i, w->session, w->seq, w->now, DOWN);
	assert_true(peer_paths_check(&w->p));
	return peer_paths_judge(&w->p, DOWN);
}

/* One a second for so long; the paths whose alarm has changed on the way. */
static unsigned say_for(struct world *w, mtime duration, unsigned mask)
{
	unsigned changed = 0;

	for (mtime end = w->now + duration; w->now < end; w->now += HELLO)
		changed |= say(w, mask);
	return changed;
}

/* Nobody says anything, but we look. */
static unsigned silence_for(struct world *w, mtime duration)
{
	unsigned changed = 0;

	for (mtime end = w->now + duration; w->now < end; w->now += HELLO)
		changed |= peer_paths_judge(&w->p, DOWN);
	return changed;
}

static void paths_that_are_heard_are_not_lost(void **state)
{
	struct world w = new_world(2);

	assert_int_equal(peer_paths_judge(&w.p, DOWN), 0);
	assert_int_equal(say_for(&w, MTIME_SEC(60), BOTH), 0);
}

static void a_path_is_lost_after_active_down_told_once_and_cleared_when_heard(void **state)
{
	static const unsigned alive[] = {1, 2};

	for (unsigned i = 0; i < 2; i++) {
		struct world w = new_world(2);
		unsigned dead = BOTH & ~alive[i];

		say_for(&w, MTIME_SEC(10), BOTH);
		assert_int_equal(say_for(&w, DOWN - HELLO, alive[i]), 0);
		assert_int_equal(say(&w, alive[i]), dead);
		w.now += HELLO;
		assert_true(w.p.path[dead - 1].lost);
		assert_int_equal(say_for(&w, MTIME_SEC(60), alive[i]), 0);
		assert_int_equal(say(&w, BOTH), dead);
		assert_false(w.p.path[dead - 1].lost);
		assert_int_equal(say_for(&w, MTIME_SEC(60), BOTH), 0);
	}
}

static void a_path_that_was_never_heard_is_lost_too(void **state)
{
	struct world w = new_world(2);

	assert_int_equal(say_for(&w, DOWN, 2), 0);
	assert_int_equal(say(&w, 2), 1);
}

static void lost_copies_here_and_there_lose_no_path(void **state)
{
	struct world w = new_world(2);

	for (unsigned i = 0; i < 100; i++, w.now += HELLO)
		assert_int_equal(say(&w, i % 3 == 0 ? 1 : i % 3 == 1 ? 2 : BOTH), 0);
}

static void a_dead_peer_has_no_dead_paths(void **state)
{
	struct world w = new_world(2);

	say_for(&w, MTIME_SEC(10), BOTH);
	w.now += MTIME_MS(1);
	say(&w, 2); /* the last word of one path is later than that of the other */
	assert_int_equal(silence_for(&w, MTIME_SEC(600)), 0);
}

static void who_comes_back_first_does_not_accuse_the_other(void **state)
{
	struct world w = new_world(2);

	say_for(&w, MTIME_SEC(10), BOTH);
	silence_for(&w, MTIME_SEC(600));
	assert_int_equal(say_for(&w, DOWN, 2), 0);
	assert_int_equal(say(&w, BOTH), 0);
	silence_for(&w, MTIME_SEC(600));
	assert_int_equal(say_for(&w, DOWN, 2), 0);
	assert_int_equal(say(&w, 2), 1);
}

static void a_lost_path_stays_so_over_the_death_of_the_other(void **state)
{
	struct world w = new_world(2);

	say_for(&w, MTIME_SEC(10), BOTH);
	assert_int_equal(say_for(&w, MTIME_SEC(10), 1), 2);
	assert_int_equal(silence_for(&w, MTIME_SEC(60)), 0);
	assert_int_equal(say_for(&w, MTIME_SEC(1), 1), 0);
	assert_true(w.p.path[1].lost);
	silence_for(&w, MTIME_SEC(60));
	assert_int_equal(say(&w, 2), 2); /* the other comes back alone */
	assert_int_equal(say_for(&w, DOWN + 2 * HELLO, 2), 1);
}

static void the_only_path_is_never_lost(void **state)
{
	struct world w = new_world(1);

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(say_for(&w, MTIME_SEC(10), 1), 0);
		assert_int_equal(silence_for(&w, MTIME_SEC(60)), 0);
	}
}

static void without_a_link_nothing_is_lost(void **state)
{
	struct world w = new_world(0);

	assert_int_equal(peer_paths_judge(&w.p, DOWN), 0);
	assert_true(peer_paths_check(&w.p));
}

static void each_of_four_paths_is_judged_by_itself(void **state)
{
	struct world w = new_world(MODEL_PATHS_MAX);

	say_for(&w, MTIME_SEC(10), 15);
	assert_int_equal(say_for(&w, MTIME_SEC(10), 4), 11);
	assert_int_equal(say(&w, 12), 8);
	assert_int_equal(say(&w, 15), 3);
}

static void what_came_this_way_before_says_nothing(void **state)
{
	struct world w = new_world(2);

	assert_true(peer_paths_hear(&w.p, 0, 1, 5, START, DOWN));
	assert_false(peer_paths_hear(&w.p, 0, 1, 5, START + 1, DOWN));
	assert_false(peer_paths_hear(&w.p, 0, 1, 4, START + 1, DOWN));
	assert_int_equal(w.p.path[0].heard, START);
	assert_int_equal(w.p.heard, START);
	assert_true(peer_paths_hear(&w.p, 1, 1, 3, START + 2, DOWN)); /* late, and news of its path */
	assert_true(peer_paths_hear(&w.p, 0, 2, 1, START + 3, DOWN)); /* a new session */
	assert_int_equal(w.p.path[0].heard, START + 3);
}

/* ---- what is a copy --------------------------------------------------------------------------- */

/* Two sides that know each other; *ret_h is the newest message from 1 to 0, accepted. */
static void introduce(struct peer_fsm *a, struct peer_fsm *b, struct peer_header *ret_h)
{
	bool ceiling;

	peer_init(a, 0, 1, 100);
	peer_init(b, 1, 0, 200);
	for (unsigned i = 0; i < 4; i++) {
		struct peer_header h = {0};

		peer_stamp(a, START + i, &h, &ceiling);
		if (peer_receive(b, &h, START + i) == PEER_VERDICT_CHALLENGE)
			peer_may_challenge(b, START + MTIME_SEC(i));
		peer_stamp(b, START + i, ret_h, &ceiling);
		if (peer_receive(a, ret_h, START + i) == PEER_VERDICT_CHALLENGE)
			peer_may_challenge(a, START + MTIME_SEC(i));
	}
	assert_int_equal(a->his_session, 200);
	assert_int_equal(a->his_seq, ret_h->seq);
}

static void a_copy_is_old_by_its_number_alone(void **state)
{
	struct peer_fsm a, b;
	struct peer_header good = {0};

	introduce(&a, &b, &good);
	assert_int_equal(peer_receive(&a, &good, START), PEER_VERDICT_REPLAY);
	assert_true(peer_is_copy(&a, &good));

	struct {
		const char *why;
		struct peer_header h;
	} cases[] = {
		{"another sender", good},	{"another receiver", good},
		{"another session", good},	{"not seen yet", good},
		{"no number", good},		{"meant for another session", good},
		{"echoes nothing of ours", good},
	};
	cases[0].h.from = 2;
	cases[1].h.to = 2;
	cases[2].h.session++;
	cases[3].h.seq = a.his_seq + 1;
	cases[4].h.seq = 0;
	cases[5].h.echo_session++;
	cases[6].h.echo_seq = 0;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].why);
		assert_false(peer_is_copy(&a, &cases[i].h));
	}
}

/* What the engine before has heard may be played back to the next one: no path lives by that. */
static void a_new_engine_takes_nothing_old_for_a_copy(void **state)
{
	struct peer_fsm a, b;
	struct peer_header h = {0};
	struct peer_baton baton;

	introduce(&a, &b, &h);
	peer_to_baton(&a, &baton);
	peer_from_baton(&a, &baton);
	assert_false(peer_is_copy(&a, &h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_that_are_heard_are_not_lost),
		cmocka_unit_test(a_path_is_lost_after_active_down_told_once_and_cleared_when_heard),
		cmocka_unit_test(a_path_that_was_never_heard_is_lost_too),
		cmocka_unit_test(lost_copies_here_and_there_lose_no_path),
		cmocka_unit_test(a_dead_peer_has_no_dead_paths),
		cmocka_unit_test(who_comes_back_first_does_not_accuse_the_other),
		cmocka_unit_test(a_lost_path_stays_so_over_the_death_of_the_other),
		cmocka_unit_test(the_only_path_is_never_lost),
		cmocka_unit_test(without_a_link_nothing_is_lost),
		cmocka_unit_test(each_of_four_paths_is_judged_by_itself),
		cmocka_unit_test(what_came_this_way_before_says_nothing),
		cmocka_unit_test(a_copy_is_old_by_its_number_alone),
		cmocka_unit_test(a_new_engine_takes_nothing_old_for_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
