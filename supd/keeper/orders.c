/* SPDX-License-Identifier: MIT */
#include "supd/keeper/orders.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/reexec.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/service.h"
#include "supd/keeper/silence.h"
#include "supd/keeper/state.h"

/*
 * The engine has no privilege, and what it sends is not trusted: an order names rows of the model
 * and a generation, and each field is looked at here, before anything is done.  An order that is
 * wrong is dropped and said; the engine is never answered with anything but facts.
 */

#define READ_MAX  MTIME_MS(3)  /* of one round of the loop */
#define DRAIN_MAX MTIME_MS(10) /* before a deadline is carried out: half the kill budget */

struct order {
	size_t size; /* least length of the message */
	bool (*is_valid)(const struct keeper *k, const void *msg, size_t len);
	void (*carry_out)(struct keeper *k, const void *msg);
};

static bool is_service(const struct keeper *k, int32_t row)
{
	return row >= 0 && (uint32_t)row < k->m->n_services;
}

static bool is_program(const struct keeper *k, int32_t row)
{
	return row >= 0 && (uint32_t)row < k->m->n_programs;
}

/* The program whose present run an order means; NULL: that run is over. */
static struct program *run_meant(struct keeper *k, int32_t row, uint32_t run)
{
	struct program *p = &k->programs[row];

	return p->run.state != RUN_NONE && p->run.number == run ? p : NULL;
}

/* ---- one by one ------------------------------------------------------------------------------------- */

static bool feed_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_feed *m = msg;

	if (m->n > MODEL_SERVICES_MAX ||
	    len < offsetof(struct ipc_feed, kill) + m->n * sizeof(m->kill[0]))
		return false;
	for (uint32_t i = 0; i < m->n; i++)
		if (!is_service(k, m->kill[i].service))
			return false;
	return true;
}

static void feed(struct keeper *k, const void *msg)
{
	const struct ipc_feed *m = msg;
	const struct ipc_fed answer = { .h = { IPC_FED, k->generation }, .seq = m->seq };

	for (uint32_t i = 0; i < m->n; i++)
		service_set_deadline(k, (uint32_t)m->kill[i].service, m->kill[i].kill_at);
	if (m->n > 0)
		service_arm_deadline(k);
	silence_fed(k);
	engine_send(k, &answer, sizeof(answer));
}

static bool start_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_start *m = msg;

	(void)len;
	return is_program(k, m->program) && memchr(m->cause, '\0', sizeof(m->cause));
}

static void start(struct keeper *k, const void *msg)
{
	run_start(k, msg);
}

static bool signal_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_signal *m = msg;

	(void)len;
	return is_program(k, m->program) && m->signo > 0 && m->signo <= SIGRTMAX;
}

static void send_signal(struct keeper *k, const void *msg)
{
	const struct ipc_signal *m = msg;
	struct program *p = run_meant(k, m->program, m->run);

	if (p)
		run_signal(k, p, m->signo);
}

static bool kill_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_kill *m = msg;

	(void)len;
	return is_program(k, m->program);
}

static void kill_run(struct keeper *k, const void *msg)
{
	const struct ipc_kill *m = msg;
	struct program *p = run_meant(k, m->program, m->run);

	if (p)
		run_kill(k, p);
}

static bool quiesce_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_quiesce *m = msg;

	(void)len;
	return is_service(k, m->service);
}

/* The term is noted first: what is refused from here on cannot slip in behind the kill. */
static void quiesce(struct keeper *k, const void *msg)
{
	const struct ipc_quiesce *m = msg;
	struct service *s = &k->services[m->service];
	struct ipc_quiesced answer = { .h = { IPC_QUIESCED, k->generation },
				       .order = m->order,
				       .service = m->service,
				       .term = m->term };

	if (m->term > s->term_quiesced)
		s->term_quiesced = m->term;
	if (service_alive(k, s->row))
		service_kill(k, s, false);
	service_set_deadline(k, s->row, MTIME_NEVER);
	service_arm_deadline(k);
	answer.at = mtime_now();
	engine_send(k, &answer, sizeof(answer));
}

static bool hook_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_hook *m = msg;

	(void)len;
	if (m->kind >= IPC_HOOKS_END || !memchr(m->cause, '\0', sizeof(m->cause)))
		return false;
	if (!hook_is_of_service((enum ipc_hook_kind)m->kind))
		return is_program(k, m->row);
	if (!is_service(k, m->row))
		return false;
	if (m->kind == IPC_HOOK_VIP)
		return m->verb < IPC_VIP_VERBS_END &&
		       m->vip < model_service(k->m, (uint32_t)m->row)->n_vips;
	return m->node >= 0 && (uint32_t)m->node < k->m->n_nodes && m->node != k->m->self;
}

