/* SPDX-License-Identifier: MIT */
#include "supd/scribe/log_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/config/model.h"
#include "supd/scribe/rotate.h"

#define SPLICE_MAX  (64u << 10)
#define COPY_MAX    4096u
#define LINE_GRACE  (64u << 10) /* a line that goes on so far beyond the limit is cut */
#define SYSLOG_LINE 8000u	/* rsyslog takes 8192 with its header; what is longer is cut */

void log_out_init(struct log_out *o, const struct log_out_conf *conf, struct peek *peek)
{
	memset(o, 0, sizeof(*o));
	o->conf = *conf;
	o->peek = peek;
	o->fd = -1;
	o->kind = strcmp(conf->path, MODEL_LOG_SYSLOG) == 0 ? LOG_OUT_SYSLOG : LOG_OUT_FILE;
	log_sink_init(&o->sink, false, conf->name, conf->syslog_path);
}

static void close_out(struct log_out *o)
{
	fd_close(&o->fd);
	free(o->real);
	o->real = NULL;
}

void log_out_fini(struct log_out *o)
{
	close_out(o);
	log_sink_fini(&o->sink);
}

int log_out_wait_fd(const struct log_out *o)
{
	return o->kind == LOG_OUT_SYSLOG ? o->sink.fd : o->fd;
}

/* ---- opening ---------------------------------------------------------------------------------- */

static enum log_out_kind kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return LOG_OUT_FILE;
	return S_ISFIFO(mode) ? LOG_OUT_FIFO : LOG_OUT_DEVICE;
}

/*
 * A symbolic link is followed: the administrator put it there.  O_NONBLOCK keeps the open of a
 * FIFO without a reader from waiting; a regular file ignores it.
 */
