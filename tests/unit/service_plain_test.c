/* SPDX-License-Identifier: MIT */
#include "service_kit.h"
#include "supd/core/service_internal.h"

/*
 * This node (a, priority 150 unless told otherwise) beside a plain VRRP router, row 1: keepalived,
 * say.  What it does is told by its adverts alone.
 */

#define HIGHER 200
#define LOWER  100

struct setting {
	mtime failback, release_delay;
	bool hold;
};

static void boot(struct kit *k, struct setting setting)
{
	struct service_config c = kit_config(2);
	struct service_persist none = {0};

	c.nodes[1].peer_link = false;
	c.nodes[1].release_delay = setting.release_delay;
	c.failback = setting.failback;
	c.hold_on_silence = setting.hold;
	memset(k, 0, sizeof(*k));
	k->now = MTIME_SEC(1000);
	k->disk_ok = true;
	service_init(&k->s, &c, k->now);
	kit_step(k, (struct service_event){.type = SERVICE_EV_LINK, .ok = true});
	kit_step(k, (struct service_event){.type = SERVICE_EV_SOCKETS, .ok = true});
	kit_step(k, (struct service_event){.type = SERVICE_EV_LOADED, .persist = &none});
	kit_gateway(k);
	assert_int_equal(k->s.state, SERVICE_STATE_WAITING);
}

static void advert_of(struct kit *k, uint8_t priority, mtime interval)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_ADVERT,
					   .peer = 1,
					   .priority = priority,
					   .interval = interval});
}

static void advert(struct kit *k, uint8_t priority)
{
	advert_of(k, priority, ADV);
}

static void conflict(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_CONFLICT,
					   .peer = 1,
					   .conflict = SERVICE_CONFLICT_NODE});
}

/* Time passes with the gateway answering, in looks of 10 ms, until the state is left. */
static mtime until_left(struct kit *k, enum service_state state, mtime limit)
{
	mtime began = k->now;

	while (k->s.state == state && k->now - began < limit) {
		if ((k->now - began) % MTIME_MS(500) == 0)
			kit_gateway(k);
		if (k->s.state == state)
			kit_tick(k, MTIME_MS(10));
	}
	return k->now - began;
}

/* Time passes with the gateway answering; the last look is at its end. */
static void pass(struct kit *k, mtime length)
{
	for (; length > MTIME_MS(500); length -= MTIME_MS(500)) {
		kit_tick(k, MTIME_MS(500));
		kit_gateway(k);
	}
	kit_tick(k, length);
}

/* The same with an advert a second. */
static void beside(struct kit *k, uint8_t priority, mtime length)
{
	for (mtime end = k->now + length; k->now < end && k->s.state == SERVICE_STATE_BACKUP;) {
		advert(k, priority);
		until_left(k, SERVICE_STATE_BACKUP, ADV);
	}
}

static const struct setting usual = {.failback = MTIME_NEVER, .release_delay = MTIME_SEC(1)};
static const struct setting preempting = {.failback = MTIME_SEC(5), .release_delay = MTIME_SEC(2)};

static void backup(struct kit *k, struct setting setting, uint8_t priority)
{
	boot(k, setting);
	advert(k, priority);
	assert_int_equal(k->s.state, SERVICE_STATE_BACKUP);
}

/* From taking over, nobody having to yield, to active. */
static void finish(struct kit *k)
{
	assert_int_equal(k->s.phase, SERVICE_PHASE_ADDRESS);
	kit_addresses(k, true, true);
	kit_tick(k, SERVICE_LAST_LOOK);
	kit_gateway(k);
	assert_true(k->s.may_run);
	kit_step(k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k->s.state, SERVICE_STATE_ACTIVE);
}

static void active(struct kit *k, struct setting setting)
{
	backup(k, setting, LOWER);
	advert(k, 0);
	until_left(k, SERVICE_STATE_BACKUP, MTIME_SEC(10));
	finish(k);
}

/* ---- Backup ----------------------------------------------------------------------------------- */

static void boot_listens_for_active_down_and_then_starts(void **state)
{
	struct kit k;

	boot(&k, usual);
	assert_in_range(until_left(&k, SERVICE_STATE_WAITING, MTIME_SEC(60)), MTIME_MS(3400),
			MTIME_MS(3500));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	finish(&k);
}

