/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_ROLES_H
#define SUPD_KEEPER_ROLES_H

#include <stddef.h>

#include "supd/keeper/state.h"

/* net, scribe and engine: forked without exec, started anew when they die. */

/* Start all three: 0 or -errno, logged. */
int roles_open(struct keeper *k);

/*
 * One that an image of the keeper before this one has killed: it is started anew once it is dead.
 * 0 or -errno.
 */
int role_adopt(struct role *r, pid_t pid, const char *leaf);

/* Kill all three; the engine is dead, and its last words are heard, when this returns 0; -errno. */
int roles_kill(struct keeper *k);

/*
 * Send to a role.  One that is gone, or whose queue is full, is killed (and so replaced): it would
 * never learn what it missed.  A role that is not up misses nothing: it is told all when it starts.
 */
void role_send(struct role *r, const void *msg, size_t len, const int *fds, size_t n_fds);
void engine_send(struct keeper *k, const void *msg, size_t len);

void role_kill(struct role *r);
/* Close our end: net and scribe end by that. */
void role_hang_up(struct role *r);

/* Watch again what could not be reaped. */
void roles_poll(struct keeper *k);

/* Tell the engine that supd is to end. */
void engine_shutdown(struct keeper *k);

#endif
