/* SPDX-License-Identifier: MIT */
#include "supd/scribe/stall.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/mtime.h"

#define STUCK_AFTER    MTIME_MS(200)
#define RELIEVE_PERIOD MTIME_MS(20)

static void sleep_for(mtime d)
{
	struct timespec ts = {.tv_sec = d / MTIME_SEC(1), .tv_nsec = d % MTIME_SEC(1)};

	nanosleep(&ts, NULL);
}

/*
 * Sleep until the loop has something to do.  No wake-up is lost: here `parked` is set before
 * busy_since is read, there busy_since is set before `parked` is read.
 */
static void park(struct stall *s)
{
	uint64_t count;

	atomic_store(&s->parked, true);
	while (atomic_load(&s->busy_since) == 0 && !atomic_load(&s->stop))
		if (read(s->wake_fd, &count, sizeof(count)) < 0 && errno != EINTR)
			break;
	atomic_store(&s->parked, false);
}

static void *stall_thread(void *arg)
{
	struct stall *s = arg;

	while (!atomic_load(&s->stop)) {
		mtime since = atomic_load(&s->busy_since);

		if (since == 0) {
			park(s);
			sleep_for(STUCK_AFTER);
		} else if (mtime_now() - since < STUCK_AFTER) {
			sleep_for(STUCK_AFTER);
		} else {
			s->relieve(s->arg);
			sleep_for(RELIEVE_PERIOD);
		}
	}
	return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct stall *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, stall_thread, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int stall_init(struct stall *s, void (*relieve)(void *arg), void *arg)
{
	int r;

	s->started = false;
	s->relieve = relieve;
	s->arg = arg;
	atomic_init(&s->busy_since, 0);
	atomic_init(&s->parked, false);
	atomic_init(&s->stop, false);
	s->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (s->wake_fd < 0)
		return -errno;
	r = start_thread(s);
	if (r < 0)
		fd_close(&s->wake_fd);
	s->started = r == 0;
	return r;
}

static void wake(struct stall *s)
{
	uint64_t one = 1;

	while (write(s->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void stall_begin(struct stall *s)
{
	if (!s->started)
		return;
	atomic_store(&s->busy_since, mtime_now());
	if (atomic_exchange(&s->parked, false))
		wake(s);
}

void stall_end(struct stall *s)
{
	atomic_store(&s->busy_since, 0);
}

void stall_fini(struct stall *s)
{
	if (!s->started)
		return;
	atomic_store(&s->stop, true);
	wake(s);
	pthread_join(s->thread, NULL);
	fd_close(&s->wake_fd);
	s->started = false;
}
