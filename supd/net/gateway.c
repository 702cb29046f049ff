/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/route.h>
#include <string.h>

/*
 * The default gateway of an interface: among the routes of the main table to 0.0.0.0/0 the one
 * with the lowest metric that goes out there.  An event only says that something about them has
 * changed; which one is best now, a dump says.  A link that goes down takes its routes away without
 * an event for each, so a change of a link dumps them too.
 */

void gateway_tell(struct net *n, uint32_t row)
{
	struct ipc_gateway msg = {.service = (int32_t)row, .address = n->services[row].gateway};

	if (!n->routes_wanted)
		return;
	net_header(n, &msg.h, IPC_GATEWAY);
	net_send(n, &msg, sizeof(msg), NULL, 0);
}

static void offer_gateway(struct net *n, uint32_t ifindex, const struct ip_addr *address,
			  uint32_t metric)
{
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];

		if (!s->exists || s->ifindex != ifindex)
			continue;
		if (s->best.family != 0 && s->best_metric <= metric)
			continue;
		s->best = *address;
		s->best_metric = metric;
	}
}

static void offer_nexthop(struct net *n, struct rtnl_nexthop *hop, uint32_t metric)
{
	const struct nl_addr *gateway = rtnl_route_nh_get_gateway(hop);
	struct ip_addr address = {.family = AF_INET};

	if (gateway == NULL || nl_addr_get_family(gateway) != AF_INET ||
	    nl_addr_get_len(gateway) != sizeof(address.v4))
		return;
	memcpy(&address.v4, nl_addr_get_binary_addr(gateway), sizeof(address.v4));
	offer_gateway(n, (uint32_t)rtnl_route_nh_get_ifindex(hop), &address, metric);
}

void gateway_message(struct net *n, struct nlmsghdr *h)
{
	const struct rtmsg *info = nlmsg_data(h);
	struct rtnl_route *route = NULL;

	if (nlmsg_datalen(h) < (int)sizeof(*info) || info->rtm_family != AF_INET ||
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
	int r;

	n->routes_dirty = false;
	for (uint32_t row = 0; row < n->m->n_services; row++)
		n->services[row].best = (struct ip_addr){0};
	r = monitor_dump(n, RTM_GETROUTE, &info, sizeof(info));
	for (uint32_t row = 0; r == 0 && row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];

		if (ip_addr_equal(&s->gateway, &s->best))
			continue;
		s->gateway = s->best;
		gateway_tell(n, row);
	}
	return r;
}
