/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_BUILD_H
#define SUPD_CONFIG_BUILD_H

#include "supd/config/draft.h"
#include "supd/core/budget.h"

/* The block of a whole draft, malloc'ed.  0 or -ENOMEM. */
int build_model(const struct draft *d, const char *config_path, struct model **ret);

/*
 * The budget of a service for node `self` as its Active; MODEL_NONE: the worst of all.  Every
 * other node counts as a peer, a plain VRRP router too: what it may start at its end is not ours
 * to know.
 */
void build_budget(const struct model *m, uint32_t service, int self, struct budget *ret);

#endif
