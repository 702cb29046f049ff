/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_HOOK_H
#define SUPD_KEEPER_HOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supd/ipc/msg_hook.h"

struct keeper;

/* The commands of the file: run once, killed at their time-out, and their end told (HOOK_DONE). */

/* Of services: the row is one of a service; else of a program. */
bool hook_is_of_service(enum ipc_hook_kind kind);
/* It is asked again and again, and its failures are the engine's to judge and to tell. */
bool hook_is_probe(enum ipc_hook_kind kind);
/* Its words in the file; none: it is not set. */
struct model_strv hook_argv(const struct model *m, enum ipc_hook_kind kind, uint32_t row);
mtime hook_timeout(const struct model *m, enum ipc_hook_kind kind, uint32_t row);

/* A HOOK, its rows already looked at. */
void hook_start(struct keeper *k, const struct ipc_hook *order);
/* The guard of a service is ready: what waited for it starts. */
void hook_start_waiting(struct keeper *k, uint32_t service);

/* HOOK_KILL: what this order has started. */
void hook_kill(struct keeper *k, uint64_t order);
/* Those of a service's programs, with the service: all dead when this returns. */
void hook_kill_service(struct keeper *k, uint32_t service);
/* The engine that ordered them is dead, or supd ends: all dead when this returns, nobody is told. */
void hook_kill_all(struct keeper *k);

/* Look at what may have ended, or become empty, without an event. */
void hook_poll(struct keeper *k);

/* Whether one is not gone. */
bool hook_any(const struct keeper *k);
/* The same, probes apart: whoever asked for one asks again. */
bool hook_any_but_probes(const struct keeper *k);
/* Whether one of a service's programs is not gone; `alive`: or not even killed. */
bool hook_any_of_service(const struct keeper *k, uint32_t service, bool alive);
/* Whether this child is the main process of one. */
bool hook_owns(const struct keeper *k, pid_t pid);

#endif
