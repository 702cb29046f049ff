/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PROGRAM_INTERNAL_H
#define SUPD_CORE_PROGRAM_INTERNAL_H

#include "supd/core/program_fsm.h"

/*
 * What the parts of program_fsm share.
 *
 *   program_fsm.c   the machine: state, small actions, what follows (settle), time, invariants
 *   program_want.c  what somebody asks for
 *   program_run.c   what the keeper reports
 */

/* ---- program_fsm.c ---- */
void program_emit(struct program_actions *out, enum program_action_type type, uint32_t run);
void program_set_state(struct program_fsm *p, enum program_state to, struct program_actions *out);
void program_kill_tree(struct program_fsm *p, mtime now, struct program_actions *out);
void program_send_stop_signal(struct program_fsm *p, mtime now, struct program_actions *out);
/* pre_start, where there is one, then the start order. */
void program_order_start(struct program_fsm *p, struct program_actions *out);
void program_order_spawn(struct program_fsm *p, struct program_actions *out);
void program_kill_hook(struct program_fsm *p, struct program_actions *out);
/* Its main process lives and is no good: stopped, and its end will be a death. */
void program_fail(struct program_fsm *p, enum program_end why, mtime now,
		  struct program_actions *out);
/* Backoff until `at`. */
void program_wait_for_start(struct program_fsm *p, mtime at, struct program_actions *out);
void program_end_as(struct program_fsm *p, enum program_state to, struct program_actions *out);

/* ---- program_want.c ---- */
void program_on_start(struct program_fsm *p, mtime now, struct program_actions *out);
void program_on_start_person(struct program_fsm *p, mtime now, struct program_actions *out);
void program_on_restart(struct program_fsm *p, mtime now, struct program_actions *out);
/* STOP, GIVE_UP and KILL. */
void program_on_unwanted(struct program_fsm *p, enum program_event_type how, mtime now,
			 struct program_actions *out);
void program_on_allow(struct program_fsm *p, mtime now);

/* ---- program_run.c ---- */
void program_on_spawned(struct program_fsm *p, const struct program_event *ev, mtime now,
			struct program_actions *out);
void program_on_spawn_failed(struct program_fsm *p, const struct program_event *ev, mtime now,
			     struct program_actions *out);
void program_on_exited(struct program_fsm *p, const struct program_event *ev, mtime now,
		       struct program_actions *out);
void program_on_gone(struct program_fsm *p, const struct program_event *ev,
		     struct program_actions *out);
void program_on_adopt(struct program_fsm *p, const struct program_event *ev, mtime now,
		      struct program_actions *out);
void program_on_ready(struct program_fsm *p, const struct program_event *ev, mtime now,
		      struct program_actions *out);
void program_on_unhealthy(struct program_fsm *p, const struct program_event *ev, mtime now,
			  struct program_actions *out);
void program_on_main(struct program_fsm *p, const struct program_event *ev, mtime now,
		     struct program_actions *out);
void program_on_extend(struct program_fsm *p, const struct program_event *ev, mtime now);
void program_on_hook_done(struct program_fsm *p, const struct program_event *ev, mtime now,
			  struct program_actions *out);

#endif
