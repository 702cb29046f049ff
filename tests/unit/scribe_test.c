/* SPDX-License-Identifier: MIT */
#include "supd/scribe/scribe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/mtime.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"
#include "supd/scribe/state_file.h"
#include "tests/unit/tiny_model.h"

/*
 * A real scribe in a child process, real pipes and files; the test plays keeper and engine.
 */
#define DEADLINE MTIME_SEC(30)

struct fixture {
	char dir[64], log_path[128];
	struct tiny_model model;
	pid_t scribe;
	int program[2], stage[2], log[2], err[2];
	struct channel keeper, engine;
	rlim_t file_limit; /* of the scribe; 0: none */
};

/* Wait for a condition, not for a time. */
#define wait_until(condition)                                                                      \
	do {                                                                                       \
		mtime give_up = mtime_now() + DEADLINE;                                            \
		while (!(condition)) {                                                             \
			assert_true(mtime_now() < give_up);                                        \
			usleep(2000);                                                              \
		}                                                                                  \
	} while (0)

static off_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

static char *file_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = file_size(path);
	char *text = calloc(1, (size_t)size + 1);

	assert_non_null(text);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, (size_t)size), size);
	close(fd);
	return text;
}

/* ---- keeper's part ---------------------------------------------------------------------------- */

static void send_stream(struct fixture *f)
{
	struct ipc_stream msg = {.h = {.type = IPC_STREAM}, .program = 0, .output = 0};
	int fds[3] = {f->program[0], f->stage[0], f->stage[1]};

	assert_int_equal(channel_send(&f->keeper, &msg, sizeof(msg), fds, 3), 0);
}

static void run_child(struct fixture *f, int keeper_fd)
{
	struct scribe_args args = {.m = f->model.m, .keeper_fd = keeper_fd};
	int keep[4];

	if (f->file_limit != 0) {
		const struct rlimit limit = {.rlim_cur = f->file_limit, .rlim_max = f->file_limit};

		setrlimit(RLIMIT_FSIZE, &limit);
	}
	dup2(f->err[1], STDERR_FILENO);
	args.log_fd = fcntl(f->log[0], F_DUPFD_CLOEXEC, 10);
	keep[0] = keeper_fd;
	keep[1] = args.log_fd;
	keep[2] = f->log[1];
	fd_close_all_but(keep, 3);
	fd_set_nonblock(f->log[1]);
	log_init(f->log[1], "scribe", LOG_LEVEL_DEBUG, true);
	_exit(scribe_run(&args));
}

static void start_scribe(struct fixture *f)
{
	int pair[2];

	assert_int_equal(channel_pair(pair), 0);
	f->scribe = fork();
	assert_true(f->scribe >= 0);
	if (f->scribe == 0) {
		close(pair[0]);
		run_child(f, pair[1]);
	}
	close(pair[1]);
	channel_init(&f->keeper, pair[0]);
}

static int wait_scribe(struct fixture *f)
{
	int status;

	assert_int_equal(waitpid(f->scribe, &status, 0), f->scribe);
	f->scribe = -1;
	return status;
}

static void kill_scribe(struct fixture *f)
{
	kill(f->scribe, SIGKILL);
	wait_scribe(f);
	channel_fini(&f->keeper);
}

static void open_engine(struct fixture *f, uint32_t generation)
{
	struct ipc_channel msg = {.h = {.type = IPC_CHANNEL, .generation = generation},
				  .role = IPC_ROLE_SCRIBE};
	int pair[2];

	assert_int_equal(channel_pair(pair), 0);
	channel_init(&f->engine, pair[0]);
	assert_int_equal(channel_send(&f->keeper, &msg, sizeof(msg), &pair[1], 1), 0);
	close(pair[1]);
}

static void receive(struct channel *c, void *msg, size_t size, uint32_t type)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;

	assert_int_equal(poll(&pfd, 1, (int)mtime_to_ms(DEADLINE)), 1);
	assert_true(channel_recv(c, msg, size, fds, &n_fds) > 0);
	assert_int_equal(n_fds, 0);
	assert_int_equal(((struct ipc_header *)msg)->type, type);
}

