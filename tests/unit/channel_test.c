/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"

struct pair {
	struct channel a, b;
};

static int set_up(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	if (!p || channel_pair(fds) < 0)
		return -1;
	channel_init(&p->a, fds[0]);
	channel_init(&p->b, fds[1]);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	channel_fini(&p->a);
	channel_fini(&p->b);
	free(p);
	return 0;
}

static struct ipc_fed fed(uint64_t seq)
{
	return (struct ipc_fed){ .h = { IPC_FED, 7 }, .seq = seq };
}

static ssize_t take(struct channel *c, void *buf, size_t size)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n = channel_recv(c, buf, size, fds, &n_fds);

	assert_int_equal(n_fds, 0);
	return n;
}

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void messages_arrive_whole_and_in_order(void **state)
{
	struct pair *p = *state;
	struct ipc_fed in;

	for (uint64_t i = 0; i < 10; i++) {
		struct ipc_fed out = fed(i);

		assert_int_equal(channel_send(&p->a, &out, sizeof(out), NULL, 0), 0);
	}
	for (uint64_t i = 0; i < 10; i++) {
		assert_int_equal(take(&p->b, &in, sizeof(in)), sizeof(in));
		assert_int_equal(in.h.type, IPC_FED);
		assert_int_equal(in.h.generation, 7);
		assert_int_equal(in.seq, i);
	}
	assert_int_equal(take(&p->b, &in, sizeof(in)), -EAGAIN);
}

static void a_pair_holds_256_kib_without_the_queue(void **state)
{
	struct pair *p = *state;
	static struct ipc_state_save save = { .h = { IPC_STATE_SAVE, 1 } };

	for (int i = 0; i < 5; i++)
		assert_int_equal(channel_send(&p->a, &save, sizeof(save), NULL, 0), 0);
	assert_false(channel_wants_write(&p->a));
}

static void what_the_socket_does_not_take_is_queued_and_flushed(void **state)
{
	struct pair *p = *state;
	static struct ipc_state_save save = { .h = { IPC_STATE_SAVE, 1 } }, in;
	uint64_t sent = 0, seen = 0;

	while (!channel_wants_write(&p->a) || sent % 8 != 0) {
		save.seq = sent++;
		assert_int_equal(channel_send(&p->a, &save, sizeof(save), NULL, 0), 0);
	}
	assert_int_equal(channel_flush(&p->a), -EAGAIN);
	while (seen < sent) {
		assert_int_equal(take(&p->b, &in, sizeof(in)), sizeof(in));
		assert_int_equal(in.seq, seen);
		seen++;
		channel_flush(&p->a);
	}
	assert_false(channel_wants_write(&p->a));
	assert_int_equal(p->a.queued, 0);
}

static void a_full_queue_takes_nothing(void **state)
{
	struct pair *p = *state;
	static struct ipc_state_save save = { .h = { IPC_STATE_SAVE, 1 } };
	int r;

	while ((r = channel_send(&p->a, &save, sizeof(save), NULL, 0)) == 0)
		assert_true(p->a.queued <= CHANNEL_QUEUE_MAX);
	assert_int_equal(r, -ENOBUFS);
	assert_true(p->a.queued > CHANNEL_QUEUE_MAX - sizeof(save));
}

