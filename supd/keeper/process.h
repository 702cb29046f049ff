/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_PROCESS_H
#define SUPD_KEEPER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct inherited;
struct model;

/* Children of the keeper that are forked without exec (roles and guards), and pidfds. */

/*
 * The keeper's own process: every signal blocked for good (they come by signalfd, and no handler
 * can run in a child that shares the memory), many descriptors, early in the scheduler and late
 * for the OOM killer where that is allowed.  What it was before goes to *ret.
 */
void process_prepare(struct inherited *ret);
/* What the calling process ignores now: bit signo - 1. */
uint64_t process_ignored_signals(void);

/* clone3, fork-like, with CLONE_PIDFD.  0 in the child, the pid, or -errno.  cgroup_fd -1: stay. */
pid_t process_fork(int cgroup_fd, uint64_t flags, int *ret_pidfd);

/* In a fork: default dispositions, nothing blocked. */
void process_reset_signals(void);

/* In a fork: to the configured user, with no capability but (if asked) those of net; no return from
 * there.  0 or -errno. */
int process_confine(const struct model *m, bool net);

int process_signal(int pidfd, int signo);

/*
 * Reap a child that has ended: true, and exit code or -1, signal or 0.  False is possible although
 * its pidfd is readable, for as long as a debugger holds it: stop watching, and look again with
 * the tick, or the loop spins.
 */
bool process_reap(int pidfd, int *ret_code, int *ret_signo);

/* Whether it is on its way out, or gone. */
bool process_is_dying(pid_t pid);

/* Write a small file of /proc/PID: 0 or -errno. */
int process_write_proc(pid_t pid, const char *name, const char *text);

#endif
