/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_DETAILS_H
#define SUPD_ENGINE_DETAILS_H

#include <stdint.h>

#include "supd/config/model.h"
#include "supd/core/peer_msg.h"

/*
 * What this host has to say about itself, from /proc files that stay open: small reads that the
 * kernel answers from memory.  A value that cannot be read stays zero.
 */
struct details_source {
	int loadavg_fd, meminfo_fd, stat_fd; /* -1: cannot be opened */
	uint64_t busy, total;		     /* cpu ticks at the last reading */
	uint64_t config_digest;
};

/* Of what the file says, all of it, whatever this host made of it. */
uint64_t details_config_digest(const struct model *m);

void details_init(struct details_source *d, const struct model *m);

/* Everything but started_at. */
void details_read(struct details_source *d, struct peer_details *ret);

#endif