static void descriptors_are_passed_close_on_exec(void **state)
{
	struct pair *p = *state;
	struct ipc_channel m = { .h = { IPC_CHANNEL, 1 }, .role = IPC_ROLE_NET };
	int pipe_fds[2], fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	char byte = 'x';

	assert_int_equal(fd_pipe(pipe_fds, 0), 0);
	assert_int_equal(channel_send(&p->a, &m, sizeof(m), pipe_fds, 2), 0);
	assert_int_equal(channel_recv(&p->b, &m, sizeof(m), fds, &n_fds), sizeof(m));
	assert_int_equal(n_fds, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	byte = 0;
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	for (int i = 0; i < 2; i++) {
		fd_close(&fds[i]);
		fd_close(&pipe_fds[i]);
	}
}

/* The sender may close its own at once: what waits in the queue are duplicates. */
static void queued_descriptors_outlive_the_senders(void **state)
{
	struct pair *p = *state;
	static struct ipc_state_save save = { .h = { IPC_STATE_SAVE, 1 } };
	struct ipc_channel m = { .h = { IPC_CHANNEL, 1 } };
	int pipe_fds[2], fds[CHANNEL_FDS_MAX];
	size_t n_fds = 0;
	struct stat st;

	while (!channel_wants_write(&p->a))
		assert_int_equal(channel_send(&p->a, &save, sizeof(save), NULL, 0), 0);
	assert_int_equal(fd_pipe(pipe_fds, 0), 0);
	assert_int_equal(channel_send(&p->a, &m, sizeof(m), pipe_fds, 1), 0);
	fd_close(&pipe_fds[0]);
	fd_close(&pipe_fds[1]);
	while (n_fds == 0) {
		assert_true(channel_recv(&p->b, &save, sizeof(save), fds, &n_fds) > 0);
		channel_flush(&p->a);
	}
	assert_int_equal(n_fds, 1);
	assert_int_equal(fstat(fds[0], &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	fd_close(&fds[0]);
}

static void the_end_of_the_other_side_is_told(void **state)
{
	struct pair *p = *state;
	struct ipc_fed m = fed(1);

	channel_fini(&p->b);
	assert_int_equal(take(&p->a, &m, sizeof(m)), 0);
	assert_int_equal(channel_send(&p->a, &m, sizeof(m), NULL, 0), -EPIPE);
}

/* An engine that died with our messages unread may have said something last: it must be heard. */
static void last_words_survive_a_reset(void **state)
{
	struct pair *p = *state;
	struct ipc_fed m = fed(1), last = fed(99);

	assert_int_equal(channel_send(&p->a, &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(channel_send(&p->b, &last, sizeof(last), NULL, 0), 0);
	channel_fini(&p->b);
	assert_int_equal(take(&p->a, &m, sizeof(m)), sizeof(m));
	assert_int_equal(m.seq, 99);
	assert_int_equal(take(&p->a, &m, sizeof(m)), 0);
}

static void what_is_cut_or_headless_is_dropped_with_its_descriptors(void **state)
{
	struct pair *p = *state;
	struct ipc_run run = { .h = { IPC_RUN, 1 } };
	struct ipc_header small;
	unsigned before = count_fds();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[CHANNEL_FDS_MAX];
	size_t n_fds;

	assert_int_equal(channel_send(&p->a, &run, sizeof(run), &null, 1), 0);
	assert_int_equal(channel_recv(&p->b, &small, sizeof(small), fds, &n_fds), -EBADMSG);
	assert_int_equal(n_fds, 0);
	assert_int_equal(send(p->a.fd, "abc", 3, 0), 3);
	assert_int_equal(channel_recv(&p->b, &run, sizeof(run), fds, &n_fds), -EBADMSG);
	fd_close(&null);
	assert_int_equal(count_fds(), before);
}

static void what_no_receiver_could_take_is_refused(void **state)
{
	struct pair *p = *state;
	static char big[CHANNEL_MSG_MAX + 1];
	int fds[CHANNEL_FDS_MAX + 1] = { 0 };

	assert_int_equal(channel_send(&p->a, big, 3, NULL, 0), -EINVAL);
	assert_int_equal(channel_send(&p->a, big, sizeof(big), NULL, 0), -EINVAL);
	assert_int_equal(channel_send(&p->a, big, 100, fds, CHANNEL_FDS_MAX + 1), -EINVAL);
	assert_int_equal(channel_send(&p->a, big, CHANNEL_MSG_MAX, NULL, 0), 0);
}

static void closing_gives_back_everything_queued(void **state)
{
	struct pair *p = *state;
	static struct ipc_state_save save = { .h = { IPC_STATE_SAVE, 1 } };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned before;

	while (!channel_wants_write(&p->a))
		assert_int_equal(channel_send(&p->a, &save, sizeof(save), NULL, 0), 0);
	before = count_fds();
	for (int i = 0; i < 10; i++)
		assert_int_equal(channel_send(&p->a, &save, sizeof(save), &null, 1), 0);
	assert_int_equal(count_fds(), before + 10);
	channel_fini(&p->a);
	fd_close(&null);
	assert_int_equal(count_fds(), before - 2);
	assert_int_equal(p->a.fd, -1);
}

static void every_stage_has_its_name(void **state)
{
	(void)state;
	for (enum ipc_stage s = 0; s < IPC_STAGES_END; s++)
		assert_string_not_equal(ipc_stage_name(s), "unknown");
	assert_string_equal(ipc_stage_name(IPC_STAGE_EXEC), "exec");
	assert_string_equal(ipc_stage_name(IPC_STAGES_END), "unknown");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(messages_arrive_whole_and_in_order),
		CASE(a_pair_holds_256_kib_without_the_queue),
		CASE(what_the_socket_does_not_take_is_queued_and_flushed),
		CASE(a_full_queue_takes_nothing),
		CASE(descriptors_are_passed_close_on_exec),
		CASE(queued_descriptors_outlive_the_senders),
		CASE(the_end_of_the_other_side_is_told),
		CASE(last_words_survive_a_reset),
		CASE(what_is_cut_or_headless_is_dropped_with_its_descriptors),
		CASE(what_no_receiver_could_take_is_refused),
		CASE(closing_gives_back_everything_queued),
		cmocka_unit_test(every_stage_has_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
