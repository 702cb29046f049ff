/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_ENDING_H
#define SUPD_KEEPER_ENDING_H

struct keeper;

/* The end of supd, once the engine is DONE: phase after phase, none of them waited for for ever. */

void ending_begin(struct keeper *k);

/* Something has ended: go on to the next phase where that was the last of this one. */
void ending_poll(struct keeper *k);

#endif
