/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_FD_H
#define SUPD_COMMON_FD_H

#include <stddef.h>
#include <sys/types.h>

/* A descriptor starts at -1, is tested >= 0, and is closed by its one owner with this. */
void fd_close(int *fd);

int fd_set_nonblock(int fd);

/* pipe2 with O_CLOEXEC | flags; 0 or -errno. */
int fd_pipe(int ret_fds[2], int flags);

/* Write all of buf to a blocking descriptor; 0 or -errno. */
int fd_write_all(int fd, const void *buf, size_t len);

/* Close every descriptor but 0, 1, 2 and those of `keep` (ascending order not required). */
void fd_close_all_but(const int *keep, size_t n_keep);

/* Create `path` and its missing parents with `mode`; the last component is given to uid:gid. 0 or -errno. */
int fd_mkdir_parents(const char *path, mode_t mode, uid_t uid, gid_t gid);

#endif
