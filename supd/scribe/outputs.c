/* SPDX-License-Identifier: MIT */
#include "supd/scribe/outputs.h"

#include <errno.h>
#include <paths.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/scribe/stream.h"

#define PUMP_BUDGET  (256u << 10) /* of one stream, before the others have their turn */
#define DRAIN_BUDGET (2u << 20)	  /* at the end: more than a pipe holds */
#define RETRY_PERIOD 1.0
#define STUCK_PERIOD 0.1

/*
 * What a stream waits for, one of:
 *
 *   reader    its program: the usual case, and while its log fails (then to drop)
 *   writer    whoever reads its log, and the stuck timer: after STREAM_PATIENCE output is dropped
 *
 * The retry timer runs while any log fails, or syslog lacks the end of a line: a prompt that waits
 * for an answer is sent after a second or two.
 */
struct output_slot {
	struct stream stream;
	struct ev_io reader, writer;
	struct outputs *outputs;
	uint32_t program;
	size_t rest; /* stream_rest() at the last tick of the retry timer */
};

static void start_timer(struct outputs *o, struct ev_timer *t)
{
	if (!ev_is_active(t))
		ev_timer_again(o->loop, t);
}

static void stop_watching(struct output_slot *slot)
{
	ev_io_stop(slot->outputs->loop, &slot->reader);
	ev_io_stop(slot->outputs->loop, &slot->writer);
}

static void watch(struct output_slot *slot)
{
	struct outputs *o = slot->outputs;
	const struct stream *s = &slot->stream;
	int fd = log_out_wait_fd(&s->out);

	if (s->error || stream_rest(s) > 0)
		start_timer(o, &o->retry_timer);
	if (s->stuck_since == 0) {
		if (s->program_fd >= 0)
			ev_io_start(o->loop, &slot->reader);
		return;
	}
	start_timer(o, &o->stuck_timer);
	if (fd < 0)
		return;
	ev_io_set(&slot->writer, fd, EV_WRITE);
	ev_io_start(o->loop, &slot->writer);
}

/* Watchers are stopped first: descriptors may be closed on the way. */
static void pump(struct output_slot *slot)
{
	struct outputs *o = slot->outputs;

	stop_watching(slot);
	stall_begin(o->stall);
	stream_pump(&slot->stream, PUMP_BUDGET);
	watch(slot);
	if (o->on_written)
		o->on_written(o->arg, slot->program);
}

static void on_reader(struct ev_loop *loop, struct ev_io *w, int revents)
{
	pump(w->data);
}

/* Writable, and yet it takes nothing (memory is short): the stuck timer goes on. */
static void on_writer(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct output_slot *slot = w->data;
	mtime stuck_since = slot->stream.stuck_since;

	pump(slot);
	if (stuck_since != 0 && slot->stream.stuck_since == stuck_since)
		ev_io_stop(loop, &slot->writer);
}

static void on_stuck(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct outputs *o = w->data;
	bool stuck = false;

	for (size_t i = 0; i < o->n_slots; i++) {
		if (!o->slots[i] || o->slots[i]->stream.stuck_since == 0)
			continue;
		pump(o->slots[i]);
		stuck |= o->slots[i]->stream.stuck_since != 0;
	}
	if (!stuck)
		ev_timer_stop(loop, w);
}

/* A log that failed, or a line whose end did not come since the last tick. */
static bool retry(struct output_slot *slot)
{
	struct stream *s = &slot->stream;
	size_t rest = stream_rest(s);
	bool failed = s->error != 0;

	if (!failed && rest == 0) {
		slot->rest = 0;
		return false;
	}
	stop_watching(slot);
	stall_begin(slot->outputs->stall);
	if (failed)
		stream_retry(s);
	else if (rest == slot->rest)
		stream_finish(s, PUMP_BUDGET);
	slot->rest = stream_rest(s);
	watch(slot);
	return s->error != 0 || slot->rest > 0;
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct outputs *o = w->data;
	bool again = false;

	for (size_t i = 0; i < o->n_slots; i++)
		if (o->slots[i])
			again |= retry(o->slots[i]);
	if (!again)
		ev_timer_stop(loop, w);
}

