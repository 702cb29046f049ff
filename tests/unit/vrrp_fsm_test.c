/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Own priority 100, interval 1 s: Skew 609.375 ms, Active_Down 3.609375 s.  Each case starts at T
 * (10 s) in a machine that came into its state at 8 s, so that a restarted timer is seen.
 */
#define T        MTIME_SEC(10)
#define ENTERED  MTIME_SEC(8)
#define SKEW     (156 * MTIME_SEC(1) / 256)
#define DOWN     (MTIME_SEC(3) + SKEW)
#define OLD_DOWN (ENTERED + DOWN)
#define OLD_BEAT (ENTERED + MTIME_SEC(1))
#define NEVER    MTIME_NEVER
#define DOWN_2S  (MTIME_SEC(6) + 2 * SKEW)

enum { INIT = VRRP_STATE_INITIALIZE, BACKUP = VRRP_STATE_BACKUP, ACTIVE = VRRP_STATE_ACTIVE };
enum { PLAIN = 1, POLICY = 2, BOTH = 3 };

/* One row a case. */
/* clang-format off */
#define TICK_AT(t)   {.type = VRRP_EV_TICK}, .now = (t)
#define EV(name)     {.type = VRRP_EV_##name}, .now = T
#define ADV(prio)    {.type = VRRP_EV_ADVERT, .priority = (prio), .interval = MTIME_SEC(2)}, .now = T
#define ADV_IP(prio) {.type = VRRP_EV_ADVERT, .priority = (prio), .interval = MTIME_SEC(2), .src_above_own = true}, .now = T
#define A(...)	     {__VA_ARGS__}
#define SEND	     VRRP_ACT_SEND_ADVERT + 1 /* 0 ends the list */
#define RELEASE	     VRRP_ACT_SEND_RELEASE + 1
#define IS_ACTIVE    VRRP_ACT_BECAME_ACTIVE + 1
#define IS_BACKUP    VRRP_ACT_BECAME_BACKUP + 1
#define WANT_ACTIVE  VRRP_ACT_WANT_ACTIVE + 1
#define WANT_BACKUP  VRRP_ACT_WANT_BACKUP + 1

struct fsm_case {
	const char *why;
	int mode, state;
	struct vrrp_event ev;
	mtime now;
	int want_state;
	mtime down_at, advert_at;
	int actions[3];
	bool no_preempt, owner;
	bool expired; /* afterwards */
	mtime interval; /* learned afterwards; 0: our own, 1 s */
};

