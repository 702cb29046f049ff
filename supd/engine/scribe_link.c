/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * The engine's side of the state file.
 *
 *   STATE_LOAD -> STATE: each service gets LOADED with what the disk had.  A file that cannot be
 *   read or understood is not "no file": services stay down (unfit: state_file), and it is tried
 *   again every second, so moving the file away is enough.
 *
 *   A save writes all services at once and has a number.  What is owed to a service, PERSISTED(seq)
 *   after the save that covers it, is noted there: the oldest and the newest; a third one waits
 *   with the newest.  A save is lost with its scribe: the next scribe gets a new one for all that
 *   is owed.
 *
 * Nothing is saved before it is known what the disk has: services not yet loaded would lose it.
 *
 * LOADED waits for a socket of the peer link, too: who has this node's address and port has its
 * place in the cluster, and a second supd of the same node (with another prefix, say) must not
 * begin.  A new engine that resumes finds its services loaded.
 */

#define RETRY_PERIOD 1.0

/* ---- saving ----------------------------------------------------------------------------------- */

static bool may_save(const struct engine *e)
{
	if (e->state_loaded)
		return true;
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (!e->services[i].fsm.loaded)
			return false;
	return true;
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int revents);

static void retry_later(struct engine *e)
{
	if (ev_is_active(&e->state_timer))
		return;
	ev_timer_init(&e->state_timer, on_retry, RETRY_PERIOD, 0.);
	e->state_timer.data = e;
	ev_timer_start(e->loop, &e->state_timer);
}

/* Everything that is owed and not on its way is covered by this save. */
static void note_save(struct engine *e, uint64_t save)
{
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct engine_service *svc = &e->services[i];

		for (unsigned w = 0; w < svc->n_state_waits; w++)
			if (svc->state_waits[w].save == 0)
				svc->state_waits[w].save = save;
	}
}

static void send_save(struct engine *e)
{
	struct ipc_state_save *msg = calloc(1, sizeof(*msg));
	int len, r;

	if (!msg) {
		retry_later(e);
		return;
	}
	len = state_text_encode(e, msg->text, sizeof(msg->text));
	msg->h.type = IPC_STATE_SAVE;
	msg->h.generation = e->generation;
	msg->seq = e->state_seq + 1;
	msg->len = len < 0 ? 0 : (uint32_t)len;
	r = len < 0 ? len
		    : link_send(&e->scribe, msg,
				offsetof(struct ipc_state_save, text) + (size_t)len);
	free(msg);
	if (r < 0) { /* without a scribe: the next one gets it */
		retry_later(e);
		return;
	}
	e->state_seq++;
	note_save(e, e->state_seq);
}

void scribe_save_state(struct engine *e, uint32_t service, uint64_t seq)
{
	struct engine_service *svc = &e->services[service];

	if (svc->n_state_waits < 2)
		svc->n_state_waits++;
	svc->state_waits[svc->n_state_waits - 1].seq = seq;
	svc->state_waits[svc->n_state_waits - 1].save = 0;
	if (may_save(e))
		send_save(e);
}

static bool anything_unsent(const struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_services; i++)
		for (unsigned w = 0; w < e->services[i].n_state_waits; w++)
			if (e->services[i].state_waits[w].save == 0)
				return true;
	return false;
}

/* The scribe that had them is gone, or could not write: all that is owed must be sent anew. */
static void forget_saves(struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_services; i++)
		for (unsigned w = 0; w < 2; w++)
			e->services[i].state_waits[w].save = 0;
}

/* The newest seq of the service that the save covers is taken off its list; 0: none. */
static uint64_t take_covered(struct engine_service *svc, uint64_t save)
{
	uint64_t seq = 0;

	while (svc->n_state_waits > 0 && svc->state_waits[0].save != 0 &&
	       svc->state_waits[0].save <= save) {
		seq = svc->state_waits[0].seq;
		svc->state_waits[0] = svc->state_waits[1];
		svc->n_state_waits--;
	}
	return seq;
}

static void tell_persisted(struct engine *e, uint32_t row, uint64_t seq, bool ok)
{
	struct service_event ev = {.type = SERVICE_EV_PERSISTED, .seq = seq, .ok = ok};

	engine_service_event(e, row, &ev);
}

/* What failed stays owed, with whatever was still under way: the retry covers it all. */
static void handle_save_failed(struct engine *e, const struct ipc_state_saved *saved)
{
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct engine_service *svc = &e->services[i];

		if (svc->n_state_waits == 0 || svc->state_waits[0].save == 0 ||
		    svc->state_waits[0].save > saved->seq)
			continue;
		svc->state_waits[0].save = 0;
		tell_persisted(e, i, svc->state_waits[0].seq, false);
	}
	retry_later(e);
}

static void handle_saved(struct engine *e, const struct ipc_state_saved *saved)
{
	if (saved->error != e->state_error && saved->error)
		log_error("state file: %s, trying every second", strerror(saved->error));
	e->state_error = saved->error;
	if (saved->error) {
		handle_save_failed(e, saved);
		return;
	}
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		uint64_t seq = take_covered(&e->services[i], saved->seq);

		if (seq != 0)
			tell_persisted(e, i, seq, true);
	}
}

