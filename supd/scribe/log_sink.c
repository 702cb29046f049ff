/* SPDX-License-Identifier: MIT */
#include "supd/scribe/log_sink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

#define OUT_MAX	 (LOG_LINE_MAX + 256)
#define HEAD_MAX 128
#define TEXT_MAX 8192

void log_sink_init(struct log_sink *s, bool to_stderr, const char *name, const char *path)
{
	s->to_stderr = to_stderr;
	s->name = name;
	s->path = path;
	s->fd = -1;
	s->stream = false;
	tzset(); /* reads a file: once, now */
}

void log_sink_fini(struct log_sink *s)
{
	fd_close(&s->fd);
}

/* ---- stderr ----------------------------------------------------------------------------------- */

/*
 * Others may hold the same terminal or pipe, so it stays as blocking as it is; what poll() promises
 * room for is more than a line.
 */
static bool put_stderr(const struct log_sink *s, const char *line)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	char out[OUT_MAX];
	int n = snprintf(out, sizeof(out) - 1, "supd %s %s", s->name, line);

	if (n < 0)
		return true;
	if (poll(&p, 1, 0) == 0)
		return false;
	if ((size_t)n > sizeof(out) - 2)
		n = (int)sizeof(out) - 2;
	out[n] = '\n';
	fd_write_all(STDERR_FILENO, out, (size_t)n + 1);
	return true;
}

/* ---- syslog ----------------------------------------------------------------------------------- */

static int connect_as(const struct log_sink *s, int type)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(s->path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, s->path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* 0 or -errno. */
static int connect_syslog(struct log_sink *s)
{
	int fd = connect_as(s, SOCK_DGRAM);

	s->stream = fd == -EPROTOTYPE;
	if (s->stream)
		fd = connect_as(s, SOCK_STREAM);
	if (fd < 0)
		return fd;
	s->fd = fd;
	return 0;
}

/* "<PRIORITY>Mmm dd hh:mm:ss NAME: ", as syslog(3) writes it; the length. */
static size_t format_head(const struct log_sink *s, char out[HEAD_MAX], int level)
{
	time_t now = time(NULL);
	struct tm tm;
	char at[32] = "";
	int n;

	if (localtime_r(&now, &tm))
		strftime(at, sizeof(at), "%b %e %T ", &tm);
	n = snprintf(out, HEAD_MAX, "<%d>%s%s: ", LOG_DAEMON | level, at, s->name);
	return n < 0 ? 0 : (size_t)n >= HEAD_MAX ? HEAD_MAX - 1 : (size_t)n;
}

/* EAGAIN whatever the way in which it is full. */
static int sort_error(int error)
{
	return error == ENOBUFS || error == ENOMEM ? -EAGAIN : -error;
}

/* A stream socket that has taken a part must get the rest, with it the next message is torn. */
static int send_once(struct log_sink *s, const char *out, size_t len)
{
	ssize_t n = send(s->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return sort_error(errno);
	return (size_t)n == len ? 0 : -EPIPE;
}

/* A syslog that was started anew has a new socket: the second attempt finds it. */
int log_sink_send(struct log_sink *s, int level, const char *text, size_t len)
{
	char out[HEAD_MAX + TEXT_MAX + 1];
	size_t head = format_head(s, out, level);
	int r = 0;

	if (len > TEXT_MAX)
		len = TEXT_MAX;
	for (size_t i = 0; i < len; i++)
		out[head + i] = text[i] != '\0' ? text[i] : ' ';
	out[head + len] = '\0';
	for (int attempt = 0; attempt < 2; attempt++) {
		r = s->fd < 0 ? connect_syslog(s) : 0;
		if (r < 0)
			return sort_error(-r);
		r = send_once(s, out, head + len + s->stream);
		if (r == 0 || r == -EAGAIN)
			return r;
		fd_close(&s->fd);
	}
	return r;
}

bool log_sink_put(struct log_sink *s, int level, const char *line)
{
	if (s->to_stderr)
		return put_stderr(s, line);
	return log_sink_send(s, level, line, strlen(line)) != -EAGAIN;
}
