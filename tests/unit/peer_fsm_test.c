/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define A 0
#define B 1
#define SESSION_A 0xaaaa
#define SESSION_B 0xbbbb

/* Both ends; time goes on by 1 ms with each message. */
struct pair {
	struct peer_fsm a, b; /* a: A's view of B */
	mtime now;
};

static struct pair pair_new(void)
{
	struct pair p = {.now = MTIME_SEC(100)};

	peer_init(&p.a, A, B, SESSION_A);
	peer_init(&p.b, B, A, SESSION_B);
	return p;
}

static struct peer_header stamp(struct peer_fsm *from, mtime now)
{
	struct peer_header h = {.type = PEER_TYPE_HELLO};
	bool new_ceiling;

	peer_stamp(from, now, &h, &new_ceiling);
	assert_true(peer_check(from));
	return h;
}

static enum peer_verdict receive(struct peer_fsm *to, struct peer_header h, mtime now)
{
	struct peer_fsm before = *to;
	enum peer_verdict v = peer_receive(to, &h, now);

	assert_true(peer_check(to));
	if (v != PEER_VERDICT_ACCEPT) { /* nothing believed */
		assert_int_equal(to->heard, before.heard);
		assert_int_equal(to->echoed, before.echoed);
		assert_int_equal(to->his_session, before.his_session);
		assert_int_equal(to->his_seq, before.his_seq);
		assert_int_equal(to->his_echo, before.his_echo);
	}
	return v;
}

static enum peer_verdict pass(struct pair *p, struct peer_fsm *from, struct peer_fsm *to)
{
	p->now += MTIME_MS(1);
	return receive(to, stamp(from, p->now), p->now);
}

/* From strangers to two-way contact, as the shell does it. */
static void connect_pair(struct pair *p)
{
	p->now += MTIME_SEC(1);
	assert_int_equal(pass(p, &p->b, &p->a), PEER_VERDICT_CHALLENGE);
	assert_true(peer_may_challenge(&p->a, p->now));
	assert_int_equal(pass(p, &p->a, &p->b), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(p, &p->b, &p->a), PEER_VERDICT_ACCEPT);
}

static void strangers_connect_within_three_messages(void **state)
{
	struct pair p = pair_new();

	connect_pair(&p);
	assert_int_equal(p.a.his_session, SESSION_B);
	assert_int_equal(p.b.his_session, SESSION_A);
	assert_int_equal(p.a.heard, p.now);
	assert_int_equal(p.a.echoed, p.now - MTIME_MS(1)); /* what B echoed was sent then */
}

static void echo_is_dated_by_the_sending_of_what_was_echoed(void **state)
{
	struct pair p = pair_new();
	struct peer_header answer;
	mtime sent;

	connect_pair(&p);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_ACCEPT);
	sent = p.now;
	p.now += MTIME_SEC(5);
	answer = stamp(&p.b, p.now);
	p.now += MTIME_SEC(5);
	assert_int_equal(receive(&p.a, answer, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(p.a.echoed, sent);
	assert_int_equal(p.a.heard, p.now);
}

static void what_is_older_than_the_ring_dates_nothing(void **state)
{
	struct pair p = pair_new();
	struct peer_header late;
	mtime before;

	connect_pair(&p);
	late = stamp(&p.b, p.now);
	before = p.a.echoed;
	for (int i = 0; i < 3 * PEER_SENT_RING; i++)
		stamp(&p.a, p.now += MTIME_MS(1));
	assert_int_equal(receive(&p.a, late, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(p.a.echoed, before);
}

static void an_older_echo_does_not_turn_the_proof_back(void **state)
{
	struct pair p = pair_new();
	struct peer_header h;
	mtime echoed;

	connect_pair(&p);
	for (int i = 0; i < 4; i++) {
		pass(&p, &p.a, &p.b);
		pass(&p, &p.b, &p.a);
	}
	echoed = p.a.echoed;
	h = stamp(&p.b, p.now);
	h.echo_seq = 2;
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(p.a.echoed, echoed);
}

static void a_message_counts_once(void **state)
{
	struct pair p = pair_new();
	struct peer_header h, older;

	connect_pair(&p);
	older = stamp(&p.b, p.now);
	h = stamp(&p.b, p.now);
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_REPLAY);
	assert_int_equal(receive(&p.a, older, p.now), PEER_VERDICT_REPLAY);
}

static void a_lost_message_is_no_gap(void **state)
{
	struct pair p = pair_new();

	connect_pair(&p);
	for (int i = 0; i < 100; i++)
		stamp(&p.b, p.now);
	assert_int_equal(pass(&p, &p.b, &p.a), PEER_VERDICT_ACCEPT);
}

static void every_recorded_message_proves_nothing(void **state)
{
	struct pair p = pair_new();
	struct peer_header recorded[64];
	unsigned n = 0;

	connect_pair(&p);
	for (; n < 64; n++) {
		pass(&p, &p.a, &p.b);
		recorded[n] = stamp(&p.b, p.now);
		receive(&p.a, recorded[n], p.now);
	}
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_REPLAY);
	/* The whole of A starts anew: a recording echoes a session that is gone. */
	peer_init(&p.a, A, B, 0xa2a2);
	for (unsigned i = 0; i < n; i++)
		assert_int_not_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_ACCEPT);
}

