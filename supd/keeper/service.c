/* SPDX-License-Identifier: MIT */
#include "supd/keeper/service.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/orders.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/state.h"

/*
 * The kill deadline is the keeper's half of the silence rule: whatever became of the engine, a
 * service that was not fed a later moment is dead at kill_at.  The order of things at an expiry:
 *
 *   timerfd (CLOCK_BOOTTIME, absolute: it also expires during a suspend)
 *     -> read what the engine has sent: a FEED may be waiting behind our own stall
 *     -> still due: kill, then tell
 *
 * Reading is bounded (ORDERS_DRAIN_MAX), and killing is the safe side.
 */

bool service_alive(const struct keeper *k, uint32_t row)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		const struct program *p = &k->programs[i];

		if (p->service == (int)row &&
		    (p->pending || (p->run.state != RUN_NONE && !p->run.killed)))
			return true;
	}
	if (hook_any_of_service(k, row, true))
		return true;
	/* Who left a cgroup is still in the namespace. */
	return k->services[row].guard && k->services[row].guard->used;
}

/*
 * One write kills all that is below the service, whatever moved within it; the runs are killed one
 * by one as well, for the day when that write fails.  The leaves made in advance are spoilt by it:
 * what is cloned into them would be killed too (FACTS.md L).
 */
void service_kill(struct keeper *k, struct service *s, bool by_deadline)
{
	if (s->kill_fd >= 0)
		cgroup_kill(s->dir_fd, s->kill_fd);
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		struct program *p = &k->programs[i];

		if (p->service != (int)s->row)
			continue;
		run_refuse_pending(k, p, IPC_STAGE_ORDER, 0);
		if (p->run.state != RUN_NONE) {
			p->run.killed_by_deadline |= by_deadline;
			run_kill(k, p);
		}
		run_drop_next(k, p);
		p->post_owed = false; /* the service is another node's by now */
	}
	hook_kill_service(k, s->row);
	guard_retire(k, s);
	run_refill(k);
}

/* ---- deadlines -------------------------------------------------------------------------------- */

void service_set_deadline(struct keeper *k, uint32_t row, mtime kill_at)
{
	k->services[row].kill_at = kill_at;
}

void service_arm_deadline(struct keeper *k)
{
	struct itimerspec at = { 0 };
	mtime first = MTIME_NEVER;

	for (uint32_t i = 0; i < k->m->n_services; i++)
		first = mtime_min(first, k->services[i].kill_at);
	if (first != MTIME_NEVER) {
		first = mtime_max(first, 1); /* 0 would disarm */
		at.it_value.tv_sec = (time_t)(first / MTIME_SEC(1));
		at.it_value.tv_nsec = (long)(first % MTIME_SEC(1));
	}
	timerfd_settime(k->deadline_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void expire(struct keeper *k, struct service *s)
{
	struct ipc_quiesced q = { .h = { IPC_QUIESCED, k->generation },
				  .service = (int32_t)s->row,
				  .by_deadline = true };

	s->kill_at = MTIME_NEVER;
	if (!service_alive(k, s->row))
		return;
	service_kill(k, s, true);
	q.at = mtime_now();
	s->term_quiesced = s->term_quiesced > s->term_started ? s->term_quiesced : s->term_started;
	q.term = s->term_started;
	log_error("service %s: killed at its deadline: the engine had no proof of contact with "
		  "another node or a probe target to move it by, or was silent itself",
		  model_service_name(k->m, s->row));
	engine_send(k, &q, sizeof(q));
}

static void on_deadline(struct ev_loop *loop, ev_io *w, int revents)
{
	struct keeper *k = w->data;
	uint64_t expirations;
	mtime now;

	(void)loop;
	(void)revents;
	(void)!read(k->deadline_fd, &expirations, sizeof(expirations));
	orders_drain(k);
	now = mtime_now();
	for (uint32_t i = 0; i < k->m->n_services; i++)
		if (k->services[i].kill_at <= now)
			expire(k, &k->services[i]);
	service_arm_deadline(k);
}

int service_open_deadline(struct keeper *k)
{
	k->deadline_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k->deadline_fd < 0)
		return -errno;
	ev_io_init(&k->deadline, on_deadline, k->deadline_fd, EV_READ);
	k->deadline.data = k;
	ev_io_start(k->loop, &k->deadline);
	return 0;
}
