/* SPDX-License-Identifier: MIT */
#include "common/mtime.h"

#include <time.h>

mtime mtime_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return MTIME_SEC(ts.tv_sec) + ts.tv_nsec;
}