static void its_adverts_keep_us_backup_and_its_silence_does_not(void **state)
{
	static const uint8_t priorities[] = {LOWER, 150, HIGHER, 255};
	struct kit k;

	for (size_t i = 0; i < sizeof(priorities); i++) {
		backup(&k, usual, priorities[i]);
		beside(&k, priorities[i], MTIME_SEC(20));
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		assert_int_equal(service_active_node(&k.s, k.now), 1);
		assert_in_range(until_left(&k, SERVICE_STATE_BACKUP, MTIME_SEC(60)),
				MTIME_MS(2300), MTIME_MS(2500));
		assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
		finish(&k);
	}
}

static void priority_0_is_followed_after_release_delay_or_skew(void **state)
{
	const struct {
		mtime delay, expected;
	} cases[] = {
		{0, ADV * (256 - 150) / 256},
		{MTIME_SEC(1), MTIME_SEC(1)},
		{MTIME_SEC(10), MTIME_SEC(10)},
	};
	struct kit k;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		backup(&k, (struct setting){MTIME_NEVER, cases[i].delay, false}, HIGHER);
		advert(&k, 0);
		conflict(&k); /* its address lingers: no news */
		assert_in_range(until_left(&k, SERVICE_STATE_BACKUP, MTIME_SEC(60)),
				cases[i].expected, cases[i].expected + MTIME_MS(20));
		assert_false(k.s.alarms[SERVICE_ALARM_CONFLICT]);
		finish(&k);
	}
}

static void an_advert_after_its_priority_0_begins_active_down_anew(void **state)
{
	struct kit k;

	backup(&k, usual, HIGHER);
	advert(&k, 0);
	until_left(&k, SERVICE_STATE_BACKUP, MTIME_MS(900));
	advert(&k, HIGHER);
	assert_in_range(until_left(&k, SERVICE_STATE_BACKUP, MTIME_SEC(60)), MTIME_MS(3400),
			MTIME_MS(3500));
}

static void its_longer_interval_is_learned_up_to_ten_of_ours(void **state)
{
	const struct {
		mtime interval, learned;
	} cases[] = {{ADV / 10, ADV}, {3 * ADV, 3 * ADV}, {MTIME_MS(40950), 10 * ADV}};
	struct kit k;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		backup(&k, usual, HIGHER);
		advert_of(&k, HIGHER, cases[i].interval);
		assert_int_equal(k.s.vrrp.active_interval, cases[i].learned);
	}
}

static void its_address_after_a_crash_delays_by_a_bounded_time(void **state)
{
	struct kit k;
	mtime began, limit;

	backup(&k, usual, HIGHER);
	began = k.now;
	limit = MTIME_MS(3500) + k.s.config.vip_lease + MTIME_SEC(2);
	while (k.s.state == SERVICE_STATE_BACKUP && k.now - began < MTIME_SEC(60)) {
		if (service_wants_conflict_probe(&k.s, k.now))
			conflict(&k);
		until_left(&k, SERVICE_STATE_BACKUP, MTIME_MS(300));
	}
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_in_range(k.now - began, MTIME_MS(3400), limit);
	assert_true(k.s.alarms[SERVICE_ALARM_CONFLICT]);
}

/* Having stepped down for it we would let others go first; it has gone by itself. */
static void a_release_soon_after_our_step_down_is_followed(void **state)
{
	struct kit k;

	active(&k, usual);
	advert(&k, HIGHER);
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	advert(&k, 0);
	assert_in_range(until_left(&k, SERVICE_STATE_BACKUP, MTIME_SEC(60)), MTIME_SEC(1),
			MTIME_MS(1020));
	finish(&k);
}

static void its_adverts_are_no_reason_to_miss_the_peer_link(void **state)
{
	struct kit k;

	backup(&k, usual, HIGHER);
	beside(&k, HIGHER, MTIME_SEC(20));
	assert_false(k.s.alarms[SERVICE_ALARM_PEER_LINK]);
}

