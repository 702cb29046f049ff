/* SPDX-License-Identifier: MIT */
#include "supd/keeper/run.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/run_internal.h"
#include "supd/keeper/service.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/streams.h"

/* From the order to the clone: what refuses it, and the wait for a guard. */

#define EXEC_MAX MTIME_SEC(5) /* beyond the order's time: a cold, slow disk */

/* An empty cgroup may be tidied away by whoever finds it. */
static bool leaf_was_removed(const struct program *p, int r, enum ipc_stage stage)
{
	return p->next.dir_fd >= 0 && stage == IPC_STAGE_CLONE && (r == -ENODEV || r == -ENOENT);
}

static int launch(struct keeper *k, struct program *p, const struct ipc_start *s,
		  enum ipc_stage *ret_stage)
{
	struct service *svc = run_service(k, p);
	const struct guard *g = svc ? guard_ready(svc) : NULL;
	int r;

	*ret_stage = IPC_STAGE_LOG;
	r = streams_open(k, p);
	if (r < 0)
		return r;
	*ret_stage = IPC_STAGE_CGROUP;
	r = run_make_leaf(k, p);
	if (r == 0)
		r = spawn_program(k, p, s, g, ret_stage);
	if (!leaf_was_removed(p, r, *ret_stage))
		return r;
	run_drop_next(k, p);
	*ret_stage = IPC_STAGE_CGROUP;
	r = run_make_leaf(k, p);
	return r < 0 ? r : spawn_program(k, p, s, g, ret_stage);
}

static void launched(struct keeper *k, struct program *p, const struct ipc_start *s)
{
	struct service *svc = run_service(k, p);
	struct run *r = &p->run;

	if (svc && svc->guard)
		svc->guard->used = true;
	r->state = RUN_STARTING;
	r->number = ++p->runs;
	r->order = s->order;
	r->term = s->term;
	r->announced = r->killed_by_deadline = r->killed = r->told = r->ready = r->daemon = false;
	p->post_owed = model_program(k->m, p->row)->post_stop.count > 0;
	r->started = mtime_now();
	r->exec_by = mtime_add(s->valid_until, EXEC_MAX);
	r->leaf = p->next;
	p->next = CGROUP_LEAF_NONE;
	run_watch(k, p);
}

/* Why an order is void, or NULL. */
static const char *refusal(struct keeper *k, const struct program *p, const struct ipc_start *s)
{
	const struct service *svc = run_service(k, p);
	mtime now = mtime_now();

	if (k->ending != ENDING_NOT)
		return "supd is ending";
	if (s->h.generation != k->generation) /* it was pending */
		return "its engine is gone";
	if (p->run.state != RUN_NONE)
		return "its last run is not gone";
	if (s->valid_until <= now)
		return "the order came too late";
	if (model_program(k->m, p->row)->forking && !k->has_cgroup)
		return "type = forking needs cgroup v2: without it nobody knows whose a daemon is";
	if (svc && s->kill_at <= now)
		return "the service's deadline has passed";
	if (svc && s->term <= svc->term_quiesced)
		return "its term is over";
	return NULL;
}

static void attempt(struct keeper *k, struct program *p, const struct ipc_start *s)
{
	struct service *svc = run_service(k, p);
	const char *why = refusal(k, p, s);
	enum ipc_stage stage = IPC_STAGE_ORDER;
	int r = 0;

	if (why)
		log_notice("program %s: start refused: %s", model_program_name(k->m, p->row), why);
	else if (svc && svc->namespaced && !guard_ready(svc)) {
		p->pending = true;
		p->start = *s;
		guard_want(k, svc); /* may refuse it at once */
		return;
	} else {
		r = launch(k, p, s, &stage);
	}
	if (!why && r == 0) {
		launched(k, p, s);
	} else if (r == -ENOMEM && stage == IPC_STAGE_CLONE && svc && guard_ready(svc) &&
		   guard_is_dying(guard_ready(svc))) {
		guard_retire(k, svc); /* wait for the next one */
		p->pending = true;
		p->start = *s;
	} else {
		run_tell_failed(k, p, s->order, stage, -r);
	}
}

void run_start(struct keeper *k, const struct ipc_start *s)
{
	struct program *p = &k->programs[s->program];
	struct service *svc = run_service(k, p);

	if (p->pending && p->start.h.generation == s->h.generation) {
		run_tell_failed(k, p, s->order, IPC_STAGE_ORDER, 0);
		return;
	}
	p->pending = false; /* an engine that is gone waited for it: the new one decides anew */
	if (svc && !refusal(k, p, s)) {
		if (s->term > svc->term_started)
			svc->term_started = s->term;
		service_set_deadline(k, svc->row, s->kill_at);
		service_arm_deadline(k);
	}
	attempt(k, p, s);
}

void run_start_pending(struct keeper *k, uint32_t service)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		if (p->service != (int)service || !p->pending)
			continue;
		p->pending = false;
		attempt(k, p, &p->start);
	}
}

void run_refuse_pending(struct keeper *k, struct program *p, enum ipc_stage stage, int error)
{
	if (!p->pending)
		return;
	p->pending = false;
	run_tell_failed(k, p, p->start.order, stage, error);
}

/* A start that no guard came up for in its time is void: said, or the engine would wait for it. */
void run_check_pending(struct keeper *k, struct program *p)
{
	if (p->pending && p->start.valid_until <= mtime_now())
		run_refuse_pending(k, p, IPC_STAGE_GUARD, ETIMEDOUT);
}
