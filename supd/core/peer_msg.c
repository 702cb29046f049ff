/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_msg.h"

#include <errno.h>
#include <string.h>

#include "common/wire.h"

/*
 * One datagram of the peer link, to bytes and back.
 *
 *   0        4   5   6   7   8         16        24        32        40
 *   | "SUPD" | v | t | f | r | session | echo    | seq     | echo seq| body ...
 *
 *   HELLO     answer 1, page 1, pages 1, n 1, file digest 8, then n records of 45 bytes:
 *             service 8, mac 6, state 1, priority 1, flags 1, wish version 4, term 8,
 *             term seen 8, digest 8
 *   FENCE, FENCED, RELEASE, RELEASED
 *             service 8, term 8, successor 1, ending 1
 *   COMMAND, RESULT
 *             id 4, length 2, text without NUL
 *   ADVERT    service 8, priority 1, interval in milliseconds 4
 *   DETAILS   load average 3 x 4, cpu 1, memory 8, started 8, configuration digest 8
 *
 * Sizes: header 40 + 12 + 24 records x 45 + HMAC 32 = 1,164, below PEER_DATAGRAM_MAX.
 *
 * Invariants: what decodes encodes to the same bytes (so every flag, row and state is checked, and
 * nothing may follow the body); a message that does not decode changes nothing; the text of a
 * decoded COMMAND or RESULT ends with a NUL and has none before.  Who may say what, and whether it
 * is fresh, is judged elsewhere (peer_fsm.c; the HMAC in engine/peer_io.c, before this is called).
 */

#define HELLO_FIXED_LEN	 12
#define HELLO_RECORD_LEN 45

_Static_assert(PEER_HEADER_LEN + HELLO_FIXED_LEN + PEER_SERVICES_PAGE * HELLO_RECORD_LEN +
			       PEER_HMAC_LEN <=
		       PEER_DATAGRAM_MAX,
	       "a full page of services fits one datagram");
_Static_assert(PEER_HEADER_LEN + 6 + PEER_TEXT_MAX + PEER_HMAC_LEN <= PEER_DATAGRAM_MAX,
	       "the longest text fits one datagram");

#define FLAG_FIT	   0x01u
#define FLAG_RUNNING	   0x02u
#define FLAG_READY	   0x04u
#define FLAG_STOPPED	   0x08u
#define FLAG_LATCHED	   0x10u
#define FLAG_ADVERTS_HEARD 0x20u
#define FLAG_PAUSED	   0x40u
#define FLAG_SOFT	   0x80u

#define NO_SUCCESSOR 0xffu

const char *peer_type_name(enum peer_type t)
{
	switch (t) {
#define X(name, text)                                                                              \
	case PEER_TYPE_##name:                                                                     \
		return text;
		PEER_TYPES(X)
#undef X
	case PEER_TYPE_NONE:
	case PEER_TYPES_END:
		break;
	}
	return "unknown";
}

/* ---- encode ----------------------------------------------------------------------------------- */

static void put_header(struct wire_out *w, const struct peer_header *h)
{
	wire_put32(w, PEER_MAGIC);
	wire_put8(w, PEER_VERSION);
	wire_put8(w, h->type);
	wire_put8(w, h->from);
	wire_put8(w, h->to);
	wire_put64(w, h->session);
	wire_put64(w, h->echo_session);
	wire_put64(w, h->seq);
	wire_put64(w, h->echo_seq);
}

static unsigned report_flags(const struct service_report *r)
{
	return (r->fit ? FLAG_FIT : 0) | (r->running ? FLAG_RUNNING : 0) |
	       (r->ready ? FLAG_READY : 0) | (r->stopped ? FLAG_STOPPED : 0) |
	       (r->latched ? FLAG_LATCHED : 0) | (r->paused ? FLAG_PAUSED : 0) |
	       (r->adverts_heard ? FLAG_ADVERTS_HEARD : 0) | (r->soft ? FLAG_SOFT : 0);
}

