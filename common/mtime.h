/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_MTIME_H
#define SUPD_COMMON_MTIME_H

#include <stdint.h>

/*
 * Time, as all of supd counts it: nanoseconds of CLOCK_BOOTTIME (clock_gettime(2)), which does
 * not jump with the wall clock and goes on during a suspend.  Points in time and durations share
 * the type.  Clocks of two hosts are never compared.
 */
typedef int64_t mtime;

#define MTIME_NEVER  INT64_MAX
#define MTIME_US(n)  ((mtime)(n)*1000)
#define MTIME_MS(n)  ((mtime)(n)*1000000)
#define MTIME_SEC(n) ((mtime)(n)*1000000000)

/* The time now.  For shells only: core/ is given its time. */
mtime mtime_now(void);

static inline mtime mtime_min(mtime a, mtime b)
{
	return a < b ? a : b;
}

static inline mtime mtime_max(mtime a, mtime b)
{
	return a > b ? a : b;
}

/* t + d, staying at MTIME_NEVER when either is. */
static inline mtime mtime_add(mtime t, mtime d)
{
	return t == MTIME_NEVER || d >= MTIME_NEVER - t ? MTIME_NEVER : t + d;
}

/* Whole milliseconds of a duration, rounded towards zero. */
static inline int64_t mtime_to_ms(mtime d)
{
	return d / 1000000;
}

#endif
