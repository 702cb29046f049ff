/* SPDX-License-Identifier: MIT */
#include "supd/scribe/scribe.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/scribe/engine_port.h"
#include "supd/scribe/log_pipe.h"
#include "supd/scribe/outputs.h"
#include "supd/scribe/stall.h"
#include "supd/scribe/tails.h"

#define END_GRACE    2.0 /* the engine may outlive the keeper so long */
#define LOG_BATCH    32
#define LOG_PAUSE    0.05 /* between attempts when stderr or syslog takes nothing */
#define LOG_PATIENCE 10	  /* such pauses at the end */

/*
 * One loop.  Everything it does between two waits for events may block on a disk; the stall thread
 * then keeps the programs going (outputs_relieve).  Each piece of work begins with stall_begin():
 * much to do is not a hanging disk.
 */
struct scribe {
	const struct model *m;
	struct ev_loop *loop;
	struct channel keeper;
	struct ev_io keeper_watcher, log_watcher;
	struct ev_prepare prepare;
	struct ev_check check;
	struct ev_timer end_timer, log_timer;
	struct engine_port engine;
	struct log_pipe log;
	struct stall stall;
	struct outputs outputs;
	struct tails tails;
};

/* ---- the keeper ------------------------------------------------------------------------------- */

static void on_engine_gone(void *arg)
{
	struct scribe *s = arg;

	if (s->keeper.fd < 0)
		ev_break(s->loop, EVBREAK_ALL);
}

static void on_logs(void *arg, const struct ipc_logs *order, int client_fd)
{
	struct scribe *s = arg;

	tails_add(&s->tails, order, client_fd);
}

static void on_written(void *arg, uint32_t program)
{
	struct scribe *s = arg;

	tails_poke(&s->tails, program);
}

/* The keeper is gone.  The engine may still have something to save and to say. */
static void begin_end(struct scribe *s)
{
	ev_io_stop(s->loop, &s->keeper_watcher);
	channel_fini(&s->keeper);
	if (engine_port_is_open(&s->engine))
		ev_timer_start(s->loop, &s->end_timer);
	else
		ev_break(s->loop, EVBREAK_ALL);
}

static void on_end(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	ev_break(loop, EVBREAK_ALL);
}

/* Both take over the descriptors that they set to -1. */
static void handle_stream(struct scribe *s, const struct ipc_stream *msg, int *fds, size_t n_fds)
{
	if (n_fds != 3 || msg->program < 0 || (uint32_t)msg->program >= s->m->n_programs ||
	    msg->output < 0 || msg->output >= OUTPUTS_OF_PROGRAM) {
		log_error("bad STREAM from the keeper, ignoring");
		return;
	}
	outputs_put(&s->outputs, (uint32_t)msg->program, (unsigned)msg->output, fds);
	fds[0] = fds[1] = fds[2] = -1;
}

static void handle_channel(struct scribe *s, const struct ipc_channel *msg, int *fds, size_t n_fds)
{
	if (n_fds != 1) {
		log_error("bad CHANNEL from the keeper, ignoring");
		return;
	}
	engine_port_open(&s->engine, fds[0], msg->h.generation);
	fds[0] = -1;
}

union keeper_msg {
	struct ipc_header h;
	struct ipc_channel channel;
	struct ipc_stream stream;
};

static void handle_keeper_msg(struct scribe *s, const union keeper_msg *msg, size_t len, int *fds,
			      size_t n_fds)
{
	if (msg->h.type == IPC_STREAM && len == sizeof(msg->stream))
		handle_stream(s, &msg->stream, fds, n_fds);
	else if (msg->h.type == IPC_CHANNEL && len == sizeof(msg->channel))
		handle_channel(s, &msg->channel, fds, n_fds);
	else
		log_error("message %u of %zu bytes from the keeper is not for the scribe, ignoring",
			  (unsigned)msg->h.type, len);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(&fds[i]);
}

static void on_keeper(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct scribe *s = w->data;
	union keeper_msg msg;
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n;

	for (;;) {
		n = channel_recv(&s->keeper, &msg, sizeof(msg), fds, &n_fds);
		if (n == -EBADMSG)
			continue;
		if (n <= 0)
			break;
		handle_keeper_msg(s, &msg, (size_t)n, fds, n_fds);
	}
	if (n != -EAGAIN)
		begin_end(s);
}

/* ---- the loop --------------------------------------------------------------------------------- */

