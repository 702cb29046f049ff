/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "tests/unit/tiny_model.h"

/*
 * The engine's state-file logic against a scribe that the test plays.  Events for the services are
 * recorded; LOADED sets the machine's `loaded`, as the machine would.
 */
#define EVENTS_MAX 64
#define GENERATION 4

static struct {
	unsigned n;
	struct {
		uint32_t row;
		enum service_event_type type;
		uint64_t seq;
		bool ok;
		uint64_t term_seen;
	} ev[EVENTS_MAX];
} events; /* of the stub below, which has no other way to the test */

static bool peer_socket; /* of the stub below */

bool peer_socket_ready(const struct engine *e)
{
	return peer_socket;
}

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_true(events.n < EVENTS_MAX);
	events.ev[events.n].row = row;
	events.ev[events.n].type = ev->type;
	events.ev[events.n].seq = ev->seq;
	events.ev[events.n].ok = ev->ok;
	events.ev[events.n].term_seen = ev->persist ? ev->persist->term_seen : 0;
	events.n++;
	if (ev->type == SERVICE_EV_LOADED && !e->services[row].fsm.loaded) {
		e->services[row].fsm.loaded = true;
		e->services[row].fsm.persist = *ev->persist;
		scribe_save_state(e, row, 1); /* the machine reserves its next term at once */
	}
}

struct fixture {
	struct tiny_model model;
	struct engine *e;
	struct channel scribe;
	struct ipc_state_save *save;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->model = tiny_model_new(1, 2, 0);
	tiny_node(&f->model, 0)->name = tiny_str(&f->model, "a");
	tiny_service(&f->model, 0)->name = tiny_str(&f->model, "s0");
	tiny_service(&f->model, 1)->name = tiny_str(&f->model, "s1");
	f->e = calloc(1, sizeof(*f->e));
	f->e->m = f->model.m;
	f->e->generation = GENERATION;
	f->e->services = calloc(2, sizeof(f->e->services[0]));
	f->e->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	f->e->scribe.channel.fd = -1;
	f->save = malloc(sizeof(*f->save));
	f->scribe.fd = -1;
	events.n = 0;
	peer_socket = true;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	link_close(&f->e->scribe);
	if (f->scribe.fd >= 0)
		channel_fini(&f->scribe);
	ev_loop_destroy(f->e->loop);
	free(f->e->services);
	free(f->e);
	free(f->save);
	free(f->model.m);
	free(f);
	return 0;
}

static void open_scribe(struct fixture *f)
{
	int pair[2];

	if (f->scribe.fd >= 0)
		channel_fini(&f->scribe);
	assert_int_equal(channel_pair(pair), 0);
	channel_init(&f->scribe, pair[0]);
	scribe_link_open(f->e, pair[1]);
}

/* The next order of the engine, or IPC_NONE. */
static enum ipc_type next_order(struct fixture *f)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n_fds;
	ssize_t n = channel_recv(&f->scribe, f->save, sizeof(*f->save), fds, &n_fds);

	if (n == -EAGAIN)
		return IPC_NONE;
	assert_true(n > 0);
	assert_int_equal(f->save->h.generation, GENERATION);
	return (enum ipc_type)f->save->h.type;
}

static void answer_state(struct fixture *f, int error, const char *text)
{
	struct ipc_state *msg = calloc(1, sizeof(*msg));

	msg->h.type = IPC_STATE;
	msg->h.generation = GENERATION;
	msg->error = error;
	msg->len = (uint32_t)strlen(text);
	memcpy(msg->text, text, msg->len);
	assert_int_equal(channel_send(&f->scribe, msg, sizeof(*msg), NULL, 0), 0);
	free(msg);
	scribe_link_drain(f->e);
}

static void answer_saved(struct fixture *f, uint64_t seq, int error)
{
	struct ipc_state_saved msg = {.h = {.type = IPC_STATE_SAVED, .generation = GENERATION},
				      .seq = seq, .error = error};

	assert_int_equal(channel_send(&f->scribe, &msg, sizeof(msg), NULL, 0), 0);
	scribe_link_drain(f->e);
}

static void assert_event(unsigned i, uint32_t row, enum service_event_type type, uint64_t seq,
			 bool ok)
{
	assert_true(i < events.n);
	assert_int_equal(events.ev[i].row, row);
	assert_int_equal(events.ev[i].type, type);
	assert_int_equal(events.ev[i].seq, seq);
	assert_int_equal(events.ev[i].ok, ok);
}

