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

#include "tests/unit/tiny_model.h"

#define N_SERVICES 3

struct fixture {
	struct tiny_model model;
	struct engine engine;
	char text[4096];
	int len;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static const char *const names[N_SERVICES] = {"scheduler", "web", "x"};

	assert_non_null(f);
	f->model = tiny_model_new(2, N_SERVICES, 0);
	tiny_node(&f->model, 0)->name = tiny_str(&f->model, "a");
	tiny_node(&f->model, 1)->name = tiny_str(&f->model, "b");
	f->engine.m = f->model.m;
	f->engine.services = calloc(N_SERVICES, sizeof(f->engine.services[0]));
	assert_non_null(f->engine.services);
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		tiny_service(&f->model, i)->name = tiny_str(&f->model, names[i]);
		f->engine.services[i].fsm.loaded = true;
	}
	f->engine.services[0].fsm.persist = (struct service_persist){
		.term_seen = 257, .reserved = 513, .wish_version = 3};
	f->engine.services[1].fsm.persist = (struct service_persist){
		.term_seen = UINT64_MAX, .reserved = 1, .latched = true, .stopped = true,
		.wish_version = UINT32_MAX};
	f->engine.services[2].fsm.persist = (struct service_persist){.barred = true};
	f->len = state_text_encode(&f->engine, f->text, sizeof(f->text));
	assert_true(f->len > 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	free(f->engine.services);
	free(f->model.m);
	free(f);
	return 0;
}

static int decode(const struct fixture *f, const char *text, size_t len,
		  struct service_persist ret[N_SERVICES], unsigned *ret_line)
{
	memset(ret, 0, N_SERVICES * sizeof(ret[0]));
	*ret_line = 0;
	return state_text_decode(f->model.m, text, len, ret, ret_line);
}

static void assert_persist_equal(const struct service_persist *a, const struct service_persist *b)
{
	assert_int_equal(a->term_seen, b->term_seen);
	assert_int_equal(a->reserved, b->reserved);
	assert_int_equal(a->latched, b->latched);
	assert_int_equal(a->barred, b->barred);
	assert_int_equal(a->stopped, b->stopped);
	assert_int_equal(a->wish_version, b->wish_version);
}

/* The text with its last line made right for it. */
static size_t resealed(char *buf, size_t size, const char *body)
{
	uint32_t crc = 0xffffffffu;
	size_t len = strlen(body);

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint8_t)body[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return (size_t)snprintf(buf, size, "%send %08x\n", body, (unsigned)~crc);
}

static void text_is_what_a_person_expects(void **state)
{
	struct fixture *f = *state;
	static const char *head =
		"supd-state 1 a\n"
		"service scheduler term_seen=257 reserved=513 latched=no barred=no stopped=no "
		"paused=no wish_version=3\n"
		"service web term_seen=18446744073709551615 reserved=1 latched=yes barred=no "
		"stopped=yes paused=no wish_version=4294967295\n";

	assert_memory_equal(f->text, head, strlen(head));
	assert_int_equal(f->text[f->len - 1], '\n');
}

static void text_survives_the_round_trip(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;

	assert_int_equal(decode(f, f->text, (size_t)f->len, back, &line), 0);
	for (unsigned i = 0; i < N_SERVICES; i++)
		assert_persist_equal(&back[i], &f->engine.services[i].fsm.persist);
}

static void a_service_not_yet_loaded_keeps_what_the_disk_had(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;
	int len;

	f->engine.services[0].fsm.loaded = false;
	f->engine.services[0].disk = (struct service_persist){.term_seen = 1025, .latched = true};
	len = state_text_encode(&f->engine, f->text, sizeof(f->text));
	assert_int_equal(decode(f, f->text, (size_t)len, back, &line), 0);
	assert_persist_equal(&back[0], &f->engine.services[0].disk);
}

static void every_truncation_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;

	for (int cut = 0; cut < f->len; cut++) {
		assert_int_equal(decode(f, f->text, (size_t)cut, back, &line), -EINVAL);
		assert_true(line >= 1 && line <= N_SERVICES + 2);
		assert_int_equal(back[0].term_seen, 0); /* nothing was filled in */
	}
}

static void every_changed_bit_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;

	for (int bit = 0; bit < f->len * 8; bit++) {
		f->text[bit / 8] ^= (char)(1 << bit % 8);
		if (decode(f, f->text, (size_t)f->len, back, &line) == 0)
			fail_msg("bit %d of byte %d", bit % 8, bit / 8);
		f->text[bit / 8] ^= (char)(1 << bit % 8);
	}
}

static void unknown_services_are_skipped_and_missing_ones_stay_zero(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;
	char text[1024];
	size_t len = resealed(text, sizeof(text),
			      "supd-state 1 a\n"
			      "service gone term_seen=9 reserved=9 latched=no barred=no stopped=no "
			      "wish_version=0\n"
			      "service web term_seen=5 reserved=6 latched=no barred=no stopped=no "
			      "wish_version=1\n");

	assert_int_equal(decode(f, text, len, back, &line), 0);
	assert_int_equal(back[0].term_seen, 0);
	assert_int_equal(back[1].term_seen, 5);
}

