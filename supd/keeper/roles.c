/* SPDX-License-Identifier: MIT */
#include "supd/keeper/roles.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/engine/engine.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/notify_socket.h"
#include "supd/keeper/orders.h"
#include "supd/keeper/process.h"
#include "supd/keeper/run.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/streams.h"
#include "supd/net/net.h"
#include "supd/scribe/scribe.h"

/*
 * Channels: one from the keeper to each role, made when the role is started, and one from the
 * engine to net and to scribe, made when either end is started; the keeper keeps no copy of these.
 *
 *   keeper --- engine            a new engine:  WELCOME RUN* BATON* CHANNEL CHANNEL READY
 *     |  \     /   \             a new net:     CHANNEL to both
 *     |   scribe    \            a new scribe:  STREAM*, CHANNEL to both
 *     +------------ net
 *
 * The roles that an image of the keeper before this one (reexec.h) has killed are waited for, and
 * started anew: a scribe that a disk holds is not joined by a second one.
 *
 * A dead engine's last words are heard (its batons above all), but what it wanted started is not:
 * the next engine decides that again.
 */

#define ROLE_QUICK     MTIME_SEC(5)
#define ROLE_DELAY_MIN MTIME_MS(10)
#define ROLE_DELAY_MAX MTIME_SEC(1)
#define ENGINE_DEATH_MS 20 /* it takes a few microseconds; it never waits for a disk */

static const char *const names[ROLES_END] = {
	[ROLE_NET] = "net", [ROLE_SCRIBE] = "scribe", [ROLE_ENGINE] = "engine"
};

/* ---- sending -------------------------------------------------------------------------------------- */

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct role *r = w->data;
	int result = channel_flush(&r->channel);

	(void)revents;
	if (result != -EAGAIN)
		ev_io_stop(loop, w);
	if (result < 0 && result != -EAGAIN)
		role_kill(r);
}

void role_kill(struct role *r)
{
	if (r->pid > 0)
		process_signal(r->pidfd, SIGKILL);
}

void role_send(struct role *r, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	int result;

	if (r->channel.fd < 0)
		return;
	result = channel_send(&r->channel, msg, len, fds, n_fds);
	if (result == -EPIPE) /* dying: its pidfd tells */
		return;
	if (result < 0) {
		log_error("the %s takes no messages: %s, replacing it", names[r->id],
			  strerror(-result));
		role_kill(r);
		return;
	}
	if (channel_wants_write(&r->channel))
		ev_io_start(r->k->loop, &r->writer);
}

void engine_send(struct keeper *k, const void *msg, size_t len)
{
	role_send(&k->roles[ROLE_ENGINE], msg, len, NULL, 0);
}

void role_hang_up(struct role *r)
{
	ev_io_stop(r->k->loop, &r->reader);
	ev_io_stop(r->k->loop, &r->writer);
	channel_fini(&r->channel);
}

/* ---- the child -------------------------------------------------------------------------------------- */

static int call_role(struct keeper *k, enum role_id id, int channel_fd)
{
	const struct net_args net = { .m = k->m, .keeper_fd = channel_fd };
	const struct scribe_args scribe = { .m = k->m,
					    .keeper_fd = channel_fd,
					    .log_fd = k->log_pipe[0] };
	const struct engine_args engine = { .m = k->m,
					    .generation = k->generation,
					    .keeper_fd = channel_fd,
					    .control_fd = k->control_fd,
					    .keeper_pidfd = k->self_pidfd };

	switch (id) {
	case ROLE_NET:
		return net_run(&net);
	case ROLE_SCRIBE:
		return scribe_run(&scribe);
	case ROLE_ENGINE:
		return engine_run(&engine);
	case ROLES_END:
		break;
	}
	return 1;
}

static size_t kept_fds(const struct keeper *k, enum role_id id, int channel_fd, int ret[4])
{
	size_t n = 0;

	ret[n++] = channel_fd;
	ret[n++] = k->log_pipe[1];
	if (id == ROLE_SCRIBE)
		ret[n++] = k->log_pipe[0];
	if (id == ROLE_ENGINE) {
		ret[n++] = k->control_fd;
		ret[n++] = k->self_pidfd;
	}
	return n;
}

__attribute__((noreturn)) static void role_main(struct keeper *k, enum role_id id, int channel_fd)
{
	int keep[4], r;
	size_t n = kept_fds(k, id, channel_fd, keep);

	process_reset_signals();
	/* A daemon's roles do not hold the terminal, or the pipe, of who started it. */
	if (k->ready_fd >= 0)
		for (int fd = 1; fd < 3; fd++)
			dup2(k->null_fd, fd);
	fd_close_all_but(keep, n);
	title_set(&k->title, names[id], NULL);
	log_init(k->log_pipe[1], names[id], (enum log_level)k->m->supd.log_level, true);
	r = process_confine(k->m, id == ROLE_NET);
	if (r < 0) {
		log_error("cannot give up privileges: %s, ending", strerror(-r));
		_exit(1);
	}
	_exit(call_role(k, id, channel_fd));
}

