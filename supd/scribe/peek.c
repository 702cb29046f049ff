/* SPDX-License-Identifier: MIT */
#include "supd/scribe/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/fd.h"

int peek_init(struct peek *p)
{
	p->pipe[0] = p->pipe[1] = -1;
	p->buf = malloc(PEEK_MAX);
	return p->buf ? fd_pipe(p->pipe, O_NONBLOCK) : -ENOMEM;
}

void peek_fini(struct peek *p)
{
	fd_close(&p->pipe[0]);
	fd_close(&p->pipe[1]);
	free(p->buf);
	p->buf = NULL;
}

ssize_t peek_at(struct peek *p, int pipe_fd)
{
	ssize_t n, got = 0;

	do
		n = tee(pipe_fd, p->pipe[1], PEEK_MAX, SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 || errno == EAGAIN ? 0 : -errno;
	while (got < n) {
		ssize_t r = read(p->pipe[0], p->buf + got, (size_t)(n - got));

		if (r > 0)
			got += r;
		else if (r == 0 || errno != EINTR)
			return -EIO; /* what was put there is there */
	}
	return n;
}

size_t pipe_waiting(int pipe_fd)
{
	int n = 0;

	return ioctl(pipe_fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

void pipe_skip(int pipe_fd, size_t n)
{
	char buf[4096];

	while (n > 0) {
		ssize_t r = read(pipe_fd, buf, n < sizeof(buf) ? n : sizeof(buf));

		if (r > 0)
			n -= (size_t)r;
		else if (r == 0 || errno != EINTR)
			return;
	}
}
