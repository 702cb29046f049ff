/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vrrp_kit.h"

/* Every field of an advert changed, in each version and family, and why it is refused then. */

/* The kernel's work, or an attacker's: the checksum is right again after a change. */
static void mend_checksum(const struct golden *g, uint8_t *message, size_t len)
{
	const struct ip_addr src = ip(g->src), dst = ip(g->dst);
	const bool pseudo = g->version == 3 && g->form == VRRP_CHECKSUM_PSEUDO;
	uint32_t sum = pseudo ? VRRP_PROTOCOL + (uint32_t)len : 0;

	message[6] = message[7] = 0;
	for (size_t i = 0; pseudo && i < ip_addr_len(src.family); i += 2)
		sum += (uint32_t)(src.bytes[i] << 8 | src.bytes[i + 1]) +
		       (uint32_t)(dst.bytes[i] << 8 | dst.bytes[i + 1]);
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(message[i] << 8 | message[i + 1]);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	message[6] = (uint8_t)(~sum >> 8);
	message[7] = (uint8_t)~sum;
}

struct mutation {
	const char *why;
	int golden;
	size_t offset;
	uint8_t value;
	enum vrrp_reject want;
	enum vrrp_reject mended; /* with the checksum made right again */
};

#define R(name) VRRP_REJECT_##name
static const struct mutation mutations[] = {
	/* version 3, IPv4 */
	{"v2", GOLDEN_V3, 0, 0x21, R(VERSION), R(VERSION)},
	{"v4", GOLDEN_V3, 0, 0x41, R(VERSION), R(VERSION)},
	{"type 2", GOLDEN_V3, 0, 0x32, R(TYPE), R(TYPE)},
	{"type 0", GOLDEN_V3, 0, 0x30, R(TYPE), R(TYPE)},
	{"another virtual router", GOLDEN_V3, 1, 52, R(VRID), R(VRID)},
	{"owner", GOLDEN_V3, 2, 255, R(CHECKSUM), R(NONE)},
	{"release", GOLDEN_V3, 2, 0, R(CHECKSUM), R(NONE)},
	{"no address", GOLDEN_V3, 3, 0, R(COUNT), R(COUNT)},
	{"more addresses than there are", GOLDEN_V3, 3, 2, R(LENGTH), R(LENGTH)},
	{"255 addresses", GOLDEN_V3, 3, 255, R(LENGTH), R(LENGTH)},
	{"reserved bits are ignored", GOLDEN_V3, 4, 0xf0, R(CHECKSUM), R(NONE)},
	{"a long interval", GOLDEN_V3, 4, 0x0f, R(CHECKSUM), R(NONE)},
	{"another interval", GOLDEN_V3, 5, 1, R(CHECKSUM), R(NONE)},
	{"interval 0", GOLDEN_V3, 5, 0, R(CHECKSUM), R(INTERVAL)},
	{"checksum, high byte", GOLDEN_V3, 6, 0x4b, R(CHECKSUM), R(NONE)},
	{"checksum, low byte", GOLDEN_V3, 7, 0x9d, R(CHECKSUM), R(NONE)},
	{"another address", GOLDEN_V3, 11, 0x65, R(CHECKSUM), R(NONE)},
	/* version 2 with a password */
	{"v2: version 3", GOLDEN_V2, 0, 0x31, R(VERSION), R(VERSION)},
	{"v2: type 2", GOLDEN_V2, 0, 0x22, R(TYPE), R(TYPE)},
	{"v2: another virtual router", GOLDEN_V2, 1, 1, R(VRID), R(VRID)},
	{"v2: owner", GOLDEN_V2, 2, 255, R(CHECKSUM), R(NONE)},
	{"v2: release", GOLDEN_V2, 2, 0, R(CHECKSUM), R(NONE)},
	{"v2: no address", GOLDEN_V2, 3, 0, R(COUNT), R(COUNT)},
	{"v2: the password is no address", GOLDEN_V2, 3, 2, R(LENGTH), R(LENGTH)},
	{"v2: no authentication", GOLDEN_V2, 4, 0, R(AUTH_TYPE), R(AUTH_TYPE)},
	{"v2: IPsec AH", GOLDEN_V2, 4, 2, R(AUTH_TYPE), R(AUTH_TYPE)},
	{"v2: another interval", GOLDEN_V2, 5, 2, R(CHECKSUM), R(INTERVAL)},
	{"v2: interval 0", GOLDEN_V2, 5, 0, R(CHECKSUM), R(INTERVAL)},
	{"v2: checksum", GOLDEN_V2, 6, 0xce, R(CHECKSUM), R(NONE)},
	{"v2: another address", GOLDEN_V2, 8, 11, R(CHECKSUM), R(NONE)},
	{"v2: another password", GOLDEN_V2, 12, 'S', R(CHECKSUM), R(PASSWORD)},
	{"v2: a shorter password", GOLDEN_V2, 19, 0, R(CHECKSUM), R(PASSWORD)},
	/* IPv6 */
	{"v6: version 2", GOLDEN_V6, 0, 0x21, R(VERSION), R(VERSION)},
	{"v6: type 3", GOLDEN_V6, 0, 0x33, R(TYPE), R(TYPE)},
	{"v6: another virtual router", GOLDEN_V6, 1, 50, R(VRID), R(VRID)},
	{"v6: owner", GOLDEN_V6, 2, 255, R(CHECKSUM), R(NONE)},
	{"v6: no address", GOLDEN_V6, 3, 0, R(COUNT), R(COUNT)},
	{"v6: fewer addresses are followed by a trailer", GOLDEN_V6, 3, 1, R(CHECKSUM), R(NONE)},
	{"v6: more addresses than there are", GOLDEN_V6, 3, 3, R(LENGTH), R(LENGTH)},
	{"v6: interval 0", GOLDEN_V6, 5, 0, R(CHECKSUM), R(INTERVAL)},
	{"v6: checksum", GOLDEN_V6, 7, 0x11, R(CHECKSUM), R(NONE)},
	{"v6: first address in fd80::/10", GOLDEN_V6, 8, 0xfd, R(CHECKSUM), R(LINK_LOCAL)},
	{"v6: first address site-local", GOLDEN_V6, 9, 0xc0, R(CHECKSUM), R(LINK_LOCAL)},
	{"v6: all of fe80::/10 is link-local", GOLDEN_V6, 9, 0xbf, R(CHECKSUM), R(NONE)},
	{"v6: another second address", GOLDEN_V6, 24, 0xfc, R(CHECKSUM), R(NONE)},
};