/* keepalived with another version or password: both would be active if it went unheard. */
static void one_whose_adverts_are_refused_is_not_taken_over_from(void **state)
{
	struct kit k;

	boot(&k, usual);
	for (int i = 0; i < 20; i++) {
		kit_step(&k, (struct service_event){.type = SERVICE_EV_ADVERT_REFUSED, .peer = 1});
		until_left(&k, k.s.state, ADV);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	assert_true(k.s.alarms[SERVICE_ALARM_VRRP_REFUSED]);
	until_left(&k, SERVICE_STATE_WAITING, MTIME_SEC(5));
	finish(&k);
	pass(&k, MTIME_SEC(1));
	assert_false(k.s.alarms[SERVICE_ALARM_VRRP_REFUSED]);
}

/* ---- preemption --------------------------------------------------------------------------------- */

static void failback_preempts_a_lesser_one_after_its_time(void **state)
{
	struct kit k;
	mtime began;

	backup(&k, preempting, LOWER);
	began = k.now;
	beside(&k, LOWER, MTIME_SEC(60));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	/* five seconds of failback, and Active_Down from the advert before them */
	assert_in_range(k.now - began, MTIME_MS(7300), MTIME_MS(9500));

	/* Our adverts go out; neither the address nor the programs before it had time to yield. */
	assert_int_equal(k.s.phase, SERVICE_PHASE_CLAIM);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT));
	conflict(&k);
	pass(&k, MTIME_MS(1980));
	assert_int_equal(k.s.phase, SERVICE_PHASE_CLAIM);
	kit_tick(&k, MTIME_MS(20));
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	finish(&k);
	assert_false(k.s.alarms[SERVICE_ALARM_CONFLICT]);
}

static void nobody_better_or_equal_is_preempted(void **state)
{
	static const uint8_t priorities[] = {150, HIGHER, 255};
	struct kit k;

	for (size_t i = 0; i < sizeof(priorities); i++) {
		backup(&k, preempting, priorities[i]);
		beside(&k, priorities[i], MTIME_SEC(60));
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	}
}

static void failback_begins_anew_after_this_node_was_unfit(void **state)
{
	struct kit k;
	mtime began;

	backup(&k, preempting, LOWER);
	beside(&k, LOWER, MTIME_SEC(4));
	kit_command(&k, SERVICE_CMD_PAUSE);
	beside(&k, LOWER, MTIME_SEC(20));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_command(&k, SERVICE_CMD_RESUME);
	began = k.now;
	beside(&k, LOWER, MTIME_SEC(60));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_in_range(k.now - began, MTIME_SEC(5), MTIME_SEC(10));
}

static void hold_neither_preempts_nor_believes_a_priority_0(void **state)
{
	struct setting hold = preempting;
	struct kit k;

	hold.hold = true;
	backup(&k, hold, LOWER);
	beside(&k, LOWER, MTIME_SEC(30));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_false(k.s.alarms[SERVICE_ALARM_HELD]);
	advert(&k, 0);
	until_left(&k, SERVICE_STATE_BACKUP, MTIME_SEC(30));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_HELD]);
}

static void claim(struct kit *k)
{
	backup(k, preempting, LOWER);
	beside(k, LOWER, MTIME_SEC(60));
	assert_int_equal(k->s.phase, SERVICE_PHASE_CLAIM);
}

static void an_advert_that_crossed_our_claim_begins_its_time_anew(void **state)
{
	struct kit k;

	claim(&k);
	kit_tick(&k, MTIME_MS(5));
	advert(&k, LOWER);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT));
	assert_int_equal(k.s.phase, SERVICE_PHASE_CLAIM);
	pass(&k, MTIME_MS(1995));
	assert_int_equal(k.s.phase, SERVICE_PHASE_CLAIM);
	kit_tick(&k, MTIME_MS(10));
	finish(&k);
}

/* It does not hear us: two would run. */
static void one_that_goes_on_is_left_alone_for_a_minute(void **state)
{
	struct kit k;
	mtime gave_up;

	claim(&k);
	pass(&k, MTIME_MS(900));
	advert(&k, LOWER);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	assert_false(k.s.may_run);
	gave_up = k.now;
	beside(&k, LOWER, MTIME_SEC(58));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	beside(&k, LOWER, MTIME_SEC(60));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_in_range(k.now - gave_up, MTIME_SEC(65), MTIME_SEC(70));
}

static void a_better_advert_ends_the_claim(void **state)
{
	struct kit k;

	claim(&k);
	kit_tick(&k, MTIME_MS(5));
	advert(&k, HIGHER);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_false(k.s.may_run);
}