/* RFC 9568 section 6.4, every state x event; PLAIN: a router; POLICY: service_fsm decides. */
static const struct fsm_case cases[] = {
	/* Initialize */
	{"startup", BOTH, INIT, EV(STARTUP), BACKUP, T + DOWN, NEVER, A(IS_BACKUP)},
	{"startup of the owner", PLAIN, INIT, EV(STARTUP), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND, IS_ACTIVE), .owner = true},
	{"an owner asks too, under policy", POLICY, INIT, EV(STARTUP), BACKUP, T + MTIME_SEC(3) + MTIME_SEC(1) / 256, NEVER, A(IS_BACKUP), .owner = true},
	{"not started: shutdown", BOTH, INIT, EV(SHUTDOWN), INIT, NEVER, NEVER, A(0)},
	{"not started: time", BOTH, INIT, TICK_AT(T), INIT, NEVER, NEVER, A(0)},
	{"not started: advert", BOTH, INIT, ADV(200), INIT, NEVER, NEVER, A(0)},
	{"not started: hold", BOTH, INIT, EV(HOLD), INIT, NEVER, NEVER, A(0)},
	{"not started: suspend", BOTH, INIT, EV(SUSPEND), INIT, NEVER, NEVER, A(0)},
	{"not started: grant", BOTH, INIT, EV(GRANT_ACTIVE), INIT, NEVER, NEVER, A(0)},
	{"not started: grant back", BOTH, INIT, EV(GRANT_BACKUP), INIT, NEVER, NEVER, A(0)},
	{"not started: announce", BOTH, INIT, EV(ANNOUNCE), INIT, NEVER, NEVER, A(0)},

	/* Backup */
	{"backup: startup again", BOTH, BACKUP, EV(STARTUP), BACKUP, OLD_DOWN, NEVER, A(0)},
	{"backup: shutdown", BOTH, BACKUP, EV(SHUTDOWN), INIT, NEVER, NEVER, A(0)},
	{"backup: not yet", BOTH, BACKUP, TICK_AT(OLD_DOWN - 1), BACKUP, OLD_DOWN, NEVER, A(0)},
	{"active_down: takes over", PLAIN, BACKUP, TICK_AT(OLD_DOWN), ACTIVE, NEVER, OLD_DOWN + MTIME_SEC(1), A(SEND, IS_ACTIVE)},
	{"active_down: asks, once", POLICY, BACKUP, TICK_AT(OLD_DOWN), BACKUP, NEVER, NEVER, A(WANT_ACTIVE), .expired = true},
	{"backup: release shortens the wait", PLAIN, BACKUP, ADV(0), BACKUP, T + SKEW, NEVER, A(0)},
	{"backup: release is only a sign of life", POLICY, BACKUP, ADV(0), BACKUP, T + DOWN, NEVER, A(0)},
	{"backup: higher priority", BOTH, BACKUP, ADV(101), BACKUP, T + DOWN_2S, NEVER, A(0), .interval = MTIME_SEC(2)},
	{"backup: equal priority, the address is not compared", BOTH, BACKUP, ADV(100), BACKUP, T + DOWN_2S, NEVER, A(0), .interval = MTIME_SEC(2)},
	{"backup: lower priority is discarded", PLAIN, BACKUP, ADV(99), BACKUP, OLD_DOWN, NEVER, A(0)},
	{"backup: lower priority without preemption", PLAIN, BACKUP, ADV(99), BACKUP, T + DOWN_2S, NEVER, A(0), .no_preempt = true, .interval = MTIME_SEC(2)},
	{"backup: lower priority is a sign of life", POLICY, BACKUP, ADV(99), BACKUP, T + DOWN_2S, NEVER, A(0), .interval = MTIME_SEC(2)},
	{"backup: hold", BOTH, BACKUP, EV(HOLD), BACKUP, T + DOWN, NEVER, A(0)},
	{"backup: no contact", BOTH, BACKUP, EV(SUSPEND), BACKUP, NEVER, NEVER, A(0)},
	{"backup: nobody grants to a router", PLAIN, BACKUP, EV(GRANT_ACTIVE), BACKUP, OLD_DOWN, NEVER, A(0)},
	{"backup: granted", POLICY, BACKUP, EV(GRANT_ACTIVE), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND, IS_ACTIVE)},
	{"backup: already there", BOTH, BACKUP, EV(GRANT_BACKUP), BACKUP, OLD_DOWN, NEVER, A(0)},
	{"backup: says nothing", BOTH, BACKUP, EV(ANNOUNCE), BACKUP, OLD_DOWN, NEVER, A(0)},

	/* Active */
	{"active: startup again", BOTH, ACTIVE, EV(STARTUP), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: shutdown releases", BOTH, ACTIVE, EV(SHUTDOWN), INIT, NEVER, NEVER, A(RELEASE)},
	{"active: not yet", BOTH, ACTIVE, TICK_AT(OLD_BEAT - 1), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: beat", BOTH, ACTIVE, TICK_AT(OLD_BEAT), ACTIVE, NEVER, OLD_BEAT + MTIME_SEC(1), A(SEND)},
	{"active: a little late keeps the beat", BOTH, ACTIVE, TICK_AT(OLD_BEAT + MTIME_MS(3)), ACTIVE, NEVER, OLD_BEAT + MTIME_SEC(1), A(SEND)},
	{"active: beats slept through are not caught up", BOTH, ACTIVE, TICK_AT(OLD_BEAT + MTIME_SEC(5)), ACTIVE, NEVER, OLD_BEAT + MTIME_SEC(6), A(SEND)},
	{"active: release of another is answered", BOTH, ACTIVE, ADV(0), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND)},
	{"active: lower priority is answered at once", BOTH, ACTIVE, ADV(99), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND)},
	{"active: equal priority, lower address", BOTH, ACTIVE, ADV(100), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND)},
	{"active: equal priority, higher address", PLAIN, ACTIVE, ADV_IP(100), BACKUP, T + DOWN_2S, NEVER, A(IS_BACKUP), .interval = MTIME_SEC(2)},
	{"active: higher priority", PLAIN, ACTIVE, ADV(101), BACKUP, T + DOWN_2S, NEVER, A(IS_BACKUP), .interval = MTIME_SEC(2)},
	{"active: lower priority, higher address", BOTH, ACTIVE, ADV_IP(99), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND)},
	{"active: higher priority is reported, terms decide", POLICY, ACTIVE, ADV(101), ACTIVE, NEVER, OLD_BEAT, A(WANT_BACKUP), .interval = MTIME_SEC(2)},
	{"active: equal priority, higher address, reported", POLICY, ACTIVE, ADV_IP(100), ACTIVE, NEVER, OLD_BEAT, A(WANT_BACKUP), .interval = MTIME_SEC(2)},
	{"active: the owner is not beaten", PLAIN, ACTIVE, ADV(254), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND), .owner = true},
	{"active: hold", BOTH, ACTIVE, EV(HOLD), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: suspend", BOTH, ACTIVE, EV(SUSPEND), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: granted again", BOTH, ACTIVE, EV(GRANT_ACTIVE), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: nobody commands a router", PLAIN, ACTIVE, EV(GRANT_BACKUP), ACTIVE, NEVER, OLD_BEAT, A(0)},
	{"active: sent back", POLICY, ACTIVE, EV(GRANT_BACKUP), BACKUP, T + DOWN, NEVER, A(IS_BACKUP)},
	{"active: announce", BOTH, ACTIVE, EV(ANNOUNCE), ACTIVE, NEVER, T + MTIME_SEC(1), A(SEND)},
};
/* clang-format on */

