/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_PIDFILE_H
#define SUPD_KEEPER_PIDFILE_H

#include <sys/types.h>

/*
 * Lock `path`, and write the own pid into it.  The lock is one of fcntl(F_SETLK): no fork, and no
 * child with a copy of the descriptor, inherits or keeps it; it ends with this process.
 * 0 and *ret_fd (to be held); -EBUSY: *ret_holder has it; -EPERM: the path is not a plain file of
 * ours (the directory belongs to the user that supd runs as); -errno.
 */
int pidfile_lock(const char *path, int *ret_fd, pid_t *ret_holder);

#endif
