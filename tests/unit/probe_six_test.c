/* SPDX-License-Identifier: MIT */
#include "supd/core/nd.h"

#include "common/log.h"
#include "tests/unit/probe_kit.h"

/* What probe_test.c has for ARP, over ND; and the defence of an address, which both have. */

#define ND_WIRE 1

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

static bool sent_nd(struct nd_frame *ret)
{
	uint8_t buf[128];
	const size_t len = sent_on(ND_WIRE, buf, sizeof(buf));

	if (len == 0)
		return false;
	assert_int_equal(nd_parse(buf, len, ret), 0);
	return true;
}

/* Frames of this type for this target. */
static unsigned count_nd(uint8_t type, const char *target)
{
	const struct ip_addr a = ip(target);
	struct nd_frame f;
	unsigned n = 0;

	while (sent_nd(&f))
		n += f.type == type && memcmp(f.target, a.bytes, 16) == 0;
	return n;
}

static void forget_sent(void)
{
	struct nd_frame nd;
	struct arp_frame arp;

	while (sent_nd(&nd) || sent(&arp))
		;
}

/* An advertisement: `solicited` to us alone, else to all nodes. */
static void advertise(const uint8_t mac[6], const char *address, bool solicited)
{
	const struct ip_addr target = ip(address), own = ip(LOCAL6);
	uint8_t buf[ND_FRAME_LEN];
	struct nd_frame f;

	nd_announce(&f, mac, target.bytes, false);
	if (solicited) {
		f.solicited = true;
		memcpy(f.eth_dst, own_mac, 6);
		memcpy(f.dst, own.bytes, 16);
	}
	arrive_on(ND_WIRE, buf, nd_build(&f, buf, sizeof(buf)));
}

static void set_gateway6(const char *address)
{
	const struct ip_addr a[2] = {{0}, ip(address)};

	probe_set_gateways(&w->e, 0, a);
}

/* ---- isolation ------------------------------------------------------------------------------ */

static void the_gateway_is_solicited_from_our_link_local_address(void **state)
{
	const struct ip_addr own = ip(LOCAL6), gateway = ip(GATEWAY6);
	struct nd_frame f;

	set_gateway6(GATEWAY6);
	assert_true(w->has_target);
	assert_true(sent_nd(&f));
	assert_int_equal(f.type, ND_SOLICIT);
	assert_memory_equal(f.src, own.bytes, 16);
	assert_memory_equal(f.target, gateway.bytes, 16);
	assert_true(f.has_mac);
	assert_memory_equal(f.mac, own_mac, 6);
	assert_false(sent_nd(&f));
}

static void an_answer_to_us_alone_proves_that_we_are_connected(void **state)
{
	set_gateway6(GATEWAY6);
	w->n_caught = 0;
	advertise(gateway_mac, GATEWAY6, false); /* to all nodes: one direction only */
	assert_int_equal(w->n_caught, 0);
	advertise(gateway_mac, GATEWAY6, true);
	assert_int_equal(w->n_caught, 1);
	assert_int_equal(w->caught[0].type, SERVICE_EV_PROBE_ANSWER);
	assert_false(w->caught[0].is_node);
	assert_true(w->svc.gateways[1].mac_known);
	assert_false(w->svc.gateways[0].mac_known);
}

static void without_an_address_to_ask_from_nobody_of_ipv6_is_a_target(void **state)
{
	const struct ip_addr none = {0}, own = ip(LOCAL6);

	set_gateway6(GATEWAY6);
	probe_set_six(&w->e, 0, &none, false);
	assert_false(w->has_target); /* what cannot be asked cannot tell that we are cut off */
	forget_sent();
	probe_again(MTIME_SEC(1));
	assert_int_equal(count_nd(ND_SOLICIT, GATEWAY6), 0);
	probe_set_six(&w->e, 0, &own, false);
	assert_true(w->has_target);
	assert_int_equal(count_nd(ND_SOLICIT, GATEWAY6), 1);
}

/* ---- conflict ------------------------------------------------------------------------------- */

static void the_virtual_address_is_solicited_from_nobody_while_adverts_are_missing(void **state)
{
	static const uint8_t none[16];
	const struct ip_addr vip = ip(VIP6);
	struct nd_frame f;

	forget_sent();
	miss_adverts();
	probe_update(&w->e, 0);
	assert_true(sent_nd(&f));
	assert_int_equal(f.type, ND_SOLICIT);
	assert_memory_equal(f.src, none, 16);
	assert_memory_equal(f.target, vip.bytes, 16);
	assert_false(f.has_mac);
}

