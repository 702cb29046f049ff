/* SPDX-License-Identifier: MIT */
#include "supd/keeper/ending.h"

#include "common/log.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/notify.h"
#include "supd/keeper/reexec.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/service.h"
#include "supd/keeper/state.h"

/*
 *   DONE -> TREES   programs and guards killed, waited for until gone
 *        -> ENGINE  its channel is closed: ends; else killed
 *        -> NET     its channel is closed: removes the addresses and ends; else killed
 *        -> SCRIBE  its channel is closed: drains what the pipes hold and ends; else killed
 *        -> out of the loop
 *
 * Trees come first: whatever goes wrong later, nothing of a service runs any more.  A phase that
 * exceeds its bound is told and left; what was killed is dead (SIGKILL pending) in any case.
 */

#define TREES_MAX  MTIME_SEC(10)
#define ENGINE_MAX MTIME_SEC(1)
#define NET_MAX	   MTIME_MS(3500) /* its own bounds come first (net.h: 2 s, then the removal) */
#define SCRIBE_MAX MTIME_SEC(2)
#define KILLED_MAX MTIME_MS(500) /* beyond a phase's bound, for what was killed by it */

/* Engines that may die between SIGTERM and DONE before supd ends without them. */
#define ENGINE_DEATHS_MAX 4

static bool any_tree(const struct keeper *k)
{
	if (k->guards)
		return true;
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].run.state != RUN_NONE)
			return true;
	return hook_any(k);
}

static void kill_trees(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_services; i++)
		service_kill(k, &k->services[i], false);
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		run_kill(k, &k->programs[i]);
	hook_kill_all(k);
	if (k->programs_kill_fd >= 0)
		cgroup_kill(k->programs_fd, k->programs_kill_fd);
}

static void enter(struct keeper *k, enum ending phase)
{
	k->ending = phase;
	k->ending_since = mtime_now();
	switch (phase) {
	case ENDING_NOT:
		break;
	case ENDING_TREES:
		kill_trees(k);
		break;
	case ENDING_ENGINE:
		/* To one that is not DONE this would mean that we are dead: it would kill us. */
		if (!k->done)
			role_kill(&k->roles[ROLE_ENGINE]);
		else
			role_hang_up(&k->roles[ROLE_ENGINE]);
		break;
	case ENDING_NET:
		role_hang_up(&k->roles[ROLE_NET]);
		break;
	case ENDING_SCRIBE:
		log_notice("ended");
		role_hang_up(&k->roles[ROLE_SCRIBE]);
		break;
	}
}

/* Wait for one role: true when it is over with. */
static bool role_is_over(struct keeper *k, enum role_id id, mtime bound)
{
	struct role *r = &k->roles[id];
	mtime waited = mtime_now() - k->ending_since;

	if (r->pid <= 0)
		return true;
	if (waited >= bound)
		role_kill(r);
	return waited >= bound + KILLED_MAX;
}

static bool trees_are_over(const struct keeper *k)
{
	if (!any_tree(k))
		return true;
	if (mtime_now() - k->ending_since < TREES_MAX)
		return false;
	log_error("killed processes are not gone after %lld s, ending nevertheless",
		  (long long)(TREES_MAX / MTIME_SEC(1)));
	return true;
}

static void finish(struct keeper *k)
{
	k->status = 0;
	ev_break(k->loop, EVBREAK_ALL);
}

static bool phase_is_over(struct keeper *k)
{
	switch (k->ending) {
	case ENDING_NOT:
		return false;
	case ENDING_TREES:
		return trees_are_over(k);
	case ENDING_ENGINE:
		return role_is_over(k, ROLE_ENGINE, ENGINE_MAX);
	case ENDING_NET:
		return role_is_over(k, ROLE_NET, NET_MAX);
	case ENDING_SCRIBE:
		return role_is_over(k, ROLE_SCRIBE, SCRIBE_MAX);
	}
	return false;
}

void ending_poll(struct keeper *k)
{
	if (k->ending == ENDING_NOT && k->shutdown && k->engine_deaths >= ENGINE_DEATHS_MAX) {
		log_error("%u engines died while supd was ending, ending without one",
			  k->engine_deaths);
		ending_begin(k);
		return;
	}
	while (phase_is_over(k)) {
		if (k->ending == ENDING_SCRIBE) {
			finish(k);
			return;
		}
		enter(k, (enum ending)(k->ending + 1));
	}
}

void ending_begin(struct keeper *k)
{
	if (k->ending != ENDING_NOT)
		return;
	reexec_cancel(k);
	notify_systemd("STOPPING=1");
	enter(k, ENDING_TREES);
	ending_poll(k);
}
