/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mtime.h"

#define LIFETIME_EVER 0xffffffffu

/*
 * Virtual addresses.  Each is put up as a /32 or /128 with a finite lifetime, which the kernel counts down
 * and which every refresh starts again: when all of supd is dead or stopped, the kernel takes the
 * address off without anybody's help, at most 1.25 s after the lease.  A /32, because an expiring
 * address with a shorter prefix takes its subnet's secondaries with it; NOPREFIXROUTE, because it
 * is nobody's network.
 *
 * NLM_F_REPLACE creates what is missing, so a refresh that comes too late would bring an address
 * back that the peer may have by now.  Hence valid_until, looked at just before each refresh and
 * again just after it: a process stopped in between undoes what it did, before anything else.
 *
 * An IPv6 address has a preferred lifetime of 0: it is not chosen as the source of what this host
 * sends by itself, and answers all the same.  It does not wait a second for the kernel's duplicate
 * detection (NODAD): the engine has asked around before, and goes on listening.
 *
 * The label IFNAME:supd tells a person whose address that is; IPv6 has no labels.
 */

static int on_refused(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct net *n = arg;

	n->orders_error = -e->error;
	return NL_STOP; /* libnl turns it into its own number */
}

int address_open(struct net *n)
{
	n->orders = nl_socket_alloc();
	if (n->orders == NULL)
		return -ENOMEM;
	nl_socket_modify_err_cb(n->orders, NL_CB_CUSTOM, on_refused, n);

	const int r = nl_connect(n->orders, NETLINK_ROUTE);

	if (r < 0) {
		log_error("netlink: %s", nl_geterror(r));
		return -EIO;
	}
	n->orders_port = nl_socket_get_local_port(n->orders);
	return 0;
}

void address_close(struct net *n)
{
	if (n->orders != NULL)
		nl_socket_free(n->orders);
	n->orders = NULL;
}

/* The address as the kernel knows it; without lifetime and label. */
static struct rtnl_addr *make(const struct net *n, uint32_t row, unsigned vip)
{
	const struct ip_addr *address = &model_service(n->m, row)->vips[vip];
	const unsigned len = ip_addr_len(address->family);
	struct rtnl_addr *a = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build((int)address->family, address->bytes, len);

	if (a != NULL && local != NULL) {
		nl_addr_set_prefixlen(local, (int)len * 8);
		rtnl_addr_set_ifindex(a, (int)n->services[row].ifindex);
		rtnl_addr_set_local(a, local);
		rtnl_addr_set_scope(a, RT_SCOPE_UNIVERSE);
	} else if (a != NULL) {
		rtnl_addr_put(a);
		a = NULL;
	}
	if (local != NULL)
		nl_addr_put(local);
	return a;
}

static void set_four(struct rtnl_addr *a, const char *interface, uint32_t lease)
{
	char label[IFNAMSIZ];
	const int len = snprintf(label, sizeof(label), "%s:supd", interface);

	if (len > 0 && (size_t)len < sizeof(label))
		rtnl_addr_set_label(a, label);
	rtnl_addr_set_flags(a, IFA_F_NOPREFIXROUTE);
	if (lease > 0) {
		rtnl_addr_set_valid_lifetime(a, lease);
		rtnl_addr_set_preferred_lifetime(a, lease);
	}
}

