/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_STALL_H
#define SUPD_SCRIBE_STALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A second thread that steps in while the first is stuck.
 *
 * The loop says when it begins to work (stall_begin) and when it waits for events again
 * (stall_end).  Work that lasts longer than 200 ms is stuck, on a disk most likely: then the
 * thread calls `relieve` every 20 ms until the work ends.  With nothing to watch it sleeps.
 */
struct stall {
	pthread_t thread;
	bool started;
	int wake_fd; /* eventfd */
	atomic_int_fast64_t busy_since; /* mtime; 0: the loop waits */
	atomic_bool parked, stop;
	void (*relieve)(void *arg); /* in the second thread; must not block */
	void *arg;
};

/* 0 or -errno; then the rest are no-ops. */
int stall_init(struct stall *s, void (*relieve)(void *arg), void *arg);
void stall_fini(struct stall *s);
void stall_begin(struct stall *s);
void stall_end(struct stall *s);

#endif
