/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

#include "common/log.h"

/*
 * TCP connections of an address that leaves are ended (SOCK_DESTROY), whoever's they are on this
 * host: nobody tells them that their address has gone.  Left alone, they hang until a time-out of
 * minutes, or go on where they stopped when the address comes back, while their peer talks to the
 * new node; of IPv6, segments even go on leaving with the lost address.
 *
 * While the address is still here, ending one resets its peer too, which then connects anew at
 * once.  Listeners are left: they work again when the address comes back.
 *
 * A kernel without CONFIG_INET_DIAG_DESTROY refuses; that is said once.
 */

#define STATES (~(1u << TCP_LISTEN | 1u << TCP_TIME_WAIT | 1u << TCP_CLOSE))
#define BATCH  512
#define ROUNDS 64 /* 32,768 connections */

struct batch {
	struct inet_diag_req_v2 found[BATCH];
	unsigned n;
};

static int on_socket(struct nl_msg *msg, void *arg)
{
	const struct inet_diag_msg *d = nlmsg_data(nlmsg_hdr(msg));
	struct batch *b = arg;

	if (nlmsg_datalen(nlmsg_hdr(msg)) < (int)sizeof(*d) || b->n == BATCH)
		return NL_OK;
	b->found[b->n++] = (struct inet_diag_req_v2){.sdiag_family = d->idiag_family,
						     .sdiag_protocol = IPPROTO_TCP,
						     .id = d->id};
	return NL_OK;
}

/* The kernel's filter: a local address that is this one, also in an IPv6 socket's clothes. */
static int put_filter(struct nl_msg *msg, const struct ip_addr *address)
{
	const unsigned len = ip_addr_len(address->family);
	struct inet_diag_bc_op op = {.code = INET_DIAG_BC_S_COND};
	struct inet_diag_hostcond cond = {.family = (uint8_t)address->family,
					  .prefix_len = (uint8_t)(len * 8),
					  .port = -1};
	const size_t size = sizeof(op) + sizeof(cond) + len;
	uint8_t filter[sizeof(op) + sizeof(cond) + 16];

	op.yes = (uint8_t)size; /* the end of the program: take it */
	op.no = (uint16_t)(size + 4);
	memcpy(filter, &op, sizeof(op));
	memcpy(filter + sizeof(op), &cond, sizeof(cond));
	memcpy(filter + sizeof(op) + sizeof(cond), address->bytes, len);
	return nla_put(msg, INET_DIAG_REQ_BYTECODE, (int)size, filter);
}

static int send_request(struct nl_sock *sk, int type, int flags,
			const struct inet_diag_req_v2 *request, const struct ip_addr *filter)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	int r = msg == NULL ? -NLE_NOMEM : 0;

	if (r == 0)
		r = nlmsg_append(msg, (void *)(uintptr_t)request, sizeof(*request), NLMSG_ALIGNTO);
	if (r == 0 && filter != NULL)
		r = put_filter(msg, filter);
	if (r == 0)
		r = nl_send_auto(sk, msg);
	nlmsg_free(msg);
	return r < 0 ? r : 0;
}

/* Those of one family of sockets: as many as there is room for. */
static int find(struct nl_sock *sk, const struct ip_addr *address, uint8_t family,
		struct batch *ret)
{
	const struct inet_diag_req_v2 all = {
		.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = STATES};
	int r;

	ret->n = 0;
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, on_socket, ret);
	r = send_request(sk, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &all, address);
	return r < 0 ? r : nl_recvmsgs_default(sk);
}

/* How many are gone, or a libnl error.  Some may have ended by themselves meanwhile. */
static int destroy(struct nl_sock *sk, const struct batch *b)
{
	int ended = 0;

	for (unsigned i = 0; i < b->n; i++) {
		int r = send_request(sk, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, &b->found[i],
				     NULL);

		if (r == 0)
			r = nl_wait_for_ack(sk);
		if (r == -NLE_OPNOTSUPP || r == -NLE_PERM)
			return r;
		ended += r >= 0;
	}
	return ended;
}

static int end_of_family(struct nl_sock *sk, const struct ip_addr *address, uint8_t family)
{
	struct batch b;
	int total = 0;

	for (int round = 0; round < ROUNDS; round++) {
		int r = find(sk, address, family, &b);

		if (r >= 0)
			r = destroy(sk, &b);
		if (r < 0)
			return r;
		total += r;
		if (r == 0 || b.n < BATCH)
			break;
	}
	return total;
}

/* An IPv4 address may be that of a socket of either family. */
static int end_all(struct nl_sock *sk, const struct ip_addr *address)
{
	int four = 0, six;

	if (address->family == AF_INET)
		four = end_of_family(sk, address, AF_INET);
	if (four < 0)
		return four;
	six = end_of_family(sk, address, AF_INET6);
	return six < 0 && address->family == AF_INET6 ? six : four + (six > 0 ? six : 0);
}

void connections_end(struct net *n, const struct ip_addr *address)
{
	struct nl_sock *sk = n->cannot_end ? NULL : nl_socket_alloc();
	char text[IP_ADDR_TEXT];
	int r;

	if (sk == NULL)
		return;
	r = nl_connect(sk, NETLINK_SOCK_DIAG);
	if (r >= 0)
		r = end_all(sk, address);
	nl_socket_free(sk);
	if (r > 0)
		log_info("%s: %d connections ended", ip_addr_text(address, text), r);
	if (r >= 0)
		return;
	n->cannot_end = true;
	log_notice("connections to an address that leaves cannot be ended on this kernel (%s): "
		   "they hang until they time out",
		   nl_geterror(r));
}
