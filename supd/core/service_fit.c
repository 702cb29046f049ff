/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

#include <string.h>

/*
 * Who is fit to run the service (DESIGN, "service_fsm", evidence 1), here and elsewhere.
 *
 *   fit            nothing speaks against it
 *   softly unfit   a check, load, memory, or another file than the one in force.  Nobody hands over
 *                  to it by choice; but when there is no Active and nobody fit, the best of these
 *                  takes over after one more Active_Down, with an alarm: one after the other, by
 *                  rank, so that the later ones see the first
 *   hard unfit     it may not take over
 *
 * Soft reasons are weighed when a takeover begins, and not again: nothing of "never two" depends
 * on them, and turning back on the way would only cost time.
 *
 * The file in force is that of the node that is active, or was last: it is the standbys that differ
 * from it.  Where no Active has been heard of, every node that can be reached is a measure.
 */

bool service_unfit_is_soft(enum service_unfit u)
{
	enum { HARD, SOFT };
#define X(name, text, kind) [SERVICE_UNFIT_##name] = kind == SOFT,
	static const bool soft[] = {SERVICE_UNFITS(X)};
#undef X

	return soft[u];
}

/* ---- files -------------------------------------------------------------------------------------- */

bool service_peer_differs(const struct service_fsm *s, unsigned p, mtime now, enum service_unfit what)
{
	const struct service_report *r = &s->peers[p].report;

	if (!service_peer_reachable(s, p, now) || !svc_report_fresh(s, p, now))
		return false;
	return r->digest != s->config.digest ||
	       (what == SERVICE_UNFIT_FILE && r->file != s->config.file);
}

static bool any_differs(const struct service_fsm *s, mtime now, enum service_unfit what)
{
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (service_peer_differs(s, p, now, what))
			return true;
	}
	return false;
}

static bool file_unfit(const struct service_fsm *s, mtime now)
{
	if (s->may_run)
		return false;
	return s->file_known ? s->file_in_force != s->config.file
			     : any_differs(s, now, SERVICE_UNFIT_FILE);
}

void svc_note_file(struct service_fsm *s, unsigned p)
{
	const struct service_report *r = &s->peers[p].report;

	if (r->file == s->config.file)
		s->file_replaced = false;
	if (r->state != SERVICE_STATE_ACTIVE || r->term < s->term_acted || r->term < s->term)
		return;
	s->file_known = true;
	s->file_in_force = r->file;
}

void svc_own_file(struct service_fsm *s)
{
	s->file_known = true;
	s->file_in_force = s->config.file;
}

/* ---- this node ---------------------------------------------------------------------------------- */

/* A write that is merely under way does not make unfit; one that failed or hangs does. */
static bool state_file_unfit(const struct service_fsm *s, mtime now)
{
	mtime patience = mtime_max(s->config.advert_int, MTIME_MS(500));

	return !s->loaded || s->persist_failed ||
	       (s->persist_done != s->persist_seq && now - s->persist_since > patience);
}

static void find_reasons(const struct service_fsm *s, mtime now, bool ret[SERVICE_UNFITS_END])
{
	bool r[SERVICE_UNFITS_END] = {
		[SERVICE_UNFIT_FAILED] = s->persist.latched,
		[SERVICE_UNFIT_STOPPED] = s->persist.stopped || s->persist.barred,
		[SERVICE_UNFIT_PAUSED] = s->persist.paused,
		[SERVICE_UNFIT_LINK] = !s->link_up,
		[SERVICE_UNFIT_ISOLATED] = s->isolated,
		[SERVICE_UNFIT_DIGEST] = any_differs(s, now, SERVICE_UNFIT_DIGEST),
		[SERVICE_UNFIT_STATE_FILE] = state_file_unfit(s, now),
		[SERVICE_UNFIT_ENDING] = s->ending,
		[SERVICE_UNFIT_SOCKETS] = !s->sockets_ok,
		[SERVICE_UNFIT_FILE] = file_unfit(s, now),
		[SERVICE_UNFIT_CHECK] = s->unfit_told[SERVICE_UNFIT_CHECK],
		[SERVICE_UNFIT_LOAD] = s->unfit_told[SERVICE_UNFIT_LOAD],
		[SERVICE_UNFIT_MEMORY] = s->unfit_told[SERVICE_UNFIT_MEMORY],
	};

	memcpy(ret, r, sizeof(r));
}