/* Loaded, with all saves that came from it answered. */
static void load_all(struct fixture *f)
{
	uint64_t newest = 0;

	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	answer_state(f, ENOENT, "");
	while (next_order(f) == IPC_STATE_SAVE)
		newest = f->save->seq;
	answer_saved(f, newest, 0);
	events.n = 0;
}

static void a_missing_file_is_the_first_start(void **state)
{
	struct fixture *f = *state;

	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	answer_state(f, ENOENT, "");
	assert_true(f->e->state_loaded);
	assert_event(0, 0, SERVICE_EV_LOADED, 0, false);
	assert_event(1, 1, SERVICE_EV_LOADED, 0, false);
	assert_int_equal(events.ev[0].term_seen, 0);
}

/* Whoever else has this node's address and port is this node. */
static void nothing_is_loaded_before_the_peer_link_has_a_socket(void **state)
{
	struct fixture *f = *state;

	peer_socket = false;
	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	scribe_tell_loaded(f->e);
	answer_state(f, ENOENT, "");
	assert_int_equal(events.n, 0);
	peer_socket = true;
	scribe_tell_loaded(f->e);
	assert_int_equal(events.n, 2);
	scribe_tell_loaded(f->e); /* a socket of another path */
	assert_int_equal(events.n, 2);
}

static char *text_with_terms(struct fixture *f, uint64_t t0, uint64_t t1)
{
	static char buf[1024];
	int len;

	f->e->services[0].disk.term_seen = t0;
	f->e->services[1].disk.term_seen = t1;
	len = state_text_encode(f->e, buf, sizeof(buf) - 1);
	assert_true(len > 0);
	buf[len] = '\0';
	memset(&f->e->services[0].disk, 0, sizeof(f->e->services[0].disk));
	memset(&f->e->services[1].disk, 0, sizeof(f->e->services[1].disk));
	return buf;
}

/* The first LOADED makes its service save, while the second one is not loaded yet. */
static void a_save_during_loading_keeps_what_others_have_on_disk(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[2];
	unsigned line;

	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	answer_state(f, 0, text_with_terms(f, 257, 513));
	assert_int_equal(events.ev[0].term_seen, 257);
	assert_int_equal(events.ev[1].term_seen, 513);
	assert_int_equal(next_order(f), IPC_STATE_SAVE); /* the first of them */
	assert_int_equal(state_text_decode(f->model.m, f->save->text, f->save->len, back, &line),
			 0);
	assert_int_equal(back[0].term_seen, 257);
	assert_int_equal(back[1].term_seen, 513);
}

static void a_damaged_file_is_not_taken_for_none(void **state)
{
	struct fixture *f = *state;
	char *text = text_with_terms(f, 257, 513);

	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	text[40] ^= 1;
	answer_state(f, 0, text);
	assert_int_equal(events.n, 0);
	assert_false(f->e->state_loaded);
	answer_state(f, EIO, "");
	assert_int_equal(events.n, 0);
	/* Asked again; by now somebody has moved the file away. */
	ev_run(f->e->loop, EVRUN_ONCE);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	answer_state(f, ENOENT, "");
	assert_int_equal(events.n, 2);
}

static void nothing_is_saved_before_the_disk_is_known(void **state)
{
	struct fixture *f = *state;

	f->e->services[0].fsm.loaded = true; /* resumed from the baton */
	f->e->services[0].fsm.persist.term_seen = 1;
	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	scribe_save_state(f->e, 0, 5);
	assert_int_equal(next_order(f), IPC_NONE);
	answer_state(f, ENOENT, "");
	while (next_order(f) == IPC_STATE_SAVE)
		answer_saved(f, f->save->seq, 0);
	assert_true(events.n >= 3);
	for (unsigned i = 0; i < events.n; i++)
		if (events.ev[i].row == 0 && events.ev[i].type == SERVICE_EV_PERSISTED) {
			assert_event(i, 0, SERVICE_EV_PERSISTED, 5, true);
			return;
		}
	fail_msg("no PERSISTED");
}

static void when_all_have_resumed_the_disk_is_not_needed(void **state)
{
	struct fixture *f = *state;

	f->e->services[0].fsm.loaded = f->e->services[1].fsm.loaded = true;
	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_LOAD);
	scribe_save_state(f->e, 1, 9);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	answer_saved(f, f->save->seq, 0);
	assert_event(0, 1, SERVICE_EV_PERSISTED, 9, true);
}

