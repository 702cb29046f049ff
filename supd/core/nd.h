/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_ND_H
#define SUPD_CORE_ND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Neighbour discovery over Ethernet (RFC 4861 sections 4.3, 4.4, 7.1): what ARP is to IPv4.
 * Addresses in network byte order.
 */
#define ND_FRAME_LEN 86 /* with one link-layer address option */
#define ND_SOLICIT   135
#define ND_ADVERT    136

struct nd_frame {
	uint8_t eth_dst[6], eth_src[6];
	uint8_t src[16], dst[16];
	uint8_t type; /* ND_SOLICIT, ND_ADVERT */
	bool router, solicited, override; /* of an advert */
	uint8_t target[16];
	bool has_mac; /* a link-layer address option: a solicitation's source, an advert's target */
	uint8_t mac[6];
};

/* Length, or 0 when size is too small. */
size_t nd_build(const struct nd_frame *f, uint8_t *buf, size_t size);
/* 0, or -EBADMSG: no valid solicitation or advertisement (RFC 4861 section 7.1). */
int nd_parse(const uint8_t *buf, size_t len, struct nd_frame *ret);

/* Unsolicited advertisement to all nodes: updates entries of any age (Override). */
void nd_announce(struct nd_frame *ret, const uint8_t mac[6], const uint8_t address[16],
		 bool router);
/* Solicitation from ::, as duplicate detection sends it: claims nothing (RFC 4862 section 5.4.2). */
void nd_probe(struct nd_frame *ret, const uint8_t mac[6], const uint8_t address[16]);
/* Ordinary solicitation from an own address: the answer comes to it alone. */
void nd_request(struct nd_frame *ret, const uint8_t mac[6], const uint8_t own[16],
		const uint8_t address[16]);

#endif