static struct vrrp_config make_config(bool policy)
{
	return (struct vrrp_config){.priority = 100,
				    .interval = MTIME_SEC(1),
				    .interval_max = MTIME_SEC(10),
				    .preempt = true,
				    .policy = policy};
}

static void step(struct vrrp_fsm *v, enum vrrp_event_type type, mtime now, struct vrrp_actions *out)
{
	const struct vrrp_event ev = {.type = type};

	out->n = 0;
	vrrp_step(v, &ev, now, out);
	assert_true(vrrp_check(v));
}

static void advert(struct vrrp_fsm *v, uint8_t priority, mtime interval, mtime now)
{
	const struct vrrp_event ev = {
		.type = VRRP_EV_ADVERT, .priority = priority, .interval = interval};
	struct vrrp_actions out = {0};

	vrrp_step(v, &ev, now, &out);
	assert_true(vrrp_check(v));
}

/* A machine that came into `state` at ENTERED. */
static void make(struct vrrp_fsm *v, const struct vrrp_config *config, int state)
{
	struct vrrp_actions out;
	struct vrrp_config c = *config;

	vrrp_init(v, &c);
	if (state == INIT)
		return;
	if (state == ACTIVE && !c.policy)
		v->config.priority = 255; /* the short way there */
	step(v, VRRP_EV_STARTUP, ENTERED, &out);
	v->config.priority = c.priority;
	if (state == ACTIVE && c.policy)
		step(v, VRRP_EV_GRANT_ACTIVE, ENTERED, &out);
	assert_int_equal(v->state, state);
}

