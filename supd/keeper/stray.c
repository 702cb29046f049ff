/* SPDX-License-Identifier: MIT */
#include "supd/keeper/stray.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/keeper/process.h"

/* At most so many are looked at, 20 us each: the keeper must be back in its loop within 5 ms. */
#define LOOK_MAX     128
#define ENVIRON_READ 16384 /* supd's own variables come first */

static size_t read_proc(int pid, const char *name, char *ret, size_t size)
{
	char path[48];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, ret, size - 1);
	fd_close(&fd);
	n = n > 0 ? n : 0;
	ret[n] = '\0';
	return (size_t)n;
}

/* "0::/…/supd-cluster-node-hash/…" */
static bool is_below(int pid, const char *tree)
{
	char text[4096];
	size_t len = strlen(tree);
	const char *at;

	read_proc(pid, "cgroup", text, sizeof(text));
	for (at = strstr(text, tree); at; at = strstr(at + 1, tree)) {
		if (at > text && at[-1] == '/' && (at[len] == '/' || at[len] == '\n'))
			return true;
	}
	return false;
}

/*
 * Empty once it is dying, in the midst of an execve, and where a process has wiped it: whose that
 * is nobody can tell, but outside of our tree it is somebody's left-over, and better dead.
 */
static bool is_of(int pid, const char *program, bool exile)
{
	static const char name[] = "SUPD_PROGRAM=";
	char text[ENVIRON_READ];
	size_t n = read_proc(pid, "environ", text, sizeof(text));

	for (const char *at = text; at < text + n; at += strlen(at) + 1) {
		if (strncmp(at, name, sizeof(name) - 1) == 0)
			return strcmp(at + sizeof(name) - 1, program) == 0;
	}
	return exile && !process_is_dying(pid);
}

/* By its pidfd, opened before it is looked at: a pid that is used again is not taken for it. */
static bool kill_if_stray(int pid, const char *tree, const char *program)
{
	int fd = pidfd_open(pid, 0);
	bool stray = fd >= 0 && !(tree && is_below(pid, tree)) && is_of(pid, program, tree != NULL) &&
		     process_signal(fd, SIGKILL) == 0;

	fd_close(&fd);
	return stray;
}

bool stray_kill(pid_t parent, const char *tree, const char *program)
{
	char path[64];
	bool found = false;
	int pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	f = fopen(path, "re");
	if (!f)
		return false;
	for (int i = 0; i < LOOK_MAX && fscanf(f, "%d", &pid) == 1; i++)
		found |= kill_if_stray(pid, tree, program);
	fclose(f);
	return found;
}