/* Until the pipe is empty, or for a batch; then the others have their turn. */
static void pump_log(struct scribe *s)
{
	for (int i = 0; i < LOG_BATCH && log_pipe_pump(&s->log); i++)
		;
	if (s->log.blocked) {
		ev_io_stop(s->loop, &s->log_watcher);
		ev_timer_again(s->loop, &s->log_timer);
		return;
	}
	ev_timer_stop(s->loop, &s->log_timer);
	if (s->log.fd >= 0)
		ev_io_start(s->loop, &s->log_watcher);
	else
		ev_io_stop(s->loop, &s->log_watcher);
}

static void on_log(struct ev_loop *loop, struct ev_io *w, int revents)
{
	pump_log(w->data);
}

static void on_log_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	pump_log(w->data);
}

static void on_prepare(struct ev_loop *loop, struct ev_prepare *w, int revents)
{
	stall_end(w->data);
}

static void on_check(struct ev_loop *loop, struct ev_check *w, int revents)
{
	stall_begin(w->data);
}

static void start_watchers(struct scribe *s, const struct scribe_args *args)
{
	ev_io_init(&s->keeper_watcher, on_keeper, args->keeper_fd, EV_READ);
	ev_io_init(&s->log_watcher, on_log, args->log_fd, EV_READ);
	ev_timer_init(&s->end_timer, on_end, END_GRACE, 0.);
	ev_timer_init(&s->log_timer, on_log_timer, 0., LOG_PAUSE);
	ev_prepare_init(&s->prepare, on_prepare);
	ev_check_init(&s->check, on_check);
	ev_set_priority(&s->check, EV_MAXPRI); /* before any work of this round */
	ev_set_priority(&s->keeper_watcher, 1); /* streams are known before anything may block */
	s->keeper_watcher.data = s->log_watcher.data = s;
	s->log_timer.data = s;
	s->prepare.data = s->check.data = &s->stall;
	ev_io_start(s->loop, &s->keeper_watcher);
	ev_io_start(s->loop, &s->log_watcher);
	ev_prepare_start(s->loop, &s->prepare);
	ev_check_start(s->loop, &s->check);
}

static void drain_log(struct scribe *s)
{
	const struct timespec pause = {.tv_nsec = (long)(LOG_PAUSE * 1e9)};

	for (int i = 0; i < LOG_PATIENCE; i++) {
		for (int k = 0; k < LOG_BATCH && log_pipe_pump(&s->log); k++)
			;
		if (!s->log.blocked)
			return;
		nanosleep(&pause, NULL);
	}
}

static int scribe_init(struct scribe *s, const struct scribe_args *args)
{
	static const struct engine_port_calls calls = {.gone = on_engine_gone, .logs = on_logs};
	int r;

	s->m = args->m;
	s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!s->loop)
		return -ENOMEM;
	r = outputs_init(&s->outputs, s->loop, s->m, &s->stall);
	if (r < 0)
		return r;
	channel_init(&s->keeper, args->keeper_fd);
	log_pipe_init(&s->log, args->log_fd, s->m->supd.log_to_stderr,
		      model_node_name(s->m, (uint32_t)s->m->self));
	s->outputs.on_written = on_written;
	s->outputs.arg = s;
	tails_init(&s->tails, s->loop, s->m, &s->stall);
	r = engine_port_init(&s->engine, s->loop, s->m, &calls, s);
	if (r < 0)
		return r;
	r = stall_init(&s->stall, outputs_relieve, &s->outputs);
	if (r < 0)
		log_warn("no second thread (%s): a disk that hangs will stop the programs' output",
			 strerror(-r));
	start_watchers(s, args);
	return 0;
}

static void scribe_fini(struct scribe *s)
{
	stall_fini(&s->stall);
	tails_fini(&s->tails);
	outputs_fini(&s->outputs);
	engine_port_fini(&s->engine);
	channel_fini(&s->keeper);
	log_pipe_fini(&s->log);
	ev_loop_destroy(s->loop);
}

/*
 * A Ctrl-C goes to the whole process group, but the keeper says when the scribe ends.  SIGXFSZ:
 * a limit that supd was started with is an error of the one file.
 */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGXFSZ};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

int scribe_run(const struct scribe_args *args)
{
	struct scribe s;
	int r;

	memset(&s, 0, sizeof(s));
	ignore_signals();
	r = scribe_init(&s, args);
	if (r < 0)
		die("cannot start: %s", strerror(-r));
	ev_run(s.loop, 0);
	outputs_finish(&s.outputs);
	drain_log(&s);
	scribe_fini(&s);
	return 0;
}