bool service_fit(const struct service_fsm *s, mtime now, bool *ret_reasons)
{
	bool r[SERVICE_UNFITS_END], fit = true;

	find_reasons(s, now, r);
	for (unsigned i = 0; i < SERVICE_UNFITS_END; i++)
		fit = fit && !r[i];
	if (ret_reasons != NULL)
		memcpy(ret_reasons, r, sizeof(r));
	return fit;
}

bool service_softly_unfit(const struct service_fsm *s, mtime now)
{
	bool r[SERVICE_UNFITS_END], hard = false, soft = false;

	find_reasons(s, now, r);
	for (unsigned i = 0; i < SERVICE_UNFITS_END; i++) {
		hard = hard || (r[i] && !service_unfit_is_soft(i));
		soft = soft || (r[i] && service_unfit_is_soft(i));
	}
	return soft && !hard;
}

/* ---- others, and the order among them ----------------------------------------------------------- */

/* It could take over now, but for what speaks against it. */
static bool able(const struct service_fsm *s, unsigned p, mtime now)
{
	const struct service_report *r = &s->peers[p].report;

	return service_peer_reachable(s, p, now) && svc_report_fresh(s, p, now) &&
	       (r->fit || r->soft) && !r->running && !s->peers[p].ending &&
	       r->digest == s->config.digest &&
	       (r->state == SERVICE_STATE_BACKUP || r->state == SERVICE_STATE_WAITING);
}

/* Whether node p goes before node q: priority, then the greater address. */
static bool goes_before(const struct service_fsm *s, unsigned p, unsigned q)
{
	const struct service_node *a = &s->config.nodes[p], *b = &s->config.nodes[q];

	return a->priority != b->priority ? a->priority > b->priority : a->address > b->address;
}

static int best(const struct service_fsm *s, mtime now, bool soft)
{
	int found = MODEL_NONE;

	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (able(s, p, now) && s->peers[p].report.soft == soft &&
		    (found < 0 || goes_before(s, p, (unsigned)found)))
			found = (int)p;
	}
	return found;
}

int service_best_peer(const struct service_fsm *s, mtime now)
{
	return best(s, now, false);
}

int service_successor(const struct service_fsm *s, mtime now)
{
	int fit = best(s, now, false);

	return fit >= 0 ? fit : best(s, now, true);
}

unsigned svc_rank(const struct service_fsm *s)
{
	unsigned rank = 0;

	for (unsigned p = 0; p < s->config.n_nodes; p++)
		rank += p != s->config.self && goes_before(s, p, s->config.self);
	return rank;
}

bool svc_best_here(const struct service_fsm *s, mtime now)
{
	int fit = service_best_peer(s, now);

	return fit < 0 || goes_before(s, s->config.self, (unsigned)fit);
}

/* ---- when nobody fit is left --------------------------------------------------------------------- */

void svc_update_leaderless(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	bool idle = s->state == SERVICE_STATE_BACKUP || s->state == SERVICE_STATE_WAITING;
	/* A release begins Active_Down anew; the adverts that it brings may do so a moment later. */
	mtime released = svc_down_interval(s) + s->config.advert_int;
	bool silent = s->vrrp.expired || svc_within(x->now, s->released_at, released);

	for (unsigned p = 0; p < s->config.n_nodes; p++)
		silent = silent && !svc_peer_busy(s, p, x->now);
	if (!idle || !silent || service_best_peer(s, x->now) >= 0)
		s->leaderless = 0;
	else if (s->leaderless == 0)
		s->leaderless = x->now;
}

mtime svc_soft_turn(const struct service_fsm *s, mtime now)
{
	mtime turn = 0;

	if (s->leaderless == 0)
		return MTIME_NEVER;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (able(s, p, now) && goes_before(s, p, s->config.self))
			turn += 2 * s->config.advert_int;
	}
	return s->leaderless + svc_down_interval(s) + turn;
}
