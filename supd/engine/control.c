/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * The control socket.  Nothing here may delay the heart: watchers have the lowest priority, one
 * request is taken from one client at a time, and a client has at most one request, one answer
 * and one time-out:
 *
 *   reading --line--> request under way --answer--> sending --all sent--> reading
 *
 * A client that leaves half a request lying, or does not read its answer, is dropped.
 */
#define CLIENT_TIMEOUT 5.0 /* for the rest of a request, and for each piece of an answer */
#define ACCEPT_PAUSE   0.5
#define ACCEPT_BURST   16
#define GROUPS_MAX     65536

enum client_timer { TIMER_NONE, TIMER_NEXT, TIMER_HALF, TIMER_STALLED };

struct control_client {
	struct control_client *next;
	struct control *control;
	int fd;
	struct ev_io reader, writer;
	struct ev_timer timer;
	enum client_timer timer_for;
	struct control_buffer in, out;
	uid_t uid;
	pid_t pid;
	bool permitted;
	bool busy; /* a request is under way */
	bool eof;  /* it sends no more */
	bool last; /* nothing is taken from it any more */
};

/* ---- who may ---------------------------------------------------------------------------------- */

static bool has_group(int fd, gid_t gid)
{
	socklen_t len = 64 * sizeof(gid_t);
	gid_t *groups = NULL;
	bool found = false;

	/* A second time where the kernel says how much room is needed. */
	for (int tries = 0; tries < 2 && len <= GROUPS_MAX * sizeof(gid_t); tries++) {
		free(groups);
		groups = malloc(len);
		if (groups == NULL)
			return false;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0) {
			for (size_t i = 0; i < len / sizeof(gid_t); i++)
				found |= groups[i] == gid;
			break;
		}
		if (errno != ERANGE)
			break;
	}
	free(groups);
	return found;
}

