/* SPDX-License-Identifier: MIT */
#include "tests/unit/service_kit.h"

/* Taking over, giving away, and every event in every state. */

static void terms_are_unique_per_node_and_grow(void **state)
{
	static const struct {
		uint64_t seen;
		unsigned self;
		uint64_t want;
		const char *why;
	} t[] = {
		{0, 0, 1, "the first node's first term"},
		{0, 1, 2, "the second node's"},
		{1, 0, 257, "above the one seen, same residue"},
		{1, 1, 2, "another residue is nearer"},
		{255, 0, 257, "over the edge of a block"},
		{256, 15, 272, "the sixteenth node"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(service_next_term(t[i].seen, t[i].self), t[i].want);
}

/* Only the gateway answers. */
static void silence(struct kit *k, mtime length)
{
	for (mtime t = 0; t < length; t += MTIME_MS(100)) {
		kit_tick(k, MTIME_MS(100));
		kit_gateway(k);
	}
}

/* ---- boot ---- */

static void boot_with_all_heard_and_nothing_running_the_best_takes_at_once(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_int_equal(k.s.cause, SERVICE_CAUSE_BOOT);
	assert_int_equal(kit_act(&k, SERVICE_ACT_SEND_FENCE)->term, 1);
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_START));
	kit_finish_takeover(&k);
}

static void boot_beside_a_better_node_is_backup(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	k.s.config.nodes[1].priority = 200;
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void boot_waits_for_a_peer_that_has_not_read_its_state(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_DOWN, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
}

static void boot_beside_an_active_is_backup_at_once(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_boot(&k, 2);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_ADVERT, .peer = 1, .priority = 100, .interval = ADV});
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void silence_that_was_listened_to_counts_for_wait_for_peer(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	kit_command(&k, SERVICE_CMD_STOP);
	silence(&k, MTIME_SEC(50));
	kit_command(&k, SERVICE_CMD_START);
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	silence(&k, MTIME_SEC(9)); /* 59 s in all */
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	silence(&k, MTIME_SEC(2));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);

	kit_boot(&k, 2);
	kit_command(&k, SERVICE_CMD_STOP);
	silence(&k, MTIME_SEC(100));
	kit_command(&k, SERVICE_CMD_START); /* a person, who waits for the answer */
	kit_tick(&k, MTIME_MS(1));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void of_three_nodes_only_the_missing_one_is_waited_for(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_STOPPED, 0);
	struct kit k;

	kit_boot(&k, 3);
	kit_command(&k, SERVICE_CMD_STOP);
	for (int i = 0; i < 70; i++) {
		silence(&k, ADV);
		kit_hello(&k, 1, r);
	}
	kit_command(&k, SERVICE_CMD_START);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER); /* c was silent all the time */
}

static void a_peer_just_heard_or_a_cut_begins_wait_for_peer_anew(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_STOPPED, 0);
	struct kit k;

	kit_boot(&k, 2);
	kit_command(&k, SERVICE_CMD_STOP);
	silence(&k, MTIME_SEC(100));
	r.stopped = true;
	r.wish_version = 1;
	kit_hello(&k, 1, r);
	kit_command(&k, SERVICE_CMD_START);
	silence(&k, MTIME_SEC(59));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);

	kit_boot(&k, 2);
	kit_command(&k, SERVICE_CMD_STOP);
	for (int i = 0; i < 100; i++) /* nothing answers: nothing was listened to */
		kit_tick(&k, ADV);
	kit_command(&k, SERVICE_CMD_START);
	silence(&k, MTIME_SEC(59));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
}

static void boot_alone_starts_after_wait_for_peer_only_if_the_gateway_answers(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	for (int i = 0; i < 70; i++)
		kit_tick(&k, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	assert_true(k.s.alarms[SERVICE_ALARM_WAIT_FOR_PEER]);
	/* silence heard without contact proves nothing: Active_Down begins with the first answer */
	kit_gateway(&k);
	kit_tick(&k, MTIME_MS(1));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	silence(&k, MTIME_SEC(4));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);

	kit_boot(&k, 2);
	for (int i = 0; i < 59; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	kit_tick(&k, ADV + MTIME_MS(1));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void who_has_not_asked_around_yet_does_not_start(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TARGETS, .ok = true});
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
	kit_gateway(&k);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);

	/* a target that never answers does not hold it for ever */
	kit_boot(&k, 2);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TARGETS, .ok = true});
	for (int i = 0; i < 9; i++) {
		kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0));
		kit_tick(&k, ADV - MTIME_MS(100));
	}
	assert_int_not_equal(k.s.state, SERVICE_STATE_WAITING);
}

static void boot_keeps_latch_and_stop(void **state)
{
	struct service_persist latched = {.term_seen = 257, .reserved = 513, .latched = true};
	struct service_persist stopped = {.stopped = true, .wish_version = 4};
	struct service_config c = kit_config(2);
	struct kit k = {.now = MTIME_SEC(10), .disk_ok = true};

	service_init(&k.s, &c, k.now);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_LOADED, .persist = &latched});
	assert_int_equal(k.s.state, SERVICE_STATE_FAILED);
	/* the reserved term may have been used before the crash */
	assert_int_equal(k.s.persist.reserved, 769);
	service_init(&k.s, &c, k.now);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_LOADED, .persist = &stopped});
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
}

/* ---- silence, contact, conflict ---- */

static void backup_takes_over_after_active_down(void **state)
{
	struct kit k;
	mtime down;

	kit_backup(&k);
	down = k.now + vrrp_active_down(&k.s.vrrp);
	while (k.now < down - MTIME_MS(110)) {
		kit_tick(&k, MTIME_MS(100));
		kit_gateway(&k);
	}
	k.now = down - MTIME_MS(1);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TICK});
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_tick(&k, MTIME_MS(2));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_int_equal(k.s.term, 257);
	/* b is unheard: only fence_timeout is waited for */
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	kit_tick(&k, MTIME_MS(51));
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT));
}

