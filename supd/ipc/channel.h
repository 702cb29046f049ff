/* SPDX-License-Identifier: MIT */
#ifndef SUPD_IPC_CHANNEL_H
#define SUPD_IPC_CHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One end of a SOCK_SEQPACKET pair between two processes of supd: datagrams in order, whole, with
 * descriptors.  Never blocks: what the socket does not take waits in a bounded queue, and is sent
 * by channel_flush() when the descriptor is writable.
 *
 * A message is a struct of ipc/msg.h, in host order: both ends are the same binary.
 */
#define CHANNEL_MSG_MAX	 65536
#define CHANNEL_FDS_MAX	 8
#define CHANNEL_QUEUE_MAX (4u << 20) /* bytes */

struct channel_pending; /* opaque: one queued message */

struct channel {
	int fd; /* -1: closed */
	struct channel_pending *head, **tail;
	size_t queued;
};

/* Take over `fd` (made non-blocking). */
void channel_init(struct channel *c, int fd);
/* Close it and everything queued. */
void channel_fini(struct channel *c);

/* A connected pair, O_CLOEXEC and non-blocking, with room for at least 256 KiB: 0 or -errno. */
int channel_pair(int ret_fds[2]);

/*
 * Send len bytes and n_fds descriptors, which stay the caller's (duplicated if it must be queued).
 * 0: sent or queued. -ENOBUFS: the queue is full, nothing was taken. -EPIPE: the other end is gone.
 */
int channel_send(struct channel *c, const void *msg, size_t len, const int *fds, size_t n_fds);

/* Whether something is queued (then poll for writing), and send it: 0, -EAGAIN or -errno. */
int channel_wants_write(const struct channel *c);
int channel_flush(struct channel *c);

/*
 * Receive one message.  Returns its length (> 0); 0: the other end is gone; -EAGAIN: nothing
 * waits; -EBADMSG: cut or without a header, dropped.  *ret_n_fds descriptors (CLOEXEC) become the
 * caller's.
 */
ssize_t channel_recv(struct channel *c, void *buf, size_t size, int ret_fds[CHANNEL_FDS_MAX],
		     size_t *ret_n_fds);

#endif
