/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>

#include "supd/core/vrrp_fsm.h"

/*
 * What must hold in every scenario that tier 0 covers (DESIGN.md, "What is promised, and when"):
 *
 *   never two     no program runs (exec to SIGKILL pending) while one of the service runs elsewhere
 *   terms         none is started under a term below that of an earlier start, unless its node
 *                 could not know of it when it ordered the start (alone after a reboot: said in
 *                 the README)
 *   latch, stop   none is started by a node that is latched, stopped or barred
 *   eventually    with faults over and one node healthy, connected and fit, somebody is active
 *                 within the bound of calm_bound()
 *   no flapping   the service moves at most a small multiple of the number of faults
 *   the machines' own invariants, after every step
 */

void oracle_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof(w->violation), fmt, ap);
	va_end(ap);
	STORY(w, NULL, "VIOLATION: %s", w->violation);
}

/* ---- never two, terms, latch ------------------------------------------------------------------------ */

static void check_alone(struct world *w, const struct host *h)
{
	for (unsigned i = 0; i < w->scenario.n_nodes && !w->scenario.two_segments; i++)
		if (i != h->row && host_lives(&w->hosts[i]))
			oracle_fail(w, "two at once: %c starts while %c lives", story_name(h->row),
				    story_name(i));
}

uint64_t oracle_known(const struct host *h)
{
	return h->told_term > h->disk.term_seen ? h->told_term : h->disk.term_seen;
}

static void check_allowed(struct world *w, const struct host *h, const struct run *r)
{
	const struct service_persist *p = &h->engine.fsm.persist;

	if (r->term < w->top_term && r->known >= w->top_term)
		oracle_fail(w, "%c starts under term %llu after one under %llu", story_name(h->row),
			    (unsigned long long)r->term, (unsigned long long)w->top_term);
	if (h->engine.alive && !h->engine.stalled && (p->latched || p->stopped || p->barred) &&
	    r->term > h->keeper.quiesced && !h->engine.fsm.may_run)
		oracle_fail(w, "%c starts though it is %s", story_name(h->row),
			    p->latched ? "latched" : "stopped");
}

static bool runs_well(const struct host *h)
{
	return h->engine.alive && !h->engine.stalled && h->engine.sockets && !h->keeper.stalled;
}

/* A fit one that hears and is heard, and would have had its turn before. */
static bool is_fit(const struct world *w, const struct host *h)
{
	const struct engine *e = &h->engine;

	return h->up && !h->broken && runs_well(h) && w->now - h->well_since > MTIME_SEC(5) &&
	       e->fsm.loaded && e->fsm.state == SERVICE_STATE_BACKUP &&
	       service_fit(&e->fsm, host_now(w, h), NULL);
}

/* Soft reasons are weighed when a takeover begins, and not again. */
void oracle_takes(struct world *w, const struct host *h)
{
	const struct service_fsm *s = &h->engine.fsm;

	if (!service_softly_unfit(s, host_now(w, h)) || s->forced || w->net_broken ||
	    s->take_cause != SERVICE_CAUSE_TAKEOVER || h->broken)
		return;
	for (unsigned i = 0; i < w->scenario.n_nodes; i++)
		if (i != h->row && is_fit(w, &w->hosts[i]))
			oracle_fail(w, "%c begins though its check fails, and %c is fit",
				    story_name(h->row), story_name(i));
}

/* The order is given; until now nothing of this term could run here. */
void oracle_begins(struct world *w, struct host *h)
{
	const struct service_fsm *s = &h->engine.fsm;

	if (s->state != SERVICE_STATE_TAKING_OVER) /* a new engine goes on */
		return;
	if (s->term < s->persist.term_seen)
		oracle_fail(w, "%c begins under term %llu and knows of %llu", story_name(h->row),
			    (unsigned long long)s->term, (unsigned long long)s->persist.term_seen);
	if (s->persist.latched || s->persist.stopped || s->persist.barred || s->persist.paused)
		oracle_fail(w, "%c begins though it is %s", story_name(h->row),
			    s->persist.latched  ? "latched"
			    : s->persist.paused ? "paused"
						: "stopped");
}

void oracle_exec(struct world *w, struct host *h, const struct run *r)
{
	STORY(w, h, "PROGRAM STARTS, term %llu", (unsigned long long)r->term);
	check_alone(w, h);
	check_allowed(w, h, r);
	if (r->term > w->top_term)
		w->top_term = r->term;
	if (w->none_since)
		w->worst_outage = mtime_max(w->worst_outage, w->now - w->none_since);
	w->none_since = 0;
	w->starts++;
	w->one_since = w->now;
	if (w->last_place != h->row) {
		w->moves++;
		w->last_place = h->row;
	}
}

