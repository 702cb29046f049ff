/* SPDX-License-Identifier: MIT */
#include "tests/unit/keeper_kit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- spawning ---------------------------------------------------------------------------------------- */

static void a_program_runs_in_its_guard_and_its_cgroup(void **state)
{
	struct world *w = *state;
	struct stat mine, its;
	struct ipc_spawned s;
	char path[64];
	pid_t pid;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 1);
	assert_int_equal(world_count(w, "s/p.1", &pid, 1), 1);
	assert_int_equal(pid, s.pid);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)s.pid, i ? "mnt" : "pid");
		assert_int_equal(stat(path, &its), 0);
		assert_int_equal(stat(i ? "/proc/self/ns/mnt" : "/proc/self/ns/pid", &mine), 0);
		assert_int_not_equal(its.st_ino, mine.st_ino);
	}
	assert_int_equal(w->welcome_fds, 3);
	world_stop(w);
}

/* What a program must get back: that of who started supd. */
static void own_nice_and_oom(char *ret_nice, char *ret_oom, size_t size)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "re");
	int adj;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &adj), 1);
	fclose(f);
	snprintf(ret_oom, size, "oom=%d\n", adj);
	snprintf(ret_nice, size, "nice=%d\n", getpriority(PRIO_PROCESS, 0));
}

/* Each thing that a careless supervisor hands down to its programs. */
static void a_program_starts_clean(void **state)
{
	char nice[16], oom[16];
	const struct {
		const char *text, *why;
	} cases[] = {
		{ "SUPD_NODE=a\n", "environment" },
		{ "SUPD_SERVICE=s\n", "environment" },
		{ "SUPD_PROGRAM=p\n", "environment" },
		{ "SUPD_TERM=257\n", "environment" },
		{ "SUPD_ROLE=active\n", "environment" },
		{ "SUPD_CAUSE=start\n", "environment" },
		{ "COLOUR=blue sky\n", "environment of the file" },
		{ "SigBlk:\t0000000000000000\n", "the keeper blocks all signals" },
		{ "SigIgn:\t0000000000000000\n", "the keeper ignores SIGPIPE" },
		{ "Uid:\t65534\t65534\t65534\t65534\n", "user" },
		{ "CapEff:\t0000000000000000\n", "no capability without root" },
		{ "Umask:\t0027\n", "umask" },
		{ "cwd=/usr\n", "directory" },
		{ "proc=1\n", "its own /proc: its pid is a small one" },
		{ "fds=4\n", "0, 1, 2 and that of the directory listing" },
		{ nice, "the keeper's is -15" },
		{ oom, "the keeper's is -900" },
		{ "stdin=/dev/null\n", "stdin" },
	};
	struct world *w = *state;
	char text[16384], sections[1024], list[48], out[64];
	struct ipc_spawned s;
	FILE *f;

	own_nice_and_oom(nice, oom, sizeof(oom));
	/* Not in the world's directory: its name is not known before it has its configuration. */
	snprintf(list, sizeof(list), "/dev/shm/supd-clean-%d", (int)getpid());
	snprintf(out, sizeof(out), "%s.out", list);
	snprintf(sections, sizeof(sections),
		 SERVICE("s", "1", "") PROGRAM(
			 "p", "service = s\nuser = nobody\numask = 027\ndirectory = /usr\n"
			      "environment = \"COLOUR=blue sky\"\n"
			      "command = /bin/sh -c 'sleep 0.2; (env; cat /proc/self/status; "
			      "echo cwd=$(pwd); test $$ -lt 50 && echo proc=1; "
			      "ls /proc/self/fd > $0; echo fds=$(wc -l < $0); echo nice=$(nice); "
			      "echo oom=$(cat /proc/self/oom_score_adj); "
			      "echo stdin=$(readlink /proc/self/fd/0); echo end) > $0.out' %s\n"),
		 list);
	world_start(w, sections);
	s = world_spawn(w, "p", 257);
	expect_gone(w, &s);
	f = fopen(out, "re");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	unlink(list);
	unlink(out);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strstr(text, cases[i].text))
			fail_msg("no \"%s\" (%s) in:\n%s", cases[i].text, cases[i].why, text);
	world_stop(w);
}

