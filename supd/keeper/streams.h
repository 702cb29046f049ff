/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_STREAMS_H
#define SUPD_KEEPER_STREAMS_H

struct keeper;
struct program;

/*
 * The outputs of programs: two pipes each, held by the keeper for as long as supd runs, so that
 * neither a killed scribe nor a program's restart loses what is in them.
 */

/* Make those of a program, unless they are there, and tell the scribe: 0 or -errno. */
int streams_open(struct keeper *k, struct program *p);

/* Tell a new scribe all that there are. */
void streams_tell_all(struct keeper *k);

#endif