/* ---- who is told what at a start ------------------------------------------------------------------ */

static void connect_engine(struct keeper *k, enum role_id id)
{
	struct role *engine = &k->roles[ROLE_ENGINE], *other = &k->roles[id];
	const struct ipc_channel m = { .h = { IPC_CHANNEL, k->generation }, .role = id };
	int fds[2];

	if (engine->channel.fd < 0 || other->channel.fd < 0)
		return;
	if (channel_pair(fds) < 0) { /* no descriptor left: begin again a little later */
		role_kill(engine);
		return;
	}
	role_send(other, &m, sizeof(m), &fds[1], 1);
	role_send(engine, &m, sizeof(m), &fds[0], 1);
	close(fds[0]);
	close(fds[1]);
}

static void welcome(struct keeper *k)
{
	struct ipc_welcome m = { .h = { IPC_WELCOME, k->generation },
				 .keeper_pid = getpid(),
				 .image = k->image_n,
				 .started = k->started,
				 .engine_restarts = k->generation - 1,
				 .has_cgroup = k->has_cgroup,
				 .has_cgroup_kill = k->has_cgroup_kill };
	const int fds[] = { k->self_leaf.kill_fd, k->programs_kill_fd, k->programs_events_fd };

	memcpy(m.cgroup, k->programs_path, sizeof(m.cgroup));
	memcpy(m.mount, k->place.mount, sizeof(m.mount));
	role_send(&k->roles[ROLE_ENGINE], &m, sizeof(m), fds, k->has_cgroup_kill ? 3 : 0);
}

static void tell_batons(struct keeper *k)
{
	for (uint32_t i = 0; i <= k->m->n_services; i++) {
		struct ipc_baton m = { .h = { IPC_BATON, k->generation },
				       .slot = i < k->m->n_services ? i : IPC_BATON_NODE,
				       .len = k->batons[i].len };

		if (m.len == 0)
			continue;
		memcpy(m.data, k->batons[i].data, m.len);
		engine_send(k, &m, sizeof(m));
	}
}

void engine_shutdown(struct keeper *k)
{
	const struct ipc_shutdown m = { .h = { IPC_SHUTDOWN, k->generation } };

	engine_send(k, &m, sizeof(m));
}

static void brief_engine(struct keeper *k)
{
	const struct ipc_ready ready = { .h = { IPC_READY, k->generation } };

	welcome(k);
	notify_sockets_tell(k);
	run_tell_all(k);
	tell_batons(k);
	connect_engine(k, ROLE_NET);
	connect_engine(k, ROLE_SCRIBE);
	engine_send(k, &ready, sizeof(ready));
	if (k->shutdown)
		engine_shutdown(k);
}

static void brief(struct keeper *k, enum role_id id)
{
	switch (id) {
	case ROLE_ENGINE:
		brief_engine(k);
		break;
	case ROLE_SCRIBE:
		streams_tell_all(k);
		connect_engine(k, id);
		break;
	case ROLE_NET:
		connect_engine(k, id);
		break;
	case ROLES_END:
		break;
	}
}

/* ---- start and death -------------------------------------------------------------------------------- */

/* net and scribe have nothing to say to us: readable means gone, or noise. */
static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct role *r = w->data;
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n;

	(void)revents;
	if (r->id == ROLE_ENGINE) {
		orders_read(r->k);
		return;
	}
	n = channel_recv(&r->channel, &r->k->message, sizeof(r->k->message), fds, &n_fds);
	while (n_fds > 0)
		fd_close(&fds[--n_fds]);
	if (n == 0)
		ev_io_stop(loop, w);
}

static void role_start(struct role *r);

static void on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	role_start(w->data);
}

static void schedule(struct role *r)
{
	ev_timer_init(&r->again, on_again, (double)mtime_to_ms(r->delay) / 1000, 0.);
	ev_timer_start(r->k->loop, &r->again);
	r->delay = mtime_min(mtime_max(2 * r->delay, ROLE_DELAY_MIN), ROLE_DELAY_MAX);
}