static void advert_or_hello_of_an_active_restarts_active_down(void **state)
{
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 20; i++) {
		kit_tick(&k, ADV);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	}
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_VRRP_PATH]);
	for (int i = 0; i < 20; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
		kit_step(&k, (struct service_event){.type = SERVICE_EV_ADVERT,
						    .peer = 1,
						    .priority = 100,
						    .interval = ADV});
		kit_step(&k, (struct service_event){.type = SERVICE_EV_CONFLICT,
						    .peer = 1,
						    .conflict = SERVICE_CONFLICT_NODE});
	}
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_PEER_LINK]);
}

/* After a repair one of the two paths is always the first to be heard again. */
static void the_first_message_after_a_silence_is_no_alarm_for_the_other_path(void **state)
{
	const struct service_event advert = {
		.type = SERVICE_EV_ADVERT, .peer = 1, .priority = 100, .interval = ADV};
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 20; i++)
		kit_tick(&k, ADV);
	kit_step(&k, advert);
	kit_tick(&k, MTIME_MS(5));
	assert_false(k.s.alarms[SERVICE_ALARM_PEER_LINK]);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	for (int i = 0; i < 20; i++)
		kit_tick(&k, ADV);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	kit_tick(&k, MTIME_MS(5));
	assert_false(k.s.alarms[SERVICE_ALARM_VRRP_PATH]);
	/* ... and one that stays alone is. */
	for (int i = 0; i < 3; i++) {
		kit_tick(&k, ADV);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	}
	assert_true(k.s.alarms[SERVICE_ALARM_VRRP_PATH]);
}

static void isolated_standby_never_takes_over_and_waits_in_full_afterwards(void **state)
{
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 100; i++)
		kit_tick(&k, ADV);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.isolated);
	kit_gateway(&k);
	kit_tick(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	for (int i = 0; i < 4; i++) {
		kit_tick(&k, ADV);
		kit_gateway(&k);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void answer_by_a_nodes_mac_restarts_active_down(void **state)
{
	struct service_event answer = {.type = SERVICE_EV_CONFLICT,
				       .peer = 1,
				       .conflict = SERVICE_CONFLICT_NODE};
	struct kit k;

	kit_backup(&k);
	silence(&k, MTIME_SEC(2));
	assert_true(service_wants_conflict_probe(&k.s, k.now));
	for (int i = 0; i < 20; i++) {
		kit_step(&k, answer);
		silence(&k, ADV / 3);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_ACTIVE_FILTERED]);
	silence(&k, MTIME_SEC(4));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	kit_step(&k, answer);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void answer_by_an_unknown_mac_holds_for_a_bounded_time(void **state)
{
	struct service_event answer = {.type = SERVICE_EV_CONFLICT,
				       .conflict = SERVICE_CONFLICT_UNKNOWN};
	struct kit k;
	int i;

	kit_backup(&k);
	silence(&k, MTIME_SEC(3));
	for (i = 0; i < 100 && k.s.state == SERVICE_STATE_BACKUP; i++) {
		kit_step(&k, answer);
		silence(&k, MTIME_MS(100));
	}
	/* from the first answer on: vip_lease + 1.5 s */
	assert_in_range(i, 43, 47);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_true(k.s.alarms[SERVICE_ALARM_CONFLICT]);
}

/* It answered for the address because it was the active one; what is read late changes nothing. */
static void answers_of_who_released_are_no_conflict(void **state)
{
	struct service_event answer = {.type = SERVICE_EV_CONFLICT,
				       .peer = 1,
				       .conflict = SERVICE_CONFLICT_NODE};
	struct kit k;

	kit_backup(&k);
	kit_tick(&k, ADV + ADV / 4); /* an advert is late */
	kit_step(&k, answer);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_RELEASING, 2));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RELEASE,
					    .peer = 1,
					    .term = 2,
					    .successor = 0,
					    .echoed = k.now - MTIME_MS(1)});
	kit_addresses(&k, true, true);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_false(k.s.alarms[SERVICE_ALARM_CONFLICT]);
	kit_tick(&k, MTIME_MS(1));
	kit_step(&k, answer); /* two sockets: an announcement that went before the RELEASE */
	assert_false(k.s.alarms[SERVICE_ALARM_CONFLICT]);
	kit_tick(&k, 2 * ADV);
	kit_step(&k, answer);
	assert_true(k.s.alarms[SERVICE_ALARM_CONFLICT]);
}

static void a_link_that_is_down_or_a_differing_config_forbids(void **state)
{
	struct service_report other = kit_report(SERVICE_STATE_BACKUP, 2);
	struct kit k;

	kit_backup(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_LINK, .ok = false});
	silence(&k, MTIME_SEC(10));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_backup(&k);
	other.digest = 78;
	for (int i = 0; i < 10; i++) {
		silence(&k, ADV);
		kit_hello(&k, 1, other);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_CONFIG_DIFFERS]);
}

static void a_takeover_waits_for_the_reservation_on_disk(void **state)
{
	struct kit k;
	uint64_t seq;

	kit_backup(&k);
	k.disk_ok = false;
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	seq = k.s.persist_seq;
	silence(&k, MTIME_SEC(10));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	k.disk_ok = true;
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PERSISTED, .seq = seq, .ok = true});
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_int_equal(k.s.term, 513);
}

/* ---- fence ---- */

