/* SPDX-License-Identifier: MIT */
#include "tests/unit/keeper_kit.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supd/keeper/cgroup.h"

/* ---- death of the others -------------------------------------------------------------------------------------- */

static void kill_9_of_the_keeper_ends_every_tree_of_a_service(void **state)
{
	struct world *w = *state;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\nuser = nobody\n" TREE)
		    PROGRAM("local", "user = nobody\n" TREE));
	world_spawn(w, "p", 1);
	struct ipc_spawned local = world_spawn(w, "local", 0);
	world_await_count(w, "s/p.1", 3);
	world_await_count(w, "node.programs/local.1", 3);
	world_kill_keeper(w);
	world_await_count(w, "s", 0);
	/* Without a namespace only the main process is sure to die: the rest is the engine's to
	 * kill, or the next keeper's. */
	world_await_death(local.pid);
	assert_int_equal(world_count(w, "", NULL, 0), 2);
	world_start(w, NULL);
	assert_int_equal(world_count(w, "node.programs", NULL, 0), 0);
	world_spawn(w, "p", 1);
	world_stop(w);
}

static void a_second_keeper_is_refused(void **state)
{
	struct world *w = *state, second;
	int status;

	world_start(w, PROGRAM("p", SLEEP));
	struct ipc_spawned s = world_spawn(w, "p", 0);
	second = *w;
	fflush(stdout);
	second.keeper = fork();
	if (second.keeper == 0)
		_exit(world_run_keeper(w));
	assert_int_equal(waitpid(second.keeper, &status, 0), second.keeper);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(kill(s.pid, 0), 0);
	world_stop(w);
}

static void send_baton(struct world *w, uint32_t slot, const char *text)
{
	struct ipc_baton b = { .h = { IPC_BATON, 0 }, .slot = slot, .len = (uint32_t)strlen(text) };

	memcpy(b.data, text, b.len);
	world_send(w, &b, offsetof(struct ipc_baton, data) + b.len);
}

static void expect_handed_over(struct world *w, const struct ipc_spawned *s, uint32_t generation)
{
	struct ipc_channel channel;
	struct ipc_baton b;
	struct ipc_run r;

	assert_int_equal(w->generation, generation);
	world_expect(w, IPC_RUN, &r, sizeof(r));
	assert_int_equal(r.pid, s->pid);
	assert_int_equal(r.run, s->run);
	assert_int_equal(r.term, 3);
	world_expect(w, IPC_BATON, &b, sizeof(b));
	assert_int_equal(b.slot, 0);
	assert_memory_equal(b.data, "service", b.len);
	world_expect(w, IPC_BATON, &b, sizeof(b));
	assert_int_equal(b.slot, IPC_BATON_NODE);
	assert_memory_equal(b.data, "node", b.len);
	for (int i = 0; i < 2; i++)
		world_expect(w, IPC_CHANNEL, &channel, sizeof(channel));
	assert_int_equal(kill(s->pid, 0), 0);
}

static void a_new_engine_gets_the_same_runs_and_the_baton(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 3);
	send_baton(w, 0, "service");
	send_baton(w, IPC_BATON_NODE, "node");
	world_forget(w);
	world_sync(w);
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	expect_handed_over(w, &s, 2);
	/* And one that hangs. */
	assert_int_equal(kill(w->engine, SIGSTOP), 0);
	world_take_engine(w);
	expect_handed_over(w, &s, 3);
	/* And one that lives, but does not feed. */
	world_stop_feeding(w);
	world_take_engine(w);
	expect_handed_over(w, &s, 4);
	world_stop(w);
}

static void deadlines_stay_in_force_when_the_engine_is_dead(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE));
	world_order_start(w, "p", 1, MTIME_SEC(10), MTIME_SEC(1));
	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	world_await_count(w, "s/p.1", 0);
	assert_true(expect_exited(w, &s).killed_by_deadline);
	world_stop(w);
}

