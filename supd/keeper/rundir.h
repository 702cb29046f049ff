/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_RUNDIR_H
#define SUPD_KEEPER_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"

/* What supd keeps in run_dir, beside supd.pid.  Problems are logged here; 0 or -errno. */

/* run_dir, state_dir and log_dir, with their parents; the last component belongs to `user`. */
int rundir_make(const struct model *m);

/*
 * Lock state_dir/NODE.lock: one supd a node, whatever its run_dir is called.  -EBUSY: another supd
 * has it.  A directory that takes no lock (read-only, full) is logged, and is no error.
 */
int rundir_lock_state(const struct model *m, int *ret_fd);

/* The listening control socket, run_dir/supd.sock. */
int rundir_bind_socket(const struct model *m, int *ret_fd);

/* The cgroup of this supd (path below the mount), for the next one; and that of the last one. */
int rundir_record_cgroup(const struct model *m, const char *path);
int rundir_recorded_cgroup(const struct model *m, char *ret_path, size_t size);

/* Remove record and pid file, and the socket where it is ours. */
void rundir_clean(const struct model *m, bool with_socket);

/* "run_dir/name" into buf: 0 or -ENAMETOOLONG. */
int rundir_path(const struct model *m, const char *name, char *buf, size_t size);

/* "supd-<cluster>-<node>-<hash of run_dir>" */
void rundir_tree_name(const struct model *m, char *buf, size_t size);

#endif
