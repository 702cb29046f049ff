/* SPDX-License-Identifier: MIT */
#include "supd/scribe/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

#define SPLICE_MAX    (64u << 10)
#define DROP_CHUNK    (16u << 10)
#define LINE_REST_MAX 4096 /* a longer rest of a line is kept, torn */
#define RELIEVE_MAX   16   /* chunks at a time: whoever writes for ever must not keep the lock */

void stream_init(struct stream *s, const struct log_out_conf *conf, const int fds[3],
		 struct peek *peek, pthread_mutex_t *lock)
{
	memset(s, 0, sizeof(*s));
	s->program_fd = fds[0];
	s->stage_in = fds[1];
	s->stage_out = fds[2];
	s->lock = lock;
	log_out_init(&s->out, conf, peek);
	/* Of our ends only: the program's end has file status flags of its own. */
	for (int i = 0; i < 3; i++)
		fd_set_nonblock(fds[i]);
}

void stream_fini(struct stream *s)
{
	fd_close(&s->program_fd);
	fd_close(&s->stage_in);
	fd_close(&s->stage_out);
	log_out_fini(&s->out);
}

/* ---- the log ---------------------------------------------------------------------------------- */

/* Logged once for each kind of failure, not at every attempt. */
static void fail(struct stream *s, int error)
{
	s->error = error;
	s->stuck_since = 0;
	if (s->reported == error)
		return;
	s->reported = error;
	log_error("log of %s: %s: %s, trying every second, output beyond the buffer is dropped",
		  s->out.conf.name, s->out.conf.path, strerror(error));
}

/* Empty the stage into the log; false when the log does not take it. */
static bool empty_stage(struct stream *s)
{
	size_t before = pipe_waiting(s->stage_in);
	int r = log_out_empty(&s->out, s->stage_in);

	if (r == 0)
		s->stuck_since = 0;
	else if (r != -EAGAIN)
		fail(s, -r);
	else if (s->stuck_since == 0 || pipe_waiting(s->stage_in) < before)
		s->stuck_since = mtime_now();
	return r == 0;
}

static const char *drop_reason(const struct stream *s)
{
	if (s->reported)
		return strerror(s->reported);
	return s->out.kind == LOG_OUT_FILE ? "the disk did not answer" : "nobody read it in time";
}

/*
 * Read on to the end of a line that was dropped in part, byte by byte so as to take no more.
 * Under the lock.
 */
static void drop_line_rest(struct stream *s)
{
	char c;

	for (int i = 0; s->mid_line && i < LINE_REST_MAX; i++) {
		ssize_t n = read(s->program_fd, &c, 1);

		if (n < 0)
			return;
		if (n == 0)
			break;
		s->dropped++;
		s->mid_line = c != '\n';
	}
	s->mid_line = false;
}

/*
 * Say in the log how much is missing at this place.  It goes through the (empty) stage too; false:
 * the stage did not take it.
 */
static bool put_drop_notice(struct stream *s)
{
	char text[160];
	uint64_t dropped;
	int len;

	pthread_mutex_lock(s->lock);
	if (s->mid_line && s->program_fd >= 0)
		drop_line_rest(s); /* one notice for all of it */
	dropped = s->dropped;
	s->dropped = 0;
	pthread_mutex_unlock(s->lock);
	if (dropped == 0)
		return true;
	len = snprintf(text, sizeof(text), "\nsupd: %" PRIu64 " bytes of output dropped here: %s\n",
		       dropped, drop_reason(s));
	if (write(s->stage_out, text, (size_t)len) == len) {
		log_warn("log of %s: %" PRIu64 " bytes dropped", s->out.conf.name, dropped);
		return true;
	}
	pthread_mutex_lock(s->lock);
	s->dropped += dropped;
	pthread_mutex_unlock(s->lock);
	return false;
}

/* Stage and notice to the log; false: not now. */
static bool flush(struct stream *s)
{
	if (s->error || !empty_stage(s))
		return false;
	if (!put_drop_notice(s) || !empty_stage(s))
		return false;
	if (s->reported)
		log_notice("log of %s: %s is written again", s->out.conf.name, s->out.conf.path);
	s->reported = 0;
	return true;
}

