/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <string.h>

#include "common/log.h"

/*
 * What the kernel says about the interfaces of the services: link state, addresses, and (in
 * gateway.c) default routes, (in six.c) what IPv6 needs, by rtnetlink's groups.  Told to the engine only when it changed.
 *
 * The dump of a state and the events about it come over one socket, so they are in order: an event
 * that is read after a dump is newer than it.  A socket that overflowed (-NLE_NOMEM) has lost
 * events: everything is dumped again, and what the dump does not name any more is gone.
 *
 * An interface is the name in the configuration.  Deleted and made anew it has another index:
 * sockets bound to the old one are dead, addresses are lost.  Messages of the bridge family are
 * about ports, not about links: a port that leaves its bridge says DELLINK and stays.
 */

#define DUMP_PATIENCE_MS 2000
#define DUMP_AGAIN       0.1  /* s; after a dump that overflowed itself */
#define ROUTES_SETTLE    0.02 /* s; several routes change at a time */
#define EVENTS_BUFFER    (1 << 20)

/* ---- telling -------------------------------------------------------------------------------- */

void monitor_tell_link(struct net *n, uint32_t row)
{
	const struct net_service *s = &n->services[row];
	struct ipc_link msg;

	if (!s->wanted)
		return;
	memset(&msg, 0, sizeof(msg));
	net_header(n, &msg.h, IPC_LINK);
	msg.service = (int32_t)row;
	msg.exists = s->exists;
	msg.up = s->up;
	msg.ifindex = s->ifindex;
	msg.router = s->router;
	msg.link_local = s->link_local;
	memcpy(msg.mac, s->mac, sizeof(msg.mac));
	net_send(n, &msg, sizeof(msg), NULL, 0);
}

void monitor_want_routes(struct net *n)
{
	n->routes_dirty = true;
	if (!ev_is_active(&n->redump_timer)) {
		ev_timer_set(&n->redump_timer, ROUTES_SETTLE, 0.);
		ev_timer_start(n->loop, &n->redump_timer);
	}
}

/* ---- links ---------------------------------------------------------------------------------- */

struct link_view {
	bool exists, up;
	uint32_t ifindex;
	const char *name;
	uint8_t mac[6];
	bool router;
};

/* The one place where what is known about an interface changes. */
static void set_link(struct net *n, uint32_t row, const struct link_view *v)
{
	struct net_service *s = &n->services[row];
	const bool is_new = v->exists && (!s->exists || s->ifindex != v->ifindex);
	const bool is_gone = s->exists && (!v->exists || s->ifindex != v->ifindex);

	if (s->exists == v->exists && s->up == v->up && s->ifindex == v->ifindex &&
	    memcmp(s->mac, v->mac, sizeof(s->mac)) == 0 && s->router == v->router)
		return;
	if (is_gone)
		address_abandon(n, row);
	s->exists = v->exists;
	s->up = v->up;
	s->ifindex = v->ifindex;
	s->router = v->router;
	memcpy(s->mac, v->mac, sizeof(s->mac));
	if (is_gone || is_new)
		s->link_local = (struct ip_addr){0};
	if (is_gone) {
		s->sockets_open = false;
		address_lost(n, row, s->held);
	}
	if (is_new)
		sockets_reopen_service(n, row); /* before LINK: up means that it can be used */
	monitor_tell_link(n, row);
	monitor_want_routes(n);
	/* One that was renamed to this name has its addresses already, and nobody tells of them. */
	if (is_new && !n->dumping)
		n->redump = true;
}

static void link_gone(struct net *n, uint32_t row)
{
	set_link(n, row, &(struct link_view){.exists = false});
}

static void on_new_link(struct net *n, const struct link_view *v)
{
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		struct net_service *s = &n->services[row];
		const char *name = model_str(n->m, model_service(n->m, row)->interface);

		if (strcmp(name, v->name) == 0) {
			s->seen = true;
			set_link(n, row, v);
		} else if (s->exists && s->ifindex == v->ifindex) {
			link_gone(n, row); /* renamed */
		}
	}
}