/* Until a new one has been ready for a while: what waited for it has been started by then. */
static void await_guard(struct world *w)
{
	mtime deadline = mtime_now() + MTIME_SEC(10);

	while (guard_of(w) == 0 && mtime_now() < deadline)
		usleep(1000);
	assert_int_not_equal(guard_of(w), 0);
	usleep(100000);
}

static void a_killed_guard_takes_its_members_and_is_replaced(void **state)
{
	struct world *w = *state;
	struct ipc_spawned p, q;
	char text[128];

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE)
		    PROGRAM("q", "service = s\n" SLEEP));
	p = world_spawn(w, "p", 1);
	q = world_spawn(w, "q", 1);
	world_await_count(w, "s", 5);
	snprintf(text, sizeof(text), "/proc/%d/status", (int)guard_of(w));
	FILE *f = fopen(text, "re");
	assert_non_null(f);
	while (fgets(text, sizeof(text), f) && strncmp(text, "Uid:", 4) != 0)
		continue;
	assert_string_equal(text, "Uid:\t65534\t65534\t65534\t65534\n");
	fclose(f);
	assert_int_equal(kill(guard_of(w), SIGKILL), 0);
	expect_both_end(w, &p, &q);
	p = world_spawn(w, "p", 1);
	q = world_spawn(w, "q", 1);
	assert_int_equal(p.run, 2);
	assert_int_equal(q.run, 2);
	world_stop(w);
}

static void without_a_namespace_the_keeper_still_kills_trees(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_quiesced q;
	struct stat mine, its;
	char path[64];

	world_start(w, SERVICE("s", "1", "pid_namespace = no\n")
		    PROGRAM("p", "service = s\n" TREE));
	s = world_spawn(w, "p", 1);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)s.pid);
	assert_int_equal(stat(path, &its), 0);
	assert_int_equal(stat("/proc/self/ns/pid", &mine), 0);
	assert_int_equal(its.st_ino, mine.st_ino);
	world_await_count(w, "s", 3);
	world_order_quiesce(w, "s", 1);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	expect_exited(w, &s);
	expect_gone(w, &s);
	s = world_spawn(w, "p", 2);
	world_kill_keeper(w);
	world_await_death(s.pid);
	world_start(w, NULL); /* clears the rest */
	assert_int_equal(world_count(w, "s", NULL, 0), 0);
	world_stop(w);
}

/* ---- what must not make it spin, or wait for ever ------------------------------------------------ */

static void the_keeper_sleeps_while_all_is_well(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE)
		    PROGRAM("local", SLEEP));
	s = world_spawn(w, "p", 1);
	world_spawn(w, "local", 0);
	world_check_keeper_sleeps(w);
	world_order_kill(w, &s);
	expect_exited(w, &s);
	expect_gone(w, &s);
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	world_check_keeper_sleeps(w);
	world_stop(w);
}

/* A debugger holds what it has traced: dead, its pidfd readable, and not to be reaped by us. */
static void a_traced_program_that_dies_does_not_make_it_spin(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 1);
	assert_int_equal(ptrace(PTRACE_SEIZE, s.pid, NULL, NULL), 0);
	world_order_kill(w, &s);
	world_await_death(s.pid);
	world_check_keeper_sleeps(w);
	assert_false(world_has(w, IPC_EXITED));
	assert_int_equal(waitpid(s.pid, &status, __WALL), s.pid);
	assert_int_equal(expect_exited(w, &s).signo, SIGKILL);
	expect_gone(w, &s);
	world_stop(w);
}

static void a_traced_engine_that_dies_does_not_make_it_spin(void **state)
{
	struct world *w = *state;
	pid_t engine;
	int status;

	world_start(w, PROGRAM("p", SLEEP));
	engine = w->engine;
	assert_int_equal(ptrace(PTRACE_SEIZE, engine, NULL, NULL), 0);
	assert_int_equal(kill(engine, SIGKILL), 0);
	world_await_death(engine);
	world_check_keeper_sleeps(w);
	assert_int_equal(waitpid(engine, &status, __WALL), engine);
	world_take_engine(w);
	world_stop(w);
}

