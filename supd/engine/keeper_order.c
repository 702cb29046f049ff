/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <stddef.h>
#include <string.h>

#include "common/log.h"

/* What the engine says to the keeper; its answers come in keeper_link.c. */

/* What cannot be sent finds a keeper that is dead or stuck: that is seen by its silence. */
static bool send_to_keeper(struct engine *e, const void *msg, size_t len)
{
	int r = link_send(&e->keeper, msg, len);

	if (r < 0)
		log_debug("keeper: order not sent: %s, waiting for its end", strerror(-r));
	return r == 0;
}

static struct ipc_header header(const struct engine *e, enum ipc_type type)
{
	return (struct ipc_header){ .type = type, .generation = e->generation };
}

void keeper_order_start(struct engine *e, uint32_t program, uint64_t term, mtime valid_until,
			mtime kill_at, const char *cause)
{
	struct ipc_start s = {
		.h = header(e, IPC_START),
		.order = e->next_order++,
		.program = (int32_t)program,
		.term = term,
		.valid_until = valid_until,
		.kill_at = kill_at,
	};

	strncpy(s.cause, cause, sizeof(s.cause) - 1);
	e->programs[program].order = s.order;
	send_to_keeper(e, &s, sizeof(s));
}

void keeper_order_signal(struct engine *e, uint32_t program, uint32_t run, int signo)
{
	struct ipc_signal s = {
		.h = header(e, IPC_SIGNAL),
		.program = (int32_t)program,
		.run = run,
		.signo = signo,
	};

	send_to_keeper(e, &s, sizeof(s));
}

void keeper_order_kill(struct engine *e, uint32_t program, uint32_t run)
{
	struct ipc_kill k = {
		.h = header(e, IPC_KILL),
		.program = (int32_t)program,
		.run = run,
	};

	send_to_keeper(e, &k, sizeof(k));
}

void keeper_order_quiesce(struct engine *e, uint32_t service, uint64_t term)
{
	struct ipc_quiesce q = {
		.h = header(e, IPC_QUIESCE),
		.order = e->next_order++,
		.service = (int32_t)service,
		.term = term,
	};

	send_to_keeper(e, &q, sizeof(q));
}

bool keeper_order_hook(struct engine *e, const struct ipc_hook *hook)
{
	struct ipc_hook h = *hook;

	h.h = header(e, IPC_HOOK);
	return send_to_keeper(e, &h, sizeof(h));
}

void keeper_order_hook_kill(struct engine *e, uint64_t order)
{
	struct ipc_hook_kill k = { .h = header(e, IPC_HOOK_KILL), .order = order };

	send_to_keeper(e, &k, sizeof(k));
}

bool keeper_order_reexec(struct engine *e)
{
	const struct ipc_reexec x = { .h = header(e, IPC_REEXEC), .order = e->next_order++ };

	return send_to_keeper(e, &x, sizeof(x));
}

void keeper_send_note(struct engine *e, uint32_t program, uint32_t run, bool ready)
{
	struct ipc_note n = { .h = header(e, IPC_NOTE),
			      .program = (int32_t)program,
			      .run = run,
			      .ready = ready };

	send_to_keeper(e, &n, sizeof(n));
}

void keeper_send_baton(struct engine *e, uint32_t slot, const void *data, uint32_t len)
{
	struct ipc_baton b = { .h = header(e, IPC_BATON), .slot = slot, .len = len };

	if (len > IPC_BATON_MAX) {
		log_error("a record of %u bytes for the next engine does not fit, ignoring", len);
		return;
	}
	memcpy(b.data, data, len);
	send_to_keeper(e, &b, sizeof(b));
}

void keeper_send_done(struct engine *e)
{
	struct ipc_done d = { .h = header(e, IPC_DONE) };

	e->done = true;
	/* Nothing is left to do here; what did not fit into the socket is sent first. */
	if (send_to_keeper(e, &d, sizeof(d)) && !channel_wants_write(&e->keeper.channel))
		engine_finish(e, 0);
}

/*
 * A service where nothing may run has no deadline.  The keeper is told so once: the last one that
 * it heard would otherwise come due with nothing to kill but a guard made in advance.
 */
void keeper_feed(struct engine *e)
{
	struct ipc_feed f = { .h = header(e, IPC_FEED), .seq = e->feed_seq + 1 };

	for (uint32_t i = 0; i < e->m->n_services; i++) {
		mtime kill_at = service_kill_at(&e->services[i].fsm);

		if (kill_at == MTIME_NEVER && e->services[i].kill_sent == MTIME_NEVER)
			continue;
		f.kill[f.n].service = (int32_t)i;
		f.kill[f.n++].kill_at = kill_at;
	}
	if (!send_to_keeper(e, &f, offsetof(struct ipc_feed, kill) + f.n * sizeof(f.kill[0])))
		return;
	e->feed_seq = f.seq;
	for (uint32_t i = 0; i < f.n; i++)
		e->services[f.kill[i].service].kill_sent = f.kill[i].kill_at;
}
