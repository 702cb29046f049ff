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

#define OUT_MAX (LOG_LINE_MAX + 256)

void log_sink_init(struct log_sink *s, bool to_stderr, const char *node, const char *path)
{
	s->to_stderr = to_stderr;
	s->node = node;
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
	int n = snprintf(out, sizeof(out) - 1, "supd %s %s", s->node, line);

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

/* "<PRIORITY>Mmm dd hh:mm:ss supd: TEXT", as syslog(3) writes it; the length. */
static size_t format_syslog(char *out, int level, const char *line)
{
	time_t now = time(NULL);
	struct tm tm;
	char at[32] = "";
	int n;

	if (localtime_r(&now, &tm))
		strftime(at, sizeof(at), "%b %e %T ", &tm);
	n = snprintf(out, OUT_MAX, "<%d>%ssupd: %s", LOG_DAEMON | level, at, line);
	return n < 0 ? 0 : (size_t)n >= OUT_MAX ? OUT_MAX - 1 : (size_t)n;
}

static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/* A syslog that was started anew has a new socket: the second attempt finds it. */
static bool put_syslog(struct log_sink *s, int level, const char *line)
{
	char out[OUT_MAX];
	size_t len = format_syslog(out, level, line);

	for (int attempt = 0; attempt < 2; attempt++) {
		int r = s->fd < 0 ? connect_syslog(s) : 0;

		if (r < 0)
			return !is_full(-r);
		if (send(s->fd, out, len + s->stream, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return true;
		if (is_full(errno))
			return false;
		fd_close(&s->fd);
	}
	return true;
}

bool log_sink_put(struct log_sink *s, int level, const char *line)
{
	return s->to_stderr ? put_stderr(s, line) : put_syslog(s, level, line);
}