static void each_save_is_answered_to_those_that_it_covers(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second, third;

	load_all(f);
	scribe_save_state(f->e, 0, 2);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	first = f->save->seq;
	scribe_save_state(f->e, 1, 7);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	second = f->save->seq;
	scribe_save_state(f->e, 0, 3);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	third = f->save->seq;
	assert_true(first < second && second < third);
	answer_saved(f, first, 0);
	assert_int_equal(events.n, 1);
	assert_event(0, 0, SERVICE_EV_PERSISTED, 2, true);
	answer_saved(f, third, 0);
	assert_int_equal(events.n, 3);
	assert_event(1, 0, SERVICE_EV_PERSISTED, 3, true);
	assert_event(2, 1, SERVICE_EV_PERSISTED, 7, true);
}

static void no_seq_is_confirmed_by_an_older_save(void **state)
{
	struct fixture *f = *state;
	uint64_t saves[5];

	load_all(f);
	for (unsigned i = 0; i < 5; i++) {
		scribe_save_state(f->e, 0, 10 + i);
		assert_int_equal(next_order(f), IPC_STATE_SAVE);
		saves[i] = f->save->seq;
	}
	for (unsigned i = 0; i < 5; i++) {
		answer_saved(f, saves[i], 0);
		for (unsigned k = 0; k < events.n; k++)
			assert_true(events.ev[k].seq <= 10 + i);
	}
	assert_event(events.n - 1, 0, SERVICE_EV_PERSISTED, 14, true);
}

static void a_new_scribe_gets_what_the_old_one_owed(void **state)
{
	struct fixture *f = *state;
	uint64_t lost;

	load_all(f);
	scribe_save_state(f->e, 0, 2);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	lost = f->save->seq;
	channel_fini(&f->scribe); /* killed */
	scribe_link_drain(f->e);
	assert_int_equal(f->e->scribe.channel.fd, -1);
	scribe_save_state(f->e, 1, 4); /* while there is none */
	open_scribe(f);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	assert_true(f->save->seq > lost);
	assert_int_equal(next_order(f), IPC_NONE);
	answer_saved(f, f->save->seq, 0);
	assert_int_equal(events.n, 2);
	assert_event(0, 0, SERVICE_EV_PERSISTED, 2, true);
	assert_event(1, 1, SERVICE_EV_PERSISTED, 4, true);
}

static void a_failed_save_is_told_and_tried_again(void **state)
{
	struct fixture *f = *state;

	load_all(f);
	scribe_save_state(f->e, 0, 2);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	answer_saved(f, f->save->seq, ENOSPC);
	assert_int_equal(events.n, 1);
	assert_event(0, 0, SERVICE_EV_PERSISTED, 2, false);
	assert_int_equal(next_order(f), IPC_NONE); /* not at once */
	ev_run(f->e->loop, EVRUN_ONCE);
	assert_int_equal(next_order(f), IPC_STATE_SAVE);
	answer_saved(f, f->save->seq, 0);
	assert_event(1, 0, SERVICE_EV_PERSISTED, 2, true);
}

static void another_generations_answers_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct ipc_state_saved msg = {.h = {.type = IPC_STATE_SAVED, .generation = GENERATION - 1},
				      .seq = 1000};

	load_all(f);
	scribe_save_state(f->e, 0, 2);
	assert_int_equal(channel_send(&f->scribe, &msg, sizeof(msg), NULL, 0), 0);
	scribe_link_drain(f->e);
	assert_int_equal(events.n, 0);
}

#define t(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_missing_file_is_the_first_start),
		t(nothing_is_loaded_before_the_peer_link_has_a_socket),
		t(a_save_during_loading_keeps_what_others_have_on_disk),
		t(a_damaged_file_is_not_taken_for_none),
		t(nothing_is_saved_before_the_disk_is_known),
		t(when_all_have_resumed_the_disk_is_not_needed),
		t(each_save_is_answered_to_those_that_it_covers),
		t(no_seq_is_confirmed_by_an_older_save),
		t(a_new_scribe_gets_what_the_old_one_owed),
		t(a_failed_save_is_told_and_tried_again),
		t(another_generations_answers_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
