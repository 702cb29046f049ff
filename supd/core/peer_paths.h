/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PEER_PATHS_H
#define SUPD_CORE_PEER_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"
#include "supd/config/model.h"

/*
 * Which of the paths of the peer link to one peer still carry what it says.  A lost path is an
 * alarm; nothing else depends on it.
 */
struct peer_path {
	uint64_t session, seq; /* newest message that came this way */
	mtime heard;	       /* when; 0: never */
	bool lost;
};

struct peer_paths {
	unsigned n;  /* 0: no peer link */
	mtime heard; /* newest message, by whichever path; 0: never */
	mtime since; /* beginning of the contact that lasts, or lasted last */
	struct peer_path path[MODEL_PATHS_MAX];
};

void peer_paths_init(struct peer_paths *p, unsigned n);

/*
 * A message of the session in force came by this path, as the first copy or a later one.  `patience`
 * is Active_Down.  False, and nothing noted: it, or a newer one, has come this way before.
 */
bool peer_paths_hear(struct peer_paths *p, unsigned path, uint64_t session, uint64_t seq, mtime now,
		     mtime patience);

/* To be called when nothing waits to be read.  Bit i of the result: `lost` of path i has changed. */
unsigned peer_paths_judge(struct peer_paths *p, mtime patience);

/* Whether the invariants hold (tests). */
bool peer_paths_check(const struct peer_paths *p);

#endif
