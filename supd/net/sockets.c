/* SPDX-License-Identifier: MIT */
#include "supd/net/net_internal.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * Sockets that need a privilege to be made and none to be used; made here, used by the engine.
 * What the engine could still do with them is narrowed first: bound to one address and interface,
 * filtered, and the filter locked.
 *
 * Nothing stays open here: an engine that ends takes its sockets with it, and the next one gets
 * new ones, so that it never reads what was sent to its predecessor and takes it for news.
 *
 * An attempt that fails is told once for each different error and made again by itself.
 */

#define RETRY         1.0  /* s */
#define RETRY_IN_USE  0.02 /* s; the port of an engine that is just being killed */
#define IN_USE_TRIES  50
#define TOS_CONTROL   0xc0 /* internetwork control (RFC 791) */
#define PRIORITY_HIGH 6    /* the highest that needs no capability */
#define SERVICE_FDS   3 /* VRRP, ARP, ND */

/* ---- options -------------------------------------------------------------------------------- */

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int bind_address(int fd, const struct ip_addr *address, uint16_t port)
{
	struct sockaddr_storage sa;
	const socklen_t len = ip_addr_to_sockaddr(address, port, 0, &sa);

	return bind(fd, (const struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* ---- the sockets ---------------------------------------------------------------------------- */

/* Bind to the address of one of this node's paths, which need not be there yet. */
static int bind_own(const struct net *n, int fd, unsigned path, uint16_t port)
{
	const int r = set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	struct ip_addr own;

	if (r < 0)
		return r;
	if (n->m->self == MODEL_NONE)
		return -EADDRNOTAVAIL;
	own = model_node_path(model_node(n->m, (uint32_t)n->m->self), path);
	return bind_address(fd, &own, port);
}

static int prepare_peer(const struct net *n, int fd, unsigned path)
{
	int r = set_int(fd, IPPROTO_IP, IP_TOS, TOS_CONTROL);

	if (r == 0)
		r = set_int(fd, SOL_SOCKET, SO_PRIORITY, PRIORITY_HIGH);
	if (r == 0)
		r = bind_own(n, fd, path, n->m->supd.peer_port);
	return r;
}

/* A socket of this kind, not blocking and not inherited: descriptor or -errno. */
static int new_socket(int family, int type, int protocol)
{
	const int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

static int open_service(const struct net *n, uint32_t row, int ret_fds[SERVICE_FDS])
{
	const struct net_service *s = &n->services[row];
	int r;

	for (unsigned i = 0; i < SERVICE_FDS; i++)
		ret_fds[i] = -1;
	if (!s->exists)
		return -ENODEV;
	r = ret_fds[0] = vrrp_socket_open(n, row);
	if (r >= 0)
		r = ret_fds[1] = neigh_open(n, row, AF_INET);
	if (r >= 0 && neigh_wants_six(n, row))
		r = ret_fds[2] = neigh_open(n, row, AF_INET6);
	return r < 0 ? r : 0;
}

/* ---- telling and trying again --------------------------------------------------------------- */

static void retry_after(struct net *n, double seconds)
{
	if (ev_is_active(&n->retry_timer) &&
	    ev_timer_remaining(n->loop, &n->retry_timer) <= seconds)
		return;
	ev_timer_stop(n->loop, &n->retry_timer);
	ev_timer_set(&n->retry_timer, seconds, 0.);
	ev_timer_start(n->loop, &n->retry_timer);
}

static unsigned peer_paths(const struct net *n)
{
	return n->m->self == MODEL_NONE
		       ? 1
		       : model_node_n_paths(model_node(n->m, (uint32_t)n->m->self));
}

static void tell_peer(struct net *n, unsigned path, int error, int fd)
{
	struct ipc_peer_socket msg = {.error = error, .path = path};

	net_header(n, &msg.h, IPC_PEER_SOCKET);
	net_send(n, &msg, sizeof(msg), &fd, fd >= 0 ? 1 : 0);
}

static void peer_failed(struct net *n, unsigned path, int error)
{
	struct net_peer_path *p = &n->peer[path];

	if (p->error != error) {
		log_error("peer socket of path %u: %s, trying again", path, strerror(error));
		tell_peer(n, path, error, -1);
	}
	p->error = error;
	p->tries++;
	retry_after(n, error == EADDRINUSE && p->tries < IN_USE_TRIES ? RETRY_IN_USE : RETRY);
}

static void try_peer(struct net *n, unsigned path)
{
	int fd = new_socket(AF_INET, SOCK_DGRAM, 0);
	const int r = fd < 0 ? fd : prepare_peer(n, fd, path);

	if (r < 0) {
		peer_failed(n, path, -r);
	} else {
		n->peer[path] = (struct net_peer_path){.open = true};
		tell_peer(n, path, 0, fd);
	}
	fd_close(&fd);
}

static void tell_service(struct net *n, uint32_t row, int error, const int fds[SERVICE_FDS])
{
	const struct net_service *s = &n->services[row];
	struct ipc_service_sockets msg;

	memset(&msg, 0, sizeof(msg));
	net_header(n, &msg.h, IPC_SERVICE_SOCKETS);
	msg.service = (int32_t)row;
	msg.error = error;
	msg.ifindex = s->ifindex;
	memcpy(msg.mac, s->mac, sizeof(msg.mac));
	net_send(n, &msg, sizeof(msg), fds, error != 0 ? 0 : fds[2] < 0 ? 2 : 3);
}

static void try_service(struct net *n, uint32_t row)
{
	struct net_service *s = &n->services[row];
	int fds[SERVICE_FDS];
	const int r = open_service(n, row, fds);

	if (r < 0) {
		if (s->sockets_error != -r) {
			log_error("%s: sockets on %s: %s, trying again",
				  model_service_name(n->m, row),
				  model_str(n->m, model_service(n->m, row)->interface),
				  strerror(-r));
			tell_service(n, row, -r, fds);
		}
		s->sockets_error = -r;
		if (s->exists) /* else the monitor says when it is there */
			retry_after(n, RETRY);
	} else {
		s->sockets_open = true;
		s->sockets_error = 0;
		tell_service(n, row, 0, fds);
	}
	for (unsigned i = 0; i < SERVICE_FDS; i++)
		fd_close(&fds[i]);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct net *n = w->data;

	for (unsigned path = 0; n->peer_wanted && path < peer_paths(n); path++)
		if (!n->peer[path].open)
			try_peer(n, path);
	for (uint32_t row = 0; row < n->m->n_services; row++)
		if (n->services[row].wanted && n->services[row].exists &&
		    !n->services[row].sockets_open)
			try_service(n, row);
}

void sockets_want_peer(struct net *n)
{
	n->peer_wanted = true;
	memset(n->peer, 0, sizeof(n->peer));
	for (unsigned path = 0; path < peer_paths(n); path++)
		try_peer(n, path);
}

void sockets_want_service(struct net *n, uint32_t row)
{
	struct net_service *s = &n->services[row];

	s->wanted = true;
	s->sockets_open = false;
	s->sockets_error = 0;
	try_service(n, row);
}

void sockets_reopen_service(struct net *n, uint32_t row)
{
	n->services[row].sockets_open = false;
	n->services[row].sockets_error = 0;
	if (n->services[row].wanted)
		try_service(n, row);
}

void sockets_forget(struct net *n)
{
	n->peer_wanted = n->routes_wanted = false;
	for (uint32_t row = 0; row < n->m->n_services; row++)
		n->services[row].wanted = false;
}

void sockets_init(struct net *n)
{
	ev_timer_init(&n->retry_timer, on_retry, RETRY, 0.);
	n->retry_timer.data = n;
}

void sockets_fini(struct net *n)
{
	ev_timer_stop(n->loop, &n->retry_timer);
}
