/* SPDX-License-Identifier: MIT */
#include "supd/scribe/log_pipe.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

void log_pipe_init(struct log_pipe *p, int fd, bool to_stderr, const char *node)
{
	p->fd = fd;
	p->blocked = false;
	p->len = 0;
	fd_set_nonblock(fd);
	log_sink_init(&p->sink, to_stderr, to_stderr ? node : "supd", _PATH_LOG);
}

void log_pipe_fini(struct log_pipe *p)
{
	fd_close(&p->fd);
	log_sink_fini(&p->sink);
}

/* A line whose beginning went with a killed scribe has no level digit: it is passed on as it is. */
static bool put_line(struct log_pipe *p, const char *line)
{
	int level = LOG_LEVEL_NOTICE;

	if (line[0] >= '0' + LOG_LEVEL_ERROR && line[0] <= '0' + LOG_LEVEL_DEBUG) {
		level = line[0] - '0';
		line++;
	}
	return line[0] == '\0' || log_sink_put(&p->sink, level, line);
}

/* Where the first line in buf ends; no line of ours is longer than buf, others are cut. */
static char *line_end(struct log_pipe *p, char *at)
{
	char *end = p->buf + p->len;
	char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline || at > p->buf || p->len < sizeof(p->buf) - 1 ? newline : end;
}

/* All whole lines, until one is not taken. */
static void put_lines(struct log_pipe *p)
{
	char *at = p->buf, *end;

	p->blocked = false;
	while (!p->blocked && (end = line_end(p, at))) {
		char last = *end;

		*end = '\0';
		p->blocked = !put_line(p, at);
		*end = last;
		if (!p->blocked)
			at = end + (end < p->buf + p->len);
	}
	p->len -= (size_t)(at - p->buf);
	memmove(p->buf, at, p->len);
}

bool log_pipe_pump(struct log_pipe *p)
{
	ssize_t n;

	if (p->blocked)
		put_lines(p);
	if (p->fd < 0 || p->blocked)
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
	return !p->blocked;
}
