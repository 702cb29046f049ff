/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_STREAM_H
#define SUPD_SCRIBE_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * One output of a program on its way to a file.
 *
 *   program --> [program pipe] --splice--> [stage pipe] --splice--> file, at offset = its size
 *
 * Both pipes are held by the keeper.  Each splice moves bytes or does not; the file is written
 * from the stage alone.  So whenever the scribe is killed, each byte is in exactly one of the
 * three, and the next scribe goes on.
 *
 * The program never waits for a file that cannot be written: the stage fills, then output is
 * dropped from the program pipe in whole lines, counted, and the file says so when it works again.
 */
struct stream {
	const char *name; /* of the program, for messages */
	const char *path;
	int program_fd;	  /* read end of the program pipe; -1: ended */
	int stage_in, stage_out; /* the stage's read and write end */
	int file_fd;	  /* -1: not open */
	bool splices;	  /* the file takes splice (not a device) */
	int error;	  /* why the file cannot be written, positive; 0: it can */
	int reported;	  /* the last error logged; 0: none */

	/* Under `lock`, which is never held across anything that may block. */
	pthread_mutex_t *lock;
	uint64_t dropped; /* bytes not yet reported */
	bool mid_line;	  /* the last dropped byte was inside a line: the rest goes too */
};

/* Takes over the three descriptors. Nothing is opened yet. */
void stream_init(struct stream *s, const char *name, const char *path, const int fds[3],
		 pthread_mutex_t *lock);
/* The caller holds `lock` if a second thread can see the stream. */
void stream_fini(struct stream *s);

/*
 * Move what waits, at most about `budget` bytes; opens the file if necessary.  May block on the
 * file.  Returns true when more may be waiting.
 */
bool stream_pump(struct stream *s, uint64_t budget);

/* Try the file again after an error. */
void stream_retry(struct stream *s);

/* Drop where the program might block soon.  For the second thread, which holds `lock`. */
void stream_relieve(struct stream *s);

#endif
