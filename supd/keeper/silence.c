/* SPDX-License-Identifier: MIT */
#include "supd/keeper/silence.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/ending.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/notify.h"
#include "supd/keeper/orders.h"
#include "supd/keeper/reexec.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/state.h"

/*
 * The tick is also where what has no event is looked at: trees whose end was not told, orphans
 * that came to us, the bounds of the ending's phases.
 */
#define TICK_MIN   MTIME_MS(10)
#define TICK_MAX   MTIME_MS(100)
#define TICKS_EACH 4 /* of engine_timeout */
#define TICK_LATE  MTIME_MS(5)
#define ORPHANS_MAX 256 /* at a tick: who makes them faster does not keep us here */
/* A new engine has this much more until its first FEED. */
#define START_GRACE MTIME_SEC(1)
/*
 * Engines that fall silent one after another, each soon after its start, lack a CPU, and a
 * successor brings none: each gets twice the time of the one before.  What they leave unfed is
 * killed at its deadline all the same.
 */
#define HASTY	  MTIME_SEC(10) /* a life shorter than this */
#define HASTY_MAX 4 /* doublings */

static mtime tick_interval(const struct keeper *k)
{
	mtime t = k->m->supd.engine_timeout / TICKS_EACH;

	return mtime_max(TICK_MIN, mtime_min(TICK_MAX, t));
}

static mtime limit(const struct keeper *k)
{
	mtime timeout = k->m->supd.engine_timeout << (k->hasty < HASTY_MAX ? k->hasty : HASTY_MAX);

	return timeout + (k->fed ? 0 : START_GRACE);
}

/* While we were stopped, or without a CPU, the engine could not be heard: that time is not its. */
static void forgive_own_stall(struct keeper *k, mtime now)
{
	mtime late = now - k->tick_at;

	if (late > TICK_LATE)
		k->fed_at = mtime_min(k->fed_at + late, now);
	k->tick_at = now + tick_interval(k);
}

static void check_engine(struct keeper *k)
{
	struct role *engine = &k->roles[ROLE_ENGINE];
	mtime now = mtime_now();

	forgive_own_stall(k, now);
	if (engine->pid <= 0 || now - k->fed_at <= limit(k))
		return;
	orders_drain(k);
	if (now - k->fed_at <= limit(k))
		return;
	log_error("the engine is silent for %lld ms, killing it",
		  (long long)mtime_to_ms(now - k->fed_at));
	role_kill(engine);
	k->hasty = k->fed_at - engine->started < HASTY ? k->hasty + 1 : 0;
	k->fed_at = now; /* the next kill, should this one not be enough, comes a limit later */
}

/*
 * Children that nobody waits for: orphans, when we are PID 1 or a subreaper.  Ours have watchers of
 * their own, and are left to them.
 */
static bool is_ours(const struct keeper *k, pid_t pid)
{
	for (int i = 0; i < ROLES_END; i++)
		if (k->roles[i].pid == pid)
			return true;
	for (const struct guard *g = k->guards; g; g = g->next)
		if (g->pid == pid)
			return true;
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		if (k->programs[i].run.pidfd >= 0 && k->programs[i].run.pid == pid)
			return true;
	return pid == k->reexec.pid || hook_owns(k, pid);
}

static void reap_orphans(const struct keeper *k)
{
	siginfo_t info = { .si_pid = 0 };

	for (int i = 0; i < ORPHANS_MAX; i++) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid <= 0 ||
		    is_ours(k, info.si_pid))
			return;
		waitid(P_PID, (id_t)info.si_pid, NULL, WEXITED | WNOHANG);
	}
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct keeper *k = w->data;

	(void)loop;
	(void)revents;
	if (k->ending == ENDING_NOT)
		check_engine(k);
	roles_poll(k);
	guard_poll(k);
	run_poll(k);
	hook_poll(k);
	reexec_poll(k);
	reap_orphans(k);
	ending_poll(k);
}

void silence_open(struct keeper *k)
{
	double interval = (double)tick_interval(k) / 1e9;

	k->tick_at = mtime_now() + tick_interval(k);
	ev_timer_init(&k->tick, on_tick, interval, interval);
	k->tick.data = k;
	ev_timer_start(k->loop, &k->tick);
}

/* The first one ever: supd is up. */
static void tell_ready(struct keeper *k)
{
	const char zero = 0;

	k->ready = true;
	log_notice("up, as node %s", model_node_name(k->m, (uint32_t)k->m->self));
	notify_systemd("READY=1");
	if (k->ready_fd < 0)
		return;
	(void)!write(k->ready_fd, &zero, 1);
	fd_close(&k->ready_fd);
	dup2(k->null_fd, STDOUT_FILENO);
	dup2(k->null_fd, STDERR_FILENO);
}

void silence_fed(struct keeper *k)
{
	k->fed_at = mtime_now();
	k->fed = true;
	if (k->fed_at - k->roles[ROLE_ENGINE].started >= HASTY)
		k->hasty = 0;
	if (!k->ready)
		tell_ready(k);
}