static void its_address_that_stays_after_its_time_ends_the_takeover(void **state)
{
	struct kit k;

	claim(&k);
	pass(&k, MTIME_MS(1900));
	kit_tick(&k, MTIME_MS(200));
	assert_int_equal(k.s.phase, SERVICE_PHASE_ADDRESS);
	kit_addresses(&k, true, true);
	conflict(&k);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_false(k.s.may_run);
	/* It gets the service back by our priority 0, and is not disturbed again at once. */
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	beside(&k, LOWER, MTIME_SEC(58));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

/* ---- Active ---------------------------------------------------------------------------------------- */

static void active_kills_first_when_a_better_router_speaks(void **state)
{
	static const uint8_t winners[] = {150, 151, HIGHER, 255}; /* 150: its address is greater */
	struct kit k;

	for (size_t i = 0; i < sizeof(winners); i++) {
		active(&k, usual);
		advert(&k, winners[i]);
		assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
		assert_int_equal(k.s.vrrp.state, VRRP_STATE_BACKUP);
		kit_quiesced(&k, k.s.term);
		kit_addresses(&k, false, true);
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		assert_int_equal(service_active_node(&k.s, k.now), 1);
	}
}

static void active_answers_a_lesser_router_and_priority_0(void **state)
{
	static const uint8_t losers[] = {LOWER, 0};
	struct kit k;

	for (size_t i = 0; i < sizeof(losers); i++) {
		active(&k, usual);
		advert(&k, losers[i]);
		assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT));
		assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
		assert_int_equal(service_active_node(&k.s, k.now), 0);
	}
}

static void a_release_ends_with_priority_0_after_the_programs(void **state)
{
	struct kit k;

	active(&k, usual);
	kit_command(&k, SERVICE_CMD_STOP_HERE);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_STOP));
	assert_false(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
	assert_false(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	kit_addresses(&k, false, true);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
}

static const struct service_evidence *explain(const struct kit *k, enum service_evidence_kind kind,
					      enum service_verdict expected)
{
	static struct service_evidence all[SERVICE_EVIDENCES_END];

	assert_int_equal(service_explain(&k->s, k->now, all), expected);
	return &all[kind];
}

static void explain_tells_of_a_lesser_router_and_of_the_claim(void **state)
{
	struct kit k;

	backup(&k, preempting, LOWER);
	beside(&k, LOWER, MTIME_SEC(2));
	assert_non_null(strstr(explain(&k, SERVICE_EVIDENCE_SILENCE, SERVICE_VERDICT_HOLD)->detail,
			       "lower priority is active"));
	beside(&k, LOWER, MTIME_SEC(60));
	assert_non_null(strstr(explain(&k, SERVICE_EVIDENCE_FENCE, SERVICE_VERDICT_TAKE)->detail,
			       "told to yield"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boot_listens_for_active_down_and_then_starts),
		cmocka_unit_test(its_adverts_keep_us_backup_and_its_silence_does_not),
		cmocka_unit_test(priority_0_is_followed_after_release_delay_or_skew),
		cmocka_unit_test(an_advert_after_its_priority_0_begins_active_down_anew),
		cmocka_unit_test(its_longer_interval_is_learned_up_to_ten_of_ours),
		cmocka_unit_test(its_address_after_a_crash_delays_by_a_bounded_time),
		cmocka_unit_test(a_release_soon_after_our_step_down_is_followed),
		cmocka_unit_test(its_adverts_are_no_reason_to_miss_the_peer_link),
		cmocka_unit_test(one_whose_adverts_are_refused_is_not_taken_over_from),
		cmocka_unit_test(failback_preempts_a_lesser_one_after_its_time),
		cmocka_unit_test(nobody_better_or_equal_is_preempted),
		cmocka_unit_test(failback_begins_anew_after_this_node_was_unfit),
		cmocka_unit_test(hold_neither_preempts_nor_believes_a_priority_0),
		cmocka_unit_test(an_advert_that_crossed_our_claim_begins_its_time_anew),
		cmocka_unit_test(one_that_goes_on_is_left_alone_for_a_minute),
		cmocka_unit_test(a_better_advert_ends_the_claim),
		cmocka_unit_test(its_address_that_stays_after_its_time_ends_the_takeover),
		cmocka_unit_test(active_kills_first_when_a_better_router_speaks),
		cmocka_unit_test(active_answers_a_lesser_router_and_priority_0),
		cmocka_unit_test(explain_tells_of_a_lesser_router_and_of_the_claim),
		cmocka_unit_test(a_release_ends_with_priority_0_after_the_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
