/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vrrp_kit.h"

static void golden_vectors_are_accepted(void **state)
{
	for (size_t i = 0; i < N_GOLDENS; i++) {
		const struct golden *g = &goldens[i];
		const struct vrrp_profile profile = profile_of(g);
		uint8_t message[64];
		const size_t len = unhex(g->hex, message);
		const struct vrrp_datagram d = datagram_of(g, message, len);
		struct vrrp_packet p, want = {0};

		print_message("%s\n", g->why);
		assert_int_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p), VRRP_REJECT_NONE);
		assert_int_equal(p.priority, g->priority);
		assert_int_equal(p.interval, MTIME_SEC(1));
		assert_true(ip_addr_equal(&p.src, &d.src));
		assert_true(ip_addr_equal(&p.dst, &d.dst));
		for (size_t k = 0; k < 2 && g->addrs[k] != NULL; k++) {
			const struct ip_addr a = ip(g->addrs[k]);

			vrrp_packet_add(&want, &a);
		}
		assert_int_equal(p.count, want.count);
		assert_memory_equal(p.addrs, want.addrs, want.count * ip_addr_len(profile.family));
	}
}

static void golden_vectors_are_built(void **state)
{
	for (size_t i = 0; i < N_GOLDENS; i++) {
		const struct golden *g = &goldens[i];
		const struct vrrp_profile profile = profile_of(g);
		struct vrrp_packet p = {
			.priority = g->priority, .src = ip(g->src), .dst = ip(g->dst)};
		uint8_t want[64], got[64];
		const size_t len = unhex(g->hex, want);

		print_message("%s\n", g->why);
		for (size_t k = 0; k < 2 && g->addrs[k] != NULL; k++) {
			const struct ip_addr a = ip(g->addrs[k]);

			vrrp_packet_add(&p, &a);
		}
		if (profile.family == AF_INET6)
			memset(want + 6, 0, 2); /* the kernel's */
		assert_int_equal(vrrp_packet_build(&profile, &p, got, sizeof(got)), len);
		assert_memory_equal(got, want, len);
	}
}

/* ---- the IPv4 header ------------------------------------------------------------------------ */

/* Put an IP header of 20 bytes before the first golden. */
static size_t wrap(uint8_t *d)
{
	const struct golden *g = &goldens[GOLDEN_V3];
	const size_t total = 20 + unhex(g->hex, d + 20);
	const struct ip_addr src = ip(g->src), dst = ip(g->dst);

	memset(d, 0, 20);
	d[0] = 0x45;
	d[1] = 0xc0;
	d[3] = (uint8_t)total;
	d[8] = 255;
	d[9] = VRRP_PROTOCOL;
	memcpy(d + 12, src.bytes, 4);
	memcpy(d + 16, dst.bytes, 4);
	return total;
}

struct header_case {
	const char *why;
	size_t offset;
	uint8_t value;
	enum vrrp_reject want;
};

static const struct header_case headers[] = {
	{"IP version 6", 0, 0x65, VRRP_REJECT_IP},
	{"header of 16 bytes", 0, 0x44, VRRP_REJECT_IP},
	{"header of 60 bytes: longer than the datagram", 0, 0x4f, VRRP_REJECT_IP},
	{"header of 28 bytes: 4 are left", 0, 0x47, VRRP_REJECT_IP},
	{"TOS does not matter", 1, 0x00, VRRP_REJECT_NONE},
	{"total length beyond what came", 3, 33, VRRP_REJECT_IP},
	{"total length far beyond", 2, 0xff, VRRP_REJECT_IP},
	{"total length within the VRRP header", 3, 27, VRRP_REJECT_IP},
	{"total length within the IP header", 3, 8, VRRP_REJECT_IP},
	{"identification does not matter", 4, 0x12, VRRP_REJECT_NONE},
	{"do not fragment is fine", 6, 0x40, VRRP_REJECT_NONE},
	{"more fragments", 6, 0x20, VRRP_REJECT_IP},
	{"fragment offset", 7, 1, VRRP_REJECT_IP},
	{"TTL is looked at later", 8, 64, VRRP_REJECT_NONE},
	{"UDP", 9, 17, VRRP_REJECT_PROTOCOL},
};

static void the_ip_header_is_checked(void **state)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		const struct header_case *c = &headers[i];
		struct vrrp_datagram got;
		uint8_t d[64];
		const size_t len = wrap(d);

		d[c->offset] = c->value;
		print_message("%s\n", c->why);
		assert_int_equal(vrrp_packet_unwrap(d, len, &got), c->want);
		if (c->want == VRRP_REJECT_NONE)
			assert_int_equal(got.len, 12);
	}
}

