/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PROGRAM_INTERNAL_H
#define SUPD_ENGINE_PROGRAM_INTERNAL_H

#include "supd/engine/engine.h"

/* What the files of program_io share. */

/* ---- program_text.c ---- */
/* The one place where a transition of a program is logged, once the whole step is known. */
void program_log_transition(const struct engine_program *ep, enum program_state from,
			    enum program_state to, mtime now);
/* It is stopped for not being ready, or healthy. */
void program_log_failing(const struct engine_program *ep);
void program_log_hook_done(const struct engine_program *ep, const struct ipc_hook_done *d);

/* ---- program_io.c ---- */
/* Have the keeper run a hook; its order, or 0: it could not be sent. */
uint64_t program_order_hook(struct engine_program *ep, enum ipc_hook_kind kind);

/* ---- program_watch.c ---- */
void program_watch_init(struct engine_program *ep);
/* After each step of the program. */
void program_watch_update(struct engine_program *ep);
void program_watch_hook_done(struct engine_program *ep, const struct ipc_hook_done *d);
/* It has sent WATCHDOG=1. */
void program_watch_alive(struct engine_program *ep);

/* ---- program_notify.c ---- */
/* Take in what it has said of itself. */
void program_notify_drain(struct engine_program *ep);
/* Nobody of an earlier run is alive any more: what it said is old. */
void program_notify_forget(struct engine_program *ep);
/* After each step of the program. */
void program_notify_update(struct engine_program *ep);
/* The cgroup v2 of a process, below the mount: 0 or -errno. */
int program_cgroup(pid_t pid, char *buf, size_t size);

#endif
