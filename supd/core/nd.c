/* SPDX-License-Identifier: MIT */
#include "supd/core/nd.h"

#include <errno.h>
#include <string.h>

#include "common/wire.h"

/*
 *     dst 6 | src 6 | 0x86dd | IPv6 header 40 | type, code, checksum, flags 4 | target 16 | option 8
 *
 *   announcement  advertisement from the address to ff02::1, Override set, Solicited clear (with S
 *                 and a multicast destination it is dropped), target link-layer option.  Without
 *                 Override a neighbour keeps the entry that it has.
 *   probe         solicitation from :: to the solicited-node group: who has the address answers to
 *                 all nodes, and nobody's table changes.
 *   request       solicitation from an own address: the answer is sent to it, with Solicited set.
 *
 * Valid is what RFC 4861 section 7.1 calls so: hop limit 255 (nobody off the link can have sent
 * it), checksum, code 0, no option of length 0, target no multicast address, no Solicited with a
 * multicast destination, no source option in what comes from ::.  Extension headers are not looked
 * behind: Linux and routers send none.
 */

#define ETHERTYPE_IPV6_WIRE 0x86dd
#define IPV6_HEADER	    40
#define IPV6_VERSION	    0x60000000u
#define NEXT_ICMPV6	    58
#define HOP_LIMIT	    255
#define FIXED		    24 /* of the message, in front of its options */
#define OPTION_SOURCE	    1
#define OPTION_TARGET	    2
#define FLAG_ROUTER	    0x80000000u
#define FLAG_SOLICITED	    0x40000000u
#define FLAG_OVERRIDE	    0x20000000u

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

static bool is_unspecified(const uint8_t address[16])
{
	static const uint8_t none[16];

	return memcmp(address, none, sizeof(none)) == 0;
}

/* ---- checksum ----------------------------------------------------------------------------------- */

static uint32_t add(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	if (len % 2 != 0)
		sum += (uint32_t)data[len - 1] << 8;
	return sum;
}

/* Over the message and the pseudo-header (RFC 8200 section 8.1): 0 where a right one is in it. */
static uint16_t checksum(const uint8_t src[16], const uint8_t dst[16], const uint8_t *message,
			 size_t len)
{
	uint32_t sum = add(0, src, 16);

	sum = add(sum, dst, 16);
	sum += (uint32_t)len + NEXT_ICMPV6;
	sum = add(sum, message, len);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* ---- building ----------------------------------------------------------------------------------- */

static uint32_t flags_of(const struct nd_frame *f)
{
	return (f->router ? FLAG_ROUTER : 0) | (f->solicited ? FLAG_SOLICITED : 0) |
	       (f->override ? FLAG_OVERRIDE : 0);
}

size_t nd_build(const struct nd_frame *f, uint8_t *buf, size_t size)
{
	const uint16_t len = FIXED + (f->has_mac ? 8 : 0);
	struct wire_out w;
	uint8_t *message;
	uint16_t sum;

	wire_out_init(&w, buf, size);
	wire_put(&w, f->eth_dst, 6);
	wire_put(&w, f->eth_src, 6);
	wire_put16(&w, ETHERTYPE_IPV6_WIRE);
	wire_put32(&w, IPV6_VERSION);
	wire_put16(&w, len);
	wire_put8(&w, NEXT_ICMPV6);
	wire_put8(&w, HOP_LIMIT);
	wire_put(&w, f->src, 16);
	wire_put(&w, f->dst, 16);
	message = w.at;
	wire_put8(&w, f->type);
	wire_put8(&w, 0);
	wire_put16(&w, 0);
	wire_put32(&w, f->type == ND_ADVERT ? flags_of(f) : 0);
	wire_put(&w, f->target, 16);
	if (f->has_mac) {
		wire_put8(&w, f->type == ND_ADVERT ? OPTION_TARGET : OPTION_SOURCE);
		wire_put8(&w, 1);
		wire_put(&w, f->mac, 6);
	}
	if (w.failed)
		return 0;
	sum = checksum(f->src, f->dst, message, len);
	message[2] = (uint8_t)(sum >> 8);
	message[3] = (uint8_t)sum;
	return wire_out_len(&w);
}

/* The group of all that may have this address (RFC 4291 section 2.7.1), and its Ethernet one. */
static void to_solicited_node(struct nd_frame *f, const uint8_t address[16])
{
	static const uint8_t group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff};

	memcpy(f->dst, group, 13);
	memcpy(f->dst + 13, address + 13, 3);
	f->eth_dst[0] = f->eth_dst[1] = 0x33;
	memcpy(f->eth_dst + 2, f->dst + 12, 4);
}

