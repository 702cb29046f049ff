/* SPDX-License-Identifier: MIT */
#include "common/ip_addr.h"

#include <arpa/inet.h>
#include <errno.h>

static bool is_unicast4(in_addr_t address)
{
	const uint32_t h = ntohl(address);

	return h >> 24 != 0 && h >> 28 < 0xe;
}

static bool is_unicast6(const struct in6_addr *a)
{
	return !IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_LOOPBACK(a) &&
	       !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_V4MAPPED(a) && !IN6_IS_ADDR_V4COMPAT(a);
}

bool ip_addr_is_unicast(const struct ip_addr *a)
{
	if (a->family == AF_INET)
		return is_unicast4(a->v4.s_addr);
	return a->family == AF_INET6 && is_unicast6(&a->v6);
}

int ip_addr_parse(const char *text, struct ip_addr *ret)
{
	struct ip_addr a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.v4) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, text, &a.v6) == 1)
		a.family = AF_INET6;
	else
		return -EINVAL;
	*ret = a;
	return 0;
}

const char *ip_addr_text(const struct ip_addr *a, char buf[IP_ADDR_TEXT])
{
	if (ip_addr_len(a->family) == 0 ||
	    inet_ntop((int)a->family, a->bytes, buf, IP_ADDR_TEXT) == NULL)
		strcpy(buf, "?");
	return buf;
}

socklen_t ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, uint32_t scope,
			      struct sockaddr_storage *ret)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const bool scoped = ip_addr_is_link_local(a) || IN6_IS_ADDR_MULTICAST(&a->v6);

	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET) {
		in.sin_addr = a->v4;
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family != AF_INET6)
		return 0;
	in6.sin6_addr = a->v6;
	in6.sin6_scope_id = scoped ? scope : 0;
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

struct ip_addr ip_addr_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (len >= sizeof(in) && sa->ss_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		return ip_addr_v4(in.sin_addr.s_addr);
	}
	if (len >= sizeof(in6) && sa->ss_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		return ip_addr_v6(&in6.sin6_addr);
	}
	return (struct ip_addr){0};
}
