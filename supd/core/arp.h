/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_ARP_H
#define SUPD_CORE_ARP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * ARP over Ethernet (RFC 826): gratuitous announcements, probes of a virtual address and of
 * isolation targets.  IPv4 addresses in network byte order.
 */
#define ARP_FRAME_LEN 42
#define ARP_OP_REQUEST 1
#define ARP_OP_REPLY   2

struct arp_frame {
	uint8_t eth_dst[6], eth_src[6];
	uint16_t op;
	uint8_t sha[6], tha[6];
	uint32_t spa, tpa;
};

/* Length ARP_FRAME_LEN, or 0 when size is too small. */
size_t arp_build(const struct arp_frame *f, uint8_t *buf, size_t size);
/* 0, or -EBADMSG: not an Ethernet/IPv4 ARP frame. */
int arp_parse(const uint8_t *buf, size_t len, struct arp_frame *ret);

/* Announcement in the form that updates fresh and old entries: broadcast request, SPA = TPA, THA 0. */
void arp_announce(struct arp_frame *ret, const uint8_t mac[6], uint32_t address);
/* Probe (RFC 5227): SPA 0, THA 0. */
void arp_probe(struct arp_frame *ret, const uint8_t mac[6], uint32_t address);
/* Ordinary request from an own address: who has `address`, tell `own`. */
void arp_request(struct arp_frame *ret, const uint8_t mac[6], uint32_t own, uint32_t address);

#endif