void nd_announce(struct nd_frame *ret, const uint8_t mac[6], const uint8_t address[16],
		 bool router)
{
	static const uint8_t eth_all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->eth_dst, eth_all_nodes, 6);
	memcpy(ret->eth_src, mac, 6);
	memcpy(ret->src, address, 16);
	memcpy(ret->dst, all_nodes, 16);
	ret->type = ND_ADVERT;
	ret->router = router;
	ret->override = true;
	memcpy(ret->target, address, 16);
	ret->has_mac = true;
	memcpy(ret->mac, mac, 6);
}

void nd_probe(struct nd_frame *ret, const uint8_t mac[6], const uint8_t address[16])
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->eth_src, mac, 6);
	to_solicited_node(ret, address);
	ret->type = ND_SOLICIT;
	memcpy(ret->target, address, 16);
}

void nd_request(struct nd_frame *ret, const uint8_t mac[6], const uint8_t own[16],
		const uint8_t address[16])
{
	nd_probe(ret, mac, address);
	memcpy(ret->src, own, 16);
	ret->has_mac = true;
	memcpy(ret->mac, mac, 6);
}

/* ---- parsing ------------------------------------------------------------------------------------ */

/* The options: 0, or -EBADMSG.  The first address of the kind that belongs to the message counts. */
static int parse_options(struct wire_in *r, struct nd_frame *f)
{
	const uint8_t wanted = f->type == ND_ADVERT ? OPTION_TARGET : OPTION_SOURCE;

	while (wire_in_left(r) > 0) {
		const uint8_t kind = wire_get8(r);
		const size_t rest = (size_t)wire_get8(r) * 8;
		const uint8_t *value = r->at;

		if (r->failed || rest == 0 || wire_in_left(r) < rest - 2)
			return -EBADMSG;
		r->at += rest - 2;
		if (kind != wanted || f->has_mac)
			continue;
		memcpy(f->mac, value, 6);
		f->has_mac = true;
	}
	return 0;
}

static bool is_valid(const struct nd_frame *f)
{
	if (f->target[0] == 0xff)
		return false;
	if (f->type == ND_ADVERT)
		return !(f->solicited && f->dst[0] == 0xff);
	return !is_unspecified(f->src) || (f->dst[0] == 0xff && !f->has_mac);
}

/* Type to options; r is at the message. */
static int parse_message(struct wire_in *r, struct nd_frame *f)
{
	uint8_t code;
	uint32_t flags;

	if (checksum(f->src, f->dst, r->at, wire_in_left(r)) != 0)
		return -EBADMSG;
	f->type = wire_get8(r);
	code = wire_get8(r);
	(void)wire_get16(r); /* checked above */
	flags = wire_get32(r);
	wire_get(r, f->target, 16);
	if (r->failed || code != 0 || (f->type != ND_SOLICIT && f->type != ND_ADVERT))
		return -EBADMSG;
	if (f->type == ND_ADVERT) {
		f->router = (flags & FLAG_ROUTER) != 0;
		f->solicited = (flags & FLAG_SOLICITED) != 0;
		f->override = (flags & FLAG_OVERRIDE) != 0;
	}
	if (parse_options(r, f) < 0 || !is_valid(f))
		return -EBADMSG;
	return 0;
}

int nd_parse(const uint8_t *buf, size_t len, struct nd_frame *ret)
{
	struct nd_frame f = {0};
	struct wire_in r;
	uint16_t payload;

	wire_in_init(&r, buf, len);
	wire_get(&r, f.eth_dst, 6);
	wire_get(&r, f.eth_src, 6);
	if (wire_get16(&r) != ETHERTYPE_IPV6_WIRE || wire_get32(&r) >> 28 != 6)
		return -EBADMSG;
	payload = wire_get16(&r);
	if (wire_get8(&r) != NEXT_ICMPV6 || wire_get8(&r) != HOP_LIMIT)
		return -EBADMSG;
	wire_get(&r, f.src, 16);
	wire_get(&r, f.dst, 16);
	if (r.failed || payload < FIXED || wire_in_left(&r) < payload)
		return -EBADMSG;
	r.end = r.at + payload; /* Ethernet may pad */
	if (parse_message(&r, &f) < 0)
		return -EBADMSG;
	*ret = f;
	return 0;
}
