/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * "Silence is mutual": what the engine does when the keeper is dead or does not answer.
 *
 *   1. SIGKILL to the keeper (its leaf's cgroup.kill) and to every program: from the return of the
 *      write on no instruction of theirs is executed.  An unprivileged process can do neither by
 *      pid; the descriptors were opened by root and handed over in WELCOME.
 *   2. The addresses are ordered away at the same time.
 *   3. Wait until the keeper is reaped or a zombie and the tree is empty; a keeper that was in the
 *      middle of a clone may have added a child after the first write, so it is repeated once the
 *      keeper is dead.  Bounded: a big heap takes seconds to be given back, and dead is enough.
 *   4. RELEASE, so that a peer need not wait for Active_Down, and end.
 *
 * RELEASE is a promise that nothing of ours runs.  Where nobody could make sure (no cgroup v2, a
 * write that failed) it is not given: the peers find out by silence.
 *
 * This is the engine's last act, so it waits in poll(2) here, and the loop is never entered again:
 * whatever else comes in is for nobody any more.
 */
#define TREE_WAIT    MTIME_SEC(2)
#define ADDRESS_WAIT MTIME_SEC(1)
#define LOOK_MS	     5
#define RELEASES     3 /* datagrams get lost, and nobody is left to repeat them */

struct silence {
	struct engine *e;
	bool keeper_dead; /* its pidfd says so */
	bool killed;	  /* SIGKILL is pending for all that there was when we wrote */
	bool killed_last; /* the same, after the keeper's death: nothing can come after it */
	uint64_t first_order, last_order; /* of the address removals */
	uint32_t answers;
};

static bool write_kill(int fd)
{
	if (fd < 0)
		return false;
	while (pwrite(fd, "1", 1, 0) < 0) {
		if (errno != EINTR) {
			log_error("cgroup.kill: %s", strerror(errno));
			return false;
		}
	}
	return true;
}

static void kill_all(struct silence *s)
{
	struct engine *e = s->e;
	bool keeper = s->keeper_dead || write_kill(e->kill_fds[0]);

	s->killed = write_kill(e->kill_fds[1]) && keeper;
	s->killed_last = s->killed && s->keeper_dead;
}

static void look_at_keeper(struct silence *s)
{
	struct pollfd p = { .fd = s->e->keeper_pidfd, .events = POLLIN };

	if (!s->keeper_dead && p.fd >= 0 && poll(&p, 1, 0) == 1)
		s->keeper_dead = true;
	if (s->keeper_dead && s->killed && !s->killed_last)
		s->killed_last = write_kill(s->e->kill_fds[1]);
}

/*
 * cgroup.events says "populated 0": nothing is left in the tree of all programs.  Reading is also
 * what takes POLLPRI back: without it wait_for_news() would not wait.
 */
static bool tree_is_empty(const struct engine *e)
{
	char text[256];
	ssize_t n;

	if (e->kill_fds[2] < 0)
		return false;
	n = pread(e->kill_fds[2], text, sizeof(text) - 1, 0);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "populated 0") != NULL;
}

static bool programs_are_gone(struct silence *s)
{
	bool empty = tree_is_empty(s->e);

	return empty && s->killed_last;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void order_addresses_away(struct silence *s)
{
	struct engine *e = s->e;

	s->first_order = e->next_order;
	/* Without a keeper there is no vip_command: what it did on this host is undone, no more. */
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (model_service(e->m, i)->vip_backend != MODEL_VIP_NONE)
			net_order_address(e, i, IPC_ADDRESS_REMOVE, e->next_order++, MTIME_NEVER);
	s->last_order = e->next_order;
}

static void read_net(struct silence *s)
{
	struct channel *c = &s->e->net.channel;
	struct ipc_address_result r;
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t len = -EAGAIN;

	channel_flush(c);
	while (c->fd >= 0) {
		len = channel_recv(c, &r, sizeof(r), fds, &n_fds);
		if (len == -EBADMSG)
			continue;
		if (len <= 0)
			break;
		for (size_t i = 0; i < n_fds; i++)
			fd_close(&fds[i]);
		if (len == sizeof(r) && r.h.type == IPC_ADDRESS_RESULT &&
		    r.order >= s->first_order && r.order < s->last_order)
			s->answers++;
	}
	if (c->fd >= 0 && len != -EAGAIN)
		link_close(&s->e->net); /* net removes what it put up when it ends */
}

static bool addresses_are_away(const struct silence *s)
{
	return s->e->net.channel.fd < 0 || s->answers >= s->last_order - s->first_order;
}

/* ---- the wait ----------------------------------------------------------------------------------- */

/* Until one of the three may have changed, LOOK_MS at most. */
static void wait_for_news(struct silence *s)
{
	struct pollfd p[3] = {
		{ .fd = s->keeper_dead ? -1 : s->e->keeper_pidfd, .events = POLLIN },
		{ .fd = s->e->kill_fds[2], .events = POLLPRI },
		{ .fd = s->e->net.channel.fd, .events = POLLIN },
	};

	poll(p, 3, LOOK_MS);
}

static void wait_until_undone(struct silence *s)
{
	mtime begin = mtime_now();

	for (;;) {
		mtime waited = mtime_now() - begin;
		bool gone, trees, addresses;

		look_at_keeper(s);
		read_net(s);
		gone = programs_are_gone(s);
		trees = !s->killed || gone || waited >= TREE_WAIT;
		addresses = addresses_are_away(s) || waited >= ADDRESS_WAIT;
		if (trees && addresses)
			return;
		wait_for_news(s);
	}
}

/* ---- the last words --------------------------------------------------------------------------------- */

static bool was_active(const struct service_fsm *f)
{
	return f->state == SERVICE_STATE_ACTIVE || f->state == SERVICE_STATE_TAKING_OVER ||
	       f->state == SERVICE_STATE_RELEASING;
}

static void release_one(struct engine *e, uint32_t row, mtime now)
{
	const struct service_fsm *f = &e->services[row].fsm;
	int next = service_successor(f, now);
	unsigned successor = next == MODEL_NONE ? MODEL_NODES_MAX : (unsigned)next;

	peer_io_send_term(e, MODEL_NONE, PEER_TYPE_RELEASE, row, f->term, successor, true);
	vrrp_io_send(e, row, VRRP_PRIO_RELEASE);
}

static void release_all(struct engine *e)
{
	for (int round = 0; round < RELEASES; round++) {
		if (round > 0)
			poll(NULL, 0, LOOK_MS);
		for (uint32_t i = 0; i < e->m->n_services; i++) {
			if (was_active(&e->services[i].fsm))
				release_one(e, i, mtime_now());
		}
	}
}

void keeper_silence(struct engine *e, bool dead)
{
	struct silence s = { .e = e, .keeper_dead = dead };

	if (e->finished)
		return;
	engine_finish(e, 0);
	kill_all(&s);
	order_addresses_away(&s);
	if (dead)
		log_error("the keeper is dead: killing what is left, releasing, ending");
	else
		log_error("the keeper has been silent for %lld ms: killing it and every program, "
			  "releasing, ending",
			  (long long)mtime_to_ms(mtime_now() - e->fed_at));
	wait_until_undone(&s);
	if (!s.killed) {
		log_error("nobody could make sure that the programs are dead: no release, the "
			  "peers go by silence");
		return;
	}
	if (!programs_are_gone(&s))
		log_error("the programs are dead, and not gone after %lld ms, releasing",
			  (long long)mtime_to_ms(TREE_WAIT));
	release_all(e);
}
