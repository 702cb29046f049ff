/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_VRRP_PACKET_H
#define SUPD_CORE_VRRP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mtime.h"

/*
 * VRRPv3 advertisements for IPv4 (RFC 9568 section 5; RFC 5798 for the other checksum form).
 * Addresses are in network byte order throughout (struct in_addr.s_addr).
 */
#define VRRP_PROTOCOL	  112
#define VRRP_TTL	  255
#define VRRP_ADDRS_MAX	  255
#define VRRP_PRIO_OWNER	  255
#define VRRP_PRIO_RELEASE 0
#define VRRP_PACKET_MAX	  (8 + 4 * VRRP_ADDRS_MAX)
#define VRRP_INTERVAL_MAX MTIME_MS(40950)

/* Why a datagram was refused, in the order of the checks; also the index of a counter. */
#define VRRP_REJECTS(X)                                                                            \
	X(NONE, "none") X(SHORT, "short") X(IP, "ip_header") X(PROTOCOL, "protocol")               \
	X(NOT_A_PEER, "not_a_peer") X(TTL, "ttl") X(VERSION, "version") X(TYPE, "type")            \
	X(VRID, "vrid") X(COUNT, "count") X(LENGTH, "length") X(INTERVAL, "interval")              \
	X(CHECKSUM, "checksum")

enum vrrp_reject {
#define X(name, text) VRRP_REJECT_##name,
	VRRP_REJECTS(X)
#undef X
	VRRP_REJECTS_END
};
const char *vrrp_reject_name(enum vrrp_reject r);

struct vrrp_packet {
	uint8_t vrid, priority, count;
	mtime interval; /* of the sender; 10 ms to 40.95 s */
	uint32_t src, dst;
	uint32_t addrs[VRRP_ADDRS_MAX];
};

enum vrrp_checksum { VRRP_CHECKSUM_PSEUDO, VRRP_CHECKSUM_RFC9568 };

/*
 * Parse a datagram as a raw IPv4 socket delivers it (IP header first; bytes beyond its total
 * length are padding).  `vrid`: the one expected; `peers`: the only sources that count.  Either
 * checksum form is accepted.  *ret is filled only for VRRP_REJECT_NONE.
 */
enum vrrp_reject vrrp_packet_parse(const uint8_t *datagram, size_t len, uint8_t vrid,
				   const uint32_t *peers, size_t n_peers,
				   struct vrrp_packet *ret);

/*
 * Build the message (without IP header) into buf: its length, or 0 when it does not fit or the
 * interval is not 1 to 4095 centiseconds.
 */
size_t vrrp_packet_build(const struct vrrp_packet *p, enum vrrp_checksum form, uint8_t *buf,
			 size_t size);

#endif
