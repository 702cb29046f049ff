/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_LOG_HISTORY_H
#define SUPD_SCRIBE_LOG_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A log with its older ones (rotate.h) as one text that grows at its end.  A place in it stays the
 * same place while logs are rotated: the file is kept open, and its neighbours are found anew, by
 * its identity, when its begin or end is reached.
 */
struct log_history {
	const char *path;
	uint32_t backups;
	char *real; /* path without symbolic links; NULL: not known yet */
	int fd;	    /* -1: none is open */
	dev_t dev;
	ino_t ino;
	off_t at; /* the place in it */
};

/* path stays the caller's.  Opens the newest, at its end: 0; -ENOENT: there is none yet, which is
 * no error for who waits; -ENOTSUP: not a regular file; -errno.  log_history_close() in any case. */
int log_history_open(struct log_history *h, const char *path, uint32_t backups);
void log_history_close(struct log_history *h);

/* Go to the end of the next older log, to the begin of the next newer one: 0, -ENOENT: there is
 * none, or -errno.  A log that is too old to be kept has as its next the oldest that is. */
int log_history_older(struct log_history *h);
int log_history_newer(struct log_history *h);

/* What stands before the place, at most len bytes: how many, 0: the begin of this log, -errno. */
ssize_t log_history_read_back(struct log_history *h, char *buf, size_t len);
/* What stands behind it; 0: the end of this log (one that was truncated begins anew). */
ssize_t log_history_read(struct log_history *h, char *buf, size_t len);

#endif
