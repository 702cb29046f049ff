/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PEER_INTERNAL_H
#define SUPD_ENGINE_PEER_INTERNAL_H

#include "supd/engine/engine.h"

/* What peer_io.c (sending) and peer_input.c (receiving) share. */

/* Everything after the header is filled in; stamps, seals and sends it: 0 or -errno. */
int peer_io_send(struct engine *e, struct engine_peer *p, struct peer_msg *m);

/* A HELLO to one peer; `ask`: it shall answer at once. */
void peer_io_send_hello(struct engine *e, struct engine_peer *p, bool ask);

/* To a peer that does not know our session, or whose we cannot believe yet: it shall answer. */
void peer_io_send_challenge(struct engine *e, struct engine_peer *p);

/* Hand the sessions of all peers to the keeper. */
void peer_io_send_baton(struct engine *e);

/* One datagram of `len` bytes from `source`. */
void peer_input(struct engine *e, const struct sockaddr_in *source, const uint8_t *buf, size_t len);

#endif
