/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_packet.h"

#include <string.h>

#include "common/wire.h"

/*
 * VRRP advertisements: the bytes, and who may have sent them.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+---------------+---------------+
 *     |  v 3  | type 1|     VRID      |   priority    |     count     |
 *     +-------+-------+-------+-------+---------------+---------------+
 *     | rsvd  | interval, centiseconds|           checksum            |   version 3
 *     |   auth type   | interval, s   |           checksum            |   version 2
 *     +---------------+---------------+-------------------------------+
 *     |              count addresses of 4 or 16 bytes                 |
 *     |          8 bytes of authentication, version 2 only            |
 *
 * RFC 9568 section 5.2 (fields), section 7.1 (what a receiver must check), with the errata 8299
 * (count 0 is dropped), 8300 (the first IPv6 address is link-local) and 8301 (interval 0 is
 * dropped); version 2: RFC 3768 sections 5.3 and 7.1, and RFC 2338 section 5.3.6 for the password.
 *
 * Two checksums are in use for IPv4 version 3 and are not compatible: RFC 5798 reads as if the
 * pseudo-header were part of it, and keepalived does it that way; RFC 9568 section 5.2.8 says that
 * it is not.  Both are accepted: the checksum finds damage, it does not keep anybody out.  What
 * keeps others out here is the list of peers, and between peer-linked nodes the HMAC of the peer
 * link.  A password is in clear in every advert: it tells clusters apart, no more.
 *
 * Order of the checks: what can be said without trusting a later field comes first, and a packet
 * that is not from a peer is refused before its content is looked at, so that the counters name
 * the cause and not a consequence.  Before that only the VRID is looked at, which stands where it
 * stands in every version: another number is another router's business.
 *
 * Version 2 refuses another interval than its own, as its RFC wants; version 3 learns it.
 *
 * Invariants: no byte beyond the datagram is read, whatever it says about itself; *ret is written
 * only for a packet that passed every check.
 */

#define IP_HEADER_MIN    20
#define VRRP_HEADER_LEN  8
#define VRRP_TYPE        1 /* ADVERTISEMENT, the only one */
#define CENTISECOND      MTIME_MS(10)
#define CENTISECONDS_MAX 4095
#define SECONDS_MAX      255
#define CHECKSUM_OFFSET  6

const char *vrrp_reject_name(enum vrrp_reject r)
{
	static const char *const names[] = {
#define X(name, text) [VRRP_REJECT_##name] = text,
		VRRP_REJECTS(X)
#undef X
	};

	return r < VRRP_REJECTS_END ? names[r] : "?";
}

const char *vrrp_differ_name(enum vrrp_differ d)
{
	static const char *const names[] = {
#define X(name, text) [VRRP_DIFFER_##name] = text,
		VRRP_DIFFERS(X)
#undef X
	};

	return d < VRRP_DIFFERS_END ? names[d] : "?";
}

/* ---- checksums ------------------------------------------------------------------------------ */

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

