/* SPDX-License-Identifier: MIT */
#include "supd/engine/peer_internal.h"

#include <errno.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * The paths of the peer link: a UDP socket for each address of this node, and what goes where.
 *
 * Path i goes from our i-th address to the peer's i-th.  Where one side has fewer addresses, its
 * last one stands in for those that it lacks, so that either side counts the same pairs and every
 * address takes part:
 *
 *        ours    0   1   2          path 0: 0 - 0
 *                |   |  /           path 1: 1 - 1
 *        his     0   1              path 2: 2 - 1
 *
 * Each datagram goes out on every path.  Which copy counts is peer_fsm's affair, which path is lost
 * that of core/peer_paths.h.
 *
 * A socket may be bound to an address that is not there yet: sending by it fails until it is.
 */

#define BATCH	      256  /* datagrams of each path in one callback */
#define DRAIN_MAX     4096 /* more than a receive buffer holds */
#define IDLE_PATIENCE MTIME_SEC(4) /* without a service; a HELLO a second */

static const struct model_node *own_node(const struct engine *e)
{
	return model_node(e->m, (uint32_t)e->m->self);
}

static const struct model_node *node_of(const struct engine_peer *p)
{
	return model_node(p->engine->m, p->row);
}

/* The ends of a path, as text. */
struct ends {
	char own[IP_ADDR_TEXT], his[IP_ADDR_TEXT];
};

static struct ends ends_of(const struct engine_peer *p, unsigned path)
{
	const struct ip_addr own = model_node_path(own_node(p->engine), path);
	const struct ip_addr his = model_node_path(node_of(p), path);
	struct ends t;

	ip_addr_text(&own, t.own);
	ip_addr_text(&his, t.his);
	return t;
}

int peer_path_of(const struct engine_peer *p, unsigned own, const struct ip_addr *source)
{
	unsigned last = model_node_n_paths(node_of(p)) - 1;

	for (unsigned i = 0; i <= last; i++) {
		const struct ip_addr his = model_node_path(node_of(p), i);

		if (ip_addr_equal(&his, source))
			return (int)(i == last && own > last ? own : i);
	}
	return -1;
}

/* ---- sending ---------------------------------------------------------------------------------- */

static void log_send(struct engine_peer *p, unsigned path, int error)
{
	const char *name = model_node_name(p->engine->m, p->row);
	const struct ends t = ends_of(p, path);

	if (error)
		log_warn("peer %s: cannot send from %s to %s: %s, trying again at each HELLO", name,
			 t.own, t.his,
			 error == EINVAL ? "own address is missing" : strerror(error));
	else
		log_notice("peer %s: sending from %s to %s works again", name, t.own, t.his);
}

static int send_on(struct engine_peer *p, unsigned path, const void *buf, size_t len)
{
	const struct engine *e = p->engine;
	const struct ip_addr his = model_node_path(node_of(p), path);
	struct sockaddr_storage to;
	const socklen_t to_len = ip_addr_to_sockaddr(&his, e->m->supd.peer_port, 0, &to);
	unsigned last = model_node_n_paths(own_node(e)) - 1;
	int fd = e->peer_paths[path < last ? path : last].fd;
	int error = 0;

	if (fd < 0)
		return -ENOTCONN;
	if (sendto(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to,
		   to_len) < 0)
		error = errno;
	if (error != p->send_error[path])
		log_send(p, path, error);
	p->send_error[path] = error;
	return -error;
}

bool peer_socket_ready(const struct engine *e)
{
	for (unsigned i = 0; i < MODEL_PATHS_MAX; i++)
		if (e->peer_paths[i].fd >= 0)
			return true;
	return false;
}

int peer_socket_send(struct engine_peer *p, const void *buf, size_t len)
{
	int first_error = 0;
	bool sent = false;

	for (unsigned i = 0; i < p->paths.n; i++) {
		int r = send_on(p, i, buf, len);

		sent |= r == 0;
		if (r < 0 && first_error == 0)
			first_error = r;
	}
	return sent ? 0 : first_error;
}

