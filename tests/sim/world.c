/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

/*
 * The queue of events and the clocks.  Two events of the same moment happen in the order in which
 * they were queued, so a scenario is one history and no other.
 */

/* ---- random numbers ---------------------------------------------------------------------------- */

uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}

mtime rng_range(struct rng *r, mtime lo, mtime hi)
{
	return hi <= lo ? lo : lo + (mtime)rng_below(r, (uint64_t)(hi - lo));
}

bool rng_permille(struct rng *r, unsigned chance)
{
	return rng_below(r, 1000) < chance;
}

mtime world_noise(struct world *w, mtime lo, mtime hi)
{
	return rng_range(&w->rng, lo, hi);
}

/* ---- clocks ------------------------------------------------------------------------------------- */

#define PPM 1000000

mtime host_local(const struct host *h, mtime t)
{
	return h->offset + t + t / PPM * h->rate_ppm + t % PPM * h->rate_ppm / PPM;
}

mtime host_now(const struct world *w, const struct host *h)
{
	return host_local(h, w->now);
}

mtime host_world(const struct host *h, mtime local)
{
	mtime x, scale = PPM + h->rate_ppm, t;

	if (local == MTIME_NEVER)
		return MTIME_NEVER;
	x = local - h->offset;
	t = x / scale * PPM + x % scale * PPM / scale;
	while (host_local(h, t) < local)
		t++;
	return t;
}

/* ---- the queue ------------------------------------------------------------------------------------ */

static bool earlier(const struct queue *q, uint32_t a, uint32_t b)
{
	const struct event *x = &q->pool[a], *y = &q->pool[b];

	return x->at != y->at ? x->at < y->at : x->seq < y->seq;
}

static void queue_grow(struct queue *q)
{
	unsigned cap = q->cap ? q->cap * 2 : 256;

	q->pool = realloc(q->pool, cap * sizeof(*q->pool));
	q->heap = realloc(q->heap, cap * sizeof(*q->heap));
	q->unused = realloc(q->unused, cap * sizeof(*q->unused));
	if (!q->pool || !q->heap || !q->unused)
		abort();
	for (unsigned i = cap; i > q->cap; i--)
		q->unused[q->n_unused++] = i - 1;
	q->cap = cap;
}

static void queue_push(struct queue *q, uint32_t slot)
{
	unsigned i = q->n++;

	while (i > 0 && earlier(q, slot, q->heap[(i - 1) / 2])) {
		q->heap[i] = q->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	q->heap[i] = slot;
}

static uint32_t queue_pop(struct queue *q)
{
	uint32_t top = q->heap[0], last = q->heap[--q->n];
	unsigned i = 0, child;

	while ((child = 2 * i + 1) < q->n) {
		if (child + 1 < q->n && earlier(q, q->heap[child + 1], q->heap[child]))
			child++;
		if (!earlier(q, q->heap[child], last))
			break;
		q->heap[i] = q->heap[child];
		i = child;
	}
	q->heap[i] = last;
	return top;
}

struct event *world_post(struct world *w, mtime in, enum event_type type, uint8_t host)
{
	struct queue *q = &w->queue;
	uint32_t slot;
	struct event *e;

	if (!q->n_unused)
		queue_grow(q);
	slot = q->unused[--q->n_unused];
	e = &q->pool[slot];
	*e = (struct event){ .at = mtime_add(w->now, mtime_max(in, 0)), .seq = q->seq++,
			     .type = type, .host = host };
	queue_push(q, slot);
	return e;
}

void world_repost(struct world *w, mtime in, const struct event *e)
{
	struct event *again = world_post(w, in, e->type, e->host);
	mtime at = again->at;
	uint64_t seq = again->seq;

	*again = *e;
	again->at = at;
	again->seq = seq;
}

void backlog_add(struct backlog *b, const struct event *e)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 32;
		b->e = realloc(b->e, b->cap * sizeof(*b->e));
		if (!b->e)
			abort();
	}
	b->e[b->n++] = *e;
}

/* ---- one event after the other ---------------------------------------------------------------------- */

static void dispatch(struct world *w, const struct event *e)
{
	switch (e->type) {
	case EVENT_FAULT:
		fault_begin(w, e->number);
		break;
	case EVENT_FAULT_END:
		fault_end(w, e->number);
		break;
	case EVENT_CALM:
		oracle_calm(w);
		break;
	case EVENT_ENGINE_BORN:
	case EVENT_ENGINE_WAKE:
	case EVENT_ENGINE_INPUT:
	case EVENT_ENGINE_RESUME:
		engine_event(w, e);
		break;
	case EVENT_KEEPER_BORN:
	case EVENT_KEEPER_ORDER:
	case EVENT_KEEPER_HOOK:
	case EVENT_KEEPER_DEADLINE:
	case EVENT_KEEPER_WATCH:
	case EVENT_KEEPER_RESUME:
	case EVENT_RUN_EXEC:
	case EVENT_RUN_DIE:
	case EVENT_RUN_REAPED:
	case EVENT_RUN_GONE:
		keeper_event(w, e);
		break;
	case EVENT_HOST_BOOT:
	case EVENT_SUPD_START:
	case EVENT_NET_ORDER:
	case EVENT_NET_BORN:
	case EVENT_VIP_CHECK:
	case EVENT_SCRIBE_WRITTEN:
	case EVENT_SCRIBE_BORN:
		host_event(w, e);
		break;
	}
}

/* Life spans go on where the host left off: an event for an earlier process never fits. */
static void world_begin(struct world *w)
{
	const struct scenario *s = &w->scenario;
	struct budget_input in = { .advert_int = s->advert_int, .n_peers = s->n_nodes,
				   .peer_priorities = s->priority };
	struct budget budget;

	w->rng.x = s->seed ^ 0x5eed;
	w->last_place = -1;
	budget_compute(&in, &budget);
	w->engine_timeout = budget.engine_timeout;
	w->active_down = 4 * s->advert_int;
	for (unsigned i = 0; i < s->n_nodes; i++) {
		w->hosts[i].row = (uint8_t)i;
		w->hosts[i].rate_ppm = s->rate_ppm[i];
		world_post(w, s->boot_at[i], EVENT_HOST_BOOT, (uint8_t)i);
	}
	for (unsigned i = 0; i < s->n_faults; i++) {
		const struct fault *f = &s->faults[i];

		if (f->off)
			continue;
		world_post(w, f->at, EVENT_FAULT, f->host)->number = i;
		if (f->length)
			world_post(w, f->at + f->length, EVENT_FAULT_END, f->host)->number = i;
	}
	world_post(w, MTIME_SEC(1), EVENT_CALM, 0);
}

void world_run(struct world *w)
{
	world_begin(w);
	while (w->queue.n && !w->violation[0] && !w->settled) {
		uint32_t slot = queue_pop(&w->queue);
		struct event e = w->queue.pool[slot];

		w->queue.unused[w->queue.n_unused++] = slot;
		if (e.at > w->scenario.length)
			break;
		w->now = e.at;
		dispatch(w, &e);
	}
}

void world_fini(struct world *w)
{
	for (unsigned i = 0; i < WORLD_NODES_MAX; i++) {
		free(w->hosts[i].engine.backlog.e);
		free(w->hosts[i].keeper.backlog.e);
	}
	free(w->queue.pool);
	free(w->queue.heap);
	free(w->queue.unused);
}
