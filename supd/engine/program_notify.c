/* SPDX-License-Identifier: MIT */
#include "supd/engine/program_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/parse.h"

/*
 * What a program says of itself: sd_notify(3), one socket a program, held by the keeper.
 *
 * Whose it is: the socket can be opened by the program's user (and root) alone, and a sender that
 * can still be looked at must be in the program's own cgroup: any process of its tree may speak
 * (NotifyAccess=all), its hooks, and another program of the same user, may not.  A sender that is
 * gone already (systemd-notify) is believed.
 *
 * Whose run it is: the socket is emptied before a start is ordered, when the run before is gone,
 * and read only while a main process is up; what is said in between waits in it.
 */
#define NOTIFY_SIZE 4096
#define NOTIFY_FDS  16
#define NOTIFY_MAX  32 /* datagrams at a time: a program that floods us starves itself alone */

union notify_control {
	char buf[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(NOTIFY_FDS * sizeof(int))];
	struct cmsghdr align;
};

/* Descriptors have no use here (FDSTORE, BARRIER): closed, which is what BARRIER waits for. */
static void close_fds(const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (size_t i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		close(fd);
	}
}

/* One datagram: its length, or -errno; `buf` ends with a NUL. */
static ssize_t receive(int fd, char *buf, size_t size, union notify_control *control, struct msghdr *msg)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size - 1 };
	ssize_t n;

	*msg = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control->buf,
				.msg_controllen = sizeof(control->buf) };
	n = recvmsg(fd, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

/* ---- whose it is ------------------------------------------------------------------------------------- */

/* From the line of cgroup v2 in /proc/PID/cgroup. */
int program_cgroup(pid_t pid, char *buf, size_t size)
{
	char path[48], text[2048], *line;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (line == NULL)
		return -ENOENT;
	line += *line == '\n' ? 4 : 3;
	line[strcspn(line, "\n")] = '\0';
	snprintf(buf, size, "%s", line);
	return 0;
}

/* TREE/SERVICE/PROGRAM.N, or below it. */
static bool is_in_leaf(const struct engine_program *ep, const char *path)
{
	const struct engine *e = ep->engine;
	const char *service = ep->service == MODEL_NONE
				      ? "node.programs"
				      : model_service_name(e->m, (uint32_t)ep->service);
	char prefix[512];
	size_t n = (size_t)snprintf(prefix, sizeof(prefix), "%s/%s/%s.", e->welcome.cgroup, service,
				    model_program_name(e->m, ep->row));

	return strncmp(path, prefix, n) == 0 && path[n] >= '0' && path[n] <= '9';
}

static bool is_its_own(struct engine_program *ep, pid_t pid)
{
	char path[1024];
	uint64_t missed;

	if (!ep->engine->welcome.has_cgroup || program_cgroup(pid, path, sizeof(path)) < 0 ||
	    is_in_leaf(ep, path))
		return true;
	if (ratelimit_pass(&ep->notify.stranger, mtime_now(), &missed))
		log_warn("program %s: process %d, which is none of it, speaks in its name, ignoring "
			 "(%llu more)",
			 model_program_name(ep->engine->m, ep->row), (int)pid,
			 (unsigned long long)missed);
	return false;
}

/* ---- what it says ------------------------------------------------------------------------------------ */

static void give(struct engine_program *ep, struct program_event ev)
{
	ev.run = ep->fsm.run;
	engine_program_event(ep->engine, ep->row, &ev);
}

static void extend(struct engine_program *ep, const char *usec)
{
	uint64_t n;

	if (parse_uint(usec, 0, 86400ull * 1000000, &n) == 0)
		give(ep, (struct program_event){ .type = PROGRAM_EV_EXTEND,
						 .extend = (mtime)n * 1000 });
}

static void take_line(struct engine_program *ep, const char *line)
{
	const struct model_program *mp = model_program(ep->engine->m, ep->row);

	if (strcmp(line, "READY=1") == 0) {
		if (mp->ready.kind == MODEL_PROBE_NOTIFY)
			give(ep, (struct program_event){ .type = PROGRAM_EV_READY });
	} else if (strcmp(line, "WATCHDOG=1") == 0) {
		program_watch_alive(ep);
	} else if (strcmp(line, "WATCHDOG=trigger") == 0) {
		if (mp->health.kind == MODEL_PROBE_NOTIFY)
			give(ep, (struct program_event){ .type = PROGRAM_EV_UNHEALTHY,
							 .end = PROGRAM_END_WATCHDOG });
	} else if (strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0) {
		extend(ep, line + 20);
	} else if (strncmp(line, "STATUS=", 7) == 0) {
		log_debug("program %s says: %.200s", model_program_name(ep->engine->m, ep->row),
			  line + 7);
	}
}

static void take_text(struct engine_program *ep, char *text)
{
	char *rest, *line = strtok_r(text, "\n", &rest);

	for (; line != NULL; line = strtok_r(NULL, "\n", &rest))
		take_line(ep, line);
}

/* One datagram; false: there is none.  ep NULL: only to be rid of it. */
static bool take_one(int fd, struct engine_program *ep)
{
	char buf[NOTIFY_SIZE];
	union notify_control control;
	struct msghdr msg;
	ssize_t n = receive(fd, buf, sizeof(buf), &control, &msg);
	struct ucred who = { .pid = 0 };

	if (n < 0)
		return n == -EINTR;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&who, CMSG_DATA(c), sizeof(who));
		else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			close_fds(c);
	}
	/* What does not fit, or carries a NUL, is no message of sd_notify's. */
	if (ep != NULL && (msg.msg_flags & MSG_TRUNC) == 0 && strlen(buf) == (size_t)n &&
	    is_its_own(ep, who.pid))
		take_text(ep, buf);
	return true;
}

static void drain(struct engine_program *ep, bool heed)
{
	for (int i = 0; i < NOTIFY_MAX && ep->notify.fd >= 0; i++)
		if (!take_one(ep->notify.fd, heed ? ep : NULL))
			return;
}

void program_notify_drain(struct engine_program *ep)
{
	if (ep->fsm.main_alive)
		drain(ep, true);
}

void program_notify_forget(struct engine_program *ep)
{
	drain(ep, false);
}

/* ---- watching ---------------------------------------------------------------------------------------- */

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	drain(w->data, true);
}

void program_notify_update(struct engine_program *ep)
{
	if (ep->notify.fd < 0)
		return;
	if (ep->fsm.main_alive)
		ev_io_start(ep->engine->loop, &ep->notify.io);
	else
		ev_io_stop(ep->engine->loop, &ep->notify.io);
}

void program_notify_open(struct engine *e, uint32_t row, int fd)
{
	struct engine_program *ep = &e->programs[row];

	if (ep->notify.fd >= 0)
		ev_io_stop(e->loop, &ep->notify.io);
	fd_close(&ep->notify.fd);
	ep->notify.fd = fd;
	ev_io_init(&ep->notify.io, on_readable, fd, EV_READ);
	ev_set_priority(&ep->notify.io, -2);
	ep->notify.io.data = ep;
}