static void a_failed_spawn_names_its_stage_and_errno(void **state)
{
	static const struct {
		const char *program;
		enum ipc_stage stage;
		int error;
		const char *why;
	} cases[] = {
		{ "missing", IPC_STAGE_EXEC, ENOENT, "no such binary" },
		{ "noexec", IPC_STAGE_EXEC, EACCES, "not executable" },
		{ "baddir", IPC_STAGE_DIRECTORY, ENOENT, "no such directory" },
		{ "closed", IPC_STAGE_DIRECTORY, EACCES, "a directory that its user may not enter" },
	};
	struct world *w = *state;

	world_start(w, SERVICE("s", "1", "")
		    PROGRAM("missing", "service = s\ncommand = /nonexistent/binary\n")
		    PROGRAM("noexec", "command = /etc/passwd\n")
		    PROGRAM("baddir", "service = s\ndirectory = /nonexistent\n" SLEEP)
		    PROGRAM("closed", "user = nobody\ndirectory = /proc/1/fd\n" SLEEP));
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		/* Twice each: what failed once must not be in the way of the next. */
		size_t n = i / 2;
		uint64_t order = world_order_start(w, cases[n].program, 1, MTIME_SEC(5), FOREVER);
		struct ipc_spawn_failed f = expect_failed(w, order);

		if (f.stage != cases[n].stage || f.error != cases[n].error)
			fail_msg("%s: stage %s, error %d", cases[n].why, ipc_stage_name(f.stage),
				 f.error);
	}
	assert_int_equal(world_count(w, "s/missing.1", NULL, 0), 0);
	world_stop(w);
}

static void two_hundred_starts_leave_no_descriptor(void **state)
{
	struct world *w = *state;
	unsigned before = 0;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\ncommand = /bin/true\n"));
	for (int i = 0; i < 200; i++) {
		struct ipc_spawned s = world_spawn(w, "p", 1);

		assert_int_equal(s.run, i + 1);
		assert_int_equal(expect_exited(w, &s).code, 0);
		expect_gone(w, &s);
		if (i == 9)
			before = world_keeper_fds(w);
	}
	/* The leaf of the next start may be made or not at either moment: three. */
	assert_in_range(world_keeper_fds(w), before - 3, before + 3);
	world_stop(w);
}

static void exit_code_and_signal_are_told(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_exited x;

	world_start(w, PROGRAM("code", "command = /bin/sh -c 'exit 42'\n")
		    PROGRAM("term", SLEEP));
	s = world_spawn(w, "code", 0);
	x = expect_exited(w, &s);
	assert_int_equal(x.code, 42);
	assert_int_equal(x.signo, 0);
	s = world_spawn(w, "term", 0);
	const struct ipc_signal sig = { .h = { IPC_SIGNAL, 0 }, .program = s.program,
					.run = s.run, .signo = SIGTERM };
	world_send(w, &sig, sizeof(sig));
	x = expect_exited(w, &s);
	assert_int_equal(x.code, -1);
	assert_int_equal(x.signo, SIGTERM);
	assert_false(x.killed_by_deadline);
	world_stop(w);
}

/* ---- refusing ------------------------------------------------------------------------------------------ */

static void void_orders_are_refused(void **state)
{
	struct world *w = *state;
	struct ipc_quiesced q;
	struct ipc_spawned s;
	struct ipc_start foreign = { .h = { IPC_START, 99 }, .order = 999,
				     .valid_until = MTIME_NEVER };

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	assert_int_equal(
		expect_failed(w, world_order_start(w, "p", 9, -MTIME_MS(1), FOREVER)).stage,
		IPC_STAGE_ORDER);
	assert_int_equal(
		expect_failed(w, world_order_start(w, "p", 9, MTIME_SEC(1), -MTIME_MS(1))).stage,
		IPC_STAGE_ORDER);
	world_order_quiesce(w, "s", 10);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	assert_int_equal(q.term, 10);
	assert_int_equal(q.order, w->order);
	assert_int_equal(
		expect_failed(w, world_order_start(w, "p", 10, MTIME_SEC(1), FOREVER)).stage,
		IPC_STAGE_ORDER);
	world_send(w, &foreign, sizeof(foreign));
	s = world_spawn(w, "p", 11);
	assert_int_equal(s.run, 1); /* also the order of another generation started nothing */
	assert_int_equal(
		expect_failed(w, world_order_start(w, "p", 12, MTIME_SEC(1), FOREVER)).stage,
		IPC_STAGE_ORDER);
	assert_int_equal(world_count(w, "", NULL, 0), 2);
	world_stop(w);
}