static void put_record(struct wire_out *w, const struct peer_hello_record *rec)
{
	const struct service_report *r = &rec->report;

	wire_put64(w, rec->service);
	wire_put(w, rec->mac, sizeof(rec->mac));
	wire_put8(w, r->state);
	wire_put8(w, r->priority);
	wire_put8(w, report_flags(r));
	wire_put32(w, r->wish_version);
	wire_put64(w, r->term);
	wire_put64(w, r->term_seen);
	wire_put64(w, r->digest);
}

static void put_hello(struct wire_out *w, const struct peer_hello *h)
{
	wire_put8(w, h->answer);
	wire_put8(w, h->page);
	wire_put8(w, h->pages);
	wire_put8(w, h->n);
	wire_put64(w, h->file);
	if (h->n > PEER_SERVICES_PAGE) {
		w->failed = true;
		return;
	}
	for (unsigned i = 0; i < h->n; i++)
		put_record(w, &h->records[i]);
}

static void put_term(struct wire_out *w, const struct peer_term *t)
{
	wire_put64(w, t->service);
	wire_put64(w, t->term);
	wire_put8(w, t->successor);
	wire_put8(w, t->ending);
}

static void put_advert(struct wire_out *w, const struct peer_advert *a)
{
	wire_put64(w, a->service);
	wire_put8(w, a->priority);
	wire_put32(w, a->interval_ms);
}

static void put_text(struct wire_out *w, const struct peer_text *t)
{
	if (t->len >= PEER_TEXT_MAX) {
		w->failed = true;
		return;
	}
	wire_put32(w, t->id);
	wire_put16(w, t->len);
	wire_put(w, t->text, t->len);
}

static void put_details(struct wire_out *w, const struct peer_details *d)
{
	for (unsigned i = 0; i < 3; i++)
		wire_put32(w, d->load100[i]);
	wire_put8(w, d->cpu_pct);
	wire_put64(w, d->memory_available);
	wire_put64(w, d->started_at);
	wire_put64(w, d->config_digest);
}

size_t peer_msg_encode(const struct peer_msg *m, uint8_t *buf, size_t size)
{
	struct wire_out w;

	wire_out_init(&w, buf, size);
	put_header(&w, &m->h);
	switch (m->h.type) {
	case PEER_TYPE_HELLO:
		put_hello(&w, &m->hello);
		break;
	case PEER_TYPE_FENCE:
	case PEER_TYPE_FENCED:
	case PEER_TYPE_RELEASE:
	case PEER_TYPE_RELEASED:
		put_term(&w, &m->term);
		break;
	case PEER_TYPE_COMMAND:
	case PEER_TYPE_RESULT:
		put_text(&w, &m->text);
		break;
	case PEER_TYPE_DETAILS:
		put_details(&w, &m->details);
		break;
	case PEER_TYPE_ADVERT:
		put_advert(&w, &m->advert);
		break;
	case PEER_TYPE_NONE:
	case PEER_TYPES_END:
		return 0;
	}
	return w.failed ? 0 : wire_out_len(&w);
}

/* ---- decode ----------------------------------------------------------------------------------- */

/* A value outside its range spoils the whole message. */
static void require(struct wire_in *r, bool ok)
{
	if (!ok)
		r->failed = true;
}

static bool get_bool(struct wire_in *r)
{
	uint8_t v = wire_get8(r);

	require(r, v <= 1);
	return v == 1;
}

static void get_header(struct wire_in *r, struct peer_header *h)
{
	uint8_t type;

	require(r, wire_get32(r) == PEER_MAGIC);
	require(r, wire_get8(r) == PEER_VERSION);
	type = wire_get8(r);
	require(r, type > PEER_TYPE_NONE && type < PEER_TYPES_END);
	h->type = (enum peer_type)type;
	h->from = wire_get8(r);
	h->to = wire_get8(r);
	require(r, h->from < MODEL_NODES_MAX && h->to < MODEL_NODES_MAX);
	h->session = wire_get64(r);
	h->echo_session = wire_get64(r);
	h->seq = wire_get64(r);
	h->echo_seq = wire_get64(r);
}

