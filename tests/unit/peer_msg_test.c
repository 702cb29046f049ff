/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BUF PEER_DATAGRAM_MAX

/* Every field different, so that two exchanged ones are seen. */
static struct service_report report_of(unsigned i)
{
	struct service_report r = {
		.state = (enum service_state)(i % SERVICE_STATES_END),
		.priority = (uint8_t)(100 + i),
		.fit = i & 1,
		.soft = i % 4 == 2,
		.running = i & 2,
		.ready = i & 4,
		.stopped = i & 8,
		.latched = i & 16,
		.adverts_heard = i % 3 == 0,
		.paused = i % 5 == 1,
		.wish_version = 7000 + i,
		.term = 0x1122334455667700 + i,
		.term_seen = 0x2233445566778800 + i,
		.digest = 0x3344556677889900 + i,
		.file = 0x4455667788990011,
	};

	return r;
}

static struct peer_msg msg_of(enum peer_type type, unsigned n)
{
	struct peer_msg m;

	memset(&m, 0, sizeof(m));
	m.h = (struct peer_header){.type = type,
				   .from = 1,
				   .to = 2,
				   .session = 0xa1a2a3a4a5a6a7a8,
				   .echo_session = 0xb1b2b3b4b5b6b7b8,
				   .seq = 0xc1c2c3c4c5c6c7c8,
				   .echo_seq = 0xd1d2d3d4d5d6d7d8};
	if (type == PEER_TYPE_HELLO) {
		m.hello.answer = true;
		m.hello.page = 1;
		m.hello.pages = 3;
		m.hello.n = (uint8_t)n;
		m.hello.file = 0x4455667788990011;
		for (unsigned i = 0; i < n; i++) {
			m.hello.records[i].service = 0xe1e2e3e4e5e60000 + i;
			memset(m.hello.records[i].mac, (int)i + 1, 6);
			m.hello.records[i].report = report_of(i);
		}
	} else if (type == PEER_TYPE_COMMAND || type == PEER_TYPE_RESULT) {
		m.text.id = 0x01020304;
		m.text.len = (uint16_t)n;
		memset(m.text.text, 't', n);
	} else if (type == PEER_TYPE_DETAILS) {
		m.details = (struct peer_details){.load100 = {1, 200, 30000},
						  .cpu_pct = 42,
						  .memory_available = 1ull << 40,
						  .started_at = 1700000000,
						  .config_digest = 0xfeedfacecafebeef};
	} else if (type == PEER_TYPE_ADVERT) {
		m.advert = (struct peer_advert){
			.service = 0xe1e2e3e4e5e6e7e8, .priority = (uint8_t)n, .interval_ms = 40950};
	} else {
		m.term = (struct peer_term){.service = 0xe1e2, .term = 0x0102030405060708,
					    .successor = (uint8_t)(n ? n : 0xff), .ending = true};
	}
	return m;
}

static const struct {
	const char *why;
	enum peer_type type;
	unsigned n;
	size_t len;
} samples[] = {
	{"HELLO without services", PEER_TYPE_HELLO, 0, PEER_HEADER_LEN + 12},
	{"HELLO with one", PEER_TYPE_HELLO, 1, PEER_HEADER_LEN + 12 + 45},
	{"HELLO, full page", PEER_TYPE_HELLO, PEER_SERVICES_PAGE, PEER_HEADER_LEN + 12 + 24 * 45},
	{"FENCE", PEER_TYPE_FENCE, 0, PEER_HEADER_LEN + 18},
	{"FENCED", PEER_TYPE_FENCED, 3, PEER_HEADER_LEN + 18},
	{"RELEASE", PEER_TYPE_RELEASE, 15, PEER_HEADER_LEN + 18},
	{"RELEASED", PEER_TYPE_RELEASED, 0, PEER_HEADER_LEN + 18},
	{"COMMAND, empty", PEER_TYPE_COMMAND, 0, PEER_HEADER_LEN + 6},
	{"RESULT, longest", PEER_TYPE_RESULT, PEER_TEXT_MAX - 1,
	 PEER_HEADER_LEN + 6 + PEER_TEXT_MAX - 1},
	{"DETAILS", PEER_TYPE_DETAILS, 0, PEER_HEADER_LEN + 37},
	{"ADVERT", PEER_TYPE_ADVERT, 150, PEER_HEADER_LEN + 13},
	{"ADVERT that releases", PEER_TYPE_ADVERT, 0, PEER_HEADER_LEN + 13},
};
#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static size_t encode_sample(size_t i, uint8_t *buf)
{
	struct peer_msg m = msg_of(samples[i].type, samples[i].n);
	size_t len = peer_msg_encode(&m, buf, BUF);

	if (len != samples[i].len)
		fail_msg("%s: %zu bytes, expected %zu", samples[i].why, len, samples[i].len);
	return len;
}

