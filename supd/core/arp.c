/* SPDX-License-Identifier: MIT */
#include "supd/core/arp.h"

#include <errno.h>
#include <string.h>

#include "common/wire.h"

/*
 * ARP over Ethernet (RFC 826), the three frames that supd sends and every one that it may get.
 *
 *     dst 6 | src 6 | 0x0806 | 1 | 0x0800 | 6 | 4 | op 2 | SHA 6 | SPA 4 | THA 6 | TPA 4
 *
 *   announcement  broadcast request, SPA = TPA = the virtual address, THA 0.  Of the four forms in
 *                 use (request or reply, THA 0 or ones) this one updates a Linux neighbour's entry
 *                 at any age; a reply with THA ff:ff:ff:ff:ff:ff is ignored while the entry is
 *                 younger than a second, which is just when an address has moved.
 *   probe         broadcast request, SPA 0 (RFC 5227 section 2.1.1): asks who has an address
 *                 without claiming it; nobody's table changes.
 *   request       broadcast request from an own address: the answer proves that the target lives
 *                 and that frames pass both ways.
 *
 * Frames may be longer than 42 bytes: Ethernet pads to 60.
 */

#define ETHERTYPE_ARP_WIRE 0x0806
#define HTYPE_ETHERNET     1
#define PTYPE_IPV4         0x0800

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

size_t arp_build(const struct arp_frame *f, uint8_t *buf, size_t size)
{
	struct wire_out w;

	wire_out_init(&w, buf, size);
	wire_put(&w, f->eth_dst, 6);
	wire_put(&w, f->eth_src, 6);
	wire_put16(&w, ETHERTYPE_ARP_WIRE);
	wire_put16(&w, HTYPE_ETHERNET);
	wire_put16(&w, PTYPE_IPV4);
	wire_put8(&w, 6);
	wire_put8(&w, 4);
	wire_put16(&w, f->op);
	wire_put(&w, f->sha, 6);
	wire_put(&w, &f->spa, 4);
	wire_put(&w, f->tha, 6);
	wire_put(&w, &f->tpa, 4);
	return w.failed ? 0 : wire_out_len(&w);
}

int arp_parse(const uint8_t *buf, size_t len, struct arp_frame *ret)
{
	struct arp_frame f;
	struct wire_in r;

	wire_in_init(&r, buf, len);
	wire_get(&r, f.eth_dst, 6);
	wire_get(&r, f.eth_src, 6);
	if (wire_get16(&r) != ETHERTYPE_ARP_WIRE || wire_get16(&r) != HTYPE_ETHERNET ||
	    wire_get16(&r) != PTYPE_IPV4 || wire_get8(&r) != 6 || wire_get8(&r) != 4)
		return -EBADMSG;
	f.op = wire_get16(&r);
	wire_get(&r, f.sha, 6);
	wire_get(&r, &f.spa, 4);
	wire_get(&r, f.tha, 6);
	wire_get(&r, &f.tpa, 4);
	if (r.failed)
		return -EBADMSG;
	*ret = f;
	return 0;
}

static void make_request(struct arp_frame *ret, const uint8_t mac[6], uint32_t spa, uint32_t tpa)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->eth_dst, broadcast, 6);
	memcpy(ret->eth_src, mac, 6);
	memcpy(ret->sha, mac, 6);
	ret->op = ARP_OP_REQUEST;
	ret->spa = spa;
	ret->tpa = tpa;
}

void arp_announce(struct arp_frame *ret, const uint8_t mac[6], uint32_t address)
{
	make_request(ret, mac, address, address);
}

void arp_probe(struct arp_frame *ret, const uint8_t mac[6], uint32_t address)
{
	make_request(ret, mac, 0, address);
}

void arp_request(struct arp_frame *ret, const uint8_t mac[6], uint32_t own, uint32_t address)
{
	make_request(ret, mac, own, address);
}