/* ---- receiving -------------------------------------------------------------------------------- */

/* One datagram; false: none waits. */
static bool receive_one(struct engine_peer_path *w)
{
	uint8_t buf[PEER_DATAGRAM_MAX + 1];
	struct sockaddr_storage source;
	struct ip_addr from;
	socklen_t source_len = sizeof(source);
	ssize_t n;

	if (w->fd < 0)
		return false;
	n = recvfrom(w->fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&source,
		     &source_len);
	if (n < 0)
		return errno != EAGAIN && errno != EWOULDBLOCK; /* an error of the past: cleared */
	from = ip_addr_from_sockaddr(&source, source_len);
	if (from.family != 0)
		peer_input(w->engine, w->index, &from, buf, (size_t)n);
	return true;
}

/*
 * One of each path in turn: what one path has lost and another brings would be too old once all
 * that waits on the first were accepted.
 */
static void receive(struct engine *e, unsigned max)
{
	bool any = true;

	for (unsigned i = 0; i < max && any; i++) {
		any = false;
		for (unsigned path = 0; path < MODEL_PATHS_MAX; path++)
			any |= receive_one(&e->peer_paths[path]);
	}
}

void peer_io_drain(struct engine *e)
{
	receive(e, DRAIN_MAX);
}

static void on_peer(struct ev_loop *loop, struct ev_io *w, int revents)
{
	receive(((struct engine_peer_path *)w->data)->engine, BATCH);
}

/* ---- which paths work ------------------------------------------------------------------------- */

mtime peer_socket_patience(const struct engine *e)
{
	mtime longest = e->m->n_services > 0 ? 0 : IDLE_PATIENCE;

	for (uint32_t i = 0; i < e->m->n_services; i++)
		longest = mtime_max(longest, vrrp_active_down(&e->services[i].fsm.vrrp));
	return longest;
}

static void log_path(const struct engine_peer *p, unsigned path)
{
	const struct peer_path *w = &p->paths.path[path];
	const char *name = model_node_name(p->engine->m, p->row);
	const struct ends t = ends_of(p, path);

	if (w->lost)
		log_warn("peer %s: alarm path_lost: nothing comes from %s to %s, going on by the "
			 "other paths",
			 name, t.his, t.own);
	else
		log_notice("peer %s: alarm path_lost is over: %s is heard again", name, t.his);
}

void peer_socket_judge(struct engine *e)
{
	mtime patience = peer_socket_patience(e);

	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		unsigned changed = peer_paths_judge(&e->peers[i].paths, patience);

		for (unsigned path = 0; path < MODEL_PATHS_MAX; path++)
			if (changed >> path & 1)
				log_path(&e->peers[i], path);
	}
}

/* ---- sockets come and go ---------------------------------------------------------------------- */

static void close_path(struct engine_peer_path *w)
{
	if (w->fd < 0)
		return;
	ev_io_stop(w->engine->loop, &w->watcher);
	fd_close(&w->fd);
}

void peer_io_open(struct engine *e, unsigned path, int fd)
{
	struct engine_peer_path *w = &e->peer_paths[path];

	close_path(w);
	if (fd < 0)
		return;
	fd_set_nonblock(fd);
	w->fd = fd;
	ev_io_init(&w->watcher, on_peer, fd, EV_READ);
	ev_set_priority(&w->watcher, 1); /* after a stall: read before timers are believed */
	w->watcher.data = w;
	ev_io_start(e->loop, &w->watcher);
	peer_io_hello_now(e);
}

void peer_socket_init(struct engine *e)
{
	for (unsigned i = 0; i < MODEL_PATHS_MAX; i++)
		e->peer_paths[i] = (struct engine_peer_path){.engine = e, .index = i, .fd = -1};
}

void peer_socket_init_peer(struct engine_peer *p)
{
	unsigned own = model_node_n_paths(own_node(p->engine));
	unsigned his = model_node_n_paths(node_of(p));

	peer_paths_init(&p->paths, !p->linked ? 0 : own > his ? own : his);
}