static void nonsense_from_the_engine_is_dropped(void **state)
{
	struct world *w = *state;
	struct ipc_start start = { .h = { IPC_START, 0 }, .program = 7 };
	struct ipc_signal sig = { .h = { IPC_SIGNAL, 0 }, .program = 0, .signo = 500 };
	struct ipc_kill kill_order = { .h = { IPC_KILL, 0 }, .program = -1 };
	struct ipc_quiesce quiesce = { .h = { IPC_QUIESCE, 0 }, .service = 3 };
	struct ipc_baton baton = { .h = { IPC_BATON, 0 }, .slot = 0, .len = IPC_BATON_MAX + 1 };
	struct ipc_done done = { .h = { IPC_DONE, 0 } };
	struct ipc_header unknown = { 4711, 0 }, cut = { IPC_START, 0 };
	static const char too_long[CHANNEL_MSG_MAX + 1] = { IPC_START };
	struct ipc_spawned s;

	world_start(w, PROGRAM("p", SLEEP));
	world_send(w, &start, sizeof(start));
	world_send(w, &sig, sizeof(sig));
	world_send(w, &kill_order, sizeof(kill_order));
	world_send(w, &quiesce, sizeof(quiesce));
	world_send(w, &baton, sizeof(baton));
	world_send(w, &done, sizeof(done)); /* nobody asked supd to end */
	world_send(w, &unknown, sizeof(unknown));
	world_send(w, &cut, sizeof(cut));
	world_send(w, &cut, 1);
	world_send(w, too_long, sizeof(too_long));
	s = world_spawn(w, "p", 0);
	assert_int_equal(s.run, 1);
	world_stop(w);
}

static void what_an_engine_before_ordered_is_dropped(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP)
		    PROGRAM("q", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 3);
	assert_int_equal(kill(w->engine, SIGKILL), 0);
	world_take_engine(w);
	const struct ipc_signal sig = { .h = { IPC_SIGNAL, 1 }, .program = s.program,
					.run = s.run, .signo = SIGKILL };
	const struct ipc_kill tree = { .h = { IPC_KILL, 1 }, .program = s.program, .run = s.run };
	const struct ipc_quiesce all = { .h = { IPC_QUIESCE, 1 }, .term = 9 };
	const struct ipc_feed feed = { .h = { IPC_FEED, 1 }, .n = 1 }; /* a deadline of long ago */
	const struct ipc_start start = { .h = { IPC_START, 1 }, .order = 77, .program = 1,
					 .term = 4, .valid_until = MTIME_NEVER,
					 .kill_at = MTIME_NEVER };
	world_send(w, &sig, sizeof(sig));
	world_send(w, &tree, sizeof(tree));
	world_send(w, &all, sizeof(all));
	world_send(w, &feed, offsetof(struct ipc_feed, kill) + sizeof(feed.kill[0]));
	world_send(w, &start, sizeof(start));
	world_sync(w);
	assert_false(world_has(w, IPC_QUIESCED));
	assert_false(world_has(w, IPC_EXITED));
	assert_int_equal(world_count(w, "s/p.1", NULL, 0), 1);
	assert_int_equal(world_count(w, "s/q.1", NULL, 0), 0);
	world_stop(w);
}

/* ---- killing --------------------------------------------------------------------------------------------- */

static void kill_ends_the_tree_and_the_next_start_works(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE));
	for (int i = 1; i <= 5; i++) {
		char leaf[16];

		snprintf(leaf, sizeof(leaf), "s/p.%d", i);
		s = world_spawn(w, "p", 1);
		world_await_count(w, leaf, 3);
		world_order_kill(w, &s);
		assert_int_equal(expect_exited(w, &s).signo, SIGKILL);
		expect_gone(w, &s);
		assert_int_equal(world_count(w, leaf, NULL, 0), 0);
	}
	world_stop(w);
}

