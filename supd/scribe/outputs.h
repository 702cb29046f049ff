/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_OUTPUTS_H
#define SUPD_SCRIBE_OUTPUTS_H

#include <ev.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/scribe/peek.h"
#include "supd/scribe/stall.h"

/*
 * All outputs of all programs, in the scribe's loop: each is pumped when its program has written,
 * tried again every second while its log fails, and resumed when a reader that was slow goes on.
 */
#define OUTPUTS_OF_PROGRAM 2 /* 0: stdout, 1: stderr */

struct output_slot;

struct outputs {
	const struct model *m;
	struct ev_loop *loop;
	struct stall *stall;
	struct peek peek;
	struct ev_timer retry_timer, stuck_timer;
	/* Against the stall thread: the table, and the program's side of each stream. */
	pthread_mutex_t lock;
	size_t n_slots;
	struct output_slot **slots; /* program * OUTPUTS_OF_PROGRAM + output; NULL: none */
	/* Something of it may have been written. */
	void (*on_written)(void *arg, uint32_t program);
	void *arg;
};

/* 0 or -errno; outputs_fini() in either case. */
int outputs_init(struct outputs *o, struct ev_loop *loop, const struct model *m,
		 struct stall *stall);
void outputs_fini(struct outputs *o);

/* A program's output: takes over the three descriptors of STREAM. */
void outputs_put(struct outputs *o, uint32_t program, unsigned output, const int fds[3]);

/* In the stall thread: drop where a program might block soon. */
void outputs_relieve(void *outputs);

/* What was written before now is in the pipes: move it; what comes later is not waited for. */
void outputs_finish(struct outputs *o);

#endif
