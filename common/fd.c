/* SPDX-License-Identifier: MIT */
#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_pipe(int ret_fds[2], int flags)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | flags) < 0)
		return -errno;
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The smallest of `keep` that is at least `low`, or -1. */
static int next_kept(const int *keep, size_t n_keep, int low)
{
	int found = -1;

	for (size_t i = 0; i < n_keep; i++)
		if (keep[i] >= low && (found < 0 || keep[i] < found))
			found = keep[i];
	return found;
}

void fd_close_all_but(const int *keep, size_t n_keep)
{
	int low = STDERR_FILENO + 1;

	for (;;) {
		int kept = next_kept(keep, n_keep, low);

		if (kept < 0)
			break;
		if (kept > low)
			close_range((unsigned)low, (unsigned)kept - 1, 0);
		low = kept + 1;
	}
	close_range((unsigned)low, ~0u, 0);
}

static int make_one(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Ownership is changed only where it differs: an unprivileged run with the right owner works. */
static int give_directory(const char *path, uid_t uid, gid_t gid)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		r = -errno;
	close(fd);
	return r;
}

int fd_mkdir_parents(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int r;

	if (len == 0 || len >= sizeof(part))
		return len == 0 ? -EINVAL : -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = make_one(part, mode | 0111); /* the owner of the last one must pass */
		*slash = '/';
		if (r < 0)
			return r;
	}
	r = make_one(part, mode);
	return r < 0 ? r : give_directory(part, uid, gid);
}
