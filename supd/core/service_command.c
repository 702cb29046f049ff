/* SPDX-License-Identifier: MIT */
#include "supd/core/service_internal.h"

/*
 * fence_command (tier 3): who has not said by itself that nothing of its runs is confirmed off by
 * a command, one node after the other, before anything starts here.
 *
 *   FENCE, every FENCED that is awaited has come
 *      |
 *      +-- verdict --> FENCE_COMMAND(peer, term) --ok--> verdict --> the next one, or grant
 *      |                     |  failed, timed out, no answer
 *      |                     +--> backup, alarm "fence_failed"; again after Active_Down in full
 *      +-- needed for nobody any more --> grant
 *
 * It is not needed
 *   - for a node whose FENCED of this term is here, or whose later HELLO says that nothing runs;
 *   - for the releaser; and for nobody at all where its RELEASE names us: it was the only one under
 *     its term, and a third node could have come up since then only by fencing the releaser, who
 *     would be off;
 *   - where a person said --force;
 *   - in a restart on the active node, which takes over from nobody.
 *
 * Success does not make a node mute: should it be heard as active afterwards, its FENCED is waited
 * for like anybody's (svc_fence_done).  A command that was begun is not called back: it may have
 * done half of its work.  It may therefore end after the takeover that asked for it, and its answer
 * counts for the term that it was asked under alone.
 */

static bool needs_command(const struct service_fsm *s, unsigned p, mtime now)
{
	bool released = s->released_term != 0 && s->releaser == p;

	return svc_linked(s, p) && !released && s->peers[p].fenced < s->term &&
	       s->peers[p].commanded < s->term && !svc_said_idle(s, p, now);
}

/* The first node that is still to be confirmed, or MODEL_NONE. */
static int next_node(const struct service_fsm *s, mtime now)
{
	if (!s->config.has_fence_command || s->forced ||
	    (s->released_term != 0 && s->released_named))
		return MODEL_NONE;
	for (unsigned p = 0; p < s->config.n_nodes; p++) {
		if (needs_command(s, p, now))
			return (int)p;
	}
	return MODEL_NONE;
}

mtime svc_command_time(const struct service_fsm *s, mtime now)
{
	mtime since = mtime_max(s->command_since, s->fence_started);

	return s->command_time + (s->command_runs ? now - since : 0);
}

/* A takeover waits for one that runs. */
static bool holds_up(const struct service_fsm *s)
{
	return s->command_runs && s->state == SERVICE_STATE_TAKING_OVER &&
	       s->phase == SERVICE_PHASE_FENCE;
}

bool svc_command_awaited(struct svc_step *x)
{
	struct service_fsm *s = x->s;

	if (!s->command_runs || next_node(s, x->now) == MODEL_NONE)
		return false;
	if (x->now - s->command_since <= SERVICE_COMMAND_MAX)
		svc_repeat_fence(x);
	else /* lost on its way */
		svc_on_command(x, s->command_peer, s->command_term, false);
	return true;
}

bool svc_command_next(struct svc_step *x)
{
	struct service_fsm *s = x->s;
	int p = next_node(s, x->now);

	if (p == MODEL_NONE)
		return false;
	s->command_runs = true;
	s->command_peer = (unsigned)p;
	s->command_term = s->term;
	s->command_since = x->now;
	svc_emit(x, SERVICE_ACT_FENCE_COMMAND)->peer = s->command_peer;
	return true;
}

bool service_may_be_forced(const struct service_fsm *s)
{
	return s->state == SERVICE_STATE_BACKUP || s->state == SERVICE_STATE_WAITING || holds_up(s);
}

void svc_on_command(struct svc_step *x, unsigned peer, uint64_t term, bool ok)
{
	struct service_fsm *s = x->s;
	bool waited_for;

	if (!s->command_runs || peer != s->command_peer || term != s->command_term)
		return;
	waited_for = holds_up(s) && term == s->term;
	s->command_time = svc_command_time(s, x->now);
	s->command_runs = false;
	if (!waited_for)
		return;
	if (ok) {
		s->peers[peer].commanded = term;
		s->command_failed = false;
	} else if (needs_command(s, peer, x->now)) {
		s->command_failed = true;
		s->command_failed_at = x->now;
		svc_abandon(x, 0);
	}
}
