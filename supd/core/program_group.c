/* SPDX-License-Identifier: MIT */
#include "supd/core/program_group.h"

#include <errno.h>
#include <string.h>

/*
 * The programs of a service, level-driven: no memory of what was ordered, only what is wanted
 * against what the members are.  So it does not matter in which order deaths, results and changes
 * of mind come in, and a new engine, whose members were adopted as it found them, goes on with the
 * same code.
 *
 *   UP     required -> ready -> START               those that require nothing, all at once
 *   DOWN   dependents -> gone -> STOP               those that nothing requires, all at once
 *
 * Invariants:
 *   - at most one order is outstanding at a time: an order changes its member's `wanted`, and
 *     that takes it off the list of differences;
 *   - a member that a person stopped, or that is not started by itself, is neither started nor
 *     waited for on the way up, and is stopped like all others on the way down;
 *   - a member that ended as configured (exited) has done its part: it counts as ready and is
 *     started again only by the next way up, which follows a way down;
 *   - a member that cannot be killed does not keep the others alive: the way down goes on past it.
 */

void group_init(struct program_group *g, struct group_member *members)
{
	memset(g, 0, sizeof(*g));
	g->want = GROUP_DOWN;
	g->members = members;
}

int group_require(struct program_group *g, unsigned member, unsigned required)
{
	struct group_member *m = &g->members[member];

	if (m->n_requires == GROUP_REQUIRES_MAX)
		return -E2BIG;
	m->requires[m->n_requires++] = (uint16_t)required;
	g->members[required].required = true;
	return 0;
}

void group_up(struct program_group *g)
{
	g->want = GROUP_UP;
	g->give_up = false;
}

void group_down(struct program_group *g, bool give_up)
{
	g->want = GROUP_DOWN;
	g->give_up = give_up;
}

static bool group_starts(const struct group_member *m)
{
	return m->autostart && !m->manual_stop;
}

static bool has_done_its_part(const struct program_fsm *p)
{
	return p->ready || (p->wanted && p->state == PROGRAM_STATE_EXITED);
}

/* All that it requires are up, or are not to be waited for. */
static bool may_start(const struct program_group *g, const struct group_member *m)
{
	for (unsigned i = 0; i < m->n_requires; i++) {
		const struct group_member *r = &g->members[m->requires[i]];

		if (group_starts(r) && !has_done_its_part(r->program))
			return false;
	}
	return true;
}

static bool reconcile_up(const struct program_group *g, struct group_order *ret)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct group_member *m = &g->members[i];

		if (!group_starts(m) || m->program->wanted || !may_start(g, m))
			continue;
		*ret = (struct group_order){ .member = i, .event = PROGRAM_EV_START };
		return true;
	}
	return false;
}

static bool is_off(const struct program_fsm *p)
{
	return !p->wanted && (program_gone(p) || p->unkillable);
}

static bool requires(const struct group_member *m, unsigned member)
{
	for (unsigned i = 0; i < m->n_requires; i++)
		if (m->requires[i] == member)
			return true;
	return false;
}

/* All that require it are gone. */
static bool may_stop(const struct program_group *g, unsigned member)
{
	for (unsigned i = 0; g->members[member].required && i < g->n; i++)
		if (requires(&g->members[i], member) && !is_off(g->members[i].program))
			return false;
	return true;
}

static bool reconcile_down(const struct program_group *g, struct group_order *ret)
{
	for (unsigned i = g->n; i-- > 0;) {
		const struct program_fsm *p = g->members[i].program;
		bool was_given_up = p->state == PROGRAM_STATE_FATAL;

		if (!p->wanted && !(was_given_up && !g->give_up))
			continue;
		if (!may_stop(g, i))
			continue;
		ret->member = i;
		ret->event = g->give_up ? PROGRAM_EV_GIVE_UP : PROGRAM_EV_STOP;
		return true;
	}
	return false;
}

bool group_reconcile(const struct program_group *g, struct group_order *ret)
{
	return g->want == GROUP_UP ? reconcile_up(g, ret) : reconcile_down(g, ret);
}

bool group_ready(const struct program_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct group_member *m = &g->members[i];

		if (group_starts(m) && !has_done_its_part(m->program))
			return false;
	}
	return true;
}

bool group_gone(const struct program_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		if (!program_gone(g->members[i].program))
			return false;
	}
	return true;
}

bool group_gone_or_unkillable(const struct program_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct program_fsm *p = g->members[i].program;

		if (!program_gone(p) && !p->unkillable)
			return false;
	}
	return true;
}

bool group_wants_restart(const struct program_group *g, mtime now)
{
	for (unsigned i = 0; i < g->n; i++) {
		if (program_wants_allow(g->members[i].program, now))
			return true;
	}
	return false;
}
