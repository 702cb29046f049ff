/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "supd/engine/engine.h"

/*
 * The queue against doubles of what stands around it.  Each double notes what it was given, and
 * does what the test at hand wants a machine's action to do.
 */
struct rig {
	char seen[256]; /* "s0 p3 poll ..." */
	unsigned depth, deepest, polls, events;
	void (*on_service)(struct engine *e, uint32_t row, const struct service_event *ev);
	void (*on_program)(struct engine *e, uint32_t row, const struct program_event *ev);
	void (*on_poll)(struct engine *e);
	uint64_t term_seen;
};

static struct rig rig;

static void note(const char *what, unsigned row)
{
	size_t n = strlen(rig.seen);

	snprintf(rig.seen + n, sizeof(rig.seen) - n, "%s%s%u", n > 0 ? " " : "", what, row);
}

void service_io_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	rig.events++;
	if (++rig.depth > rig.deepest)
		rig.deepest = rig.depth;
	note("s", row);
	if (rig.on_service != NULL)
		rig.on_service(e, row, ev);
	rig.depth--;
}

void program_io_event(struct engine *e, uint32_t row, const struct program_event *ev)
{
	rig.events++;
	if (++rig.depth > rig.deepest)
		rig.deepest = rig.depth;
	note("p", row);
	if (rig.on_program != NULL)
		rig.on_program(e, row, ev);
	rig.depth--;
}

void control_poll(struct engine *e)
{
	rig.polls++;
	if (rig.on_poll != NULL)
		rig.on_poll(e);
}

void engine_finish(struct engine *e, int status)
{
	e->finished = true;
	e->status = status;
}

static int set_up(void **state)
{
	static struct engine e;

	memset(&e, 0, sizeof(e));
	memset(&rig, 0, sizeof(rig));
	*state = &e;
	return engine_queue_init(&e);
}

static int tear_down(void **state)
{
	engine_queue_fini(*state);
	return 0;
}

static void service_event(struct engine *e, uint32_t row)
{
	struct service_event ev = { .type = SERVICE_EV_TICK };

	engine_service_event(e, row, &ev);
}

static void program_event(struct engine *e, uint32_t row)
{
	struct program_event ev = { .type = PROGRAM_EV_TICK };

	engine_program_event(e, row, &ev);
}

static void single_event_is_given_at_once_and_then_requests_look(void **state)
{
	service_event(*state, 4);
	assert_string_equal(rig.seen, "s4");
	assert_int_equal(rig.polls, 1);
	program_event(*state, 7);
	assert_string_equal(rig.seen, "s4 p7");
	assert_int_equal(rig.polls, 2);
}

static void answer_with_two(struct engine *e, uint32_t row, const struct service_event *ev)
{
	if (row != 0)
		return;
	program_event(e, 1);
	service_event(e, 2);
	note("end", 0);
}

static void tell_service(struct engine *e, uint32_t row, const struct program_event *ev)
{
	service_event(e, 3);
}

static void events_of_actions_wait_until_the_step_is_over_and_keep_their_order(void **state)
{
	rig.on_service = answer_with_two;
	rig.on_program = tell_service;
	service_event(*state, 0);
	assert_string_equal(rig.seen, "s0 end0 p1 s2 s3");
	assert_int_equal(rig.deepest, 1);
	assert_int_equal(rig.polls, 1);
}

static void ask_once_more(struct engine *e)
{
	if (rig.polls == 1)
		program_event(e, 9);
}

static void request_that_goes_on_is_polled_again(void **state)
{
	rig.on_poll = ask_once_more;
	service_event(*state, 1);
	assert_string_equal(rig.seen, "s1 p9");
	assert_int_equal(rig.polls, 2);
	assert_int_equal(rig.deepest, 1);
}

static void send_hello_from_own_stack(struct engine *e)
{
	struct service_report report = { .term_seen = 77 };
	struct service_persist persist = { .term_seen = 88 };
	struct service_baton baton = { .term = 99 };
	struct service_event ev = {
		.type = SERVICE_EV_HELLO,
		.report = &report,
		.persist = &persist,
		.baton = &baton,
	};

	engine_service_event(e, 1, &ev);
	memset(&report, 0xaa, sizeof(report));
	memset(&persist, 0xaa, sizeof(persist));
	memset(&baton, 0xaa, sizeof(baton));
}

static void look_at_payload(struct engine *e, uint32_t row, const struct service_event *ev)
{
	if (row == 0) {
		send_hello_from_own_stack(e);
		return;
	}
	assert_int_equal(ev->report->term_seen, 77);
	assert_int_equal(ev->persist->term_seen, 88);
	assert_int_equal(ev->baton->term, 99);
	rig.term_seen = ev->report->term_seen;
}

static void what_an_event_points_to_is_copied(void **state)
{
	rig.on_service = look_at_payload;
	service_event(*state, 0);
	assert_int_equal(rig.term_seen, 77);
}

static void burst(struct engine *e, uint32_t row, const struct service_event *ev)
{
	if (row != 0)
		return;
	for (uint32_t i = 1; i <= 5000; i++)
		program_event(e, i);
}

static uint32_t next_row;

static void in_order(struct engine *e, uint32_t row, const struct program_event *ev)
{
	assert_int_equal(row, ++next_row);
}

static void queue_grows_and_keeps_the_order(void **state)
{
	next_row = 0;
	rig.on_service = burst;
	rig.on_program = in_order;
	program_event(*state, 1); /* the ring does not begin at its start */
	next_row = 0;
	service_event(*state, 0);
	assert_int_equal(next_row, 5000);
}

static void two_more(struct engine *e, uint32_t row, const struct service_event *ev)
{
	service_event(e, 1);
	service_event(e, 2);
}

static void machines_that_answer_each_other_for_ever_end_the_engine(void **state)
{
	struct engine *e = *state;

	rig.on_service = two_more;
	service_event(e, 0);
	assert_true(e->finished);
	assert_int_equal(e->status, 1);
	rig.events = 0;
	service_event(e, 0);
	assert_int_equal(rig.events, 0);
}

static void finish_now(struct engine *e, uint32_t row, const struct program_event *ev)
{
	program_event(e, 5);
	engine_finish(e, 0);
}

static void nothing_is_given_after_the_end(void **state)
{
	rig.on_program = finish_now;
	program_event(*state, 4);
	assert_string_equal(rig.seen, "p4");
	assert_int_equal(rig.polls, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(single_event_is_given_at_once_and_then_requests_look),
		T(events_of_actions_wait_until_the_step_is_over_and_keep_their_order),
		T(request_that_goes_on_is_polled_again),
		T(what_an_event_points_to_is_copied),
		T(queue_grows_and_keeps_the_order),
		T(machines_that_answer_each_other_for_ever_end_the_engine),
		T(nothing_is_given_after_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
