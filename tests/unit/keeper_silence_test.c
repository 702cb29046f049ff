/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/engine/engine.h"

/*
 * The engine's last act against plain files in place of the cgroup's, a channel pair in place of
 * net, and a child of this test in place of the keeper.  "cgroup.kill" of the keeper's leaf is
 * acted on by a child that watches the file.
 */
struct rig {
	struct engine e;
	struct {
		struct model m;
		struct model_service services[2];
		char strings[16];
	} block;
	struct engine_service services[2];
	char dir[64];
	int net_fd;
	pid_t keeper;
	unsigned releases[2], zeros[2], removals;
	bool gone_at_release, away_at_release;
	bool answer; /* net answers at once */
};

static struct rig *rig;

/* ---- doubles -------------------------------------------------------------------------------- */

static void read_file(const char *name, char *buf, size_t size)
{
	char path[128];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, size - 1) : 0;
	buf[n > 0 ? n : 0] = '\0';
	fd_close(&fd);
}

static void write_file(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	fd_close(&fd);
}

static bool was_written(const char *name)
{
	char text[16];

	read_file(name, text, sizeof(text));
	return strcmp(text, "1") == 0;
}

void engine_finish(struct engine *e, int status)
{
	e->finished = true;
	e->status = status;
}

void net_order_address(struct engine *e, uint32_t service, enum ipc_address_op op, uint64_t order,
		       mtime valid_until)
{
	struct ipc_address_result r = {
		.h = { .type = IPC_ADDRESS_RESULT },
		.order = order,
		.service = (int32_t)service,
		.op = op,
	};

	assert_int_equal(op, IPC_ADDRESS_REMOVE);
	rig->removals++;
	if (rig->answer && rig->net_fd >= 0)
		assert_int_equal(send(rig->net_fd, &r, sizeof(r), 0), sizeof(r));
}

void peer_io_send_term(struct engine *e, int peer, enum peer_type type, uint32_t service,
		       uint64_t term, unsigned successor, bool ending)
{
	char events[64];

	assert_int_equal(peer, MODEL_NONE);
	assert_int_equal(type, PEER_TYPE_RELEASE);
	assert_int_equal(term, e->services[service].fsm.term);
	assert_int_equal(successor, MODEL_NODES_MAX);
	assert_true(ending);
	assert_true(was_written("programs.kill")); /* never before */
	read_file("events", events, sizeof(events));
	rig->gone_at_release = strstr(events, "populated 0") != NULL;
	rig->releases[service]++;
}

void vrrp_io_send(struct engine *e, uint32_t service, uint8_t priority)
{
	assert_int_equal(priority, VRRP_PRIO_RELEASE);
	rig->zeros[service]++;
}

int service_successor(const struct service_fsm *s, mtime now)
{
	return MODEL_NONE;
}

/* ---- the rig -------------------------------------------------------------------------------------- */

