/* SPDX-License-Identifier: MIT */
#include "supd/keeper/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/pidfile.h"

#define CONTROL_BACKLOG 64

int rundir_path(const struct model *m, const char *name, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s/%s", model_str(m, m->supd.run_dir), name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* FNV-1a: which of several supds on one machine a tree belongs to. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

void rundir_tree_name(const struct model *m, char *buf, size_t size)
{
	snprintf(buf, size, "supd-%s-%s-%016llx", model_str(m, m->supd.cluster),
		 model_node_name(m, (uint32_t)m->self),
		 (unsigned long long)hash(model_str(m, m->supd.run_dir)));
}

int rundir_lock_state(const struct model *m, int *ret_fd)
{
	const char *dir = model_str(m, m->supd.state_dir);
	char path[PATH_MAX];
	pid_t holder = 0;
	int n = snprintf(path, sizeof(path), "%s/%s.lock", dir,
			 model_node_name(m, (uint32_t)m->self));
	int r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG
						   : pidfile_lock(path, ret_fd, &holder);

	if (r == -EBUSY) {
		log_error("another supd runs for this node, pid %d: it holds %s", (int)holder, path);
		return r;
	}
	if (r < 0)
		log_warn("cannot lock %s: %s, going on without", path, strerror(-r));
	return 0;
}

static int make_one(const struct model *m, struct model_str dir, mode_t mode)
{
	const char *path = model_str(m, dir);
	int r = fd_mkdir_parents(path, mode, m->supd.uid, m->supd.gid);

	if (r < 0)
		log_error("cannot make the directory %s: %s", path, strerror(-r));
	return r;
}

int rundir_make(const struct model *m)
{
	int r = make_one(m, m->supd.run_dir, 0755);

	if (r == 0)
		r = make_one(m, m->supd.state_dir, 0750);
	if (r == 0)
		r = make_one(m, m->supd.log_dir, 0755);
	return r;
}

/* ---- the control socket --------------------------------------------------------------------- */

/* A path left behind refuses; one that answers belongs to somebody. */
static int clear_stale(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (lstat(sa->sun_path, &st) < 0)
		r = errno == ENOENT ? 0 : -errno;
	else if (!S_ISSOCK(st.st_mode))
		r = -EEXIST;
	else if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno == EAGAIN)
		r = -EADDRINUSE;
	else if (unlink(sa->sun_path) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* fchmod before bind: the path never has a wider mode than asked for. */
static int bind_listening(const struct model *m, const struct sockaddr_un *sa, int *ret_fd)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, m->supd.socket_mode) < 0 ||
	    bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ||
	    lchown(sa->sun_path, 0, m->supd.socket_gid) < 0 || listen(fd, CONTROL_BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int rundir_bind_socket(const struct model *m, int *ret_fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	mode_t old_mask;
	int r = rundir_path(m, "supd.sock", sa.sun_path, sizeof(sa.sun_path));

	if (r == 0)
		r = clear_stale(&sa);
	if (r == 0) {
		old_mask = umask(0);
		r = bind_listening(m, &sa, ret_fd);
		umask(old_mask);
	}
	if (r < 0)
		log_error("cannot bind the control socket %s/supd.sock: %s",
			  model_str(m, m->supd.run_dir), strerror(-r));
	return r;
}

/* ---- the record of the cgroup ------------------------------------------------------------------ */

int rundir_record_cgroup(const struct model *m, const char *path)
{
	char file[PATH_MAX];
	int fd, r = rundir_path(m, "cgroup", file, sizeof(file));

	if (r < 0)
		return r;
	/* Anew: the directory is not root's, and what is there may be a link to elsewhere. */
	if (unlink(file) < 0 && errno != ENOENT)
		return -errno;
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, path, strlen(path));
	if (r == 0)
		r = fd_write_all(fd, "\n", 1);
	close(fd);
	return r;
}

/*
 * Somebody else may have written the record: it is believed only where it names a tree of this
 * run_dir, so that nothing else can be killed through it.
 */
static int check_record(const struct model *m, const char *path)
{
	const char *name = strrchr(path, '/');
	char tail[32];
	size_t len;

	if (path[0] != '/' || !name)
		return -EINVAL;
	snprintf(tail, sizeof(tail), "-%016llx",
		 (unsigned long long)hash(model_str(m, m->supd.run_dir)));
	if (strstr(path, "/.") || strncmp(name, "/supd-", 6) != 0)
		return -EINVAL;
	len = strlen(name);
	return len > strlen(tail) && strcmp(name + len - strlen(tail), tail) == 0 ? 0 : -EINVAL;
}

int rundir_recorded_cgroup(const struct model *m, char *ret_path, size_t size)
{
	char file[PATH_MAX];
	int fd, r = rundir_path(m, "cgroup", file, sizeof(file));
	ssize_t n;

	if (r < 0)
		return r;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	n = read(fd, ret_path, size - 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	if (r < 0)
		return r;
	ret_path[n] = '\0';
	ret_path[strcspn(ret_path, "\n")] = '\0';
	return check_record(m, ret_path);
}

void rundir_clean(const struct model *m, bool with_socket)
{
	static const char *const names[] = { "supd.sock", "cgroup", "supd.pid" };
	char path[PATH_MAX];

	for (size_t i = with_socket ? 0 : 1; i < sizeof(names) / sizeof(names[0]); i++)
		if (rundir_path(m, names[i], path, sizeof(path)) == 0)
			unlink(path);
}
