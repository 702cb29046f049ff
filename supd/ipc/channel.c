/* SPDX-License-Identifier: MIT */
#include "supd/ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/fd.h"
#include "supd/ipc/msg.h"

#define CHANNEL_SOCKET_BUFFER (512 << 10)

struct channel_pending {
	struct channel_pending *next;
	size_t len, n_fds;
	int fds[CHANNEL_FDS_MAX];
	uint8_t data[];
};

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union channel_control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

static void pending_free(struct channel_pending *p)
{
	for (size_t i = 0; i < p->n_fds; i++)
		fd_close(&p->fds[i]);
	free(p);
}

void channel_init(struct channel *c, int fd)
{
	c->fd = fd;
	c->head = NULL;
	c->tail = &c->head;
	c->queued = 0;
	if (fd >= 0)
		fd_set_nonblock(fd);
}

void channel_fini(struct channel *c)
{
	while (c->head) {
		struct channel_pending *p = c->head;

		c->head = p->next;
		pending_free(p);
	}
	c->tail = &c->head;
	c->queued = 0;
	fd_close(&c->fd);
}

/*
 * The default buffer holds 208 KiB of payload and bookkeeping together.  FORCE goes beyond
 * wmem_max and is for root only, the plain option is cut to it: asked first, so that what is
 * granted is the larger of the two.
 */
int channel_pair(int ret_fds[2])
{
	const int size = CHANNEL_SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	}
	return 0;
}

static bool is_gone(int error)
{
	return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ECONNREFUSED;
}

/* Full for now: ENOBUFS and ENOMEM pass too, ETOOMANYREFS when the receiver takes its descriptors. */
static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
}

static int send_now(int fd, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	union channel_control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		memset(&control, 0, sizeof(control));
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		if (sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (is_gone(errno))
			return -EPIPE;
		return is_full(errno) ? -EAGAIN : -errno;
	}
}

static int queue(struct channel *c, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	struct channel_pending *p;

	if (c->queued + len > CHANNEL_QUEUE_MAX)
		return -ENOBUFS;
	p = calloc(1, sizeof(*p) + len);
	if (!p)
		return -ENOBUFS;
	p->len = len;
	memcpy(p->data, msg, len);
	for (; p->n_fds < n_fds; p->n_fds++) {
		p->fds[p->n_fds] = fcntl(fds[p->n_fds], F_DUPFD_CLOEXEC, 3);
		if (p->fds[p->n_fds] < 0) {
			pending_free(p);
			return -ENOBUFS;
		}
	}
	*c->tail = p;
	c->tail = &p->next;
	c->queued += len;
	return 0;
}

int channel_send(struct channel *c, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	int r;

	if (c->fd < 0)
		return -EPIPE;
	if (len < sizeof(struct ipc_header) || len > CHANNEL_MSG_MAX || n_fds > CHANNEL_FDS_MAX)
		return -EINVAL;
	if (!c->head) {
		r = send_now(c->fd, msg, len, fds, n_fds);
		if (r != -EAGAIN)
			return r;
	}
	return queue(c, msg, len, fds, n_fds);
}

int channel_wants_write(const struct channel *c)
{
	return c->head != NULL;
}

int channel_flush(struct channel *c)
{
	while (c->head) {
		struct channel_pending *p = c->head;
		int r = send_now(c->fd, p->data, p->len, p->fds, p->n_fds);

		if (r < 0)
			return r;
		c->head = p->next;
		if (!c->head)
			c->tail = &c->head;
		c->queued -= p->len;
		pending_free(p);
	}
	return 0;
}

/* Whatever descriptors came, also when the message itself is refused: they are ours to close. */
static size_t take_fds(struct msghdr *h, int ret_fds[CHANNEL_FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (count > CHANNEL_FDS_MAX - n)
			count = CHANNEL_FDS_MAX - n;
		memcpy(&ret_fds[n], CMSG_DATA(c), count * sizeof(int));
		n += count;
	}
	return n;
}

/*
 * ECONNRESET is told once, ahead of what still waits, when the other end closed with our messages
 * unread: ask again.
 */
static ssize_t recv_raw(int fd, struct msghdr *h)
{
	for (;;) {
		ssize_t n = recvmsg(fd, h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n >= 0)
			return n;
		if (errno == EINTR || errno == ECONNRESET)
			continue;
		return -errno;
	}
}

ssize_t channel_recv(struct channel *c, void *buf, size_t size, int ret_fds[CHANNEL_FDS_MAX],
		     size_t *ret_n_fds)
{
	union channel_control control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	size_t n_fds;
	ssize_t n;

	*ret_n_fds = 0;
	if (c->fd < 0)
		return 0;
	n = recv_raw(c->fd, &h);
	if (n <= 0)
		return n;
	n_fds = take_fds(&h, ret_fds);
	if ((h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || n < (ssize_t)sizeof(struct ipc_header)) {
		while (n_fds > 0)
			fd_close(&ret_fds[--n_fds]);
		return -EBADMSG;
	}
	*ret_n_fds = n_fds;
	return n;
}
