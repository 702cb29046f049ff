/* SPDX-License-Identifier: MIT */
#include "tests/unit/keeper_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/config/loader.h"
#include "supd/keeper/cgroup.h"
#include "supd/keeper/keeper.h"
#include "tests/unit/keeper_relay.h"

#define PATIENCE MTIME_SEC(20)

struct world_message {
	struct world_message *next;
	size_t len;
	char data[];
};

/* ---- messages --------------------------------------------------------------------------------------- */

static bool await_readable(int fd, mtime deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	mtime left = deadline - mtime_now();

	return poll(&p, 1, left > 0 ? (int)mtime_to_ms(left) + 1 : 0) > 0;
}

/* Read one message into the list; false: nothing came, or the engine is gone. */
static bool take_one(struct world *w, mtime deadline)
{
	static char buf[CHANNEL_MSG_MAX + 1];
	struct world_message *msg, **at = &w->first;
	ssize_t n;

	if (w->relay_fd < 0 || !await_readable(w->relay_fd, deadline))
		return false;
	n = recv(w->relay_fd, buf, sizeof(buf), 0);
	if (n <= 1)
		return false;
	if (((struct ipc_header *)(void *)buf)->type == IPC_WELCOME)
		w->welcome_fds = (size_t)buf[n - 1];
	msg = malloc(sizeof(*msg) + (size_t)n);
	assert_non_null(msg);
	*msg = (struct world_message){ .len = (size_t)n - 1 };
	memcpy(msg->data, buf, (size_t)n - 1);
	while (*at)
		at = &(*at)->next;
	*at = msg;
	return true;
}

static struct world_message **find(struct world *w, enum ipc_type type)
{
	struct world_message **at = &w->first;

	while (*at && ((struct ipc_header *)(void *)(*at)->data)->type != type)
		at = &(*at)->next;
	return *at ? at : NULL;
}

/* Waiting for the newest start, where that was refused, would only be slow. */
static void check_not_refused(const struct world *w)
{
	for (const struct world_message *msg = w->first; msg; msg = msg->next) {
		struct ipc_spawn_failed f;

		if (msg->len != sizeof(f))
			continue;
		memcpy(&f, msg->data, sizeof(f));
		if (f.h.type == IPC_SPAWN_FAILED && f.order == w->order)
			fail_msg("start of program %d failed: %s, %s", f.program,
				 ipc_stage_name((enum ipc_stage)f.stage), strerror(f.error));
	}
}

void world_expect(struct world *w, enum ipc_type type, void *ret, size_t size)
{
	mtime deadline = mtime_now() + PATIENCE;
	struct world_message **at, *msg;

	while (!(at = find(w, type))) {
		if (type == IPC_SPAWNED)
			check_not_refused(w);
		if (!take_one(w, deadline))
			fail_msg("no message of type %d came", (int)type);
	}
	msg = *at;
	*at = msg->next;
	assert_int_equal(msg->len, size);
	memcpy(ret, msg->data, size);
	free(msg);
}

bool world_has(struct world *w, enum ipc_type type)
{
	while (take_one(w, 0))
		continue;
	return find(w, type) != NULL;
}

void world_send(struct world *w, const void *msg, size_t len)
{
	assert_int_equal(send(w->relay_fd, msg, len, MSG_NOSIGNAL), (ssize_t)len);
}

void world_stop_feeding(struct world *w)
{
	const struct ipc_header h = { IPC_NONE, 0 };

	world_send(w, &h, sizeof(h));
}

