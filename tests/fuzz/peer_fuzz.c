/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_fsm.h"
#include "supd/core/peer_msg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The peer link against somebody who holds the wire.
 *
 *   - any bytes as a datagram: nothing is read beyond them, and what decodes encodes to the same;
 *   - any history of two nodes that send, lose, delay, restart supd or only the engine, while an
 *     attacker plays back whatever was ever sent: no message is accepted twice, no number is used
 *     twice in a session, proof of contact is never dated wrongly, and when the attacker gives up
 *     the two find each other within a few messages.
 *
 * With libFuzzer (-fsanitize=fuzzer -DSUPD_LIBFUZZER) this is a target as usual.  Without it, main
 * replays the files given, and then a bounded number of inputs from a fixed seed.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* ---- bytes ------------------------------------------------------------------------------------ */

static void fuzz_decode(const uint8_t *data, size_t size)
{
	uint8_t buf[PEER_DATAGRAM_MAX];
	struct peer_msg m;

	if (peer_msg_decode(data, size, &m) < 0)
		return;
	REQUIRE(size <= PEER_DATAGRAM_MAX - PEER_HMAC_LEN);
	REQUIRE(peer_msg_encode(&m, buf, sizeof(buf)) == size);
	REQUIRE(memcmp(buf, data, size) == 0);
}

/* ---- histories -------------------------------------------------------------------------------- */

#define RECORDS_MAX 512

struct record {
	struct peer_header h;
	bool accepted;
};

struct node {
	struct peer_fsm fsm;
	struct peer_baton baton, older;	    /* as the keeper has it; the one before */
	unsigned n_batons;		    /* of this engine */
	uint64_t sent_session, sent_seq;    /* newest stamp */
	mtime sent_at[RECORDS_MAX + 64];    /* by stamp of this session, as far as it goes */
	uint64_t sent_numbers[RECORDS_MAX + 64];
	unsigned n_sent;
};

struct world {
	struct node node[2];
	struct record records[RECORDS_MAX];
	unsigned n_records;
	uint64_t next_session;
	mtime now;
};

static void start_supd(struct world *w, uint8_t i)
{
	struct node *n = &w->node[i];

	peer_init(&n->fsm, i, !i, w->next_session++);
	memset(&n->baton, 0, sizeof(n->baton));
	n->n_batons = 0;
	n->n_sent = 0;
}

static void hand_over(struct node *n)
{
	n->older = n->baton;
	peer_to_baton(&n->fsm, &n->baton);
	n->n_batons++;
}

/*
 * The newest record may be lost with the engine that sent it, but for the first, which has an empty
 * queue before it.  Without any, it is a new session.
 */
static void start_engine(struct world *w, uint8_t i, bool newest_is_lost)
{
	struct node *n = &w->node[i];

	if (newest_is_lost && n->n_batons >= 2)
		n->baton = n->older;
	n->n_batons = 0;
	if (n->baton.session == 0) {
		start_supd(w, i);
		return;
	}
	peer_init(&n->fsm, i, !i, 1);
	peer_from_baton(&n->fsm, &n->baton);
	REQUIRE(peer_check(&n->fsm));
}

static struct record *send_one(struct world *w, uint8_t i)
{
	struct node *n = &w->node[i];
	struct record *r = &w->records[w->n_records];
	bool new_ceiling;

	if (w->n_records == RECORDS_MAX)
		return NULL;
	memset(r, 0, sizeof(*r));
	peer_stamp(&n->fsm, w->now, &r->h, &new_ceiling);
	if (new_ceiling)
		hand_over(n);
	REQUIRE(peer_check(&n->fsm));
	REQUIRE(r->h.session != n->sent_session || r->h.seq > n->sent_seq);
	n->sent_session = r->h.session;
	n->sent_seq = r->h.seq;
	n->sent_at[n->n_sent] = w->now;
	n->sent_numbers[n->n_sent++] = r->h.seq;
	w->n_records++;
	return r;
}

/* When our message of that number was sent; MTIME_NEVER: never. */
static mtime sent_time(const struct node *n, uint64_t seq)
{
	for (unsigned i = 0; i < n->n_sent; i++)
		if (n->sent_numbers[i] == seq)
			return n->sent_at[i];
	return MTIME_NEVER;
}

static enum peer_verdict deliver(struct world *w, struct record *r)
{
	struct node *n = &w->node[r->h.to];
	uint64_t session = n->fsm.his_session;
	mtime before = n->fsm.echoed;
	enum peer_verdict v = peer_receive(&n->fsm, &r->h, w->now);

	REQUIRE(peer_check(&n->fsm));
	if (v == PEER_VERDICT_ACCEPT) {
		REQUIRE(!r->accepted);
		REQUIRE(n->fsm.heard == w->now);
		REQUIRE(n->fsm.echoed == before ||
			n->fsm.echoed == sent_time(n, r->h.echo_seq));
		r->accepted = true;
	} else {
		REQUIRE(n->fsm.echoed == before);
	}
	if (n->fsm.his_session != session)
		hand_over(n);
	return v;
}

