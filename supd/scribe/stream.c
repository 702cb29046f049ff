/* SPDX-License-Identifier: MIT */
#include "supd/scribe/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"

#define SPLICE_MAX    (64u << 10)
#define DROP_CHUNK    (16u << 10)
#define LINE_REST_MAX 4096 /* a longer rest of a line is kept, torn */
#define RELIEVE_MAX   16   /* chunks at a time: whoever writes for ever must not keep the lock */

void stream_init(struct stream *s, const char *name, const char *path, const int fds[3],
		 pthread_mutex_t *lock)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->path = path;
	s->program_fd = fds[0];
	s->stage_in = fds[1];
	s->stage_out = fds[2];
	s->file_fd = -1;
	s->lock = lock;
	/* Of our ends only: the program's end has file status flags of its own. */
	for (int i = 0; i < 3; i++)
		fd_set_nonblock(fds[i]);
}

void stream_fini(struct stream *s)
{
	fd_close(&s->program_fd);
	fd_close(&s->stage_in);
	fd_close(&s->stage_out);
	fd_close(&s->file_fd);
}

/* ---- the file --------------------------------------------------------------------------------- */

/* Logged once for each kind of failure, not at every attempt. */
static void fail(struct stream *s, int error)
{
	fd_close(&s->file_fd);
	s->error = error;
	if (s->reported == error)
		return;
	s->reported = error;
	log_error("log of %s: %s: %s, trying every second, output beyond the buffer is dropped",
		  s->name, s->path, strerror(error));
}

/*
 * A symbolic link is followed: the administrator put it there.  O_NONBLOCK keeps the open of a
 * FIFO without a reader from waiting; a regular file ignores it.
 */
static void open_file(struct stream *s)
{
	struct stat st;

	s->file_fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (s->file_fd < 0 || fstat(s->file_fd, &st) < 0) {
		fail(s, errno);
		return;
	}
	s->splices = S_ISREG(st.st_mode);
	s->error = 0;
}

/* stage -> file by splice: bytes, 0 when the stage is empty, -errno. */
static ssize_t splice_to_file(struct stream *s)
{
	struct stat st;
	off_t at;
	ssize_t n;

	if (fstat(s->file_fd, &st) < 0)
		return -errno;
	at = st.st_size; /* asked each time: another stream, or copytruncate, may share the file */
	n = splice(s->stage_in, NULL, s->file_fd, &at, SPLICE_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0 && errno == EINVAL)
		s->splices = false; /* a file system without it: copied from now on */
	if (n >= 0 || errno == EAGAIN)
		return n >= 0 ? n : 0;
	return errno == EINTR || errno == EINVAL ? -EAGAIN : -errno;
}

/* The same for a device, by a copy: what was read and cannot be written counts as dropped. */
static ssize_t copy_to_file(struct stream *s)
{
	char buf[4096];
	ssize_t n = read(s->stage_in, buf, sizeof(buf));
	int r;

	if (n <= 0)
		return 0;
	r = lseek(s->file_fd, 0, SEEK_END) < 0 && errno != ESPIPE ? -errno : 0;
	if (r == 0)
		r = fd_write_all(s->file_fd, buf, (size_t)n);
	if (r == 0)
		return n;
	pthread_mutex_lock(s->lock);
	s->dropped += (uint64_t)n;
	pthread_mutex_unlock(s->lock);
	return r == -EAGAIN ? -EBUSY : r;
}

/* Empty the stage into the file; false when the file does not take it. */
static bool empty_stage(struct stream *s)
{
	ssize_t n;

	do
		n = s->splices ? splice_to_file(s) : copy_to_file(s);
	while (n > 0 || n == -EAGAIN);
	if (n == 0)
		return true;
	fail(s, (int)-n);
	return false;
}

/*
 * Say in the file how much is missing at this place.  It goes through the (empty) stage too; false:
 * the stage did not take it.
 */
static bool put_drop_notice(struct stream *s)
{
	char text[160];
	uint64_t dropped;
	int len;

	pthread_mutex_lock(s->lock);
	dropped = s->dropped;
	s->dropped = 0;
	pthread_mutex_unlock(s->lock);
	if (dropped == 0)
		return true;
	len = snprintf(text, sizeof(text), "\nsupd: %" PRIu64 " bytes of output dropped here: %s\n",
		       dropped, s->reported ? strerror(s->reported) : "the disk did not answer");
	if (write(s->stage_out, text, (size_t)len) == len) {
		log_warn("log of %s: %" PRIu64 " bytes dropped", s->name, dropped);
		return true;
	}
	pthread_mutex_lock(s->lock);
	s->dropped += dropped;
	pthread_mutex_unlock(s->lock);
	return false;
}

/* Stage and notice to the file; false: not now. */
static bool flush(struct stream *s)
{
	if (s->error)
		return false;
	if (s->file_fd < 0)
		open_file(s);
	if (s->error || !empty_stage(s))
		return false;
	if (!put_drop_notice(s) || !empty_stage(s))
		return false;
	if (s->reported)
		log_notice("log of %s: %s is written again", s->name, s->path);
	s->reported = 0;
	return true;
}

/* ---- the program's pipe: all under the lock --------------------------------------------------- */

static int waiting_bytes(const struct stream *s)
{
	int n = 0;

	return s->program_fd >= 0 && ioctl(s->program_fd, FIONREAD, &n) == 0 ? n : 0;
}

/* Read on to the end of a line that was dropped in part, byte by byte so as to take no more. */
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
 * output before this was dropped, and the file must say so first.
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

/* The stage is full and the file is not to be had: what the program says now is lost. */
static ssize_t drop(struct stream *s)
{
	uint64_t before;
	ssize_t n;

	pthread_mutex_lock(s->lock);
	before = s->dropped;
	if (waiting_bytes(s) > 0)
		drop_chunk(s);
	n = (ssize_t)(s->dropped - before);
	pthread_mutex_unlock(s->lock);
	return n;
}

bool stream_pump(struct stream *s, uint64_t budget)
{
	uint64_t moved = 0;

	while (moved < budget) {
		bool writable = flush(s);
		ssize_t n = fill(s);

		if (n == -ENODATA && writable)
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

/* At a quarter of the pipe the program is in no danger yet; most stalls end before that. */
void stream_relieve(struct stream *s)
{
	int limit;

	if (s->program_fd < 0)
		return;
	limit = fcntl(s->program_fd, F_GETPIPE_SZ) / 4;
	for (int i = 0; i < RELIEVE_MAX && waiting_bytes(s) > limit && drop_chunk(s); i++)
		;
}
