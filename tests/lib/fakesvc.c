/* SPDX-License-Identifier: MIT */
/*
 * A scheduler that exists to be supervised, and to be caught when it runs twice.
 *
 * Every --tick milliseconds it appends "node term boottime_ns pid" to a file of its own,
 *
 *	LOG_DIR/NODE-TERM-PID-START          of the instance
 *	LOG_DIR/NODE-TERM-PID-START.N        of the N-th process that it forked
 *
 * the first line before it does anything else, so that the oracle of tests/netns sees an instance
 * from its first instruction to its last.  PID is what the process calls itself, which inside a
 * PID namespace is a small number: START (CLOCK_BOOTTIME, ns) makes the name unique.
 *
 * It serves TCP too, so that a client of the virtual address learns who answers: one line
 * "node pid term start" for each connection, which then stays open and echoes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fakesvc_speak.h"

#define CLIENTS_MAX 256
#define NS_PER_MS   INT64_C(1000000)

extern char **environ;

struct options {
	const char *log, *listen, *crash_if, *report, *http, *daemon;
	int64_t tick, after, hang; /* ns; after < 0: never ends by itself */
	int exit_code, tree, lines;
	bool segv, ignore_term, escape, close_stdout;
	struct speaker speaker;
};

struct instance {
	const char *node, *term;
	pid_t pid;
	int64_t start;
	int log_fd; /* -1: no log wanted */
};

#define HTTP_SLOT (1 + CLIENTS_MAX)
#define SLOTS	  (2 + CLIENTS_MAX)

struct server {
	struct pollfd fds[SLOTS]; /* [0] and [HTTP_SLOT] listen */
	unsigned next;			    /* the next slot to be evicted when all are taken */
};

static volatile sig_atomic_t told_to_stop;

static void on_term(int signo)
{
	told_to_stop = 1;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "fakesvc: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *env_or(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* ---- the log ----------------------------------------------------------------------------------- */

static void tick(const struct instance *in)
{
	char line[160];
	int len;

	if (in->log_fd < 0)
		return;
	len = snprintf(line, sizeof(line), "%s %s %lld %d\n", in->node, in->term,
		       (long long)now_ns(), (int)getpid());
	if (write(in->log_fd, line, (size_t)len) != len)
		fail("write to the log");
}

/* child 0: the instance itself; else the N-th process that it forked. */
static void open_log(struct instance *in, const char *dir, int child)
{
	char path[4096];
	int len;

	in->log_fd = -1;
	if (dir == NULL)
		return;
	len = snprintf(path, sizeof(path), "%s/%s-%s-%d-%lld", dir, in->node, in->term,
		       (int)in->pid, (long long)in->start);
	if (child > 0)
		snprintf(path + len, sizeof(path) - (size_t)len, ".%d", child);
	in->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (in->log_fd < 0)
		fail(path);
}

/* ---- forked processes: they only tick --------------------------------------------------------------- */

static void child_loop(struct instance *in, const struct options *o, int number)
{
	struct timespec pause = {.tv_sec = o->tick / 1000000000, .tv_nsec = o->tick % 1000000000};

	open_log(in, o->log, number);
	for (;;) {
		tick(in);
		nanosleep(&pause, NULL);
	}
}

/* A child, and a grandchild below it; with `escape` the grandchild in a session of its own. */
static void fork_pair(struct instance *in, const struct options *o, int number, bool escape)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return;
	signal(SIGTERM, escape ? SIG_IGN : SIG_DFL);
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0 && escape)
		setsid();
	if (pid > 0 && escape)
		_exit(0); /* orphaned on purpose: no parent in between can be signalled */
	child_loop(in, o, 2 * number + (pid == 0));
}

/* ---- what the supervisor gave us --------------------------------------------------------------------- */

