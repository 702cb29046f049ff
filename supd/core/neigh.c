/* SPDX-License-Identifier: MIT */
#include "supd/core/neigh.h"

#include <errno.h>

#include "supd/core/arp.h"
#include "supd/core/nd.h"

/*
 * What claims an address:
 *
 *   ARP  request or reply with a sender address: it is at the sender's hardware address
 *   ND   advertisement: the target is at the option's address, else at the frame's source
 *        solicitation with a source: the source is there, likewise
 *
 * A probe (ARP sender 0.0.0.0, ND source ::) asks and claims nothing.
 */

size_t neigh_announce(const uint8_t mac[6], const struct ip_addr *address, bool router,
		      uint8_t buf[NEIGH_FRAME_MAX])
{
	struct arp_frame arp;
	struct nd_frame nd;

	if (address->family == AF_INET) {
		arp_announce(&arp, mac, address->v4.s_addr);
		return arp_build(&arp, buf, NEIGH_FRAME_MAX);
	}
	if (address->family != AF_INET6)
		return 0;
	nd_announce(&nd, mac, address->bytes, router);
	return nd_build(&nd, buf, NEIGH_FRAME_MAX);
}

size_t neigh_probe(const uint8_t mac[6], const struct ip_addr *address,
		   uint8_t buf[NEIGH_FRAME_MAX])
{
	struct arp_frame arp;
	struct nd_frame nd;

	if (address->family == AF_INET) {
		arp_probe(&arp, mac, address->v4.s_addr);
		return arp_build(&arp, buf, NEIGH_FRAME_MAX);
	}
	if (address->family != AF_INET6)
		return 0;
	nd_probe(&nd, mac, address->bytes);
	return nd_build(&nd, buf, NEIGH_FRAME_MAX);
}

size_t neigh_request(const uint8_t mac[6], const struct ip_addr *own,
		     const struct ip_addr *address, uint8_t buf[NEIGH_FRAME_MAX])
{
	struct arp_frame arp;
	struct nd_frame nd;

	if (own->family != address->family)
		return 0;
	if (address->family == AF_INET) {
		arp_request(&arp, mac, own->v4.s_addr, address->v4.s_addr);
		return arp_build(&arp, buf, NEIGH_FRAME_MAX);
	}
	if (address->family != AF_INET6)
		return 0;
	nd_request(&nd, mac, own->bytes, address->bytes);
	return nd_build(&nd, buf, NEIGH_FRAME_MAX);
}

static struct ip_addr six(const uint8_t bytes[16])
{
	struct in6_addr a;

	memcpy(&a, bytes, sizeof(a));
	return ip_addr_v6(&a);
}

static int claim_of_arp(const struct arp_frame *f, struct neigh_claim *ret)
{
	struct neigh_claim c = {.answer = f->op == ARP_OP_REPLY};

	if (f->spa == 0)
		return -EBADMSG;
	c.address = ip_addr_v4(f->spa);
	memcpy(c.mac, f->sha, 6);
	c.to = ip_addr_v4(f->tpa);
	memcpy(c.to_mac, f->tha, 6);
	*ret = c;
	return 0;
}

static int claim_of_nd(const struct nd_frame *f, struct neigh_claim *ret)
{
	const struct in6_addr none = IN6ADDR_ANY_INIT;
	struct neigh_claim c = {.answer = f->type == ND_ADVERT && f->solicited};

	if (f->type == ND_SOLICIT && memcmp(f->src, &none, 16) == 0)
		return -EBADMSG;
	c.address = six(f->type == ND_ADVERT ? f->target : f->src);
	memcpy(c.mac, f->has_mac ? f->mac : f->eth_src, 6);
	c.to = six(f->dst);
	memcpy(c.to_mac, f->eth_dst, 6);
	*ret = c;
	return 0;
}

int neigh_parse(const uint8_t *buf, size_t len, struct neigh_claim *ret)
{
	struct arp_frame arp;
	struct nd_frame nd;

	if (arp_parse(buf, len, &arp) == 0)
		return claim_of_arp(&arp, ret);
	if (nd_parse(buf, len, &nd) == 0)
		return claim_of_nd(&nd, ret);
	return -EBADMSG;
}
