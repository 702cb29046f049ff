/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_STREAM_H
#define SUPD_SCRIBE_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"
#include "supd/scribe/log_out.h"

/*
 * One output of a program on its way to its log.
 *
 *   program --> [program pipe] --splice--> [stage pipe] --> log_out.h
 *
 * Both pipes are held by the keeper.  Each splice moves bytes or does not; the log is written from
 * the stage alone.  So whenever the scribe is killed, each byte is in exactly one of the three, and
 * the next scribe goes on.
 *
 * The program never waits for a log that cannot be written: the stage fills, then output is
 * dropped from the program pipe in whole lines, counted, and the log says so when it works again.
 * A reader (of a FIFO, of syslog's socket) that takes nothing for STREAM_PATIENCE is such a log.
 */
#define STREAM_PATIENCE MTIME_MS(200)

struct stream {
	int program_fd;	  /* read end of the program pipe; -1: ended */
	int stage_in, stage_out; /* the stage's read and write end */
	struct log_out out;
	int error;	  /* why the log cannot be written, positive; 0: it can */
	int reported;	  /* the last error logged; 0: none */
	mtime stuck_since; /* its reader has taken nothing since; 0: it does */

	/* Under `lock`, which is never held across anything that may block. */
	pthread_mutex_t *lock;
	uint64_t dropped; /* bytes not yet reported */
	bool mid_line;	  /* the last dropped byte was inside a line: the rest goes too */
};

/* Takes over the three descriptors. Nothing is opened yet. */
void stream_init(struct stream *s, const struct log_out_conf *conf, const int fds[3],
		 struct peek *peek, pthread_mutex_t *lock);
/* The caller holds `lock` if a second thread can see the stream. */
void stream_fini(struct stream *s);

/*
 * Move what waits, at most about `budget` bytes; opens the log if necessary.  May block on a disk.
 * Returns true when more may be waiting.
 */
bool stream_pump(struct stream *s, uint64_t budget);

/* Try the log again after an error. */
void stream_retry(struct stream *s);

/* Move everything, the begin of a line too. */
void stream_finish(struct stream *s, uint64_t budget);

/* The bytes of a line without an end that syslog has not got yet; 0: none. */
size_t stream_rest(const struct stream *s);

/* Drop where the program might block soon.  For the second thread, which holds `lock`. */
void stream_relieve(struct stream *s);

#endif
