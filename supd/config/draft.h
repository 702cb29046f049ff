/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_DRAFT_H
#define SUPD_CONFIG_DRAFT_H

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/config/problems.h"

/*
 * The configuration while it is read: the rows of the model as they will be, beside what is known
 * of them only as text so far (users, the service of a program), and the line of each key.
 *
 * Two pools of strings: `strings` goes into the block as it is (its offsets are the block's),
 * `scratch` is for the loader alone.
 */
#define DRAFT_KEYS_MAX       64 /* of one kind of section */
#define DRAFT_FENCE_AUTO     (-1)
#define DRAFT_ENGINE_AUTO    0
#define DRAFT_STRINGS_OFFSET ((uint32_t)sizeof(struct model))

struct pool {
	char *buf;
	size_t len, cap;
	uint32_t base; /* offset of buf[0] */
};

/* Copies len bytes; *ret_off is where.  0 or -ENOMEM. */
int pool_add(struct pool *p, const char *data, size_t len, uint32_t *ret_off);
int pool_add_str(struct pool *p, const char *s, uint32_t *ret_off);
const char *pool_at(const struct pool *p, uint32_t off);

struct draft_head {
	char name[MODEL_NAME_MAX + 1]; /* empty: [supd] */
	unsigned line;
	unsigned key_line[DRAFT_KEYS_MAX]; /* 0: not in the file */
	bool key_ok[DRAFT_KEYS_MAX];       /* its value, or its default, is in the row */
};

/* uint32_t members: texts in scratch, 0 when not given. */
struct draft_supd {
	struct draft_head h;
	struct model_supd m;
	uint32_t key_file, user, socket_group, run_dir, state_dir, log_dir;
};

struct draft_node {
	struct draft_head h;
	struct model_node m;
};

struct draft_service {
	struct draft_head h;
	struct model_service m;
};

struct draft_program {
	struct draft_head h;
	struct model_program m;
	uint32_t service, user, group, stdout_logfile, stderr_logfile, environment_file;
	struct model_strv environment; /* in scratch */
	struct model_strv file_environment; /* that of environment_file, in scratch */
	struct model_strv requires;    /* names, in scratch */
};

struct draft {
	struct problems *problems;
	struct pool strings, scratch;
	bool has_supd;
	struct draft_supd supd;
	struct draft_node nodes[MODEL_NODES_MAX];
	struct draft_service *services;
	struct draft_program *programs;
	uint32_t n_nodes, n_services, n_programs;
	int self;
	crypto_hash_sha256_state text; /* what was read so far */
};

/* 0 or -ENOMEM; draft_fini() in either case. */
int draft_init(struct draft *d, struct problems *problems);
void draft_fini(struct draft *d);

static inline const char *draft_text(const struct draft *d, uint32_t off)
{
	return off == 0 ? "" : pool_at(&d->scratch, off);
}

#endif