/* One message arrives, with the challenge that it may cause. */
static enum peer_verdict pass(struct world *w, uint8_t from)
{
	struct record *r = send_one(w, from), *answer;
	enum peer_verdict v;

	if (!r)
		return PEER_VERDICTS_END;
	v = deliver(w, r);
	if (v == PEER_VERDICT_CHALLENGE && peer_may_challenge(&w->node[!from].fsm, w->now)) {
		answer = send_one(w, !from);
		if (answer)
			deliver(w, answer);
	}
	return v;
}

static void one_op(struct world *w, uint8_t op, uint8_t arg)
{
	uint8_t i = arg & 1;

	switch (op % 8) {
	case 0:
	case 1:
		pass(w, i);
		break;
	case 2: /* sent, and held back by the attacker */
		send_one(w, i);
		break;
	case 3:
	case 4:
		if (w->n_records > 0)
			deliver(w, &w->records[(size_t)(op / 8 * 256 + arg) % w->n_records]);
		break;
	case 5:
		if (arg % 4 == 0)
			start_supd(w, i);
		else
			start_engine(w, i, arg % 4 == 1);
		break;
	case 6:
		w->now += MTIME_MS(1) * arg;
		break;
	case 7: /* a challenge that is answered into the void */
		peer_may_challenge(&w->node[i].fsm, w->now);
		break;
	}
}

static void require_contact(struct world *w)
{
	bool a = false, b = false;

	for (int i = 0; i < 4; i++) {
		w->now += MTIME_SEC(1);
		a = pass(w, 1) == PEER_VERDICT_ACCEPT;
		w->now += MTIME_SEC(1);
		b = pass(w, 0) == PEER_VERDICT_ACCEPT;
	}
	REQUIRE(a && b);
}

static void fuzz_history(const uint8_t *data, size_t size)
{
	struct world *w = calloc(1, sizeof(*w));

	REQUIRE(w != NULL);
	w->next_session = 100;
	w->now = MTIME_SEC(1);
	start_supd(w, 0);
	start_supd(w, 1);
	for (size_t i = 0; i + 1 < size && w->n_records < RECORDS_MAX - 32; i += 2)
		one_op(w, data[i], data[i + 1]);
	require_contact(w);
	free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_decode(data, size);
	fuzz_history(data, size);
	return 0;
}

#ifndef SUPD_LIBFUZZER

#define INPUTS	  20000
#define INPUT_MAX 2048

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* A heap copy of exactly this size, so that the sanitizer sees the first byte too many. */
static void run_exact(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	REQUIRE(copy != NULL);
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* A valid message of any type. */
static size_t seed_message(uint32_t *random, uint8_t *buf)
{
	struct peer_msg m;

	memset(&m, 0, sizeof(m));
	m.h.type = (enum peer_type)(1 + next_random(random) % (PEER_TYPES_END - 1));
	m.h.seq = next_random(random);
	if (m.h.type == PEER_TYPE_HELLO) {
		m.hello.pages = 1;
		m.hello.n = (uint8_t)(next_random(random) % (PEER_SERVICES_PAGE + 1));
	} else if (m.h.type == PEER_TYPE_COMMAND || m.h.type == PEER_TYPE_RESULT) {
		m.text.len = (uint16_t)(next_random(random) % PEER_TEXT_MAX);
		memset(m.text.text, 'x', m.text.len);
	} else if (m.h.type == PEER_TYPE_ADVERT) {
		m.advert.interval_ms = 1 + next_random(random) % 40950;
	}
	return peer_msg_encode(&m, buf, INPUT_MAX);
}

static void mutate(uint32_t *random, uint8_t *buf, size_t *len)
{
	for (uint32_t n = next_random(random) % 4; n > 0; n--)
		buf[next_random(random) % *len] = (uint8_t)next_random(random);
	if (next_random(random) % 4 == 0)
		*len = next_random(random) % (*len + 1);
	else if (next_random(random) % 8 == 0)
		*len += next_random(random) % 64;
}

static void run_inputs(uint32_t seed, unsigned long count)
{
	uint32_t random = seed != 0 ? seed : 1;
	uint8_t buf[INPUT_MAX];

	for (unsigned long i = 0; i < count; i++) {
		size_t len = 2 + next_random(&random) % 600;

		for (size_t k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)next_random(&random);
		if (i % 2 == 0) {
			len = seed_message(&random, buf);
			mutate(&random, buf, &len);
		}
		run_exact(buf, len);
	}
}

static int run_file(const char *path)
{
	uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	run_exact(buf, fread(buf, 1, sizeof(buf), f));
	fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	const char *seed = getenv("SUPD_FUZZ_SEED"), *count = getenv("SUPD_FUZZ_COUNT");
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	run_inputs(seed != NULL ? (uint32_t)strtoul(seed, NULL, 0) : 7112,
		   count != NULL ? strtoul(count, NULL, 0) : INPUTS);
	return failed;
}

#endif
