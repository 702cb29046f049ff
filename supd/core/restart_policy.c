/* SPDX-License-Identifier: MIT */
#include "supd/core/restart_policy.h"

#include <limits.h>

/*
 * The restart law.
 *
 *   death      1    2    3    4    5  ...  limit and later
 *   delay      0   1 s  2 s  4 s  8 s ...  delay_max
 *
 * The first restart is immediate: most deaths are alone, and the outage is all that counts.  The
 * delays then double, so that a loop costs little and its log can still be read.  A run that did
 * not live for startsecs waits RESTART_DELAY_MIN even the first time (a program that cannot start
 * must not spin), and where delay_max is set lower than that.
 *
 * A death is counted until the program has been ready for `window` without a break: a window that
 * slides over a crash every W/2 would never fill up and never give up.
 */

void restart_policy_init(struct restart_policy *p, unsigned limit, mtime window, mtime delay_max,
			 mtime startsecs)
{
	*p = (struct restart_policy){
		.limit = limit,
		.window = window,
		.delay_max = delay_max,
		.startsecs = startsecs,
	};
}

static mtime delay_of(const struct restart_policy *p)
{
	mtime delay = MTIME_SEC(1);

	if (restart_policy_exhausted(p))
		return p->delay_max;
	if (p->counted <= 1)
		return 0;
	for (unsigned i = 2; i < p->counted && delay < p->delay_max; i++)
		delay *= 2;
	return mtime_min(delay, p->delay_max);
}

mtime restart_policy_death(struct restart_policy *p, mtime ready_for)
{
	bool early = ready_for <= 0 || ready_for < p->startsecs;
	mtime delay;

	restart_policy_ready(p, ready_for);
	if (p->counted < UINT_MAX)
		p->counted++;
	if (p->total < UINT_MAX)
		p->total++;
	delay = delay_of(p);
	return early ? mtime_max(delay, RESTART_DELAY_MIN) : delay;
}

bool restart_policy_exhausted(const struct restart_policy *p)
{
	return p->limit > 0 && p->counted >= p->limit;
}

void restart_policy_ready(struct restart_policy *p, mtime ready_for)
{
	if (ready_for > 0 && ready_for >= p->window)
		p->counted = 0;
}

void restart_policy_reset(struct restart_policy *p)
{
	p->counted = 0;
}