static void client_identify(struct control_client *cl)
{
	gid_t gid = cl->control->engine->m->supd.socket_gid;
	struct ucred cred = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof(cred);

	if (getsockopt(cl->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return;
	cl->uid = cred.uid;
	cl->pid = cred.pid;
	cl->permitted = cred.uid == 0 || cred.gid == gid || has_group(cl->fd, gid);
}

bool control_client_may(const struct control_client *cl, enum control_access access)
{
	switch (access) {
	case CONTROL_QUERY:
	case CONTROL_COMMAND:
		return cl->permitted;
	}
	return false;
}

uid_t control_client_uid(const struct control_client *cl)
{
	return cl->uid;
}

pid_t control_client_pid(const struct control_client *cl)
{
	return cl->pid;
}

int control_client_fd(const struct control_client *cl)
{
	return cl->fd;
}

/* ---- a client ------------------------------------------------------------------------------------ */

static void client_free(struct control_client *cl)
{
	struct control *c = cl->control;
	struct ev_loop *loop = c->engine->loop;

	for (struct control_client **p = &c->clients; *p != NULL; p = &(*p)->next) {
		if (*p == cl) {
			*p = cl->next;
			break;
		}
	}
	c->n_clients--;
	control_request_forget(c, cl);
	ev_io_stop(loop, &cl->reader);
	ev_io_stop(loop, &cl->writer);
	ev_timer_stop(loop, &cl->timer);
	fd_close(&cl->fd);
	control_buffer_fini(&cl->in);
	control_buffer_fini(&cl->out);
	free(cl);
}

static void client_arm(struct control_client *cl, enum client_timer what, double seconds)
{
	struct ev_loop *loop = cl->control->engine->loop;

	if (cl->timer_for == what)
		return;
	ev_timer_stop(loop, &cl->timer);
	cl->timer_for = what;
	if (what == TIMER_NONE)
		return;
	ev_now_update(loop);
	ev_timer_set(&cl->timer, seconds, 0.);
	ev_timer_start(loop, &cl->timer);
}

/* Watch for what the client's state asks for; false: there is nothing left to wait for. */
static bool client_watch(struct control_client *cl)
{
	struct ev_loop *loop = cl->control->engine->loop;
	bool sending = cl->out.len > 0;
	bool idle = !cl->busy && !sending;
	size_t len;

	if (idle && cl->last)
		return false;
	if (sending)
		ev_io_start(loop, &cl->writer);
	else
		ev_io_stop(loop, &cl->writer);
	if (!cl->eof && !cl->last && cl->in.len < cl->in.max)
		ev_io_start(loop, &cl->reader);
	else
		ev_io_stop(loop, &cl->reader);

	if (sending)
		client_arm(cl, TIMER_STALLED, cl->control->client_timeout);
	else if (idle && control_buffer_line(&cl->in, &len) != NULL)
		client_arm(cl, TIMER_NEXT, 0.);
	else if (idle && cl->eof)
		return false;
	else if (idle && cl->in.len > 0)
		client_arm(cl, TIMER_HALF, cl->control->client_timeout);
	else
		client_arm(cl, TIMER_NONE, 0.);
	return true;
}

/* Send what is there; the client may be gone afterwards. */
static void client_send(struct control_client *cl)
{
	size_t before = cl->out.len;
	int r = control_buffer_flush(&cl->out, cl->fd);

	if (r < 0 && r != -EAGAIN) {
		client_free(cl);
		return;
	}
	if (cl->out.len < before && cl->timer_for == TIMER_STALLED)
		client_arm(cl, TIMER_NONE, 0.);
	if (!client_watch(cl))
		client_free(cl);
}

static void client_put(struct control_client *cl, const json_t *reply)
{
	json_t *error;

	if (control_buffer_append_json(&cl->out, reply) == 0)
		return;
	error = control_error_new(CONTROL_FAILED, "the answer is too long, or memory is short");
	if (control_buffer_append_json(&cl->out, error) < 0)
		cl->last = true;
	json_decref(error);
}

/* Does not free the client: the caller of the request does so, if it must, by client_send(). */
void control_client_answer(struct control_client *cl, const json_t *reply)
{
	if (!json_is_null(reply))
		client_put(cl, reply);
	cl->busy = false;
	if (!cl->permitted || json_is_null(reply))
		cl->last = true;
	ev_feed_event(cl->control->engine->loop, &cl->writer, EV_WRITE);
}

static void client_refuse_line(struct control_client *cl, const char *why)
{
	json_t *error = control_error_new(CONTROL_USAGE, "%s", why);

	client_put(cl, error);
	json_decref(error);
	cl->last = true;
}

static void client_take_line(struct control_client *cl)
{
	size_t len;
	char *line = control_buffer_line(&cl->in, &len);

	if (line == NULL || cl->busy || cl->out.len > 0 || cl->last)
		return;
	cl->busy = true;
	control_request_line(cl->control, cl, line, len);
	control_buffer_drop(&cl->in, len + 1);
}

/* ---- its events -------------------------------------------------------------------------------------- */

/* Closed on both sides, not only for sending (`echo ... | nc -U` closes one). */
static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct control_client *cl = w->data;
	ssize_t n = control_buffer_read(&cl->in, cl->fd);
	size_t len;

	if (n == -EAGAIN)
		return;
	if (n < 0 || (n == 0 && hung_up(cl->fd))) {
		client_free(cl);
		return;
	}
	if (n == 0)
		cl->eof = true;
	client_take_line(cl);
	if (!cl->busy && cl->in.len == cl->in.max && control_buffer_line(&cl->in, &len) == NULL)
		client_refuse_line(cl, "a request has more than 65536 bytes");
	client_send(cl);
}

static void on_writable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	client_send(w->data);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct control_client *cl = w->data;
	enum client_timer what = cl->timer_for;

	cl->timer_for = TIMER_NONE;
	switch (what) {
	case TIMER_NONE:
		break;
	case TIMER_NEXT:
		client_take_line(cl);
		break;
	case TIMER_HALF:
		client_refuse_line(cl, "the rest of a request did not come");
		break;
	case TIMER_STALLED:
		log_info("control: pid %d does not read its answer, closed", (int)cl->pid);
		client_free(cl);
		return;
	}
	client_send(cl);
}