/* ---- set-up ----------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct model *m;

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/supd-scribe-test.%d.XXXXXX", (int)getpid());
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->log_path, sizeof(f->log_path), "%s/p.log", f->dir);
	f->model = tiny_model_new(1, 0, 1);
	m = f->model.m;
	tiny_node(&f->model, 0)->name = tiny_str(&f->model, "a");
	m->supd.state_dir = tiny_str(&f->model, f->dir);
	m->supd.log_to_stderr = true;
	tiny_program(&f->model, 0)->name = tiny_str(&f->model, "p");
	tiny_program(&f->model, 0)->stdout_logfile = tiny_str(&f->model, f->log_path);
	assert_int_equal(fd_pipe(f->program, 0), 0);
	assert_int_equal(fd_pipe(f->stage, 0), 0);
	assert_int_equal(fd_pipe(f->log, 0), 0);
	assert_int_equal(fd_pipe(f->err, 0), 0);
	f->engine.fd = -1;
	start_scribe(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	channel_fini(&f->keeper);
	if (f->engine.fd >= 0)
		channel_fini(&f->engine);
	if (f->scribe > 0)
		kill_scribe(f);
	for (int i = 0; i < 2; i++) {
		fd_close(&f->program[i]);
		fd_close(&f->stage[i]);
		fd_close(&f->log[i]);
		fd_close(&f->err[i]);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	free(f->model.m);
	free(f);
	return 0;
}

/* Point the program's log elsewhere; the scribe is started anew to see it. */
static void use_log_path(struct fixture *f, const char *path)
{
	kill_scribe(f);
	tiny_program(&f->model, 0)->stdout_logfile = tiny_str(&f->model, path);
	start_scribe(f);
}

/* ---- program output --------------------------------------------------------------------------- */

static void output_arrives_in_the_file(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char *text;

	send_stream(f);
	assert_int_equal(fd_write_all(f->program[1], "one\ntwo\n", 8), 0);
	wait_until(file_size(f->log_path) == 8);
	text = file_text(f->log_path);
	assert_string_equal(text, "one\ntwo\n");
	free(text);
	assert_int_equal(stat(f->log_path, &st), 0);
	assert_int_equal(st.st_mode & 0777 & ~0640, 0);
}

