/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_ORDERS_H
#define SUPD_KEEPER_ORDERS_H

struct keeper;

/* What the engine says: the keeper's only input beside signals and deaths. */

/* Some of what waits; the loop comes back for the rest. */
void orders_read(struct keeper *k);

/* All that waits, before the engine's silence is believed; bounded in time. */
void orders_drain(struct keeper *k);

/* All that a dead engine has left, but no START. */
void orders_last_words(struct keeper *k);

#endif
