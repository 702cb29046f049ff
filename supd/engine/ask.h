/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_ASK_H
#define SUPD_ENGINE_ASK_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "supd/config/model.h"

/*
 * One question to a TCP or HTTP server: is a connection accepted, and is GET answered with a status
 * of 200 to 399?  Nothing here waits or keeps time: who asks has a timer, and ends the question
 * that is not answered.
 */
struct ask {
	struct ev_loop *loop;
	struct ev_io io;
	int fd; /* -1: nothing is asked */
	const struct model *m;
	const struct model_probe *probe;
	char reply[32]; /* as much of the status line as is needed */
	size_t n;
	/* The answer; the question is over, and the next one may be put from within.  `why` says
	 * what is wrong. */
	void (*on_answer)(void *arg, bool good, const char *why);
	void *arg;
};

void ask_init(struct ask *a);
/* Ask; on_answer is called later, or from within.  `a` must be at rest. */
void ask_start(struct ask *a, struct ev_loop *loop, const struct model *m,
	       const struct model_probe *probe);
/* No answer is wanted any more. */
void ask_stop(struct ask *a);

#endif
