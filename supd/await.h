/* SPDX-License-Identifier: MIT */
#ifndef SUPD_AWAIT_H
#define SUPD_AWAIT_H

struct keeper_args;

/*
 * At boot the node's address may come later than supd does.  That must not hold up the boot: who
 * waits for us is told that we are there, and it is so: the lock is held, SIGTERM and SIGINT end
 * us, and there is no second one.  args->m is replaced by one that knows which node this is.
 *
 * 0; 1: told to end; -errno, with the reason logged.
 */
int await_self(struct keeper_args *args);

#endif
