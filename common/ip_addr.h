/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_IP_ADDR_H
#define SUPD_COMMON_IP_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* An address of either family, in network byte order; all zero is none. */
struct ip_addr {
	uint32_t family; /* AF_INET, AF_INET6; AF_UNSPEC: none */
	union {
		struct in_addr v4;
		struct in6_addr v6;
		uint8_t bytes[16];
	};
};

#define IP_ADDR_TEXT INET6_ADDRSTRLEN

static inline struct ip_addr ip_addr_v4(in_addr_t address)
{
	struct ip_addr a;

	memset(&a, 0, sizeof(a));
	a.family = AF_INET;
	a.v4.s_addr = address;
	return a;
}

static inline struct ip_addr ip_addr_v6(const struct in6_addr *address)
{
	struct ip_addr a;

	memset(&a, 0, sizeof(a));
	a.family = AF_INET6;
	a.v6 = *address;
	return a;
}

/* Bytes of an address of that family: 4, 16, or 0. */
static inline unsigned ip_addr_len(uint32_t family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, ip_addr_len(a->family)) == 0;
}

/* As numbers; of two families IPv4 comes first.  Negative, 0 or positive. */
static inline int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, ip_addr_len(a->family));
}

/* fe80::/10 */
static inline bool ip_addr_is_link_local(const struct ip_addr *a)
{
	return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

/* One that a host can have and send from: no multicast, no loopback or mapped IPv4 of IPv6. */
bool ip_addr_is_unicast(const struct ip_addr *a);

/* The whole string is an address of either family: 0 or -EINVAL. */
int ip_addr_parse(const char *text, struct ip_addr *ret);

/* Writes it as text, "?" for none; returns buf. */
const char *ip_addr_text(const struct ip_addr *a, char buf[IP_ADDR_TEXT]);

/* As a socket address; `scope`: interface of a link-local one, else ignored.  0: none. */
socklen_t ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, uint32_t scope,
			      struct sockaddr_storage *ret);

/* The address in a socket address; of another family: none. */
struct ip_addr ip_addr_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len);

#endif