/* ---- loading ---------------------------------------------------------------------------------- */

static void send_load(struct engine *e)
{
	struct ipc_state_load msg = {
		.h = {.type = IPC_STATE_LOAD, .generation = e->generation}};

	if (link_send(&e->scribe, &msg, sizeof(msg)) < 0)
		retry_later(e);
}

static void complain_text(struct engine *e, unsigned line)
{
	const char *node = model_node_name(e->m, (uint32_t)e->m->self);
	const char *dir = model_str(e->m, e->m->supd.state_dir);

	if (e->state_bad_line == line)
		return;
	e->state_bad_line = line;
	if (line == 1)
		log_error("%s/%s.state:1: not the state file of this node, expected \"supd-state 1 "
			  "%s\"; services stay down: put the right file back, or move it away "
			  "(terms begin anew: only while no node is active)",
			  dir, node, node);
	else
		log_error("%s/%s.state:%u: damaged, expected \"service NAME term_seen=N reserved=N "
			  "latched= barred= stopped= paused= wish_version=N\" or the right \"end "
			  "CHECKSUM\"; services stay down: put the right file back, or move it "
			  "away (terms begin anew: only while no node is active)",
			  dir, node, line);
}

static void complain_load(struct engine *e, int error)
{
	if (e->state_error == error)
		return;
	e->state_error = error;
	log_error("state file: %s; services stay down, trying every second", strerror(error));
}

void scribe_tell_loaded(struct engine *e)
{
	if (!e->state_loaded || e->loaded_told || !peer_socket_ready(e))
		return;
	e->loaded_told = true;
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct service_event ev = {.type = SERVICE_EV_LOADED,
					   .persist = &e->services[i].disk};

		engine_service_event(e, i, &ev);
	}
}

static void handle_state(struct engine *e, const struct ipc_state *state)
{
	struct service_persist by_row[MODEL_SERVICES_MAX];
	unsigned line = 0;

	if (e->state_loaded)
		return;
	memset(by_row, 0, sizeof(by_row));
	if (state->error != 0 && state->error != ENOENT) {
		complain_load(e, state->error);
		retry_later(e);
		return;
	}
	if (state->error == 0 &&
	    state_text_decode(e->m, state->text, state->len, by_row, &line) < 0) {
		complain_text(e, line);
		retry_later(e);
		return;
	}
	if (state->error == ENOENT)
		log_notice("no state file yet: first start of this node");
	for (uint32_t i = 0; i < e->m->n_services; i++)
		e->services[i].disk = by_row[i];
	e->state_error = 0;
	e->state_bad_line = 0;
	e->state_loaded = true;
	scribe_tell_loaded(e);
	if (anything_unsent(e))
		send_save(e);
}

/* ---- logs -------------------------------------------------------------------------------------- */

int scribe_pass_client(struct engine *e, int fd, const struct ipc_logs *order)
{
	struct ipc_logs msg = *order;

	msg.h.type = IPC_LOGS;
	msg.h.generation = e->generation;
	return link_send_fd(&e->scribe, &msg, sizeof(msg), fd);
}

/* ---- the link --------------------------------------------------------------------------------- */

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;

	if (e->scribe.channel.fd < 0)
		return;
	if (!e->state_loaded)
		send_load(e);
	if (anything_unsent(e) && may_save(e))
		send_save(e);
}

union scribe_msg {
	struct ipc_header h;
	struct ipc_state state;
	struct ipc_state_saved saved;
};

static bool state_is_whole(const struct ipc_state *state, size_t len)
{
	size_t fixed = offsetof(struct ipc_state, text);

	return len >= fixed && state->len <= IPC_STATE_MAX && len >= fixed + state->len;
}

static void handle(struct engine *e, const union scribe_msg *msg, size_t len)
{
	if (msg->h.generation != e->generation)
		return;
	if (msg->h.type == IPC_STATE && state_is_whole(&msg->state, len))
		handle_state(e, &msg->state);
	else if (msg->h.type == IPC_STATE_SAVED && len == sizeof(msg->saved))
		handle_saved(e, &msg->saved);
	else
		log_error("message %u of %zu bytes from the scribe, ignoring",
			  (unsigned)msg->h.type, len);
}

void scribe_link_drain(struct engine *e)
{
	union scribe_msg msg;
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n = -EBADMSG;

	while (e->scribe.channel.fd >= 0 && (n > 0 || n == -EBADMSG)) {
		n = channel_recv(&e->scribe.channel, &msg, sizeof(msg), fds, &n_fds);
		if (n <= 0)
			continue;
		for (size_t i = 0; i < n_fds; i++)
			fd_close(&fds[i]);
		handle(e, &msg, (size_t)n);
	}
	if (n == -EAGAIN || e->scribe.channel.fd < 0)
		return;
	log_notice("the scribe is gone, waiting for the next one");
	link_close(&e->scribe);
}

void scribe_link_open(struct engine *e, int fd)
{
	link_close(&e->scribe);
	link_open(e, &e->scribe, fd, scribe_link_drain);
	forget_saves(e);
	if (!e->state_loaded)
		send_load(e);
	if (anything_unsent(e) && may_save(e))
		send_save(e);
}
