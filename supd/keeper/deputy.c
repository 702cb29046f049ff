/* SPDX-License-Identifier: MIT */
#include "supd/keeper/deputy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/keeper/process.h"
#include "supd/keeper/spawn.h"
#include "supd/keeper/state.h"
#include "supd/keeper/title.h"

static void kill_all_in(int kill_fd)
{
	if (kill_fd >= 0)
		(void)!write(kill_fd, "1", 1);
}

/* The soonest deadline that is still to come; what has passed is carried out. */
static mtime keep_deadlines(struct keeper *k)
{
	mtime now = mtime_now(), next = MTIME_NEVER;

	for (uint32_t i = 0; i < k->m->n_services; i++) {
		struct service *s = &k->services[i];

		if (s->kill_at <= now) {
			kill_all_in(s->kill_fd);
			s->kill_at = MTIME_NEVER;
		}
		next = mtime_min(next, s->kill_at);
	}
	return next;
}

/* poll(2) counts a time in which the host was suspended not: it looks at least once a second. */
static bool keeper_dies_before(const struct keeper *k, mtime at)
{
	struct pollfd p = { .fd = k->self_pidfd, .events = POLLIN };
	mtime left = mtime_min(at - mtime_now(), MTIME_SEC(1));
	struct timespec wait = { 0 };

	if (left > 0)
		wait = (struct timespec){ left / MTIME_SEC(1), left % MTIME_SEC(1) };
	return ppoll(&p, 1, &wait, NULL) > 0;
}

__attribute__((noreturn)) static void deputy_main(struct keeper *k, const int *fds, size_t n)
{
	fd_close_all_but(fds, n);
	title_set(&k->title, "deputy", NULL);
	while (!keeper_dies_before(k, keep_deadlines(k)))
		continue;
	kill_all_in(k->programs_kill_fd);
	_exit(0);
}

pid_t deputy_start(struct keeper *k)
{
	int *fds = calloc(k->m->n_services + 2, sizeof(*fds)), pidfd = -1;
	int r = fds ? spawn_own_namespace(k) : -ENOMEM;
	size_t n = 0;

	if (r < 0) {
		free(fds);
		return r;
	}
	fds[n++] = k->self_pidfd;
	fds[n++] = k->programs_kill_fd;
	for (uint32_t i = 0; i < k->m->n_services; i++)
		fds[n++] = k->services[i].kill_fd;
	r = process_fork(-1, 0, &pidfd);
	if (r == 0)
		deputy_main(k, fds, n);
	free(fds);
	fd_close(&pidfd);
	return r;
}

void deputy_end(pid_t pid)
{
	if (pid > 0)
		kill(pid, SIGKILL);
}
