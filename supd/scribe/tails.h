/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_TAILS_H
#define SUPD_SCRIBE_TAILS_H

#include <ev.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/ipc/msg.h"
#include "supd/scribe/stall.h"

/*
 * `supctl logs`: the end of a log, and with -f what comes after it, to clients of the control
 * socket whose connections the engine has passed on.  JSON, one object a line:
 *
 *   {"schema":1,"log":"/var/log/supd/master.log"}     first
 *   {"schema":1,"line":"text"}                        "more":true  its end comes with the next one
 *   {"schema":1,"result":{"lines":10}}                last, unless more is waited for
 *   {"schema":1,"error":{...}}                        last
 *
 * The next piece of a log is read when the one before was sent, a little in each turn of the loop:
 * a client that does not read costs its connection and at most 1 MiB, and holds nobody up.
 */
#define TAILS_MAX 16
#define TAILS_PATIENCE MTIME_SEC(5) /* who reads nothing for so long gives way when all are taken */

struct tail;

struct tails {
	const struct model *m;
	struct ev_loop *loop;
	struct stall *stall;
	struct tail *list;
	unsigned n;
	mtime patience; /* TAILS_PATIENCE */
	char *raw, *text; /* a piece as it is in the log, and as UTF-8 */
};

void tails_init(struct tails *t, struct ev_loop *loop, const struct model *m,
		struct stall *stall);
void tails_fini(struct tails *t);

/* Takes over client_fd. */
void tails_add(struct tails *t, const struct ipc_logs *order, int client_fd);

/* Something may have been added to a log of the program. */
void tails_poke(struct tails *t, uint32_t program);

#endif
