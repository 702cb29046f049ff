/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_CGROUP_TREE_H
#define SUPD_KEEPER_CGROUP_TREE_H

struct keeper;

/*
 * The keeper's tree:
 *
 *   <base>/supd-<cluster>-<node>-<hash>/self.N               the keeper alone
 *                                       roles.N              one for each start of a role
 *                                       programs.N/SERVICE/guard.N, PROGRAM.N
 *                                                  node.programs/PROGRAM.N
 *                                                  node.hooks/fence.N
 *
 * The level programs.N exists so that one cgroup.kill, which the engine holds, ends every program
 * and no process of supd.  Names of services have no dot, so node.* is nobody's.
 *
 * Finds the place, moves into a new self.N, kills whatever an earlier supd left there (and where
 * run_dir/cgroup says that one lived), and returns only when that is gone: however long it takes.
 * Without cgroup v2: says so, 0.  -errno otherwise, logged.
 */
int cgroup_tree_open(struct keeper *k);

/* The names of a tree that this process lives in already: an image of the keeper before made it. */
struct cgroup_names {
	const char *mount, *base; /* as struct cgroup_place */
	const char *self;	  /* the leaf self.N */
	const char *programs;	  /* the directory programs.N */
	const char *path;	  /* keeper's programs_path */
};

/* Open it: 0 or -errno. */
int cgroup_tree_adopt(struct keeper *k, const struct cgroup_names *names);

/* Leave the tree and remove it. */
void cgroup_tree_close(struct keeper *k);

#endif