static void run_case(const struct fsm_case *c, bool policy)
{
	struct vrrp_config config = make_config(policy);
	struct vrrp_actions out = {0};
	struct vrrp_fsm v;
	unsigned n = 0;

	config.preempt = !c->no_preempt;
	if (c->owner)
		config.priority = 255;
	make(&v, &config, c->state);
	vrrp_step(&v, &c->ev, c->now, &out);
	assert_true(vrrp_check(&v));
	assert_int_equal(v.state, c->want_state);
	assert_int_equal(v.down_at, c->down_at);
	assert_int_equal(v.advert_at, c->advert_at);
	assert_int_equal(vrrp_deadline(&v), mtime_min(c->down_at, c->advert_at));
	assert_int_equal(v.expired, c->expired);
	assert_int_equal(v.active_interval, c->interval != 0 ? c->interval : MTIME_SEC(1));
	while (n < 3 && c->actions[n] != 0)
		n++;
	assert_int_equal(out.n, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal((int)out.a[i], c->actions[i] - 1);
}

static void every_state_and_event_of_the_table(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		print_message("%s\n", cases[i].why);
		if (cases[i].mode & PLAIN)
			run_case(&cases[i], false);
		if (cases[i].mode & POLICY)
			run_case(&cases[i], true);
	}
}

/* The table above is whole: each state x event pair is there for both modes. */
static void no_pair_is_left_out(void **state)
{
	for (int mode = PLAIN; mode <= POLICY; mode++)
		for (int s = INIT; s <= ACTIVE; s++)
			for (int e = VRRP_EV_STARTUP; e <= VRRP_EV_ANNOUNCE; e++) {
				bool found = false;

				for (size_t i = 0; i < N_ELEMENTS(cases); i++)
					found |= (cases[i].mode & mode) != 0 &&
						 cases[i].state == s && (int)cases[i].ev.type == e;
				if (!found)
					print_error("mode %d state %d event %d\n", mode, s, e);
				assert_true(found);
			}
}

/* FACTS: a backup of priority 50 took over 0.806 s after an advert of priority 0. */
static void backup_of_priority_50_takes_over_skew_after_release(void **state)
{
	struct vrrp_config config = make_config(false);
	struct vrrp_actions out;
	struct vrrp_fsm v;

	config.priority = 50;
	vrrp_init(&v, &config);
	step(&v, VRRP_EV_STARTUP, T, &out);
	advert(&v, 0, MTIME_SEC(1), T);
	assert_int_equal(vrrp_deadline(&v), T + 206 * MTIME_SEC(1) / 256); /* 804.7 ms */
	step(&v, VRRP_EV_TICK, T + MTIME_MS(806), &out);
	assert_int_equal(v.state, VRRP_STATE_ACTIVE);
}

static void backup_takes_over_after_active_down(void **state)
{
	struct vrrp_config config = make_config(false);
	struct vrrp_actions out;
	struct vrrp_fsm v;
	mtime now = T;

	vrrp_init(&v, &config);
	step(&v, VRRP_EV_STARTUP, now, &out);
	for (int i = 0; i < 20; i++) {
		now += MTIME_SEC(1);
		step(&v, VRRP_EV_TICK, now, &out);
		assert_int_equal(v.state, VRRP_STATE_BACKUP);
		advert(&v, 150, MTIME_SEC(1), now);
	}
	step(&v, VRRP_EV_TICK, now + DOWN - 1, &out);
	assert_int_equal(v.state, VRRP_STATE_BACKUP);
	step(&v, VRRP_EV_TICK, now + DOWN, &out);
	assert_int_equal(v.state, VRRP_STATE_ACTIVE);
}

static void a_learned_interval_is_capped(void **state)
{
	struct vrrp_config config = make_config(false);
	struct vrrp_fsm v;

	make(&v, &config, BACKUP);
	advert(&v, 200, MTIME_MS(40950), T);
	assert_int_equal(v.active_interval, MTIME_SEC(10));
	assert_int_equal(v.down_at, T + 10 * DOWN);
}

static void an_advert_cannot_make_a_policy_backup_hasty(void **state)
{
	struct vrrp_config plain = make_config(false), policy = make_config(true);
	struct vrrp_fsm v;

	make(&v, &plain, BACKUP);
	advert(&v, 200, MTIME_MS(10), T);
	assert_int_equal(v.active_interval, MTIME_MS(10)); /* as the RFC has it */
	make(&v, &policy, BACKUP);
	advert(&v, 200, MTIME_MS(10), T);
	assert_int_equal(v.active_interval, MTIME_SEC(1));
	assert_int_equal(v.down_at, T + DOWN);
}

