/* SPDX-License-Identifier: MIT */
#include "supd/ipc/msg_hook.h"
#include "tests/unit/keeper_kit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The commands of the file, as the keeper runs them, fence_command above all: real processes in real cgroups; the test is the engine.
 * `hooks` counts what is alive of all of them.
 */

#define HOOKS "node.hooks"

/* A service s whose fence_command is this shell text, and a program to tell the two apart. */
static void start(struct world *w, const char *shell)
{
	char sections[2048];

	snprintf(sections, sizeof(sections),
		 SERVICE("s", "1", "fence_command = /bin/sh -c '%s'\n")
		 PROGRAM("p", "service = s\n" SLEEP), shell);
	world_start(w, sections);
}

/* The same with a time-out that a test can wait for. */
static void start_with_timeout(struct world *w, const char *shell, mtime timeout)
{
	start(w, shell);
	world_kill_keeper(w);
	((struct model_service *)(uintptr_t)model_service(w->m, 0))->fence_command_timeout = timeout;
	world_start(w, NULL);
}

static uint64_t order_for(struct world *w, int32_t node, mtime valid_for)
{
	struct ipc_hook h = { .h = { IPC_HOOK, 0 },
			      .order = ++w->order,
			      .kind = IPC_HOOK_FENCE,
			      .node = node,
			      .term = 257,
			      .valid_until = mtime_now() + valid_for,
			      .cause = "takeover" };

	world_send(w, &h, sizeof(h));
	return h.order;
}

static uint64_t order(struct world *w)
{
	return order_for(w, 1, MTIME_SEC(10));
}

static struct ipc_hook_done expect_done(struct world *w, uint64_t number)
{
	struct ipc_hook_done d;

	world_expect(w, IPC_HOOK_DONE, &d, sizeof(d));
	assert_int_equal(d.order, number);
	assert_int_equal(d.kind, IPC_HOOK_FENCE);
	assert_int_equal(d.row, 0);
	return d;
}

static void expect_refused(struct world *w, uint64_t number)
{
	struct ipc_hook_done d = expect_done(w, number);

	assert_false(d.ok);
	assert_false(d.timed_out);
	assert_int_equal(d.code, -1);
	assert_int_equal(d.signo, 0);
}

/* Until a leaf is removed: from then on the keeper has nothing of that run any more. */
static void await_gone(const struct world *w, const char *leaf)
{
	mtime deadline = mtime_now() + MTIME_SEC(20);
	char path[700];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", w->tree, leaf);
	while (stat(path, &st) == 0) {
		if (mtime_now() > deadline)
			fail_msg("%s is still there", path);
		usleep(1000);
	}
}

/* ---- how it ends ------------------------------------------------------------------------------------ */

static void it_runs_as_root_with_the_environment_of_its_order(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "SUPD_NODE=a\n", "who takes over" },
		{ "SUPD_SERVICE=s\n", "what" },
		{ "SUPD_TERM=257\n", "under which term" },
		{ "SUPD_CAUSE=takeover\n", "why" },
		{ "SUPD_FENCE_NODE=b\n", "who must be off" },
		{ "SUPD_FENCE_ADDRESS=127.0.0.2\n", "its address" },
		{ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", "a path" },
		{ "HOME=/root\n", "a home" },
		{ "Uid:\t0\t0\t0\t0\n", "root" },
		{ "SigBlk:\t0000000000000000\n", "the keeper blocks all signals" },
		{ "cwd=/\n", "directory" },
		{ "out=/dev/null\n", "output goes nowhere" },
		{ "node.hooks/fence.", "a cgroup of its own" },
	};
	struct world *w = *state;
	char text[16384], shell[512], out[64];
	FILE *f;

	snprintf(out, sizeof(out), "/dev/shm/supd-hook-%d", (int)getpid());
	snprintf(shell, sizeof(shell),
		 "(env; cat /proc/self/status /proc/self/cgroup; echo cwd=$(pwd); "
		 "echo out=$(readlink /proc/$$/fd/1)) > %s", out);
	start(w, shell);
	struct ipc_hook_done d = expect_done(w, order(w));
	assert_true(d.ok);
	assert_int_equal(d.code, 0);
	f = fopen(out, "re");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	unlink(out);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strstr(text, cases[i].text))
			fail_msg("no \"%s\" (%s) in:\n%s", cases[i].text, cases[i].why, text);
	world_stop(w);
}

