/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_HOOK_H
#define SUPD_KEEPER_HOOK_H

#include <stdbool.h>
#include <sys/types.h>

#include "supd/ipc/msg.h"

struct keeper;

/* A service's fence_command: run once, killed at its time-out, and its end told (HOOK_DONE). */

/* A HOOK, its rows already looked at. */
void hook_start(struct keeper *k, const struct ipc_hook *order);

/* The engine that ordered them is dead, or supd ends: all dead when this returns, nobody is told. */
void hook_kill_all(struct keeper *k);

/* Look at what may have ended, or become empty, without an event. */
void hook_poll(struct keeper *k);

/* Whether one is not gone. */
bool hook_any(const struct keeper *k);
/* Whether this child is the main process of one. */
bool hook_owns(const struct keeper *k, pid_t pid);

#endif
