/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "supd/core/vrrp_packet.h"

/*
 * The raw socket of a service's adverts, for both directions.
 *
 *   unicast     bound to the node's own address, which need not be there yet
 *   multicast   bound to the group and joined on the interface alone; what it sends is not looped
 *
 * Bound to the interface in either case, so that neither a route nor a stranger on another network
 * leads an advert astray.  An IPv4 datagram comes with its header, an IPv6 one without, but with
 * destination and hop limit beside it, and the kernel sees to its checksum.
 *
 * The filter lets only adverts of the service's VRID wake the engine: each service's socket is
 * given the whole interface's.  Numbers that no service of ours has on that interface go to the
 * first one, so that a wrong number is counted and told once, not unseen and not 255 times.
 */

#define TOS_CONTROL     0xc0 /* internetwork control (RFC 791) */
#define PRIORITY_HIGH   6    /* the highest that needs no capability */
#define FILTER_ACCEPT   0x40000
#define FILTER_MAX      (2 * MODEL_SERVICES_MAX + 8)
#define CHECKSUM_OFFSET 6
#define DISCARD_MAX     1000

static int set(int fd, int level, int option, const void *value, size_t len)
{
	return setsockopt(fd, level, option, value, (socklen_t)len) < 0 ? -errno : 0;
}

/* ---- the filter ----------------------------------------------------------------------------- */

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short n;
};

static void put(struct filter *f, struct sock_filter instruction)
{
	f->code[f->n++] = instruction;
}

/* Return `verdict` for this VRID, else go on. */
static void put_case(struct filter *f, uint8_t vrid, uint32_t verdict)
{
	put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, vrid, 0, 1));
	put(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

static bool same_interface(const struct net *n, uint32_t a, uint32_t b)
{
	return strcmp(model_str(n->m, model_service(n->m, a)->interface),
		      model_str(n->m, model_service(n->m, b)->interface)) == 0;
}

static bool is_first(const struct net *n, uint32_t row)
{
	for (uint32_t i = 0; i < row; i++)
		if (same_interface(n, i, row))
			return false;
	return true;
}

static void make_filter(const struct net *n, uint32_t row, struct filter *f)
{
	const struct model_service *ms = model_service(n->m, row);
	const bool first = is_first(n, row);

	f->n = 0;
	if (ms->transport == MODEL_TRANSPORT_UDP) {
		put(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0));
		return;
	}
	if (model_vrrp_family(ms) == AF_INET) {
		/* length of the IP header */
		put(f, (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0));
		put(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_IND, 1));
	} else {
		put(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1));
	}
	put_case(f, ms->vrid, FILTER_ACCEPT);
	for (uint32_t i = row + 1; first && i < n->m->n_services; i++)
		if (same_interface(n, i, row))
			put_case(f, model_service(n->m, i)->vrid, 0);
	put(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, first ? FILTER_ACCEPT : 0));
}

static int attach_filter(const struct net *n, uint32_t row, int fd)
{
	const int on = 1;
	struct filter f;
	struct sock_fprog program = {.filter = f.code};
	int r;

	make_filter(n, row, &f);
	program.len = f.n;
	r = set(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	return r < 0 ? r : set(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on));
}

/* ---- options -------------------------------------------------------------------------------- */

struct option {
	int level, name, value;
};

static const struct option options4[] = {
	{IPPROTO_IP, IP_TTL, VRRP_TTL},
	{IPPROTO_IP, IP_TOS, TOS_CONTROL},
	{IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT},
	{IPPROTO_IP, IP_FREEBIND, 1},
	{IPPROTO_IP, IP_MULTICAST_TTL, VRRP_TTL},
	{IPPROTO_IP, IP_MULTICAST_LOOP, 0},
	{IPPROTO_IP, IP_MULTICAST_ALL, 0},
	{0},
};

static const struct option options6[] = {
	{IPPROTO_IPV6, IPV6_CHECKSUM, CHECKSUM_OFFSET},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, VRRP_TTL},
	{IPPROTO_IPV6, IPV6_TCLASS, TOS_CONTROL},
	{IPPROTO_IPV6, IPV6_FREEBIND, 1},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, VRRP_TTL},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0},
	{IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
	{0},
};

static int set_options(int fd, const struct option *o)
{
	const int high = PRIORITY_HIGH;
	int r = 0;

	for (; r == 0 && o->name != 0; o++)
		r = set(fd, o->level, o->name, &o->value, sizeof(o->value));
	/* After the type of service, which sets a priority of its own. */
	return r < 0 ? r : set(fd, SOL_SOCKET, SO_PRIORITY, &high, sizeof(high));
}

static int join4(int fd, const struct ip_addr *own, int ifindex)
{
	const struct ip_addr group = vrrp_packet_group(AF_INET);
	struct ip_mreqn r = {.imr_address = own->v4, .imr_ifindex = ifindex};
	const int error = set(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof(r));

	r.imr_multiaddr = group.v4;
	return error < 0 ? error : set(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &r, sizeof(r));
}

static int join6(int fd, int ifindex)
{
	const struct ip_addr group = vrrp_packet_group(AF_INET6);
	const struct ipv6_mreq r = {.ipv6mr_multiaddr = group.v6,
				    .ipv6mr_interface = (unsigned)ifindex};
	const int error = set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof(ifindex));

	return error < 0 ? error : set(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &r, sizeof(r));
}

static int bind_to(int fd, const struct ip_addr *address, uint32_t ifindex)
{
	struct sockaddr_storage sa;
	const socklen_t len = ip_addr_to_sockaddr(address, 0, ifindex, &sa);

	return bind(fd, (const struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int place(const struct net *n, uint32_t row, int fd)
{
	const struct model_service *ms = model_service(n->m, row);
	const uint32_t ifindex = n->services[row].ifindex, family = model_vrrp_family(ms);
	struct ip_addr at;
	int r = 0;

	if (n->m->self == MODEL_NONE)
		return -EADDRNOTAVAIL;
	at = model_vrrp_address(ms, model_node(n->m, (uint32_t)n->m->self));
	if (ms->multicast) {
		r = family == AF_INET ? join4(fd, &at, (int)ifindex) : join6(fd, (int)ifindex);
		at = vrrp_packet_group(family);
	}
	/* With transport = udp, or alone in the file, there may be none of that family. */
	return r < 0 || at.family != family ? r : bind_to(fd, &at, ifindex);
}

static int prepare(const struct net *n, uint32_t row, int fd)
{
	const struct model_service *ms = model_service(n->m, row);
	const char *interface = model_str(n->m, ms->interface);
	int r = attach_filter(n, row, fd);

	if (r == 0)
		r = set(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface) + 1);
	if (r == 0)
		r = set_options(fd, model_vrrp_family(ms) == AF_INET ? options4 : options6);
	if (r == 0)
		r = place(n, row, fd);
	return r;
}

/* What came before everything was narrowed may be from another interface. */
static void discard_received(int fd)
{
	char byte;

	for (int i = 0; i < DISCARD_MAX && recv(fd, &byte, 1, MSG_DONTWAIT) >= 0; i++)
		;
}

int vrrp_socket_open(const struct net *n, uint32_t row)
{
	const int family = (int)model_vrrp_family(model_service(n->m, row));
	int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, VRRP_PROTOCOL);
	int r;

	if (fd < 0)
		return -errno;
	r = prepare(n, row, fd);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	discard_received(fd);
	return fd;
}