static void taker_does_not_start_without_fenced_of_who_says_active(void **state)
{
	struct kit k;

	kit_backup(&k);
	while (k.s.state == SERVICE_STATE_BACKUP)
		silence(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	for (int i = 0; i < 50 && k.s.state == SERVICE_STATE_TAKING_OVER; i++) {
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		kit_tick(&k, MTIME_MS(100));
		assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	}
	kit_term(&k, SERVICE_EV_FENCED, 1, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void fence_kills_the_active_and_is_answered_after_quiesced(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
	assert_false(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	kit_quiesced(&k, k.s.term);
	assert_false(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	kit_quiesced(&k, 258);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	assert_int_equal(kit_act(&k, SERVICE_ACT_SEND_FENCED)->term, 258);
}

static void fenced_waits_for_the_disk(void **state)
{
	struct kit k;

	kit_backup(&k);
	k.disk_ok = false;
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	kit_quiesced(&k, 258);
	assert_false(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PERSISTED,
					    .seq = k.s.persist_seq,
					    .ok = true});
	assert_true(kit_did(&k, SERVICE_ACT_SEND_FENCED));
}

static void an_old_or_foreign_fence_is_ignored(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TICK});
	kit_term(&k, SERVICE_EV_FENCE, 1, 0);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	kit_term(&k, SERVICE_EV_FENCE, 1, 259); /* the third node's residue */
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void a_higher_term_that_is_active_ends_ours(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 258));
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
	kit_active(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_BACKUP, 258));
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void crossing_takers_the_higher_term_wins(void **state)
{
	struct kit k;

	kit_backup(&k);
	silence(&k, MTIME_SEC(4));
	assert_int_equal(k.s.term, 257);
	kit_term(&k, SERVICE_EV_FENCE, 1, 2);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_int_equal(k.s.persist.reserved, 513);
}

/* ---- the active node ---- */

static void active_without_contact_is_killed_by_its_deadline(void **state)
{
	struct kit k;
	mtime kill_at;

	kit_active(&k);
	kill_at = service_kill_at(&k.s);
	assert_true(kill_at < k.now + 3 * ADV);
	k.now = kill_at - MTIME_MS(1);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TICK});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_int_equal(service_hello_interval(&k.s, k.now), ADV / 3);
	k.now = kill_at;
	kit_step(&k, (struct service_event){.type = SERVICE_EV_TICK});
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
}

static void active_lives_on_a_gateway_alone_and_on_a_peer_alone(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 1);
	struct kit k;

	kit_active(&k);
	silence(&k, MTIME_SEC(30));
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_true(k.s.alarms[SERVICE_ALARM_NO_STANDBY]);
	kit_active(&k);
	for (int i = 0; i < 30; i++) {
		kit_tick(&k, ADV);
		kit_hello(&k, 1, r);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void the_keepers_own_kill_ends_the_term(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_QUIESCED,
					    .term = k.s.term,
					    .by_deadline = true});
	assert_int_not_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_false(k.s.may_run);
	/* Else the programs stay wanted, and wait for their next start on a standby. */
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_STOP));
}

static void restart_is_allowed_at_once_beside_an_idle_peer_of_this_term(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RESTART_DUE});
	assert_true(kit_did(&k, SERVICE_ACT_SEND_FENCE));
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
}

static void restart_waits_for_a_peer_whose_state_is_not_known(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 0);
	struct kit k;

	kit_active(&k);
	r.term_seen = 0; /* it has not heard of this term */
	kit_hello(&k, 1, r);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RESTART_DUE});
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_term(&k, SERVICE_EV_FENCED, 1, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
}

static void a_missing_standby_is_said_again_every_hour(void **state)
{
	unsigned said = 0;
	struct kit k;

	kit_active(&k);
	for (int i = 0; i < 3 * 3600 + 60; i++) {
		kit_tick(&k, ADV);
		said += kit_did(&k, SERVICE_ACT_ALARM) &&
			kit_act(&k, SERVICE_ACT_ALARM)->alarm == SERVICE_ALARM_NO_STANDBY;
		kit_gateway(&k);
		said += kit_did(&k, SERVICE_ACT_ALARM) &&
			kit_act(&k, SERVICE_ACT_ALARM)->alarm == SERVICE_ALARM_NO_STANDBY;
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_int_equal(said, 4);
}

/* ---- the ladder ---- */

static void at_the_limit_a_fit_peer_gets_it_and_this_node_is_latched(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAM_LIMIT});
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_act(&k, SERVICE_ACT_PROGRAMS_STOP)->give_up);
	assert_true(k.s.persist.latched);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	assert_false(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
	kit_quiesced(&k, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_REMOVE));
	assert_false(kit_did(&k, SERVICE_ACT_SEND_RELEASE));
	kit_addresses(&k, false, true);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_ADVERT_0));
	assert_int_equal(kit_act(&k, SERVICE_ACT_SEND_RELEASE)->successor, 1);
	kit_term(&k, SERVICE_EV_RELEASED, 1, k.s.term);
	assert_int_equal(k.s.state, SERVICE_STATE_FAILED);
}

static void at_the_limit_with_a_failed_peer_a_person_is_needed(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_FAILED, 1);
	struct kit k;

	r.latched = true;
	r.fit = false;
	kit_active(&k);
	kit_hello(&k, 1, r);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAM_LIMIT});
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	kit_term(&k, SERVICE_EV_RELEASED, 1, k.s.term);
	assert_int_equal(k.s.state, SERVICE_STATE_FAILED);
	assert_true(k.s.alarms[SERVICE_ALARM_PERSON_NEEDED]);
	for (int i = 0; i < 100; i++) {
		silence(&k, ADV);
		kit_hello(&k, 1, r);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_FAILED);
	kit_command(&k, SERVICE_CMD_RESET);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

/* Several in one step are told one by one, so that the log has a chain without gaps. */
static void transitions_of_a_step_follow_each_other(void **state)
{
	struct service_report failed = kit_report(SERVICE_STATE_FAILED, 1);
	enum service_state last = SERVICE_STATE_FAILED;
	unsigned n = 0;
	struct kit k;

	kit_boot(&k, 2);
	failed.latched = true;
	k.s.persist.latched = true;
	k.s.state = SERVICE_STATE_FAILED;
	kit_hello(&k, 1, failed);
	kit_command(&k, SERVICE_CMD_RESET);
	for (unsigned i = 0; i < k.acts.n; i++) {
		if (k.acts.a[i].type != SERVICE_ACT_STATE)
			continue;
		assert_int_equal(k.acts.a[i].from, last);
		last = k.acts.a[i].to;
		n++;
	}
	assert_true(n >= 2);
	assert_int_equal(last, k.s.state);
}

