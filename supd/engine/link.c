/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>

/*
 * A channel (supd/ipc/channel.h) in the engine's loop.  Input watchers stand above timers: after a
 * stall, what waits in the socket is read before an expired timer is believed.
 */

static void on_reader(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct link *l = w->data;

	l->on_readable(l->engine);
}

static void on_writer(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct link *l = w->data;

	/* On an error the reader sees the end too, and that is where it is dealt with. */
	if (channel_flush(&l->channel) != -EAGAIN)
		ev_io_stop(loop, w);
}

void link_open(struct engine *e, struct link *l, int fd, void (*on_readable)(struct engine *))
{
	l->engine = e;
	l->on_readable = on_readable;
	channel_init(&l->channel, fd);
	ev_io_init(&l->reader, on_reader, fd, EV_READ);
	ev_io_init(&l->writer, on_writer, fd, EV_WRITE);
	l->reader.data = l;
	l->writer.data = l;
	ev_set_priority(&l->reader, 1);
	ev_set_priority(&l->writer, 1);
	ev_io_start(e->loop, &l->reader);
}

void link_close(struct link *l)
{
	if (l->channel.fd < 0)
		return;
	ev_io_stop(l->engine->loop, &l->reader);
	ev_io_stop(l->engine->loop, &l->writer);
	channel_fini(&l->channel);
}

static int send_with(struct link *l, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	int r;

	if (l->channel.fd < 0)
		return -ENOTCONN;
	r = channel_send(&l->channel, msg, len, fds, n_fds);
	if (channel_wants_write(&l->channel))
		ev_io_start(l->engine->loop, &l->writer);
	return r;
}

int link_send(struct link *l, const void *msg, size_t len)
{
	return send_with(l, msg, len, NULL, 0);
}

int link_send_fd(struct link *l, const void *msg, size_t len, int fd)
{
	return send_with(l, msg, len, &fd, 1);
}