static void report_lists(FILE *f)
{
	gid_t groups[64];
	int n = getgroups(64, groups);
	sigset_t mask;

	fputs("groups=", f);
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%u", i == 0 ? "" : ",", (unsigned)groups[i]);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	fputs("\nblocked=", f);
	for (int s = 1; s < NSIG; s++)
		if (sigismember(&mask, s) == 1)
			fprintf(f, "%d ", s);
	fputs("\nignored=", f);
	for (int s = 1; s < NSIG; s++) {
		struct sigaction sa;

		if (sigaction(s, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
			fprintf(f, "%d ", s);
	}
	fputs("\nopen=", f);
	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && fd != fileno(f))
			fprintf(f, "%d ", fd);
	fputc('\n', f);
}

static void report_limits(FILE *f)
{
	static const struct {
		const char *name;
		int resource;
	} rows[] = {
		{"core", RLIMIT_CORE}, {"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK},
		{"memlock", RLIMIT_MEMLOCK},
	};
	struct rlimit l;
	FILE *oom = fopen("/proc/self/oom_score_adj", "re");
	int adj = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (getrlimit(rows[i].resource, &l) == 0)
			fprintf(f, "%s=%lld:%lld\n", rows[i].name, (long long)l.rlim_cur,
				(long long)l.rlim_max);
	if (oom != NULL && fscanf(oom, "%d", &adj) == 1)
		fprintf(f, "oom=%d\n", adj);
	if (oom != NULL)
		fclose(oom);
	fprintf(f, "nice=%d\nscheduler=%d\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
}

/* Written whole under another name and renamed: a reader never sees half of it. */
static void report(const char *path)
{
	char temporary[4096], cwd[4096];
	struct rlimit nofile;
	mode_t mask = umask(0);
	FILE *f;

	umask(mask);
	snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
	f = fopen(temporary, "we");
	if (f == NULL)
		fail(temporary);
	getrlimit(RLIMIT_NOFILE, &nofile);
	fprintf(f, "pid=%d\nuid=%u\neuid=%u\ngid=%u\numask=%03o\ncwd=%s\nsid=%d\nnofile=%llu\n",
		(int)getpid(), (unsigned)getuid(), (unsigned)geteuid(), (unsigned)getgid(),
		(unsigned)mask, getcwd(cwd, sizeof(cwd)) != NULL ? cwd : "?", (int)getsid(0),
		(unsigned long long)nofile.rlim_cur);
	report_lists(f);
	report_limits(f);
	for (char **e = environ; *e != NULL; e++)
		fprintf(f, "env:%s\n", *e);
	if (fclose(f) != 0 || rename(temporary, path) != 0)
		fail(path);
}

/* ---- the server ---------------------------------------------------------------------------------------- */

/* ADDR:PORT, of IPv6 [ADDR]:PORT; its length. */
static socklen_t parse_address(const char *text, struct sockaddr_storage *ret)
{
	const char *colon = strrchr(text, ':');
	const bool six = *text == '[';
	struct sockaddr_in *sa = (void *)ret;
	struct sockaddr_in6 *sa6 = (void *)ret;
	char host[INET6_ADDRSTRLEN + 2] = "";
	uint16_t port;

	errno = EINVAL;
	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		fail(text);
	memcpy(host, text + six, (size_t)(colon - text) - 2 * six);
	port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	memset(ret, 0, sizeof(*ret));
	ret->ss_family = six ? AF_INET6 : AF_INET;
	if (inet_pton(ret->ss_family, host, six ? (void *)&sa6->sin6_addr : &sa->sin_addr) != 1)
		fail(text);
	if (six)
		sa6->sin6_port = port;
	else
		sa->sin_port = port;
	return six ? sizeof(*sa6) : sizeof(*sa);
}

/* IP_FREEBIND: bound before the virtual address is there, as a real scheduler's web server may be. */
static int listen_at(const char *address)
{
	struct sockaddr_storage sa;
	const socklen_t len = parse_address(address, &sa);
	int one = 1, fd;

	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, 1024) != 0)
		fail(address);
	return fd;
}

static void server_open(struct server *s, const struct options *o)
{
	for (unsigned i = 0; i < SLOTS; i++)
		s->fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	s->next = 0;
	if (o->listen != NULL)
		s->fds[0].fd = listen_at(o->listen);
	s->fds[HTTP_SLOT].fd = o->speaker.http_fd;
}

static struct pollfd *free_slot(struct server *s)
{
	struct pollfd *victim;

	for (unsigned i = 1; i <= CLIENTS_MAX; i++)
		if (s->fds[i].fd < 0)
			return &s->fds[i];
	victim = &s->fds[1 + s->next];
	s->next = (s->next + 1) % CLIENTS_MAX;
	close(victim->fd);
	return victim;
}

static void server_accept(struct server *s, const struct instance *in)
{
	char line[160];
	int fd, len;

	len = snprintf(line, sizeof(line), "%s %d %s %lld\n", in->node, (int)in->pid, in->term,
		       (long long)in->start);
	while ((fd = accept4(s->fds[0].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct pollfd *slot;

		if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
			close(fd);
			continue;
		}
		slot = free_slot(s);
		slot->fd = fd;
		slot->revents = 0;
	}
}

static void server_echo(struct pollfd *client)
{
	char buf[512];
	ssize_t n = recv(client->fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && send(client->fd, buf, (size_t)n, MSG_NOSIGNAL) == n)
		return;
	close(client->fd);
	client->fd = -1;
}

/* Serve for at most `wait` ns, or until something came. */
static void server_run(struct server *s, const struct instance *in, struct speaker *speaker,
		       int64_t wait)
{
	struct timespec ts = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};

	if (ppoll(s->fds, SLOTS, &ts, NULL) <= 0)
		return;
	if (s->fds[HTTP_SLOT].fd >= 0 && s->fds[HTTP_SLOT].revents != 0)
		speaker_serve(speaker, in->node);
	for (unsigned i = 1; i <= CLIENTS_MAX; i++)
		if (s->fds[i].fd >= 0 && s->fds[i].revents != 0)
			server_echo(&s->fds[i]);
	if (s->fds[0].revents != 0)
		server_accept(s, in);
}

/* ---- life and death -------------------------------------------------------------------------------------- */

static void run(const struct instance *in, struct options *o)
{
	static struct server server;
	int64_t next = in->start + o->tick, now, stop_at = -1, due;

	server_open(&server, o);
	for (;;) {
		now = now_ns();
		due = speaker_run(&o->speaker, in->node, now);
		if (now >= next) {
			tick(in);
			next = now + o->tick;
		}
		if (o->after >= 0 && now >= in->start + o->after) {
			if (o->segv)
				raise(SIGSEGV);
			exit(o->exit_code);
		}
		if (told_to_stop && stop_at < 0 && !o->ignore_term)
			stop_at = now + o->hang;
		if (stop_at >= 0 && now >= stop_at)
			exit(0);
		due = due < next ? due : next;
		server_run(&server, in, &o->speaker, due > now ? due - now : 0);
	}
}

/* The trigger is looked for under this node's name: in the tests all nodes share a file system. */
static void crash_if_told(const struct options *o, const struct instance *in)
{
	char path[4096];

	if (o->crash_if == NULL)
		return;
	snprintf(path, sizeof(path), "%s-%s", o->crash_if, in->node);
	if (access(path, F_OK) == 0)
		exit(1);
}

/* As daemons do: this process ends, a grandchild goes on and has written its pid. */
static void become_daemon(const char *pidfile)
{
	FILE *f;
	pid_t pid;
	int fds[2];
	char c;

	if (pipe2(fds, O_CLOEXEC) < 0)
		fail("pipe");
	pid = fork();
	if (pid > 0) {
		close(fds[1]);
		_exit(read(fds[0], &c, 1) == 1 ? 0 : 1); /* the pidfile is there */
	}
	setsid();
	if (pid < 0 || (pid = fork()) < 0)
		fail("fork");
	if (pid > 0)
		_exit(0);
	f = fopen(pidfile, "we");
	if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0)
		fail(pidfile);
	if (write(fds[1], "x", 1) != 1)
		fail("pipe");
	close(fds[0]);
	close(fds[1]);
}