static void its_end_is_told_as_it_was(void **state)
{
	static const struct {
		const char *shell;
		int code, signo;
		const char *why;
	} cases[] = {
		{ "exit 0", 0, 0, "success" },
		{ "exit 3", 3, 0, "an exit status" },
		{ "kill -9 $$", -1, SIGKILL, "killed by somebody else" },
		{ "no-such-command", 127, 0, "its own 127 is an exit status like any other" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = *state;

		start(w, cases[i].shell);
		struct ipc_hook_done d = expect_done(w, order(w));
		if (d.ok != (i == 0) || d.timed_out || d.code != cases[i].code ||
		    d.signo != cases[i].signo)
			fail_msg("%s: ok %d code %d signo %d", cases[i].why, d.ok, d.code, d.signo);
		world_stop(w);
	}
}

static void what_cannot_be_executed_has_not_succeeded(void **state)
{
	static const char *const commands[] = { "/no/such/fence", "/etc/passwd", "/usr" };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		char sections[512];

		snprintf(sections, sizeof(sections), SERVICE("s", "1", "fence_command = %s\n")
			 PROGRAM("p", SLEEP), commands[i]);
		world_start(w, sections);
		expect_refused(w, order(w));
		expect_refused(w, order(w)); /* what failed once is not in the way of the next */
		world_stop(w);
	}
}

static void no_command_and_no_time_left_are_refusals(void **state)
{
	struct world *w = *state;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", SLEEP));
	expect_refused(w, order(w));
	world_stop(w);
	start(w, "exit 0");
	expect_refused(w, order_for(w, 1, -1));
	assert_true(expect_done(w, order(w)).ok);
	world_stop(w);
}

static void an_order_that_names_no_other_node_is_none(void **state)
{
	static const int32_t nodes[] = { 0 /* this one */, 2, -1, 1 << 20 };
	struct world *w = *state;

	start(w, "exit 0");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		order_for(w, nodes[i], MTIME_SEC(10));
	world_sync(w);
	assert_false(world_has(w, IPC_HOOK_DONE));
	assert_int_equal(world_count(w, HOOKS, NULL, 0), 0);
	world_stop(w);
}

/* ---- time-out ----------------------------------------------------------------------------------------- */

static void a_hanging_one_is_killed_with_all_that_it_started(void **state)
{
	struct world *w = *state;
	struct ipc_hook_done d;
	mtime began;

	start_with_timeout(w, "trap \"\" TERM INT; setsid sleep 1000 & sleep 1000 & sleep 1000",
			   MTIME_MS(400));
	began = mtime_now();
	uint64_t first = order(w);
	world_await_count(w, HOOKS, 4);
	d = expect_done(w, first);
	assert_in_range(mtime_now() - began, MTIME_MS(400), MTIME_MS(1500));
	assert_false(d.ok);
	assert_true(d.timed_out);
	world_await_count(w, HOOKS, 0);
	/* It is gone: the next one is not refused, and is killed in its turn. */
	await_gone(w, HOOKS "/fence.1");
	assert_true(expect_done(w, order(w)).timed_out);
	world_stop(w);
}

static void what_one_leaves_behind_is_killed_before_its_end_is_told(void **state)
{
	struct world *w = *state;

	start(w, "setsid sleep 1000 & setsid sleep 1000 & exit 0");
	for (int i = 0; i < 5; i++) {
		assert_true(expect_done(w, order(w)).ok);
		assert_int_equal(world_count(w, HOOKS, NULL, 0), 0);
	}
	world_stop(w);
}

/* ---- one at a time, and whose it is --------------------------------------------------------------------- */

