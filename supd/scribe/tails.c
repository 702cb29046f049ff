/* SPDX-License-Identifier: MIT */
#include "supd/scribe/tails.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/control_proto.h"
#include "common/fd.h"
#include "common/log.h"
#include "supd/scribe/log_history.h"
#include "supd/scribe/utf8.h"

#define SEEK_BLOCK (64u << 10)
#define PIECE	   (16u << 10)
#define TEXT_SIZE  (UTF8_GROWTH * PIECE)
#define OUT_MAX	   (1u << 20) /* a piece of nothing but newlines grows by 28 */

/*
 *   SEEK --the first line is found--> SEND --its end, without -f--> END --all sent--> gone
 *
 * One step of SEEK or SEND whenever the client's socket can be written; a tail that follows and
 * has sent all there is waits for tails_poke().
 */
enum tail_state { TAIL_SEEK, TAIL_SEND, TAIL_END };

struct tail {
	struct tail *next;
	struct tails *tails;
	enum tail_state state;
	uint32_t program;
	bool follow;
	int fd;
	struct ev_io reader, writer;
	struct control_buffer out;
	mtime stalled_since; /* 0: it reads */

	struct log_history log;
	uint32_t wanted; /* SEEK: lines still to be found */
	bool looked;	 /* at the very last byte */
	dev_t end_dev;	 /* where the log ended when it was asked for */
	ino_t end_ino;
	off_t end_at;
	uint64_t lines; /* sent, with an end or not */
	bool mid_line;
};

static void tail_free(struct tail *t)
{
	struct tails *all = t->tails;

	for (struct tail **p = &all->list; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			all->n--;
			break;
		}
	}
	ev_io_stop(all->loop, &t->reader);
	ev_io_stop(all->loop, &t->writer);
	log_history_close(&t->log);
	control_buffer_fini(&t->out);
	fd_close(&t->fd);
	free(t);
}

/* ---- objects ---------------------------------------------------------------------------------- */

/* Takes over the object; without memory the tail ends there. */
static void put(struct tail *t, json_t *object)
{
	if (!object || control_buffer_append_json(&t->out, object) < 0) {
		log_error("logs for a client: out of memory, it gets no more");
		t->state = TAIL_END;
	}
	json_decref(object);
}

static void put_error(struct tail *t, int error)
{
	const char *why = error == -ENOTSUP ? "not a regular file" : strerror(-error);

	put(t, control_error_new(CONTROL_FAILED, "%s: %s", t->log.path, why));
	t->state = TAIL_END;
}

static void put_line(struct tail *t, const char *text, size_t len, bool more)
{
	json_t *object = control_reply_new();

	if (object)
		json_object_set_new(object, "line", json_stringn(text, len));
	if (object && more)
		json_object_set_new(object, "more", json_true());
	put(t, object);
	if (!t->mid_line)
		t->lines++;
	t->mid_line = more;
}

static void put_result(struct tail *t)
{
	json_t *object = control_reply_new();

	if (object)
		json_object_set_new(object, "result",
				    json_pack("{s:I}", "lines", (json_int_t)t->lines));
	t->state = TAIL_END;
	put(t, object);
}

/* ---- seek: from the end, backwards -------------------------------------------------------------- */

/* Where the wanted lines begin in a block that begins at `at`; false: before it. */
static bool find_begin(struct tail *t, const char *block, size_t len)
{
	for (size_t i = len; i > 0; i--) {
		bool last = !t->looked;

		t->looked = true;
		if (block[i - 1] != '\n' || last) /* the last one ends a line, and begins none */
			continue;
		if (--t->wanted > 0)
			continue;
		t->log.at += (off_t)i;
		return true;
	}
	return false;
}

static void seek(struct tail *t)
{
	char *block = t->tails->raw;
	ssize_t n = 0;
	int r;

	if (t->wanted > 0 && t->log.fd >= 0)
		n = log_history_read_back(&t->log, block, SEEK_BLOCK);
	if (n < 0) {
		put_error(t, (int)n);
		return;
	}
	if (n > 0 && !find_begin(t, block, (size_t)n))
		return;
	if (n == 0 && t->wanted > 0 && t->log.fd >= 0) {
		r = log_history_older(&t->log);
		if (r == 0)
			return;
	}
	t->state = TAIL_SEND;
}

/* ---- send: forwards ---------------------------------------------------------------------------- */

/* One piece of the log as lines; what it leaves of it, the begin of a character, is read again. */
static void put_piece(struct tail *t, size_t len, bool final)
{
	const char *at = t->tails->text, *end, *newline;
	size_t used;

	end = at + utf8_clean(t->tails->raw, len, final, t->tails->text, &used);
	t->log.at -= (off_t)(len - used);
	for (; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
		put_line(t, at, (size_t)(newline - at), false);
	if (at < end)
		put_line(t, at, (size_t)(end - at), true);
}

/* How much of the open log may be sent: without -f no more than what was there when it was asked. */
static size_t room_to_end(const struct tail *t)
{
	if (t->follow || t->log.ino != t->end_ino || t->log.dev != t->end_dev)
		return PIECE;
	if (t->log.at >= t->end_at)
		return 0;
	return t->end_at - t->log.at < (off_t)PIECE ? (size_t)(t->end_at - t->log.at) : PIECE;
}

/* The open log has been sent. */
static void next_log(struct tail *t)
{
	bool is_last = !t->follow && t->log.ino == t->end_ino && t->log.dev == t->end_dev;
	int r = is_last ? -ENOENT : log_history_newer(&t->log);

	if (r == -ENOENT && t->follow)
		ev_io_stop(t->tails->loop, &t->writer);
	else if (r == -ENOENT)
		put_result(t);
	else if (r < 0)
		put_error(t, r);
}

static void send_piece(struct tail *t)
{
	size_t room = room_to_end(t), before = t->out.len;
	off_t at = t->log.at;
	ssize_t n = room > 0 ? log_history_read(&t->log, t->tails->raw, room) : 0;

	if (n < 0)
		put_error(t, (int)n);
	else if (n > 0)
		put_piece(t, (size_t)n, !t->follow && (size_t)n == room && room < PIECE);
	if (n == 0 || (n > 0 && t->out.len == before && t->log.at == at))
		next_log(t);
}

/* ---- a client ---------------------------------------------------------------------------------- */

static void step(struct tail *t)
{
	stall_begin(t->tails->stall);
	switch (t->state) {
	case TAIL_SEEK:
		seek(t);
		break;
	case TAIL_SEND:
		send_piece(t);
		break;
	case TAIL_END:
		tail_free(t);
		break;
	}
}

static void on_writer(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct tail *t = w->data;
	int r = control_buffer_flush(&t->out, t->fd);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		tail_free(t);
		return;
	}
	t->stalled_since = 0;
	step(t);
}

