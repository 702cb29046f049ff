/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_STRAY_H
#define SUPD_KEEPER_STRAY_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Processes that left their program's cgroup, while others of the service must live on.  They are
 * children of whoever inherits orphans, the guard or the keeper (proc(5), "children"), and tell by
 * SUPD_PROGRAM in their environment whose they are.  One without it, outside of supd's cgroups, is
 * taken for the program's; without cgroups it stays until QUIESCE.
 *
 * Kills those of `program`; true: some were found, look again.  `tree` is the name of supd's cgroup,
 * whose members are somebody's run; NULL: without cgroups all of that name are meant.
 */
bool stray_kill(pid_t parent, const char *tree, const char *program);

#endif
