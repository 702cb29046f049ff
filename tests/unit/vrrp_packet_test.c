/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_packet.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define VRID          51

/* Captured from keepalived 2.2.7; the RFC 9568 forms are the same packets computed anew. */
struct golden {
	const char *why;
	const char *hex; /* the message */
	const char *src, *dst, *vip;
	uint8_t priority;
	enum vrrp_checksum form;
};

static const struct golden goldens[] = {
	{"v3 multicast, pseudo-header", "31336401006474d90a4d0064", "10.77.0.1", "224.0.0.18",
	 "10.77.0.100", 100, VRRP_CHECKSUM_PSEUDO},
	{"v3 multicast, RFC 9568", "3133640100645fb60a4d0064", "10.77.0.1", "224.0.0.18",
	 "10.77.0.100", 100, VRRP_CHECKSUM_RFC9568},
	{"v3 unicast: the real destination counts", "3133640100644a9c0a4d0064", "10.77.0.1",
	 "10.77.0.3", "10.77.0.100", 100, VRRP_CHECKSUM_PSEUDO},
	{"v3 unicast, other net", "313396010064185b0a630064", "10.99.0.1", "10.99.0.2",
	 "10.99.0.100", 150, VRRP_CHECKSUM_PSEUDO},
	{"the same to the group", "31339601006442ad0a630064", "10.99.0.1", "224.0.0.18",
	 "10.99.0.100", 150, VRRP_CHECKSUM_PSEUDO},
	{"the same without a pseudo-header", "3133960100642da00a630064", "10.99.0.1", "10.99.0.2",
	 "10.99.0.100", 150, VRRP_CHECKSUM_RFC9568},
};

/* VRRPv2 of keepalived: recognised as another version, never half understood. */
static const char *const v2_goldens[] = {
	"21336401000170190a4d00640000000000000000",
	"213396010101cf840a6300647365637265743132",
};

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; hex[0] != '\0'; hex += 2) {
		unsigned byte;

		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static uint32_t ip(const char *text)
{
	return inet_addr(text);
}

/* Put an IP header of 20 bytes before the message that stands at d + 20. */
static size_t wrap(uint8_t *d, size_t message_len, uint32_t src, uint32_t dst)
{
	const size_t total = 20 + message_len;

	memset(d, 0, 20);
	d[0] = 0x45;
	d[1] = 0xc0;
	d[2] = (uint8_t)(total >> 8);
	d[3] = (uint8_t)total;
	d[8] = 255;
	d[9] = VRRP_PROTOCOL;
	memcpy(d + 12, &src, 4);
	memcpy(d + 16, &dst, 4);
	return total;
}

static void golden_vectors_are_accepted(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(goldens); i++) {
		const struct golden *g = &goldens[i];
		const uint32_t peer = ip(g->src);
		struct vrrp_packet p;
		uint8_t d[64];
		const size_t len = wrap(d, unhex(g->hex, d + 20), peer, ip(g->dst));

		print_message("%s\n", g->why);
		assert_int_equal(vrrp_packet_parse(d, len, VRID, &peer, 1, &p), VRRP_REJECT_NONE);
		assert_int_equal(p.vrid, VRID);
		assert_int_equal(p.priority, g->priority);
		assert_int_equal(p.count, 1);
		assert_int_equal(p.interval, MTIME_SEC(1));
		assert_int_equal(p.src, peer);
		assert_int_equal(p.dst, ip(g->dst));
		assert_int_equal(p.addrs[0], ip(g->vip));
	}
}

static void golden_vectors_are_built(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(goldens); i++) {
		const struct golden *g = &goldens[i];
		const struct vrrp_packet p = {.vrid = VRID,
					      .priority = g->priority,
					      .count = 1,
					      .interval = MTIME_SEC(1),
					      .src = ip(g->src),
					      .dst = ip(g->dst),
					      .addrs = {ip(g->vip)}};
		uint8_t want[64], got[64];
		const size_t len = unhex(g->hex, want);

		print_message("%s\n", g->why);
		assert_int_equal(vrrp_packet_build(&p, g->form, got, sizeof(got)), len);
		assert_memory_equal(got, want, len);
	}
}

