/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_VRRP_PACKET_H
#define SUPD_CORE_VRRP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ip_addr.h"
#include "common/mtime.h"

/*
 * VRRP advertisements: version 2 for IPv4 (RFC 3768, with the simple password of RFC 2338), version
 * 3 for IPv4 and IPv6 (RFC 9568 section 5; RFC 5798 for the other IPv4 checksum).
 */
#define VRRP_PROTOCOL	    112
#define VRRP_TTL	    255
#define VRRP_ADDRS_MAX	    255
#define VRRP_PASSWORD_LEN   8
#define VRRP_PRIO_OWNER	    255
#define VRRP_PRIO_RELEASE   0
#define VRRP_PACKET_MAX	    (8 + 16 * VRRP_ADDRS_MAX)
#define VRRP_INTERVAL_MAX   MTIME_MS(40950)
#define VRRP_INTERVAL_MAX_2 MTIME_SEC(255)

/* Why a datagram was refused, in the order of the checks; also the index of a counter. */
#define VRRP_REJECTS(X)                                                                            \
	X(NONE, "none") X(SHORT, "short") X(IP, "ip_header") X(PROTOCOL, "protocol")               \
	X(VRID, "vrid") X(NOT_A_PEER, "not_a_peer") X(TTL, "ttl") X(VERSION, "version")            \
	X(TYPE, "type") X(AUTH_TYPE, "auth_type") X(COUNT, "count") X(LENGTH, "length")            \
	X(CHECKSUM, "checksum") X(PASSWORD, "password") X(INTERVAL, "interval")                    \
	X(LINK_LOCAL, "link_local")

enum vrrp_reject {
#define X(name, text) VRRP_REJECT_##name,
	VRRP_REJECTS(X)
#undef X
	VRRP_REJECTS_END
};
const char *vrrp_reject_name(enum vrrp_reject r);

/* What an advert may have otherwise than we and still count (RFC 9568 section 7.1). */
#define VRRP_DIFFERS(X) X(INTERVAL, "interval") X(ADDRESSES, "addresses")

enum vrrp_differ {
#define X(name, text) VRRP_DIFFER_##name,
	VRRP_DIFFERS(X)
#undef X
	VRRP_DIFFERS_END
};
const char *vrrp_differ_name(enum vrrp_differ d);

enum vrrp_checksum { VRRP_CHECKSUM_PSEUDO, VRRP_CHECKSUM_RFC9568 };
enum vrrp_auth { VRRP_AUTH_NONE, VRRP_AUTH_PASS }; /* as on the wire of version 2 */

/* A virtual router as all its members must have it. */
struct vrrp_profile {
	uint8_t version; /* 2 (IPv4 only) or 3 */
	uint8_t vrid;
	uint32_t family;	     /* of its addresses: AF_INET or AF_INET6 */
	mtime interval;		     /* version 2: whole seconds */
	enum vrrp_checksum checksum; /* version 3 for IPv4: the form that is sent */
	enum vrrp_auth auth;	     /* version 2 */
	uint8_t password[VRRP_PASSWORD_LEN]; /* zeros after its end */
};

struct vrrp_packet {
	uint8_t priority, count;
	mtime interval; /* of the sender; 10 ms to 255 s */
	struct ip_addr src, dst;
	uint8_t addrs[16 * VRRP_ADDRS_MAX]; /* as on the wire: 4 or 16 bytes each */
};

/* A message, and what carried it. */
struct vrrp_datagram {
	struct ip_addr src, dst;
	int ttl; /* or hop limit */
	const uint8_t *message;
	size_t len;
	bool verified; /* the checksum: by the kernel (IPv6), or by a seal */
};

/*
 * Take the IPv4 header off a datagram as a raw socket delivers it; bytes beyond its total length
 * are padding.  NONE, SHORT, IP or PROTOCOL; *ret points into it.
 */
enum vrrp_reject vrrp_packet_unwrap(const uint8_t *datagram, size_t len, struct vrrp_datagram *ret);

/*
 * Read a message.  `peers`: the only sources that count.  Of IPv4 version 3 either checksum form is
 * accepted.  *ret is filled only for VRRP_REJECT_NONE.
 */
enum vrrp_reject vrrp_packet_parse(const struct vrrp_datagram *d, const struct vrrp_profile *profile,
				   const struct ip_addr *peers, size_t n_peers,
				   struct vrrp_packet *ret);

/*
 * Build the message (without IP header) into buf: its length, or 0 when it does not fit, has no
 * address, or the interval is not 1 to 4095 centiseconds (version 2: 1 to 255 whole seconds).
 * The interval is the profile's.  IPv6: the kernel fills in the checksum on its way out.
 */
size_t vrrp_packet_build(const struct vrrp_profile *profile, const struct vrrp_packet *p,
			 uint8_t *buf, size_t size);

/* 224.0.0.18 or ff02::12. */
struct ip_addr vrrp_packet_group(uint32_t family);
/* Append an address of the profile's family; ignored where 255 are there. */
void vrrp_packet_add(struct vrrp_packet *p, const struct ip_addr *address);
/*
 * The link-local address that stands first in an IPv6 advert whose router has none of its own:
 * that of the virtual MAC 00-00-5E-00-02-VRID (RFC 9568 section 7.3).
 */
struct ip_addr vrrp_packet_link_local(uint8_t vrid);
/* Whether both list the same addresses of that family, in any order. */
bool vrrp_packet_same_addresses(const struct vrrp_packet *a, const struct vrrp_packet *b,
				uint32_t family);

#endif