static void try_mutation(const struct mutation *m, bool mend, enum vrrp_reject want)
{
	const struct golden *g = &goldens[m->golden];
	const struct vrrp_profile profile = profile_of(g);
	const struct ip_addr peers[] = {ip("10.0.0.9"), ip("fe80::9"), ip(g->src)};
	struct vrrp_packet p = {.priority = 77, .count = 77};
	uint8_t message[64];
	const size_t len = unhex(g->hex, message);
	const struct vrrp_datagram d = datagram_of(g, message, len);

	message[m->offset] = m->value;
	if (mend)
		mend_checksum(g, message, len);
	print_message("%s%s\n", m->why, mend ? ", checksum made right" : "");
	assert_int_equal(vrrp_packet_parse(&d, &profile, peers, 3, &p), want);
	if (want != VRRP_REJECT_NONE) {
		assert_int_equal(p.priority, 77); /* untouched */
		assert_int_equal(p.count, 77);
	}
}

static void every_field_changed_is_refused_with_its_reason(void **state)
{
	for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
		try_mutation(&mutations[i], false, mutations[i].want);
		try_mutation(&mutations[i], true, mutations[i].mended);
	}
}

/* No byte of any golden may change without somebody noticing. */
static void no_byte_changes_unseen(void **state)
{
	for (size_t i = 0; i < N_GOLDENS; i++) {
		const struct vrrp_profile profile = profile_of(&goldens[i]);
		uint8_t message[64];
		const size_t len = unhex(goldens[i].hex, message);
		const struct vrrp_datagram d = datagram_of(&goldens[i], message, len);
		struct vrrp_packet p;

		for (size_t k = 0; k < len; k++) {
			message[k] ^= 0x08;
			assert_int_not_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p),
					     VRRP_REJECT_NONE);
			message[k] ^= 0x08;
		}
		assert_int_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p), VRRP_REJECT_NONE);
	}
}

struct carrier_case {
	const char *why;
	int golden;
	const char *src, *dst; /* NULL: as it was */
	int ttl;
	enum vrrp_reject want;
};

