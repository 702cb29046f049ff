/* SPDX-License-Identifier: MIT */
#include "supd/scribe/log_history.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/scribe/rotate.h"

static int stat_number(const struct log_history *h, uint32_t n, struct stat *ret)
{
	char name[PATH_MAX];
	int r = rotate_name(name, sizeof(name), h->real ? h->real : h->path, n);

	if (r == 0 && stat(name, ret) < 0)
		r = -errno;
	return r;
}

/* Another one in place of the one that is open, which stays where it fails. */
static int open_number(struct log_history *h, uint32_t n)
{
	char name[PATH_MAX];
	struct stat st;
	int fd, r = rotate_name(name, sizeof(name), h->real ? h->real : h->path, n);

	if (r < 0)
		return r;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -ENOTSUP;
	if (r < 0) {
		close(fd);
		return r;
	}
	fd_close(&h->fd);
	h->fd = fd;
	h->dev = st.st_dev;
	h->ino = st.st_ino;
	h->at = 0;
	return 0;
}

static int open_newest(struct log_history *h)
{
	if (!h->real)
		h->real = realpath(h->path, NULL);
	return h->real ? open_number(h, 0) : -errno;
}

static int go_to_end(struct log_history *h)
{
	struct stat st;

	if (fstat(h->fd, &st) < 0)
		return -errno;
	h->at = st.st_size;
	return 0;
}

int log_history_open(struct log_history *h, const char *path, uint32_t backups)
{
	int r;

	memset(h, 0, sizeof(*h));
	h->path = path;
	h->backups = backups;
	h->fd = -1;
	r = open_newest(h);
	return r == 0 ? go_to_end(h) : r;
}

void log_history_close(struct log_history *h)
{
	fd_close(&h->fd);
	free(h->real);
	h->real = NULL;
}

/* The number that the open log has by now; -ENOENT: it is not in the row any more. */
static int number_of(const struct log_history *h, uint32_t *ret)
{
	struct stat st;

	for (uint32_t n = 0; n <= h->backups; n++) {
		if (stat_number(h, n, &st) < 0 || st.st_dev != h->dev || st.st_ino != h->ino)
			continue;
		*ret = n;
		return 0;
	}
	return -ENOENT;
}

int log_history_older(struct log_history *h)
{
	uint32_t n;
	int r = number_of(h, &n);

	if (r == 0)
		r = n < h->backups ? open_number(h, n + 1) : -ENOENT;
	return r == 0 ? go_to_end(h) : r;
}

static int open_oldest(struct log_history *h)
{
	int r = -ENOENT;

	for (uint32_t n = h->backups + 1; n > 0 && r == -ENOENT; n--)
		r = open_number(h, n - 1);
	return r;
}

int log_history_newer(struct log_history *h)
{
	uint32_t n;
	int r;

	if (h->fd < 0)
		return open_newest(h);
	r = number_of(h, &n);
	if (r == -ENOENT)
		return open_oldest(h);
	return n > 0 ? open_number(h, n - 1) : -ENOENT;
}

ssize_t log_history_read_back(struct log_history *h, char *buf, size_t len)
{
	ssize_t n;

	if ((off_t)len > h->at)
		len = (size_t)h->at;
	n = pread(h->fd, buf, len, h->at - (off_t)len);
	if (n < 0)
		return -errno;
	if ((size_t)n < len) { /* truncated meanwhile: what was there is gone */
		h->at = 0;
		return 0;
	}
	h->at -= (off_t)len;
	return n;
}

ssize_t log_history_read(struct log_history *h, char *buf, size_t len)
{
	struct stat st;
	ssize_t n;

	if (h->fd < 0)
		return 0;
	n = pread(h->fd, buf, len, h->at);
	if (n == 0 && fstat(h->fd, &st) == 0 && st.st_size < h->at) {
		h->at = 0;
		n = pread(h->fd, buf, len, 0);
	}
	if (n < 0)
		return -errno;
	h->at += n;
	return n;
}
