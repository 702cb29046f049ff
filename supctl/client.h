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
	const char *action; /* what goes on when nobody waits for it: "the failover" */
};

/*
 * Ask: 0, and *ret_reply (the caller's) with *ret_line, the line as supd sent it, without its
 * newline (free() it).  Otherwise a control code, after a line on stderr that says why:
 * CONTROL_UNKNOWN (unreachable), CONTROL_PERMISSION, CONTROL_TIMEOUT, CONTROL_FAILED.
 * SIGINT ends the waiting, not the action.
 */
int client_ask(const struct client *c, const json_t *request, json_t **ret_reply, char **ret_line);

/* "supctl: ..." on stderr; returns code. */
int client_complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