static const struct carrier_case carriers[] = {
	{"as it was", GOLDEN_V3, NULL, NULL, 255, R(NONE)},
	{"a router was on the way", GOLDEN_V3, NULL, NULL, 254, R(TTL)},
	{"v2: a router was on the way", GOLDEN_V2, NULL, NULL, 254, R(TTL)},
	{"v6: a router was on the way", GOLDEN_V6, NULL, NULL, 254, R(TTL)},
	{"TTL 64", GOLDEN_V3, NULL, NULL, 64, R(TTL)},
	{"a stranger", GOLDEN_V3, "10.77.0.99", NULL, 255, R(NOT_A_PEER)},
	{"v2: a stranger who knows the password", GOLDEN_V2, "10.99.0.9", NULL, 255, R(NOT_A_PEER)},
	{"v6: a stranger", GOLDEN_V6, "fe80::1", NULL, 255, R(NOT_A_PEER)},
	{"destination is part of the pseudo-header", GOLDEN_V3, NULL, "10.77.0.9", 255, R(CHECKSUM)},
	{"v2 has no pseudo-header", GOLDEN_V2, NULL, "10.99.0.9", 255, R(NONE)},
	{"v6: destination is part of the pseudo-header", GOLDEN_V6, NULL, "ff02::13", 255,
	 R(CHECKSUM)},
};

static void what_carried_it_is_checked(void **state)
{
	for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
		const struct carrier_case *c = &carriers[i];
		const struct golden *g = &goldens[c->golden];
		const struct vrrp_profile profile = profile_of(g);
		const struct ip_addr peer = ip(g->src);
		uint8_t message[64];
		struct vrrp_datagram d = datagram_of(g, message, unhex(g->hex, message));
		struct vrrp_packet p;

		if (c->src != NULL)
			d.src = ip(c->src);
		if (c->dst != NULL)
			d.dst = ip(c->dst);
		d.ttl = c->ttl;
		print_message("%s\n", c->why);
		assert_int_equal(vrrp_packet_parse(&d, &profile, &peer, 1, &p), c->want);
	}
}

/* The length says how much there is, whatever the count says. */
static void every_cut_is_refused(void **state)
{
	for (size_t i = 0; i < N_GOLDENS; i++) {
		const struct vrrp_profile profile = profile_of(&goldens[i]);
		uint8_t message[64];
		const size_t len = unhex(goldens[i].hex, message);
		struct vrrp_packet p;

		for (size_t cut = 0; cut < len; cut++) {
			uint8_t copy[64]; /* exactly `cut` bytes for the sanitizer's eye */
			const struct vrrp_datagram d = datagram_of(&goldens[i], copy, cut);

			memcpy(copy, message, cut);
			assert_int_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p),
					 cut < 8 ? R(SHORT) : R(LENGTH));
		}
	}
}

static void nobody_is_a_peer_of_an_empty_list(void **state)
{
	const struct golden *g = &goldens[GOLDEN_V3];
	const struct vrrp_profile profile = profile_of(g);
	uint8_t message[64];
	const struct vrrp_datagram d = datagram_of(g, message, unhex(g->hex, message));
	struct vrrp_packet p;

	assert_int_equal(vrrp_packet_parse(&d, &profile, NULL, 0, &p), R(NOT_A_PEER));
}

/* Without authentication the last eight bytes are there, and mean nothing. */
static void version_2_without_authentication_ignores_its_data(void **state)
{
	const struct golden *g = &goldens[GOLDEN_V2 - 1];
	const struct vrrp_profile profile = profile_of(g);
	uint8_t message[64];
	const size_t len = unhex(g->hex, message);
	const struct vrrp_datagram d = datagram_of(g, message, len);
	struct vrrp_packet p;

	message[len - 1] = 'x';
	mend_checksum(g, message, len);
	assert_int_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p), R(NONE));
}

/* Version 2 has one form, so the form of IPv4 version 3 that is sent does not matter. */
static void version_2_has_no_pseudo_header(void **state)
{
	const struct golden *g = &goldens[GOLDEN_V2];
	struct vrrp_profile profile = profile_of(g);
	struct golden pseudo = *g;
	uint8_t message[64];
	const size_t len = unhex(g->hex, message);
	const struct vrrp_datagram d = datagram_of(g, message, len);
	struct vrrp_packet p;

	pseudo.version = 3;
	mend_checksum(&pseudo, message, len);
	profile.checksum = VRRP_CHECKSUM_PSEUDO;
	assert_int_equal(vrrp_packet_parse(&d, &profile, &d.src, 1, &p), R(CHECKSUM));
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
		cmocka_unit_test(every_field_changed_is_refused_with_its_reason),
		cmocka_unit_test(no_byte_changes_unseen),
		cmocka_unit_test(what_carried_it_is_checked),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(nobody_is_a_peer_of_an_empty_list),
		cmocka_unit_test(version_2_without_authentication_ignores_its_data),
		cmocka_unit_test(version_2_has_no_pseudo_header),
		cmocka_unit_test(every_reason_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