static void at_the_limit_with_an_unreachable_peer_it_goes_on(void **state)
{
	struct kit k;

	kit_active(&k);
	silence(&k, MTIME_SEC(20));
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAM_LIMIT});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_false(k.s.persist.latched);
	assert_true(k.s.alarms[SERVICE_ALARM_NO_STANDBY]);
}

/* ---- release, and what the others do on it ---- */

static void release_that_names_us_is_taken_without_waiting(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 0});
	assert_true(kit_did(&k, SERVICE_ACT_SEND_RELEASED));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	/* nothing is awaited from the releaser, but its HELLO must have stopped saying "running" */
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
}

static void release_that_names_another_waits(void **state)
{
	struct kit k;

	kit_boot(&k, 3);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 2});
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void an_old_release_is_no_reason(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 0});
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

/* Each start of a node uses up its reservation, and everybody hears of it: nobody acted under it. */
static void a_release_counts_although_a_higher_term_is_known(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	r.term_seen = 513;
	kit_hello(&k, 1, r);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 0});
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	assert_true(k.s.term > 513);
}

static void a_release_goes_out_although_a_higher_term_is_known(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 0);
	struct kit k;

	kit_active(&k);
	r.term_seen = 514; /* it has started anew */
	kit_hello(&k, 1, r);
	kit_command(&k, SERVICE_CMD_FAILOVER);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	assert_int_equal(kit_act(&k, SERVICE_ACT_SEND_RELEASE)->successor, 1);
}

/* It may have been taken back since, by what got lost. */
static void a_release_that_was_long_under_way_is_no_reason(void **state)
{
	struct kit k;

	kit_backup(&k);
	k.now += MTIME_SEC(6);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 0});
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_false(kit_did(&k, SERVICE_ACT_SEND_RELEASED));
	/* ... but its term is one that somebody acted under */
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 514, .successor = 0});
	assert_int_equal(k.s.persist.term_seen, 514);
}

static bool fenced_to(const struct kit *k, unsigned peer)
{
	for (unsigned i = 0; i < k->acts.n; i++)
		if (k->acts.a[i].type == SERVICE_ACT_SEND_FENCED && k->acts.a[i].peer == peer)
			return true;
	return false;
}

/* b is active and heard here; c does not hear it and fences. */
static void backup_between_two_that_do_not_hear_each_other(struct kit *k)
{
	kit_boot(k, 3);
	kit_gateway(k);
	kit_hello(k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	kit_term(k, SERVICE_EV_FENCE, 2, 3);
	kit_quiesced(k, 3);
	assert_false(fenced_to(k, 2));
}

static void no_fenced_while_another_acts(void **state)
{
	struct kit k;

	backup_between_two_that_do_not_hear_each_other(&k);
	for (int i = 0; i < 10; i++) {
		k.now += ADV;
		kit_gateway(&k);
		kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		assert_false(fenced_to(&k, 2));
		kit_term(&k, SERVICE_EV_FENCE, 2, 3);
		assert_false(fenced_to(&k, 2));
	}
	assert_int_equal(k.s.persist.term_seen, 3);
}

static void fenced_once_the_other_is_idle_or_silent(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_RELEASING, 2);
	struct kit k;

	backup_between_two_that_do_not_hear_each_other(&k);
	r.running = true;
	kit_hello(&k, 1, r);
	assert_false(fenced_to(&k, 2));
	kit_hello(&k, 1, kit_report(SERVICE_STATE_BACKUP, 2));
	assert_true(fenced_to(&k, 2));

	backup_between_two_that_do_not_hear_each_other(&k);
	kit_tick(&k, service_deadline(&k.s, k.now) - k.now);
	assert_false(fenced_to(&k, 2));
	/* Active_Down of the node with the highest priority but b's: a has 150 */
	k.now += 3 * ADV + ADV * 106 / 256 - ADV;
	kit_tick(&k, 0);
	assert_true(fenced_to(&k, 2));
}

static void fenced_to_the_first_of_two_takers(void **state)
{
	struct kit k;

	kit_boot(&k, 3);
	kit_gateway(&k);
	kit_term(&k, SERVICE_EV_FENCE, 1, 2);
	kit_quiesced(&k, 2);
	assert_true(fenced_to(&k, 1));
	kit_term(&k, SERVICE_EV_FENCE, 2, 3);
	kit_quiesced(&k, 3);
	assert_false(fenced_to(&k, 2));
}

static void an_unkillable_tree_is_told_and_does_not_hold_the_release(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_COMMAND,
					    .command = SERVICE_CMD_FAILOVER});
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = false});
	assert_true(k.s.alarms[SERVICE_ALARM_UNKILLABLE]);
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_RELEASE));
}

static void stop_is_adopted_from_whoever_said_it_last(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_STOPPED, 1);
	struct kit k;

	kit_active(&k);
	r.stopped = true;
	r.wish_version = 3;
	kit_hello(&k, 1, r);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	kit_term(&k, SERVICE_EV_RELEASED, 1, k.s.term);
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
	kit_command(&k, SERVICE_CMD_START);
	assert_int_equal(k.s.persist.wish_version, 4);
	assert_int_not_equal(k.s.state, SERVICE_STATE_STOPPED);
}

