/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_CHECK_FSM_H
#define SUPD_CORE_CHECK_FSM_H

#include <stdbool.h>

#include "common/mtime.h"

/*
 * Asking again and again whether something is well: every `interval`, one question at a time, each
 * with a time-out; `rise` good answers in a row make it good, `fall` bad ones bad.
 *
 *            START               RESULT, time-out
 *   off --------------> idle <------------------- asking
 *    ^                   +----- due: ASK ------------^
 *    +------ STOP: CANCEL, where something is asked
 *
 * passive: nothing is asked.  Good answers come by themselves; each interval without one is a bad
 * one (a watchdog).
 */
struct check_config {
	mtime interval, timeout;
	unsigned rise, fall; /* 0: never */
	bool passive;
};

struct check_fsm {
	struct check_config config;
	bool on, asking;
	bool good;	 /* the verdict */
	unsigned streak; /* answers in a row against it */
	unsigned failures; /* bad answers in a row */
	mtime asked_at, next; /* next question; passive: when silence is a bad answer */
};

enum check_event_type {
	CHECK_EV_TICK,
	CHECK_EV_START,	 /* good: the verdict to begin with */
	CHECK_EV_STOP,
	CHECK_EV_RESULT, /* good */
};

struct check_event {
	enum check_event_type type;
	bool good;
};

enum check_action {
	CHECK_ACT_ASK,
	CHECK_ACT_CANCEL,  /* what was asked: no RESULT is wanted any more */
	CHECK_ACT_TIMEOUT, /* the question that is cancelled was not answered in time */
	CHECK_ACT_GOOD,	   /* the verdict has changed */
	CHECK_ACT_BAD,
};

#define CHECK_ACTIONS_MAX 4
struct check_actions {
	unsigned n;
	enum check_action a[CHECK_ACTIONS_MAX];
};

void check_init(struct check_fsm *c, const struct check_config *config);
void check_step(struct check_fsm *c, const struct check_event *ev, mtime now,
		struct check_actions *out);
mtime check_deadline(const struct check_fsm *c);
bool check_check(const struct check_fsm *c);

#endif
