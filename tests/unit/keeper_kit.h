/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_KEEPER_KIT_H
#define SUPD_TESTS_KEEPER_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/keeper_world.h"

/* What the tests of the keeper share: configuration, and what is expected to come. */

#define SERVICE(name, id, more)                                                                    \
	"[service:" name "]\ninterface = lo\nvirtual_router_id = " id                             \
	"\nvirtual_ipaddress = 127.9.9." id "\nisolation_probe = off\n" more
#define PROGRAM(name, more) "[program:" name "]\n" more

#define TREE  "command = /bin/sh -c 'setsid sleep 1000 & sleep 1000 & wait'\n"
#define SLEEP "command = /bin/sleep 1000\n"

#define FOREVER MTIME_NEVER

static inline struct ipc_exited expect_exited(struct world *w, const struct ipc_spawned *s)
{
	struct ipc_exited x;

	world_expect(w, IPC_EXITED, &x, sizeof(x));
	assert_int_equal(x.program, s->program);
	assert_int_equal(x.run, s->run);
	return x;
}

static inline void expect_gone(struct world *w, const struct ipc_spawned *s)
{
	struct ipc_gone g;

	world_expect(w, IPC_GONE, &g, sizeof(g));
	assert_int_equal(g.program, s->program);
	assert_int_equal(g.run, s->run);
}

/* Killed together, in either order. */
static inline void expect_both_end(struct world *w, const struct ipc_spawned *p,
			    const struct ipc_spawned *q)
{
	struct ipc_exited x[2];
	struct ipc_gone g[2];

	for (int i = 0; i < 2; i++) {
		world_expect(w, IPC_EXITED, &x[i], sizeof(x[i]));
		assert_int_equal(x[i].signo, SIGKILL);
		assert_int_equal(x[i].run, x[i].program == p->program ? p->run : q->run);
	}
	for (int i = 0; i < 2; i++)
		world_expect(w, IPC_GONE, &g[i], sizeof(g[i]));
	assert_int_not_equal(x[0].program, x[1].program);
	assert_int_not_equal(g[0].program, g[1].program);
}

static inline struct ipc_spawn_failed expect_failed(struct world *w, uint64_t order)
{
	struct ipc_spawn_failed f;

	world_expect(w, IPC_SPAWN_FAILED, &f, sizeof(f));
	assert_int_equal(f.order, order);
	return f;
}

static inline pid_t guard_of(const struct world *w)
{
	pid_t pid = 0;

	for (int i = 1; i < 10 && pid == 0; i++) {
		char leaf[16];

		snprintf(leaf, sizeof(leaf), "s/guard.%d", i);
		world_count(w, leaf, &pid, 1);
	}
	return pid;
}

static inline void send_feed(struct world *w, mtime kill_at)
{
	struct ipc_feed f = { .h = { IPC_FEED, 0 }, .n = 1 };

	f.kill[0].service = 0;
	f.kill[0].kill_at = kill_at;
	world_send(w, &f, sizeof(f));
}

/* ---- each test in a world of its own ---------------------------------------------------------- */

#define in_a_world(test) cmocka_unit_test_setup_teardown(test, begin, end)

static inline int begin(void **state)
{
	*state = calloc(1, sizeof(struct world));
	return *state ? 0 : -1;
}

/* Of a test that failed in the middle nothing is left, too. */
static inline int end(void **state)
{
	world_abandon(*state);
	free(*state);
	return 0;
}

static inline int run_in_worlds(const struct CMUnitTest *tests, size_t n)
{
	if (!world_is_possible()) {
		printf("skipped: needs root, a writable cgroup v2 and the user nobody\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	return _cmocka_run_group_tests("keeper", tests, n, NULL, NULL);
}

#endif