static void what_a_dead_main_process_left_keeps_the_run(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	uint64_t order;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE));
	s = world_spawn(w, "p", 1);
	world_await_count(w, "s/p.1", 3);
	assert_int_equal(kill(s.pid, SIGSEGV), 0);
	assert_int_equal(expect_exited(w, &s).signo, SIGSEGV);
	assert_int_equal(world_count(w, "s/p.1", NULL, 0), 2);
	assert_false(world_has(w, IPC_GONE));
	order = world_order_start(w, "p", 1, MTIME_SEC(1), FOREVER);
	assert_int_equal(expect_failed(w, order).stage, IPC_STAGE_ORDER);
	world_order_kill(w, &s);
	expect_gone(w, &s);
	s = world_spawn(w, "p", 1);
	world_stop(w);
}

static void quiesce_kills_all_of_a_service_and_nothing_else(void **state)
{
	struct world *w = *state;
	struct ipc_spawned p, q, other;
	struct ipc_quiesced done;

	world_start(w, SERVICE("s", "1", "") SERVICE("t", "2", "")
		    PROGRAM("p", "service = s\n" TREE) PROGRAM("q", "service = s\n" TREE)
		    PROGRAM("other", "service = t\n" SLEEP));
	p = world_spawn(w, "p", 1);
	q = world_spawn(w, "q", 1);
	other = world_spawn(w, "other", 1);
	world_await_count(w, "s", 7);
	world_order_quiesce(w, "s", 1);
	world_expect(w, IPC_QUIESCED, &done, sizeof(done));
	assert_false(done.by_deadline);
	expect_both_end(w, &p, &q);
	assert_int_equal(kill(other.pid, 0), 0);
	/* A new guard and new leaves: at once, in the next term. */
	p = world_spawn(w, "p", 2);
	q = world_spawn(w, "q", 2);
	world_await_count(w, "s", 7);
	world_stop(w);
}

/* That of one program, whatever comes before it. */
static void await_gone(struct world *w, int32_t program, bool gone[2])
{
	struct ipc_gone g;

	while (!gone[program]) {
		world_expect(w, IPC_GONE, &g, sizeof(g));
		gone[g.program] = true;
	}
	gone[program] = false;
}

static void a_start_right_behind_quiesce_waits_for_the_new_guard(void **state)
{
	struct world *w = *state;
	struct ipc_spawned last[2];
	bool gone[2] = { false, false };
	struct ipc_quiesced done;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP)
		    PROGRAM("q", "service = s\n" SLEEP));
	for (uint64_t term = 1; term <= 20; term++) {
		struct ipc_spawned *s = &last[term % 2];

		if (term > 2)
			await_gone(w, s->program, gone);
		*s = world_spawn(w, term % 2 ? "p" : "q", term);
		world_order_quiesce(w, "s", term);
		world_expect(w, IPC_QUIESCED, &done, sizeof(done));
		assert_int_equal(done.term, term);
		assert_int_equal(expect_exited(w, s).signo, SIGKILL);
	}
	world_stop(w);
}

static void the_deadline_kills_without_the_engine(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_quiesced q;
	mtime before, after, waited;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" TREE)
		    PROGRAM("local", SLEEP));
	world_spawn(w, "local", 0);
	waited = world_keeper_waited(w);
	before = mtime_now();
	world_order_start(w, "p", 5, MTIME_SEC(10), MTIME_SEC(1));
	after = mtime_now();
	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	world_await_count(w, "s/p.1", 3);
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	waited = world_keeper_waited(w) - waited;
	assert_true(q.by_deadline);
	assert_int_equal(q.order, 0);
	assert_int_equal(q.term, 5);
	assert_true(q.at - before >= MTIME_MS(990));
	assert_true(q.at - after <= MTIME_MS(1150) + waited);
	assert_true(expect_exited(w, &s).killed_by_deadline);
	expect_gone(w, &s);
	assert_int_equal(world_count(w, "node.programs", NULL, 0), 1);
	assert_int_equal(
		expect_failed(w, world_order_start(w, "p", 5, MTIME_SEC(1), FOREVER)).stage,
		IPC_STAGE_ORDER);
	world_spawn(w, "p", 6);
	world_stop(w);
}

