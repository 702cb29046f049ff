/* SPDX-License-Identifier: MIT */
#include "supd/scribe/rotate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t rotate_cut(const char *text, size_t len, uint64_t room, bool at_line_end)
{
	size_t within = room < len ? (size_t)room : len;
	const char *end;

	if (len <= room)
		return len;
	end = memrchr(text, '\n', within);
	if (end)
		return (size_t)(end - text) + 1;
	if (at_line_end)
		return 0;
	end = memchr(text + within, '\n', len - within);
	return end ? (size_t)(end - text) + 1 : len;
}

int rotate_name(char *buf, size_t size, const char *path, uint32_t number)
{
	int n = number == 0 ? snprintf(buf, size, "%s", path)
			    : snprintf(buf, size, "%s.%u", path, (unsigned)number);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int move(const char *path, uint32_t from, uint32_t to)
{
	char a[PATH_MAX], b[PATH_MAX];
	int r = rotate_name(a, sizeof(a), path, from);

	if (r == 0)
		r = rotate_name(b, sizeof(b), path, to);
	if (r == 0 && rename(a, b) < 0)
		r = -errno;
	return r;
}

static bool is_there(const char *path, uint32_t number)
{
	char name[PATH_MAX];
	struct stat st;

	return rotate_name(name, sizeof(name), path, number) == 0 && lstat(name, &st) == 0;
}

int rotate_files(const char *path, uint32_t backups)
{
	uint32_t to = 1;
	int r = 0;

	if (backups == 0)
		return unlink(path) < 0 ? -errno : 0;
	while (to < backups && is_there(path, to))
		to++;
	for (; to > 0 && r == 0; to--)
		r = move(path, to - 1, to);
	return r;
}