static void start_hook(struct keeper *k, const void *msg)
{
	hook_start(k, msg);
}

static bool hook_kill_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	(void)k;
	(void)msg;
	(void)len;
	return true;
}

static void kill_hook(struct keeper *k, const void *msg)
{
	const struct ipc_hook_kill *m = msg;

	hook_kill(k, m->order);
}

static bool note_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_note *m = msg;

	(void)len;
	return is_program(k, m->program) && m->ready <= 1;
}

static void keep_note(struct keeper *k, const void *msg)
{
	const struct ipc_note *m = msg;
	struct program *p = run_meant(k, m->program, m->run);

	if (p)
		p->run.ready = m->ready != 0;
}

static bool baton_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	const struct ipc_baton *m = msg;

	return m->len <= IPC_BATON_MAX && len >= offsetof(struct ipc_baton, data) + m->len &&
	       (m->slot == IPC_BATON_NODE || m->slot < k->m->n_services);
}

static void keep_baton(struct keeper *k, const void *msg)
{
	const struct ipc_baton *m = msg;
	struct baton *b = &k->batons[m->slot == IPC_BATON_NODE ? k->m->n_services : m->slot];

	b->len = m->len;
	memcpy(b->data, m->data, m->len);
}

static bool done_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	(void)msg;
	(void)len;
	return k->shutdown; /* a person or the system ends supd, never the engine alone */
}

static void done(struct keeper *k, const void *msg)
{
	(void)msg;
	k->done = true;
	ending_begin(k);
}

static bool reexec_is_valid(const struct keeper *k, const void *msg, size_t len)
{
	(void)msg;
	(void)len;
	return !k->shutdown && k->ending == ENDING_NOT;
}

static void reexec(struct keeper *k, const void *msg)
{
	reexec_begin(k, msg);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static const struct order orders[IPC_TYPES_END] = {
	[IPC_FEED] = { offsetof(struct ipc_feed, kill), feed_is_valid, feed },
	[IPC_START] = { sizeof(struct ipc_start), start_is_valid, start },
	[IPC_SIGNAL] = { sizeof(struct ipc_signal), signal_is_valid, send_signal },
	[IPC_KILL] = { sizeof(struct ipc_kill), kill_is_valid, kill_run },
	[IPC_QUIESCE] = { sizeof(struct ipc_quiesce), quiesce_is_valid, quiesce },
	[IPC_BATON] = { offsetof(struct ipc_baton, data), baton_is_valid, keep_baton },
	[IPC_HOOK] = { sizeof(struct ipc_hook), hook_is_valid, start_hook },
	[IPC_HOOK_KILL] = { sizeof(struct ipc_hook_kill), hook_kill_is_valid, kill_hook },
	[IPC_REEXEC] = { sizeof(struct ipc_reexec), reexec_is_valid, reexec },
	[IPC_NOTE] = { sizeof(struct ipc_note), note_is_valid, keep_note },
	[IPC_DONE] = { sizeof(struct ipc_done), done_is_valid, done },
};

static void dispatch(struct keeper *k, size_t len)
{
	const struct ipc_header *h = &k->message.header;
	const struct order *o = h->type < IPC_TYPES_END ? &orders[h->type] : NULL;

	if (h->generation != k->generation)
		return;
	if (!o || !o->carry_out || len < o->size || !o->is_valid(k, &k->message, len)) {
		log_error("the engine sent what is no order (type %u, %zu bytes), dropped",
			  h->type, len);
		return;
	}
	o->carry_out(k, &k->message);
}

/* One message: 1; nothing there, or the other end is gone: 0. */
static int read_one(struct keeper *k, bool starts)
{
	struct role *r = &k->roles[ROLE_ENGINE];
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n = channel_recv(&r->channel, &k->message, sizeof(k->message), fds, &n_fds);

	while (n_fds > 0) /* no order has any */
		fd_close(&fds[--n_fds]);
	if (n == -EBADMSG)
		return 1;
	if (n == 0 && r->channel.fd >= 0) {
		/* Alive without its channel it is of no use; dead, this changes nothing. */
		ev_io_stop(k->loop, &r->reader);
		role_kill(r);
	}
	if (n <= 0)
		return 0;
	if (starts || (k->message.header.type != IPC_START && k->message.header.type != IPC_HOOK))
		dispatch(k, (size_t)n);
	return 1;
}

static void read_until(struct keeper *k, mtime end, bool starts)
{
	while (read_one(k, starts) && mtime_now() < end)
		continue;
}

void orders_read(struct keeper *k)
{
	read_until(k, mtime_now() + READ_MAX, true);
}

void orders_drain(struct keeper *k)
{
	read_until(k, mtime_now() + DRAIN_MAX, true);
}

void orders_last_words(struct keeper *k)
{
	read_until(k, MTIME_NEVER, false);
}