static void a_traced_guard_that_dies_does_not_make_it_spin(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	pid_t guard;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 1);
	guard = guard_of(w);
	assert_int_equal(ptrace(PTRACE_SEIZE, guard, NULL, NULL), 0);
	assert_int_equal(kill(guard, SIGKILL), 0);
	world_await_death(guard);
	expect_exited(w, &s);
	expect_gone(w, &s);
	world_check_keeper_sleeps(w);
	assert_int_equal(waitpid(guard, &status, __WALL), guard);
	world_spawn(w, "p", 2);
	world_stop(w);
}

/* What is dead already, but not gone, is not killed over and over: neither is a guard with it. */
static void a_deadline_in_the_past_kills_once(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_quiesced q;
	pid_t guard;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	world_order_start(w, "p", 1, MTIME_SEC(10), MTIME_SEC(1));
	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	assert_int_equal(ptrace(PTRACE_SEIZE, s.pid, NULL, NULL), 0);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	assert_true(q.by_deadline);
	await_guard(w);
	guard = guard_of(w);
	for (int i = 0; i < 5; i++) {
		send_feed(w, mtime_now() - MTIME_SEC(1));
		world_sync(w);
	}
	assert_false(world_has(w, IPC_QUIESCED));
	world_order_quiesce(w, "s", 1);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q)); /* asked for, it is answered */
	assert_int_equal(q.order, w->order);
	assert_int_equal(guard_of(w), guard);
	assert_int_equal(waitpid(s.pid, &status, __WALL), s.pid);
	assert_true(expect_exited(w, &s).killed_by_deadline);
	expect_gone(w, &s);
	world_stop(w);
}

/* More programs than are refilled at a time, and no cgroup for any of them. */
static void cgroups_that_cannot_be_made_are_not_tried_for_ever(void **state)
{
	struct world *w = *state;
	char sections[2048] = "", name[8];
	struct ipc_spawned s[20];

	for (int i = 0; i < 20; i++)
		snprintf(sections + strlen(sections), sizeof(sections) - strlen(sections),
			 "[program:p%d]\n" SLEEP, i);
	world_start(w, sections);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		s[i] = world_spawn(w, name, 0);
	}
	world_write_cgroup(w, "node.programs/cgroup.max.descendants", "0");
	for (int i = 0; i < 20; i++) {
		world_order_kill(w, &s[i]);
		expect_exited(w, &s[i]);
		expect_gone(w, &s[i]);
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		world_order_start(w, name, 0, MTIME_SEC(1), FOREVER);
	}
	world_check_keeper_sleeps(w);
	world_forget(w);
	world_write_cgroup(w, "node.programs/cgroup.max.descendants", "max");
	world_stop(w);
}

static void await_cgroup(const char *path)
{
	mtime deadline = mtime_now() + MTIME_SEC(10);

	while (access(path, F_OK) < 0 && mtime_now() < deadline)
		usleep(1000);
	assert_int_equal(access(path, F_OK), 0);
}

static void a_cgroup_that_somebody_removed_is_made_again(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	char path[600];

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	snprintf(path, sizeof(path), "%s/s/p.1", w->tree);
	await_cgroup(path); /* made when the keeper has nothing else to do */
	assert_int_equal(rmdir(path), 0);
	s = world_spawn(w, "p", 1);
	assert_int_equal(world_count(w, "s/p.2", NULL, 0), 1);
	assert_int_equal(kill(s.pid, 0), 0);
	world_stop(w);
}

/* Stop the next child that the keeper makes at its birth. */
static void trace_births(const struct world *w)
{
	assert_int_equal(ptrace(PTRACE_SEIZE, w->keeper, NULL,
				PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE), 0);
}

static pid_t await_birth(const struct world *w)
{
	unsigned long child = 0;
	int status;

	assert_int_equal(waitpid(w->keeper, &status, __WALL), w->keeper);
	assert_int_equal(ptrace(PTRACE_GETEVENTMSG, w->keeper, NULL, &child), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, w->keeper, NULL, NULL), 0);
	return (pid_t)child;
}

