/* SPDX-License-Identifier: MIT */
#include "supd/net/net.h"

#include <cap-ng.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/net/net_internal.h"

/*
 * The loop of the net process, and its two channels.
 *
 *   keeper ---- CHANNEL ----> net <---- orders ---- engine
 *                             net ---- results, events, sockets ----> engine
 *
 * Everything that may wait for the kernel's RTNL lock happens here and nowhere else, so a call
 * that takes long delays addresses only, and those are guarded by valid_until and by their lease.
 * A killed net leaves nothing behind that outlives the lease.
 */

/* s; how long the engine may go on giving orders after the keeper's end. */
#define END_TIMEOUT 2.0
#define MESSAGE_MAX 4096

void net_header(const struct net *n, struct ipc_header *h, enum ipc_type type)
{
	h->type = (uint32_t)type;
	h->generation = n->generation;
}

static void link_watch_writer(struct net_link *l)
{
	if (channel_wants_write(&l->channel))
		ev_io_start(l->net->loop, &l->writer);
	else
		ev_io_stop(l->net->loop, &l->writer);
}

void net_send(struct net *n, void *msg, size_t len, const int *fds, size_t n_fds)
{
	if (n->engine.channel.fd < 0)
		return; /* the next engine asks anew */

	const int r = channel_send(&n->engine.channel, msg, len, fds, n_fds);

	if (r < 0 && r != -EPIPE)
		log_warn("engine does not read (%s), dropping a message to it", strerror(-r));
	link_watch_writer(&n->engine);
}

/* ---- channels ------------------------------------------------------------------------------- */

static void on_writable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct net_link *l = w->data;

	channel_flush(&l->channel);
	link_watch_writer(l);
}

static void link_open(struct net *n, struct net_link *l, int fd,
		      void (*on_readable)(struct ev_loop *, struct ev_io *, int))
{
	l->net = n;
	channel_init(&l->channel, fd);
	ev_io_init(&l->reader, on_readable, fd, EV_READ);
	ev_io_init(&l->writer, on_writable, fd, EV_WRITE);
	l->reader.data = l->writer.data = l;
	ev_io_start(n->loop, &l->reader);
}

static void link_close(struct net_link *l)
{
	if (l->channel.fd < 0)
		return;
	ev_io_stop(l->net->loop, &l->reader);
	ev_io_stop(l->net->loop, &l->writer);
	channel_fini(&l->channel);
}

static void end_if_alone(struct net *n)
{
	if (n->ending && n->engine.channel.fd < 0)
		ev_break(n->loop, EVBREAK_ALL);
}

/* ---- engine --------------------------------------------------------------------------------- */

static bool valid_row(const struct net *n, int32_t row)
{
	return row >= 0 && (uint32_t)row < n->m->n_services;
}

static void tell_routes(struct net *n)
{
	n->routes_wanted = true;
	for (uint32_t i = 0; i < n->m->n_services; i++)
		gateway_tell(n, i);
}

static void open_service(struct net *n, const struct ipc_open_service *o)
{
	if (!valid_row(n, o->service))
		return;
	monitor_drain(n); /* answer with the state of now */
	sockets_want_service(n, (uint32_t)o->service);
	monitor_tell_link(n, (uint32_t)o->service);
}

/* An order of the engine: by type, with at least the length of its struct. */
static void carry_out(struct net *n, const void *buf, size_t len)
{
	const struct ipc_header *h = buf;

	if (h->generation != n->generation)
		return; /* an engine that is already replaced */
	if (h->type == IPC_OPEN_PEER && len >= sizeof(struct ipc_open_peer))
		sockets_want_peer(n);
	else if (h->type == IPC_OPEN_SERVICE && len >= sizeof(struct ipc_open_service))
		open_service(n, buf);
	else if (h->type == IPC_ROUTES && len >= sizeof(struct ipc_routes))
		tell_routes(n);
	else if (h->type == IPC_ADDRESS && len >= sizeof(struct ipc_address) &&
		 valid_row(n, ((const struct ipc_address *)buf)->service))
		address_order(n, buf);
	else
		log_warn("engine: message %u of %zu bytes is not for net, ignoring", h->type, len);
}