/* ---- the table -------------------------------------------------------------------------------- */

static struct log_out_conf conf_of(const struct model *m, uint32_t program, unsigned output)
{
	const struct model_program *p = model_program(m, program);

	return (struct log_out_conf){
		.name = model_program_name(m, program),
		.path = model_str(m, output == 0 ? p->stdout_logfile : p->stderr_logfile),
		.syslog_path = _PATH_LOG,
		.max_bytes = p->logfile_maxbytes,
		.backups = p->logfile_backups,
	};
}

static void remove_slot(struct outputs *o, size_t i)
{
	struct output_slot *slot = o->slots[i];

	if (!slot)
		return;
	stop_watching(slot);
	pthread_mutex_lock(&o->lock);
	o->slots[i] = NULL;
	pthread_mutex_unlock(&o->lock);
	stream_fini(&slot->stream);
	free(slot);
}

static struct output_slot *slot_new(struct outputs *o, uint32_t program, unsigned output,
				    const int fds[3])
{
	struct output_slot *slot = calloc(1, sizeof(*slot));
	struct log_out_conf conf = conf_of(o->m, program, output);

	if (!slot)
		return NULL;
	slot->outputs = o;
	slot->program = program;
	stream_init(&slot->stream, &conf, fds, &o->peek, &o->lock);
	ev_io_init(&slot->reader, on_reader, fds[0], EV_READ);
	ev_io_init(&slot->writer, on_writer, -1, EV_WRITE);
	slot->reader.data = slot->writer.data = slot;
	return slot;
}

void outputs_put(struct outputs *o, uint32_t program, unsigned output, const int fds[3])
{
	size_t i = (size_t)program * OUTPUTS_OF_PROGRAM + output;
	struct output_slot *slot;

	remove_slot(o, i);
	slot = slot_new(o, program, output, fds);
	if (!slot) {
		log_error("log of %s: out of memory, its output waits in the pipe",
			  model_program_name(o->m, program));
		for (int f = 0; f < 3; f++) {
			int fd = fds[f];

			fd_close(&fd);
		}
		return;
	}
	pthread_mutex_lock(&o->lock);
	o->slots[i] = slot;
	pthread_mutex_unlock(&o->lock);
	ev_io_start(o->loop, &slot->reader);
	/* The stage may hold what a killed predecessor had not written. */
	ev_feed_event(o->loop, &slot->reader, EV_READ);
}

void outputs_relieve(void *outputs)
{
	struct outputs *o = outputs;

	for (size_t i = 0; i < o->n_slots; i++) {
		pthread_mutex_lock(&o->lock);
		if (o->slots[i])
			stream_relieve(&o->slots[i]->stream);
		pthread_mutex_unlock(&o->lock);
	}
}

void outputs_finish(struct outputs *o)
{
	for (size_t i = 0; i < o->n_slots; i++) {
		if (!o->slots[i])
			continue;
		stall_begin(o->stall);
		stream_finish(&o->slots[i]->stream, DRAIN_BUDGET);
	}
}

int outputs_init(struct outputs *o, struct ev_loop *loop, const struct model *m,
		 struct stall *stall)
{
	int r;

	memset(o, 0, sizeof(*o));
	o->m = m;
	o->loop = loop;
	o->stall = stall;
	pthread_mutex_init(&o->lock, NULL);
	ev_timer_init(&o->retry_timer, on_retry, 0., RETRY_PERIOD);
	ev_timer_init(&o->stuck_timer, on_stuck, 0., STUCK_PERIOD);
	o->retry_timer.data = o->stuck_timer.data = o;
	r = peek_init(&o->peek);
	if (r < 0)
		return r;
	o->slots = calloc((size_t)m->n_programs * OUTPUTS_OF_PROGRAM + 1, sizeof(o->slots[0]));
	if (!o->slots)
		return -ENOMEM;
	o->n_slots = (size_t)m->n_programs * OUTPUTS_OF_PROGRAM;
	return 0;
}

void outputs_fini(struct outputs *o)
{
	for (size_t i = 0; i < o->n_slots; i++)
		remove_slot(o, i);
	peek_fini(&o->peek);
	free(o->slots);
}
