/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_LOG_PIPE_H
#define SUPD_SCRIBE_LOG_PIPE_H

#include <stdbool.h>
#include <stddef.h>

#include "supd/scribe/log_sink.h"

/*
 * The log of all roles: framed lines (common/log.h) out of one pipe, to syslog or to stderr.
 *
 * When those take nothing, nothing is read: the pipe fills, and the roles drop and count for
 * themselves (common/log.h).
 */
struct log_pipe {
	int fd;		 /* read end, non-blocking; -1: ended */
	bool blocked;	 /* a line waits in buf for the sink */
	size_t len;	 /* of what is in buf */
	char buf[8192];
	struct log_sink sink;
};

/* Takes over fd. */
void log_pipe_init(struct log_pipe *p, int fd, bool to_stderr, const char *node);
void log_pipe_fini(struct log_pipe *p);

/*
 * Read once and write out the whole lines; true: more may wait.  At the end fd becomes -1.  False
 * with `blocked` set: call again in a moment.
 */
bool log_pipe_pump(struct log_pipe *p);

#endif
