/* SPDX-License-Identifier: MIT */
#include "supd/keeper/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/fd.h"

#define CGROUP_DEPTH_MAX 32  /* of what a program may have made below its leaf */
#define CGROUP_KILL_PASSES 64 /* without cgroup.kill: a tree that forks faster than this wins */
#define CGROUP_LEAF_TRIES 65536u

/* ---- finding ---------------------------------------------------------------------------- */

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; out++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*out = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out = *s++;
		}
	}
	*out = '\0';
}

/* "36 35 0:31 ROOT MOUNTPOINT rw,nosuid shared:9 - cgroup2 cgroup rw" */
static bool parse_mount(char *line, const char **ret_root, const char **ret_point)
{
	char *type = strstr(line, " - cgroup2 ");
	char *save = NULL, *field = strtok_r(line, " ", &save);

	if (!type)
		return false;
	for (int i = 0; i < 3 && field; i++)
		field = strtok_r(NULL, " ", &save);
	*ret_root = field;
	*ret_point = field ? strtok_r(NULL, " ", &save) : NULL;
	return *ret_point != NULL;
}

static int find_mount(char *ret_root, char *ret_point)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	const char *root, *point;
	char *line = NULL;
	size_t size = 0;
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r < 0 && getline(&line, &size, f) > 0) {
		if (!parse_mount(line, &root, &point))
			continue;
		if (strlen(root) >= CGROUP_PATH_MAX || strlen(point) >= CGROUP_PATH_MAX)
			continue;
		strcpy(ret_root, root);
		strcpy(ret_point, point);
		unescape(ret_root);
		unescape(ret_point);
		r = 0;
	}
	free(line);
	fclose(f);
	return r;
}

static int find_own(char *ret_path)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[CGROUP_PATH_MAX + 8];
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r < 0 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0 && strlen(line + 3) < CGROUP_PATH_MAX) {
			strcpy(ret_path, line + 3);
			r = 0;
		}
	}
	fclose(f);
	return r;
}

/* Cut a path before its component `name`. */
static void cut_before(char *path, const char *name)
{
	size_t len = strlen(name);

	for (char *at = strstr(path, name); at; at = strstr(at + 1, name)) {
		if (at > path && at[-1] == '/' && (at[len] == '/' || at[len] == '\0')) {
			at[-1] = '\0';
			return;
		}
	}
}

int cgroup_find(const char *tree, struct cgroup_place *ret)
{
	char root[CGROUP_PATH_MAX], own[CGROUP_PATH_MAX];
	size_t root_len;
	int r = find_mount(root, ret->mount);

	if (r == 0)
		r = find_own(own);
	if (r < 0)
		return r;
	/* What is mounted may be a part of the hierarchy; a path out of it starts with "/..". */
	root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(own, root, root_len) != 0 || strncmp(own, "/..", 3) == 0)
		ret->base[0] = '\0';
	else
		strcpy(ret->base, own + root_len);
	if (strcmp(ret->base, "/") == 0)
		ret->base[0] = '\0';
	cut_before(ret->base, tree);
	return 0;
}

/* ---- directories ------------------------------------------------------------------------- */

