/* SPDX-License-Identifier: MIT */
#include "supd/keeper/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock_file(int fd, const char *path, pid_t *ret_holder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st, there;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1)
		return -EPERM;
	if (fcntl(fd, F_SETLK, &lock) < 0) {
		*ret_holder = 0;
		if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
			*ret_holder = lock.l_pid;
		return -EBUSY;
	}
	/* A supd that was just ending may have removed the name between our open and our lock. */
	if (lstat(path, &there) < 0 || there.st_ino != st.st_ino || there.st_dev != st.st_dev)
		return -EAGAIN;
	return 0;
}

static int try_lock(const char *path, int *ret_fd, pid_t *ret_holder)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644), r;

	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	r = lock_file(fd, path, ret_holder);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int pidfile_lock(const char *path, int *ret_fd, pid_t *ret_holder)
{
	char text[16];
	int n, r;

	do
		r = try_lock(path, ret_fd, ret_holder);
	while (r == -EAGAIN);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(*ret_fd, 0) < 0 || pwrite(*ret_fd, text, (size_t)n, 0) != n) {
		r = errno ? -errno : -EIO;
		close(*ret_fd);
		*ret_fd = -1;
	}
	return r;
}