static void on_link(struct net *n, struct nlmsghdr *h)
{
	const struct ifinfomsg *info = nlmsg_data(h);
	struct link_view v = {.exists = true};
	const struct nlattr *a;

	if (nlmsg_datalen(h) < (int)sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return;
	v.ifindex = (uint32_t)info->ifi_index;
	if (h->nlmsg_type == RTM_DELLINK) {
		for (uint32_t row = 0; row < n->m->n_services; row++)
			if (n->services[row].exists && n->services[row].ifindex == v.ifindex)
				link_gone(n, row);
		return;
	}
	v.up = (info->ifi_flags & IFF_UP) != 0 && (info->ifi_flags & IFF_RUNNING) != 0;
	a = nlmsg_find_attr(h, sizeof(*info), IFLA_ADDRESS);
	if (a != NULL && nla_len(a) == 6)
		memcpy(v.mac, nla_data(a), 6);
	v.router = six_link_forwards(h);
	a = nlmsg_find_attr(h, sizeof(*info), IFLA_IFNAME);
	if (a == NULL)
		return;
	v.name = nla_data(a);
	on_new_link(n, &v);
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* The bits of the service's virtual addresses that this one is. */
static uint32_t vip_mask(const struct net *n, uint32_t row, uint32_t ifindex,
			 const struct ip_addr *address)
{
	const struct model_service *ms = model_service(n->m, row);
	uint32_t mask = 0;

	if (!n->services[row].exists || n->services[row].ifindex != ifindex)
		return 0;
	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ip_addr_equal(&ms->vips[i], address))
			mask |= 1u << i;
	return mask;
}

/* A host's address, without a network: the only form that a virtual one has. */
static bool parse_address(struct nlmsghdr *h, struct ip_addr *ret)
{
	const struct ifaddrmsg *info = nlmsg_data(h);
	struct ip_addr address = {0};
	const struct nlattr *a;
	unsigned len;

	len = ip_addr_len(info->ifa_family);
	if (len == 0 || info->ifa_prefixlen != len * 8)
		return false;
	a = nlmsg_find_attr(h, sizeof(*info), IFA_LOCAL);
	if (a == NULL) /* IPv6 without a peer */
		a = nlmsg_find_attr(h, sizeof(*info), IFA_ADDRESS);
	if (a == NULL || nla_len(a) != (int)len)
		return false;
	address.family = info->ifa_family;
	memcpy(address.bytes, nla_data(a), len);
	*ret = address;
	return true;
}

static void on_address(struct net *n, struct nlmsghdr *h)
{
	const struct ifaddrmsg *info = nlmsg_data(h);
	struct ip_addr address;

	if (nlmsg_datalen(h) < (int)sizeof(*info))
		return;
	six_address(n, h);
	if (!parse_address(h, &address))
		return;
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		const uint32_t mask = vip_mask(n, row, info->ifa_index, &address);

		if (h->nlmsg_type == RTM_NEWADDR)
			n->services[row].seen_vips |= mask;
		else if (h->nlmsg_pid != n->orders_port)
			/* Not by an order of ours: the lease has ended, or somebody's hand. */
			address_lost(n, row, mask);
	}
}

/* ---- reading -------------------------------------------------------------------------------- */

static int on_message(struct nl_msg *msg, void *arg)
{
	struct net *n = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);

	if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK)
		on_link(n, h);
	else if (h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR)
		on_address(n, h);
	else if (h->nlmsg_type == RTM_NEWROUTE || h->nlmsg_type == RTM_DELROUTE)
		gateway_message(n, h);
	else if (h->nlmsg_type == RTM_NEWNETCONF)
		six_netconf(n, h);
	return NL_OK;
}

static int on_dump_done(struct nl_msg *msg, void *arg)
{
	struct net *n = arg;

	n->dump_done = true;
	return NL_STOP;
}

/* Read one datagram: 0, -EAGAIN, or -errno; an overflow or a torn dump asks for a new dump. */
static int read_once(struct net *n)
{
	const int r = nl_recvmsgs_default(n->monitor);

	if (r >= 0)
		return 0;
	if (r == -NLE_AGAIN)
		return -EAGAIN;
	if (r == -NLE_NOMEM || r == -NLE_DUMP_INTR) {
		n->redump = true;
		return 0;
	}
	log_warn("rtnetlink: %s, reading everything again", nl_geterror(r));
	n->redump = true;
	return -EIO;
}