static void on_death(struct ev_loop *loop, ev_io *w, int revents)
{
	struct role *r = w->data;
	struct keeper *k = r->k;
	int code, signo;

	(void)revents;
	ev_io_stop(loop, w); /* where it cannot be reaped: roles_poll() goes on, see process.h */
	if (!process_reap(r->pidfd, &code, &signo))
		return;
	fd_close(&r->pidfd);
	r->pid = 0;
	if (r->id == ROLE_ENGINE) {
		orders_last_words(k);
		hook_kill_all(k);
	}
	role_hang_up(r);
	cgroup_leaf_drop(&r->leaf);
	if (k->ending != ENDING_NOT) {
		ending_poll(k);
		return;
	}
	if (r->replaced)
		log_info("the %s of the image before is gone", names[r->id]);
	else if (signo)
		log_error("the %s was killed by signal %d, starting it again", names[r->id], signo);
	else
		log_error("the %s ended with status %d, starting it again", names[r->id], code);
	if (r->id == ROLE_ENGINE && k->shutdown)
		k->engine_deaths++;
	if (mtime_now() - r->started >= ROLE_QUICK || r->replaced)
		r->delay = 0;
	r->replaced = false;
	schedule(r);
	ending_poll(k);
}

void roles_poll(struct keeper *k)
{
	for (int i = 0; i < ROLES_END; i++)
		if (k->roles[i].pid > 0)
			ev_io_start(k->loop, &k->roles[i].death);
}

static void watch(struct role *r)
{
	struct ev_loop *loop = r->k->loop;

	ev_io_init(&r->death, on_death, r->pidfd, EV_READ);
	ev_io_init(&r->reader, on_readable, r->channel.fd, EV_READ);
	ev_io_init(&r->writer, on_writable, r->channel.fd, EV_WRITE);
	r->death.data = r->reader.data = r->writer.data = r;
	/* Orders and FEEDs come before every timer, and before the death of who sent them. */
	ev_set_priority(&r->reader, EV_MAXPRI);
	ev_io_start(loop, &r->death);
	ev_io_start(loop, &r->reader);
}

int role_adopt(struct role *r, pid_t pid, const char *leaf)
{
	int result = leaf ? cgroup_leaf_open(r->k->tree_fd, leaf, &r->leaf) : 0;

	if (result < 0)
		return result;
	r->pidfd = pidfd_open(pid, 0);
	if (r->pidfd < 0)
		return -errno;
	r->pid = pid;
	r->replaced = true;
	ev_io_init(&r->death, on_death, r->pidfd, EV_READ);
	r->death.data = r;
	ev_io_start(r->k->loop, &r->death);
	return 0;
}

int roles_kill(struct keeper *k)
{
	struct pollfd p = { .fd = k->roles[ROLE_ENGINE].pidfd, .events = POLLIN };

	for (int i = 0; i < ROLES_END; i++)
		role_kill(&k->roles[i]);
	if (p.fd >= 0 && poll(&p, 1, ENGINE_DEATH_MS) <= 0)
		return -ETIMEDOUT;
	orders_last_words(k);
	return 0;
}

static int role_fork(struct role *r, int pair[2])
{
	struct keeper *k = r->k;
	int result = spawn_own_namespace(k);

	if (result == 0 && k->has_cgroup)
		result = cgroup_leaf_make(k->tree_fd, "roles", &k->role_leaf_n, &r->leaf);
	if (result < 0)
		return result;
	r->pid = process_fork(r->leaf.dir_fd, 0, &r->pidfd);
	if (r->pid == 0)
		role_main(k, r->id, pair[1]);
	result = r->pid < 0 ? r->pid : 0;
	if (result < 0) {
		r->pid = 0;
		cgroup_leaf_drop(&r->leaf);
	}
	return result;
}

static int try_start(struct role *r)
{
	struct keeper *k = r->k;
	int pair[2], result = channel_pair(pair);

	if (result < 0)
		return result;
	if (r->id == ROLE_ENGINE)
		k->generation++;
	result = role_fork(r, pair);
	close(pair[1]);
	if (result < 0) {
		close(pair[0]);
		return result;
	}
	channel_init(&r->channel, pair[0]);
	r->started = mtime_now();
	watch(r);
	if (r->id == ROLE_ENGINE) {
		k->fed = false;
		k->fed_at = r->started;
	}
	brief(k, r->id);
	return 0;
}

static void role_start(struct role *r)
{
	int result;

	if (r->k->ending != ENDING_NOT || r->pid > 0)
		return;
	result = try_start(r);
	if (result < 0) {
		log_error("cannot start the %s: %s, retrying", names[r->id], strerror(-result));
		schedule(r);
	}
}

/* The scribe first: it writes the log of all. */
int roles_open(struct keeper *k)
{
	static const enum role_id order[] = { ROLE_SCRIBE, ROLE_NET, ROLE_ENGINE };

	for (size_t i = 0; i < ROLES_END; i++) {
		struct role *r = &k->roles[order[i]];

		ev_init(&r->again, on_again);
		r->again.data = r;
		r->delay = 0;
		role_start(r);
	}
	return 0;
}