static void version_2_is_refused_as_such(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(v2_goldens); i++) {
		const uint32_t peer = ip("10.77.0.1");
		struct vrrp_packet p;
		uint8_t d[64];
		const size_t len = wrap(d, unhex(v2_goldens[i], d + 20), peer, ip("224.0.0.18"));

		assert_int_equal(vrrp_packet_parse(d, len, VRID, &peer, 1, &p),
				 VRRP_REJECT_VERSION);
	}
}

struct mutation {
	const char *why;
	size_t offset;
	uint8_t value;
	enum vrrp_reject want;
};

/* One byte of the unicast golden (20 bytes of IP, 12 of VRRP) changed at a time. */
static const struct mutation mutations[] = {
	{"IP version 6", 0, 0x65, VRRP_REJECT_IP},
	{"header of 16 bytes", 0, 0x44, VRRP_REJECT_IP},
	{"header of 60 bytes: longer than the datagram", 0, 0x4f, VRRP_REJECT_IP},
	{"header of 28 bytes: 4 are left", 0, 0x47, VRRP_REJECT_IP},
	{"TOS does not matter", 1, 0x00, VRRP_REJECT_NONE},
	{"total length beyond what came", 3, 33, VRRP_REJECT_IP},
	{"total length far beyond", 2, 0xff, VRRP_REJECT_IP},
	{"total length within the VRRP header", 3, 27, VRRP_REJECT_IP},
	{"total length within the IP header", 3, 8, VRRP_REJECT_IP},
	{"total length without the address", 3, 28, VRRP_REJECT_LENGTH},
	{"total length with half the address", 3, 30, VRRP_REJECT_LENGTH},
	{"identification does not matter", 4, 0x12, VRRP_REJECT_NONE},
	{"do not fragment is fine", 6, 0x40, VRRP_REJECT_NONE},
	{"more fragments", 6, 0x20, VRRP_REJECT_IP},
	{"fragment offset", 7, 1, VRRP_REJECT_IP},
	{"a router was on the way", 8, 254, VRRP_REJECT_TTL},
	{"TTL 64", 8, 64, VRRP_REJECT_TTL},
	{"UDP", 9, 17, VRRP_REJECT_PROTOCOL},
	{"source: a stranger", 15, 99, VRRP_REJECT_NOT_A_PEER},
	{"source: ourselves", 15, 3, VRRP_REJECT_NOT_A_PEER},
	{"destination is part of the pseudo-header", 19, 9, VRRP_REJECT_CHECKSUM},
	{"version 2", 20, 0x21, VRRP_REJECT_VERSION},
	{"version 4", 20, 0x41, VRRP_REJECT_VERSION},
	{"type 2", 20, 0x32, VRRP_REJECT_TYPE},
	{"type 0", 20, 0x30, VRRP_REJECT_TYPE},
	{"another virtual router", 21, 52, VRRP_REJECT_VRID},
	{"priority forged", 22, 255, VRRP_REJECT_CHECKSUM},
	{"priority 0 forged", 22, 0, VRRP_REJECT_CHECKSUM},
	{"no address", 23, 0, VRRP_REJECT_COUNT},
	{"more addresses than there are", 23, 2, VRRP_REJECT_LENGTH},
	{"255 addresses announced", 23, 255, VRRP_REJECT_LENGTH},
	{"reserved bits are under the checksum", 24, 0x10, VRRP_REJECT_CHECKSUM},
	{"interval forged", 24, 0x0f, VRRP_REJECT_CHECKSUM},
	{"interval 0", 25, 0, VRRP_REJECT_INTERVAL},
	{"checksum, high byte", 26, 0x4b, VRRP_REJECT_CHECKSUM},
	{"checksum, low byte", 27, 0x9d, VRRP_REJECT_CHECKSUM},
	{"address forged", 31, 0x65, VRRP_REJECT_CHECKSUM},
};