/* The descriptor, or -errno. */
static int open_dir(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int cgroup_make(int parent_fd, const char *name, int *ret_fd)
{
	int fd;

	if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = open_dir(parent_fd, name);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* Where fn removes what it is given, readdir of the rest goes on: kernfs orders by hash. */
int cgroup_each(int dir_fd, int (*fn)(int dir_fd, const char *name, void *arg), void *arg)
{
	int fd = open_dir(dir_fd, "."), r = 0;
	struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (d = readdir(dir)))
		if (d->d_type == DT_DIR && d->d_name[0] != '.')
			r = fn(dir_fd, d->d_name, arg);
	closedir(dir);
	return r;
}

static int remove_below(int parent_fd, const char *name, void *arg)
{
	const unsigned *depth = arg;
	unsigned deeper = *depth + 1;
	int fd, r;

	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	r = -errno;
	if (r != -EBUSY || deeper > CGROUP_DEPTH_MAX)
		return r;
	fd = open_dir(parent_fd, name);
	if (fd < 0)
		return fd;
	r = cgroup_each(fd, remove_below, &deeper);
	close(fd);
	if (r == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int cgroup_remove(int parent_fd, const char *name)
{
	unsigned depth = 0;

	return remove_below(parent_fd, name, &depth);
}

int cgroup_join(int dir_fd)
{
	int fd = openat(dir_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, "0", 1);
	close(fd);
	return r;
}

/* ---- leaves ------------------------------------------------------------------------------- */

static void leaf_close(struct cgroup_leaf *l)
{
	fd_close(&l->dir_fd);
	fd_close(&l->kill_fd);
	fd_close(&l->events_fd);
}

static int leaf_open(struct cgroup_leaf *l)
{
	l->dir_fd = open_dir(l->parent_fd, l->name);
	if (l->dir_fd < 0)
		return l->dir_fd;
	l->events_fd = openat(l->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (l->events_fd < 0)
		return -errno;
	l->kill_fd = openat(l->dir_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (l->kill_fd < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int cgroup_leaf_make(int parent_fd, const char *name, unsigned *n, struct cgroup_leaf *ret)
{
	struct cgroup_leaf l = CGROUP_LEAF_NONE;
	int r = -EEXIST;

	l.parent_fd = parent_fd;
	for (unsigned i = 0; r == -EEXIST && i < CGROUP_LEAF_TRIES; i++) {
		snprintf(l.name, sizeof(l.name), "%s.%u", name, (*n)++);
		r = mkdirat(parent_fd, l.name, 0755) < 0 ? -errno : 0;
	}
	if (r < 0)
		return r;
	r = leaf_open(&l);
	if (r < 0) {
		leaf_close(&l);
		unlinkat(parent_fd, l.name, AT_REMOVEDIR);
		return r;
	}
	*ret = l;
	return 0;
}

int cgroup_leaf_open(int parent_fd, const char *name, struct cgroup_leaf *ret)
{
	struct cgroup_leaf l = CGROUP_LEAF_NONE;
	int r;

	l.parent_fd = parent_fd;
	if ((size_t)snprintf(l.name, sizeof(l.name), "%s", name) >= sizeof(l.name))
		return -ENAMETOOLONG;
	r = leaf_open(&l);
	if (r < 0)
		leaf_close(&l);
	else
		*ret = l;
	return r;
}

void cgroup_leaf_drop(struct cgroup_leaf *l)
{
	if (l->dir_fd < 0)
		return;
	leaf_close(l);
	cgroup_remove(l->parent_fd, l->name);
	*l = CGROUP_LEAF_NONE;
}

int cgroup_populated(int events_fd)
{
	char text[256];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);
	const char *at;

	if (n < 0) /* ENODEV: the directory is gone, and everything with it */
		return errno == ENODEV ? 0 : -errno;
	text[n] = '\0';
	at = strstr(text, "populated ");
	return at ? at[10] == '1' : -EBADMSG;
}

/* ---- killing ------------------------------------------------------------------------------- */

struct procs_kill {
	unsigned depth;
	unsigned seen; /* processes found alive in this pass */
};

static void freeze(int dir_fd, const char *value)
{
	int fd = openat(dir_fd, "cgroup.freeze", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, value, 1);
	close(fd);
}

static int kill_procs(int parent_fd, const char *name, void *arg)
{
	struct procs_kill *k = arg;
	int dir_fd = open_dir(parent_fd, name), fd;
	FILE *f;
	long pid;

	if (dir_fd < 0)
		return dir_fd == -ENOENT ? 0 : dir_fd;
	fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	while (f && fscanf(f, "%ld", &pid) == 1)
		if (pid > 1 && kill((pid_t)pid, SIGKILL) == 0)
			k->seen++;
	if (f)
		fclose(f);
	if (++k->depth < CGROUP_DEPTH_MAX)
		cgroup_each(dir_fd, kill_procs, k);
	k->depth--;
	close(dir_fd);
	return 0;
}

/*
 * Before 5.14: nothing in a frozen tree forks, and SIGKILL reaches what is frozen.  Passes go on
 * until one finds nobody, or only those who have their SIGKILL already.
 */
static int kill_one_by_one(int dir_fd)
{
	unsigned before = 0;

	freeze(dir_fd, "1");
	for (int i = 0; i < CGROUP_KILL_PASSES; i++) {
		struct procs_kill k = { 0 };

		kill_procs(dir_fd, ".", &k);
		if (k.seen == 0 || (i > 1 && k.seen == before))
			break;
		before = k.seen;
	}
	freeze(dir_fd, "0");
	return 0;
}

int cgroup_kill(int dir_fd, int kill_fd)
{
	if (kill_fd < 0)
		return kill_one_by_one(dir_fd);
	return write(kill_fd, "1", 1) == 1 ? 0 : -errno;
}

int cgroup_leaf_kill(const struct cgroup_leaf *l)
{
	return l->dir_fd < 0 ? 0 : cgroup_kill(l->dir_fd, l->kill_fd);
}

int cgroup_write(int dir_fd, const char *file, const char *text)
{
	int fd = openat(dir_fd, file, O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int cgroup_enable(int dir_fd, const char *controller)
{
	return cgroup_write(dir_fd, "cgroup.subtree_control", controller);
}
