/* SPDX-License-Identifier: MIT */
#include "tests/unit/probe_kit.h"

#include "common/log.h"

/* Isolation, conflict and announcements over ARP; over ND: probe_six_test.c. */

/* ---- isolation ------------------------------------------------------------------------------ */

static void the_gateway_and_the_other_nodes_are_asked_in_our_name(void **state)
{
	static const char *const want[] = {GATEWAY, NODE_B, NODE_C};
	struct arp_frame f;

	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	for (int i = 0; i < 3; i++) {
		assert_true(sent(&f));
		assert_int_equal(f.op, ARP_OP_REQUEST);
		assert_int_equal(f.spa, inet_addr(OWN));
		assert_int_equal(f.tpa, inet_addr(want[i]));
		assert_memory_equal(f.sha, own_mac, 6);
	}
	assert_false(sent(&f));
	probe_update(&w->e, 0); /* not due yet */
	assert_false(sent(&f));
	assert_true(ev_is_active(&w->svc.probe_timer));
}

static void an_answer_tells_when_its_request_was_sent_and_whether_it_is_a_node(void **state)
{
	mtime before, after;

	before = mtime_now();
	assert_false(w->has_target); /* b alone is a node */
	set_gateway(GATEWAY); /* asks at once */
	assert_true(w->has_target);
	after = mtime_now();
	answer(gateway_mac, GATEWAY);
	answer(b_mac, NODE_B);
	assert_int_equal(w->n_caught, 2);
	assert_int_equal(w->caught[0].type, SERVICE_EV_PROBE_ANSWER);
	assert_true(w->caught[0].sent_at >= before && w->caught[0].sent_at <= after);
	assert_false(w->caught[0].is_node);
	assert_true(w->caught[1].is_node);
}

/* S counts on the peers having heard of us shortly before a probe that is answered. */
static void a_hello_goes_with_each_round_while_something_may_run(void **state)
{
	set_gateway(GATEWAY);
	assert_int_equal(w->hellos, 0);
	w->svc.fsm.may_run = true;
	w->svc.probed_at = 0;
	probe_update(&w->e, 0); /* every target has just been asked: no round */
	assert_int_equal(w->hellos, 0);
	for (unsigned i = 0; i < w->svc.n_targets; i++)
		w->svc.targets[i].asked = 0;
	w->svc.probed_at = 0;
	probe_update(&w->e, 0);
	assert_int_equal(w->hellos, 1);
	w->svc.probed_at = 0;
	probe_update(&w->e, 0); /* one has just gone */
	assert_int_equal(w->hellos, 1);
}

struct stray {
	const char *why;
	uint16_t op;
	const uint8_t *sha;
	const char *spa;
	const uint8_t *tha;
	const char *tpa;
};

static const struct stray strays[] = {
	{"an answer to another host", ARP_OP_REPLY, gateway_mac, GATEWAY, stranger_mac, OWN},
	{"an answer for another address", ARP_OP_REPLY, gateway_mac, GATEWAY, own_mac, NODE_B},
	{"a question is no answer", ARP_OP_REQUEST, gateway_mac, GATEWAY, own_mac, OWN},
	{"an echo of ourselves", ARP_OP_REPLY, own_mac, GATEWAY, own_mac, OWN},
	{"no target", ARP_OP_REPLY, stranger_mac, "10.9.0.77", own_mac, OWN},
};

static void what_answers_nothing_proves_nothing(void **state)
{
	uint8_t junk[60] = {0};

	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++) {
		const struct stray *s = &strays[i];

		print_message("%s\n", s->why);
		arrive(s->op, s->sha, s->spa, s->tha, s->tpa);
		assert_int_equal(w->n_caught, 0);
	}
	assert_int_equal(send(w->wires[0], junk, sizeof(junk), 0), sizeof(junk));
	probe_drain(&w->e, 0);
	assert_int_equal(w->n_caught, 0);
	answer(gateway_mac, GATEWAY);
	answer(gateway_mac, GATEWAY); /* a second answer to the same request */
	assert_int_equal(w->n_caught, 1);
}

static void an_answer_belongs_to_the_oldest_open_request(void **state)
{
	mtime first;

	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	probe_again(MTIME_SEC(1)); /* no answer meanwhile */
	first = w->svc.targets[0].sent[0];
	assert_true(first != 0 && w->svc.targets[0].sent[1] > first);
	answer(gateway_mac, GATEWAY);
	assert_int_equal(w->caught[0].sent_at, first);
	/* It closed both: the next one is not taken for old as well. */
	probe_again(MTIME_SEC(1));
	answer(gateway_mac, GATEWAY);
	assert_int_equal(w->n_caught, 2);
	assert_int_equal(w->caught[1].sent_at, w->svc.probed_at);
}

