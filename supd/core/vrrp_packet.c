/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_packet.h"

#include <string.h>

#include "common/wire.h"

/*
 * VRRPv3 advertisements for IPv4: the bytes, and who may have sent them.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+---------------+---------------+
 *     |  v 3  | type 1|     VRID      |   priority    |     count     |
 *     +-------+-------+-------+-------+---------------+---------------+
 *     | rsvd  | interval, centiseconds|           checksum            |
 *     +-------+-----------------------+-------------------------------+
 *     |                     count IPv4 addresses                      |
 *
 * RFC 9568 section 5.2 (fields), section 7.1 (what a receiver must check), with the errata 8299
 * (count 0 is dropped) and 8301 (interval 0 is dropped).
 *
 * Two checksums are in use for IPv4 and are not compatible: RFC 5798 reads as if the pseudo-header
 * were part of it, and keepalived does it that way; RFC 9568 section 5.2.8 says that it is not.
 * Both are accepted: the checksum finds damage, it does not keep anybody out.  What keeps others
 * out here is the list of peers, and between peer-linked nodes the HMAC of the peer link.
 *
 * Order of the checks: what can be said without trusting a later field comes first, and a packet
 * that is not from a peer is refused before its content is looked at, so that the counters name
 * the cause and not a consequence.
 *
 * Invariants: no byte beyond the datagram is read, whatever it says about itself; *ret is written
 * only for a packet that passed every check.
 */

#define IP_HEADER_MIN    20
#define VRRP_HEADER_LEN  8
#define VRRP_VERSION     3
#define VRRP_TYPE        1 /* ADVERTISEMENT, the only one */
#define CENTISECOND      MTIME_MS(10)
#define CENTISECONDS_MAX 4095

const char *vrrp_reject_name(enum vrrp_reject r)
{
	static const char *const names[] = {
#define X(name, text) [VRRP_REJECT_##name] = text,
		VRRP_REJECTS(X)
#undef X
	};

	return r < VRRP_REJECTS_END ? names[r] : "?";
}

/* One's complement sum of RFC 1071, not folded, so that several ranges add up. */
static uint32_t sum_bytes(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (len % 2 != 0)
		sum += (uint32_t)p[len - 1] << 8;
	return sum;
}