/* Written before a node could be barred by itself. */
static void a_line_without_barred_is_of_a_node_that_is_not(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;
	char text[1024];
	size_t len = resealed(text, sizeof(text),
			      "supd-state 1 a\n"
			      "service web term_seen=5 reserved=6 latched=yes stopped=yes "
			      "wish_version=1\n");
	const struct service_persist expected = {.term_seen = 5, .reserved = 6, .latched = true,
						 .stopped = true, .wish_version = 1};

	assert_int_equal(decode(f, text, len, back, &line), 0);
	assert_persist_equal(&back[1], &expected);
}

#define WEB(term, rest) "service web term_seen=" term " reserved=0 latched=no barred=no " rest "\n"

static void wrong_lines_are_named(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *why, *body;
		unsigned line;
	} cases[] = {
		{"another node's file", "supd-state 1 b\n", 1},
		{"another version", "supd-state 2 a\n", 1},
		{"another file", "hello\n", 1},
		{"an unknown kind of line", "supd-state 1 a\nprogram x\n", 2},
		{"an empty line", "supd-state 1 a\n\n", 2},
		{"a service without name", "supd-state 1 a\nservice \n", 2},
		{"a missing key", "supd-state 1 a\n" WEB("1", "stopped=no"), 2},
		{"an unknown key",
		 "supd-state 1 a\n" WEB("1", "stopped=no wish_version=1 colour=red"), 2},
		{"a key given twice",
		 "supd-state 1 a\n" WEB("1", "stopped=no wish_version=1 wish_version=1"), 2},
		{"no number", "supd-state 1 a\n" WEB("", "stopped=no wish_version=1"), 2},
		{"a negative number", "supd-state 1 a\n" WEB("-1", "stopped=no wish_version=1"), 2},
		{"a number beyond 64 bits",
		 "supd-state 1 a\n" WEB("18446744073709551616", "stopped=no wish_version=1"), 2},
		{"a number beyond 32 bits",
		 "supd-state 1 a\n" WEB("1", "stopped=no wish_version=4294967296"), 2},
		{"neither barred nor not",
		 "supd-state 1 a\nservice web term_seen=1 reserved=0 latched=no barred= stopped=no "
		 "wish_version=1\n", 2},
		{"barred twice", "supd-state 1 a\n" WEB("1", "barred=no stopped=no wish_version=1"), 2},
		{"neither yes nor no", "supd-state 1 a\n" WEB("1", "stopped=maybe wish_version=1"), 2},
		{"a service given twice",
		 "supd-state 1 a\n" WEB("1", "stopped=no wish_version=1")
		 WEB("2", "stopped=no wish_version=1"), 3},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct service_persist back[N_SERVICES];
		unsigned line;
		char text[1024];
		size_t len = resealed(text, sizeof(text), cases[i].body);

		if (decode(f, text, len, back, &line) != -EINVAL)
			fail_msg("%s was taken", cases[i].why);
		if (line != cases[i].line)
			fail_msg("%s: line %u", cases[i].why, line);
	}
}

static void what_follows_the_end_is_refused(void **state)
{
	struct fixture *f = *state;
	struct service_persist back[N_SERVICES];
	unsigned line;

	memcpy(f->text + f->len, "x\n", 2);
	assert_int_equal(decode(f, f->text, (size_t)f->len + 2, back, &line), -EINVAL);
	assert_int_equal(line, N_SERVICES + 2);
}

static void a_buffer_too_small_is_an_error(void **state)
{
	struct fixture *f = *state;
	char buf[4096];

	assert_int_equal(state_text_encode(&f->engine, buf, (size_t)f->len + 1), f->len);
	for (size_t size = 0; size <= (size_t)f->len; size++)
		assert_int_equal(state_text_encode(&f->engine, buf, size), -ENOSPC);
}

static void all_services_fit_the_message(void **state)
{
	struct tiny_model t = tiny_model_new(1, MODEL_SERVICES_MAX, 0);
	struct engine *e = calloc(1, sizeof(*e));
	char *buf = malloc(IPC_STATE_MAX), name[64];

	assert_true(e && buf);
	e->m = t.m;
	e->services = calloc(MODEL_SERVICES_MAX, sizeof(e->services[0]));
	memset(name, 'n', sizeof(name));
	name[MODEL_NAME_MAX] = '\0';
	tiny_node(&t, 0)->name = tiny_str(&t, name);
	for (uint32_t i = 0; i < MODEL_SERVICES_MAX; i++) {
		snprintf(name + 50, sizeof(name) - 50, "%013u", i);
		tiny_service(&t, i)->name = tiny_str(&t, name);
		e->services[i].fsm.loaded = true;
		e->services[i].fsm.persist = (struct service_persist){
			.term_seen = UINT64_MAX, .reserved = UINT64_MAX, .latched = true,
			.barred = true, .stopped = true, .wish_version = UINT32_MAX};
	}
	assert_true(state_text_encode(e, buf, IPC_STATE_MAX) > 0);
	free(e->services);
	free(e);
	free(buf);
	free(t.m);
}

#define t(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(text_is_what_a_person_expects), t(text_survives_the_round_trip),
		t(a_service_not_yet_loaded_keeps_what_the_disk_had), t(every_truncation_is_noticed),
		t(every_changed_bit_is_noticed),
		t(unknown_services_are_skipped_and_missing_ones_stay_zero),
		t(a_line_without_barred_is_of_a_node_that_is_not), t(wrong_lines_are_named),
		t(what_follows_the_end_is_refused), t(a_buffer_too_small_is_an_error),
		t(all_services_fit_the_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
