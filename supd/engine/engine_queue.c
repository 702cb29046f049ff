/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"

/*
 * The one queue in front of the machines.  An action of a machine may cause an event for another
 * one, or for itself; carried out at once it would find a machine in the middle of its step.  So
 * events wait here, in order, and the first caller works until nothing is left.
 *
 * Events point to what lies on their sender's stack: it is copied along.
 */
#define QUEUE_START 64u
#define QUEUE_MAX   65536u /* more is two machines that answer each other for ever */

struct queued {
	bool is_service;
	uint32_t row;
	union {
		struct service_event service;
		struct program_event program;
	};
	struct service_report report;
	struct service_persist persist;
	struct service_baton baton;
};

struct engine_queue {
	struct queued *ring;
	size_t size, head, n; /* size: a power of two */
	bool busy;
};

int engine_queue_init(struct engine *e)
{
	struct engine_queue *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return -ENOMEM;
	q->ring = calloc(QUEUE_START, sizeof(q->ring[0]));
	if (q->ring == NULL) {
		free(q);
		return -ENOMEM;
	}
	q->size = QUEUE_START;
	e->queue = q;
	return 0;
}

void engine_queue_fini(struct engine *e)
{
	if (e->queue != NULL)
		free(e->queue->ring);
	free(e->queue);
	e->queue = NULL;
}

static bool grow(struct engine_queue *q)
{
	struct queued *ring;

	if (q->size >= QUEUE_MAX)
		return false;
	ring = calloc(q->size * 2, sizeof(ring[0]));
	if (ring == NULL)
		return false;
	for (size_t i = 0; i < q->n; i++)
		ring[i] = q->ring[(q->head + i) & (q->size - 1)];
	free(q->ring);
	q->ring = ring;
	q->head = 0;
	q->size *= 2;
	return true;
}

/*
 * The slot for one more event, or NULL.  An event lost is a machine that is wrong about the world
 * for ever: then this engine ends, and a new one goes on from the baton.
 */
static struct queued *push(struct engine *e, uint32_t row, bool is_service)
{
	struct engine_queue *q = e->queue;
	struct queued *slot;

	if (e->finished)
		return NULL;
	if (q->n == q->size && !grow(q)) {
		log_error("event queue overflow, ending this engine");
		engine_finish(e, 1);
		return NULL;
	}
	slot = &q->ring[(q->head + q->n++) & (q->size - 1)];
	slot->row = row;
	slot->is_service = is_service;
	return slot;
}

static struct queued pop(struct engine_queue *q)
{
	struct queued x = q->ring[q->head];

	q->head = (q->head + 1) & (q->size - 1);
	q->n--;
	return x;
}

static void give(struct engine *e, struct queued *x)
{
	if (!x->is_service) {
		program_io_event(e, x->row, &x->program);
		return;
	}
	if (x->service.report != NULL)
		x->service.report = &x->report;
	if (x->service.persist != NULL)
		x->service.persist = &x->persist;
	if (x->service.baton != NULL)
		x->service.baton = &x->baton;
	service_io_event(e, x->row, &x->service);
}

static void work(struct engine *e)
{
	struct engine_queue *q = e->queue;

	if (q->busy)
		return;
	q->busy = true;
	while (q->n > 0 && !e->finished) {
		while (q->n > 0 && !e->finished) {
			struct queued x = pop(q);

			give(e, &x);
		}
		/* Requests that waited for a condition may be answered now, and may ask for more. */
		if (!e->finished)
			control_poll(e);
	}
	q->busy = false;
}

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	struct queued *slot = push(e, row, true);

	if (slot == NULL)
		return;
	slot->service = *ev;
	if (ev->report != NULL)
		slot->report = *ev->report;
	if (ev->persist != NULL)
		slot->persist = *ev->persist;
	if (ev->baton != NULL)
		slot->baton = *ev->baton;
	work(e);
}

void engine_program_event(struct engine *e, uint32_t row, const struct program_event *ev)
{
	struct queued *slot = push(e, row, false);

	if (slot == NULL)
		return;
	slot->program = *ev;
	work(e);
}