static void output_is_appended_to_what_the_file_has(void **state)
{
	struct fixture *f = *state;
	int fd = open(f->log_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	char *text;

	assert_int_equal(fd_write_all(fd, "old\n", 4), 0);
	close(fd);
	send_stream(f);
	assert_int_equal(fd_write_all(f->program[1], "new\n", 4), 0);
	wait_until(file_size(f->log_path) == 8);
	text = file_text(f->log_path);
	assert_string_equal(text, "old\nnew\n");
	free(text);
}

static void what_the_stage_holds_is_written_first(void **state)
{
	struct fixture *f = *state;
	char *text;

	assert_int_equal(fd_write_all(f->stage[1], "left behind\n", 12), 0);
	assert_int_equal(fd_write_all(f->program[1], "next\n", 5), 0);
	send_stream(f);
	wait_until(file_size(f->log_path) == 17);
	text = file_text(f->log_path);
	assert_string_equal(text, "left behind\nnext\n");
	free(text);
}

static void the_end_of_the_keeper_drains_and_ends_the_scribe(void **state)
{
	struct fixture *f = *state;
	char line[4096];
	int status;

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	send_stream(f);
	for (int i = 0; i < 12; i++)
		assert_int_equal(fd_write_all(f->program[1], line, sizeof(line)), 0);
	channel_fini(&f->keeper);
	status = wait_scribe(f);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(file_size(f->log_path), 12 * sizeof(line));
}

#define N_LINES 300000
#define N_KILLS 20

static void write_lines(int fd)
{
	char buf[8192];
	size_t len = 0;

	for (int i = 0; i < N_LINES; i++) {
		len += (size_t)snprintf(buf + len, sizeof(buf) - len, "line %d of the program\n", i);
		if (len > sizeof(buf) - 64 || i == N_LINES - 1) {
			fd_write_all(fd, buf, len);
			len = 0;
		}
		if (i % 1000 == 0)
			usleep(1000); /* spread over the kills */
	}
	_exit(0);
}

/* Each line once, whole and in order. */
static void check_lines(const char *text)
{
	const char *at = text;

	for (int i = 0; i < N_LINES; i++) {
		char expected[64];
		size_t len = (size_t)snprintf(expected, sizeof(expected),
					      "line %d of the program\n", i);

		if (strncmp(at, expected, len) != 0)
			fail_msg("at line %d: %.40s", i, at);
		at += len;
	}
	assert_int_equal(*at, '\0');
}

static void replace_scribe(struct fixture *f)
{
	kill_scribe(f);
	start_scribe(f);
	send_stream(f);
}

/* N_LINES to a scribe that is killed again and again, at any moment. */
static void write_through_kills(struct fixture *f)
{
	pid_t writer = fork();
	int status, kills = 0;

	assert_true(writer >= 0);
	if (writer == 0)
		write_lines(f->program[1]);
	send_stream(f);
	while (waitpid(writer, &status, WNOHANG) == 0) {
		usleep((useconds_t)(1000 + kills * 977 % 20000));
		replace_scribe(f);
		kills++;
	}
	for (; kills < N_KILLS; kills++)
		replace_scribe(f);
	channel_fini(&f->keeper);
	wait_scribe(f);
}

static void killed_scribes_lose_and_repeat_nothing(void **state)
{
	struct fixture *f = *state;
	char *text;

	write_through_kills(f);
	text = file_text(f->log_path);
	check_lines(text);
	free(text);
}

#define ROTATED_AT 40000

/* All logs in one text, the oldest first; each ends with a whole line. */
static char *all_logs(struct fixture *f, uint32_t *ret_n)
{
	char name[160], *all = calloc(1, 16 << 20), *end = all;
	uint32_t n = 0;

	assert_non_null(all);
	do
		snprintf(name, sizeof(name), "%s.%u", f->log_path, (unsigned)++n);
	while (file_size(name) > 0);
	*ret_n = n--;
	for (;; n--) {
		char *text;

		if (n > 0)
			snprintf(name, sizeof(name), "%s.%u", f->log_path, (unsigned)n);
		text = file_text(n > 0 ? name : f->log_path);
		assert_true(strlen(text) <= ROTATED_AT + 64);
		assert_true(n == 0 || text[strlen(text) - 1] == '\n');
		end = stpcpy(end, text);
		free(text);
		if (n == 0)
			return all;
	}
}

static void kills_while_logs_are_rotated_lose_and_repeat_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t n;
	char *text;

	kill_scribe(f);
	tiny_program(&f->model, 0)->logfile_maxbytes = ROTATED_AT;
	tiny_program(&f->model, 0)->logfile_backups = 1000;
	start_scribe(f);
	write_through_kills(f);
	text = all_logs(f, &n);
	assert_true(n > 100);
	check_lines(text);
	free(text);
}

/* ---- files that fail -------------------------------------------------------------------------- */

