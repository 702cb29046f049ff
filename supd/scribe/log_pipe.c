/* SPDX-License-Identifier: MIT */
#include "supd/scribe/log_pipe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

void log_pipe_init(struct log_pipe *p, int fd, bool to_stderr, const char *node)
{
	p->fd = fd;
	p->to_stderr = to_stderr;
	p->node = node;
	p->len = 0;
	fd_set_nonblock(fd);
	if (!to_stderr)
		openlog("supd", 0, LOG_DAEMON);
}

void log_pipe_fini(struct log_pipe *p)
{
	fd_close(&p->fd);
	if (!p->to_stderr)
		closelog();
}

static void put_stderr(const struct log_pipe *p, const char *text)
{
	char out[LOG_LINE_MAX + 256];
	int n = snprintf(out, sizeof(out) - 1, "supd %s %s", p->node, text);

	if (n < 0)
		return;
	if ((size_t)n > sizeof(out) - 2)
		n = (int)sizeof(out) - 2;
	out[n] = '\n';
	fd_write_all(STDERR_FILENO, out, (size_t)n + 1);
}

/* A line whose beginning went with a killed scribe has no level digit: it is passed on as it is. */
static void put_line(const struct log_pipe *p, const char *line)
{
	int level = LOG_LEVEL_NOTICE;

	if (line[0] >= '0' + LOG_LEVEL_ERROR && line[0] <= '0' + LOG_LEVEL_DEBUG) {
		level = line[0] - '0';
		line++;
	}
	if (line[0] == '\0')
		return;
	if (p->to_stderr)
		put_stderr(p, line);
	else
		syslog(level, "%s", line);
}

static void put_lines(struct log_pipe *p)
{
	char *at = p->buf, *end = p->buf + p->len, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		*newline = '\0';
		put_line(p, at);
		at = newline + 1;
	}
	p->len = (size_t)(end - at);
	memmove(p->buf, at, p->len);
	if (p->len < sizeof(p->buf) - 1)
		return;
	p->buf[p->len] = '\0'; /* no line is this long: nobody of ours wrote it */
	put_line(p, p->buf);
	p->len = 0;
}

bool log_pipe_pump(struct log_pipe *p)
{
	ssize_t n;

	if (p->fd < 0)
		return false;
	n = read(p->fd, p->buf + p->len, sizeof(p->buf) - 1 - p->len);
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		fd_close(&p->fd);
		return false;
	}
	p->len += (size_t)n;
	put_lines(p);
	return true;
}
