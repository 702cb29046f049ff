/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_SERVICE_H
#define SUPD_KEEPER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"

struct keeper;
struct service;

/* The rules for a service as a whole: its kill deadline, and the end of everything in it. */

/* Make the deadline's timer; then watch it. */
int service_open_deadline(struct keeper *k);

/* Whether something of it lives, or is about to: dead is enough, gone is not asked for. */
bool service_alive(const struct keeper *k, uint32_t row);

/*
 * Kill every run and the guard: all dead when this returns.  Starts that wait for a guard are
 * refused.  A new guard and new leaves are made afterwards.
 */
void service_kill(struct keeper *k, struct service *s, bool by_deadline);

/* Set a deadline; service_arm_deadline() when all are set. */
void service_set_deadline(struct keeper *k, uint32_t row, mtime kill_at);
void service_arm_deadline(struct keeper *k);

#endif