static size_t unicast_golden(uint8_t *d)
{
	return wrap(d, unhex(goldens[2].hex, d + 20), ip(goldens[2].src), ip(goldens[2].dst));
}

static void every_field_changed_is_refused_with_its_reason(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(mutations); i++) {
		const struct mutation *m = &mutations[i];
		const uint32_t peers[] = {ip("10.77.0.2"), ip("10.77.0.1")};
		struct vrrp_packet p;
		uint8_t d[64];
		const size_t len = unicast_golden(d);

		memset(&p, 0xa5, sizeof(p));
		d[m->offset] = m->value;
		print_message("%s\n", m->why);
		assert_int_equal(vrrp_packet_parse(d, len, VRID, peers, 2, &p), m->want);
		if (m->want != VRRP_REJECT_NONE)
			assert_int_equal(p.vrid, 0xa5); /* untouched */
	}
}

static void reserved_bits_are_ignored_when_the_checksum_covers_them(void **state)
{
	const uint32_t peer = ip("10.77.0.1");
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = unicast_golden(d);

	d[24] = 0xf0;
	d[26] -= 0xf0; /* 0x4a - 0xf0 borrows: one's complement wraps */
	d[27] -= 1;
	assert_int_equal(vrrp_packet_parse(d, len, VRID, &peer, 1, &p), VRRP_REJECT_NONE);
	assert_int_equal(p.interval, MTIME_SEC(1));
}

static void every_cut_is_refused(void **state)
{
	const uint32_t peer = ip("10.77.0.1");
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = unicast_golden(d);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t copy[64]; /* exactly `cut` bytes readable for the sanitizer's eye */

		memcpy(copy, d, cut);
		assert_int_equal(vrrp_packet_parse(copy, cut, VRID, &peer, 1, &p),
				 cut < 28 ? VRRP_REJECT_SHORT : VRRP_REJECT_IP);
	}
}

static void ethernet_padding_is_not_read(void **state)
{
	const uint32_t peer = ip("10.77.0.1");
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = unicast_golden(d);

	memset(d + len, 0xee, 46 - len);
	assert_int_equal(vrrp_packet_parse(d, 46, VRID, &peer, 1, &p), VRRP_REJECT_NONE);
}

static void ip_options_are_skipped(void **state)
{
	const uint32_t peer = ip("10.77.0.1");
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = unicast_golden(d);

	memmove(d + 24, d + 20, len - 20);
	memset(d + 20, 1, 4); /* no operation */
	d[0] = 0x46;
	d[3] = (uint8_t)(len + 4);
	assert_int_equal(vrrp_packet_parse(d, len + 4, VRID, &peer, 1, &p), VRRP_REJECT_NONE);
	assert_int_equal(p.addrs[0], ip("10.77.0.100"));
}

static void nobody_is_a_peer_of_an_empty_list(void **state)
{
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = unicast_golden(d);

	assert_int_equal(vrrp_packet_parse(d, len, VRID, NULL, 0, &p), VRRP_REJECT_NOT_A_PEER);
}

struct interval_case {
	const char *why;
	mtime interval, want; /* want 0: not built */
};

static const struct interval_case intervals[] = {
	{"none", 0, 0},
	{"negative", -1, 0},
	{"below a centisecond", MTIME_MS(9), 0},
	{"the least", MTIME_MS(10), MTIME_MS(10)},
	{"a broken one is rounded up, never down", MTIME_MS(15), MTIME_MS(20)},
	{"100 ms", MTIME_MS(100), MTIME_MS(100)},
	{"4 bits and 8", MTIME_MS(30000), MTIME_MS(30000)},
	{"the greatest", VRRP_INTERVAL_MAX, VRRP_INTERVAL_MAX},
	{"one too many", VRRP_INTERVAL_MAX + 1, 0},
};

