/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_BUDGET_H
#define SUPD_CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"

/*
 * The arithmetic of "never two": how long after the last proof of contact (S) an Active's programs
 * may live, so that all are dead before any peer can start.  One place for engine, simulator and
 * --check-config.
 *
 *   D_min   = 0.99 x (3 + (256 - p)/256 - 1) x advert_int, least over the peers' priorities p:
 *             the soonest that any peer can start after S.  One advert was due; clock rates differ
 *             by up to 1 %.
 *   kill_at = S + D_min - kill_budget; where that leaves less than 2 advert_int:
 *             S + 2 advert_int + 20 ms, and tier 0 is not promised.
 */
#define BUDGET_KILL  MTIME_MS(20)
#define BUDGET_ANSWER MTIME_MS(5) /* a probe's or HELLO's way there and back on a LAN */

struct budget_input {
	mtime advert_int;
	unsigned n_peers;
	const uint8_t *peer_priorities;
};

struct budget {
	mtime d_min;	    /* MTIME_NEVER without a peer */
	mtime life;	    /* kill_at - S */
	bool tier0;	    /* d_min - BUDGET_KILL >= 2 advert_int, and the renewal fits */
	mtime renewal_need; /* 1.2 advert_int + two answers' time: must be < d_min - BUDGET_KILL */
	bool renewal_fits;
	mtime engine_timeout; /* auto: min(1 s, max(D_min / 3, 50 ms)) */
	mtime fence_timeout;  /* auto: min(advert_int / 2, 50 ms) */
};

void budget_compute(const struct budget_input *in, struct budget *ret);

#endif