static void set_flags(struct service_report *r, unsigned flags)
{
	r->fit = flags & FLAG_FIT;
	r->running = flags & FLAG_RUNNING;
	r->ready = flags & FLAG_READY;
	r->stopped = flags & FLAG_STOPPED;
	r->latched = flags & FLAG_LATCHED;
	r->paused = flags & FLAG_PAUSED;
	r->adverts_heard = flags & FLAG_ADVERTS_HEARD;
	r->soft = flags & FLAG_SOFT;
}

static void get_record(struct wire_in *r, struct peer_hello_record *rec)
{
	struct service_report *report = &rec->report;
	uint8_t state, flags;

	rec->service = wire_get64(r);
	wire_get(r, rec->mac, sizeof(rec->mac));
	state = wire_get8(r);
	require(r, state < SERVICE_STATES_END);
	report->state = (enum service_state)state;
	report->priority = wire_get8(r);
	flags = wire_get8(r);
	require(r, (flags & (FLAG_FIT | FLAG_SOFT)) != (FLAG_FIT | FLAG_SOFT));
	set_flags(report, flags);
	report->wish_version = wire_get32(r);
	report->term = wire_get64(r);
	report->term_seen = wire_get64(r);
	report->digest = wire_get64(r);
}

static void get_hello(struct wire_in *r, struct peer_hello *h)
{
	h->answer = get_bool(r);
	h->page = wire_get8(r);
	h->pages = wire_get8(r);
	h->n = wire_get8(r);
	h->file = wire_get64(r);
	require(r, h->page < h->pages && h->n <= PEER_SERVICES_PAGE);
	if (r->failed)
		return;
	for (unsigned i = 0; i < h->n; i++) {
		get_record(r, &h->records[i]);
		h->records[i].report.file = h->file;
	}
}

static void get_term(struct wire_in *r, struct peer_term *t)
{
	t->service = wire_get64(r);
	t->term = wire_get64(r);
	t->successor = wire_get8(r);
	require(r, t->successor < MODEL_NODES_MAX || t->successor == NO_SUCCESSOR);
	t->ending = get_bool(r);
}

static void get_advert(struct wire_in *r, struct peer_advert *a)
{
	a->service = wire_get64(r);
	a->priority = wire_get8(r);
	a->interval_ms = wire_get32(r);
	require(r, a->interval_ms > 0);
}

static void get_text(struct wire_in *r, struct peer_text *t)
{
	t->id = wire_get32(r);
	t->len = wire_get16(r);
	require(r, t->len < PEER_TEXT_MAX);
	if (r->failed)
		return;
	if (wire_get(r, t->text, t->len))
		require(r, memchr(t->text, '\0', t->len) == NULL);
	t->text[t->len] = '\0';
}

static void get_details(struct wire_in *r, struct peer_details *d)
{
	for (unsigned i = 0; i < 3; i++)
		d->load100[i] = wire_get32(r);
	d->cpu_pct = wire_get8(r);
	d->memory_available = wire_get64(r);
	d->started_at = wire_get64(r);
	d->config_digest = wire_get64(r);
}

int peer_msg_decode(const uint8_t *buf, size_t len, struct peer_msg *ret)
{
	struct peer_msg m;
	struct wire_in r;

	memset(&m, 0, sizeof(m));
	wire_in_init(&r, buf, len);
	get_header(&r, &m.h);
	if (r.failed)
		return -EBADMSG;
	switch (m.h.type) {
	case PEER_TYPE_HELLO:
		get_hello(&r, &m.hello);
		break;
	case PEER_TYPE_FENCE:
	case PEER_TYPE_FENCED:
	case PEER_TYPE_RELEASE:
	case PEER_TYPE_RELEASED:
		get_term(&r, &m.term);
		break;
	case PEER_TYPE_COMMAND:
	case PEER_TYPE_RESULT:
		get_text(&r, &m.text);
		break;
	case PEER_TYPE_DETAILS:
		get_details(&r, &m.details);
		break;
	case PEER_TYPE_ADVERT:
		get_advert(&r, &m.advert);
		break;
	case PEER_TYPE_NONE:
	case PEER_TYPES_END:
		return -EBADMSG;
	}
	if (r.failed || wire_in_left(&r) != 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}