/* What decodes is the same again: compared by its encoding and by its fields. */
static void every_message_survives_the_round_trip(void **state)
{
	uint8_t buf[BUF], again[BUF];

	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct peer_msg m = msg_of(samples[i].type, samples[i].n), back;
		size_t len = encode_sample(i, buf);

		assert_int_equal(peer_msg_decode(buf, len, &back), 0);
		assert_int_equal(back.h.type, m.h.type);
		assert_int_equal(back.h.seq, m.h.seq);
		assert_int_equal(back.h.echo_session, m.h.echo_session);
		assert_int_equal(peer_msg_encode(&back, again, sizeof(again)), len);
		assert_memory_equal(buf, again, len);
	}
}

static void hello_records_keep_every_field(void **state)
{
	struct peer_msg m = msg_of(PEER_TYPE_HELLO, PEER_SERVICES_PAGE), back;
	uint8_t buf[BUF];
	size_t len = peer_msg_encode(&m, buf, sizeof(buf));

	assert_int_equal(peer_msg_decode(buf, len, &back), 0);
	assert_true(back.hello.answer);
	assert_int_equal(back.hello.page, 1);
	assert_int_equal(back.hello.pages, 3);
	for (unsigned i = 0; i < PEER_SERVICES_PAGE; i++) {
		struct service_report want = report_of(i), got = back.hello.records[i].report;

		assert_int_equal(got.state, want.state);
		assert_int_equal(got.priority, want.priority);
		assert_int_equal(got.fit, want.fit);
		assert_int_equal(got.soft, want.soft);
		assert_int_equal(got.file, want.file);
		assert_int_equal(got.running, want.running);
		assert_int_equal(got.ready, want.ready);
		assert_int_equal(got.stopped, want.stopped);
		assert_int_equal(got.latched, want.latched);
		assert_int_equal(got.adverts_heard, want.adverts_heard);
		assert_int_equal(got.paused, want.paused);
		assert_int_equal(got.wish_version, want.wish_version);
		assert_int_equal(got.term, want.term);
		assert_int_equal(got.term_seen, want.term_seen);
		assert_int_equal(got.digest, want.digest);
		assert_memory_equal(back.hello.records[i].mac, m.hello.records[i].mac, 6);
	}
}

static void every_truncation_is_refused_and_leaves_the_output_alone(void **state)
{
	uint8_t buf[BUF];
	struct peer_msg back, untouched;

	memset(&untouched, 0x5a, sizeof(untouched));
	for (size_t i = 0; i < N_SAMPLES; i++) {
		size_t len = encode_sample(i, buf);

		for (size_t cut = 0; cut < len; cut++) {
			back = untouched;
			if (peer_msg_decode(buf, cut, &back) != -EBADMSG)
				fail_msg("%s cut to %zu was taken", samples[i].why, cut);
			assert_memory_equal(&back, &untouched, sizeof(back));
		}
	}
}

static void a_byte_too_many_is_refused(void **state)
{
	uint8_t buf[BUF + 1];
	struct peer_msg back;

	for (size_t i = 0; i < N_SAMPLES; i++) {
		size_t len = encode_sample(i, buf);

		buf[len] = 0;
		assert_int_equal(peer_msg_decode(buf, len + 1, &back), -EBADMSG);
	}
}