static void write_much(struct fixture *f, size_t bytes)
{
	char line[1024];

	memset(line, 'y', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (size_t n = 0; n < bytes; n += sizeof(line))
		assert_int_equal(fd_write_all(f->program[1], line, sizeof(line)), 0);
}

static void full_disk_does_not_block_the_program(void **state)
{
	struct fixture *f = *state;

	use_log_path(f, "/dev/full");
	send_stream(f);
	alarm(60); /* a blocked write would last for ever */
	write_much(f, 4 << 20);
	alarm(0);
}

/*
 * Bytes of the program's that the log accounts for: those in it, and those that it calls dropped.
 * A notice is "\nsupd: N bytes ...\n": its own bytes do not count.
 */
static uint64_t accounted(const char *path)
{
	char *text = file_size(path) > 0 ? file_text(path) : NULL;
	uint64_t sum = text ? strlen(text) : 0;

	for (char *at = text ? strstr(text, "\nsupd: ") : NULL; at; at = strstr(at, "\nsupd: ")) {
		sum += strtoull(at + 7, NULL, 10);
		sum -= 1 + strcspn(at + 1, "\n") + 1;
		at++;
	}
	free(text);
	return sum;
}

static void missing_directory_is_retried_and_the_gap_is_told(void **state)
{
	struct fixture *f = *state;
	char dir[128], path[160];

	snprintf(dir, sizeof(dir), "%s/later", f->dir);
	snprintf(path, sizeof(path), "%s/p.log", dir);
	use_log_path(f, path);
	send_stream(f);
	alarm(60);
	write_much(f, 1 << 20);
	alarm(0);
	assert_int_equal(mkdir(dir, 0755), 0);
	wait_until(accounted(path) == 1 << 20);
	assert_true(file_size(path) < 1 << 20);
}

static void lines_are_dropped_whole(void **state)
{
	struct fixture *f = *state;
	char dir[128], path[160], *text, *at, line[100];
	int torn = 0;

	snprintf(dir, sizeof(dir), "%s/later", f->dir);
	snprintf(path, sizeof(path), "%s/p.log", dir);
	use_log_path(f, path);
	send_stream(f);
	memset(line, 'z', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < 10000; i++)
		assert_int_equal(fd_write_all(f->program[1], line, sizeof(line)), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	wait_until(file_size(path) > 0 && (text = file_text(path)) &&
		   (strstr(text, "dropped here") || (free(text), false)));
	free(text);
	assert_int_equal(fd_write_all(f->program[1], "last\n", 5), 0);
	wait_until((text = file_text(path)) && (strstr(text, "last\n") || (free(text), false)));
	for (at = strtok(text, "\n"); at; at = strtok(NULL, "\n"))
		if (at[0] == 'z' && strlen(at) != sizeof(line) - 1)
			torn++;
	assert_true(torn <= 1); /* the one that the full stage cut */
	free(text);
}

/* supd was started with a limit (ulimit -f): one more way in which a file takes no more. */
static void a_limit_of_file_size_is_a_full_disk(void **state)
{
	struct fixture *f = *state;

	kill_scribe(f);
	f->file_limit = 100000;
	start_scribe(f);
	send_stream(f);
	alarm(60);
	write_much(f, 4 << 20);
	alarm(0);
	assert_int_equal(file_size(f->log_path), 100000);
	assert_int_equal(waitpid(f->scribe, NULL, WNOHANG), 0); /* alive */
}

/* ---- state file ------------------------------------------------------------------------------- */

static void send_save(struct fixture *f, uint32_t generation, uint64_t seq, const char *text)
{
	struct ipc_state_save *msg = calloc(1, sizeof(*msg));

	assert_non_null(msg);
	msg->h.type = IPC_STATE_SAVE;
	msg->h.generation = generation;
	msg->seq = seq;
	msg->len = (uint32_t)strlen(text);
	memcpy(msg->text, text, msg->len);
	assert_int_equal(channel_send(&f->engine, msg,
				      offsetof(struct ipc_state_save, text) + msg->len, NULL, 0),
			 0);
	free(msg);
}

static struct ipc_state *load(struct fixture *f, uint32_t generation)
{
	struct ipc_state_load msg = {.h = {.type = IPC_STATE_LOAD, .generation = generation}};
	struct ipc_state *state = calloc(1, sizeof(*state));

	assert_non_null(state);
	assert_int_equal(channel_send(&f->engine, &msg, sizeof(msg), NULL, 0), 0);
	receive(&f->engine, state, sizeof(*state), IPC_STATE);
	return state;
}

static void state_is_missing_then_saved_then_loaded(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved saved;
	struct ipc_state *loaded;

	open_engine(f, 3);
	loaded = load(f, 3);
	assert_int_equal(loaded->error, ENOENT);
	free(loaded);
	send_save(f, 3, 1, "first text");
	receive(&f->engine, &saved, sizeof(saved), IPC_STATE_SAVED);
	assert_int_equal(saved.seq, 1);
	assert_int_equal(saved.error, 0);
	loaded = load(f, 3);
	assert_int_equal(loaded->error, 0);
	assert_int_equal(loaded->len, strlen("first text"));
	assert_memory_equal(loaded->text, "first text", loaded->len);
	free(loaded);
}

static void each_queued_save_is_answered_and_the_newest_stays(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved saved;
	struct ipc_state *loaded;
	char text[32];

	open_engine(f, 1);
	kill(f->scribe, SIGSTOP);
	for (unsigned i = 1; i <= 100; i++) {
		snprintf(text, sizeof(text), "text %u", i);
		send_save(f, 1, i, text);
	}
	kill(f->scribe, SIGCONT);
	for (unsigned i = 1; i <= 100; i++) {
		receive(&f->engine, &saved, sizeof(saved), IPC_STATE_SAVED);
		assert_int_equal(saved.seq, i);
		assert_int_equal(saved.error, 0);
	}
	loaded = load(f, 1);
	assert_memory_equal(loaded->text, "text 100", loaded->len);
	free(loaded);
}

/*
 * The disk hangs: the scribe is in the kernel and does not come back, here in an open of a FIFO that
 * nobody reads.  The second thread must step in for the program, and it all goes on afterwards.
 */
static void stuck_scribe_does_not_block_the_program(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved saved;
	char name[128];
	int fd;

	snprintf(name, sizeof(name), "%s/a.state.tmp", f->dir);
	assert_int_equal(mkfifo(name, 0600), 0);
	send_stream(f);
	open_engine(f, 1);
	send_save(f, 1, 1, "text");
	alarm(60); /* a blocked write would last for ever */
	write_much(f, 4 << 20);
	alarm(0);
	fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	receive(&f->engine, &saved, sizeof(saved), IPC_STATE_SAVED);
	assert_int_not_equal(saved.error, 0); /* a FIFO has no disk */
	close(fd);
	wait_until(accounted(f->log_path) == 4 << 20);
}

static void an_older_engine_is_not_served(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved saved;
	struct channel old;

	open_engine(f, 7);
	old = f->engine;
	open_engine(f, 8);
	send_save(f, 7, 1, "of a dead engine"); /* wrong generation on the right channel */
	send_save(f, 8, 2, "of the new engine");
	receive(&f->engine, &saved, sizeof(saved), IPC_STATE_SAVED);
	assert_int_equal(saved.seq, 2);
	channel_fini(&old);
}

static void a_failed_save_keeps_the_old_state(void **state)
{
	struct fixture *f = *state;
	char name[128], text[64];
	size_t len;

	assert_int_equal(state_file_save(f->dir, "n", "old", 3), 0);
	snprintf(name, sizeof(name), "%s/n.state.tmp", f->dir);
	assert_int_equal(mkdir(name, 0755), 0); /* the temporary file cannot be made */
	assert_true(state_file_save(f->dir, "n", "new", 3) < 0);
	assert_int_equal(state_file_load(f->dir, "n", text, sizeof(text), &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(text, "old", 3);
}

static void state_file_errors_are_told_apart(void **state)
{
	struct fixture *f = *state;
	char text[8], missing[128];
	size_t len = 0;

	snprintf(missing, sizeof(missing), "%s/missing", f->dir);
	assert_int_equal(state_file_load(f->dir, "n", text, sizeof(text), &len), -ENOENT);
	assert_int_equal(state_file_load(missing, "n", text, sizeof(text), &len), -ENOTDIR);
	assert_int_equal(state_file_save(missing, "n", "x", 1), -ENOTDIR);
	assert_int_equal(state_file_save(f->dir, "n", "123456789", 9), 0);
	assert_int_equal(state_file_load(f->dir, "n", text, sizeof(text), &len), -EFBIG);
	assert_int_equal(state_file_save(f->dir, "n", "12345678", 8), 0);
	assert_int_equal(state_file_load(f->dir, "n", text, sizeof(text), &len), 0);
	assert_int_equal(len, 8);
}

/* Whoever is killed at whatever moment: a reader sees one whole text. */
static void state_is_whole_at_every_moment(void **state)
{
	struct fixture *f = *state;
	char a[3000], b[5000], text[8192];
	size_t len;
	pid_t writer;

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	assert_int_equal(state_file_save(f->dir, "n", a, sizeof(a)), 0);
	for (int round = 0; round < 10; round++) {
		writer = fork();
		if (writer == 0)
			for (;;) {
				state_file_save(f->dir, "n", b, sizeof(b));
				state_file_save(f->dir, "n", a, sizeof(a));
			}
		for (int i = 0; i < 100; i++) {
			assert_int_equal(state_file_load(f->dir, "n", text, sizeof(text), &len), 0);
			assert_true(len == sizeof(a) || len == sizeof(b));
			assert_memory_equal(text, len == sizeof(a) ? a : b, len);
		}
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
	}
}

/* ---- the log of the roles --------------------------------------------------------------------- */

static void read_exactly(int fd, char *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&pfd, 1, (int)mtime_to_ms(DEADLINE)), 1);
		n = read(fd, buf + got, len - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	buf[len] = '\0';
}

/* Fill the log pipe while nobody reads where it goes to; lines that went in. */
static unsigned flood_log(struct fixture *f)
{
	char line[512];
	unsigned n = 0, full = 0;

	fd_set_nonblock(f->log[1]);
	while (full < 100) {
		snprintf(line, sizeof(line), "6%08u%*s", n, (int)sizeof(line) - 11, "");
		line[sizeof(line) - 1] = '\n';
		if (write(f->log[1], line, sizeof(line)) > 0) {
			n++;
			full = 0;
		} else {
			usleep(1000);
			full++;
		}
	}
	return n;
}

/* A stopped terminal or journal must not hold up the state file, on which takeovers depend. */
static void a_log_that_nobody_takes_holds_nothing_up(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved saved;
	unsigned n = flood_log(f);
	char buf[1024], expected[64];

	open_engine(f, 1);
	send_save(f, 1, 1, "text");
	receive(&f->engine, &saved, sizeof(saved), IPC_STATE_SAVED);
	assert_int_equal(saved.error, 0);
	for (unsigned i = 0; i < n; i++) { /* and no line is lost when it goes on */
		read_exactly(f->err[0], buf, 511 - 1 + strlen("supd a "));
		snprintf(expected, sizeof(expected), "supd a %08u", i);
		assert_memory_equal(buf, expected, strlen(expected));
	}
}

static void log_lines_lose_their_level_and_gain_the_node(void **state)
{
	struct fixture *f = *state;
	static const char *expected = "supd a engine: hello\nsupd a keeper: two parts\n";
	char buf[128];

	assert_int_equal(fd_write_all(f->log[1], "6engine: hello\n4keeper: two", 27), 0);
	assert_int_equal(fd_write_all(f->log[1], " parts\n", 7), 0);
	read_exactly(f->err[0], buf, strlen(expected));
	assert_string_equal(buf, expected);
}

static void a_line_without_level_is_passed_on(void **state)
{
	struct fixture *f = *state;
	static const char *expected = "supd a of a line\n";
	char buf[128];

	assert_int_equal(fd_write_all(f->log[1], "of a line\n\n", 11), 0);
	read_exactly(f->err[0], buf, strlen(expected));
	assert_string_equal(buf, expected);
}

#define t(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(output_arrives_in_the_file),
		t(output_is_appended_to_what_the_file_has),
		t(what_the_stage_holds_is_written_first),
		t(the_end_of_the_keeper_drains_and_ends_the_scribe),
		t(killed_scribes_lose_and_repeat_nothing),
		t(kills_while_logs_are_rotated_lose_and_repeat_nothing),
		t(full_disk_does_not_block_the_program),
		t(missing_directory_is_retried_and_the_gap_is_told),
		t(lines_are_dropped_whole),
		t(a_limit_of_file_size_is_a_full_disk),
		t(state_is_missing_then_saved_then_loaded),
		t(each_queued_save_is_answered_and_the_newest_stays),
		t(stuck_scribe_does_not_block_the_program),
		t(an_older_engine_is_not_served),
		t(a_failed_save_keeps_the_old_state),
		t(state_file_errors_are_told_apart),
		t(state_is_whole_at_every_moment),
		t(a_log_that_nobody_takes_holds_nothing_up),
		t(log_lines_lose_their_level_and_gain_the_node),
		t(a_line_without_level_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
