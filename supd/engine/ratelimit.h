/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_RATELIMIT_H
#define SUPD_ENGINE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"

/*
 * For log lines that a network peer, or a fault that lasts, could repeat without end: the first one
 * passes, then at most one a minute, which says how many were left out.
 */
#define RATELIMIT_INTERVAL MTIME_SEC(60)

struct ratelimit {
	mtime last; /* 0: none passed yet */
	uint64_t missed;
};

/* Whether to log now; *ret_missed: how many were left out since the last one. */
static inline bool ratelimit_pass(struct ratelimit *r, mtime now, uint64_t *ret_missed)
{
	if (r->last != 0 && now - r->last < RATELIMIT_INTERVAL) {
		r->missed++;
		return false;
	}
	*ret_missed = r->missed;
	r->last = now;
	r->missed = 0;
	return true;
}

#endif