static void a_second_one_is_refused_while_the_first_runs(void **state)
{
	struct world *w = *state;

	start(w, "exec sleep 0.5");
	uint64_t first = order(w);
	world_await_count(w, HOOKS, 1);
	expect_refused(w, order(w));
	assert_true(expect_done(w, first).ok);
	world_stop(w);
}

static void killing_the_service_does_not_kill_it(void **state)
{
	struct world *w = *state;
	struct ipc_quiesced q;

	start(w, "exec sleep 0.5");
	world_spawn(w, "p", 1);
	uint64_t number = order(w);
	world_await_count(w, HOOKS, 1);
	world_order_quiesce(w, "s", 1);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	world_await_count(w, "s/p.1", 0);
	assert_int_equal(world_count(w, HOOKS, NULL, 0), 1);
	assert_true(expect_done(w, number).ok);
	world_stop(w);
}

static void a_new_engine_inherits_none(void **state)
{
	struct world *w = *state;
	pid_t pid = 0;

	start(w, "exec sleep 1000");
	order(w);
	world_await_count(w, HOOKS, 1);
	world_count(w, HOOKS, &pid, 1);
	kill(w->engine, SIGKILL);
	world_take_engine(w);
	world_await_death(pid);
	await_gone(w, HOOKS "/fence.1");
	world_sync(w);
	assert_false(world_has(w, IPC_HOOK_DONE));
	order(w); /* and may have its own */
	world_await_count(w, HOOKS, 1);
	world_stop(w);
}

static void it_dies_with_the_keeper(void **state)
{
	struct world *w = *state;
	pid_t pid = 0;

	start(w, "exec sleep 1000");
	order(w);
	world_await_count(w, HOOKS, 1);
	world_count(w, HOOKS, &pid, 1);
	world_kill_keeper(w);
	world_await_death(pid);
	world_start(w, NULL);
	world_stop(w);
}

/* ---- those of a program ------------------------------------------------------------------------------- */

#define POST_STOP(shell) "post_stop = /bin/sh -c '" shell "'\n"

static uint64_t order_post_stop(struct world *w, uint64_t term)
{
	struct ipc_hook h = { .h = { IPC_HOOK, 0 },
			      .order = ++w->order,
			      .kind = IPC_HOOK_POST_STOP,
			      .row = 0,
			      .node = MODEL_NONE,
			      .term = term,
			      .valid_until = mtime_now() + MTIME_SEC(10),
			      .cause = "release" };

	world_send(w, &h, sizeof(h));
	return h.order;
}

static struct ipc_hook_done expect_post_stop(struct world *w, uint64_t number)
{
	struct ipc_hook_done d;

	world_expect(w, IPC_HOOK_DONE, &d, sizeof(d));
	assert_int_equal(d.order, number);
	assert_int_equal(d.kind, IPC_HOOK_POST_STOP);
	return d;
}

static void a_programs_hook_dies_with_its_service_and_is_refused_after_it(void **state)
{
	struct world *w = *state;
	struct ipc_quiesced q;
	struct ipc_hook_done d;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP
		    POST_STOP("setsid sleep 1000 & exec sleep 1000")));
	uint64_t number = order_post_stop(w, 257);
	world_await_count(w, "s/p.hook.1", 2);
	world_order_quiesce(w, "s", 257);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	d = expect_post_stop(w, number);
	assert_false(d.ok);
	assert_int_equal(d.signo, SIGKILL);
	world_await_count(w, "s/p.hook.1", 0);
	/* Of a term that is over: nothing of it starts any more, and a later one may. */
	d = expect_post_stop(w, order_post_stop(w, 257));
	assert_false(d.ok);
	assert_int_equal(d.signo, 0);
	order_post_stop(w, 513);
	world_await_count(w, "s/p.hook.2", 2);
	world_stop(w);
}