static uint32_t sum_pseudo_header(uint32_t src, uint32_t dst, size_t len)
{
	uint8_t both[8];

	memcpy(both, &src, 4);
	memcpy(both + 4, &dst, 4);
	return sum_bytes(both, sizeof(both)) + VRRP_PROTOCOL + (uint32_t)len;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* What the IP header says, as far as it concerns us. */
struct ip_view {
	uint32_t src, dst;
	uint8_t ttl, protocol;
	const uint8_t *payload;
	size_t payload_len;
};

/* The kernel has verified the header's checksum and put fragments together. */
static enum vrrp_reject view_ip(const uint8_t *d, size_t len, struct ip_view *ret)
{
	if (len < IP_HEADER_MIN + VRRP_HEADER_LEN)
		return VRRP_REJECT_SHORT;

	const size_t header = (size_t)(d[0] & 0x0f) * 4;
	const size_t total = (size_t)d[2] << 8 | d[3];
	const unsigned fragment = ((unsigned)d[6] << 8 | d[7]) & 0x3fff;

	if (d[0] >> 4 != 4 || header < IP_HEADER_MIN || total > len || fragment != 0 ||
	    total < header + VRRP_HEADER_LEN)
		return VRRP_REJECT_IP;
	ret->ttl = d[8];
	ret->protocol = d[9];
	memcpy(&ret->src, d + 12, 4);
	memcpy(&ret->dst, d + 16, 4);
	ret->payload = d + header;
	ret->payload_len = total - header;
	return VRRP_REJECT_NONE;
}

static bool is_peer(uint32_t src, const uint32_t *peers, size_t n_peers)
{
	for (size_t i = 0; i < n_peers; i++)
		if (peers[i] == src)
			return true;
	return false;
}

static bool checksum_ok(const struct ip_view *ip)
{
	const uint32_t sum = sum_bytes(ip->payload, ip->payload_len);

	/* The sum over a message with its right checksum is all ones. */
	return fold(sum) == 0xffff ||
	       fold(sum + sum_pseudo_header(ip->src, ip->dst, ip->payload_len)) == 0xffff;
}

/* The message itself; fills all of *ret but src and dst. */
static enum vrrp_reject read_message(const struct ip_view *ip, uint8_t vrid,
				     struct vrrp_packet *ret)
{
	struct wire_in r;

	wire_in_init(&r, ip->payload, ip->payload_len);
	const uint8_t version_type = wire_get8(&r);

	ret->vrid = wire_get8(&r);
	ret->priority = wire_get8(&r);
	ret->count = wire_get8(&r);
	/* The four reserved bits above the interval are ignored (section 5.2.6). */
	const unsigned centiseconds = wire_get16(&r) & 0x0fff;

	(void)wire_get16(&r); /* checksum: verified over the whole */
	ret->interval = (mtime)centiseconds * CENTISECOND;

	if (version_type >> 4 != VRRP_VERSION)
		return VRRP_REJECT_VERSION;
	if ((version_type & 0x0f) != VRRP_TYPE)
		return VRRP_REJECT_TYPE;
	if (ret->vrid != vrid)
		return VRRP_REJECT_VRID;
	if (ret->count == 0)
		return VRRP_REJECT_COUNT;
	/* Longer is legal: a trailer that we do not know may follow the addresses. */
	if (wire_in_left(&r) < (size_t)ret->count * 4)
		return VRRP_REJECT_LENGTH;
	if (centiseconds == 0)
		return VRRP_REJECT_INTERVAL;
	if (!checksum_ok(ip))
		return VRRP_REJECT_CHECKSUM;
	wire_get(&r, ret->addrs, (size_t)ret->count * 4);
	return VRRP_REJECT_NONE;
}

enum vrrp_reject vrrp_packet_parse(const uint8_t *datagram, size_t len, uint8_t vrid,
				   const uint32_t *peers, size_t n_peers, struct vrrp_packet *ret)
{
	struct vrrp_packet p = {0};
	struct ip_view ip;
	enum vrrp_reject reject = view_ip(datagram, len, &ip);

	if (reject != VRRP_REJECT_NONE)
		return reject;
	if (ip.protocol != VRRP_PROTOCOL)
		return VRRP_REJECT_PROTOCOL;
	if (!is_peer(ip.src, peers, n_peers))
		return VRRP_REJECT_NOT_A_PEER;
	/* 255 proves that no router was on the way (section 7.1). */
	if (ip.ttl != VRRP_TTL)
		return VRRP_REJECT_TTL;
	reject = read_message(&ip, vrid, &p);
	if (reject != VRRP_REJECT_NONE)
		return reject;
	p.src = ip.src;
	p.dst = ip.dst;
	*ret = p;
	return VRRP_REJECT_NONE;
}

size_t vrrp_packet_build(const struct vrrp_packet *p, enum vrrp_checksum form, uint8_t *buf,
			 size_t size)
{
	/* Rounded up: a peer that believes in a shorter interval than ours takes over too soon. */
	const mtime centiseconds = (p->interval + CENTISECOND - 1) / CENTISECOND;
	struct wire_out w;

	if (p->interval < CENTISECOND || centiseconds > CENTISECONDS_MAX || p->count == 0)
		return 0;
	wire_out_init(&w, buf, size);
	wire_put8(&w, VRRP_VERSION << 4 | VRRP_TYPE);
	wire_put8(&w, p->vrid);
	wire_put8(&w, p->priority);
	wire_put8(&w, p->count);
	wire_put16(&w, (uint64_t)centiseconds);
	wire_put16(&w, 0);
	wire_put(&w, p->addrs, (size_t)p->count * 4);
	if (w.failed)
		return 0;

	const size_t len = wire_out_len(&w);
	uint32_t sum = sum_bytes(buf, len);

	if (form == VRRP_CHECKSUM_PSEUDO)
		sum += sum_pseudo_header(p->src, p->dst, len);
	const uint16_t checksum = (uint16_t)~fold(sum);

	buf[6] = (uint8_t)(checksum >> 8);
	buf[7] = (uint8_t)checksum;
	return len;
}
