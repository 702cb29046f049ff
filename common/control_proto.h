/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_CONTROL_PROTO_H
#define SUPD_COMMON_CONTROL_PROTO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * What supd and supctl say to each other: JSON, one object a line, over a UNIX stream socket.
 *
 *   request   {"command":"status","args":{...}}
 *   reply     {"schema":1,...}  or  {"schema":1,"error":{"code":9,"message":"..."}}
 *
 * A connection carries any number of requests, answered one after the other.  Both sides bound
 * what they hold of the other's.  `logs` is the last request of its connection: many lines answer
 * it (supd/scribe/tails.h).
 */
#define CONTROL_SCHEMA	    1
#define CONTROL_LINE_MAX    65536u	/* a request, with its newline */
#define CONTROL_REPLY_MAX   (8u << 20)	/* a reply, with its newline */
#define CONTROL_TIMEOUT_MS  60000	/* of an action, unless args.timeout_ms says otherwise */
#define CONTROL_START_MS    120000	/* of `start`: it may have to wait for wait_for_peer */
#define CONTROL_TIMEOUT_MAX 86400000	/* ms */
#define CONTROL_LOG_LINES   10 /* of `logs`, unless args.lines says otherwise */
#define CONTROL_LOG_LINES_MAX 1000000
#define CONTROL_SOCKET_NAME "supd.sock" /* in run_dir */

/* The codes in a reply, which are also the exit codes of supctl. */
#define CONTROL_CODES(X)                                                                           \
	X(OK, 0, "done")                                                                           \
	X(FAILED, 1, "failed")                                                                     \
	X(USAGE, 2, "usage")                                                                       \
	X(NOT_IN_STATE, 3, "not in that state")                                                    \
	X(UNKNOWN, 4, "unknown name, or supd is unreachable")                                      \
	X(PERMISSION, 5, "not permitted")                                                          \
	X(CONFIG, 6, "bad configuration")                                                          \
	X(NOT_RUNNING, 7, "not running")                                                           \
	X(TIMEOUT, 8, "timed out")                                                                 \
	X(REFUSED, 9, "refused in this role or state")

enum control_code {
#define X(name, number, text) CONTROL_##name = number,
	CONTROL_CODES(X)
#undef X
};
/* The text of a code; "failed" for a number that is none. */
const char *control_code_text(int code);

/* Commands of the contract that this version knows and does not carry out yet. */
bool control_command_is_later(const char *name);

/* ---- bytes -------------------------------------------------------------------------------------- */

/* A bounded buffer of bytes on their way in (cut into lines) or out. */
struct control_buffer {
	char *data;
	size_t len, size, max;
	size_t scanned; /* bytes known to hold no newline */
};

void control_buffer_init(struct control_buffer *b, size_t max);
void control_buffer_fini(struct control_buffer *b);
/* 0, -EMSGSIZE: it would hold more than its maximum (nothing was taken), -ENOMEM. */
int control_buffer_append(struct control_buffer *b, const void *data, size_t len);
/* Append `json` and a newline; the same results. */
int control_buffer_append_json(struct control_buffer *b, const json_t *json);
/* One read(2): bytes read, 0: end of file, -EMSGSIZE: full, -EAGAIN, -errno. */
ssize_t control_buffer_read(struct control_buffer *b, int fd);
/* Send what it holds: 0: all sent, -EAGAIN: some is left, -errno.  Never raises SIGPIPE. */
int control_buffer_flush(struct control_buffer *b, int fd);
/* The first whole line (ended by its newline, which *ret_len does not count) or NULL; stays in the buffer. */
char *control_buffer_line(struct control_buffer *b, size_t *ret_len);
/* Forget the first n bytes; of a line of length len: len + 1. */
void control_buffer_drop(struct control_buffer *b, size_t n);

/* ---- objects ------------------------------------------------------------------------------------ */

/* Each of these returns a new object, or NULL without memory. */
json_t *control_request_new(const char *command, json_t *args); /* takes over args */
json_t *control_reply_new(void);				/* {"schema":1} */
json_t *control_error_new(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line as an object: 0 and *ret, or -EBADMSG; duplicate keys are refused. */
int control_parse(const char *line, size_t len, json_t **ret);

/*
 * The code of a reply: 0, or that of its error, with *ret_message pointing into the reply.  What is
 * no reply of this schema is CONTROL_FAILED.
 */
int control_reply_code(const json_t *reply, const char **ret_message);

/* ---- names -------------------------------------------------------------------------------------- */

/*
 * Whether `candidate` looks like a misspelt `name`; smaller results are nearer, -1: not alike.
 * For "did you mean"; nothing is ever done to a name that does not match exactly.
 */
int control_name_distance(const char *name, const char *candidate);

#endif