void world_pass_on(struct world *w)
{
	const struct ipc_header h = { IPC_NONE, RELAY_ECHO };
	struct ipc_header echo;

	world_send(w, &h, sizeof(h));
	world_expect(w, IPC_NONE, &echo, sizeof(echo));
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static struct model *make_model(const struct world *w, const char *sections)
{
	const struct loader_options o = { .path = "test.ini", .node = "a", .prefix = w->dir };
	struct model *m = NULL;
	char text[8192];

	snprintf(text, sizeof(text),
		 "[supd]\ncluster = t%d\nkey_file = /dev/null\nuser = nobody\n"
		 "socket_group = nogroup\nengine_timeout = 300ms\nlog_level = debug\n"
		 "[node:a]\naddress = 127.0.0.1\n[node:b]\naddress = 127.0.0.2\n%s",
		 (int)getpid(), sections);
	if (loader_load_text(&o, text, strlen(text), stderr, &m) < 0)
		fail_msg("the test's configuration is bad");
	return m;
}

static void listen_for_engines(struct world *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[96];

	/* Beside run_dir, so that its stand-in finds it by that. */
	snprintf(path, sizeof(path), "%s/run", w->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/run/test.sock", w->dir);
	w->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(chmod(sa.sun_path, 0777), 0);
	assert_int_equal(listen(w->listen_fd, 8), 0);
}

void world_take_engine(struct world *w)
{
	struct ipc_welcome welcome;
	struct ipc_ready ready;
	struct cgroup_place place;
	struct relay_hello hello;

	if (!await_readable(w->listen_fd, mtime_now() + PATIENCE))
		fail_msg("no engine came");
	/* Only now: one that hangs must not end by this. */
	if (w->relay_fd >= 0)
		close(w->relay_fd);
	w->relay_fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(w->relay_fd >= 0);
	assert_int_equal(recv(w->relay_fd, &hello, sizeof(hello), 0), sizeof(hello));
	w->engine = hello.pid;
	w->generation = hello.generation;
	world_expect(w, IPC_WELCOME, &welcome, sizeof(welcome));
	assert_int_equal(welcome.h.generation, w->generation);
	assert_int_equal(welcome.keeper_pid, w->keeper);
	assert_int_equal(cgroup_find("none", &place), 0);
	snprintf(w->tree, sizeof(w->tree), "%s%s", place.mount, welcome.cgroup);
	world_expect(w, IPC_READY, &ready, sizeof(ready));
}

int world_run_keeper(const struct world *w)
{
	const struct keeper_args args = { .m = w->m, .ready_fd = -1 };

	return keeper_run(&args);
}

static void fork_keeper(struct world *w)
{
	fflush(stdout);
	w->keeper = fork();
	assert_true(w->keeper >= 0);
	if (w->keeper > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(w->listen_fd);
	_exit(world_run_keeper(w));
}

void world_start(struct world *w, const char *sections)
{
	if (!w->m) {
		*w = (struct world){ .listen_fd = -1, .relay_fd = -1 };
		strcpy(w->dir, "/tmp/supd-keeper-XXXXXX");
		assert_non_null(mkdtemp(w->dir));
		assert_int_equal(chmod(w->dir, 0777), 0);
		w->m = make_model(w, sections);
		listen_for_engines(w);
	}
	fork_keeper(w);
	world_take_engine(w);
}

void world_forget(struct world *w)
{
	while (w->first) {
		struct world_message *msg = w->first;

		w->first = msg->next;
		free(msg);
	}
}

static void remove_dir(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

void world_bury(struct world *w)
{
	world_forget(w);
	if (w->relay_fd >= 0)
		close(w->relay_fd);
	if (w->listen_fd >= 0)
		close(w->listen_fd);
	free(w->m);
	w->m = NULL;
	remove_dir(w->dir);
}

void world_kill_keeper(struct world *w)
{
	kill(w->keeper, SIGKILL);
	waitpid(w->keeper, NULL, 0);
	w->keeper = 0;
}

void world_stop(struct world *w)
{
	const struct ipc_done done = { .h = { IPC_DONE, 0 } };
	struct ipc_shutdown shutdown;
	struct stat st;
	char path[128];
	int status;

	assert_int_equal(kill(w->keeper, SIGTERM), 0);
	world_expect(w, IPC_SHUTDOWN, &shutdown, sizeof(shutdown));
	world_send(w, &done, sizeof(done));
	assert_int_equal(waitpid(w->keeper, &status, 0), w->keeper);
	w->keeper = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(stat(w->tree, &st), -1);
	snprintf(path, sizeof(path), "%s/supd.pid", model_str(w->m, w->m->supd.run_dir));
	assert_int_equal(stat(path, &st), -1);
	snprintf(path, sizeof(path), "%s/supd.sock", model_str(w->m, w->m->supd.run_dir));
	assert_int_equal(stat(path, &st), -1);
	world_bury(w);
}

/* The keeper's whole tree, its own leaf and its roles included: one level above the programs'. */
static void clear_tree(const struct world *w)
{
	mtime deadline = mtime_now() + PATIENCE;
	char parent[512], *name;
	int fd, kill_fd;

	strcpy(parent, w->tree);
	*strrchr(parent, '/') = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	kill_fd = openat(fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	cgroup_kill(fd, kill_fd);
	fd_close(&kill_fd);
	close(fd);
	name = strrchr(parent, '/');
	*name++ = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (cgroup_remove(fd, name) == -EBUSY && mtime_now() < deadline)
		usleep(1000);
	close(fd);
}

void world_abandon(struct world *w)
{
	if (!w->m)
		return;
	if (w->keeper > 0)
		world_kill_keeper(w);
	if (*w->tree)
		clear_tree(w);
	world_bury(w);
}

bool world_is_possible(void)
{
	struct cgroup_place place;
	char path[CGROUP_PATH_MAX * 2 + 32];

	if (geteuid() != 0 || cgroup_find("none", &place) < 0 || !getpwnam("nobody"))
		return false;
	snprintf(path, sizeof(path), "%s%s/supd-test-%d", place.mount, place.base, (int)getpid());
	if (mkdir(path, 0755) < 0)
		return false;
	rmdir(path);
	return true;
}

/* ---- orders ----------------------------------------------------------------------------------------------- */

uint64_t world_order_start(struct world *w, const char *program, uint64_t term, mtime valid_for,
			   mtime kill_in)
{
	mtime now = mtime_now();
	struct ipc_start s = { .h = { IPC_START, 0 },
			       .order = ++w->order,
			       .program = model_find_program(w->m, program),
			       .term = term,
			       .valid_until = now + valid_for,
			       .kill_at = mtime_add(now, kill_in),
			       .cause = "start" };

	world_send(w, &s, sizeof(s));
	return s.order;
}

struct ipc_spawned world_spawn(struct world *w, const char *program, uint64_t term)
{
	uint64_t order = world_order_start(w, program, term, MTIME_SEC(10), MTIME_NEVER);
	struct ipc_spawned s;

	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	assert_int_equal(s.order, order);
	assert_int_equal(s.program, model_find_program(w->m, program));
	assert_true(s.pid > 1);
	return s;
}

void world_order_kill(struct world *w, const struct ipc_spawned *s)
{
	const struct ipc_kill k = { .h = { IPC_KILL, 0 }, .program = s->program, .run = s->run };

	world_send(w, &k, sizeof(k));
}

void world_sync(struct world *w)
{
	uint64_t order = world_order_start(w, model_program_name(w->m, 0), 0, -1, MTIME_NEVER);
	struct ipc_spawn_failed f;

	do
		world_expect(w, IPC_SPAWN_FAILED, &f, sizeof(f));
	while (f.order != order);
}

void world_order_quiesce(struct world *w, const char *service, uint64_t term)
{
	const struct ipc_quiesce q = { .h = { IPC_QUIESCE, 0 },
				       .order = ++w->order,
				       .service = model_find_service(w->m, service),
				       .term = term };

	world_send(w, &q, sizeof(q));
}

/* ---- looking ------------------------------------------------------------------------------------------------- */

static bool is_zombie(pid_t pid)
{
	char path[48], text[256] = "";
	const char *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	at = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	return !at || at[2] == 'Z' || at[2] == 'X';
}

static unsigned count_in(const char *dir, pid_t *ret_pids, unsigned max, unsigned n)
{
	char path[1024];
	struct dirent *d;
	DIR *handle;
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1) {
		if (is_zombie(pid))
			continue;
		if (n < max)
			ret_pids[n] = pid;
		n++;
	}
	if (f)
		fclose(f);
	handle = opendir(dir);
	while (handle && (d = readdir(handle))) {
		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		n = count_in(path, ret_pids, max, n);
	}
	if (handle)
		closedir(handle);
	return n;
}

unsigned world_count(const struct world *w, const char *below, pid_t *ret_pids, unsigned max)
{
	char dir[600];

	snprintf(dir, sizeof(dir), "%s%s%s", w->tree, *below ? "/" : "", below);
	return count_in(dir, ret_pids, max, 0);
}

static void breathe(mtime deadline, const char *what)
{
	if (mtime_now() > deadline)
		fail_msg("%s did not happen", what);
	usleep(1000);
}

void world_await_count(const struct world *w, const char *below, unsigned n)
{
	mtime deadline = mtime_now() + PATIENCE;

	while (world_count(w, below, NULL, 0) != n)
		breathe(deadline, "the number of processes waited for");
}

void world_await_file(const struct world *w, const char *name, const char *until, char *ret,
		      size_t size)
{
	mtime deadline = mtime_now() + PATIENCE;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	for (;;) {
		FILE *f = fopen(path, "re");
		size_t n = f ? fread(ret, 1, size - 1, f) : 0;

		if (f)
			fclose(f);
		ret[n] = '\0';
		if (strstr(ret, until))
			return;
		breathe(deadline, path);
	}
}

void world_await_death(pid_t pid)
{
	mtime deadline = mtime_now() + PATIENCE;

	while (!is_zombie(pid))
		breathe(deadline, "a process's death");
}

static unsigned count_fds(const struct world *w)
{
	char path[48];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)w->keeper);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* The keeper makes and removes cgroups a little after a start or an end: until it has settled. */
unsigned world_keeper_fds(const struct world *w)
{
	unsigned last = count_fds(w), same = 0;

	while (same < 5) {
		unsigned now;

		usleep(20000);
		now = count_fds(w);
		same = now == last ? same + 1 : 0;
		last = now;
	}
	return last;
}

/* proc(5): nanoseconds on a CPU, nanoseconds of waiting for one. */
static void cpu_times(pid_t pid, long long *ret_used, long long *ret_waited)
{
	char path[48];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lld %lld", ret_used, ret_waited), 2);
	fclose(f);
}

mtime world_keeper_waited(const struct world *w)
{
	long long used, waited;

	cpu_times(w->keeper, &used, &waited);
	return waited;
}

static mtime keeper_used(const struct world *w)
{
	long long used, waited;

	cpu_times(w->keeper, &used, &waited);
	return used;
}

void world_check_keeper_sleeps(const struct world *w)
{
	mtime began = mtime_now(), used = keeper_used(w);

	usleep(300000); /* the time in which it is looked at: nothing to wait for */
	used = keeper_used(w) - used;
	if (used > (mtime_now() - began) / 10)
		fail_msg("the keeper used %lld ms of %lld", (long long)mtime_to_ms(used),
			 (long long)mtime_to_ms(mtime_now() - began));
}

void world_write_cgroup(const struct world *w, const char *file, const char *text)
{
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->tree, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}
