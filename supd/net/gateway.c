/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/route.h>
#include <string.h>

/*
 * The default gateways of an interface, of IPv4 and of IPv6: among the routes of the main table to
 * 0.0.0.0/0, or to ::/0, the one with the lowest metric that goes out there.  An event only says
 * that something about them has changed; which one is best now, a dump says.  A link that goes down
 * takes its routes away without an event for each, so a change of a link dumps them too.
 */

void gateway_tell(struct net *n, uint32_t row)
{
	struct ipc_gateway msg = {.service = (int32_t)row};

	if (!n->routes_wanted)
		return;
	msg.address[0] = n->services[row].gateways[0];
	if (neigh_wants_six(n, row))
		msg.address[1] = n->services[row].gateways[1];
	net_header(n, &msg.h, IPC_GATEWAY);
	net_send(n, &msg, sizeof(msg), NULL, 0);
}

static void offer_gateway(struct net *n, uint32_t ifindex, const struct ip_addr *address,
			  uint32_t metric)
{
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];
		const unsigned i = address->family == AF_INET6;

		if (!s->exists || s->ifindex != ifindex)
			continue;
		if (s->best[i].family != 0 && s->best_metric[i] <= metric)
			continue;
		s->best[i] = *address;
		s->best_metric[i] = metric;
	}
}

static void offer_nexthop(struct net *n, struct rtnl_nexthop *hop, uint32_t metric)
{
	const struct nl_addr *gateway = rtnl_route_nh_get_gateway(hop);
	struct ip_addr address = {0};

	if (gateway == NULL)
		return;
	address.family = (uint32_t)nl_addr_get_family(gateway);
	if (ip_addr_len(address.family) == 0 ||
	    nl_addr_get_len(gateway) != ip_addr_len(address.family))
		return;
	memcpy(address.bytes, nl_addr_get_binary_addr(gateway), ip_addr_len(address.family));
	offer_gateway(n, (uint32_t)rtnl_route_nh_get_ifindex(hop), &address, metric);
}

void gateway_message(struct net *n, struct nlmsghdr *h)
{
	const struct rtmsg *info = nlmsg_data(h);
	struct rtnl_route *route = NULL;

	if (nlmsg_datalen(h) < (int)sizeof(*info) || ip_addr_len(info->rtm_family) == 0 ||
	    info->rtm_dst_len != 0 || info->rtm_table != RT_TABLE_MAIN)
		return;
	if ((h->nlmsg_flags & NLM_F_MULTI) == 0) {
		monitor_want_routes(n);
		return;
	}
	if (info->rtm_type != RTN_UNICAST || rtnl_route_parse(h, &route) < 0)
		return;
	for (int i = 0; i < rtnl_route_get_nnexthops(route); i++)
		offer_nexthop(n, rtnl_route_nexthop_n(route, i), rtnl_route_get_priority(route));
	rtnl_route_put(route);
}

int gateway_dump(struct net *n)
{
	struct rtmsg info = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN};
	struct rtmsg info6 = {.rtm_family = AF_INET6, .rtm_table = RT_TABLE_MAIN};
	int r;

	n->routes_dirty = false;
	for (uint32_t row = 0; row < n->m->n_services; row++)
		memset(n->services[row].best, 0, sizeof(n->services[row].best));
	r = monitor_dump(n, RTM_GETROUTE, &info, sizeof(info));
	if (r == 0)
		r = monitor_dump(n, RTM_GETROUTE, &info6, sizeof(info6));
	for (uint32_t row = 0; r == 0 && row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];

		if (ip_addr_equal(&s->gateways[0], &s->best[0]) &&
		    ip_addr_equal(&s->gateways[1], &s->best[1]))
			continue;
		memcpy(s->gateways, s->best, sizeof(s->gateways));
		gateway_tell(n, row);
	}
	return r;
}