static void usage(void)
{
	fputs("usage: fakesvc [--log DIR] [--tick MS] [--listen ADDR:PORT] [--after MS [--exit CODE | --segv]]\n"
	      "               [--crash-if FILE]    exit 1 at start where FILE-$SUPD_NODE exists\n"
	      "               [--ignore-term] [--hang MS]    how long a stop takes\n"
	      "               [--tree N] [--escape]          forked processes; one that leaves the session\n"
	      "               [--lines N] [--report FILE] [--close-stdout]\n"
	      "               [--ready MS] [--watchdog MS]   READY=1 after, WATCHDOG=1 every so often\n"
	      "               [--http ADDR:PORT]             200, or 503 while it is sick\n"
	      "               [--sick-if FILE] [--sick-hangs]  sick where FILE-$SUPD_NODE exists\n"
	      "               [--daemon PIDFILE]\n",
	      stderr);
	exit(2);
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"log", required_argument, NULL, 'l'},	   {"tick", required_argument, NULL, 't'},
		{"listen", required_argument, NULL, 'a'},  {"after", required_argument, NULL, 'f'},
		{"exit", required_argument, NULL, 'x'},	   {"segv", no_argument, NULL, 's'},
		{"crash-if", required_argument, NULL, 'c'}, {"ignore-term", no_argument, NULL, 'i'},
		{"hang", required_argument, NULL, 'h'},	   {"tree", required_argument, NULL, 'r'},
		{"ready", required_argument, NULL, 'R'},   {"watchdog", required_argument, NULL, 'W'},
		{"http", required_argument, NULL, 'H'},	   {"sick-if", required_argument, NULL, 'S'},
		{"sick-hangs", no_argument, NULL, 'G'},	   {"daemon", required_argument, NULL, 'D'},
		{"close-stdout", no_argument, NULL, 'C'},
		{"escape", no_argument, NULL, 'e'},	   {"lines", required_argument, NULL, 'n'},
		{"report", required_argument, NULL, 'p'},  {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'l': o->log = optarg; break;
		case 't': o->tick = atoi(optarg) * NS_PER_MS; break;
		case 'a': o->listen = optarg; break;
		case 'f': o->after = atoi(optarg) * NS_PER_MS; break;
		case 'x': o->exit_code = atoi(optarg); break;
		case 's': o->segv = true; break;
		case 'c': o->crash_if = optarg; break;
		case 'i': o->ignore_term = true; break;
		case 'h': o->hang = atoi(optarg) * NS_PER_MS; break;
		case 'r': o->tree = atoi(optarg); break;
		case 'e': o->escape = true; break;
		case 'n': o->lines = atoi(optarg); break;
		case 'p': o->report = optarg; break;
		case 'R': o->speaker.ready_at = atoi(optarg) * NS_PER_MS; break;
		case 'W': o->speaker.watchdog = atoi(optarg) * NS_PER_MS; break;
		case 'H': o->http = optarg; break;
		case 'S': o->speaker.sick_if = optarg; break;
		case 'G': o->speaker.hangs = true; break;
		case 'D': o->daemon = optarg; break;
		case 'C': o->close_stdout = true; break;
		default: usage();
		}
	}
	if (optind < argc || o->tick <= 0)
		usage();
}