static void who_advertises_is_judged_by_its_mac(void **state)
{
	set_gateway6(GATEWAY6);
	advertise(gateway_mac, GATEWAY6, true);
	miss_adverts();
	w->n_caught = 0;
	advertise(gateway_mac, VIP6, false); /* proxy ND */
	advertise(own_mac, VIP6, false);
	assert_int_equal(w->n_caught, 0);
	advertise(b_mac, VIP6, false);
	assert_int_equal(w->n_caught, 1);
	assert_int_equal(w->caught[0].type, SERVICE_EV_CONFLICT);
	assert_int_equal(w->caught[0].conflict, SERVICE_CONFLICT_NODE);
	assert_int_equal(w->caught[0].peer, 1);
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(w->n_caught, 2);
	assert_int_equal(w->caught[1].conflict, SERVICE_CONFLICT_UNKNOWN);
}

/* ---- announcements -------------------------------------------------------------------------- */

static void both_families_are_announced(void **state)
{
	const struct ip_addr vip = ip(VIP6);
	struct arp_frame arp;
	struct nd_frame nd;

	forget_sent();
	w->svc.fsm.state = SERVICE_STATE_TAKING_OVER;
	probe_announce(&w->e, 0);
	assert_true(sent(&arp));
	assert_int_equal(arp.spa, inet_addr(VIP));
	assert_true(sent_nd(&nd));
	assert_int_equal(nd.type, ND_ADVERT);
	assert_true(nd.override && !nd.solicited && !nd.router);
	assert_memory_equal(nd.dst, all_nodes, 16);
	assert_memory_equal(nd.target, vip.bytes, 16);
	assert_memory_equal(nd.mac, own_mac, 6);
}

static void a_router_says_so_in_each_advertisement(void **state)
{
	const struct ip_addr own = ip(LOCAL6);
	struct nd_frame nd;

	probe_set_six(&w->e, 0, &own, true);
	forget_sent();
	w->svc.fsm.state = SERVICE_STATE_TAKING_OVER;
	probe_announce(&w->e, 0);
	assert_true(sent_nd(&nd));
	assert_true(nd.router);
}

static void what_another_sets_is_not_announced(void **state)
{
	struct nd_frame nd;

	kit_service->vip_backend = MODEL_VIP_NONE;
	forget_sent();
	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	probe_announce(&w->e, 0);
	assert_int_equal(count_sent(inet_addr(VIP)), 0);
	assert_false(sent_nd(&nd));
}

/* ---- defence -------------------------------------------------------------------------------- */

static void a_stranger_that_claims_our_address_is_answered_at_once_then_less_often(void **state)
{
	forget_sent();
	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 1);
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 0);
	w->svc.defended_at -= MTIME_SEC(1);
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 1);
	w->svc.defended_at -= MTIME_SEC(1);
	advertise(stranger_mac, VIP6, false); /* two seconds from now on, then four ... */
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 0);
	for (int i = 0; i < 6; i++) {
		w->svc.defended_at -= MTIME_SEC(10);
		advertise(stranger_mac, VIP6, false);
	}
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 6);
	assert_int_equal(w->svc.defend_gap, MTIME_SEC(10));
	w->svc.defended_at -= MTIME_SEC(60); /* a minute of peace */
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(w->svc.defend_gap, MTIME_SEC(1));
}

static void between_nodes_nobody_shouts(void **state)
{
	forget_sent();
	w->svc.fsm.state = SERVICE_STATE_ACTIVE;
	advertise(b_mac, VIP6, false);
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 0);
	assert_true(ev_is_active(&w->svc.garp_timer)); /* but has the last word */
	assert_int_equal(w->svc.garp_left, kit_service->garp_count);
}

static void a_backup_defends_nothing(void **state)
{
	forget_sent();
	miss_adverts();
	advertise(stranger_mac, VIP6, false);
	assert_int_equal(count_nd(ND_ADVERT, VIP6), 0);
	assert_false(ev_is_active(&w->svc.garp_timer));
}

int main(void)
{
#define SIX(name) cmocka_unit_test_setup_teardown(name, setup_six, teardown)
	const struct CMUnitTest tests[] = {
		SIX(the_gateway_is_solicited_from_our_link_local_address),
		SIX(an_answer_to_us_alone_proves_that_we_are_connected),
		SIX(without_an_address_to_ask_from_nobody_of_ipv6_is_a_target),
		SIX(the_virtual_address_is_solicited_from_nobody_while_adverts_are_missing),
		SIX(who_advertises_is_judged_by_its_mac),
		SIX(both_families_are_announced),
		SIX(a_router_says_so_in_each_advertisement),
		SIX(what_another_sets_is_not_announced),
		SIX(a_stranger_that_claims_our_address_is_answered_at_once_then_less_often),
		SIX(between_nodes_nobody_shouts),
		SIX(a_backup_defends_nothing),
	};

	log_init(2, "probe", LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
