/* SPDX-License-Identifier: MIT */
#include "supd/scribe/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"

/* A missing directory must not look like a missing file: that one means "the first start ever". */
static int open_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return errno == ENOENT ? -ENOTDIR : -errno;
}

static int file_name(char *buf, size_t size, const char *node, const char *suffix)
{
	int n = snprintf(buf, size, "%s.state%s", node, suffix);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* A new file with the text, on the disk. */
static int write_synced(int dir_fd, const char *name, const char *text, size_t len)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, text, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int replace(int dir_fd, const char *temporary, const char *name, const char *text,
		   size_t len)
{
	int r = write_synced(dir_fd, temporary, text, len);

	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, temporary, 0);
		return r;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int state_file_save(const char *dir, const char *node, const char *text, size_t len)
{
	char name[NAME_MAX + 1], temporary[NAME_MAX + 1];
	int dir_fd, r;

	r = file_name(name, sizeof(name), node, "");
	if (r == 0)
		r = file_name(temporary, sizeof(temporary), node, ".tmp");
	if (r < 0)
		return r;
	dir_fd = open_dir(dir);
	if (dir_fd < 0)
		return dir_fd;
	r = replace(dir_fd, temporary, name, text, len);
	close(dir_fd);
	return r;
}

static int read_whole(int fd, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;
	char extra;

	for (;;) {
		ssize_t n = len < size ? read(fd, buf + len, size - len) : read(fd, &extra, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if (len == size)
			return -EFBIG;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int state_file_load(const char *dir, const char *node, char *buf, size_t size, size_t *ret_len)
{
	char name[NAME_MAX + 1];
	int dir_fd, fd, r;

	r = file_name(name, sizeof(name), node, "");
	if (r < 0)
		return r;
	dir_fd = open_dir(dir);
	if (dir_fd < 0)
		return dir_fd;
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	r = fd < 0 ? -errno : read_whole(fd, buf, size, ret_len);
	fd_close(&fd);
	close(dir_fd);
	return r;
}
