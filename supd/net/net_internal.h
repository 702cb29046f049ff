/* SPDX-License-Identifier: MIT */
#ifndef SUPD_NET_NET_INTERNAL_H
#define SUPD_NET_NET_INTERNAL_H

#include <ev.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"

struct net;
struct nl_sock;
struct nlmsghdr;

/* A channel in the loop. */
struct net_link {
	struct channel channel;
	struct ev_io reader, writer;
	struct net *net;
};

/* What net knows about one service: its interface, its sockets, its addresses. */
struct net_service {
	bool wanted; /* OPEN_SERVICE came from the present engine */

	/* monitor.c: the interface as rtnetlink tells it */
	bool exists, up;
	uint32_t ifindex;
	uint8_t mac[6];
	struct ip_addr link_local; /* none: there is none that is ready */
	bool router;               /* forwards IPv6 */
	struct ip_addr gateways[2]; /* IPv4, IPv6 */
	bool seen;           /* in the link dump under way */
	bool seen_local;     /* link_local, in the address dump under way */
	uint32_t seen_vips;  /* in the address dump under way */
	struct ip_addr best[2]; /* in the route dump under way */
	uint32_t best_metric[2];

	/* address.c: bit i is vips[i] */
	uint32_t held; /* we put it up and did not take it off */
	uint32_t lost; /* told as ADDRESS_LOST; only an ADD brings it back */

	/* sockets.c */
	bool sockets_open;
	int sockets_error; /* last one told; 0: none */
};

struct net {
	struct ev_loop *loop;
	const struct model *m;
	uint32_t generation; /* of the newest engine */
	struct net_link keeper, engine;
	struct ev_timer end_timer;
	bool ending; /* the keeper's end is closed */

	/* address.c */
	struct nl_sock *orders; /* synchronous: waits for the kernel's answer */
	uint32_t orders_port;
	int orders_error; /* errno of the kernel's last refusal, positive */

	/* connections.c */
	bool cannot_end; /* the kernel has refused, and will again */

	/* monitor.c */
	int monitor_buffer; /* bytes; of a test: less than there is to hear */
	struct nl_sock *monitor;
	struct ev_io monitor_watcher;
	struct ev_timer redump_timer;
	bool dumping, dump_done, redump, routes_dirty;

	/* sockets.c */
	struct ev_timer retry_timer;
	bool peer_wanted;
	struct net_peer_path {
		bool open;
		int error; /* last one told; 0: none */
		unsigned tries;
	} peer[MODEL_PATHS_MAX];
	bool routes_wanted;

	struct net_service *services; /* n_services of the model */
};

/* ---- net.c: to the engine; what it does not take is dropped with a log line */
void net_send(struct net *n, void *msg, size_t len, const int *fds, size_t n_fds);
void net_header(const struct net *n, struct ipc_header *h, enum ipc_type type);

/* ---- address.c */
int address_open(struct net *n); /* 0 or -errno */
void address_close(struct net *n);
void address_order(struct net *n, const struct ipc_address *order);
/* Something else than we took vips of `mask` off: tell it, once. */
void address_lost(struct net *n, uint32_t row, uint32_t mask);
void address_remove_held(struct net *n);
/* The interface has another name, or is gone: nothing of ours may stay on it. */
void address_abandon(struct net *n, uint32_t row);

/* ---- connections.c */
/* End the TCP connections that have this address on our side. */
void connections_end(struct net *n, const struct ip_addr *address);

/* ---- monitor.c */
int monitor_open(struct net *n); /* with a first dump; 0 or -errno */
void monitor_close(struct net *n);
/* Read all events that wait. */
void monitor_drain(struct net *n);
void monitor_tell_link(struct net *n, uint32_t row);
/* Ask for everything of one kind and wait for the end of the answer: 0 or -errno. */
int monitor_dump(struct net *n, int type, void *header, size_t len);
/* Dump the routes soon: one of them, or a link, has changed. */
void monitor_want_routes(struct net *n);

/* ---- gateway.c */
void gateway_tell(struct net *n, uint32_t row);
void gateway_message(struct net *n, struct nlmsghdr *h); /* about a route */
int gateway_dump(struct net *n);                         /* and tell what changed; 0 or -errno */

/* ---- six.c */
void six_address(struct net *n, struct nlmsghdr *h); /* event, or a dump's line */
void six_dump_begins(struct net *n);
void six_dump_ends(struct net *n);
bool six_link_forwards(struct nlmsghdr *h); /* a message about a link */
void six_netconf(struct net *n, struct nlmsghdr *h);

/* ---- neigh.c */
/* ARP (AF_INET) or ND (AF_INET6) on the service's interface: a descriptor or -errno. */
int neigh_open(const struct net *n, uint32_t row, uint32_t family);
/* Whether the service has anything of IPv6 to set or to ask. */
bool neigh_wants_six(const struct net *n, uint32_t row);

/* ---- vrrp_socket.c: descriptor or -errno; the interface exists */
int vrrp_socket_open(const struct net *n, uint32_t row);

/* ---- sockets.c */
void sockets_init(struct net *n);
void sockets_fini(struct net *n);
void sockets_want_peer(struct net *n); /* on every path, each by itself */
void sockets_want_service(struct net *n, uint32_t row);
/* The interface is new: old sockets, if any, are dead. */
void sockets_reopen_service(struct net *n, uint32_t row);
/* A new engine asks for everything itself. */
void sockets_forget(struct net *n);

#endif