static int open_out(struct log_out *o)
{
	struct stat st;
	int r = 0;

	o->fd = open(o->conf.path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (o->fd < 0)
		return -errno;
	if (fstat(o->fd, &st) < 0)
		r = -errno;
	o->real = realpath(o->conf.path, NULL);
	if (r == 0 && !o->real)
		r = -errno;
	if (r < 0) {
		close_out(o);
		return r;
	}
	o->kind = kind_of(st.st_mode);
	o->dev = st.st_dev;
	o->ino = st.st_ino;
	o->limit = o->conf.max_bytes;
	return 0;
}

/* Whether the path leads to another file than the one that is open, or to none. */
static bool was_moved(const struct log_out *o)
{
	struct stat st;

	if (o->kind != LOG_OUT_FILE)
		return false;
	return stat(o->conf.path, &st) < 0 || st.st_dev != o->dev || st.st_ino != o->ino;
}

static int ensure_open(struct log_out *o)
{
	if (o->kind == LOG_OUT_SYSLOG)
		return 0;
	if (o->fd >= 0 && was_moved(o))
		close_out(o);
	return o->fd >= 0 ? 0 : open_out(o);
}

/* ---- a file ----------------------------------------------------------------------------------- */

/* Whether the last byte of the file is a newline; a file that cannot be read counts as if. */
static bool ends_line(const struct log_out *o, off_t size)
{
	int fd = open(o->real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char last = '\n';

	if (fd < 0)
		return true;
	if (pread(fd, &last, 1, size - 1) != 1)
		last = '\n';
	close(fd);
	return last == '\n';
}

/* The bytes of the stage that still belong to this file; 0: none. */
static size_t share_of(struct log_out *o, int stage, uint64_t size, size_t waiting)
{
	uint64_t room = size < o->limit ? o->limit - size : 0;
	ssize_t len;
	bool at_line_end;

	if (o->conf.max_bytes == 0 || waiting <= room)
		return waiting;
	len = peek_at(o->peek, stage);
	if (len <= 0)
		return waiting; /* it cannot be looked at: rather too long than not at all */
	at_line_end = size > 0 &&
		      (size >= o->limit + LINE_GRACE || ends_line(o, (off_t)size));
	return rotate_cut(o->peek->buf, (size_t)len, room, at_line_end);
}

/* A log that cannot be rotated grows on: output is worth more than its size. */
static int rotate(struct log_out *o, uint64_t size)
{
	int r = rotate_files(o->real, o->conf.backups);

	if (r == 0) {
		o->warned = false;
		close_out(o);
		return open_out(o);
	}
	if (!o->warned)
		log_error("log of %s: %s cannot be rotated: %s, it grows", o->conf.name, o->real,
			  strerror(-r));
	o->warned = true;
	o->limit = size + o->conf.max_bytes;
	return 0;
}

/* Without splice: at most n bytes, at an offset (-1: wherever the device is). */
static ssize_t copy(struct log_out *o, int stage, size_t n, off_t at)
{
	ssize_t len = peek_at(o->peek, stage);

	if (len <= 0)
		return len == 0 ? -EIO : len;
	if (n > (size_t)len)
		n = (size_t)len;
	if (n > COPY_MAX)
		n = COPY_MAX;
	len = at >= 0 ? pwrite(o->fd, o->peek->buf, n, at) : write(o->fd, o->peek->buf, n);
	if (len < 0)
		return -errno;
	pipe_skip(stage, (size_t)len);
	return len;
}

static ssize_t write_file(struct log_out *o, int stage, size_t waiting)
{
	struct stat st;
	off_t at;
	size_t n;
	ssize_t done;

	for (;;) {
		int r;

		if (fstat(o->fd, &st) < 0)
			return -errno;
		n = share_of(o, stage, (uint64_t)st.st_size, waiting);
		if (n > 0)
			break;
		r = rotate(o, (uint64_t)st.st_size);
		if (r < 0)
			return r;
	}
	at = st.st_size; /* asked each time: whoever truncates a log in place may do so */
	if (o->copies)
		return copy(o, stage, n, at);
	done = splice(stage, NULL, o->fd, &at, n < SPLICE_MAX ? n : SPLICE_MAX, SPLICE_F_MOVE);
	if (done < 0 && errno == EINVAL) {
		o->copies = true;
		return -EINTR;
	}
	return done >= 0 ? done : -errno;
}

/* ---- the others ------------------------------------------------------------------------------- */

static ssize_t write_fifo(struct log_out *o, int stage)
{
	ssize_t n = splice(stage, NULL, o->fd, NULL, SPLICE_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	return n >= 0 ? n : -errno;
}

/* What is sent next: *ret_len bytes of text, and *ret_skip of the stage; false: no whole line. */
static bool next_line(const struct log_out *o, const char *text, size_t len, size_t *ret_len,
		      size_t *ret_skip)
{
	const char *newline = memchr(text, '\n', len);
	size_t n = newline ? (size_t)(newline - text) : len;

	if (n > SYSLOG_LINE) {
		*ret_len = *ret_skip = SYSLOG_LINE;
		return true;
	}
	*ret_len = n;
	*ret_skip = n + (newline != NULL);
	return newline || (o->rest && n > 0);
}

/* 0: what is left is not a whole line. */
static ssize_t write_syslog(struct log_out *o, int stage)
{
	ssize_t len = peek_at(o->peek, stage), done = 0;
	size_t n, skip;

	if (len < 0)
		return len;
	while (next_line(o, o->peek->buf + done, (size_t)(len - done), &n, &skip)) {
		int r = n == 0 ? 0
			       : log_sink_send(&o->sink, LOG_LEVEL_INFO, o->peek->buf + done, n);

		if (r < 0)
			return r;
		pipe_skip(stage, skip);
		done += (ssize_t)skip;
	}
	return done;
}

/* ---- all -------------------------------------------------------------------------------------- */

static ssize_t write_some(struct log_out *o, int stage, size_t waiting)
{
	switch (o->kind) {
	case LOG_OUT_FILE:
		return write_file(o, stage, waiting);
	case LOG_OUT_FIFO:
		return write_fifo(o, stage);
	case LOG_OUT_DEVICE:
		return copy(o, stage, waiting, -1);
	case LOG_OUT_SYSLOG:
		return write_syslog(o, stage);
	}
	return -EINVAL;
}

int log_out_empty(struct log_out *o, int stage)
{
	int r = ensure_open(o);
	size_t waiting;

	while (r == 0 && (waiting = pipe_waiting(stage)) > 0) {
		ssize_t n = write_some(o, stage, waiting);

		if (n == 0)
			break;
		if (n < 0 && n != -EINTR)
			r = (int)n;
	}
	if (r < 0 && r != -EAGAIN)
		close_out(o);
	return r;
}
