/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/netconf.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

/*
 * What a neighbour discovery of our own needs to know about an interface: its link-local address,
 * to ask from, and whether it forwards, which each advertisement must say (a router that says no is
 * dropped from its neighbours' list of routers; RFC 4861 section 7.2.5).
 *
 * The first link-local address that is ready is taken and kept while it is there.
 */

static bool is_vip(const struct net *n, uint32_t row, const struct ip_addr *a)
{
	const struct model_service *ms = model_service(n->m, row);

	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ip_addr_equal(&ms->vips[i], a))
			return true;
	return false;
}

static void set_link_local(struct net *n, uint32_t row, const struct ip_addr *a)
{
	struct net_service *s = &n->services[row];

	if (ip_addr_equal(&s->link_local, a))
		return;
	s->link_local = *a;
	monitor_tell_link(n, row);
}

static void consider(struct net *n, uint32_t row, const struct ip_addr *a, bool usable)
{
	struct net_service *s = &n->services[row];
	const struct ip_addr none = {0};

	if (is_vip(n, row, a))
		return;
	if (usable && s->link_local.family == 0)
		set_link_local(n, row, a);
	if (!ip_addr_equal(&s->link_local, a))
		return;
	s->seen_local = usable;
	if (usable)
		return;
	set_link_local(n, row, &none);
	n->redump = true; /* perhaps there is another one */
}

void six_address(struct net *n, struct nlmsghdr *h)
{
	const struct ifaddrmsg *info = nlmsg_data(h);
	const struct nlattr *attr = nlmsg_find_attr(h, sizeof(*info), IFA_ADDRESS);
	struct in6_addr bytes;
	struct ip_addr a;

	if (info->ifa_family != AF_INET6 || attr == NULL || nla_len(attr) != sizeof(bytes))
		return;
	memcpy(&bytes, nla_data(attr), sizeof(bytes));
	a = ip_addr_v6(&bytes);
	if (!ip_addr_is_link_local(&a))
		return;
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		const struct net_service *s = &n->services[row];

		if (s->exists && s->ifindex == info->ifa_index)
			consider(n, row, &a,
				 h->nlmsg_type == RTM_NEWADDR &&
					 (info->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) ==
						 0);
	}
}

void six_dump_begins(struct net *n)
{
	for (uint32_t row = 0; row < n->m->n_services; row++)
		n->services[row].seen_local = false;
}

void six_dump_ends(struct net *n)
{
	const struct ip_addr none = {0};

	for (uint32_t row = 0; row < n->m->n_services; row++) {
		const struct net_service *s = &n->services[row];

		if (s->link_local.family == 0 || s->seen_local)
			continue;
		set_link_local(n, row, &none);
		n->redump = true;
	}
}

bool six_link_forwards(struct nlmsghdr *h)
{
	struct nlattr *attr = nlmsg_find_attr(h, sizeof(struct ifinfomsg), IFLA_AF_SPEC);
	int32_t forwarding;

	if (attr != NULL)
		attr = nla_find(nla_data(attr), nla_len(attr), AF_INET6);
	if (attr != NULL)
		attr = nla_find(nla_data(attr), nla_len(attr), IFLA_INET6_CONF);
	if (attr == NULL || nla_len(attr) < (int)sizeof(forwarding) * (DEVCONF_FORWARDING + 1))
		return false;
	memcpy(&forwarding, (const char *)nla_data(attr) + DEVCONF_FORWARDING * sizeof(forwarding),
	       sizeof(forwarding));
	return forwarding != 0;
}

/* Nobody tells of it by a message about the link. */
void six_netconf(struct net *n, struct nlmsghdr *h)
{
	const struct netconfmsg *info = nlmsg_data(h);
	const struct nlattr *ifindex, *forwarding;

	if (nlmsg_datalen(h) < (int)sizeof(*info) || info->ncm_family != AF_INET6)
		return;
	ifindex = nlmsg_find_attr(h, sizeof(*info), NETCONFA_IFINDEX);
	forwarding = nlmsg_find_attr(h, sizeof(*info), NETCONFA_FORWARDING);
	if (ifindex == NULL || forwarding == NULL || nla_len(ifindex) != 4 ||
	    nla_len(forwarding) != 4)
		return;
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];
		const bool router = nla_get_u32(forwarding) != 0;

		if (!s->exists || s->ifindex != nla_get_u32(ifindex) || s->router == router)
			continue;
		s->router = router;
		monitor_tell_link(n, row);
	}
}