/* Each single bit: refused, or understood as exactly what the bytes say. */
static void a_flipped_bit_is_refused_or_means_what_it_says(void **state)
{
	uint8_t buf[BUF], again[BUF];
	struct peer_msg back;

	for (size_t i = 0; i < N_SAMPLES; i++) {
		size_t len = encode_sample(i, buf);

		for (size_t bit = 0; bit < len * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (peer_msg_decode(buf, len, &back) == 0) {
				assert_int_equal(peer_msg_encode(&back, again, sizeof(again)), len);
				assert_memory_equal(buf, again, len);
			}
			buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void values_out_of_range_are_refused(void **state)
{
	static const struct {
		const char *why;
		enum peer_type type;
		unsigned n;
		size_t at;
		uint8_t value;
	} cases[] = {
		{"magic", PEER_TYPE_FENCE, 0, 0, 'T'},
		{"version 0", PEER_TYPE_FENCE, 0, 4, 0},
		{"version 2", PEER_TYPE_FENCE, 0, 4, 2},
		{"type none", PEER_TYPE_FENCE, 0, 5, PEER_TYPE_NONE},
		{"type beyond the last", PEER_TYPE_FENCE, 0, 5, PEER_TYPES_END},
		{"sender row", PEER_TYPE_FENCE, 0, 6, MODEL_NODES_MAX},
		{"receiver row", PEER_TYPE_FENCE, 0, 7, MODEL_NODES_MAX},
		{"answer is neither 0 nor 1", PEER_TYPE_HELLO, 1, 40, 2},
		{"page beyond pages", PEER_TYPE_HELLO, 1, 41, 3},
		{"no pages", PEER_TYPE_HELLO, 1, 42, 0},
		{"more records than a page", PEER_TYPE_HELLO, 24, 43, 25},
		{"more records than there are", PEER_TYPE_HELLO, 1, 43, 2},
		{"fewer records than there are", PEER_TYPE_HELLO, 2, 43, 1},
		{"state", PEER_TYPE_HELLO, 1, 52 + 14, SERVICE_STATES_END},
		{"fit and softly unfit", PEER_TYPE_HELLO, 1, 52 + 16, 0x81},
		{"successor row", PEER_TYPE_RELEASE, 1, 40 + 16, MODEL_NODES_MAX},
		{"ending", PEER_TYPE_RELEASE, 1, 40 + 17, 0xff},
		{"text longer than its room", PEER_TYPE_COMMAND, 8, 40 + 4, PEER_TEXT_MAX >> 8},
		{"text longer than the datagram", PEER_TYPE_COMMAND, 8, 40 + 5, 9},
		{"NUL within the text", PEER_TYPE_COMMAND, 8, 40 + 6 + 3, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer_msg m = msg_of(cases[i].type, cases[i].n), back;
		uint8_t buf[BUF];
		size_t len = peer_msg_encode(&m, buf, sizeof(buf));

		assert_int_equal(peer_msg_decode(buf, len, &back), 0);
		buf[cases[i].at] = cases[i].value;
		if (peer_msg_decode(buf, len, &back) != -EBADMSG)
			fail_msg("%s was taken", cases[i].why);
	}
}

static void what_does_not_fit_is_not_encoded(void **state)
{
	uint8_t buf[BUF];
	struct peer_msg m;

	for (size_t i = 0; i < N_SAMPLES; i++) {
		m = msg_of(samples[i].type, samples[i].n);
		assert_int_equal(peer_msg_encode(&m, buf, samples[i].len - 1), 0);
		assert_int_equal(peer_msg_encode(&m, buf, samples[i].len), samples[i].len);
	}
	m = msg_of(PEER_TYPE_HELLO, 1);
	m.hello.n = PEER_SERVICES_PAGE + 1;
	assert_int_equal(peer_msg_encode(&m, buf, sizeof(buf)), 0);
	m = msg_of(PEER_TYPE_COMMAND, 1);
	m.text.len = PEER_TEXT_MAX;
	assert_int_equal(peer_msg_encode(&m, buf, sizeof(buf)), 0);
	m.h.type = PEER_TYPE_NONE;
	assert_int_equal(peer_msg_encode(&m, buf, sizeof(buf)), 0);
	m.h.type = PEER_TYPES_END;
	assert_int_equal(peer_msg_encode(&m, buf, sizeof(buf)), 0);
}

static void a_decoded_text_is_a_string(void **state)
{
	struct peer_msg m = msg_of(PEER_TYPE_COMMAND, 5), back;
	uint8_t buf[BUF];
	size_t len = peer_msg_encode(&m, buf, sizeof(buf));

	memset(&back, 0xff, sizeof(back));
	assert_int_equal(peer_msg_decode(buf, len, &back), 0);
	assert_string_equal(back.text.text, "ttttt");
	assert_int_equal(back.text.len, 5);
}

/* Other versions must be able to read ours: bytes, not only a round trip. */
static void the_bytes_are_those_of_the_header_file(void **state)
{
	static const uint8_t want[] = {
		'S',  'U',  'P',  'D',	1,    PEER_TYPE_RELEASE, 1, 2, 0xa1, 0xa2, 0xa3, 0xa4,
		0xa5, 0xa6, 0xa7, 0xa8, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8,
		0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xd1, 0xd2, 0xd3, 0xd4,
		0xd5, 0xd6, 0xd7, 0xd8, 0,    0,    0,	  0,	0,    0,    0xe1, 0xe2,
		1,    2,    3,	  4,	5,    6,    7,	  8,	0xff, 1};
	struct peer_msg m = msg_of(PEER_TYPE_RELEASE, 0);
	uint8_t buf[BUF];

	assert_int_equal(peer_msg_encode(&m, buf, sizeof(buf)), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void types_have_names(void **state)
{
	assert_string_equal(peer_type_name(PEER_TYPE_HELLO), "hello");
	assert_string_equal(peer_type_name(PEER_TYPE_DETAILS), "details");
	assert_string_equal(peer_type_name(PEER_TYPE_NONE), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_survives_the_round_trip),
		cmocka_unit_test(hello_records_keep_every_field),
		cmocka_unit_test(every_truncation_is_refused_and_leaves_the_output_alone),
		cmocka_unit_test(a_byte_too_many_is_refused),
		cmocka_unit_test(a_flipped_bit_is_refused_or_means_what_it_says),
		cmocka_unit_test(values_out_of_range_are_refused),
		cmocka_unit_test(what_does_not_fit_is_not_encoded),
		cmocka_unit_test(a_decoded_text_is_a_string),
		cmocka_unit_test(the_bytes_are_those_of_the_header_file),
		cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
