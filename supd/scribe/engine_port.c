/* SPDX-License-Identifier: MIT */
#include "supd/scribe/engine_port.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/scribe/state_file.h"

#define SAVE_FIXED  offsetof(struct ipc_state_save, text)
#define STATE_FIXED offsetof(struct ipc_state, text)

static const char *self_name(const struct engine_port *p)
{
	return model_node_name(p->m, (uint32_t)p->m->self);
}

static const char *state_dir(const struct engine_port *p)
{
	return model_str(p->m, p->m->supd.state_dir);
}

static void on_writable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct engine_port *p = w->data;

	if (channel_flush(&p->channel) != -EAGAIN)
		ev_io_stop(loop, w);
}

static void answer(struct engine_port *p, const void *msg, size_t len)
{
	int r = channel_send(&p->channel, msg, len, NULL, 0);

	if (r < 0 && r != -EPIPE)
		log_warn("answer to the engine: %s, dropped", strerror(-r));
	if (channel_wants_write(&p->channel))
		ev_io_start(p->loop, &p->writer);
}

/* ---- orders ----------------------------------------------------------------------------------- */

static void report_save(struct engine_port *p, int error)
{
	if (error == p->last_error)
		return;
	p->last_error = error;
	if (error)
		log_error("state file %s/%s.state: %s", state_dir(p), self_name(p),
			  strerror(error));
	else
		log_notice("state file %s/%s.state is written again", state_dir(p), self_name(p));
}

/* Write the newest text and answer everything that it covers. */
static void write_saves(struct engine_port *p)
{
	struct ipc_state_saved saved;
	int r;

	if (p->n_saves == 0)
		return;
	r = state_file_save(state_dir(p), self_name(p), p->newest->text, p->newest->len);
	report_save(p, -r);
	memset(&saved, 0, sizeof(saved));
	saved.h.type = IPC_STATE_SAVED;
	saved.h.generation = p->generation;
	saved.error = -r;
	for (size_t i = 0; i < p->n_saves; i++) {
		saved.seq = p->saves[i];
		answer(p, &saved, sizeof(saved));
	}
	p->n_saves = 0;
}

static void handle_save(struct engine_port *p, size_t len)
{
	struct ipc_state_save *tmp;

	if (len < SAVE_FIXED || p->in->len > IPC_STATE_MAX || len < SAVE_FIXED + p->in->len) {
		log_error("bad STATE_SAVE from the engine, ignoring");
		return;
	}
	if (p->n_saves == ENGINE_PORT_SAVES)
		write_saves(p);
	p->saves[p->n_saves++] = p->in->seq;
	tmp = p->newest;
	p->newest = p->in;
	p->in = tmp;
}

static void handle_load(struct engine_port *p)
{
	struct ipc_state *state = calloc(1, sizeof(*state));
	size_t len = 0;
	int r;

	if (!state) {
		log_error("out of memory for the state file, the engine will not get it");
		return;
	}
	r = state_file_load(state_dir(p), self_name(p), state->text, sizeof(state->text), &len);
	if (r < 0 && r != -ENOENT)
		log_error("state file %s/%s.state: %s", state_dir(p), self_name(p), strerror(-r));
	state->h.type = IPC_STATE;
	state->h.generation = p->generation;
	state->error = -r;
	state->len = (uint32_t)len;
	answer(p, state, STATE_FIXED + len);
	free(state);
}

/* Takes over the descriptor, which it sets to -1. */
static void handle_logs(struct engine_port *p, size_t len, int *fd)
{
	struct ipc_logs order;

	if (len != sizeof(order) || *fd < 0) {
		log_error("bad LOGS from the engine, ignoring");
		return;
	}
	memcpy(&order, p->in, sizeof(order));
	p->calls->logs(p->arg, &order, *fd);
	*fd = -1;
}

static void handle(struct engine_port *p, size_t len, int *fd)
{
	if (p->in->h.generation != p->generation)
		return;
	if (p->in->h.type == IPC_STATE_SAVE) {
		handle_save(p, len);
	} else if (p->in->h.type == IPC_STATE_LOAD) {
		write_saves(p);
		handle_load(p);
	} else if (p->in->h.type == IPC_LOGS) {
		handle_logs(p, len, fd);
	} else {
		log_error("message %u from the engine is not for the scribe, ignoring",
			  (unsigned)p->in->h.type);
	}
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct engine_port *p = w->data;
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n;

	for (;;) {
		n = channel_recv(&p->channel, p->in, sizeof(*p->in), fds, &n_fds);
		if (n == -EBADMSG)
			continue;
		if (n <= 0)
			break;
		if (n_fds == 0)
			fds[0] = -1;
		handle(p, (size_t)n, &fds[0]);
		for (size_t i = 0; i < n_fds; i++)
			fd_close(&fds[i]);
	}
	write_saves(p);
	if (n == -EAGAIN)
		return;
	ev_io_stop(loop, &p->reader);
	ev_io_stop(loop, &p->writer);
	channel_fini(&p->channel);
	p->calls->gone(p->arg);
}

/* ---- open and close --------------------------------------------------------------------------- */

int engine_port_init(struct engine_port *p, struct ev_loop *loop, const struct model *m,
		     const struct engine_port_calls *calls, void *arg)
{
	memset(p, 0, sizeof(*p));
	p->m = m;
	p->loop = loop;
	p->channel.fd = -1;
	p->calls = calls;
	p->arg = arg;
	p->in = calloc(1, sizeof(*p->in));
	p->newest = calloc(1, sizeof(*p->newest));
	return p->in && p->newest ? 0 : -ENOMEM;
}

bool engine_port_is_open(const struct engine_port *p)
{
	return p->channel.fd >= 0;
}

static void close_port(struct engine_port *p)
{
	if (!engine_port_is_open(p))
		return;
	ev_io_stop(p->loop, &p->reader);
	ev_io_stop(p->loop, &p->writer);
	channel_fini(&p->channel);
	p->n_saves = 0;
}

void engine_port_fini(struct engine_port *p)
{
	close_port(p);
	free(p->in);
	free(p->newest);
}

void engine_port_open(struct engine_port *p, int fd, uint32_t generation)
{
	if (generation < p->generation) {
		fd_close(&fd);
		return;
	}
	close_port(p);
	p->generation = generation;
	channel_init(&p->channel, fd);
	ev_io_init(&p->reader, on_readable, fd, EV_READ);
	ev_io_init(&p->writer, on_writable, fd, EV_WRITE);
	p->reader.data = p->writer.data = p;
	ev_io_start(p->loop, &p->reader);
}