static void every_cut_is_refused(void **state)
{
	struct vrrp_datagram got;
	uint8_t d[64];
	const size_t len = wrap(d);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t copy[64]; /* exactly `cut` bytes readable for the sanitizer's eye */

		memcpy(copy, d, cut);
		assert_int_equal(vrrp_packet_unwrap(copy, cut, &got),
				 cut < 28 ? VRRP_REJECT_SHORT : VRRP_REJECT_IP);
	}
}

static void ethernet_padding_is_not_read(void **state)
{
	struct vrrp_datagram got;
	uint8_t d[64];
	const size_t len = wrap(d);

	memset(d + len, 0xee, 46 - len);
	assert_int_equal(vrrp_packet_unwrap(d, 46, &got), VRRP_REJECT_NONE);
	assert_int_equal(got.len, 12);
}

static void ip_options_are_skipped(void **state)
{
	const struct vrrp_profile profile = profile_of(&goldens[GOLDEN_V3]);
	struct vrrp_datagram got;
	struct vrrp_packet p;
	uint8_t d[64];
	const size_t len = wrap(d);

	memmove(d + 24, d + 20, len - 20);
	memset(d + 20, 1, 4); /* no operation */
	d[0] = 0x46;
	d[3] = (uint8_t)(len + 4);
	assert_int_equal(vrrp_packet_unwrap(d, len + 4, &got), VRRP_REJECT_NONE);
	assert_int_equal(vrrp_packet_parse(&got, &profile, &got.src, 1, &p), VRRP_REJECT_NONE);
	assert_int_equal(p.addrs[3], 100);
}

/* ---- what survives the wire ----------------------------------------------------------------- */

struct interval_case {
	const char *why;
	uint8_t version;
	mtime interval, want; /* want 0: not built */
};

static const struct interval_case intervals[] = {
	{"none", 3, 0, 0},
	{"negative", 3, -1, 0},
	{"below a centisecond", 3, MTIME_MS(9), 0},
	{"the least", 3, MTIME_MS(10), MTIME_MS(10)},
	{"a broken one is rounded up, never down", 3, MTIME_MS(15), MTIME_MS(20)},
	{"100 ms", 3, MTIME_MS(100), MTIME_MS(100)},
	{"4 bits and 8", 3, MTIME_MS(30000), MTIME_MS(30000)},
	{"the greatest", 3, VRRP_INTERVAL_MAX, VRRP_INTERVAL_MAX},
	{"one too many", 3, VRRP_INTERVAL_MAX + 1, 0},
	{"v2 has no part of a second", 2, MTIME_MS(500), 0},
	{"v2 rounds nothing", 2, MTIME_MS(1500), 0},
	{"v2, none", 2, 0, 0},
	{"v2, the least", 2, MTIME_SEC(1), MTIME_SEC(1)},
	{"v2, the greatest", 2, VRRP_INTERVAL_MAX_2, VRRP_INTERVAL_MAX_2},
	{"v2, one too many", 2, VRRP_INTERVAL_MAX_2 + MTIME_SEC(1), 0},
};

static void intervals_survive_the_wire_or_are_not_sent(void **state)
{
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		const struct interval_case *c = &intervals[i];
		const struct vrrp_profile profile = {.version = c->version,
						     .vrid = 7,
						     .family = AF_INET,
						     .interval = c->interval};
		struct vrrp_packet p = {.priority = 254,
					.src = ip("192.0.2.1"),
					.dst = ip("192.0.2.2")},
				   back;
		uint8_t buf[64];
		size_t n;

		print_message("%s\n", c->why);
		vrrp_packet_add(&p, &p.dst);
		n = vrrp_packet_build(&profile, &p, buf, sizeof(buf));
		assert_int_equal(n, c->want == 0 ? 0 : c->version == 2 ? 20 : 12);
		const struct vrrp_datagram d = {
			.src = p.src, .dst = p.dst, .ttl = VRRP_TTL, .message = buf, .len = n};

		if (n == 0)
			continue;
		assert_int_equal(vrrp_packet_parse(&d, &profile, &p.src, 1, &back), VRRP_REJECT_NONE);
		assert_int_equal(back.interval, c->want);
	}
}

static void build_and_parse(const struct vrrp_profile *profile, unsigned count)
{
	const bool six = profile->family == AF_INET6;
	struct vrrp_packet p = {.priority = 0,
				.src = ip(six ? "fe80::1" : "192.0.2.1"),
				.dst = ip(six ? "ff02::12" : "192.0.2.2")},
			   back;
	struct ip_addr a = ip(six ? "fe80::100" : "192.0.2.0");
	uint8_t buf[VRRP_PACKET_MAX];

	for (unsigned i = 0; i < count; i++) {
		a.bytes[ip_addr_len(a.family) - 1] = (uint8_t)i;
		vrrp_packet_add(&p, &a);
	}
	const struct vrrp_datagram d = {.src = p.src,
					.dst = p.dst,
					.ttl = VRRP_TTL,
					.message = buf,
					.len = vrrp_packet_build(profile, &p, buf, sizeof(buf)),
					.verified = six};

	assert_int_equal(d.len, 8 + ip_addr_len(a.family) * count + (profile->version == 2 ? 8 : 0));
	assert_int_equal(vrrp_packet_parse(&d, profile, &p.src, 1, &back), VRRP_REJECT_NONE);
	assert_int_equal(back.count, count);
	assert_memory_equal(back.addrs, p.addrs, ip_addr_len(a.family) * count);
}