static void a_request_without_an_answer_is_given_up(void **state)
{
	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	probe_again(MTIME_SEC(1));
	probe_again(MTIME_MS(1000));
	answer(gateway_mac, GATEWAY);
	assert_true(w->caught[0].sent_at <= w->svc.probed_at - MTIME_SEC(1));
	assert_true(w->caught[0].sent_at > w->svc.probed_at - MTIME_SEC(2));
}

static void an_answer_from_before_a_stall_is_read_before_the_next_request_goes_out(void **state)
{
	struct arp_frame f = {.op = ARP_OP_REPLY, .spa = inet_addr(GATEWAY), .tpa = inet_addr(OWN)};
	uint8_t buf[ARP_FRAME_LEN];
	mtime first;

	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	memcpy(f.sha, gateway_mac, 6);
	memcpy(f.tha, own_mac, 6);
	assert_int_equal(send(w->wires[0], buf, arp_build(&f, buf, sizeof(buf)), 0), ARP_FRAME_LEN);
	first = w->svc.targets[0].sent[0] - MTIME_SEC(30);
	probe_again(MTIME_SEC(30)); /* we slept with the answer in the socket */
	assert_int_equal(w->n_caught, 1);
	assert_int_equal(w->caught[0].sent_at, first);
}

static void a_listed_node_is_a_node_and_is_asked_once(void **state)
{
	set_gateway(GATEWAY); /* no target here */
	assert_int_equal(w->svc.n_targets, 3);
	probe_update(&w->e, 0);
	answer(gateway_mac, LISTED);
	answer(b_mac, NODE_C);
	assert_int_equal(w->n_caught, 2);
	assert_false(w->caught[0].is_node);
	assert_true(w->caught[1].is_node);
}

static void nobody_is_asked_when_it_is_off(void **state)
{
	struct arp_frame f;

	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	assert_false(sent(&f));
}

static void a_new_gateway_replaces_the_old_one_and_leaves_the_nodes(void **state)
{
	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	answer(gateway_mac, GATEWAY);
	assert_true(w->svc.gateways[0].mac_known);
	set_gateway("10.9.0.252");
	assert_false(w->svc.gateways[0].mac_known);
	assert_int_equal(w->svc.n_targets, 3);
	w->n_caught = 0;
	answer(gateway_mac, GATEWAY);
	assert_int_equal(w->n_caught, 0);
	answer(b_mac, NODE_B); /* its open request was kept */
	assert_int_equal(w->n_caught, 1);
	probe_set_gateways(&w->e, 0, (const struct ip_addr[2]){{0}});
	assert_int_equal(w->svc.n_targets, 2);
}

/* ---- conflict ------------------------------------------------------------------------------- */

static void the_virtual_address_is_probed_while_adverts_are_missing(void **state)
{
	struct arp_frame f;
	bool seen = false;

	probe_update(&w->e, 0);
	assert_int_equal(count_sent(inet_addr(VIP)), 0);
	miss_adverts();
	probe_update(&w->e, 0);
	while (sent(&f))
		if (f.tpa == inet_addr(VIP)) {
			assert_int_equal(f.spa, 0);
			seen = true;
		}
	assert_true(seen);
}

static void who_answers_is_judged_by_its_mac(void **state)
{
	set_gateway(GATEWAY);
	probe_update(&w->e, 0);
	answer(gateway_mac, GATEWAY);
	w->n_caught = 0;
	arrive(ARP_OP_REPLY, b_mac, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->n_caught, 0); /* the Active, as it should be */
	miss_adverts();
	arrive(ARP_OP_REPLY, b_mac, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->n_caught, 1);
	assert_int_equal(w->caught[0].type, SERVICE_EV_CONFLICT);
	assert_int_equal(w->caught[0].conflict, SERVICE_CONFLICT_NODE);
	assert_int_equal(w->caught[0].peer, 1);
	arrive(ARP_OP_REPLY, gateway_mac, VIP, own_mac, "0.0.0.0");
	arrive(ARP_OP_REPLY, own_mac, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->n_caught, 1);
	arrive(ARP_OP_REPLY, stranger_mac, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->n_caught, 2);
	assert_int_equal(w->caught[1].conflict, SERVICE_CONFLICT_UNKNOWN);
}