/* ---- listening --------------------------------------------------------------------------------------- */

static void client_new(struct control *c, int fd)
{
	struct control_client *cl = calloc(1, sizeof(*cl));

	if (cl == NULL) {
		close(fd);
		return;
	}
	cl->control = c;
	cl->fd = fd;
	cl->uid = (uid_t)-1;
	control_buffer_init(&cl->in, CONTROL_LINE_MAX);
	control_buffer_init(&cl->out, CONTROL_REPLY_MAX);
	ev_io_init(&cl->reader, on_readable, fd, EV_READ);
	ev_io_init(&cl->writer, on_writable, fd, EV_WRITE);
	ev_timer_init(&cl->timer, on_timer, 0., 0.);
	ev_set_priority(&cl->reader, EV_MINPRI);
	ev_set_priority(&cl->writer, EV_MINPRI);
	ev_set_priority(&cl->timer, EV_MINPRI);
	cl->reader.data = cl->writer.data = cl->timer.data = cl;
	cl->next = c->clients;
	c->clients = cl;
	c->n_clients++;
	client_identify(cl);
	ev_io_start(c->engine->loop, &cl->reader);
}

static void refuse_client(int fd)
{
	static const char text[] =
		"{\"schema\":1,\"error\":{\"code\":1,\"message\":\"supd has 64 clients, try again\"}}\n";
	ssize_t n = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)n; /* a courtesy */
	close(fd);
}

static void on_connection(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct control *c = w->data;

	for (int i = 0; i < ACCEPT_BURST; i++) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 && c->n_clients < CONTROL_CLIENTS_MAX) {
			client_new(c, fd);
		} else if (fd >= 0) {
			refuse_client(fd);
		} else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
			return;
		} else {
			/* Out of descriptors or memory: the socket stays readable, so look away. */
			log_warn("control: accept: %s, retrying in 500 ms", strerror(errno));
			ev_io_stop(loop, &c->acceptor);
			ev_timer_set(&c->accept_again, ACCEPT_PAUSE, 0.);
			ev_timer_start(loop, &c->accept_again);
			return;
		}
	}
}

static void on_accept_again(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct control *c = w->data;

	ev_io_start(loop, &c->acceptor);
}

int control_open(struct engine *e, int listen_fd)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = fd_set_nonblock(listen_fd);
	if (r < 0) {
		free(c);
		return r;
	}
	c->engine = e;
	c->fd = listen_fd;
	c->client_timeout = CLIENT_TIMEOUT;
	control_requests_init(c);
	ev_io_init(&c->acceptor, on_connection, listen_fd, EV_READ);
	ev_timer_init(&c->accept_again, on_accept_again, 0., 0.);
	ev_set_priority(&c->acceptor, EV_MINPRI);
	ev_set_priority(&c->accept_again, EV_MINPRI);
	c->acceptor.data = c->accept_again.data = c;
	ev_io_start(e->loop, &c->acceptor);
	e->control = c;
	return 0;
}

void control_close(struct engine *e)
{
	struct control *c = e->control;

	if (c == NULL)
		return;
	e->control = NULL;
	control_requests_fini(c); /* answers what waits */
	for (struct control_client *cl = c->clients; cl != NULL; cl = c->clients) {
		control_buffer_flush(&cl->out, cl->fd);
		client_free(cl);
	}
	ev_io_stop(e->loop, &c->acceptor);
	ev_timer_stop(e->loop, &c->accept_again);
	fd_close(&c->fd);
	free(c);
}
