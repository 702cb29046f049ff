/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include "supd/config/keys.h"

/*
 * What the adverts of a service need: keys that fit together, and of each node an address to send
 * from and to.  A value that could not be read was told once, and is passed over here.
 */

static bool service_has(const struct draft_service *s, const char *key)
{
	return key_is_set(KEY_SERVICE, &s->h, key);
}

static unsigned line_of(const struct draft_service *s, const char *key)
{
	return key_line(KEY_SERVICE, &s->h, key);
}

/* ---- further addresses of the nodes: who sent an advert is told by its source ----------------- */

static bool has_address(const struct model_node *n, const struct ip_addr *a)
{
	for (unsigned i = 0; i < model_node_n_paths(n); i++) {
		const struct ip_addr path = model_node_path(n, i);

		if (ip_addr_equal(&path, a))
			return true;
	}
	for (unsigned i = 0; i < n->n_more; i++)
		if (ip_addr_equal(&n->more[i], a))
			return true;
	return false;
}

static void check_more(struct draft *d, uint32_t row, const struct ip_addr *a)
{
	const struct draft_node *n = &d->nodes[row];
	char text[IP_ADDR_TEXT];

	for (uint32_t i = 0; i < d->n_nodes; i++)
		if (i != row && has_address(&d->nodes[i].m, a))
			problems_add(d->problems, key_line(KEY_NODE, &n->h, "address"),
				     "address %s is that of [node:%s] too, expected one for each "
				     "node",
				     ip_addr_text(a, text), d->nodes[i].h.name);
}

/* ---- services --------------------------------------------------------------------------------- */

static void check_version_2(struct draft *d, const struct draft_service *s)
{
	if (service_has(s, "advert_int") && s->m.advert_int % MTIME_SEC(1) != 0)
		problems_add(d->problems, line_of(s, "advert_int"),
			     "advert_int is no whole number of seconds, and vrrp_version = 2 "
			     "carries no other, expected 1s or more, or vrrp_version = 3");
	if (service_has(s, "virtual_ipaddress") && model_vrrp_family(&s->m) == AF_INET6)
		problems_add(d->problems, line_of(s, "virtual_ipaddress"),
			     "virtual_ipaddress begins with an IPv6 address, and vrrp_version = 2 "
			     "has only IPv4, expected an IPv4 address first, or vrrp_version = 3");
}

static void check_password(struct draft *d, const struct draft_service *s)
{
	const bool pass = s->m.auth_type == VRRP_AUTH_PASS;

	if (pass && s->m.vrrp_version != 2)
		problems_add(d->problems, line_of(s, "auth_type"),
			     "auth_type = pass is of version 2, expected vrrp_version = 2, or none");
	if (pass && !service_has(s, "auth_pass") && line_of(s, "auth_pass") == s->h.line)
		problems_add(d->problems, line_of(s, "auth_type"),
			     "auth_type = pass has no password, expected auth_pass");
	if (!pass && service_has(s, "auth_pass"))
		problems_add(d->problems, line_of(s, "auth_pass"),
			     "auth_pass is of auth_type = pass, expected that too");
}

static void check_transport(struct draft *d, const struct draft_service *s)
{
	if (s->m.transport != MODEL_TRANSPORT_UDP)
		return;
	if (s->m.multicast)
		problems_add(d->problems, line_of(s, "multicast"),
			     "multicast = yes and transport = udp, expected one of them");
	for (uint32_t i = 0; i < d->n_nodes; i++)
		if (!d->nodes[i].m.peer_link)
			problems_add(d->problems, line_of(s, "transport"),
				     "transport = udp and peer_link = no of [node:%s], expected "
				     "transport = ip: a plain router hears nothing else",
				     d->nodes[i].h.name);
}

static bool all_linked(const struct draft *d)
{
	for (uint32_t i = 0; i < d->n_nodes; i++)
		if (!d->nodes[i].m.peer_link)
			return false;
	return true;
}

/* Where every node has a peer link the adverts can go by that instead (build.c). */
static void check_addresses(struct draft *d, const struct draft_service *s)
{
	const bool six = model_vrrp_family(&s->m) == AF_INET6;

	for (uint32_t i = 0; d->n_nodes > 1 && i < d->n_nodes; i++) {
		const struct draft_node *n = &d->nodes[i];

		if ((!s->m.multicast && all_linked(d)) || !key_is_set(KEY_NODE, &n->h, "address") ||
		    model_vrrp_address(&s->m, &n->m).family != AF_UNSPEC)
			continue;
		problems_add(d->problems, line_of(s, "virtual_ipaddress"),
			     "virtual_ipaddress begins with an IPv%d address, and [node:%s] has no "
			     "%saddress of that family, expected one in its address, for the "
			     "adverts",
			     six ? 6 : 4, n->h.name, six && s->m.multicast ? "link-local " : "");
		return;
	}
}

static void check_own(struct draft *d, const struct draft_service *s, const struct ip_addr *vip)
{
	char text[IP_ADDR_TEXT];

	for (uint32_t i = 0; i < d->n_nodes; i++)
		for (unsigned k = 0; k < d->nodes[i].m.n_more; k++)
			if (ip_addr_equal(&d->nodes[i].m.more[k], vip))
				problems_add(d->problems, line_of(s, "virtual_ipaddress"),
					     "virtual_ipaddress %s is the address of [node:%s], "
					     "expected one of its own",
					     ip_addr_text(vip, text), d->nodes[i].h.name);
}

static void check_service(struct draft *d, const struct draft_service *s)
{
	if (s->m.vrrp_version == 2)
		check_version_2(d, s);
	check_password(d, s);
	check_transport(d, s);
	if (!service_has(s, "virtual_ipaddress"))
		return;
	check_addresses(d, s);
	for (unsigned i = 0; i < s->m.n_vips; i++)
		check_own(d, s, &s->m.vips[i]);
}

void draft_validate_vrrp(struct draft *d)
{
	for (uint32_t i = 0; i < d->n_nodes; i++)
		for (unsigned k = 0; k < d->nodes[i].m.n_more; k++)
			check_more(d, i, &d->nodes[i].m.more[k]);
	for (uint32_t i = 0; i < d->n_services; i++)
		check_service(d, &d->services[i]);
}
