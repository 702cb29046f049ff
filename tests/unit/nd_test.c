/* SPDX-License-Identifier: MIT */
#include "supd/core/nd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "supd/core/arp.h"
#include "supd/core/neigh.h"

/* The frames of neighbour discovery, and the face that it shares with ARP. */

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55},
		     other_mac[6] = {0x02, 0, 0, 0, 0, 0x66};

static struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

#define VIP	ip("2001:db8::100")
#define OWN	ip("fe80::11")

/* ---- building: checksums computed by another program ------------------------------------------ */

static void announcement_goes_to_all_nodes_and_overrides(void **state)
{
	static const uint8_t want[] = {
		0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
		0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0xff, 0x02, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x00,
		0x90, 0x94, 0x20, 0x00, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x02, 0x01, 0x02, 0x11, 0x22, 0x33,
		0x44, 0x55,
	};
	const struct ip_addr vip = VIP;
	uint8_t buf[NEIGH_FRAME_MAX];

	assert_int_equal(neigh_announce(mac, &vip, false, buf), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void probe_comes_from_nobody_and_claims_nothing(void **state)
{
	static const uint8_t want[] = {
		0x33, 0x33, 0xff, 0x00, 0x01, 0x00, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
		0x60, 0x00, 0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00, 0x87, 0x00,
		0x4a, 0xef, 0x00, 0x00, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
	};
	const struct ip_addr vip = VIP;
	struct neigh_claim c;
	uint8_t buf[NEIGH_FRAME_MAX];

	assert_int_equal(neigh_probe(mac, &vip, buf), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
	assert_int_equal(neigh_parse(buf, sizeof(want), &c), -EBADMSG);
}

static void request_asks_in_our_own_name(void **state)
{
	static const uint8_t want[] = {
		0x33, 0x33, 0xff, 0x00, 0x01, 0x00, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
		0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0xff, 0x02, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00, 0x87, 0x00,
		0xe2, 0xba, 0x00, 0x00, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x01, 0x02, 0x11, 0x22, 0x33,
		0x44, 0x55,
	};
	const struct ip_addr vip = VIP, own = OWN;
	uint8_t buf[NEIGH_FRAME_MAX];

	assert_int_equal(neigh_request(mac, &own, &vip, buf), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void nobody_asks_across_families(void **state)
{
	const struct ip_addr vip = VIP, four = ip("192.0.2.1"), none = {0};
	uint8_t buf[NEIGH_FRAME_MAX];

	assert_int_equal(neigh_request(mac, &four, &vip, buf), 0);
	assert_int_equal(neigh_request(mac, &none, &vip, buf), 0);
	assert_int_equal(neigh_request(mac, &none, &none, buf), 0);
	assert_int_equal(neigh_probe(mac, &none, buf), 0);
	assert_int_equal(neigh_announce(mac, &none, false, buf), 0);
}

/* ---- parsing ---------------------------------------------------------------------------------- */

static struct nd_frame advert(bool solicited)
{
	const struct ip_addr vip = VIP, own = OWN;
	struct nd_frame f;

	nd_announce(&f, other_mac, vip.bytes, true);
	if (solicited) {
		f.solicited = true;
		memcpy(f.dst, own.bytes, 16);
		memcpy(f.eth_dst, mac, 6);
	}
	return f;
}

static void frames_survive_the_wire_with_padding(void **state)
{
	const struct nd_frame f = advert(true);
	struct nd_frame got;
	uint8_t buf[ND_FRAME_LEN + 20] = {0};

	assert_int_equal(nd_build(&f, buf, sizeof(buf)), ND_FRAME_LEN);
	assert_int_equal(nd_parse(buf, sizeof(buf), &got), 0);
	assert_memory_equal(&got, &f, sizeof(f));
	assert_int_equal(nd_build(&f, buf, ND_FRAME_LEN - 1), 0);
}

static void every_cut_is_refused(void **state)
{
	const struct nd_frame f = advert(false);
	struct nd_frame got;
	uint8_t buf[ND_FRAME_LEN];

	nd_build(&f, buf, sizeof(buf));
	for (size_t len = 0; len < ND_FRAME_LEN; len++)
		assert_int_equal(nd_parse(buf, len, &got), -EBADMSG);
}

/* The checksum made right again: what is refused is refused for its own sake. */
static void mend_checksum(uint8_t *buf, size_t len)
{
	uint32_t sum = (uint32_t)(len - 54) + 58;

	buf[56] = buf[57] = 0;
	for (size_t i = 22; i + 1 < len; i += 2)
		sum += (uint32_t)buf[i] << 8 | buf[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	buf[56] = (uint8_t)(~sum >> 8);
	buf[57] = (uint8_t)~sum;
}

static const struct mutation {
	const char *why;
	size_t at;
	uint8_t value;
	bool mended; /* its checksum is right */
} mutations[] = {
	{"another Ethernet type", 13, 0xde, true},
	{"version 4", 14, 0x45, true},
	{"not ICMPv6", 20, 17, true},
	{"hop limit 64: it may come from anywhere", 21, 64, true},
	{"an echo reply", 54, 129, true},
	{"code 1", 55, 1, true},
	{"a target that is a group", 62, 0xff, true},
	{"an option of length 0", 79, 0, true},
	{"an option longer than the message", 79, 2, true},
	{"a wrong checksum", 57, 0, false},
	{"solicited, to all nodes", 58, 0x60, true},
};

static void what_is_not_valid_is_refused(void **state)
{
	const struct nd_frame f = advert(false);

	for (size_t i = 0; i < N_ELEMENTS(mutations); i++) {
		const struct mutation *m = &mutations[i];
		struct nd_frame got;
		uint8_t buf[ND_FRAME_LEN];

		nd_build(&f, buf, sizeof(buf));
		buf[m->at] = m->value;
		if (m->mended)
			mend_checksum(buf, sizeof(buf));
		if (nd_parse(buf, sizeof(buf), &got) != -EBADMSG)
			fail_msg("accepted: %s", m->why);
	}
}

static void a_probe_with_a_source_option_is_refused(void **state)
{
	const struct ip_addr vip = VIP;
	struct nd_frame f, got;
	uint8_t buf[ND_FRAME_LEN];

	nd_probe(&f, other_mac, vip.bytes);
	f.has_mac = true;
	assert_int_equal(nd_build(&f, buf, sizeof(buf)), ND_FRAME_LEN);
	assert_int_equal(nd_parse(buf, sizeof(buf), &got), -EBADMSG);
}

/* ---- what a frame claims ---------------------------------------------------------------------- */

static struct neigh_claim claim_of(const struct nd_frame *f)
{
	uint8_t buf[ND_FRAME_LEN];
	struct neigh_claim c;

	assert_int_equal(neigh_parse(buf, nd_build(f, buf, sizeof(buf)), &c), 0);
	return c;
}

static void an_advertisement_claims_its_target(void **state)
{
	const struct nd_frame f = advert(false);
	const struct ip_addr vip = VIP;
	const struct neigh_claim c = claim_of(&f);

	assert_true(ip_addr_equal(&c.address, &vip));
	assert_memory_equal(c.mac, other_mac, 6);
	assert_false(c.answer);
}

static void a_solicited_one_answers_who_asked(void **state)
{
	const struct nd_frame f = advert(true);
	const struct ip_addr own = OWN;
	const struct neigh_claim c = claim_of(&f);

	assert_true(c.answer);
	assert_true(ip_addr_equal(&c.to, &own));
	assert_memory_equal(c.to_mac, mac, 6);
}

/* RFC 4861 section 4.4: in answer to a unicast solicitation it may be left out. */
static void without_its_option_the_frame_s_source_is_meant(void **state)
{
	struct nd_frame f = advert(true);

	f.has_mac = false;
	assert_memory_equal(claim_of(&f).mac, other_mac, 6);
}

static void who_asks_in_the_name_of_an_address_claims_it(void **state)
{
	const struct ip_addr vip = VIP, own = OWN;
	struct nd_frame f;

	nd_request(&f, other_mac, vip.bytes, own.bytes);
	const struct neigh_claim c = claim_of(&f);

	assert_true(ip_addr_equal(&c.address, &vip));
	assert_memory_equal(c.mac, other_mac, 6);
	assert_false(c.answer);
}

static void arp_claims_likewise(void **state)
{
	const struct ip_addr vip = ip("192.0.2.100"), own = ip("192.0.2.11");
	struct neigh_claim c;
	struct arp_frame f;
	uint8_t buf[NEIGH_FRAME_MAX];

	assert_int_equal(neigh_parse(buf, neigh_probe(mac, &vip, buf), &c), -EBADMSG);
	assert_int_equal(neigh_parse(buf, neigh_announce(mac, &vip, true, buf), &c), 0);
	assert_true(ip_addr_equal(&c.address, &vip));
	assert_false(c.answer);
	arp_request(&f, other_mac, vip.v4.s_addr, own.v4.s_addr);
	f.op = ARP_OP_REPLY;
	memcpy(f.tha, mac, 6);
	assert_int_equal(neigh_parse(buf, arp_build(&f, buf, sizeof(buf)), &c), 0);
	assert_true(c.answer);
	assert_true(ip_addr_equal(&c.to, &own));
	assert_memory_equal(c.to_mac, mac, 6);
	assert_memory_equal(c.mac, other_mac, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announcement_goes_to_all_nodes_and_overrides),
		cmocka_unit_test(probe_comes_from_nobody_and_claims_nothing),
		cmocka_unit_test(request_asks_in_our_own_name),
		cmocka_unit_test(nobody_asks_across_families),
		cmocka_unit_test(frames_survive_the_wire_with_padding),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(what_is_not_valid_is_refused),
		cmocka_unit_test(a_probe_with_a_source_option_is_refused),
		cmocka_unit_test(an_advertisement_claims_its_target),
		cmocka_unit_test(a_solicited_one_answers_who_asked),
		cmocka_unit_test(without_its_option_the_frame_s_source_is_meant),
		cmocka_unit_test(who_asks_in_the_name_of_an_address_claims_it),
		cmocka_unit_test(arp_claims_likewise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
