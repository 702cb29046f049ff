/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_LOG_SINK_H
#define SUPD_SCRIBE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Where the log of all roles goes: stderr, or syslog; and the output of programs: syslog.  Nothing
 * here waits: whoever reads there may be stopped for as long as it likes, and the state file must
 * not wait for it (which rules out syslog(3)).
 */
struct log_sink {
	bool to_stderr;
	const char *name; /* stderr: "supd NAME text"; syslog: "NAME: text" */
	const char *path; /* of syslog's socket */
	int fd;		  /* to syslog; -1: not connected */
	bool stream;	  /* it is a stream socket: lines end with a NUL */
};

/* Both strings stay the caller's.  path: as _PATH_LOG. */
void log_sink_init(struct log_sink *s, bool to_stderr, const char *name, const char *path);
void log_sink_fini(struct log_sink *s);

/*
 * Hand over one line without newline; level as in common/log.h, the same as syslog's.  False: not
 * now, try again later.  A line that nobody will ever take (no syslog there) is dropped: true.
 */
bool log_sink_put(struct log_sink *s, int level, const char *line);

/*
 * One line of `len` bytes, to syslog: 0, -EAGAIN: not now, try again when fd can be written;
 * -errno: nobody takes it.  A NUL becomes a blank.
 */
int log_sink_send(struct log_sink *s, int level, const char *text, size_t len);

#endif
