/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_KEEPER_RELAY_H
#define SUPD_TESTS_KEEPER_RELAY_H

#include "supd/ipc/msg.h"

/*
 * The stand-ins for net, scribe and engine of a keeper under test (keeper_world.h).  The engine
 * connects to run_dir/../test.sock and begins with this; from then on the keeper's messages come
 * with the number of their descriptors in one more byte, and what is sent goes to the keeper.  A
 * message of type IPC_NONE from the test: feed no more; of generation RELAY_ECHO: send it back, all
 * before it has been passed on.
 */
#define RELAY_ECHO 0xffffffffu

struct relay_hello {
	struct ipc_header h;
	pid_t pid;
	uint32_t generation;
};

#endif