static void an_expiry_is_taken_back_by_any_sign_of_life(void **state)
{
	static const enum vrrp_event_type signs[] = {VRRP_EV_ADVERT, VRRP_EV_HOLD, VRRP_EV_SUSPEND};
	struct vrrp_config config = make_config(true);

	for (size_t i = 0; i < N_ELEMENTS(signs); i++) {
		struct vrrp_actions out;
		struct vrrp_fsm v;

		make(&v, &config, BACKUP);
		step(&v, VRRP_EV_TICK, OLD_DOWN, &out);
		assert_true(v.expired);
		step(&v, VRRP_EV_TICK, OLD_DOWN + MTIME_SEC(100), &out);
		assert_int_equal(out.n, 0); /* said once */
		assert_true(v.expired);
		step(&v, signs[i], OLD_DOWN + MTIME_SEC(101), &out);
		assert_false(v.expired);
		assert_int_equal(v.state, VRRP_STATE_BACKUP);
	}
}

static void a_suspended_backup_waits_until_there_is_contact_again(void **state)
{
	struct vrrp_config config = make_config(true);
	struct vrrp_actions out;
	struct vrrp_fsm v;

	make(&v, &config, BACKUP);
	step(&v, VRRP_EV_SUSPEND, T, &out);
	step(&v, VRRP_EV_TICK, T + MTIME_SEC(3600), &out);
	assert_int_equal(out.n, 0);
	assert_int_equal(vrrp_deadline(&v), MTIME_NEVER);
	step(&v, VRRP_EV_HOLD, T + MTIME_SEC(3600), &out);
	assert_int_equal(vrrp_deadline(&v), T + MTIME_SEC(3600) + DOWN);
}

static void last_advert_counts_accepted_adverts_only(void **state)
{
	struct vrrp_config plain = make_config(false), policy = make_config(true);
	struct vrrp_fsm v;

	make(&v, &plain, BACKUP);
	assert_int_equal(v.last_advert, 0);
	advert(&v, 99, MTIME_SEC(1), T);
	assert_int_equal(v.last_advert, 0);
	advert(&v, 100, MTIME_SEC(1), T + 1);
	assert_int_equal(v.last_advert, T + 1);
	make(&v, &policy, ACTIVE);
	advert(&v, 1, MTIME_SEC(1), T);
	assert_int_equal(v.last_advert, T);
}

static void startup_forgets_what_was_learned(void **state)
{
	struct vrrp_config config = make_config(false);
	struct vrrp_actions out;
	struct vrrp_fsm v;

	make(&v, &config, BACKUP);
	advert(&v, 200, MTIME_SEC(5), T);
	step(&v, VRRP_EV_SHUTDOWN, T, &out);
	step(&v, VRRP_EV_STARTUP, T, &out);
	assert_int_equal(v.active_interval, MTIME_SEC(1));
}

static void every_state_has_a_name(void **state)
{
	assert_string_equal(vrrp_state_name(VRRP_STATE_INITIALIZE), "initialize");
	assert_string_equal(vrrp_state_name(VRRP_STATE_BACKUP), "backup");
	assert_string_equal(vrrp_state_name(VRRP_STATE_ACTIVE), "active");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event_of_the_table),
		cmocka_unit_test(no_pair_is_left_out),
		cmocka_unit_test(backup_takes_over_after_active_down),
		cmocka_unit_test(backup_of_priority_50_takes_over_skew_after_release),
		cmocka_unit_test(a_learned_interval_is_capped),
		cmocka_unit_test(an_advert_cannot_make_a_policy_backup_hasty),
		cmocka_unit_test(an_expiry_is_taken_back_by_any_sign_of_life),
		cmocka_unit_test(a_suspended_backup_waits_until_there_is_contact_again),
		cmocka_unit_test(last_advert_counts_accepted_adverts_only),
		cmocka_unit_test(startup_forgets_what_was_learned),
		cmocka_unit_test(every_state_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
