/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_VRRP_KIT_H
#define TESTS_UNIT_VRRP_KIT_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "supd/core/vrrp_packet.h"

/*
 * Adverts of a foreign hand.  Captured from keepalived 2.2.7; the RFC 9568 forms are the same
 * packets computed anew.
 */
#define VRID 51

struct golden {
	const char *why;
	const char *hex; /* the message */
	uint8_t version, priority;
	const char *src, *dst;
	const char *addrs[2]; /* NULL: no more */
	enum vrrp_checksum form;
	const char *password; /* NULL: no authentication */
};

static const struct golden goldens[] = {
	{"v3 unicast: the real destination counts", "3133640100644a9c0a4d0064", 3, 100, "10.77.0.1",
	 "10.77.0.3", {"10.77.0.100"}, VRRP_CHECKSUM_PSEUDO, NULL},
	{"v3 multicast, pseudo-header", "31336401006474d90a4d0064", 3, 100, "10.77.0.1",
	 "224.0.0.18", {"10.77.0.100"}, VRRP_CHECKSUM_PSEUDO, NULL},
	{"v3 multicast, RFC 9568", "3133640100645fb60a4d0064", 3, 100, "10.77.0.1", "224.0.0.18",
	 {"10.77.0.100"}, VRRP_CHECKSUM_RFC9568, NULL},
	{"v3 unicast, other net", "313396010064185b0a630064", 3, 150, "10.99.0.1", "10.99.0.2",
	 {"10.99.0.100"}, VRRP_CHECKSUM_PSEUDO, NULL},
	{"the same to the group", "31339601006442ad0a630064", 3, 150, "10.99.0.1", "224.0.0.18",
	 {"10.99.0.100"}, VRRP_CHECKSUM_PSEUDO, NULL},
	{"the same without a pseudo-header", "3133960100642da00a630064", 3, 150, "10.99.0.1",
	 "10.99.0.2", {"10.99.0.100"}, VRRP_CHECKSUM_RFC9568, NULL},
	{"v2 multicast", "21336401000170190a4d00640000000000000000", 2, 100, "10.77.0.1",
	 "224.0.0.18", {"10.77.0.100"}, VRRP_CHECKSUM_PSEUDO, NULL},
	{"v2 unicast with a password", "213396010101cf840a6300647365637265743132", 2, 150,
	 "10.99.0.1", "10.99.0.2", {"10.99.0.100"}, VRRP_CHECKSUM_PSEUDO, "secret12"},
	{"v3 IPv6 multicast",
	 "313364020064af10fe800000000000000000000000000051fd770000000000000000000000000100", 3, 100,
	 "fe80::8871:17ff:fe07:2165", "ff02::12", {"fe80::51", "fd77::100"}, VRRP_CHECKSUM_PSEUDO,
	 NULL},
};
enum { GOLDEN_V3 = 0, GOLDEN_V2 = 7, GOLDEN_V6 = 8, N_GOLDENS = 9 };

static inline size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; hex[0] != '\0'; hex += 2) {
		unsigned byte = 0;

		sscanf(hex, "%2x", &byte);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static inline struct ip_addr ip(const char *text)
{
	struct ip_addr a = {0};
	const int r = ip_addr_parse(text, &a);

	assert(r == 0);
	(void)r;
	return a;
}

static inline struct vrrp_profile profile_of(const struct golden *g)
{
	struct vrrp_profile p = {.version = g->version,
				 .vrid = VRID,
				 .family = ip(g->src).family,
				 .interval = MTIME_SEC(1),
				 .checksum = g->form,
				 .auth = g->password != NULL ? VRRP_AUTH_PASS : VRRP_AUTH_NONE};

	if (g->password != NULL)
		memcpy(p.password, g->password, strlen(g->password));
	return p;
}

/* What carried it, as if it had come well. */
static inline struct vrrp_datagram datagram_of(const struct golden *g, const uint8_t *message,
					       size_t len)
{
	return (struct vrrp_datagram){.src = ip(g->src),
				      .dst = ip(g->dst),
				      .ttl = VRRP_TTL,
				      .message = message,
				      .len = len};
}

#endif
