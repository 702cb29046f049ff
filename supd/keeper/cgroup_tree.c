/* SPDX-License-Identifier: MIT */
#include "supd/keeper/cgroup_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/rundir.h"
#include "supd/keeper/state.h"

#define LEFTOVER_STEP	 MTIME_MS(5)
#define LEFTOVER_COMPLAIN MTIME_SEC(5)

/* ---- what an earlier supd left ---------------------------------------------------------------- */

struct leftovers {
	const char *spare; /* our own leaf */
	bool found;
};

static int kill_leftover(int parent_fd, const char *name, void *arg)
{
	struct leftovers *l = arg;
	int dir_fd, kill_fd;

	if (l->spare && strcmp(name, l->spare) == 0)
		return 0;
	dir_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir_fd < 0)
		return 0;
	l->found = true;
	kill_fd = openat(dir_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	cgroup_kill(dir_fd, kill_fd);
	fd_close(&kill_fd);
	close(dir_fd);
	cgroup_remove(parent_fd, name);
	return 0;
}

/*
 * Kill again at each step: what is found may have been made by what was not dead yet.  Signals are
 * blocked and nobody else looks at them yet: who asks for the end gets it here, -ECANCELED.
 */
static int clear(int dir_fd, const char *spare)
{
	const struct timespec step = { .tv_nsec = LEFTOVER_STEP };
	mtime complain = mtime_now() + LEFTOVER_COMPLAIN;
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);

	for (;;) {
		struct leftovers l = { .spare = spare };

		cgroup_each(dir_fd, kill_leftover, &l);
		if (!l.found)
			return 0;
		if (mtime_now() >= complain) {
			log_error("processes of an earlier supd are killed and not gone yet; "
				  "nothing starts before, waiting");
			complain = mtime_now() + LEFTOVER_COMPLAIN;
		}
		if (sigtimedwait(&end, NULL, &step) > 0)
			return -ECANCELED;
	}
}

/* The last supd may have lived elsewhere: from a shell then, under a unit now. */
static int clear_recorded(struct keeper *k, const char *own)
{
	char path[CGROUP_PATH_MAX], full[CGROUP_PATH_MAX * 2];
	int fd, r;

	if (rundir_recorded_cgroup(k->m, path, sizeof(path)) < 0 || strcmp(path, own) == 0)
		return 0;
	snprintf(full, sizeof(full), "%s%s", k->place.mount, path);
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	r = clear(fd, NULL);
	close(fd);
	rmdir(full);
	return r;
}

/* ---- ours --------------------------------------------------------------------------------------- */

/* The directory that `place` names, and the tree in it. */
static int open_base(struct keeper *k)
{
	char path[CGROUP_PATH_MAX * 2];
	int r;

	snprintf(path, sizeof(path), "%s%s", k->place.mount, k->place.base);
	k->base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->base_fd < 0)
		return -errno;
	r = cgroup_make(k->base_fd, k->tree_name, &k->tree_fd);
	/* Mounted read-only, as in many containers: as good as none. */
	return r == -EROFS || r == -EACCES ? -ENOENT : r;
}

static int join_self(struct keeper *k)
{
	unsigned n = 1;
	int r = cgroup_leaf_make(k->tree_fd, "self", &n, &k->self_leaf);

	return r < 0 ? r : cgroup_join(k->self_leaf.dir_fd);
}

