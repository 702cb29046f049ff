/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_LOG_OUT_H
#define SUPD_SCRIBE_LOG_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supd/scribe/log_sink.h"
#include "supd/scribe/peek.h"

/*
 * Where one output of a program goes, out of its stage pipe:
 *
 *   a file     by splice, at offset = its size (splice(2) refuses O_APPEND); rotated by size; one
 *              that was moved or taken away is noticed before each write, and opened anew
 *   a FIFO     by splice; nobody reads there: an error
 *   a device   by copy
 *   syslog     line by line, under the program's name
 *
 * Bytes leave the stage when they have arrived: a killed scribe loses nothing, and repeats nothing
 * in a file or a FIFO (at most one line, or one write, elsewhere).
 */
struct log_out_conf {
	const char *name; /* of the program */
	const char *path; /* or MODEL_LOG_SYSLOG */
	const char *syslog_path; /* of its socket */
	uint64_t max_bytes; /* 0: never rotated */
	uint32_t backups;
};

enum log_out_kind { LOG_OUT_FILE, LOG_OUT_FIFO, LOG_OUT_DEVICE, LOG_OUT_SYSLOG };

struct log_out {
	struct log_out_conf conf;
	struct peek *peek;
	enum log_out_kind kind;
	int fd;		/* -1: not open; syslog has its own in `sink` */
	char *real;	/* the path without symbolic links: what is rotated; NULL: none */
	dev_t dev;	/* of the open file */
	ino_t ino;
	uint64_t limit; /* rotated before it grows beyond */
	bool copies;	/* a file system without splice */
	bool warned;	/* that it cannot be rotated */
	bool rest;	/* syslog: send a line without an end, too */
	struct log_sink sink;
};

/* conf's strings and peek stay the caller's.  Nothing is opened yet. */
void log_out_init(struct log_out *o, const struct log_out_conf *conf, struct peek *peek);
void log_out_fini(struct log_out *o);

/*
 * Open it where necessary, and move there what the stage holds.  May block on a disk.
 *   0        the stage is empty, or holds the begin of a line that syslog gets when it is whole
 *   -EAGAIN  whoever reads there takes nothing now: wait until log_out_wait_fd() can be written
 *   -errno   it cannot be opened or written; closed
 */
int log_out_empty(struct log_out *o, int stage);

/* After -EAGAIN. */
int log_out_wait_fd(const struct log_out *o);

#endif