/* One that was not started by main() does not know what to execute; and it goes on. */
static void a_replacement_that_cannot_be_is_refused(void **state)
{
	const struct ipc_reexec x = { .h = { IPC_REEXEC, 0 }, .order = 77 };
	struct world *w = *state;
	struct ipc_reexec_failed f;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	s = world_spawn(w, "p", 1);
	for (int i = 0; i < 2; i++) {
		world_send(w, &x, sizeof(x));
		world_expect(w, IPC_REEXEC_FAILED, &f, sizeof(f));
		assert_int_equal(f.order, 77);
		assert_non_null(strstr(f.why, "not known"));
	}
	assert_int_equal(kill(s.pid, 0), 0);
	world_stop(w);
}

static void a_feed_moves_the_deadline(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;
	struct ipc_quiesced q;
	mtime last = 0;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	world_order_start(w, "p", 1, MTIME_SEC(10), MTIME_SEC(1));
	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	for (int i = 1; i <= 5; i++) { /* each beyond the one before */
		last = mtime_now() + MTIME_SEC(1) + i * MTIME_MS(200);
		send_feed(w, last);
	}
	world_expect(w, IPC_QUIESCED, &q, sizeof(q));
	assert_true(q.at >= last);
	world_stop(w);
}

/* The keeper is stopped beyond the deadline while the engine goes on feeding: no kill. */
static void a_stall_of_the_keeper_kills_nobody_who_was_fed(void **state)
{
	struct world *w = *state;
	struct ipc_spawned s;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	world_order_start(w, "p", 1, MTIME_SEC(10), MTIME_SEC(1));
	world_expect(w, IPC_SPAWNED, &s, sizeof(s));
	assert_int_equal(kill(w->keeper, SIGSTOP), 0);
	usleep(1100000); /* the stall itself: beyond the deadline, and engine_timeout */
	send_feed(w, mtime_now() + MTIME_SEC(10));
	world_pass_on(w);
	assert_int_equal(kill(w->keeper, SIGCONT), 0);
	world_sync(w); /* it has looked at the time and at what came in */
	assert_false(world_has(w, IPC_QUIESCED));
	assert_int_equal(kill(s.pid, 0), 0);
	assert_int_equal(kill(w->engine, 0), 0);
	world_stop(w);
}

static void an_order_stuck_in_a_stopped_keeper_is_void(void **state)
{
	struct world *w = *state;
	uint64_t order;

	world_start(w, SERVICE("s", "1", "") PROGRAM("p", "service = s\n" SLEEP));
	assert_int_equal(kill(w->keeper, SIGSTOP), 0);
	order = world_order_start(w, "p", 1, MTIME_MS(100), FOREVER);
	usleep(200000);
	assert_int_equal(kill(w->keeper, SIGCONT), 0);
	assert_int_equal(expect_failed(w, order).stage, IPC_STAGE_ORDER);
	assert_int_equal(world_count(w, "s/p.1", NULL, 0), 0);
	world_stop(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_a_world(a_program_runs_in_its_guard_and_its_cgroup),
		in_a_world(a_program_starts_clean),
		in_a_world(a_failed_spawn_names_its_stage_and_errno),
		in_a_world(two_hundred_starts_leave_no_descriptor),
		in_a_world(exit_code_and_signal_are_told),
		in_a_world(void_orders_are_refused),
		in_a_world(nonsense_from_the_engine_is_dropped),
		in_a_world(what_an_engine_before_ordered_is_dropped),
		in_a_world(kill_ends_the_tree_and_the_next_start_works),
		in_a_world(what_a_dead_main_process_left_keeps_the_run),
		in_a_world(quiesce_kills_all_of_a_service_and_nothing_else),
		in_a_world(a_start_right_behind_quiesce_waits_for_the_new_guard),
		in_a_world(the_deadline_kills_without_the_engine),
		in_a_world(a_replacement_that_cannot_be_is_refused),
		in_a_world(a_feed_moves_the_deadline),
		in_a_world(a_stall_of_the_keeper_kills_nobody_who_was_fed),
		in_a_world(an_order_stuck_in_a_stopped_keeper_is_void),
	};

	return run_in_worlds(tests, sizeof(tests) / sizeof(tests[0]));
}
