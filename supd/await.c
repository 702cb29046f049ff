/* SPDX-License-Identifier: MIT */
#include "supd/await.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/config/loader.h"
#include "supd/config/model.h"
#include "supd/keeper/keeper.h"
#include "supd/keeper/notify.h"

/* Whoever started a daemon must not wait for its stdout and stderr to be closed either. */
static void let_parent_go(int *ready_fd)
{
	const char zero = 0;
	int null;

	if (*ready_fd < 0)
		return;
	(void)!write(*ready_fd, &zero, 1);
	fd_close(ready_fd);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	fd_close(&null);
}

/* The next second, or what we are told meanwhile.  1: to end. */
static int wait_a_second(const sigset_t *signals)
{
	const struct timespec second = { .tv_sec = 1 };
	int signo = sigtimedwait(signals, NULL, &second);

	return signo == SIGTERM || signo == SIGINT;
}

static int wait_for_address(const struct model *m, int *ret_self)
{
	sigset_t signals, before;
	int end = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP); /* nothing runs yet that could be reloaded */
	sigprocmask(SIG_BLOCK, &signals, &before);
	do {
		end = wait_a_second(&signals);
		*ret_self = loader_find_self(m);
	} while (*ret_self == MODEL_NONE && !end);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return end;
}

static const struct model *with_self(const struct model *m, int self)
{
	struct model *copy = malloc(m->size);

	if (copy) {
		memcpy(copy, m, m->size);
		copy->self = self;
	}
	return copy;
}

int await_self(struct keeper_args *args)
{
	int r, self = loader_find_self(args->m);

	if (self == MODEL_NONE) {
		r = keeper_lock(args->m, &args->lock_fd);
		if (r < 0)
			return r;
		log_warn("no address of a [node:*] section is on this machine yet, waiting for one");
		notify_systemd("READY=1\nSTATUS=waiting for the address of a node");
		let_parent_go(&args->ready_fd);
		if (wait_for_address(args->m, &self) != 0) {
			keeper_unlock(args->m, &args->lock_fd);
			return 1;
		}
	}
	args->m = with_self(args->m, self);
	return args->m ? 0 : -ENOMEM;
}