static void all_addresses_survive_the_wire_in_every_form(void **state)
{
	struct vrrp_profile v2 = {
		.version = 2, .vrid = 1, .family = AF_INET, .interval = MTIME_SEC(1)};
	struct vrrp_profile v3 = v2, v6 = v2;

	v3.version = v6.version = 3;
	v6.family = AF_INET6;
	for (unsigned count = 1; count <= VRRP_ADDRS_MAX; count++) {
		v2.auth = (enum vrrp_auth)(count % 2);
		v3.checksum = (enum vrrp_checksum)(count % 2);
		build_and_parse(&v2, count);
		build_and_parse(&v3, count);
		build_and_parse(&v6, count);
	}
}

static void a_message_that_does_not_fit_is_not_built(void **state)
{
	const struct golden *const all[] = {&goldens[GOLDEN_V3], &goldens[GOLDEN_V2],
					    &goldens[GOLDEN_V6]};

	for (size_t i = 0; i < 3; i++) {
		const struct vrrp_profile profile = profile_of(all[i]);
		const struct vrrp_packet none = {.priority = 1};
		struct vrrp_packet p = none;
		const struct ip_addr a = ip(all[i]->addrs[0]);
		const size_t want = 8 + ip_addr_len(a.family) + (profile.version == 2 ? 8 : 0);
		uint8_t d[64];

		vrrp_packet_add(&p, &a);
		for (size_t size = 0; size < want; size++)
			assert_int_equal(vrrp_packet_build(&profile, &p, d, size), 0);
		assert_int_equal(vrrp_packet_build(&profile, &p, d, want), want);
		assert_int_equal(vrrp_packet_build(&profile, &none, d, sizeof(d)), 0);
	}
}

static void no_more_than_255_addresses_are_added(void **state)
{
	const struct ip_addr a = ip("192.0.2.1");
	struct vrrp_packet p = {0};

	for (int i = 0; i < 300; i++)
		vrrp_packet_add(&p, &a);
	assert_int_equal(p.count, VRRP_ADDRS_MAX);
}

static void address_lists_are_compared_as_sets(void **state)
{
	const struct ip_addr a = ip("192.0.2.1"), b = ip("192.0.2.2");
	struct vrrp_packet ab = {0}, ba = {0}, aa = {0};

	vrrp_packet_add(&ab, &a);
	vrrp_packet_add(&ab, &b);
	vrrp_packet_add(&ba, &b);
	assert_false(vrrp_packet_same_addresses(&ab, &ba, AF_INET));
	vrrp_packet_add(&ba, &a);
	assert_true(vrrp_packet_same_addresses(&ab, &ba, AF_INET));
	vrrp_packet_add(&aa, &a);
	vrrp_packet_add(&aa, &a);
	assert_false(vrrp_packet_same_addresses(&ab, &aa, AF_INET));
	assert_false(vrrp_packet_same_addresses(&aa, &ab, AF_INET));
}

static void groups_and_the_link_local_address_are_those_of_the_rfc(void **state)
{
	const struct ip_addr four = vrrp_packet_group(AF_INET), six = vrrp_packet_group(AF_INET6);
	const struct ip_addr own = vrrp_packet_link_local(VRID);
	char text[IP_ADDR_TEXT];

	assert_string_equal(ip_addr_text(&four, text), "224.0.0.18");
	assert_string_equal(ip_addr_text(&six, text), "ff02::12");
	assert_string_equal(ip_addr_text(&own, text), "fe80::200:5eff:fe00:233");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_vectors_are_accepted),
		cmocka_unit_test(golden_vectors_are_built),
		cmocka_unit_test(the_ip_header_is_checked),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(ethernet_padding_is_not_read),
		cmocka_unit_test(ip_options_are_skipped),
		cmocka_unit_test(intervals_survive_the_wire_or_are_not_sent),
		cmocka_unit_test(all_addresses_survive_the_wire_in_every_form),
		cmocka_unit_test(a_message_that_does_not_fit_is_not_built),
		cmocka_unit_test(no_more_than_255_addresses_are_added),
		cmocka_unit_test(address_lists_are_compared_as_sets),
		cmocka_unit_test(groups_and_the_link_local_address_are_those_of_the_rfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
