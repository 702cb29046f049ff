/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PEER_INTERNAL_H
#define SUPD_ENGINE_PEER_INTERNAL_H

#include "supd/engine/engine.h"

/* What peer_io.c (saying), peer_socket.c (paths) and peer_input.c (hearing) share. */

/* Everything after the header is filled in; stamps, seals and sends it: 0 or -errno. */
int peer_io_send(struct engine *e, struct engine_peer *p, struct peer_msg *m);

/* A HELLO to one peer; `ask`: it shall answer at once. */
void peer_io_send_hello(struct engine *e, struct engine_peer *p, bool ask);

/* To a peer that does not know our session, or whose we cannot believe yet: it shall answer. */
void peer_io_send_challenge(struct engine *e, struct engine_peer *p);

/* Hand the sessions of all peers to the keeper. */
void peer_io_send_baton(struct engine *e);

/* One datagram of `len` bytes from `source`, by the socket of our path `own`. */
void peer_input(struct engine *e, unsigned own, const struct ip_addr *source,
		const uint8_t *buf, size_t len);

/* ---- peer_socket.c ---- */

void peer_socket_init(struct engine *e);
void peer_socket_init_peer(struct engine_peer *p);
/* A datagram by every path: 0 if it went out by one at least, else -errno of the first. */
int peer_socket_send(struct engine_peer *p, const void *buf, size_t len);
/* The path from `source` to our end `own`, or -1: that is no address of this peer. */
int peer_path_of(const struct engine_peer *p, unsigned own, const struct ip_addr *source);
/* Longest Active_Down of all services: how long a path may be silent while another is not. */
mtime peer_socket_patience(const struct engine *e);
/* Raise and clear path_lost; with nothing left to read. */
void peer_socket_judge(struct engine *e);

#endif