static void who_released_comes_back_late_unless_somebody_did_begin(void **state)
{
	struct kit k;

	for (int begun = 0; begun < 2; begun++) {
		kit_active(&k);
		kit_command(&k, SERVICE_CMD_FAILOVER);
		kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
		kit_quiesced(&k, k.s.term);
		kit_addresses(&k, false, true);
		kit_term(&k, SERVICE_EV_RELEASED, 1, k.s.term);
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		if (begun)
			kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
		silence(&k, MTIME_MS(3300)); /* priority 150: Active_Down is 3.41 s */
		assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
		silence(&k, MTIME_MS(300));
		assert_int_equal(k.s.state,
				 begun ? SERVICE_STATE_TAKING_OVER : SERVICE_STATE_BACKUP);
		silence(&k, MTIME_MS(2000));
		assert_int_not_equal(k.s.state, SERVICE_STATE_BACKUP);
	}
}

static void ending_hands_over_and_ends(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_command(&k, SERVICE_CMD_END);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_GONE, .ok = true});
	kit_quiesced(&k, k.s.term);
	kit_addresses(&k, false, true);
	assert_true(kit_act(&k, SERVICE_ACT_SEND_RELEASE)->ending);
	kit_term(&k, SERVICE_EV_RELEASED, 1, k.s.term);
	assert_true(kit_did(&k, SERVICE_ACT_ENDED));
	assert_int_equal(k.s.state, SERVICE_STATE_DOWN);
}

static void a_disk_that_hangs_is_an_alarm_like_one_that_fails(void **state)
{
	struct kit k;

	kit_active(&k);
	k.disk_ok = false; /* no answer at all */
	kit_command(&k, SERVICE_CMD_STOP_HERE);
	assert_false(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
	kit_tick(&k, ADV + MTIME_MS(1));
	assert_true(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_PERSISTED, .seq = k.s.persist_seq, .ok = true});
	assert_false(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
}

static void a_state_that_does_not_load_is_an_alarm(void **state)
{
	struct kit k = {.now = MTIME_SEC(1000), .disk_ok = true};
	struct service_config c = kit_config(2);
	struct service_persist none = {0};

	service_init(&k.s, &c, k.now);
	kit_tick(&k, MTIME_MS(500));
	/* nothing else need happen for it: the look has its time */
	assert_int_equal(service_deadline(&k.s, k.now), k.s.started + MTIME_SEC(2));
	assert_false(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
	kit_tick(&k, MTIME_SEC(2));
	assert_true(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
	assert_int_equal(kit_act(&k, SERVICE_ACT_ALARM)->alarm, SERVICE_ALARM_STATE_FILE);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_LOADED, .persist = &none});
	assert_false(k.s.alarms[SERVICE_ALARM_STATE_FILE]);
}

static void a_node_that_ended_and_is_back_is_a_standby_again(void **state)
{
	struct kit k;

	kit_backup(&k);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RELEASE,
					    .peer = 1,
					    .term = 2,
					    .ending = true,
					    .echoed = k.now - MTIME_MS(1)});
	kit_addresses(&k, true, true); /* after RELEASE nothing is waited for */
	kit_step(&k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_DOWN, 2));
	assert_int_equal(service_best_peer(&k.s, k.now), MODEL_NONE);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_WAITING, 0)); /* supd was started again */
	assert_int_equal(service_best_peer(&k.s, k.now), 1);
}

/* ---- a person's caution ---- */

static void hold_waits_for_a_person_and_a_release_needs_none(void **state)
{
	struct kit k;

	kit_backup(&k);
	k.s.config.hold_on_silence = true;
	silence(&k, MTIME_SEC(60));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_true(k.s.alarms[SERVICE_ALARM_HELD]);
	kit_command(&k, SERVICE_CMD_TAKE);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);

	kit_backup(&k);
	k.s.config.hold_on_silence = true;
	kit_step(&k, (struct service_event){
			     .type = SERVICE_EV_RELEASE, .peer = 1, .term = 2, .successor = 0});
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void hold_starts_nobody_alone_at_boot(void **state)
{
	struct kit k;

	kit_boot(&k, 2);
	k.s.config.hold_on_silence = true;
	silence(&k, MTIME_SEC(70));
	assert_int_equal(k.s.state, SERVICE_STATE_WAITING);
}

static void failback_hands_to_the_better_node_after_its_time(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 1);
	struct kit k;
	int i;

	kit_active(&k);
	k.s.config.nodes[1].priority = 200;
	k.s.config.failback = MTIME_SEC(10);
	r.term_seen = k.s.term;
	for (i = 0; i < 20 && k.s.state == SERVICE_STATE_ACTIVE; i++) {
		kit_hello(&k, 1, r);
		silence(&k, ADV);
	}
	assert_in_range(i, 9, 11);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_int_equal(k.s.cause, SERVICE_CAUSE_FAILBACK);
	assert_int_equal(k.s.successor, 1);
}

static void failback_begins_anew_after_the_better_node_was_unfit(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 1);
	struct kit k;

	kit_active(&k);
	k.s.config.nodes[1].priority = 200;
	k.s.config.failback = MTIME_SEC(10);
	for (int i = 0; i < 30; i++) {
		r.fit = i % 8 != 7;
		kit_hello(&k, 1, r);
		silence(&k, ADV);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void pause_suspends_restarts_and_takeovers_but_no_step_down(void **state)
{
	struct kit k;

	kit_active(&k);
	kit_command(&k, SERVICE_CMD_PAUSE);
	assert_int_equal(k.s.persist.wish_version, 1);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RESTART_DUE});
	assert_false(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_command(&k, SERVICE_CMD_RESUME);
	assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_ALLOW));
	kit_command(&k, SERVICE_CMD_PAUSE);
	kit_term(&k, SERVICE_EV_FENCE, 1, 258);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);

	kit_backup(&k);
	kit_command(&k, SERVICE_CMD_PAUSE);
	silence(&k, MTIME_SEC(20));
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	kit_command(&k, SERVICE_CMD_RESUME);
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
}

static void a_wish_said_again_outbids_one_that_was_not_heard(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	kit_command(&k, SERVICE_CMD_RESUME);
	kit_command(&k, SERVICE_CMD_RESUME);
	r.paused = true;
	r.wish_version = 1;
	kit_hello(&k, 1, r);
	assert_false(k.s.persist.paused);
	assert_int_equal(k.s.persist.wish_version, 2);
}