static void a_virtual_routers_mac_is_that_of_a_plain_router(void **state)
{
	static const uint8_t ours[6] = {0, 0, 0x5e, 0, 1, 51}, others[6] = {0, 0, 0x5e, 0, 1, 52};

	kit_service->vrid = 51;
	w->svc.fsm.peers[2].advert = mtime_now();
	miss_adverts();
	arrive(ARP_OP_REPLY, ours, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->caught[0].conflict, SERVICE_CONFLICT_NODE);
	assert_int_equal(w->caught[0].peer, 2);
	arrive(ARP_OP_REPLY, others, VIP, own_mac, "0.0.0.0");
	assert_int_equal(w->caught[1].conflict, SERVICE_CONFLICT_UNKNOWN);
}

static void an_active_hears_who_else_claims_its_address(void **state)
{
	static const uint8_t zero[6];

	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	arrive(ARP_OP_REQUEST, own_mac, VIP, zero, VIP);
	assert_int_equal(w->n_caught, 0);
	arrive(ARP_OP_REQUEST, b_mac, VIP, zero, VIP);
	assert_int_equal(w->n_caught, 1);
	assert_int_equal(w->caught[0].conflict, SERVICE_CONFLICT_NODE);
}

/* ---- announcements -------------------------------------------------------------------------- */

static void the_first_announcement_goes_out_at_once_the_others_soon(void **state)
{
	struct arp_frame f;

	w->svc.fsm.state = SERVICE_STATE_TAKING_OVER;
	probe_announce(&w->e, 0);
	assert_true(sent(&f));
	assert_int_equal(f.spa, inet_addr(VIP));
	assert_int_equal(f.tpa, inet_addr(VIP));
	assert_memory_equal(f.sha, own_mac, 6);
	assert_false(sent(&f));
	run_loop(0.5); /* 0, 50, 200 ms: three of garp_count */
	assert_int_equal(count_sent(inet_addr(VIP)), 2);
	assert_int_equal(w->svc.garp_left, 0);
	assert_true(ev_is_active(&w->svc.garp_timer)); /* once a minute from now on */
}

static void nothing_is_announced_after_the_service_has_left(void **state)
{
	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	probe_announce(&w->e, 0);
	assert_int_equal(count_sent(inet_addr(VIP)), 1);
	w->svc.fsm.state = SERVICE_STATE_RELEASING;
	run_loop(0.3);
	assert_int_equal(count_sent(inet_addr(VIP)), 0);
	assert_false(ev_is_active(&w->svc.garp_timer));
}

static void a_new_engine_goes_on_announcing(void **state)
{
	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	probe_update(&w->e, 0);
	assert_true(ev_is_active(&w->svc.garp_timer));
	w->svc.fsm.state = SERVICE_STATE_BACKUP;
	probe_update(&w->e, 0);
	assert_false(ev_is_active(&w->svc.garp_timer));
}

int main(void)
{
#define AUTO(name) cmocka_unit_test_setup_teardown(name, setup_auto, teardown)
	const struct CMUnitTest tests[] = {
		AUTO(the_gateway_and_the_other_nodes_are_asked_in_our_name),
		AUTO(a_hello_goes_with_each_round_while_something_may_run),
		AUTO(an_answer_tells_when_its_request_was_sent_and_whether_it_is_a_node),
		AUTO(what_answers_nothing_proves_nothing),
		AUTO(an_answer_belongs_to_the_oldest_open_request),
		AUTO(a_request_without_an_answer_is_given_up),
		AUTO(an_answer_from_before_a_stall_is_read_before_the_next_request_goes_out),
		cmocka_unit_test_setup_teardown(a_listed_node_is_a_node_and_is_asked_once,
						setup_list, teardown),
		cmocka_unit_test_setup_teardown(nobody_is_asked_when_it_is_off, setup_off,
						teardown),
		AUTO(a_new_gateway_replaces_the_old_one_and_leaves_the_nodes),
		AUTO(the_virtual_address_is_probed_while_adverts_are_missing),
		AUTO(who_answers_is_judged_by_its_mac),
		AUTO(a_virtual_routers_mac_is_that_of_a_plain_router),
		AUTO(an_active_hears_who_else_claims_its_address),
		AUTO(the_first_announcement_goes_out_at_once_the_others_soon),
		AUTO(nothing_is_announced_after_the_service_has_left),
		AUTO(a_new_engine_goes_on_announcing),
	};

	log_init(2, "probe", LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
