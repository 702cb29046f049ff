/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_SPAWN_CHILD_H
#define SUPD_KEEPER_SPAWN_CHILD_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/mtime.h"
#include "supd/config/model.h"

/* Everything that the child needs, prepared by the keeper, in whose memory the child runs. */
struct spawn_child {
	int status_fd; /* CLOEXEC pipe: a struct spawn_status, or EOF at exec */
	int null_fd, stdout_fd, stderr_fd;
	int mnt_ns; /* -1: stay */
	const char *directory;
	const char *const *argv, *const *envp;
	uid_t uid;
	gid_t gid;
	uint32_t n_groups;
	const gid_t *groups;
	mode_t umask;
	int nice;
	uint64_t ignored; /* signals to be reset: bit signo - 1 */
	struct rlimit nofile;
	const struct model_rlimit *rlimits; /* MODEL_RLIMITS of them; NULL: none */
	pid_t keeper; /* must be the parent still; 0: cannot be seen from here */
	mtime valid_until;
};

struct spawn_status {
	uint32_t stage; /* enum ipc_stage */
	int32_t error;
};

/* The child's whole life before execve; `arg` is a struct spawn_child.  Does not return. */
void spawn_child(void *arg);

#endif
