/* SPDX-License-Identifier: MIT */
#include "supd/core/check_fsm.h"

#include <limits.h>
#include <string.h>

/*
 * The interval is that of the questions, not of the pauses between them: a slow answer does not
 * make them rarer, but the next question never comes before the last one is over.  After a stall of
 * ours one question is asked, not one for each interval that was missed.
 *
 * Invariants (check_check()):
 *   - nothing is asked while off or passive, and at most one question is open;
 *   - the streak never reaches what would have turned the verdict.
 */

static void emit(struct check_actions *out, enum check_action a)
{
	if (out->n < CHECK_ACTIONS_MAX)
		out->a[out->n++] = a;
}

void check_init(struct check_fsm *c, const struct check_config *config)
{
	memset(c, 0, sizeof(*c));
	c->config = *config;
	c->next = MTIME_NEVER;
}

static unsigned needed(const struct check_fsm *c)
{
	unsigned n = c->good ? c->config.fall : c->config.rise;

	return n > 0 ? n : UINT_MAX;
}

static void judge(struct check_fsm *c, bool good, struct check_actions *out)
{
	if (good)
		c->failures = 0;
	else if (c->failures < UINT_MAX)
		c->failures++;
	if (good == c->good) {
		c->streak = 0;
		return;
	}
	if (c->streak < UINT_MAX - 1)
		c->streak++;
	if (c->streak < needed(c))
		return;
	c->good = good;
	c->streak = 0;
	emit(out, good ? CHECK_ACT_GOOD : CHECK_ACT_BAD);
}

static void ask(struct check_fsm *c, mtime now, struct check_actions *out)
{
	c->asking = true;
	c->asked_at = now;
	emit(out, CHECK_ACT_ASK);
}

static void answered(struct check_fsm *c, bool good, mtime now, struct check_actions *out)
{
	c->asking = false;
	c->next = mtime_max(mtime_add(c->asked_at, c->config.interval), now);
	judge(c, good, out);
}

static void on_start(struct check_fsm *c, bool good, mtime now, struct check_actions *out)
{
	if (c->on)
		return;
	c->on = true;
	c->good = good;
	c->streak = c->failures = 0;
	c->next = mtime_add(now, c->config.passive || good ? c->config.interval : 0);
	if (now >= c->next)
		ask(c, now, out);
}

static void on_stop(struct check_fsm *c, struct check_actions *out)
{
	if (c->asking)
		emit(out, CHECK_ACT_CANCEL);
	c->on = c->asking = false;
	c->next = MTIME_NEVER;
}

static void on_result(struct check_fsm *c, bool good, mtime now, struct check_actions *out)
{
	if (!c->on)
		return;
	if (c->config.passive) {
		c->next = mtime_add(now, c->config.interval);
		judge(c, good, out);
	} else if (c->asking) {
		answered(c, good, now, out);
	}
}

static void on_tick(struct check_fsm *c, mtime now, struct check_actions *out)
{
	if (!c->on || now < check_deadline(c))
		return;
	if (c->config.passive) {
		c->next = mtime_add(now, c->config.interval);
		judge(c, false, out);
	} else if (c->asking) {
		emit(out, CHECK_ACT_CANCEL);
		emit(out, CHECK_ACT_TIMEOUT);
		answered(c, false, now, out);
	} else {
		ask(c, now, out);
	}
}

mtime check_deadline(const struct check_fsm *c)
{
	if (!c->on)
		return MTIME_NEVER;
	return c->asking ? mtime_add(c->asked_at, c->config.timeout) : c->next;
}

void check_step(struct check_fsm *c, const struct check_event *ev, mtime now,
		struct check_actions *out)
{
	out->n = 0;
	switch (ev->type) {
	case CHECK_EV_TICK:
		on_tick(c, now, out);
		break;
	case CHECK_EV_START:
		on_start(c, ev->good, now, out);
		break;
	case CHECK_EV_STOP:
		on_stop(c, out);
		break;
	case CHECK_EV_RESULT:
		on_result(c, ev->good, now, out);
		break;
	}
}

bool check_check(const struct check_fsm *c)
{
	if (c->asking && (!c->on || c->config.passive))
		return false;
	if (c->on == (c->next == MTIME_NEVER) && !c->asking)
		return false;
	return c->streak < needed(c);
}