static void a_wish_from_elsewhere_does_not_end_a_bar(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	kit_command(&k, SERVICE_CMD_STOP_HERE);
	r.wish_version = 5; /* a pause and its end, or a start, typed there */
	kit_hello(&k, 1, r);
	assert_int_equal(k.s.persist.wish_version, 5);
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
	kit_command(&k, SERVICE_CMD_START);
	assert_int_not_equal(k.s.state, SERVICE_STATE_STOPPED);
}

static void unproven(struct kit *k, uint64_t fence, const struct service_report *hello)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_UNPROVEN, .peer = 1, .term = fence,
					   .report = hello});
}

/* b does not hear us, and has started anew: it has no session with us, and will start. */
static void a_fence_without_a_session_counts_above_every_term_seen(void **state)
{
	struct kit k;

	kit_active(&k);
	unproven(&k, 2, NULL);
	assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
	assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));

	kit_active(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_BACKUP, 258)); /* it has been sent before */
	unproven(&k, 258, NULL);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	unproven(&k, 513, NULL); /* not one of its terms */
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

static void who_acts_without_a_session_delays_a_takeover_and_proves_nothing(void **state)
{
	struct service_report acts = kit_report(SERVICE_STATE_ACTIVE, 258);
	struct kit k;

	kit_backup(&k);
	for (int i = 0; i < 20; i++) {
		silence(&k, ADV);
		unproven(&k, 0, &acts);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_int_equal(service_active_node(&k.s, k.now), MODEL_NONE);
	assert_int_equal(k.s.persist.term_seen, 2);

	kit_active(&k);
	unproven(&k, 0, &acts);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
}

/* It waits for c; c's own FENCE, and its start, may have been said in the meantime. */
static void a_takeover_is_given_up_when_contact_had_a_gap(void **state)
{
	struct service_report c = kit_report(SERVICE_STATE_BACKUP, 2);
	struct kit k;

	kit_boot(&k, 3);
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	for (int i = 0; i < 100 && k.s.state != SERVICE_STATE_TAKING_OVER; i++) {
		silence(&k, MTIME_MS(100));
		kit_hello(&k, 2, c);
	}
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	for (int i = 0; i < 18; i++) /* cut off, for less than isolation takes to be noticed */
		kit_tick(&k, MTIME_MS(100));
	assert_int_equal(k.s.state, SERVICE_STATE_TAKING_OVER);
	kit_gateway(&k);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	silence(&k, MTIME_SEC(3)); /* Active_Down in full */
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
}

static void pause_is_adopted_with_the_newest_wish(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_ACTIVE, 2);
	struct kit k;

	kit_backup(&k);
	r.paused = true;
	r.wish_version = 5;
	kit_hello(&k, 1, r);
	assert_true(k.s.persist.paused);
	r.wish_version = 4;
	r.paused = false;
	kit_hello(&k, 1, r);
	assert_true(k.s.persist.paused);
}

/* Said apart, on both sides of a cut: without this they would differ for ever. */
static void of_two_wishes_with_one_number_stop_and_pause_count(void **state)
{
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 2);
	struct kit k;

	kit_backup(&k);
	k.s.persist.wish_version = r.wish_version = 5;
	k.s.persist.paused = true;
	r.stopped = true;
	kit_hello(&k, 1, r);
	assert_true(k.s.persist.paused);
	assert_true(k.s.persist.stopped);
	assert_true(kit_did(&k, SERVICE_ACT_PERSIST));
	kit_hello(&k, 1, r);
	assert_false(kit_did(&k, SERVICE_ACT_PERSIST));
	assert_int_equal(k.s.persist.wish_version, 5);
	assert_int_equal(k.s.state, SERVICE_STATE_STOPPED);
}

/* ---- what a third node vouches for ---- */

static void who_hears_an_active_node_by_whatever_way_is_no_idle_witness(void **state)
{
	struct service_report r;
	struct kit k;

	kit_boot(&k, 3);
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2)); /* no advert: another path */
	service_to_report(&k.s, k.now, &r);
	assert_true(r.adverts_heard);
	kit_tick(&k, 5 * ADV);
	kit_hello(&k, 2, kit_report(SERVICE_STATE_BACKUP, 2));
	service_to_report(&k.s, k.now, &r);
	assert_false(r.adverts_heard);
}