static void set_six(struct rtnl_addr *a, uint32_t lease)
{
	rtnl_addr_set_flags(a, IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
	rtnl_addr_set_valid_lifetime(a, lease > 0 ? lease : LIFETIME_EVER);
	rtnl_addr_set_preferred_lifetime(a, 0);
}

/* errno of a libnl call that the kernel refused, or that failed before it. */
static int order_error(const struct net *n, int r)
{
	if (r >= 0)
		return 0;
	return n->orders_error > 0 ? n->orders_error : EIO;
}

/* Add or refresh: 0 or errno, positive. */
static int put_up(struct net *n, uint32_t row, unsigned vip)
{
	const struct model_service *ms = model_service(n->m, row);
	const uint32_t lease = (uint32_t)(ms->vip_lease / MTIME_SEC(1));
	struct rtnl_addr *a = make(n, row, vip);

	if (a == NULL)
		return ENOMEM;
	if (ms->vips[vip].family == AF_INET)
		set_four(a, model_str(n->m, ms->interface), lease);
	else
		set_six(a, lease);
	n->orders_error = 0;
	const int r = rtnl_addr_add(n->orders, a, NLM_F_CREATE | NLM_F_REPLACE);

	rtnl_addr_put(a);
	return order_error(n, r);
}

/*
 * Whoever put it there, and under whatever label: a virtual address of ours that is on the
 * interface without being ours to hold is what two hosts would answer for.
 */
static int take_off(struct net *n, uint32_t row, unsigned vip)
{
	struct net_service *s = &n->services[row];
	struct rtnl_addr *a;
	int r = 0;

	if ((s->held >> vip & 1) != 0) /* their peers hear of it as long as it is here */
		connections_end(n, &model_service(n->m, row)->vips[vip]);
	s->held &= ~(1u << vip); /* first: the kernel's event about it is no loss */
	s->lost &= ~(1u << vip);
	if (!s->exists)
		return 0;
	a = make(n, row, vip);
	if (a == NULL)
		return ENOMEM;
	n->orders_error = 0;
	r = order_error(n, rtnl_addr_delete(n->orders, a, 0));
	rtnl_addr_put(a);
	if (r == EADDRNOTAVAIL || r == ENODEV)
		return 0;
	if (r != 0)
		s->held |= 1u << vip;
	return r;
}

static int take_off_all(struct net *n, uint32_t row)
{
	int error = 0;

	for (unsigned i = 0; i < model_service(n->m, row)->n_vips; i++) {
		const int r = take_off(n, row, i);

		connections_end(n, &model_service(n->m, row)->vips[i]); /* new ones, and lost ones */
		error = error != 0 ? error : r;
	}
	return error;
}

/* The end of an order's validity; an ADD may come without one. */
static bool is_late(const struct ipc_address *o)
{
	if (o->op == IPC_ADDRESS_ADD && o->valid_until == 0)
		return false;
	return mtime_now() >= o->valid_until;
}

static int put_up_all(struct net *n, uint32_t row, uint32_t skip)
{
	struct net_service *s = &n->services[row];
	int error = skip != 0 ? EADDRNOTAVAIL : 0;

	if (!s->exists)
		return ENODEV;
	for (unsigned i = 0; i < model_service(n->m, row)->n_vips; i++) {
		if (skip >> i & 1)
			continue;
		const int r = put_up(n, row, i);

		if (r == 0)
			s->held |= 1u << i;
		error = error != 0 ? error : r;
	}
	return error;
}

/* ADD brings lost addresses back, REFRESH does not: the engine decides about that. */
static int add_or_refresh(struct net *n, uint32_t row, const struct ipc_address *o)
{
	struct net_service *s = &n->services[row];
	int error;

	if (o->op == IPC_ADDRESS_ADD)
		s->lost = 0;
	if (!is_late(o)) {
		error = put_up_all(n, row, s->lost);
		if (!is_late(o))
			return error;
	}
	error = take_off_all(n, row);
	log_warn("%s: an address order came too late, %s", model_service_name(n->m, row),
		 error == 0 ? "addresses removed" : "and removing the addresses failed");
	return ETIME;
}

void address_order(struct net *n, const struct ipc_address *o)
{
	const uint32_t row = (uint32_t)o->service;
	struct ipc_address_result r = {.order = o->order, .service = o->service, .op = o->op};

	monitor_drain(n); /* what was lost before this order must not be refreshed by it */
	switch ((enum ipc_address_op)o->op) {
	case IPC_ADDRESS_ADD:
	case IPC_ADDRESS_REFRESH:
		r.error = add_or_refresh(n, row, o);
		break;
	case IPC_ADDRESS_REMOVE:
		r.error = take_off_all(n, row);
		break;
	}
	r.present = n->services[row].held;
	net_header(n, &r.h, IPC_ADDRESS_RESULT);
	net_send(n, &r, sizeof(r), NULL, 0);
}

void address_lost(struct net *n, uint32_t row, uint32_t mask)
{
	struct net_service *s = &n->services[row];
	const uint32_t lost = s->held & mask;

	s->held &= ~lost;
	s->lost |= lost;
	for (unsigned i = 0; lost >> i != 0; i++) {
		struct ipc_address_lost msg = {.service = (int32_t)row, .vip = i};

		if ((lost >> i & 1) == 0)
			continue;
		net_header(n, &msg.h, IPC_ADDRESS_LOST);
		net_send(n, &msg, sizeof(msg), NULL, 0);
	}
}

void address_abandon(struct net *n, uint32_t row)
{
	const struct net_service *s = &n->services[row];

	for (unsigned i = 0; s->held >> i != 0; i++) {
		struct rtnl_addr *a = (s->held >> i & 1) != 0 ? make(n, row, i) : NULL;

		if (a == NULL)
			continue;
		rtnl_addr_delete(n->orders, a, 0); /* fails where the interface is gone */
		rtnl_addr_put(a);
	}
}

void address_remove_held(struct net *n)
{
	for (uint32_t row = 0; row < n->m->n_services; row++) {
		if (n->services[row].held == 0)
			continue;
		const int error = take_off_all(n, row);

		if (error != 0)
			log_error("%s: removing the addresses failed: %s",
				  model_service_name(n->m, row), strerror(error));
	}
}
