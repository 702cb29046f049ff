/* SPDX-License-Identifier: MIT */
#include "tests/unit/keeper_relay.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mtime.h"
#include "supd/engine/engine.h"
#include "supd/ipc/channel.h"
#include "supd/net/net.h"
#include "supd/scribe/scribe.h"

#define FEED_EVERY MTIME_MS(20)

static int wait_for_end(int fd)
{
	static char buf[CHANNEL_MSG_MAX];
	int fds[CHANNEL_FDS_MAX];
	struct channel c;
	size_t n_fds;
	ssize_t n = -EAGAIN;

	channel_init(&c, fd);
	while (n != 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		poll(&p, 1, -1);
		n = channel_recv(&c, buf, sizeof(buf), fds, &n_fds);
		while (n_fds > 0)
			close(fds[--n_fds]);
	}
	return 0;
}

int net_run(const struct net_args *args)
{
	return wait_for_end(args->keeper_fd);
}

int scribe_run(const struct scribe_args *args)
{
	return wait_for_end(args->keeper_fd);
}

static int relay_connect(const struct engine_args *args)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const struct relay_hello hello = { .pid = getpid(), .generation = args->generation };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/../test.sock",
		 model_str(args->m, args->m->supd.run_dir));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	send(fd, &hello, sizeof(hello), 0);
	return fd;
}

/*
 * By the clock, never by what comes in: each FEED is answered, and fed by its answers the pair
 * would take all CPUs there are (both run at nice -15).  Returns for how long to sleep, in ms.
 */
static int relay_feed(struct channel *keeper, uint32_t generation, uint64_t *seq, mtime *next)
{
	struct ipc_feed feed = { .h = { IPC_FEED, generation }, .seq = *seq + 1 };
	mtime now = mtime_now();

	if (now < *next)
		return (int)mtime_to_ms(*next - now) + 1;
	++*seq;
	*next = now + FEED_EVERY;
	channel_send(keeper, &feed, offsetof(struct ipc_feed, kill), NULL, 0);
	return (int)mtime_to_ms(FEED_EVERY);
}

/* From the keeper to the test, descriptors counted (in the length's last byte) and closed. */
static bool relay_up(struct channel *keeper, int test_fd)
{
	static char buf[CHANNEL_MSG_MAX + 1];
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n = channel_recv(keeper, buf, CHANNEL_MSG_MAX, fds, &n_fds);

	if (n <= 0)
		return n == -EAGAIN;
	buf[n] = (char)n_fds;
	while (n_fds > 0)
		close(fds[--n_fds]);
	if (((struct ipc_header *)(void *)buf)->type != IPC_FED)
		send(test_fd, buf, (size_t)n + 1, 0);
	return true;
}

static bool relay_down(struct channel *keeper, int test_fd, uint32_t generation, bool *feeding)
{
	static _Alignas(struct ipc_header) char buf[2 * CHANNEL_MSG_MAX];
	struct ipc_header *h = (struct ipc_header *)(void *)buf;
	ssize_t n = recv(test_fd, buf, sizeof(buf), 0);

	if (n <= 0)
		return false;
	if (n < (ssize_t)sizeof(*h)) /* no message at all: past the channel, which would refuse it */
		return send(keeper->fd, buf, (size_t)n, 0) == n;
	if (h->type == IPC_NONE && h->generation == RELAY_ECHO)
		return send(test_fd, buf, (size_t)n + 1, 0) == n + 1;
	if (h->type == IPC_NONE) {
		*feeding = false;
		return true;
	}
	if (h->generation == 0)
		h->generation = generation;
	return send(keeper->fd, buf, (size_t)n, 0) == n;
}

int engine_run(const struct engine_args *args)
{
	int test_fd = relay_connect(args);
	struct pollfd p[2] = { { args->keeper_fd, POLLIN, 0 }, { test_fd, POLLIN, 0 } };
	bool feeding = true, goes_on = test_fd >= 0;
	struct channel keeper;
	uint64_t seq = 0;
	mtime next = 0;

	channel_init(&keeper, args->keeper_fd);
	while (goes_on) {
		int wait = feeding ? relay_feed(&keeper, args->generation, &seq, &next) : -1;

		poll(p, 2, wait);
		if (p[0].revents)
			goes_on = relay_up(&keeper, test_fd);
		if (goes_on && p[1].revents)
			goes_on = relay_down(&keeper, test_fd, args->generation, &feeding);
	}
	return 0;
}
