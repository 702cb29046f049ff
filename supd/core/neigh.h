/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_NEIGH_H
#define SUPD_CORE_NEIGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ip_addr.h"

/*
 * Who has which address on this link: ARP (arp.h) and neighbour discovery (nd.h) behind one face.
 * The builders return the frame's length, or 0: no such frame (an address without a family).
 */
#define NEIGH_FRAME_MAX 86

/* That `address` is at `mac`, in the form that updates fresh and old entries. */
size_t neigh_announce(const uint8_t mac[6], const struct ip_addr *address, bool router,
		      uint8_t buf[NEIGH_FRAME_MAX]);
/* Who has `address`?  Claims nothing, changes nobody's table. */
size_t neigh_probe(const uint8_t mac[6], const struct ip_addr *address,
		   uint8_t buf[NEIGH_FRAME_MAX]);
/* Who has `address`?  The answer comes to `own`, of the same family (0 where it is not). */
size_t neigh_request(const uint8_t mac[6], const struct ip_addr *own,
		     const struct ip_addr *address, uint8_t buf[NEIGH_FRAME_MAX]);

/* What a received frame says: `address` is at `mac`. */
struct neigh_claim {
	struct ip_addr address;
	uint8_t mac[6];
	/* It answers a request that `to` at `to_mac` has sent: both ways work. */
	bool answer;
	struct ip_addr to;
	uint8_t to_mac[6];
};

/* 0, or -EBADMSG: neither ARP nor ND, not valid, or it claims nothing. */
int neigh_parse(const uint8_t *buf, size_t len, struct neigh_claim *ret);

#endif