/* A START that waits for a guard when its engine dies: the next engine decides anew. */
static void a_start_that_waits_dies_with_its_engine(void **state)
{
	struct world *w = *state;
	uint64_t order;
	pid_t held;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP)
		    PROGRAM("q", "service = s\n" SLEEP));
	world_spawn(w, "p", 1);
	trace_births(w);
	assert_int_equal(kill(guard_of(w), SIGKILL), 0);
	held = await_birth(w);
	order = world_order_start(w, "q", 1, MTIME_SEC(60), FOREVER);
	world_sync(w); /* it has been read, and waits */
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	assert_int_equal(waitpid(held, &status, __WALL), held);
	ptrace(PTRACE_DETACH, held, NULL, NULL); /* unless it was given up by now */
	assert_int_equal(expect_failed(w, order).stage, IPC_STAGE_ORDER);
	assert_false(world_has(w, IPC_SPAWNED));
	assert_int_equal(world_count(w, "s/q.1", NULL, 0), 0);
	assert_int_equal(world_spawn(w, "q", 1).run, 1);
	world_stop(w);
}

/* ... also where the guard that it waits for does not come: its orders are not refused for it. */
static void a_start_of_a_dead_engine_gives_way_to_the_next(void **state)
{
	struct world *w = *state;
	struct ipc_spawn_failed f;
	uint64_t order;
	pid_t stuck;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP)
		    PROGRAM("q", "service = s\n" SLEEP));
	world_spawn(w, "p", 1);
	trace_births(w);
	assert_int_equal(kill(guard_of(w), SIGKILL), 0);
	stuck = await_birth(w);
	world_order_start(w, "q", 1, MTIME_SEC(60), FOREVER);
	world_sync(w);
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	order = world_order_start(w, "q", 1, MTIME_MS(300), FOREVER);
	f = expect_failed(w, order);
	assert_int_equal(f.stage, IPC_STAGE_GUARD);
	assert_int_equal(f.error, ETIMEDOUT);
	world_await_death(stuck);
	assert_int_equal(world_spawn(w, "q", 1).run, 1);
	assert_int_equal(waitpid(stuck, &status, __WALL), stuck);
	world_stop(w);
}

static void a_guard_that_does_not_get_ready_is_replaced(void **state)
{
	struct world *w = *state;
	struct ipc_spawn_failed f;
	struct ipc_exited x;
	uint64_t order;
	pid_t stuck;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP)
		    PROGRAM("q", "service = s\n" SLEEP));
	world_spawn(w, "p", 1);
	trace_births(w);
	assert_int_equal(kill(guard_of(w), SIGKILL), 0);
	stuck = await_birth(w);
	order = world_order_start(w, "q", 1, MTIME_MS(300), FOREVER);
	f = expect_failed(w, order);
	assert_int_equal(f.stage, IPC_STAGE_GUARD);
	assert_int_equal(f.error, ETIMEDOUT);
	world_expect(w, IPC_EXITED, &x, sizeof(x));
	world_check_keeper_sleeps(w);
	assert_int_equal(kill(stuck, 0), 0);
	world_await_death(stuck);
	assert_int_equal(world_spawn(w, "q", 1).run, 1);
	assert_int_equal(waitpid(stuck, &status, __WALL), stuck);
	world_stop(w);
}

static void await_no_cgroup(const struct world *w, const char *below)
{
	mtime deadline = mtime_now() + MTIME_SEC(10);
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", w->tree, below);
	while (access(path, F_OK) == 0 && mtime_now() < deadline)
		usleep(1000);
	assert_int_equal(access(path, F_OK), -1);
}

/* As on a file system that hangs: the child is there, and does not come to exec. */
static void a_start_that_does_not_get_to_exec_is_given_up(void **state)
{
	struct world *w = *state;
	struct ipc_spawn_failed f;
	uint64_t order;
	pid_t stuck;
	int status;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	world_sync(w);
	trace_births(w);
	order = world_order_start(w, "p", 1, MTIME_MS(100), FOREVER);
	stuck = await_birth(w);
	f = expect_failed(w, order);
	assert_int_equal(f.stage, IPC_STAGE_DEADLINE);
	assert_int_equal(f.error, ETIMEDOUT);
	world_await_death(stuck);
	assert_int_equal(waitpid(stuck, &status, __WALL), stuck);
	await_no_cgroup(w, "s/p.1"); /* reaped */
	assert_int_equal(world_spawn(w, "p", 1).run, 2);
	world_stop(w);
}

