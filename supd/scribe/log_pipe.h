/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_LOG_PIPE_H
#define SUPD_SCRIBE_LOG_PIPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The log of all roles: framed lines (common/log.h) out of one pipe, to syslog or to stderr.
 * Either may block: that is why it is done here.
 */
struct log_pipe {
	int fd;		  /* read end, non-blocking; -1: ended */
	bool to_stderr;
	const char *node; /* for stderr: "supd NODE role: text" */
	size_t len;	  /* of the unfinished line in buf */
	char buf[8192];
};

/* Takes over fd. */
void log_pipe_init(struct log_pipe *p, int fd, bool to_stderr, const char *node);
void log_pipe_fini(struct log_pipe *p);

/* Read once and write out the whole lines; true: more may wait.  At the end fd becomes -1. */
bool log_pipe_pump(struct log_pipe *p);

#endif