/* Nothing is expected of it; closed on both sides, it is gone. */
static void on_reader(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct tail *t = w->data;
	struct pollfd p = {.fd = t->fd};
	char buf[512];
	ssize_t n = recv(t->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n == 0 && poll(&p, 1, 0) >= 0 && (p.revents & (POLLHUP | POLLERR)) == 0)
		ev_io_stop(loop, w); /* it only sends no more */
	else
		tail_free(t);
}

static void watch(struct tail *t)
{
	struct ev_loop *loop = t->tails->loop;

	ev_io_init(&t->reader, on_reader, t->fd, EV_READ);
	ev_io_init(&t->writer, on_writer, t->fd, EV_WRITE);
	ev_set_priority(&t->reader, EV_MINPRI); /* programs first */
	ev_set_priority(&t->writer, EV_MINPRI);
	t->reader.data = t->writer.data = t;
	ev_io_start(loop, &t->reader);
	ev_io_start(loop, &t->writer);
}

/* ---- all ---------------------------------------------------------------------------------------- */

static void refuse(int fd, const char *why)
{
	json_t *error = control_error_new(CONTROL_FAILED, "%s", why);
	struct control_buffer out;

	control_buffer_init(&out, CONTROL_LINE_MAX);
	if (error && control_buffer_append_json(&out, error) == 0)
		control_buffer_flush(&out, fd); /* a courtesy */
	control_buffer_fini(&out);
	json_decref(error);
	fd_close(&fd);
}

/* Who has not read for the longest time, and for too long, goes. */
static void make_room(struct tails *t)
{
	struct tail *worst = NULL;

	for (struct tail *i = t->list; i; i = i->next) {
		if (i->out.len > 0 && i->stalled_since == 0)
			i->stalled_since = mtime_now();
		if (i->stalled_since != 0 && (!worst || i->stalled_since < worst->stalled_since))
			worst = i;
	}
	if (t->n >= TAILS_MAX && worst && mtime_now() - worst->stalled_since >= t->patience)
		tail_free(worst);
}

static bool make_buffers(struct tails *t)
{
	if (!t->raw)
		t->raw = malloc(SEEK_BLOCK);
	if (!t->text)
		t->text = malloc(TEXT_SIZE);
	return t->raw && t->text;
}

static void begin(struct tail *t, const char *path, uint32_t backups, uint32_t lines)
{
	json_t *first = control_reply_new();
	int r = log_history_open(&t->log, path, backups);

	t->wanted = lines;
	t->end_dev = t->log.dev;
	t->end_ino = t->log.ino;
	t->end_at = t->log.at;
	if (r < 0 && !(r == -ENOENT && t->follow)) {
		put_error(t, r);
		json_decref(first);
		return;
	}
	if (first)
		json_object_set_new(first, "log", json_string(path));
	put(t, first);
}

static bool order_is_good(const struct tails *t, const struct ipc_logs *order)
{
	return order->program >= 0 && (uint32_t)order->program < t->m->n_programs &&
	       (order->output == 0 || order->output == 1);
}

void tails_add(struct tails *t, const struct ipc_logs *order, int client_fd)
{
	const struct model_program *p;
	struct tail *tail;

	if (!order_is_good(t, order)) {
		refuse(client_fd, "a bad order of the engine's");
		return;
	}
	make_room(t);
	if (t->n >= TAILS_MAX) {
		refuse(client_fd, "16 clients read logs already, try again");
		return;
	}
	tail = make_buffers(t) ? calloc(1, sizeof(*tail)) : NULL;
	if (!tail) {
		refuse(client_fd, "out of memory");
		return;
	}
	p = model_program(t->m, (uint32_t)order->program);
	tail->tails = t;
	tail->program = (uint32_t)order->program;
	tail->follow = order->follow;
	tail->fd = client_fd;
	control_buffer_init(&tail->out, OUT_MAX);
	tail->next = t->list;
	t->list = tail;
	t->n++;
	watch(tail);
	begin(tail, model_str(t->m, order->output == 0 ? p->stdout_logfile : p->stderr_logfile),
	      p->logfile_backups, order->lines);
}

void tails_poke(struct tails *t, uint32_t program)
{
	for (struct tail *i = t->list; i; i = i->next)
		if (i->program == program)
			ev_io_start(t->loop, &i->writer);
}

void tails_init(struct tails *t, struct ev_loop *loop, const struct model *m,
		struct stall *stall)
{
	memset(t, 0, sizeof(*t));
	t->m = m;
	t->loop = loop;
	t->stall = stall;
	t->patience = TAILS_PATIENCE;
}

void tails_fini(struct tails *t)
{
	while (t->list)
		tail_free(t->list);
	free(t->raw);
	free(t->text);
}