static void a_peer_that_starts_anew_is_believed_after_a_challenge(void **state)
{
	struct pair p = pair_new();

	connect_pair(&p);
	peer_init(&p.b, B, A, 0xb2b2);
	connect_pair(&p);
	assert_int_equal(p.a.his_session, 0xb2b2);
	assert_int_equal(p.a.retired[0], SESSION_B);
}

static void a_new_session_must_echo_what_was_sent_since(void **state)
{
	struct pair p = pair_new();
	struct peer_header h;

	connect_pair(&p);
	h = stamp(&p.b, p.now);
	h.session = 0xeeee; /* of a start that was recorded, echoing no more than the old session */
	h.echo_seq = p.a.his_echo;
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_CHALLENGE);
	h.echo_seq = p.a.his_echo + 1;
	stamp(&p.a, p.now);
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_ACCEPT);
}

static void four_retired_sessions_are_remembered(void **state)
{
	struct pair p = pair_new();
	struct peer_header recorded[6];

	for (unsigned i = 0; i < 6; i++) {
		peer_init(&p.b, B, A, SESSION_B + i);
		connect_pair(&p);
		recorded[i] = stamp(&p.b, p.now);
	}
	assert_int_equal(receive(&p.a, recorded[0], p.now), PEER_VERDICT_CHALLENGE);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_RETIRED);
	assert_int_equal(receive(&p.a, recorded[5], p.now), PEER_VERDICT_ACCEPT);
}

static void rows_must_fit(void **state)
{
	struct pair p = pair_new();
	struct peer_header h;

	connect_pair(&p);
	h = stamp(&p.b, p.now);
	h.from = 2;
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_NOT_FOR_US);
	h.from = B;
	h.to = B;
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_NOT_FOR_US);
	h.to = A;
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_ACCEPT);
}

static void numbers_that_nobody_reaches_are_refused(void **state)
{
	static const struct {
		const char *why;
		uint64_t session, seq, echo_seq;
	} cases[] = {
		{"session 0 is never drawn", 0, 1000, 1},
		{"numbers begin at 1", SESSION_B, 0, 1},
		{"a number near overflow would lock the peer out", SESSION_B, UINT64_MAX, 1},
		{"an echo near overflow would use up ours", SESSION_B, 1000, UINT64_MAX},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair p = pair_new();
		struct peer_header h = {.from = B, .to = A, .echo_session = SESSION_A,
					.session = cases[i].session, .seq = cases[i].seq,
					.echo_seq = cases[i].echo_seq};

		connect_pair(&p);
		if (receive(&p.a, h, p.now) != PEER_VERDICT_REPLAY)
			fail_msg("%s", cases[i].why);
	}
}

/* ---- challenges ------------------------------------------------------------------------------- */

static void challenges_are_limited_to_one_in_20_ms(void **state)
{
	struct pair p = pair_new();
	struct peer_header h = stamp(&p.b, p.now);
	mtime start = p.now;
	unsigned granted = 0;

	for (; p.now < start + MTIME_MS(200); p.now += MTIME_MS(1)) {
		h.seq++;
		assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_CHALLENGE);
		granted += peer_may_challenge(&p.a, p.now);
	}
	assert_int_equal(granted, 10);
}

static void only_a_challenge_just_returned_is_answered(void **state)
{
	struct pair p = pair_new();

	assert_false(peer_may_challenge(&p.a, p.now));
	connect_pair(&p);
	p.now += MTIME_SEC(1);
	assert_false(peer_may_challenge(&p.a, p.now));
	receive(&p.a, (struct peer_header){.from = B, .to = A, .session = 0xcc, .seq = 1}, p.now);
	pass(&p, &p.b, &p.a); /* an honest message in between */
	assert_false(peer_may_challenge(&p.a, p.now));
}

