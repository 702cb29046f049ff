/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_CGROUP_H
#define SUPD_KEEPER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * cgroup v2, as far as the keeper needs it: directories to clone into, to kill and to watch.
 * No logging, no keeper.  0 or -errno.
 */

#define CGROUP_PATH_MAX 256
#define CGROUP_NAME_MAX 80

/* A directory that processes are in.  Each descriptor is opened when the leaf is made, so that
 * neither a kill nor a look at it can fail for want of one. */
struct cgroup_leaf {
	int dir_fd;    /* for CLONE_INTO_CGROUP; -1: there is no leaf */
	int kill_fd;   /* cgroup.kill; -1: the kernel has none (before 5.14) */
	int events_fd; /* cgroup.events */
	int wd;	       /* inotify watch of cgroup.events; -1 */
	int parent_fd; /* borrowed */
	char name[CGROUP_NAME_MAX];
};

#define CGROUP_LEAF_NONE                                                                           \
	(struct cgroup_leaf) { .dir_fd = -1, .kill_fd = -1, .events_fd = -1, .wd = -1,             \
			       .parent_fd = -1 }

/* Where the tree of this supd is. */
struct cgroup_place {
	char mount[CGROUP_PATH_MAX]; /* of cgroup2 */
	char base[CGROUP_PATH_MAX];  /* below the mount: "" or "/unit.service" */
};

/*
 * Find the mount from /proc/self/mountinfo and this process's cgroup from /proc/self/cgroup.  A
 * process that is inside a tree called `tree` already gets the place of that tree.
 * -ENOENT: no cgroup v2 here.
 */
int cgroup_find(const char *tree, struct cgroup_place *ret);

/* mkdir (an existing one is fine) and open. */
int cgroup_make(int parent_fd, const char *name, int *ret_fd);

/*
 * Make a leaf "name.N" with the first N from *n on that does not exist yet; *n becomes the number
 * after it.  A leaf is used for one start only: once killed, it kills whatever is cloned into it
 * (FACTS.md L).
 */
int cgroup_leaf_make(int parent_fd, const char *name, unsigned *n, struct cgroup_leaf *ret);
/* Open one that exists: 0 or -errno. */
int cgroup_leaf_open(int parent_fd, const char *name, struct cgroup_leaf *ret);
/* Remove it (with what its processes made below) and close it.  Legal without a leaf. */
void cgroup_leaf_drop(struct cgroup_leaf *l);
/* Kill all that is in it or below: dead when this returns. */
int cgroup_leaf_kill(const struct cgroup_leaf *l);
/* Let the directories below it have limits ("+memory"): 0; -ENOENT: no such controller. */
int cgroup_enable(int dir_fd, const char *controller);
/* Write a file of it: 0; -ENOENT: there is none, for want of its controller. */
int cgroup_write(int dir_fd, const char *file, const char *text);

/* 1: something lives in it, 0: empty, or -errno. */
int cgroup_populated(int events_fd);

/* Move the calling process. */
int cgroup_join(int dir_fd);

/* Kill everything in and below a directory: by kill_fd, or one process after another when -1. */
int cgroup_kill(int dir_fd, int kill_fd);

/* Call fn for each directory below; stops at the first non-zero result and returns it. */
int cgroup_each(int dir_fd, int (*fn)(int dir_fd, const char *name, void *arg), void *arg);

/* rmdir, with all directories below.  -EBUSY: something lives there. */
int cgroup_remove(int parent_fd, const char *name);

#endif
