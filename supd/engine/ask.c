/* SPDX-License-Identifier: MIT */
#include "supd/engine/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"

/*
 *   ask_start --connect--> EV_WRITE --TCP: good--------------------------> answer
 *                                   --HTTP: request--> EV_READ --status--> answer
 *
 * HTTP/1.0 and Connection: close: the server has nothing to keep, and only the first line of its
 * reply is read.
 */
#define ASK_PRIORITY (-2) /* after everything that the service's life hangs on */

void ask_init(struct ask *a)
{
	memset(a, 0, sizeof(*a));
	a->fd = -1;
}

void ask_stop(struct ask *a)
{
	if (a->fd < 0)
		return;
	ev_io_stop(a->loop, &a->io);
	fd_close(&a->fd);
}

static void answer(struct ask *a, bool good, const char *why)
{
	ask_stop(a);
	a->on_answer(a->arg, good, why);
}

static void fail(struct ask *a, int error)
{
	char why[96];

	snprintf(why, sizeof(why), "no connection: %s", strerror(error));
	answer(a, false, why);
}

/* "HTTP/1.1 200 ..." */
static void read_reply(struct ask *a)
{
	ssize_t n = recv(a->fd, a->reply + a->n, sizeof(a->reply) - 1 - a->n, 0);
	char why[64];
	int status;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		a->n += (size_t)n;
	a->reply[a->n] = '\0';
	if (n > 0 && a->n < sizeof("HTTP/1.1 200") - 1)
		return;
	if (strncmp(a->reply, "HTTP/1.", 7) != 0 || a->reply[8] != ' ' ||
	    sscanf(a->reply + 9, "%3d", &status) != 1) {
		answer(a, false, n <= 0 ? "the connection was closed without an answer"
					: "the answer is not HTTP");
		return;
	}
	snprintf(why, sizeof(why), "HTTP status %d", status);
	answer(a, status >= 200 && status < 400, why);
}

static void send_request(struct ask *a)
{
	char text[2300];
	int n = snprintf(text, sizeof(text),
			 "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: supd/" SUPD_VERSION
			 "\r\nConnection: close\r\n\r\n",
			 model_str(a->m, a->probe->path), model_str(a->m, a->probe->host));

	if (n < 0 || (size_t)n >= sizeof(text)) {
		answer(a, false, "the URL is too long");
		return;
	}
	if (send(a->fd, text, (size_t)n, MSG_NOSIGNAL) != n) { /* a fresh socket takes it whole */
		fail(a, errno);
		return;
	}
	ev_io_stop(a->loop, &a->io);
	ev_io_set(&a->io, a->fd, EV_READ);
	ev_io_start(a->loop, &a->io);
}

static void on_connected(struct ask *a)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0)
		fail(a, error);
	else if (a->probe->kind == MODEL_PROBE_TCP)
		answer(a, true, "a connection was accepted");
	else
		send_request(a);
}

static void on_io(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct ask *a = w->data;

	if ((revents & EV_WRITE) != 0)
		on_connected(a);
	else
		read_reply(a);
}

void ask_start(struct ask *a, struct ev_loop *loop, const struct model *m,
	       const struct model_probe *probe)
{
	struct sockaddr_storage sa;
	socklen_t len = ip_addr_to_sockaddr(&probe->address, probe->port, 0, &sa);

	a->loop = loop;
	a->m = m;
	a->probe = probe;
	a->n = 0;
	a->fd = socket((int)probe->address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0) {
		fail(a, errno);
		return;
	}
	ev_io_init(&a->io, on_io, a->fd, EV_WRITE);
	ev_set_priority(&a->io, ASK_PRIORITY);
	a->io.data = a;
	if (connect(a->fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		fail(a, errno);
		return;
	}
	ev_io_start(loop, &a->io);
}