/* A recording that is answered must not make us forget whom we talk to. */
static void a_challenged_recording_does_not_disturb_the_peer(void **state)
{
	struct pair p = pair_new();
	struct peer_header answer;

	connect_pair(&p);
	p.now += MTIME_SEC(1);
	assert_int_equal(receive(&p.a, (struct peer_header){.from = B, .to = A, .session = 0xcc,
							    .seq = 9, .echo_session = 1},
				 p.now),
			 PEER_VERDICT_CHALLENGE);
	assert_true(peer_may_challenge(&p.a, p.now));
	answer = stamp(&p.a, p.now);
	assert_int_equal(answer.echo_session, 0xcc);
	assert_int_equal(answer.echo_seq, 9);
	assert_int_equal(receive(&p.b, answer, p.now), PEER_VERDICT_CHALLENGE);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(&p, &p.b, &p.a), PEER_VERDICT_ACCEPT);
}

static void both_starting_at_once_connect(void **state)
{
	struct pair p = pair_new();
	struct peer_header from_a = stamp(&p.a, p.now), from_b = stamp(&p.b, p.now);

	assert_int_equal(receive(&p.b, from_a, p.now), PEER_VERDICT_CHALLENGE);
	assert_int_equal(receive(&p.a, from_b, p.now), PEER_VERDICT_CHALLENGE);
	assert_true(peer_may_challenge(&p.a, p.now));
	assert_true(peer_may_challenge(&p.b, p.now));
	from_a = stamp(&p.a, p.now);
	from_b = stamp(&p.b, p.now);
	assert_int_equal(receive(&p.b, from_a, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(receive(&p.a, from_b, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(&p, &p.b, &p.a), PEER_VERDICT_ACCEPT);
}

/* ---- a new engine ----------------------------------------------------------------------------- */

/* The newest baton that the keeper got: taken when the ceiling rose. */
static struct peer_header stamp_with_baton(struct pair *p, struct peer_baton *baton)
{
	struct peer_header h = {.type = PEER_TYPE_HELLO};
	bool new_ceiling;

	peer_stamp(&p->a, p->now, &h, &new_ceiling);
	if (new_ceiling)
		peer_to_baton(&p->a, baton);
	return h;
}

static void resume(struct pair *p, const struct peer_baton *baton)
{
	peer_init(&p->a, A, B, 1);
	peer_from_baton(&p->a, baton);
	assert_true(peer_check(&p->a));
}

static void a_new_engine_goes_on_in_the_session(void **state)
{
	struct pair p = pair_new();
	struct peer_baton baton;

	connect_pair(&p);
	peer_to_baton(&p.a, &baton);
	for (int i = 0; i < 3000; i++) {
		p.now += MTIME_MS(1);
		assert_int_equal(receive(&p.b, stamp_with_baton(&p, &baton), p.now),
				 PEER_VERDICT_ACCEPT);
		if (i % 777 == 0)
			resume(&p, &baton);
	}
	assert_int_equal(p.b.his_session, SESSION_A);
	/* And B is believed again as soon as it echoes the new engine. */
	assert_int_equal(pass(&p, &p.b, &p.a), PEER_VERDICT_ACCEPT);
}

static void the_ceiling_is_told_before_it_is_passed(void **state)
{
	struct pair p = pair_new();
	uint64_t told = 0;

	for (int i = 0; i < 5 * PEER_SEQ_STEP; i++) {
		struct peer_header h;
		bool new_ceiling;

		peer_stamp(&p.a, p.now, &h, &new_ceiling);
		if (new_ceiling)
			told = p.a.seq_ceiling;
		assert_true(h.seq <= told);
	}
}

/* Half of the room is left when the next one is told: one that is lost does no harm. */
static void a_ceiling_that_is_lost_costs_no_number(void **state)
{
	struct pair p = pair_new();
	struct peer_baton newest, before;

	stamp_with_baton(&p, &newest);
	for (int i = 0; i < 5 * PEER_SEQ_STEP; i++) {
		before = newest;
		stamp_with_baton(&p, &newest);
		assert_true(before.seq_ceiling >= p.a.seq);
	}
}

static void what_the_old_engine_had_accepted_cannot_be_played_to_the_new_one(void **state)
{
	struct pair p = pair_new();
	struct peer_header recorded[50];
	struct peer_baton baton;

	connect_pair(&p);
	peer_to_baton(&p.a, &baton);
	for (unsigned i = 0; i < 50; i++) { /* the baton is not renewed: the old engine knows more */
		pass(&p, &p.a, &p.b);
		recorded[i] = stamp(&p.b, p.now);
		assert_int_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_ACCEPT);
	}
	resume(&p, &baton);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_CHALLENGE);
	assert_int_equal(p.a.heard, 0);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(&p, &p.b, &p.a), PEER_VERDICT_ACCEPT);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(receive(&p.a, recorded[i], p.now), PEER_VERDICT_REPLAY);
}