/* The next message without descriptors to keep; <= 0 as channel_recv(). */
static ssize_t receive(struct net_link *l, void *buf, size_t size, int *ret_fd)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds = 0;
	const ssize_t len = channel_recv(&l->channel, buf, size, fds, &n_fds);

	*ret_fd = -1;
	if (len > 0 && n_fds > 0)
		*ret_fd = fds[0];
	for (size_t i = *ret_fd >= 0 ? 1 : 0; len > 0 && i < n_fds; i++)
		fd_close(&fds[i]);
	return len;
}

static void on_engine(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct net_link *l = w->data;
	struct net *n = l->net;
	_Alignas(8) uint8_t buf[MESSAGE_MAX];
	ssize_t len;
	int fd;

	while ((len = receive(l, buf, sizeof(buf), &fd)) > 0 || len == -EBADMSG) {
		fd_close(&fd);
		if (len >= (ssize_t)sizeof(struct ipc_header))
			carry_out(n, buf, (size_t)len);
	}
	if (len == -EAGAIN)
		return;
	link_close(&n->engine); /* its addresses live as long as their lease */
	sockets_forget(n);
	end_if_alone(n);
}

/* ---- keeper --------------------------------------------------------------------------------- */

static void new_engine(struct net *n, uint32_t generation, int fd)
{
	link_close(&n->engine);
	sockets_forget(n);
	n->generation = generation;
	link_open(n, &n->engine, fd, on_engine);
}

static void keeper_message(struct net *n, const void *buf, size_t len, int *fd)
{
	const struct ipc_channel *c = buf;

	if (len < sizeof(*c) || c->h.type != IPC_CHANNEL || *fd < 0 ||
	    c->h.generation < n->generation)
		return;
	new_engine(n, c->h.generation, *fd);
	*fd = -1;
}

static void on_keeper(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct net_link *l = w->data;
	struct net *n = l->net;
	_Alignas(8) uint8_t buf[MESSAGE_MAX];
	ssize_t len;
	int fd;

	while ((len = receive(l, buf, sizeof(buf), &fd)) > 0 || len == -EBADMSG) {
		if (len > 0)
			keeper_message(n, buf, (size_t)len, &fd);
		fd_close(&fd);
	}
	if (len == -EAGAIN)
		return;
	link_close(&n->keeper);
	n->ending = true;
	ev_timer_start(n->loop, &n->end_timer);
	end_if_alone(n);
}

static void on_end_timeout(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	ev_break(loop, EVBREAK_ALL);
}

/* ---- the process ---------------------------------------------------------------------------- */

/*
 * Become the configured user with the two capabilities of this role and nothing more.  Where the
 * keeper has seen to that already, there is no right left to do it again.
 */
static int confine(const struct model *m)
{
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID) != 1)
		return 0;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN, CAP_NET_RAW,
			  -1) != 0)
		return -EPERM;
	const int r = capng_change_id((int)m->supd.uid, (int)m->supd.gid, CAPNG_DROP_SUPP_GRP);

	if (r != 0) {
		log_error("cannot give up privileges (libcap-ng says %d)", r);
		return -EPERM;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Only the channels end this process: a signal to the whole session must not take addresses away.
 */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

static int net_init(struct net *n, const struct net_args *args)
{
	int r = confine(args->m);

	if (r < 0)
		return r;
	n->m = args->m;
	n->monitor_buffer = args->monitor_buffer;
	n->keeper.channel.fd = n->engine.channel.fd = -1;
	n->services = calloc(args->m->n_services + 1, sizeof(*n->services));
	n->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (n->services == NULL || n->loop == NULL)
		return -ENOMEM;
	ev_timer_init(&n->end_timer, on_end_timeout, END_TIMEOUT, 0.);
	sockets_init(n);
	r = address_open(n);
	if (r < 0)
		return r;
	r = monitor_open(n);
	if (r < 0)
		return r;
	link_open(n, &n->keeper, args->keeper_fd, on_keeper);
	return 0;
}

static void net_fini(struct net *n)
{
	if (n->loop != NULL) {
		link_close(&n->keeper);
		link_close(&n->engine);
		sockets_fini(n);
		monitor_close(n);
		ev_loop_destroy(n->loop);
	}
	address_close(n);
	free(n->services);
}

int net_run(const struct net_args *args)
{
	struct net n = {0};

	prctl(PR_SET_NAME, "supd: net");
	ignore_signals();

	const int r = net_init(&n, args);

	if (r < 0)
		log_error("net cannot start: %s", strerror(-r));
	else
		ev_run(n.loop, 0);
	if (r == 0)
		address_remove_held(&n);
	net_fini(&n);
	return r < 0 ? 1 : 0;
}