static void intervals_survive_the_wire_or_are_not_sent(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(intervals); i++) {
		const struct interval_case *c = &intervals[i];
		struct vrrp_packet p = {.vrid = 7,
					.priority = 254,
					.count = 1,
					.interval = c->interval,
					.src = ip("192.0.2.1"),
					.dst = ip("192.0.2.2"),
					.addrs = {ip("192.0.2.3")}};
		uint8_t d[64];
		const size_t n = vrrp_packet_build(&p, VRRP_CHECKSUM_PSEUDO, d + 20, 44);

		print_message("%s\n", c->why);
		assert_int_equal(n, c->want == 0 ? 0 : 12);
		if (n == 0)
			continue;
		const size_t len = wrap(d, n, p.src, p.dst);
		struct vrrp_packet back;

		assert_int_equal(vrrp_packet_parse(d, len, 7, &p.src, 1, &back), VRRP_REJECT_NONE);
		assert_int_equal(back.interval, c->want);
	}
}

static void all_addresses_survive_the_wire_in_both_forms(void **state)
{
	for (unsigned count = 1; count <= VRRP_ADDRS_MAX; count++) {
		struct vrrp_packet p = {.vrid = 1,
					.priority = 0,
					.count = (uint8_t)count,
					.interval = MTIME_SEC(1),
					.src = ip("192.0.2.1"),
					.dst = ip("192.0.2.2")};
		uint8_t d[20 + VRRP_PACKET_MAX];
		struct vrrp_packet back;

		for (unsigned i = 0; i < count; i++)
			p.addrs[i] = htonl(0xc0000200 + i);
		const size_t n = vrrp_packet_build(&p, (enum vrrp_checksum)(count % 2), d + 20,
						   VRRP_PACKET_MAX);

		assert_int_equal(n, 8 + 4 * count);
		assert_int_equal(
			vrrp_packet_parse(d, wrap(d, n, p.src, p.dst), 1, &p.src, 1, &back),
			VRRP_REJECT_NONE);
		assert_int_equal(back.count, count);
		assert_memory_equal(back.addrs, p.addrs, 4 * count);
	}
}

static void a_message_that_does_not_fit_is_not_built(void **state)
{
	const struct vrrp_packet p = {
		.vrid = 1, .priority = 1, .count = 2, .interval = MTIME_SEC(1)};
	const struct vrrp_packet none = {.vrid = 1, .priority = 1, .interval = MTIME_SEC(1)};
	uint8_t d[16];

	for (size_t size = 0; size < 16; size++)
		assert_int_equal(vrrp_packet_build(&p, VRRP_CHECKSUM_PSEUDO, d, size), 0);
	assert_int_equal(vrrp_packet_build(&p, VRRP_CHECKSUM_PSEUDO, d, 16), 16);
	assert_int_equal(vrrp_packet_build(&none, VRRP_CHECKSUM_PSEUDO, d, 16), 0);
}

static void every_reason_has_a_name(void **state)
{
	for (int r = 0; r < VRRP_REJECTS_END; r++)
		assert_string_not_equal(vrrp_reject_name((enum vrrp_reject)r), "?");
	assert_string_equal(vrrp_reject_name(VRRP_REJECT_CHECKSUM), "checksum");
	assert_string_equal(vrrp_reject_name(VRRP_REJECTS_END), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_vectors_are_accepted),
		cmocka_unit_test(golden_vectors_are_built),
		cmocka_unit_test(version_2_is_refused_as_such),
		cmocka_unit_test(every_field_changed_is_refused_with_its_reason),
		cmocka_unit_test(reserved_bits_are_ignored_when_the_checksum_covers_them),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(ethernet_padding_is_not_read),
		cmocka_unit_test(ip_options_are_skipped),
		cmocka_unit_test(nobody_is_a_peer_of_an_empty_list),
		cmocka_unit_test(intervals_survive_the_wire_or_are_not_sent),
		cmocka_unit_test(all_addresses_survive_the_wire_in_both_forms),
		cmocka_unit_test(a_message_that_does_not_fit_is_not_built),
		cmocka_unit_test(every_reason_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
