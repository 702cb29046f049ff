/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_RESTART_POLICY_H
#define SUPD_CORE_RESTART_POLICY_H

#include <stdbool.h>

#include "common/mtime.h"

/*
 * When a program that died is started again, and when it has died too often.
 *
 * Delays after death 1, 2, 3, ...: 0, 1 s, 2 s, 4 s ... delay_max; a run that died before
 * startsecs (or never came up) waits at least 100 ms; from the limit-th counted death on: delay_max.
 * The count is cleared by `window` of continuous ready time, or by a person's start.
 */
#define RESTART_DELAY_MIN MTIME_MS(100)

struct restart_policy {
	mtime delay_max, window, startsecs;
	unsigned limit; /* 0: none, never gives up */
	unsigned counted; /* deaths since the count was cleared */
	unsigned total;	  /* deaths since init */
};

void restart_policy_init(struct restart_policy *p, unsigned limit, mtime window, mtime delay_max,
			 mtime startsecs);

/* A death after ready_for of ready time (0: was never ready).  Returns the delay to the next start. */
mtime restart_policy_death(struct restart_policy *p, mtime ready_for);

/* Whether the limit is reached. */
bool restart_policy_exhausted(const struct restart_policy *p);

/* Ready for so long now: clear the count once that is the window. */
void restart_policy_ready(struct restart_policy *p, mtime ready_for);

/* A person started it, or the service starts under a new term. */
void restart_policy_reset(struct restart_policy *p);

#endif