/* The directories below programs.N, made where they are not there. */
static int open_programs(struct keeper *k)
{
	int r = cgroup_make(k->programs_fd, "node.programs", &k->node_fd);
	if (r == 0)
		r = cgroup_make(k->programs_fd, "node.hooks", &k->hooks_fd);
	for (uint32_t i = 0; r == 0 && i < k->m->n_services; i++) {
		struct service *s = &k->services[i];

		r = cgroup_make(k->programs_fd, model_service_name(k->m, i), &s->dir_fd);
		if (r == 0)
			s->kill_fd = openat(s->dir_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	}
	return r;
}

/*
 * From the base down to the parents of the leaves.  Where a controller is not to be had, a leaf has
 * no file for the limit, and that is said when it is to be set (run_leaf.c).
 */
static void enable_controllers(const struct keeper *k)
{
	static const char *const wanted[] = { "+memory", "+cpu" };
	const int levels[] = { k->base_fd, k->tree_fd, k->programs_fd, k->node_fd };

	for (size_t c = 0; c < sizeof(wanted) / sizeof(wanted[0]); c++) {
		for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
			cgroup_enable(levels[i], wanted[c]);
		for (uint32_t i = 0; i < k->m->n_services; i++)
			cgroup_enable(k->services[i].dir_fd, wanted[c]);
	}
}

static bool any_limit(const struct model *m)
{
	for (uint32_t i = 0; i < m->n_programs; i++)
		if (model_program(m, i)->memory_max > 0 || model_program(m, i)->cpu_max > 0)
			return true;
	return false;
}

static int make_programs(struct keeper *k, const char *tree_path)
{
	struct cgroup_leaf l;
	unsigned n = 1;
	int r = cgroup_leaf_make(k->tree_fd, "programs", &n, &l);

	if (r < 0)
		return r;
	k->programs_fd = l.dir_fd;
	k->programs_kill_fd = l.kill_fd;
	k->programs_events_fd = l.events_fd;
	snprintf(k->programs_name, sizeof(k->programs_name), "%s", l.name);
	if ((size_t)snprintf(k->programs_path, sizeof(k->programs_path), "%s/%s", tree_path,
			     l.name) >= sizeof(k->programs_path))
		return -ENAMETOOLONG;
	return open_programs(k);
}

static int open_tree(struct keeper *k)
{
	char path[CGROUP_PATH_MAX];
	int r = cgroup_find(k->tree_name, &k->place);

	if (r == 0)
		r = open_base(k);
	if (r < 0)
		return r;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", k->place.base, k->tree_name) >=
	    sizeof(path))
		return -ENAMETOOLONG;
	r = join_self(k);
	if (r < 0)
		return r;
	/* Before the record is overwritten: a supd that dies here leaves the old one to the next. */
	r = clear_recorded(k, path);
	if (r == 0)
		r = clear(k->tree_fd, k->self_leaf.name);
	if (r == 0)
		r = rundir_record_cgroup(k->m, path);
	if (r == 0)
		r = make_programs(k, path);
	if (r == 0 && any_limit(k->m))
		enable_controllers(k);
	k->has_cgroup = r == 0;
	k->has_cgroup_kill = k->has_cgroup && k->self_leaf.kill_fd >= 0;
	return r;
}

int cgroup_tree_open(struct keeper *k)
{
	int r;

	rundir_tree_name(k->m, k->tree_name, sizeof(k->tree_name));
	r = open_tree(k);
	if (r == -ENOENT) {
		log_warn("no cgroup v2 that can be written: process groups only, what a program "
			 "moves into a session of its own is killed only with its service's "
			 "PID namespace, and left-overs of a killed supd are not found, going on");
		fd_close(&k->base_fd);
		return 0;
	}
	if (r == -ECANCELED)
		log_notice("asked to end while waiting for an earlier supd's processes, ending");
	else if (r < 0)
		log_error("cannot make the cgroups below %s%s: %s", k->place.mount, k->place.base,
			  strerror(-r));
	else if (!k->has_cgroup_kill)
		log_warn("no cgroup.kill (before Linux 5.14): trees are killed process by process");
	return r;
}

int cgroup_tree_adopt(struct keeper *k, const struct cgroup_names *names)
{
	struct cgroup_leaf l;
	int r;

	rundir_tree_name(k->m, k->tree_name, sizeof(k->tree_name));
	snprintf(k->place.mount, sizeof(k->place.mount), "%s", names->mount);
	snprintf(k->place.base, sizeof(k->place.base), "%s", names->base);
	snprintf(k->programs_name, sizeof(k->programs_name), "%s", names->programs);
	snprintf(k->programs_path, sizeof(k->programs_path), "%s", names->path);
	r = open_base(k);
	if (r == 0)
		r = cgroup_leaf_open(k->tree_fd, names->self, &k->self_leaf);
	if (r == 0)
		r = cgroup_leaf_open(k->tree_fd, names->programs, &l);
	if (r < 0)
		return r;
	k->programs_fd = l.dir_fd;
	k->programs_kill_fd = l.kill_fd;
	k->programs_events_fd = l.events_fd;
	r = open_programs(k);
	k->has_cgroup = r == 0;
	k->has_cgroup_kill = k->has_cgroup && k->self_leaf.kill_fd >= 0;
	return r;
}

void cgroup_tree_close(struct keeper *k)
{
	if (k->tree_fd < 0)
		return;
	cgroup_join(k->base_fd);
	cgroup_leaf_drop(&k->self_leaf);
	fd_close(&k->programs_kill_fd);
	fd_close(&k->programs_events_fd);
	fd_close(&k->programs_fd);
	fd_close(&k->node_fd);
	fd_close(&k->hooks_fd);
	fd_close(&k->tree_fd);
	cgroup_remove(k->base_fd, k->tree_name);
	fd_close(&k->base_fd);
}