/* ---- processes that leave their cgroup ------------------------------------------------------------- */

static void make_exile(char *ret_path, size_t size)
{
	struct cgroup_place place;

	assert_int_equal(cgroup_find("none", &place), 0);
	snprintf(ret_path, size, "%s%s/supd-exile-%d", place.mount, place.base, (int)getpid());
	assert_int_equal(mkdir(ret_path, 0755), 0);
}

/* p leaves a process in the exile, started by `how`; q does not. */
static void start_exile(struct world *w, const char *path, const char *service, const char *how)
{
	char sections[1024];

	snprintf(sections, sizeof(sections),
		 SERVICE("s", "1", "%s")
		 PROGRAM("p", "service = s\ncommand = /bin/sh -c '%s sleep 1000 & "
			      "echo $! > %s/cgroup.procs; wait'\n")
		 PROGRAM("q", "service = s\n" SLEEP),
		 service, how, path);
	world_start(w, sections);
}

static unsigned count_exile(const char *path)
{
	char file[600];
	unsigned n = 0;
	int pid;
	FILE *f;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	f = fopen(file, "re");
	assert_non_null(f);
	while (fscanf(f, "%d", &pid) == 1)
		n++;
	fclose(f);
	return n;
}

static void await_exile(const char *path, unsigned n)
{
	mtime deadline = mtime_now() + MTIME_SEC(10);

	while (count_exile(path) != n && mtime_now() < deadline)
		usleep(1000);
	assert_int_equal(count_exile(path), n);
}

static void who_leaves_the_cgroup_does_not_survive_the_run(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	char path[600];

	make_exile(path, sizeof(path));
	start_exile(w, path, "", "");
	for (int i = 0; i < 3; i++) {
		s = world_spawn(w, "p", 1);
		await_exile(path, 1);
		world_order_kill(w, &s);
		expect_exited(w, &s);
		expect_gone(w, &s);
		assert_int_equal(count_exile(path), 0);
	}
	world_stop(w);
	assert_int_equal(rmdir(path), 0);
}

/* ... nor where another program of the service, and so the guard, must live on. */
static void exile_beside_another(struct world *w, const char *service, const char *how)
{
	struct ipc_spawned p, q;
	char path[600];

	make_exile(path, sizeof(path));
	start_exile(w, path, service, how);
	q = world_spawn(w, "q", 1);
	for (int i = 0; i < 2; i++) {
		p = world_spawn(w, "p", 1);
		await_exile(path, 1);
		world_order_kill(w, &p);
		expect_exited(w, &p);
		expect_gone(w, &p);
		await_exile(path, 0); /* killed, and told from the living by a zombie's silence */
		assert_int_equal(kill(q.pid, 0), 0);
		assert_false(world_has(w, IPC_EXITED));
	}
	world_stop(w);
	assert_int_equal(rmdir(path), 0);
}

static void who_leaves_the_cgroup_does_not_survive_the_run_beside_another(void **state)
{
	exile_beside_another(*state, "", "");
}

static void who_leaves_the_cgroup_does_not_survive_the_run_without_a_namespace(void **state)
{
	exile_beside_another(*state, "pid_namespace = no\n", "");
}

/* su -, sudo and many a daemon clear it. */
static void who_leaves_the_cgroup_without_an_environment_does_not_survive_either(void **state)
{
	exile_beside_another(*state, "", "env -i");
}

