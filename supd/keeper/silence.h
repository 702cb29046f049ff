/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_SILENCE_H
#define SUPD_KEEPER_SILENCE_H

struct keeper;

/*
 * An engine that has not fed us for engine_timeout is killed, and so replaced.  Its silence counts
 * only after all that it sent was read, and only while the keeper itself was awake.
 */
void silence_open(struct keeper *k);

/* A FEED came. */
void silence_fed(struct keeper *k);

#endif
