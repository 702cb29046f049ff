/* SPDX-License-Identifier: MIT */
#include "supctl/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control_proto.h"
#include "common/fd.h"
#include "common/mtime.h"

#define HINT_AFTER_MS 400
#define RETRY_MS      100

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
	interrupted = 1;
}

int client_complain(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("supctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* The descriptor, or -errno. */
static int connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static int unreachable(const struct client *c, int error)
{
	if (error == -EACCES || error == -EPERM)
		return client_complain(CONTROL_PERMISSION, "%s: %s (root and socket_group may)",
				       c->socket, strerror(-error));
	return client_complain(CONTROL_UNKNOWN, "supd is unreachable: %s: %s", c->socket,
			       strerror(-error));
}

static int too_late(const struct client *c)
{
	if (c->is_query)
		return client_complain(CONTROL_UNKNOWN, "supd does not answer");
	return client_complain(CONTROL_TIMEOUT, "timed out; %s goes on: see supctl status",
			       c->action);
}

/* Wait until fd is ready: 0, or a code. */
static int wait_for(const struct client *c, int fd, short events, mtime until, bool *hinted)
{
	while (!interrupted) {
		struct pollfd p = { .fd = fd, .events = events };
		int64_t left = mtime_to_ms(until - mtime_now()) + 1;
		bool hint = !*hinted && !c->is_query && isatty(STDERR_FILENO);
		int n;

		if (left <= 0)
			return too_late(c);
		n = poll(&p, 1, hint && left > HINT_AFTER_MS ? HINT_AFTER_MS : (int)left);
		if (n > 0)
			return CONTROL_OK;
		if (n == 0 && hint) {
			fprintf(stderr, "waiting for %s (Ctrl-C leaves it going on)\n", c->action);
			*hinted = true;
		}
	}
	if (c->is_query)
		return client_complain(CONTROL_FAILED, "interrupted");
	return client_complain(CONTROL_FAILED, "interrupted; %s goes on: see supctl status",
			       c->action);
}

enum { LOST = -1 }; /* the connection ended before the answer */

static int send_request(const struct client *c, int fd, struct control_buffer *out, mtime until)
{
	bool hinted = true;
	int r;

	while ((r = control_buffer_flush(out, fd)) == -EAGAIN) {
		int code = wait_for(c, fd, POLLOUT, until, &hinted);

		if (code != CONTROL_OK)
			return code;
	}
	return r < 0 ? LOST : CONTROL_OK;
}

static int read_reply(const struct client *c, int fd, struct control_buffer *in, mtime until)
{
	bool hinted = false;
	size_t len;

	while (control_buffer_line(in, &len) == NULL) {
		int code = wait_for(c, fd, POLLIN, until, &hinted);
		ssize_t n;

		if (code != CONTROL_OK)
			return code;
		n = control_buffer_read(in, fd);
		if (n == 0 || (n < 0 && n != -EAGAIN))
			return LOST;
	}
	return CONTROL_OK;
}

static int exchange(const struct client *c, int fd, const json_t *request, mtime until,
		    struct control_buffer *in)
{
	struct control_buffer out;
	int code;

	control_buffer_init(&out, CONTROL_LINE_MAX);
	if (control_buffer_append_json(&out, request) < 0)
		code = client_complain(CONTROL_USAGE, "the request is too long");
	else
		code = send_request(c, fd, &out, until);
	control_buffer_fini(&out);
	return code == CONTROL_OK ? read_reply(c, fd, in, until) : code;
}

static int take_reply(struct control_buffer *in, json_t **ret_reply, char **ret_line)
{
	size_t len;
	char *line = control_buffer_line(in, &len);

	if (control_parse(line, len, ret_reply) < 0)
		return client_complain(CONTROL_FAILED, "supd's answer is not JSON");
	*ret_line = strndup(line, len);
	if (*ret_line == NULL)
		abort();
	return CONTROL_OK;
}

static void nap(void)
{
	poll(NULL, 0, RETRY_MS);
}

/* Connect and ask until the first line of the answer is in the buffer: CONTROL_OK and *ret_fd. */
static int begin(const struct client *c, const json_t *request, struct control_buffer *in,
		 int *ret_fd)
{
	mtime until = mtime_now() + MTIME_MS(c->wait_ms);
	int code = LOST;

	while (code == LOST) {
		int fd = connect_to(c->socket);

		if (fd == -EAGAIN && mtime_now() < until && !interrupted) {
			nap(); /* more connections wait than the socket takes */
			continue;
		}
		if (fd < 0)
			return unreachable(c, fd);
		in->len = in->scanned = 0;
		code = exchange(c, fd, request, until, in);
		if (code == CONTROL_OK) {
			*ret_fd = fd;
			return code;
		}
		fd_close(&fd);
		if (code != LOST)
			return code;
		/* Its engine was replaced: a query is asked anew, an action was perhaps begun. */
		if (!c->is_query && !c->again)
			code = client_complain(CONTROL_FAILED,
					       "the connection was lost; %s may go on: see supctl status",
					       c->action);
		else if (mtime_now() >= until)
			code = too_late(c);
		else
			nap();
	}
	return code;
}

int client_ask(const struct client *c, const json_t *request, json_t **ret_reply, char **ret_line)
{
	struct sigaction on_int = { .sa_handler = on_interrupt }; /* no SA_RESTART */
	struct control_buffer in;
	int code, fd = -1;

	sigaction(SIGINT, &on_int, NULL);
	control_buffer_init(&in, CONTROL_REPLY_MAX);
	code = begin(c, request, &in, &fd);
	if (code == CONTROL_OK)
		code = take_reply(&in, ret_reply, ret_line);
	fd_close(&fd);
	control_buffer_fini(&in);
	return code;
}

/* ---- many lines ---------------------------------------------------------------------------------- */

/* All whole lines. */
static int take_lines(struct control_buffer *in,
		      int (*take)(void *arg, const char *line, size_t len), void *arg)
{
	int code = CLIENT_GOES_ON;
	size_t at = 0;
	const char *end;

	while (code == CLIENT_GOES_ON && (end = memchr(in->data + at, '\n', in->len - at))) {
		code = take(arg, in->data + at, (size_t)(end - in->data) - at);
		at = (size_t)(end - in->data) + 1;
	}
	control_buffer_drop(in, at);
	fflush(stdout);
	return code;
}

static int read_more(const struct client *c, int fd, struct control_buffer *in)
{
	mtime until = mtime_now() + MTIME_MS(c->wait_ms);
	bool hinted = true;
	ssize_t n;

	if (c->follows)
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
	else if (wait_for(c, fd, POLLIN, until, &hinted) != CONTROL_OK)
		return CONTROL_UNKNOWN; /* explained */
	n = control_buffer_read(in, fd);
	if (n > 0 || n == -EAGAIN)
		return CLIENT_GOES_ON;
	return client_complain(CONTROL_FAILED, "the connection was lost: supd, or a process of it, "
					       "has ended");
}

int client_stream(const struct client *c, const json_t *request,
		  int (*take)(void *arg, const char *line, size_t len), void *arg)
{
	struct control_buffer in;
	int code, fd = -1;

	control_buffer_init(&in, CONTROL_REPLY_MAX);
	code = begin(c, request, &in, &fd);
	if (code == CONTROL_OK)
		code = take_lines(&in, take, arg);
	while (code == CLIENT_GOES_ON) {
		code = read_more(c, fd, &in);
		if (code == CLIENT_GOES_ON && in.len > 0)
			code = take_lines(&in, take, arg);
	}
	fd_close(&fd);
	control_buffer_fini(&in);
	return code;
}