static void adverts_of_a_node_that_the_peer_link_does_not_bring_hold_fenced_back(void **state)
{
	struct kit k;

	kit_boot(&k, 3);
	kit_gateway(&k);
	kit_hello(&k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	for (int i = 0; i < 5; i++) { /* its messages do not come any more */
		kit_tick(&k, ADV);
		kit_gateway(&k);
		kit_step(&k, (struct service_event){.type = SERVICE_EV_ADVERT,
						    .peer = 1,
						    .priority = 100,
						    .interval = ADV});
		kit_hello(&k, 2, kit_report(SERVICE_STATE_BACKUP, 2));
	}
	kit_term(&k, SERVICE_EV_FENCE, 2, 259);
	assert_false(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	kit_quiesced(&k, 259);
	assert_false(kit_did(&k, SERVICE_ACT_SEND_FENCED));
	/* It is silent in every way for as long as a standby waits. */
	kit_tick(&k, 4 * ADV);
	assert_true(kit_did(&k, SERVICE_ACT_SEND_FENCED));
}

/* ---- a new engine ---- */

static void resume(struct kit *k, enum service_state was, bool running)
{
	struct service_baton b = {.format = SERVICE_BATON_FORMAT,
				  .state = was,
				  .cause = SERVICE_CAUSE_TAKEOVER,
				  .term = 257,
				  .persist = {.term_seen = 257, .reserved = 513}};
	struct service_config c = kit_config(2);

	memset(k, 0, sizeof(*k));
	k->now = MTIME_SEC(50);
	k->disk_ok = true;
	b.s = k->now - MTIME_MS(100);
	b.since = k->now - MTIME_SEC(30);
	b.ready = true;
	service_init(&k->s, &c, k->now);
	kit_step(k, (struct service_event){
			    .type = SERVICE_EV_RESUME, .baton = &b, .running = running});
}

static void a_new_engine_goes_on_as_active_with_the_same_term(void **state)
{
	struct kit k;

	resume(&k, SERVICE_STATE_ACTIVE, true);
	assert_int_equal(k.s.state, SERVICE_STATE_ACTIVE);
	assert_int_equal(k.s.term, 257);
	/* no transition: nothing has changed but the engine */
	assert_int_equal(kit_act(&k, SERVICE_ACT_STATE)->from, SERVICE_STATE_ACTIVE);
	assert_int_equal(kit_act(&k, SERVICE_ACT_STATE)->to, SERVICE_STATE_ACTIVE);
	assert_true(kit_did(&k, SERVICE_ACT_ADDRESSES_ADD));
	assert_false(kit_did(&k, SERVICE_ACT_QUIESCE));
	assert_true(service_kill_at(&k.s) < k.now + 3 * ADV);
	assert_int_equal(k.s.since, k.now - MTIME_SEC(30));
}

static void a_new_engine_keeps_the_latch_for_its_time(void **state)
{
	struct service_baton b = {.format = SERVICE_BATON_FORMAT,
				  .state = SERVICE_STATE_FAILED,
				  .persist = {.latched = true, .term_seen = 2, .reserved = 257}};
	struct service_config c = kit_config(2);
	struct kit k = {.now = MTIME_SEC(5000), .disk_ok = true};

	c.failure_reset = MTIME_SEC(3600);
	b.since = k.now - MTIME_SEC(60);
	service_init(&k.s, &c, k.now);
	kit_step(&k, (struct service_event){.type = SERVICE_EV_RESUME, .baton = &b});
	kit_tick(&k, MTIME_SEC(3500));
	assert_int_equal(k.s.state, SERVICE_STATE_FAILED);
	assert_true(k.s.persist.latched);
	kit_tick(&k, MTIME_SEC(50));
	assert_false(k.s.persist.latched);
}

static void a_new_engine_kills_what_was_halfway(void **state)
{
	static const enum service_state half[] = {SERVICE_STATE_TAKING_OVER,
						  SERVICE_STATE_RELEASING};
	struct kit k;

	for (unsigned i = 0; i < 2; i++) {
		resume(&k, half[i], true);
		assert_int_equal(k.s.state, SERVICE_STATE_RELEASING);
		assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
	}
	resume(&k, SERVICE_STATE_ACTIVE, false);
	assert_true(kit_did(&k, SERVICE_ACT_QUIESCE));
	resume(&k, SERVICE_STATE_BACKUP, false);
	assert_int_equal(k.s.state, SERVICE_STATE_BACKUP);
	assert_int_equal(k.s.since, k.now - MTIME_SEC(30));
}

/* ---- every event in every state ---- */

/*
 * Random events against one machine: whatever comes in whatever state, the invariants hold and
 * the programs are started only after a fence.  200,000 steps reach every state x event pair;
 * that they did is asserted.
 */
static void invariants_hold_for_every_event_in_every_state(void **state)
{
	static bool seen[SERVICE_STATES_END][SERVICE_EV_COMMAND + 1];
	struct kit k;
	unsigned missing = 0;

	srandom(7);
	kit_boot(&k, 3);
	for (int i = 0; i < 400000; i++) {
		struct service_report r = kit_report(
			(enum service_state)(random() % SERVICE_STATES_END), (uint64_t)random() % 1500);
		struct service_persist none = {0};
		struct service_baton baton = {.format = SERVICE_BATON_FORMAT};
		struct service_event ev = {
			.type = (enum service_event_type)(random() % (SERVICE_EV_COMMAND + 1)),
			.peer = 1 + (unsigned)random() % 2,
			.term = random() % 3 != 0 ? k.s.term : (uint64_t)random() % 1500,
			.seq = k.s.persist_seq,
			.successor = (unsigned)random() % 4,
			.ok = random() % 8 != 0,
			.adding = random() % 2 == 0,
			.force = random() % 2 == 0,
			.by_deadline = random() % 4 == 0,
			.is_node = random() % 2 == 0,
			.echoed = k.now - random() % ADV,
			.sent_at = k.now - random() % ADV,
			.priority = (uint8_t)random(),
			.interval = ADV,
			.conflict = (enum service_conflict)(random() % 2),
			.command = (enum service_command)(random() % SERVICE_CMD_END),
			.report = &r,
			.persist = &none,
			.baton = &baton,
		};
		if (i % 5000 == 4999) /* end, and begin anew from down */
			ev.type = SERVICE_EV_COMMAND, ev.command = SERVICE_CMD_END;
		if (k.s.state == SERVICE_STATE_DOWN && k.s.ending && random() % 40 == 0)
			kit_boot(&k, 3);
		r.running = r.state == SERVICE_STATE_ACTIVE;
		r.latched = random() % 4 == 0;
		k.now += random() % 4 == 0 ? random() % ADV : random() % MTIME_MS(20);
		seen[k.s.state][ev.type] = true;
		bool ran = k.s.may_run;
		kit_step(&k, ev);
		if (!ran && k.s.may_run)
			assert_true(kit_did(&k, SERVICE_ACT_PROGRAMS_START));
		assert_true(service_deadline(&k.s, k.now) > k.now);
	}
	for (unsigned s = 0; s < SERVICE_STATES_END; s++) {
		for (unsigned e = 0; e <= SERVICE_EV_COMMAND; e++)
			missing += !seen[s][e];
	}
	assert_int_equal(missing, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(terms_are_unique_per_node_and_grow),
		cmocka_unit_test(boot_with_all_heard_and_nothing_running_the_best_takes_at_once),
		cmocka_unit_test(boot_beside_a_better_node_is_backup),
		cmocka_unit_test(boot_waits_for_a_peer_that_has_not_read_its_state),
		cmocka_unit_test(boot_beside_an_active_is_backup_at_once),
		cmocka_unit_test(silence_that_was_listened_to_counts_for_wait_for_peer),
		cmocka_unit_test(of_three_nodes_only_the_missing_one_is_waited_for),
		cmocka_unit_test(a_peer_just_heard_or_a_cut_begins_wait_for_peer_anew),
		cmocka_unit_test(boot_alone_starts_after_wait_for_peer_only_if_the_gateway_answers),
		cmocka_unit_test(who_has_not_asked_around_yet_does_not_start),
		cmocka_unit_test(boot_keeps_latch_and_stop),
		cmocka_unit_test(backup_takes_over_after_active_down),
		cmocka_unit_test(advert_or_hello_of_an_active_restarts_active_down),
		cmocka_unit_test(the_first_message_after_a_silence_is_no_alarm_for_the_other_path),
		cmocka_unit_test(isolated_standby_never_takes_over_and_waits_in_full_afterwards),
		cmocka_unit_test(answers_of_who_released_are_no_conflict),
		cmocka_unit_test(answer_by_a_nodes_mac_restarts_active_down),
		cmocka_unit_test(answer_by_an_unknown_mac_holds_for_a_bounded_time),
		cmocka_unit_test(a_link_that_is_down_or_a_differing_config_forbids),
		cmocka_unit_test(a_takeover_waits_for_the_reservation_on_disk),
		cmocka_unit_test(taker_does_not_start_without_fenced_of_who_says_active),
		cmocka_unit_test(fence_kills_the_active_and_is_answered_after_quiesced),
		cmocka_unit_test(fenced_waits_for_the_disk),
		cmocka_unit_test(an_old_or_foreign_fence_is_ignored),
		cmocka_unit_test(a_higher_term_that_is_active_ends_ours),
		cmocka_unit_test(crossing_takers_the_higher_term_wins),
		cmocka_unit_test(active_without_contact_is_killed_by_its_deadline),
		cmocka_unit_test(active_lives_on_a_gateway_alone_and_on_a_peer_alone),
		cmocka_unit_test(the_keepers_own_kill_ends_the_term),
		cmocka_unit_test(restart_is_allowed_at_once_beside_an_idle_peer_of_this_term),
		cmocka_unit_test(restart_waits_for_a_peer_whose_state_is_not_known),
		cmocka_unit_test(a_missing_standby_is_said_again_every_hour),
		cmocka_unit_test(at_the_limit_a_fit_peer_gets_it_and_this_node_is_latched),
		cmocka_unit_test(at_the_limit_with_a_failed_peer_a_person_is_needed),
		cmocka_unit_test(transitions_of_a_step_follow_each_other),
		cmocka_unit_test(at_the_limit_with_an_unreachable_peer_it_goes_on),
		cmocka_unit_test(release_that_names_us_is_taken_without_waiting),
		cmocka_unit_test(release_that_names_another_waits),
		cmocka_unit_test(an_old_release_is_no_reason),
		cmocka_unit_test(a_release_counts_although_a_higher_term_is_known),
		cmocka_unit_test(a_release_goes_out_although_a_higher_term_is_known),
		cmocka_unit_test(a_release_that_was_long_under_way_is_no_reason),
		cmocka_unit_test(no_fenced_while_another_acts),
		cmocka_unit_test(fenced_once_the_other_is_idle_or_silent),
		cmocka_unit_test(fenced_to_the_first_of_two_takers),
		cmocka_unit_test(an_unkillable_tree_is_told_and_does_not_hold_the_release),
		cmocka_unit_test(stop_is_adopted_from_whoever_said_it_last),
		cmocka_unit_test(who_released_comes_back_late_unless_somebody_did_begin),
		cmocka_unit_test(ending_hands_over_and_ends),
		cmocka_unit_test(a_disk_that_hangs_is_an_alarm_like_one_that_fails),
		cmocka_unit_test(a_state_that_does_not_load_is_an_alarm),
		cmocka_unit_test(a_node_that_ended_and_is_back_is_a_standby_again),
		cmocka_unit_test(hold_waits_for_a_person_and_a_release_needs_none),
		cmocka_unit_test(hold_starts_nobody_alone_at_boot),
		cmocka_unit_test(failback_hands_to_the_better_node_after_its_time),
		cmocka_unit_test(failback_begins_anew_after_the_better_node_was_unfit),
		cmocka_unit_test(pause_suspends_restarts_and_takeovers_but_no_step_down),
		cmocka_unit_test(a_wish_said_again_outbids_one_that_was_not_heard),
		cmocka_unit_test(a_wish_from_elsewhere_does_not_end_a_bar),
		cmocka_unit_test(a_fence_without_a_session_counts_above_every_term_seen),
		cmocka_unit_test(who_acts_without_a_session_delays_a_takeover_and_proves_nothing),
		cmocka_unit_test(a_takeover_is_given_up_when_contact_had_a_gap),
		cmocka_unit_test(pause_is_adopted_with_the_newest_wish),
		cmocka_unit_test(of_two_wishes_with_one_number_stop_and_pause_count),
		cmocka_unit_test(a_new_engine_goes_on_as_active_with_the_same_term),
		cmocka_unit_test(a_new_engine_kills_what_was_halfway),
		cmocka_unit_test(a_new_engine_keeps_the_latch_for_its_time),
		cmocka_unit_test(who_hears_an_active_node_by_whatever_way_is_no_idle_witness),
		cmocka_unit_test(
			adverts_of_a_node_that_the_peer_link_does_not_bring_hold_fenced_back),
		cmocka_unit_test(invariants_hold_for_every_event_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