/* ---- the program's pipe: all under the lock --------------------------------------------------- */

static size_t waiting_bytes(const struct stream *s)
{
	return s->program_fd >= 0 ? pipe_waiting(s->program_fd) : 0;
}

static bool drop_chunk(struct stream *s)
{
	char buf[DROP_CHUNK];
	ssize_t n = read(s->program_fd, buf, sizeof(buf));

	if (n <= 0)
		return false;
	s->dropped += (uint64_t)n;
	s->mid_line = buf[n - 1] != '\n';
	drop_line_rest(s);
	return true;
}

/*
 * program -> stage: bytes, 0 at the end, -EAGAIN: nothing waits or the stage is full, -ENODATA:
 * output before this was dropped, and the log must say so first.
 */
static ssize_t fill_locked(struct stream *s)
{
	ssize_t n;

	if (s->mid_line)
		drop_line_rest(s);
	if (s->mid_line)
		return -EAGAIN;
	if (s->dropped > 0)
		return -ENODATA;
	do
		n = splice(s->program_fd, NULL, s->stage_out, NULL, SPLICE_MAX,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		fd_close(&s->program_fd);
	return n >= 0 ? n : -errno;
}

static ssize_t fill(struct stream *s)
{
	ssize_t n;

	pthread_mutex_lock(s->lock);
	n = s->program_fd >= 0 ? fill_locked(s) : 0;
	pthread_mutex_unlock(s->lock);
	return n;
}

/* The stage is full and the log is not to be had: what the program says now is lost. */
static ssize_t drop(struct stream *s)
{
	uint64_t before;
	ssize_t n;

	if (!s->error && mtime_now() - s->stuck_since < STREAM_PATIENCE)
		return 0;
	pthread_mutex_lock(s->lock);
	before = s->dropped;
	if (!s->error)
		stream_relieve(s);
	else if (waiting_bytes(s) > 0)
		drop_chunk(s);
	n = (ssize_t)(s->dropped - before);
	pthread_mutex_unlock(s->lock);
	return n;
}

/*
 * Many small pieces of one line, each in a slot of its own, fill the stage of a log that takes
 * whole lines: it gets what there is.
 */
static bool is_clogged(struct stream *s)
{
	if (pipe_waiting(s->stage_in) == 0 || waiting_bytes(s) == 0)
		return false;
	s->out.rest = true;
	flush(s);
	s->out.rest = false;
	return s->error == 0 && s->stuck_since == 0;
}

bool stream_pump(struct stream *s, uint64_t budget)
{
	uint64_t moved = 0;

	while (moved < budget) {
		bool writable = flush(s);
		ssize_t n = fill(s);

		if (n == -ENODATA && writable)
			continue;
		if (n == -EAGAIN && writable && is_clogged(s))
			continue;
		if (n < 0 && !writable)
			n = drop(s);
		if (n <= 0)
			return false;
		moved += (uint64_t)n;
	}
	flush(s);
	return true;
}

void stream_retry(struct stream *s)
{
	if (!s->error)
		return;
	s->error = 0;
	flush(s);
}

void stream_finish(struct stream *s, uint64_t budget)
{
	s->out.rest = true;
	stream_pump(s, budget);
	flush(s);
	s->out.rest = false;
}

size_t stream_rest(const struct stream *s)
{
	if (s->out.kind != LOG_OUT_SYSLOG || s->error || s->stuck_since != 0)
		return 0;
	return pipe_waiting(s->stage_in);
}

/* At a quarter of the pipe the program is in no danger yet; most stalls end before that. */
void stream_relieve(struct stream *s)
{
	size_t limit;

	if (s->program_fd < 0)
		return;
	limit = (size_t)fcntl(s->program_fd, F_GETPIPE_SZ) / 4;
	for (int i = 0; i < RELIEVE_MAX && waiting_bytes(s) > limit && drop_chunk(s); i++)
		;
}