static void who_leaves_the_cgroup_does_not_survive_quiesce(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_quiesced q;
	char path[600];
	int status;

	make_exile(path, sizeof(path));
	start_exile(w, path, "", "");
	s = world_spawn(w, "p", 1);
	await_exile(path, 1);
	/* Killed, and not gone: it is held. */
	assert_int_equal(ptrace(PTRACE_SEIZE, s.pid, NULL, NULL), 0);
	world_order_kill(w, &s);
	world_await_death(s.pid);
	assert_int_equal(count_exile(path), 1);
	world_order_quiesce(w, "s", 1);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	await_exile(path, 0);
	assert_int_equal(waitpid(s.pid, &status, __WALL), s.pid);
	expect_exited(w, &s);
	expect_gone(w, &s);
	world_stop(w);
	assert_int_equal(rmdir(path), 0);
}

/* Engines that cannot keep up are replaced later and later: a new one is no new CPU. */
static void engines_that_fall_silent_at_once_get_more_time_each(void **state)
{
	struct world *w = *state;
	mtime took[3], began;

	world_start(w, PROGRAM("p", SLEEP));
	for (int i = 0; i < 3; i++) {
		world_stop_feeding(w);
		began = mtime_now();
		world_take_engine(w);
		took[i] = mtime_now() - began;
	}
	assert_in_range(took[0], MTIME_MS(250), MTIME_MS(1100)); /* engine_timeout: 300 ms */
	assert_in_range(took[1], MTIME_MS(550), MTIME_MS(2200));
	assert_in_range(took[2], MTIME_MS(1150), MTIME_MS(4400));
	world_stop(w);
}

static void the_control_socket_has_its_mode_and_group(void **state)
{
	struct world *w = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	world_start(w, PROGRAM("p", SLEEP));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/supd.sock",
		 model_str(w->m, w->m->supd.run_dir));
	assert_int_equal(stat(sa.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, w->m->supd.socket_gid);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	world_stop(w);
}

static void the_end_kills_what_is_left(void **state)
{
	struct world *w = *state;
	struct ipc_spawned p, local;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE)
		    PROGRAM("local", TREE));
	p = world_spawn(w, "p", 1);
	local = world_spawn(w, "local", 0);
	world_await_count(w, "", 7);
	world_stop(w); /* also looks that the cgroups are gone */
	assert_int_equal(kill(p.pid, 0), -1);
	assert_int_equal(kill(local.pid, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_a_world(kill_9_of_the_keeper_ends_every_tree_of_a_service),
		in_a_world(a_second_keeper_is_refused),
		in_a_world(a_new_engine_gets_the_same_runs_and_the_baton),
		in_a_world(deadlines_stay_in_force_when_the_engine_is_dead),
		in_a_world(a_killed_guard_takes_its_members_and_is_replaced),
		in_a_world(without_a_namespace_the_keeper_still_kills_trees),
		in_a_world(the_keeper_sleeps_while_all_is_well),
		in_a_world(a_traced_program_that_dies_does_not_make_it_spin),
		in_a_world(a_traced_engine_that_dies_does_not_make_it_spin),
		in_a_world(a_traced_guard_that_dies_does_not_make_it_spin),
		in_a_world(a_deadline_in_the_past_kills_once),
		in_a_world(cgroups_that_cannot_be_made_are_not_tried_for_ever),
		in_a_world(a_cgroup_that_somebody_removed_is_made_again),
		in_a_world(a_start_that_waits_dies_with_its_engine),
		in_a_world(a_start_of_a_dead_engine_gives_way_to_the_next),
		in_a_world(a_guard_that_does_not_get_ready_is_replaced),
		in_a_world(a_start_that_does_not_get_to_exec_is_given_up),
		in_a_world(who_leaves_the_cgroup_does_not_survive_the_run),
		in_a_world(who_leaves_the_cgroup_does_not_survive_the_run_beside_another),
		in_a_world(who_leaves_the_cgroup_does_not_survive_the_run_without_a_namespace),
		in_a_world(who_leaves_the_cgroup_without_an_environment_does_not_survive_either),
		in_a_world(who_leaves_the_cgroup_does_not_survive_quiesce),
		in_a_world(engines_that_fall_silent_at_once_get_more_time_each),
		in_a_world(the_control_socket_has_its_mode_and_group),
		in_a_world(the_end_kills_what_is_left),
	};

	return run_in_worlds(tests, sizeof(tests) / sizeof(tests[0]));
}
