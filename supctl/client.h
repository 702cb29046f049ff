/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_CLIENT_H
#define SUPCTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

/* One request to supd over its socket. */
struct client {
	const char *socket;
	int wait_ms;	    /* how long the answer may take */
	bool is_query;	    /* may be asked again when supd's engine was replaced meanwhile */
	bool again;	    /* so may this action: asked twice it is done once */
	bool follows;	    /* client_stream(): once it has begun, any silence is fine */
	const char *action; /* what goes on when nobody waits for it: "the failover" */
};

/*
 * Ask: 0, and *ret_reply (the caller's) with *ret_line, the line as supd sent it, without its
 * newline (free() it).  Otherwise a control code, after a line on stderr that says why:
 * CONTROL_UNKNOWN (unreachable), CONTROL_PERMISSION, CONTROL_TIMEOUT, CONTROL_FAILED.
 * SIGINT ends the waiting, not the action.
 */
int client_ask(const struct client *c, const json_t *request, json_t **ret_reply, char **ret_line);

/*
 * Ask a question that many lines answer: each goes to take(), which returns CLIENT_GOES_ON or a
 * control code, the result.  Otherwise a code as above, after a line on stderr.  SIGINT kills.
 */
enum { CLIENT_GOES_ON = -1 };
int client_stream(const struct client *c, const json_t *request,
		  int (*take)(void *arg, const char *line, size_t len), void *arg);

/* "supctl: ..." on stderr; returns code. */
int client_complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