int main(int argc, char **argv)
{
	struct options o = {.tick = 5 * NS_PER_MS, .after = -1,
			    .speaker = {.ready_at = -1, .http_fd = -1}};
	struct instance in = {
		.node = env_or("SUPD_NODE", "none"),
		.term = env_or("SUPD_TERM", "0"),
		.pid = getpid(),
		.start = now_ns(),
	};
	struct sigaction sa = {.sa_handler = on_term};

	parse_options(argc, argv, &o);
	if (o.daemon != NULL)
		become_daemon(o.daemon);
	in.pid = getpid();
	if (o.http != NULL)
		o.speaker.http_fd = listen_at(o.http);
	if (o.speaker.ready_at >= 0)
		o.speaker.ready_at += in.start;
	open_log(&in, o.log, 0);
	tick(&in);
	crash_if_told(&o, &in);
	if (o.report != NULL)
		report(o.report);
	sigaction(SIGTERM, &sa, NULL);
	for (int i = 1; i <= o.tree; i++)
		fork_pair(&in, &o, i, false);
	if (o.escape)
		fork_pair(&in, &o, o.tree + 1, true);
	for (int i = 1; i <= o.lines; i++)
		printf("line %d of %s term %s\n", i, in.node, in.term);
	fflush(stdout);
	if (o.close_stdout) {
		close(1);
		close(2);
	}
	run(&in, &o);
}