static int open_in(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* A keeper that lives until its leaf's cgroup.kill is written, as the kernel would have it. */
static void keeper_child(void)
{
	signal(SIGTERM, SIG_DFL);
	while (!was_written("self.kill"))
		usleep(1000);
	_exit(0);
}

static void start_keeper(void)
{
	rig->keeper = fork();
	assert_true(rig->keeper >= 0);
	if (rig->keeper == 0)
		keeper_child();
	rig->e.keeper_pidfd = (int)syscall(SYS_pidfd_open, rig->keeper, 0);
	assert_true(rig->e.keeper_pidfd >= 0);
}

static void kill_keeper(void)
{
	siginfo_t info;

	kill(rig->keeper, SIGKILL);
	waitid(P_PID, (id_t)rig->keeper, &info, WEXITED | WNOWAIT);
}

static int set_up(void **state)
{
	int fds[2];

	rig = calloc(1, sizeof(*rig));
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/supd-silence-%d", (int)getpid());
	assert_int_equal(mkdtemp(strcat(rig->dir, "-XXXXXX")) == NULL, 0);
	write_file("events", "populated 0\nfrozen 0\n");
	rig->block.m.n_services = 2;
	rig->block.m.services_off = offsetof(struct rig, block.services) -
				    offsetof(struct rig, block);
	rig->e.m = &rig->block.m;
	rig->e.services = rig->services;
	rig->e.next_order = 5;
	rig->e.kill_fds[0] = open_in("self.kill", O_WRONLY);
	rig->e.kill_fds[1] = open_in("programs.kill", O_WRONLY);
	rig->e.kill_fds[2] = open_in("events", O_RDONLY);
	rig->e.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_int_equal(channel_pair(fds), 0);
	rig->net_fd = fds[1];
	link_open(&rig->e, &rig->e.net, fds[0], NULL);
	rig->services[0].fsm.state = SERVICE_STATE_ACTIVE;
	rig->services[0].fsm.term = 257;
	rig->services[1].fsm.state = SERVICE_STATE_BACKUP;
	rig->answer = true;
	rig->e.fed_at = mtime_now();
	start_keeper();
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	kill(rig->keeper, SIGKILL);
	waitpid(rig->keeper, NULL, 0);
	link_close(&rig->e.net);
	fd_close(&rig->net_fd);
	fd_close(&rig->e.keeper_pidfd);
	for (int i = 0; i < 3; i++)
		fd_close(&rig->e.kill_fds[i]);
	ev_loop_destroy(rig->e.loop);
	snprintf(command, sizeof(command), "rm -rf '%s'", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void dead_keeper_everything_is_killed_then_released(void **state)
{
	mtime begin = mtime_now();

	kill_keeper();
	keeper_silence(&rig->e, true);
	assert_true(rig->e.finished);
	assert_int_equal(rig->e.status, 0);
	assert_true(was_written("programs.kill"));
	assert_false(was_written("self.kill")); /* not needed */
	assert_int_equal(rig->removals, 2);
	assert_true(rig->releases[0] > 1); /* a datagram may get lost */
	assert_int_equal(rig->zeros[0], rig->releases[0]);
	assert_true(mtime_now() - begin < MTIME_SEC(1));
}

static void only_what_was_active_is_released(void **state)
{
	kill_keeper();
	keeper_silence(&rig->e, true);
	assert_int_equal(rig->releases[1], 0);
	assert_int_equal(rig->zeros[1], 0);
}

static void silent_keeper_is_killed_first(void **state)
{
	siginfo_t info = { 0 };

	keeper_silence(&rig->e, false);
	assert_true(was_written("self.kill"));
	assert_true(was_written("programs.kill"));
	assert_true(rig->releases[0] > 0);
	assert_int_equal(waitid(P_PID, (id_t)rig->keeper, &info, WEXITED | WNOWAIT | WNOHANG), 0);
	assert_int_equal(info.si_pid, rig->keeper); /* it was waited for */
}

static void release_waits_until_the_tree_is_empty(void **state)
{
	pid_t emptier;

	write_file("events", "populated 1\nfrozen 0\n");
	kill_keeper();
	emptier = fork();
	if (emptier == 0) {
		usleep(100000);
		write_file("events", "populated 0\nfrozen 0\n");
		_exit(0);
	}
	keeper_silence(&rig->e, true);
	assert_true(rig->gone_at_release);
	assert_true(rig->releases[0] > 0);
	waitpid(emptier, NULL, 0);
}

static void tree_that_stays_is_released_as_dead_after_two_seconds(void **state)
{
	mtime begin = mtime_now();

	write_file("events", "populated 1\nfrozen 0\n");
	kill_keeper();
	keeper_silence(&rig->e, true);
	assert_in_range(mtime_to_ms(mtime_now() - begin), 1900, 4000);
	assert_false(rig->gone_at_release);
	assert_true(rig->releases[0] > 0);
}

static void nothing_is_released_when_nobody_could_kill(void **state)
{
	static const struct {
		int missing;
		bool dead;
		const char *why;
	} rows[] = {
		{ 1, true, "no cgroup.kill of the programs" },
		{ 1, false, "no cgroup.kill of the programs" },
		{ 0, false, "a silent keeper that cannot be killed may start something yet" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fd_close(&rig->e.kill_fds[0]);
		fd_close(&rig->e.kill_fds[1]);
		rig->e.kill_fds[0] = rows[i].missing == 0 ? -1 : open_in("self.kill", O_WRONLY);
		rig->e.kill_fds[1] = rows[i].missing == 1 ? -1 : open_in("programs.kill", O_WRONLY);
		rig->e.finished = false;
		rig->removals = 0;
		keeper_silence(&rig->e, rows[i].dead);
		if (rig->releases[0] != 0 || rig->zeros[0] != 0)
			fail_msg("released, though: %s", rows[i].why);
		assert_int_equal(rig->removals, 2); /* addresses go all the same */
		assert_true(rig->e.finished);
	}
}

static void silent_net_is_waited_for_one_second(void **state)
{
	mtime begin = mtime_now();

	rig->answer = false;
	kill_keeper();
	keeper_silence(&rig->e, true);
	assert_in_range(mtime_to_ms(mtime_now() - begin), 900, 3000);
	assert_true(rig->releases[0] > 0);
}

static void dead_net_is_not_waited_for(void **state)
{
	mtime begin = mtime_now();

	rig->answer = false;
	fd_close(&rig->net_fd);
	kill_keeper();
	keeper_silence(&rig->e, true);
	assert_true(mtime_now() - begin < MTIME_MS(900));
	assert_true(rig->releases[0] > 0);
}

static void second_call_does_nothing(void **state)
{
	kill_keeper();
	keeper_silence(&rig->e, true);
	rig->releases[0] = 0;
	keeper_silence(&rig->e, true);
	assert_int_equal(rig->releases[0], 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(dead_keeper_everything_is_killed_then_released),
		T(only_what_was_active_is_released),
		T(silent_keeper_is_killed_first),
		T(release_waits_until_the_tree_is_empty),
		T(tree_that_stays_is_released_as_dead_after_two_seconds),
		T(nothing_is_released_when_nobody_could_kill),
		T(silent_net_is_waited_for_one_second),
		T(dead_net_is_not_waited_for),
		T(second_call_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
