/* SPDX-License-Identifier: MIT */
#include "supd/core/budget.h"

/*
 * The budget: why an Active that has lost everybody is dead before anybody can start.
 *
 *   Active   --S-----------------------------X kill_at = S + life
 *              \ newest message that proves contact (send time)
 *               \
 *   Backup       o-------- Active_Down -------------> may start at S + D_min, not before
 *                  restarted by whatever it heard last
 *
 * A Backup of priority p that last heard us at S waits Active_Down = (3 + (256 - p)/256) x
 * advert_int (RFC 9568, section 6.1: 3 x Active_Adver_Interval + Skew_Time).  What it heard last
 * may be the advert before S rather than the message of S itself: one advert_int is taken off.
 * The two clocks' rates differ by up to 1 %: its time may pass faster than ours, hence 0.99.  The
 * least over all peers counts, that is: the peer of the highest priority.
 *
 * kill_budget is what it takes from the deadline to the last user instruction of the last program:
 * a late timer, and the write to cgroup.kill.
 *
 * The other side of the scale: a healthy Active must renew S well before the deadline, or it
 * kills for nothing.  HELLO goes out every advert_int, by a timer that may be late by a fifth of
 * it, and an answer is on its way back: 1.2 advert_int + two answers' time (one may be lost and
 * asked for again) must be less than life.  Where even 2 advert_int do not fit, the deadline is
 * set to 2 advert_int + kill_budget: a node that cannot keep both promises keeps running, and
 * says that tier 0 is not promised.
 *
 * Invariants: life > 0; tier0 implies life = d_min - kill_budget and life > renewal_need.
 */

/* (3 + (256 - p)/256 - 1) x 0.99, in 25,600ths: advert_int is at most 40.95 s, so nothing
 * overflows. */
static mtime soonest_start(mtime advert_int, uint8_t priority)
{
	return advert_int * (2 * 256 + (256 - priority)) * 99 / 25600;
}

void budget_compute(const struct budget_input *in, struct budget *ret)
{
	struct budget b = {.d_min = MTIME_NEVER};
	mtime rest;

	for (unsigned i = 0; i < in->n_peers; i++)
		b.d_min = mtime_min(b.d_min, soonest_start(in->advert_int, in->peer_priorities[i]));

	rest = b.d_min == MTIME_NEVER ? MTIME_NEVER : b.d_min - BUDGET_KILL;
	b.renewal_need = in->advert_int * 12 / 10 + 2 * BUDGET_ANSWER;
	b.renewal_fits = b.renewal_need < rest;
	b.tier0 = b.renewal_fits && rest >= 2 * in->advert_int;
	b.life = rest >= 2 * in->advert_int ? rest : 2 * in->advert_int + MTIME_MS(20);
	b.engine_timeout = mtime_min(MTIME_SEC(1), mtime_max(b.d_min / 3, MTIME_MS(50)));
	b.fence_timeout = mtime_min(in->advert_int / 2, MTIME_MS(50));
	*ret = b;
}