static void retired_sessions_survive_the_engine(void **state)
{
	struct pair p = pair_new();
	struct peer_baton baton;
	struct peer_header old;

	connect_pair(&p);
	old = stamp(&p.b, p.now);
	peer_init(&p.b, B, A, 0xb2b2);
	connect_pair(&p);
	peer_to_baton(&p.a, &baton);
	resume(&p, &baton);
	assert_int_equal(receive(&p.a, old, p.now), PEER_VERDICT_RETIRED);
}

/* The baton was lost with the engine: the peer's echo tells where our numbers must go on. */
static void a_lost_baton_is_healed_by_the_peers_echo(void **state)
{
	struct pair p = pair_new();
	struct peer_baton baton;
	struct peer_header h;

	connect_pair(&p);
	peer_to_baton(&p.a, &baton);
	for (int i = 0; i < 3 * PEER_SEQ_STEP; i++)
		pass(&p, &p.a, &p.b);
	resume(&p, &baton);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_REPLAY);
	h = stamp(&p.b, p.now);
	assert_true(h.echo_seq > p.a.seq);
	assert_int_equal(receive(&p.a, h, p.now), PEER_VERDICT_ACCEPT);
	assert_int_equal(pass(&p, &p.a, &p.b), PEER_VERDICT_ACCEPT);
}

/* Of a session that nobody has proven: each number once, and no way back to another session. */
static void a_recording_without_a_session_is_news_once(void **state)
{
	struct peer_fsm p;
	struct peer_header h = {.session = 7, .seq = 5};

	peer_init(&p, 0, 1, 99);
	assert_true(peer_is_news(&p, &h));
	assert_false(peer_is_news(&p, &h));
	h.seq = 4;
	assert_false(peer_is_news(&p, &h));
	h.seq = 6;
	assert_true(peer_is_news(&p, &h));
	h = (struct peer_header){.session = 8, .seq = 1};
	assert_true(peer_is_news(&p, &h));
	h = (struct peer_header){.session = 7, .seq = 7};
	assert_false(peer_is_news(&p, &h));
}

static void verdicts_have_names(void **state)
{
	assert_string_equal(peer_verdict_name(PEER_VERDICT_ACCEPT), "accepted");
	assert_string_equal(peer_verdict_name(PEER_VERDICT_NOT_FOR_US), "not for us");
	assert_string_equal(peer_verdict_name(PEER_VERDICTS_END), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_connect_within_three_messages),
		cmocka_unit_test(echo_is_dated_by_the_sending_of_what_was_echoed),
		cmocka_unit_test(what_is_older_than_the_ring_dates_nothing),
		cmocka_unit_test(an_older_echo_does_not_turn_the_proof_back),
		cmocka_unit_test(a_message_counts_once),
		cmocka_unit_test(a_lost_message_is_no_gap),
		cmocka_unit_test(every_recorded_message_proves_nothing),
		cmocka_unit_test(a_peer_that_starts_anew_is_believed_after_a_challenge),
		cmocka_unit_test(a_new_session_must_echo_what_was_sent_since),
		cmocka_unit_test(four_retired_sessions_are_remembered),
		cmocka_unit_test(rows_must_fit),
		cmocka_unit_test(numbers_that_nobody_reaches_are_refused),
		cmocka_unit_test(challenges_are_limited_to_one_in_20_ms),
		cmocka_unit_test(only_a_challenge_just_returned_is_answered),
		cmocka_unit_test(a_challenged_recording_does_not_disturb_the_peer),
		cmocka_unit_test(both_starting_at_once_connect),
		cmocka_unit_test(a_new_engine_goes_on_in_the_session),
		cmocka_unit_test(the_ceiling_is_told_before_it_is_passed),
		cmocka_unit_test(a_ceiling_that_is_lost_costs_no_number),
		cmocka_unit_test(what_the_old_engine_had_accepted_cannot_be_played_to_the_new_one),
		cmocka_unit_test(retired_sessions_survive_the_engine),
		cmocka_unit_test(a_lost_baton_is_healed_by_the_peers_echo),
		cmocka_unit_test(a_recording_without_a_session_is_news_once),
		cmocka_unit_test(verdicts_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