int monitor_dump(struct net *n, int type, void *header, size_t len)
{
	struct pollfd p = {.fd = nl_socket_get_fd(n->monitor), .events = POLLIN};
	int r = nl_send_simple(n->monitor, type, NLM_F_DUMP, header, len);

	n->dump_done = false;
	if (r < 0)
		return -EIO;
	while (!n->dump_done) {
		r = read_once(n);
		if (r == -EAGAIN && poll(&p, 1, DUMP_PATIENCE_MS) <= 0)
			return -ETIMEDOUT;
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return 0;
}

static int dump_links(struct net *n)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	int r;

	for (uint32_t row = 0; row < n->m->n_services; row++)
		n->services[row].seen = false;
	r = monitor_dump(n, RTM_GETLINK, &info, sizeof(info));
	for (uint32_t row = 0; r == 0 && row < n->m->n_services; row++)
		if (n->services[row].exists && !n->services[row].seen)
			link_gone(n, row);
	return r;
}

static int dump_addresses(struct net *n)
{
	struct ifaddrmsg info = {.ifa_family = AF_UNSPEC};
	int r;

	for (uint32_t row = 0; row < n->m->n_services; row++)
		n->services[row].seen_vips = 0;
	six_dump_begins(n);
	r = monitor_dump(n, RTM_GETADDR, &info, sizeof(info));
	for (uint32_t row = 0; r == 0 && row < n->m->n_services; row++)
		address_lost(n, row, ~n->services[row].seen_vips);
	if (r == 0)
		six_dump_ends(n);
	return r;
}

/* One round; what overflows meanwhile, or fails, is done again by the timer. */
static void dump_all(struct net *n)
{
	n->redump = false;
	n->dumping = true;
	if (dump_links(n) < 0 || dump_addresses(n) < 0 || gateway_dump(n) < 0)
		n->redump = true;
	n->dumping = false;
	if (n->redump) {
		ev_timer_stop(n->loop, &n->redump_timer);
		ev_timer_set(&n->redump_timer, DUMP_AGAIN, 0.);
		ev_timer_start(n->loop, &n->redump_timer);
	}
}

static void on_redump(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct net *n = w->data;

	monitor_drain(n);
	if (n->redump)
		dump_all(n);
	else if (n->routes_dirty && gateway_dump(n) < 0)
		monitor_want_routes(n);
}

void monitor_drain(struct net *n)
{
	while (read_once(n) == 0)
		;
	if (n->redump && !ev_is_active(&n->redump_timer))
		dump_all(n);
}

static void on_events(struct ev_loop *loop, struct ev_io *w, int revents)
{
	monitor_drain(w->data);
}

int monitor_open(struct net *n)
{
	int r;

	ev_timer_init(&n->redump_timer, on_redump, DUMP_AGAIN, 0.);
	n->redump_timer.data = n;
	n->monitor = nl_socket_alloc();
	if (n->monitor == NULL)
		return -ENOMEM;
	nl_socket_disable_seq_check(n->monitor);
	nl_socket_disable_auto_ack(n->monitor);
	nl_socket_modify_cb(n->monitor, NL_CB_VALID, NL_CB_CUSTOM, on_message, n);
	nl_socket_modify_cb(n->monitor, NL_CB_FINISH, NL_CB_CUSTOM, on_dump_done, n);
	r = nl_connect(n->monitor, NETLINK_ROUTE);
	if (r == 0)
		r = nl_socket_add_memberships(n->monitor, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
					      RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
					      RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_NETCONF, 0);
	if (r == 0)
		r = nl_socket_set_nonblocking(n->monitor);
	if (r < 0) {
		log_error("rtnetlink: %s", nl_geterror(r));
		return -EIO;
	}
	nl_socket_set_buffer_size(n->monitor,
				  n->monitor_buffer > 0 ? n->monitor_buffer : EVENTS_BUFFER, 0);
	ev_io_init(&n->monitor_watcher, on_events, nl_socket_get_fd(n->monitor), EV_READ);
	n->monitor_watcher.data = n;
	ev_io_start(n->loop, &n->monitor_watcher);
	dump_all(n);
	return 0;
}

void monitor_close(struct net *n)
{
	if (n->monitor == NULL)
		return;
	ev_io_stop(n->loop, &n->monitor_watcher);
	ev_timer_stop(n->loop, &n->redump_timer);
	nl_socket_free(n->monitor);
	n->monitor = NULL;
}
