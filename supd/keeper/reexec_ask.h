/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_REEXEC_ASK_H
#define SUPD_KEEPER_REEXEC_ASK_H

struct loader_options;
struct model;

/*
 * What an image asks of the binary that is to replace it, one JSON object in the memfd that the
 * model will stand in:
 *
 *   {"handover":2, "baton":3, "config":HEX}
 *
 * the versions of what it will leave (keeper/handover.h; core/service_fsm.h), and the fingerprint
 * of the configuration and key in force.
 */

/* 0 or -errno. */
int reexec_ask_write(const struct model *m, int fd);

/*
 * `supd --prepare FD`, in the new binary: answer with the model in its place, sealed.  The exit
 * status: 0; 1 with one line on stderr; 6 with the problems of the configuration.
 */
int reexec_ask_answer(const struct loader_options *o, int fd);

#endif
