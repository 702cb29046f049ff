/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_DAEMON_H
#define SUPD_KEEPER_DAEMON_H

#include <stdbool.h>

struct keeper;
struct program;

/*
 * type = forking: the process that was started ends with 0, and leaves a daemon whose pid it (or
 * the daemon) writes into a file.  The file is not believed: only a process of the run's own cgroup
 * can become its main process.
 */

/* Begin to look for it; run_found() or run_not_found() follow.  0 or -errno. */
int daemon_seek(struct keeper *k, struct program *p);
/* Stop looking; neither follows. */
void daemon_stop_seeking(struct keeper *k, struct program *p);

/* How a process ended that is not our child, by its pidfd; code -1 and signo 0: nobody knows. */
void daemon_end(int pidfd, int *ret_code, int *ret_signo);

#endif
