/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_SPAWN_H
#define SUPD_KEEPER_SPAWN_H

#include <stddef.h>

#include "supd/ipc/msg.h"

struct guard;
struct hook;
struct keeper;
struct program;

/*
 * Clone a program's child into its `next` leaf and, where there is a guard, its PID namespace.
 * Fills pid, pidfd, exec_fd and block of p->run.  0, or -errno and the stage.  -ENOMEM at stage
 * clone with a guard: that guard is dead.
 */
int spawn_program(struct keeper *k, struct program *p, const struct ipc_start *s,
		  const struct guard *g, enum ipc_stage *ret_stage);

/*
 * Clone the child of a hook into its leaf: that of a service as root, in no namespace but the
 * keeper's, its output thrown away; that of a program as the program itself.  Fills pid, pidfd,
 * exec_fd and block of the hook.  0 or -errno; -ENOMEM with a guard: that guard is dead, perhaps.
 */
int spawn_hook(struct keeper *k, struct hook *hook, const struct guard *g);

/* After exec: give it the oom_score_adj of its program (NULL: none), or that of supd's start. */
void spawn_set_oom(const struct keeper *k, const struct model_program *mp, pid_t pid);

/* The stack and arguments of a child that has exec'd or died. */
void spawn_free_block(void **block, size_t size);

/* Go back to the own PID namespace, where that failed before: 0 or -errno. */
int spawn_own_namespace(struct keeper *k);

#endif
