/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "supd/core/arp.h"

/*
 * The packet sockets for ARP and for neighbour discovery.  The engine sends what it likes on this
 * link through them; what it hears is narrowed here, and the filter locked: answers to ourselves,
 * and whatever claims one of our virtual addresses.  A broadcast of somebody else wakes nobody.
 *
 * Frames are filtered at their Ethernet header; offsets are from there.
 */

#define FILTER_ACCEPT 0x40000
#define FILTER_MAX    192

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned n;
};

static void put(struct filter *f, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (f->n < FILTER_MAX)
		f->code[f->n] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
	f->n++;
}

static void load(struct filter *f, uint16_t width, uint32_t offset)
{
	put(f, BPF_LD | width | BPF_ABS, offset, 0, 0);
}

/* Refuse unless what was loaded is k. */
static void require(struct filter *f, uint32_t k)
{
	put(f, BPF_JMP | BPF_JEQ | BPF_K, k, 1, 0);
	put(f, BPF_RET | BPF_K, 0, 0, 0);
}

static void accept_if(struct filter *f, uint32_t k)
{
	put(f, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	put(f, BPF_RET | BPF_K, FILTER_ACCEPT, 0, 0);
}

/* A reply, or a sender's address that is one of ours. */
static void filter_arp(struct filter *f, const struct model_service *ms)
{
	load(f, BPF_H, 12); /* Ethernet type */
	require(f, ETH_P_ARP);
	load(f, BPF_H, 20); /* operation */
	accept_if(f, ARP_OP_REPLY);
	load(f, BPF_W, 28); /* sender's protocol address */
	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ms->vips[i].family == AF_INET)
			accept_if(f, ntohl(ms->vips[i].v4.s_addr));
	put(f, BPF_RET | BPF_K, 0, 0, 0);
}

/* Accept where the 16 bytes at index register X are this address. */
static void accept_if_at_x(struct filter *f, const struct in6_addr *a)
{
	for (unsigned word = 0; word < 4; word++) {
		uint32_t k;

		memcpy(&k, a->s6_addr + 4 * word, sizeof(k));
		put(f, BPF_LD | BPF_W | BPF_IND, 4 * word, 0, 0);
		/* Else behind this block: two for each word that is left, and the return. */
		put(f, BPF_JMP | BPF_JEQ | BPF_K, ntohl(k), 0, (uint8_t)(2 * (3 - word) + 1));
	}
	put(f, BPF_RET | BPF_K, FILTER_ACCEPT, 0, 0);
}

/*
 * An advertisement to one host (ours: it comes to our MAC); an advertisement whose target, or a
 * solicitation whose source, is one of our addresses.
 */
static void filter_nd(struct filter *f, const struct model_service *ms)
{
	load(f, BPF_B, 20); /* next header */
	require(f, IPPROTO_ICMPV6);
	load(f, BPF_B, 54); /* type */
	put(f, BPF_LDX | BPF_W | BPF_IMM, 22, 0, 0); /* source */
	put(f, BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_SOLICIT, 6, 0);
	require(f, ND_NEIGHBOR_ADVERT);
	load(f, BPF_B, 0);
	put(f, BPF_JMP | BPF_JSET | BPF_K, 1, 1, 0); /* Ethernet's group bit */
	put(f, BPF_RET | BPF_K, FILTER_ACCEPT, 0, 0);
	put(f, BPF_LDX | BPF_W | BPF_IMM, 62, 0, 0); /* target */
	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ms->vips[i].family == AF_INET6)
			accept_if_at_x(f, &ms->vips[i].v6);
	put(f, BPF_RET | BPF_K, 0, 0, 0);
}

static int attach(int fd, const struct filter *f)
{
	const struct sock_fprog program = {.len = (unsigned short)f->n,
					   .filter = (struct sock_filter *)(uintptr_t)f->code};
	const int yes = 1;

	if (f->n > FILTER_MAX)
		return -E2BIG;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &yes, sizeof(yes)) < 0)
		return -errno;
	return 0;
}

static int prepare(const struct model_service *ms, uint32_t ifindex, uint32_t family, int fd)
{
	const struct sockaddr_ll sa = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(family == AF_INET6 ? ETH_P_IPV6 : ETH_P_ARP),
		.sll_ifindex = (int)ifindex};
	struct filter f = {.n = 0};
	const int yes = 1;
	int r;

	if (family == AF_INET6)
		filter_nd(&f, ms);
	else
		filter_arp(&f, ms);
	r = attach(fd, &f);
	if (r < 0)
		return r;
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return 0;
}

int neigh_open(const struct net *n, uint32_t row, uint32_t family)
{
	/* For no protocol, so that nothing comes in before filter and interface are set. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int r = fd < 0 ? -errno
			     : prepare(model_service(n->m, row), n->services[row].ifindex, family,
				       fd);

	if (r < 0)
		fd_close(&fd);
	return r < 0 ? r : fd;
}

bool neigh_wants_six(const struct net *n, uint32_t row)
{
	const struct model_service *ms = model_service(n->m, row);
	bool six = false;

	for (unsigned i = 0; i < ms->n_vips; i++)
		six = six || ms->vips[i].family == AF_INET6;
	for (unsigned i = 0; i < ms->n_targets; i++)
		six = six || ms->targets[i].family == AF_INET6;
	for (uint32_t i = 0; i < n->m->n_nodes; i++)
		six = six || model_node(n->m, i)->address.family == AF_INET6;
	return six;
}
