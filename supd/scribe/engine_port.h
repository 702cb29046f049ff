/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_ENGINE_PORT_H
#define SUPD_SCRIBE_ENGINE_PORT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"

#define ENGINE_PORT_SAVES 64 /* orders answered by one write */

/*
 * The scribe's side of the channel to the engine: the state file, and clients that want logs.
 *
 * Of several queued STATE_SAVEs only the newest is written; each is answered, after the write that
 * covers it and with its result.  Only the newest engine is served.
 */
struct engine_port_calls {
	void (*gone)(void *arg); /* the engine has closed its end */
	/* A client that wants logs: takes over client_fd. */
	void (*logs)(void *arg, const struct ipc_logs *order, int client_fd);
};

struct engine_port {
	const struct model *m;
	struct ev_loop *loop;
	struct channel channel;
	struct ev_io reader, writer;
	uint32_t generation; /* of the engine served */
	struct ipc_state_save *in, *newest; /* received now; to be written */
	size_t n_saves;	     /* orders that `newest` covers */
	uint64_t saves[ENGINE_PORT_SAVES];
	int last_error;	     /* logged once */
	const struct engine_port_calls *calls;
	void *arg;
};

/* calls stay the caller's.  0 or -errno. */
int engine_port_init(struct engine_port *p, struct ev_loop *loop, const struct model *m,
		     const struct engine_port_calls *calls, void *arg);
void engine_port_fini(struct engine_port *p);
bool engine_port_is_open(const struct engine_port *p);

/* A new engine: takes over fd.  An older generation than the one served is turned away. */
void engine_port_open(struct engine_port *p, int fd, uint32_t generation);

#endif
