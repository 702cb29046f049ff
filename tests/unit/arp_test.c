/* SPDX-License-Identifier: MIT */
#include "supd/core/arp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

static void announcement_has_the_form_that_updates_every_entry(void **state)
{
	static const uint8_t want[ARP_FRAME_LEN] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44,
		0x55, 0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6,    4,    0,    1, /* a request */
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 192,  0,    2,    100,     /* SHA, SPA */
		0,    0,    0,    0,    0,    0,    192,  0,    2,    100, /* THA 0, TPA = SPA */
	};
	struct arp_frame f;
	uint8_t buf[ARP_FRAME_LEN];

	arp_announce(&f, mac, inet_addr("192.0.2.100"));
	assert_int_equal(arp_build(&f, buf, sizeof(buf)), ARP_FRAME_LEN);
	assert_memory_equal(buf, want, sizeof(want));
}

static void probe_claims_nothing(void **state)
{
	static const uint8_t zero[6];
	struct arp_frame f;

	arp_probe(&f, mac, inet_addr("192.0.2.100"));
	assert_int_equal(f.op, ARP_OP_REQUEST);
	assert_int_equal(f.spa, 0);
	assert_int_equal(f.tpa, inet_addr("192.0.2.100"));
	assert_memory_equal(f.tha, zero, 6);
	assert_memory_equal(f.sha, mac, 6);
}

static void request_asks_in_our_own_name(void **state)
{
	struct arp_frame f;

	arp_request(&f, mac, inet_addr("192.0.2.11"), inet_addr("192.0.2.1"));
	assert_int_equal(f.spa, inet_addr("192.0.2.11"));
	assert_int_equal(f.tpa, inet_addr("192.0.2.1"));
	assert_int_equal(f.eth_dst[0], 0xff);
}

static void frames_survive_the_wire_with_padding(void **state)
{
	const struct arp_frame f = {.eth_dst = {1, 2, 3, 4, 5, 6},
				    .eth_src = {7, 8, 9, 10, 11, 12},
				    .op = ARP_OP_REPLY,
				    .sha = {13, 14, 15, 16, 17, 18},
				    .tha = {19, 20, 21, 22, 23, 24},
				    .spa = 0x01020304,
				    .tpa = 0x05060708};
	struct arp_frame back;
	uint8_t buf[60] = {0}, again[60] = {0};

	assert_int_equal(arp_build(&f, buf, sizeof(buf)), ARP_FRAME_LEN);
	assert_int_equal(arp_parse(buf, sizeof(buf), &back), 0);
	assert_int_equal(back.op, ARP_OP_REPLY);
	assert_int_equal(back.spa, f.spa);
	assert_int_equal(back.tpa, f.tpa);
	assert_memory_equal(back.tha, f.tha, 6);
	assert_int_equal(arp_build(&back, again, sizeof(again)), ARP_FRAME_LEN);
	assert_memory_equal(again, buf, sizeof(buf));
}

struct mutation {
	const char *why;
	size_t offset;
	uint8_t value;
};

static const struct mutation mutations[] = {
	{"ethertype high", 12, 0x86},     {"ethertype low: IPv4", 13, 0x00},
	{"hardware type high", 14, 1},    {"hardware type: IEEE 802", 15, 6},
	{"protocol type high", 16, 0x86}, {"protocol type low", 17, 1},
	{"hardware length", 18, 8},       {"protocol length", 19, 16},
};

static void what_is_not_ethernet_ipv4_arp_is_refused(void **state)
{
	struct arp_frame f, back;
	uint8_t buf[ARP_FRAME_LEN];

	arp_probe(&f, mac, 1);
	for (size_t i = 0; i < N_ELEMENTS(mutations); i++) {
		assert_int_equal(arp_build(&f, buf, sizeof(buf)), ARP_FRAME_LEN);
		buf[mutations[i].offset] = mutations[i].value;
		memset(&back, 0xa5, sizeof(back));
		print_message("%s\n", mutations[i].why);
		assert_int_equal(arp_parse(buf, sizeof(buf), &back), -EBADMSG);
		assert_int_equal(back.op, 0xa5a5); /* untouched */
	}
}

static void every_cut_is_refused(void **state)
{
	struct arp_frame f, back;
	uint8_t buf[ARP_FRAME_LEN];

	arp_probe(&f, mac, 1);
	assert_int_equal(arp_build(&f, buf, sizeof(buf)), ARP_FRAME_LEN);
	for (size_t cut = 0; cut < ARP_FRAME_LEN; cut++) {
		assert_int_equal(arp_parse(buf, cut, &back), -EBADMSG);
		assert_int_equal(arp_build(&f, buf, cut), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announcement_has_the_form_that_updates_every_entry),
		cmocka_unit_test(probe_claims_nothing),
		cmocka_unit_test(request_asks_in_our_own_name),
		cmocka_unit_test(frames_survive_the_wire_with_padding),
		cmocka_unit_test(what_is_not_ethernet_ipv4_arp_is_refused),
		cmocka_unit_test(every_cut_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