static void a_hook_is_killed_when_it_is_asked_for(void **state)
{
	struct ipc_hook_kill kill = { .h = { IPC_HOOK_KILL, 0 } };
	struct world *w = *state;

	world_start(w, PROGRAM("p", SLEEP POST_STOP("setsid sleep 1000 & exec sleep 1000")));
	kill.order = order_post_stop(w, 0);
	world_await_count(w, "node.programs/p.hook.1", 2);
	world_send(w, &kill, sizeof(kill));
	assert_int_equal(expect_post_stop(w, kill.order).signo, SIGKILL);
	world_await_count(w, "node.programs/p.hook.1", 0);
	world_send(w, &kill, sizeof(kill)); /* once more: nothing to kill */
	world_sync(w);
	world_stop(w);
}

/* Its guard was killed a moment ago: it waits for the next one, as a start does. */
static void a_programs_hook_waits_for_a_guard(void **state)
{
	struct world *w = *state;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP POST_STOP("exit 0")));
	for (uint64_t term = 1; term <= 5; term++) {
		struct ipc_quiesced q;

		world_spawn(w, "p", 10 * term);
		world_order_quiesce(w, "s", 10 * term);
		uint64_t number = order_post_stop(w, 10 * term + 1);
		world_expect(w, IPC_QUIESCED, &q, sizeof(q));
		assert_true(expect_post_stop(w, number).ok);
		world_await_count(w, "s/p", 0);
		world_sync(w);
		while (!world_has(w, IPC_GONE))
			usleep(1000);
		world_forget(w);
	}
	world_stop(w);
}

/* A new engine is told of a run whose post_stop nobody has run, as of one that has just ended. */
static void an_owed_post_stop_is_told_to_the_next_engine(void **state)
{
	struct world *w = *state;
	struct ipc_run r;

	world_start(w, PROGRAM("p", SLEEP POST_STOP("exit 0")));
	struct ipc_spawned s = world_spawn(w, "p", 0);
	world_order_kill(w, &s);
	expect_gone(w, &s);
	world_forget(w);
	kill(w->engine, SIGKILL);
	world_take_engine(w);
	world_expect(w, IPC_RUN, &r, sizeof(r));
	assert_int_equal(r.run, s.run);
	assert_int_equal(r.pid, 0);
	expect_gone(w, &s);
	assert_true(expect_post_stop(w, order_post_stop(w, 0)).ok);
	kill(w->engine, SIGKILL);
	world_take_engine(w);
	world_sync(w);
	assert_false(world_has(w, IPC_RUN));
	world_stop(w);
}

static void nothing_of_a_hundred_stays(void **state)
{
	struct world *w = *state;
	unsigned fds;

	start(w, "exit 0");
	assert_true(expect_done(w, order(w)).ok);
	fds = world_keeper_fds(w);
	for (int i = 0; i < 100; i++)
		assert_true(expect_done(w, order(w)).ok);
	assert_true(world_keeper_fds(w) <= fds);
	await_gone(w, HOOKS "/fence.101");
	world_stop(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_a_world(it_runs_as_root_with_the_environment_of_its_order),
		in_a_world(its_end_is_told_as_it_was),
		in_a_world(what_cannot_be_executed_has_not_succeeded),
		in_a_world(no_command_and_no_time_left_are_refusals),
		in_a_world(an_order_that_names_no_other_node_is_none),
		in_a_world(a_hanging_one_is_killed_with_all_that_it_started),
		in_a_world(what_one_leaves_behind_is_killed_before_its_end_is_told),
		in_a_world(a_second_one_is_refused_while_the_first_runs),
		in_a_world(killing_the_service_does_not_kill_it),
		in_a_world(a_new_engine_inherits_none),
		in_a_world(it_dies_with_the_keeper),
		in_a_world(a_programs_hook_dies_with_its_service_and_is_refused_after_it),
		in_a_world(a_hook_is_killed_when_it_is_asked_for),
		in_a_world(a_programs_hook_waits_for_a_guard),
		in_a_world(an_owed_post_stop_is_told_to_the_next_engine),
		in_a_world(nothing_of_a_hundred_stays),
	};

	return run_in_worlds(tests, sizeof(tests) / sizeof(tests[0]));
}
