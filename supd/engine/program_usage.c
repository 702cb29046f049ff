/* SPDX-License-Identifier: MIT */
#include "supd/engine/program_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * What a program uses, read from its cgroup and from /proc when somebody asks: nothing is sampled
 * while nobody does.  Each look takes some 30 us; a status of a thousand programs must not hold up
 * the heart, so a request looks for at most USAGE_BUDGET, at those first that it has not seen for
 * the longest time, and the others keep what was seen before.
 */
#define USAGE_BUDGET MTIME_MS(3)
#define USAGE_FRESH  MTIME_MS(500)

static ssize_t read_file(const char *dir, const char *name, char *buf, size_t size)
{
	char path[1400];
	ssize_t n;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return n;
}

/* -1: no such file, or not that form. */
static int64_t read_number(const char *dir, const char *file, const char *label)
{
	char text[1024], *at;
	long long value;

	if (read_file(dir, file, text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, label);
	return at != NULL && sscanf(at + strlen(label), "%lld", &value) == 1 ? value : -1;
}

/* Resident pages of one process; what several share is counted for each. */
static int64_t resident(int pid)
{
	char dir[32], text[128];
	long long size, pages;

	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	if (read_file(dir, "statm", text, sizeof(text)) < 0 ||
	    sscanf(text, "%lld %lld", &size, &pages) != 2)
		return 0;
	return pages * sysconf(_SC_PAGESIZE);
}

/* Of all in the cgroup itself; what it has made below is not looked into. */
static void look_at_processes(const char *dir, struct program_usage *u, bool memory_too)
{
	char text[16384], *at = text, *end;
	ssize_t n = read_file(dir, "cgroup.procs", text, sizeof(text));

	if (n < 0)
		return;
	u->processes = 0;
	for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
		u->processes++;
		if (memory_too)
			u->memory += resident((int)pid);
		at = end;
	}
}

static void look(struct engine_program *ep, mtime now)
{
	const struct engine *e = ep->engine;
	struct program_usage *u = &ep->usage;
	char path[1024], dir[1300];

	*u = (struct program_usage){ .at = now, .processes = -1, .memory = -1, .cpu_ms = -1 };
	if (!ep->fsm.main_alive || !e->welcome.has_cgroup ||
	    program_cgroup(ep->fsm.pid, path, sizeof(path)) < 0)
		return;
	snprintf(dir, sizeof(dir), "%s%s", e->welcome.mount, path);
	u->memory = read_number(dir, "memory.current", "");
	if (u->memory >= 0) {
		look_at_processes(dir, u, false);
	} else {
		u->memory = 0;
		look_at_processes(dir, u, true);
	}
	u->cpu_ms = read_number(dir, "cpu.stat", "usage_usec ");
	if (u->cpu_ms >= 0)
		u->cpu_ms /= 1000;
}

static struct engine_program *stalest(struct engine *e)
{
	struct engine_program *best = NULL;

	for (uint32_t i = 0; i < e->m->n_programs; i++)
		if (best == NULL || e->programs[i].usage.at < best->usage.at)
			best = &e->programs[i];
	return best;
}

void program_io_look(struct engine *e)
{
	mtime began = mtime_now(), now = began;

	while (now - began < USAGE_BUDGET) {
		struct engine_program *ep = stalest(e);

		if (ep == NULL || (ep->usage.at != 0 && now - ep->usage.at < USAGE_FRESH))
			return;
		look(ep, now);
		now = mtime_now();
	}
}