void oracle_dead(struct world *w, struct host *h)
{
	(void)h;
	for (unsigned i = 0; i < w->scenario.n_nodes; i++)
		if (host_lives(&w->hosts[i]))
			return;
	if (!w->none_since)
		w->none_since = w->now;
}

/* ---- machines ------------------------------------------------------------------------------------------ */

void oracle_step(struct world *w, struct host *h)
{
	const struct service_fsm *s = &h->engine.fsm;

	if (!s->loaded || s->persist.latched || s->persist.stopped || s->persist.barred ||
	    s->persist.paused)
		h->well_since = w->now;
	if (!service_check(s))
		oracle_fail(w, "%c: service_check in %s, phase %d, may_run %d, term %llu, quiesced %llu",
			    story_name(h->row), service_state_name(s->state), (int)s->phase,
			    s->may_run, (unsigned long long)s->term,
			    (unsigned long long)s->quiesced);
	else if (!vrrp_check(&s->vrrp))
		oracle_fail(w, "%c: vrrp_check in %s", story_name(h->row),
			    service_state_name(s->state));
}

void oracle_told(struct host *h, const struct letter *l)
{
	uint64_t term = l->term.term;

	if (l->h.type == PEER_TYPE_HELLO)
		term = l->report.term_seen;
	if (term > h->told_term)
		h->told_term = term;
}

/* ---- eventually one --------------------------------------------------------------------------------------- */

/* Boot, silence, a lease that an unknown answer lets run out, a slow stop, the longest delay. */
static mtime calm_bound(const struct world *w)
{
	const struct scenario *s = &w->scenario;

	return s->wait_for_peer + 4 * w->active_down + 2 * (s->vip_lease + MTIME_MS(1500)) +
	       s->restart_delay_max + (s->fence_command ? MTIME_SEC(100) : MTIME_SEC(10));
}

static bool well(const struct world *w, const struct host *h, mtime bound)
{
	const struct engine *e = &h->engine;

	return h->up && h->keeper.alive && !h->keeper.stalled && e->alive && e->fsm.loaded && !h->broken && w->now - h->well_since > bound;
}

static uint64_t term_of(const struct host *h)
{
	uint64_t term = 0;

	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		if (h->runs[i].state == RUN_ALIVE && h->runs[i].term > term)
			term = h->runs[i].term;
	return term;
}

/*
 * Where tier 0 ends, two may live; but not for long once the older one is told of the newer one,
 * be it in one direction only.
 */
static void check_yields(struct world *w, const struct host *older, const struct host *newer)
{
	unsigned *looks = &w->both[older->row][newer->row];
	mtime bound = MTIME_SEC(2) + 3 * w->scenario.advert_int;

	if (host_lives(older) && host_lives(newer) && term_of(older) < term_of(newer) &&
	    runs_well(older) && runs_well(newer) &&
	    network_peer_open(w, newer->row, older->row) && !w->loss_permille)
		*looks += 1;
	else
		*looks = 0;
	if (*looks * MTIME_SEC(1) > bound)
		oracle_fail(w, "%c lives on, though %c says that it runs under a higher term",
			    story_name(older->row), story_name(newer->row));
}

static void check_pairs(struct world *w)
{
	for (unsigned a = 0; a < w->scenario.n_nodes; a++)
		for (unsigned b = 0; b < w->scenario.n_nodes; b++)
			if (a != b)
				check_yields(w, &w->hosts[a], &w->hosts[b]);
}

void oracle_calm(struct world *w)
{
	mtime bound = calm_bound(w);
	/* Where silence is no reason to begin, a person is waited for. */
	bool awaited = w->scenario.hold && w->now < w->scenario.quiet_from + MTIME_SEC(30);
	bool calm = !awaited && !w->net_broken && w->now - w->net_well_since > bound && w->none_since &&
		    w->now - w->none_since > bound;

	for (unsigned i = 0; calm && i < w->scenario.n_nodes; i++)
		if (well(w, &w->hosts[i], bound))
			oracle_fail(w, "nobody is active for %lld s, though %c is well",
				    (long long)((w->now - w->none_since) / MTIME_SEC(1)),
				    story_name(i));
	w->settled = w->now > w->scenario.quiet_from + MTIME_SEC(40) && !w->none_since &&
		     w->now - w->one_since > MTIME_SEC(20);
	if (w->scenario.two_segments)
		check_pairs(w);
	if (w->moves > 3 + 3 * w->faults_done)
		oracle_fail(w, "it moved %u times in %u faults", w->moves, w->faults_done);
	world_post(w, MTIME_SEC(1), EVENT_CALM, 0);
}
