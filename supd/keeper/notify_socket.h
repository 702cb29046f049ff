/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_NOTIFY_SOCKET_H
#define SUPD_KEEPER_NOTIFY_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"

struct keeper;

/*
 * The sockets that programs with ready = notify or health = notify find in NOTIFY_SOCKET
 * (sd_notify(3)): one each, in run_dir, its program's alone.  The keeper holds them, so that what a
 * program says while no engine reads is not lost.
 */

bool notify_socket_wanted(const struct model_program *p);
/* Its path: 0 or -ENAMETOOLONG. */
int notify_socket_path(const struct model *m, uint32_t program, char *buf, size_t size);

/* Make them all: 0 or -errno, logged. */
int notify_sockets_open(struct keeper *k);
/* Tell a new engine. */
void notify_sockets_tell(struct keeper *k);
/* Close them, and take them out of run_dir. */
void notify_sockets_close(struct keeper *k);

#endif
