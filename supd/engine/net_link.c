/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * Orders to net, and its results.  A net process that was started anew knows nothing: it is asked
 * for every socket again, and what it hands over replaces what the one before handed over.  While
 * there is none the old sockets go on working; addresses wait for their lease.
 */
union net_msg {
	struct ipc_header h;
	struct ipc_peer_socket peer_socket;
	struct ipc_service_sockets sockets;
	struct ipc_address_result address_result;
	struct ipc_address_lost address_lost;
	struct ipc_link link;
	struct ipc_gateway gateway;
};

static bool valid_service(const struct engine *e, int32_t row)
{
	return row >= 0 && (uint32_t)row < e->m->n_services;
}

/* A descriptor that the caller takes over, or -1. */
static int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

static bool on_peer_socket(struct engine *e, const union net_msg *m, int *fds)
{
	const struct ipc_peer_socket *s = &m->peer_socket;
	const struct model_node *self = model_node(e->m, (uint32_t)e->m->self);

	if (s->path >= model_node_n_paths(self) || (s->error == 0 && fds[0] < 0))
		return false;
	if (s->error != 0) {
		log_warn("peer link: no socket for path %u: %s, net tries again%s", s->path,
			 strerror(s->error),
			 peer_socket_ready(e) || s->error != EADDRINUSE
				 ? ""
				 : "; is another supd running for this node? Services stay down");
		return true;
	}
	peer_io_open(e, s->path, take_fd(&fds[0]));
	scribe_tell_loaded(e);
	return true;
}

static bool on_service_sockets(struct engine *e, const union net_msg *m, int *fds)
{
	struct ipc_service_sockets s = m->sockets;

	if (!valid_service(e, s.service))
		return false;
	if (s.error == 0 && (fds[0] < 0 || fds[1] < 0))
		return false;
	if (s.error != 0) {
		log_warn("service %s: no sockets: %s, net tries again",
			 model_service_name(e->m, (uint32_t)s.service), strerror(s.error));
		service_io_sockets(e, &s, -1, NULL);
		return true;
	}
	const int neigh[2] = { take_fd(&fds[1]), take_fd(&fds[2]) };

	service_io_sockets(e, &s, take_fd(&fds[0]), neigh);
	return true;
}

static bool on_address_result(struct engine *e, const union net_msg *m)
{
	if (!valid_service(e, m->address_result.service))
		return false;
	service_io_address_result(e, &m->address_result);
	return true;
}

static bool on_address_lost(struct engine *e, const union net_msg *m)
{
	const struct ipc_address_lost *l = &m->address_lost;

	if (!valid_service(e, l->service) ||
	    l->vip >= model_service(e->m, (uint32_t)l->service)->n_vips)
		return false;
	service_io_address_lost(e, l);
	return true;
}

static bool on_link(struct engine *e, const union net_msg *m)
{
	if (!valid_service(e, m->link.service))
		return false;
	service_io_link(e, &m->link);
	return true;
}

static bool on_gateway(struct engine *e, const union net_msg *m)
{
	if (!valid_service(e, m->gateway.service))
		return false;
	service_io_gateway(e, &m->gateway);
	return true;
}

static bool handle(struct engine *e, const union net_msg *m, size_t len, int *fds)
{
	switch (m->h.type) {
	case IPC_PEER_SOCKET:
		return len == sizeof(m->peer_socket) && on_peer_socket(e, m, fds);
	case IPC_SERVICE_SOCKETS:
		return len == sizeof(m->sockets) && on_service_sockets(e, m, fds);
	case IPC_ADDRESS_RESULT:
		return len == sizeof(m->address_result) && on_address_result(e, m);
	case IPC_ADDRESS_LOST:
		return len == sizeof(m->address_lost) && on_address_lost(e, m);
	case IPC_LINK:
		return len == sizeof(m->link) && on_link(e, m);
	case IPC_GATEWAY:
		return len == sizeof(m->gateway) && on_gateway(e, m);
	default: /* an integer off the wire */
		return false;
	}
}

/* One message; false: nothing more waits. */
static bool receive(struct engine *e)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds = 0;
	union net_msg m;
	ssize_t len;

	for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
		fds[i] = -1;
	len = channel_recv(&e->net.channel, &m, sizeof(m), fds, &n_fds);
	if (len == -EAGAIN)
		return false;
	if (len == -EBADMSG)
		return true;
	if (len <= 0) {
		log_warn("net is gone, waiting for a new one");
		link_close(&e->net);
		return false;
	}
	if (!handle(e, &m, (size_t)len, fds))
		log_warn("net: message of type %u and %zd bytes makes no sense, ignoring",
			 m.h.type, len);
	for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
		fd_close(&fds[i]);
	return e->net.channel.fd >= 0;
}

void net_link_drain(struct engine *e)
{
	if (e->net.channel.fd < 0)
		return;
	while (!e->finished && receive(e))
		;
}

static void send_to_net(struct engine *e, const void *msg, size_t len)
{
	int r = link_send(&e->net, msg, len);

	if (r < 0)
		log_debug("net: order not sent: %s, waiting for a new net", strerror(-r));
}

static struct ipc_header header(const struct engine *e, enum ipc_type type)
{
	return (struct ipc_header){ .type = type, .generation = e->generation };
}

void net_link_open(struct engine *e, int fd)
{
	struct ipc_open_peer peer = { .h = header(e, IPC_OPEN_PEER) };
	struct ipc_routes routes = { .h = header(e, IPC_ROUTES) };

	link_close(&e->net);
	link_open(e, &e->net, fd, net_link_drain);
	send_to_net(e, &peer, sizeof(peer));
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct ipc_open_service open = { .h = header(e, IPC_OPEN_SERVICE),
						 .service = (int32_t)i };

		send_to_net(e, &open, sizeof(open));
	}
	send_to_net(e, &routes, sizeof(routes));
}

void net_order_address(struct engine *e, uint32_t service, enum ipc_address_op op, uint64_t order,
		       mtime valid_until)
{
	struct ipc_address a = {
		.h = header(e, IPC_ADDRESS),
		.order = order,
		.service = (int32_t)service,
		.op = op,
		.valid_until = valid_until,
	};

	send_to_net(e, &a, sizeof(a));
}