/* Of either family: the sum does not see where the zeros stand (RFC 8200 section 8.1). */
static uint32_t sum_pseudo_header(const struct ip_addr *src, const struct ip_addr *dst, size_t len)
{
	return sum_bytes(src->bytes, ip_addr_len(src->family)) +
	       sum_bytes(dst->bytes, ip_addr_len(dst->family)) + VRRP_PROTOCOL + (uint32_t)len;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The sum over a message with its right checksum is all ones. */
static bool checksum_ok(const struct vrrp_datagram *d, const struct vrrp_profile *profile)
{
	const uint32_t sum = sum_bytes(d->message, d->len);
	const uint32_t pseudo = sum_pseudo_header(&d->src, &d->dst, d->len);

	if (d->verified)
		return true;
	if (profile->family == AF_INET6)
		return fold(sum + pseudo) == 0xffff;
	return fold(sum) == 0xffff || (profile->version == 3 && fold(sum + pseudo) == 0xffff);
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* The kernel has verified the header's checksum and put fragments together. */
enum vrrp_reject vrrp_packet_unwrap(const uint8_t *d, size_t len, struct vrrp_datagram *ret)
{
	uint32_t src, dst;

	if (len < IP_HEADER_MIN + VRRP_HEADER_LEN)
		return VRRP_REJECT_SHORT;

	const size_t header = (size_t)(d[0] & 0x0f) * 4;
	const size_t total = (size_t)d[2] << 8 | d[3];
	const unsigned fragment = ((unsigned)d[6] << 8 | d[7]) & 0x3fff;

	if (d[0] >> 4 != 4 || header < IP_HEADER_MIN || total > len || fragment != 0 ||
	    total < header + VRRP_HEADER_LEN)
		return VRRP_REJECT_IP;
	if (d[9] != VRRP_PROTOCOL)
		return VRRP_REJECT_PROTOCOL;
	memcpy(&src, d + 12, 4);
	memcpy(&dst, d + 16, 4);
	*ret = (struct vrrp_datagram){.src = ip_addr_v4(src),
				      .dst = ip_addr_v4(dst),
				      .ttl = d[8],
				      .message = d + header,
				      .len = total - header};
	return VRRP_REJECT_NONE;
}

static bool is_peer(const struct ip_addr *src, const struct ip_addr *peers, size_t n_peers)
{
	for (size_t i = 0; i < n_peers; i++)
		if (ip_addr_equal(&peers[i], src))
			return true;
	return false;
}

/* What stands before the addresses. */
struct header {
	uint8_t version, type, vrid, priority, count;
	uint16_t timing; /* version 2: auth type and seconds; version 3: centiseconds */
};

static struct header read_header(struct wire_in *r)
{
	const uint8_t version_type = wire_get8(r);
	struct header h = {.version = version_type >> 4, .type = version_type & 0x0f};

	h.vrid = wire_get8(r);
	h.priority = wire_get8(r);
	h.count = wire_get8(r);
	h.timing = wire_get16(r);
	(void)wire_get16(r); /* checksum: verified over the whole */
	return h;
}

static mtime interval_of(const struct header *h)
{
	/* The four reserved bits above the interval are ignored (RFC 9568 section 5.2.6). */
	return h->version == 2 ? (mtime)(h->timing & 0xff) * MTIME_SEC(1)
			       : (mtime)(h->timing & 0x0fff) * CENTISECOND;
}

/* Who sent it, and what it claims to be. */
static enum vrrp_reject check_header(const struct vrrp_datagram *d, const struct header *h,
				     const struct vrrp_profile *profile, bool from_peer)
{
	if (h->vrid != profile->vrid)
		return VRRP_REJECT_VRID;
	if (!from_peer)
		return VRRP_REJECT_NOT_A_PEER;
	/* 255 proves that no router was on the way. */
	if (d->ttl != VRRP_TTL)
		return VRRP_REJECT_TTL;
	if (h->version != profile->version)
		return VRRP_REJECT_VERSION;
	if (h->type != VRRP_TYPE)
		return VRRP_REJECT_TYPE;
	if (h->version == 2 && h->timing >> 8 != profile->auth)
		return VRRP_REJECT_AUTH_TYPE;
	if (h->count == 0)
		return VRRP_REJECT_COUNT;
	return VRRP_REJECT_NONE;
}

/* The rest, which a version 2 message ends with its password. */
static enum vrrp_reject check_body(const struct vrrp_datagram *d, const struct header *h,
				   const struct vrrp_profile *profile, const struct wire_in *r)
{
	const size_t addrs = (size_t)h->count * ip_addr_len(profile->family);
	const bool two = h->version == 2;
	const mtime interval = interval_of(h);

	/* Longer is legal: a trailer that we do not know may follow. */
	if (wire_in_left(r) < addrs + (two ? VRRP_PASSWORD_LEN : 0))
		return VRRP_REJECT_LENGTH;
	if (!checksum_ok(d, profile))
		return VRRP_REJECT_CHECKSUM;
	if (two && profile->auth == VRRP_AUTH_PASS &&
	    memcmp(r->at + addrs, profile->password, VRRP_PASSWORD_LEN) != 0)
		return VRRP_REJECT_PASSWORD;
	if (interval == 0 || (two && interval != profile->interval))
		return VRRP_REJECT_INTERVAL;
	if (profile->family == AF_INET6 && (r->at[0] != 0xfe || (r->at[1] & 0xc0) != 0x80))
		return VRRP_REJECT_LINK_LOCAL;
	return VRRP_REJECT_NONE;
}

enum vrrp_reject vrrp_packet_parse(const struct vrrp_datagram *d, const struct vrrp_profile *profile,
				   const struct ip_addr *peers, size_t n_peers,
				   struct vrrp_packet *ret)
{
	enum vrrp_reject reject;
	struct wire_in r;
	struct header h;

	if (d->len < VRRP_HEADER_LEN)
		return VRRP_REJECT_SHORT;
	wire_in_init(&r, d->message, d->len);
	h = read_header(&r);
	reject = check_header(d, &h, profile, is_peer(&d->src, peers, n_peers));
	if (reject == VRRP_REJECT_NONE)
		reject = check_body(d, &h, profile, &r);
	if (reject != VRRP_REJECT_NONE)
		return reject;
	ret->priority = h.priority;
	ret->count = h.count;
	ret->interval = interval_of(&h);
	ret->src = d->src;
	ret->dst = d->dst;
	wire_get(&r, ret->addrs, (size_t)h.count * ip_addr_len(profile->family));
	return VRRP_REJECT_NONE;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* The two bytes before the checksum; false: the interval cannot be said. */
static bool timing_of(const struct vrrp_profile *profile, uint16_t *ret)
{
	/* Rounded up: a peer that believes in a shorter interval than ours takes over too soon. */
	const mtime centiseconds = (profile->interval + CENTISECOND - 1) / CENTISECOND;
	const mtime seconds = profile->interval / MTIME_SEC(1);

	if (profile->version == 2) {
		*ret = (uint16_t)((unsigned)profile->auth << 8 | (uint8_t)seconds);
		return profile->interval % MTIME_SEC(1) == 0 && seconds >= 1 &&
		       seconds <= SECONDS_MAX;
	}
	*ret = (uint16_t)centiseconds;
	return profile->interval >= CENTISECOND && centiseconds <= CENTISECONDS_MAX;
}

/* RFC 9568 section 5.2.8; for IPv6 the kernel does it, which alone knows the source for sure. */
static void put_checksum(const struct vrrp_profile *profile, const struct vrrp_packet *p,
			 uint8_t *buf, size_t len)
{
	uint32_t sum = sum_bytes(buf, len);

	if (profile->family == AF_INET6)
		return;
	if (profile->version == 3 && profile->checksum == VRRP_CHECKSUM_PSEUDO)
		sum += sum_pseudo_header(&p->src, &p->dst, len);
	const uint16_t checksum = (uint16_t)~fold(sum);

	buf[CHECKSUM_OFFSET] = (uint8_t)(checksum >> 8);
	buf[CHECKSUM_OFFSET + 1] = (uint8_t)checksum;
}

size_t vrrp_packet_build(const struct vrrp_profile *profile, const struct vrrp_packet *p,
			 uint8_t *buf, size_t size)
{
	static const uint8_t no_password[VRRP_PASSWORD_LEN];
	struct wire_out w;
	uint16_t timing;

	if (p->count == 0 || !timing_of(profile, &timing))
		return 0;
	wire_out_init(&w, buf, size);
	wire_put8(&w, (unsigned)profile->version << 4 | VRRP_TYPE);
	wire_put8(&w, profile->vrid);
	wire_put8(&w, p->priority);
	wire_put8(&w, p->count);
	wire_put16(&w, timing);
	wire_put16(&w, 0);
	wire_put(&w, p->addrs, (size_t)p->count * ip_addr_len(profile->family));
	if (profile->version == 2)
		wire_put(&w, profile->auth == VRRP_AUTH_PASS ? profile->password : no_password,
			 VRRP_PASSWORD_LEN);
	if (w.failed)
		return 0;
	put_checksum(profile, p, buf, wire_out_len(&w));
	return wire_out_len(&w);
}

/* ---- addresses ------------------------------------------------------------------------------ */

struct ip_addr vrrp_packet_group(uint32_t family)
{
	static const uint8_t four[] = {224, 0, 0, 18};
	static const uint8_t six[] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12};
	struct ip_addr a;

	memset(&a, 0, sizeof(a));
	a.family = family;
	memcpy(a.bytes, family == AF_INET ? four : six, ip_addr_len(family));
	return a;
}

void vrrp_packet_add(struct vrrp_packet *p, const struct ip_addr *address)
{
	const size_t len = ip_addr_len(address->family);

	if (p->count == VRRP_ADDRS_MAX)
		return;
	memcpy(p->addrs + len * p->count, address->bytes, len);
	p->count++;
}

struct ip_addr vrrp_packet_link_local(uint8_t vrid)
{
	struct in6_addr a = {.s6_addr = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x00, 0x5e, 0xff, 0xfe,
					 0x00, 0x02, 0}};

	a.s6_addr[15] = vrid;
	return ip_addr_v6(&a);
}

static bool lists(const struct vrrp_packet *p, const uint8_t *address, size_t len)
{
	for (unsigned i = 0; i < p->count; i++)
		if (memcmp(p->addrs + len * i, address, len) == 0)
			return true;
	return false;
}

bool vrrp_packet_same_addresses(const struct vrrp_packet *a, const struct vrrp_packet *b,
				uint32_t family)
{
	const size_t len = ip_addr_len(family);

	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (!lists(b, a->addrs + len * i, len) || !lists(a, b->addrs + len * i, len))
			return false;
	return true;
}
