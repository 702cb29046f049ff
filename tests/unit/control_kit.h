/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CONTROL_KIT_H
#define TESTS_UNIT_CONTROL_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>

#include "supd/engine/control.h"
#include "tests/unit/tiny_model.h"

/*
 * The real control server on a real socket in a directory of its own, in front of a fabricated
 * engine: three nodes (a is this one), service scheduler with programs master and helper, program
 * worker on every node.  The kit plays the shells: program events go through the real
 * program_step(), service events are noted, and the test says what became of them.
 */
enum { NODE_A, NODE_B, NODE_C };
enum { MASTER, HELPER, WORKER };

#define KIT_NOTES_MAX 64

struct control_kit {
	struct engine *e;
	struct tiny_model model;
	char dir[64], path[96];
	int fd; /* a connected client */
	char in[1 << 16];
	size_t in_len;

	/* what was asked of the shells */
	unsigned n_commands; /* to the service */
	enum service_command commands[KIT_NOTES_MAX];
	bool command_force;
	unsigned n_spawns[3], n_signals[3];
	unsigned n_reconciles;
	struct group_member local_members[1];
	struct {
		uint32_t peer, id;
		bool is_result;
		char json[PEER_TEXT_MAX];
	} sent[KIT_NOTES_MAX]; /* to peers */
	unsigned n_sent;
	int send_error;
	unsigned n_reexecs; /* asked of the keeper */
	bool keeper_is_deaf;
	struct ipc_logs logs; /* to the scribe, with a client */
	int passed_fd;	      /* 0: none */
};

int kit_setup(void **state);
int kit_teardown(void **state);

/* Another client; -1 when it cannot. */
int kit_connect(struct control_kit *k);
/* Let the server work until nothing is left to do at the moment. */
void kit_spin(struct control_kit *k);
/* Bytes from the kit's client. */
void kit_send(struct control_kit *k, const char *bytes);
/* The next reply (json_decref it); fails after 5 s. */
json_t *kit_reply(struct control_kit *k);
/* The same from another client. NULL: the connection has ended. */
json_t *kit_reply_on(struct control_kit *k, int fd);
/* kit_send() with a newline and kit_reply(). */
json_t *kit_ask(struct control_kit *k, const char *request);
/* No reply has come, and none comes of itself. */
void kit_expect_silence(struct control_kit *k);
/* Run until the other end of fd is closed; fails after 5 s. */
void kit_expect_closed(struct control_kit *k, int fd);

/* The reply has this code; part of its message, where not NULL. Frees it. */
#define kit_expect(reply, code, part) kit_expect_(reply, code, part, __FILE__, __LINE__)
void kit_expect_(json_t *reply, int code, const char *part, const char *file, int line);
/* kit_ask() and kit_expect(). */
#define kit_check(k, request, code, part)                                                          \
	kit_expect_(kit_ask(k, request), code, part, __FILE__, __LINE__)

/* ---- the world ---------------------------------------------------------------------------------- */

struct service_fsm *kit_service(struct control_kit *k);
struct program_fsm *kit_program(struct control_kit *k, unsigned program);
/* State of the service here, since now; active: its programs are ready. */
void kit_set_state(struct control_kit *k, enum service_state state);
/* What a peer said just now, fit unless it failed or is stopped; it hears us. */
void kit_peer_says(struct control_kit *k, unsigned peer, enum service_state state);
void kit_peer_silent(struct control_kit *k, unsigned peer);

/* What the keeper says. */
void kit_spawned(struct control_kit *k, unsigned program);
void kit_spawn_failed(struct control_kit *k, unsigned program, enum ipc_stage stage, int error);
void kit_exited(struct control_kit *k, unsigned program, int code, int signo);

#endif
