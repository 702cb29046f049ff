/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/wire.h"
#include "supd/engine/peer_internal.h"
#include "supd/engine/peer_seal.h"

/*
 * The peer link, what is said on it and when: to every peer a HELLO at the rate that the services
 * want.
 *
 * A HELLO is sent by the timer, at once after a change (peer_io_hello_now), to a peer that asks,
 * and to one that does not know our session (CHALLENGE).  An answer never asks, and challenges are
 * rate-limited, so two nodes cannot keep each other busy.
 *
 * Sequence numbers outlive this engine: before the first one above the ceiling that the keeper
 * knows is used, the keeper gets a new baton.
 */

#define DETAILS_PERIOD 1.0
#define IDLE_INTERVAL  MTIME_SEC(1) /* without a service */
#define LATE	       MTIME_MS(10)
#define BATON_FORMAT   1u

/* ---- the node's baton ------------------------------------------------------------------------- */

/* format 4, our session 8, then for each other node: row 1, ceiling, his session, seq, echo 8 each,
 * retired 4 x 8; 15 of them fit IPC_BATON_MAX. */
void peer_io_send_baton(struct engine *e)
{
	uint8_t buf[IPC_BATON_MAX];
	struct wire_out w;

	wire_out_init(&w, buf, sizeof(buf));
	wire_put32(&w, BATON_FORMAT);
	wire_put64(&w, e->session);
	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		struct peer_baton b;

		if (!e->peers[i].linked)
			continue;
		peer_to_baton(&e->peers[i].fsm, &b);
		wire_put8(&w, i);
		wire_put64(&w, b.seq_ceiling);
		wire_put64(&w, b.his_session);
		wire_put64(&w, b.his_seq);
		wire_put64(&w, b.his_echo);
		for (unsigned r = 0; r < 4; r++)
			wire_put64(&w, b.retired[r]);
	}
	if (!w.failed)
		keeper_send_baton(e, IPC_BATON_NODE, buf, (uint32_t)wire_out_len(&w));
}

static bool read_one_baton(struct wire_in *r, uint8_t *ret_row, struct peer_baton *ret)
{
	*ret_row = wire_get8(r);
	ret->seq_ceiling = wire_get64(r);
	ret->his_session = wire_get64(r);
	ret->his_seq = wire_get64(r);
	ret->his_echo = wire_get64(r);
	for (unsigned i = 0; i < 4; i++)
		ret->retired[i] = wire_get64(r);
	return !r->failed;
}

void peer_io_from_baton(struct engine *e, const void *data, uint32_t len)
{
	struct wire_in r;
	struct peer_baton b;
	uint8_t row;

	wire_in_init(&r, data, len);
	if (wire_get32(&r) != BATON_FORMAT) {
		log_warn("peer link: a record of another version, beginning a new session");
		return;
	}
	e->session = wire_get64(&r);
	for (uint32_t i = 0; i < e->m->n_nodes; i++)
		peer_init(&e->peers[i].fsm, (uint8_t)e->m->self, (uint8_t)i, e->session);
	b.session = e->session;
	while (wire_in_left(&r) > 0 && read_one_baton(&r, &row, &b))
		if (row < e->m->n_nodes && e->peers[row].linked)
			peer_from_baton(&e->peers[row].fsm, &b);
}

/* ---- sending ---------------------------------------------------------------------------------- */

int peer_io_send(struct engine *e, struct engine_peer *p, struct peer_msg *m)
{
	uint8_t buf[PEER_DATAGRAM_MAX];
	bool new_ceiling;
	size_t len;

	if (!peer_socket_ready(e))
		return -ENOTCONN;
	peer_stamp(&p->fsm, mtime_now(), &m->h, &new_ceiling);
	if (new_ceiling)
		peer_io_send_baton(e);
	len = peer_msg_encode(m, buf, sizeof(buf) - PEER_HMAC_LEN);
	if (len == 0)
		return -EMSGSIZE;
	peer_seal(e->m, (uint32_t)e->m->self, p->row, buf, len, buf + len);
	return peer_socket_send(p, buf, len + PEER_HMAC_LEN);
}

/* Page `page` of what we say about our services. */
static void fill_page(const struct engine *e, struct peer_msg *m, unsigned page, mtime now)
{
	uint32_t first = page * PEER_SERVICES_PAGE;
	uint32_t n = e->m->n_services - first;

	memset(m, 0, sizeof(*m));
	m->h.type = PEER_TYPE_HELLO;
	m->hello.page = (uint8_t)page;
	m->hello.file = e->details.config_digest;
	m->hello.n = (uint8_t)(n < PEER_SERVICES_PAGE ? n : PEER_SERVICES_PAGE);
	for (unsigned i = 0; i < m->hello.n; i++) {
		const struct engine_service *svc = &e->services[first + i];
		struct peer_hello_record *rec = &m->hello.records[i];

		rec->service = model_service(e->m, first + i)->hash;
		memcpy(rec->mac, svc->mac, sizeof(rec->mac));
		service_to_report(&svc->fsm, now, &rec->report);
	}
}

static unsigned page_count(const struct engine *e)
{
	unsigned n = (e->m->n_services + PEER_SERVICES_PAGE - 1) / PEER_SERVICES_PAGE;

	return n > 0 ? n : 1;
}

/* All pages; the last one asks, so that the answer knows them all.  0 or the first error. */
static int send_pages(struct engine *e, struct engine_peer *p, bool ask, mtime now)
{
	unsigned pages = page_count(e);
	struct peer_msg m;
	int first_error = 0;

	for (unsigned page = 0; page < pages; page++) {
		int r;

		fill_page(e, &m, page, now);
		m.hello.pages = (uint8_t)pages;
		m.hello.answer = ask && page == pages - 1;
		r = peer_io_send(e, p, &m);
		if (r < 0 && first_error == 0)
			first_error = r;
	}
	return first_error;
}

void peer_io_send_hello(struct engine *e, struct engine_peer *p, bool ask)
{
	send_pages(e, p, ask, mtime_now());
}

/* One page: it is the sessions that matter, and the answer has all pages. */
void peer_io_send_challenge(struct engine *e, struct engine_peer *p)
{
	struct peer_msg m;

	fill_page(e, &m, 0, mtime_now());
	m.hello.pages = (uint8_t)page_count(e);
	m.hello.answer = true;
	peer_io_send(e, p, &m);
}

/* Active or taking over: the answers are what renews S. */
static bool wants_answers(const struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		enum service_state s = e->services[i].fsm.state;

		if (s == SERVICE_STATE_ACTIVE || s == SERVICE_STATE_TAKING_OVER)
			return true;
	}
	return false;
}

static void tell_sent(struct engine *e, mtime sent_at)
{
	struct service_event ev = {.type = SERVICE_EV_SENT, .sent_at = sent_at};

	for (uint32_t i = 0; i < e->m->n_services; i++)
		engine_service_event(e, i, &ev);
}

/* ---- the rate --------------------------------------------------------------------------------- */

static mtime hello_interval(const struct engine *e, mtime now)
{
	mtime interval = e->m->n_services > 0 ? MTIME_NEVER : IDLE_INTERVAL;

	for (uint32_t i = 0; i < e->m->n_services; i++)
		interval = mtime_min(interval, service_hello_interval(&e->services[i].fsm, now));
	return interval;
}

void peer_io_update(struct engine *e)
{
	mtime now = mtime_now();
	mtime due = mtime_add(e->hello_at, hello_interval(e, now));

	if (due == e->hello_due && ev_is_active(&e->hello_timer))
		return;
	e->hello_due = due;
	if (due == MTIME_NEVER) {
		ev_timer_stop(e->loop, &e->hello_timer);
		return;
	}
	ev_now_update(e->loop);
	e->hello_timer.repeat = due > now ? (double)(due - now) / 1e9 : 0.0001;
	ev_timer_again(e->loop, &e->hello_timer);
}

/*
 * A node without linked peers has nobody to send to, and nobody who would take over because of its
 * silence: its HELLO always succeeds.
 */
void peer_io_hello_now(struct engine *e)
{
	mtime now = mtime_now();
	bool ask = wants_answers(e), sent = false, any = false;

	e->hello_at = now;
	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		if (!e->peers[i].linked)
			continue;
		any = true;
		sent |= send_pages(e, &e->peers[i], ask, now) == 0;
	}
	peer_io_update(e);
	if (sent || !any)
		tell_sent(e, now);
}

/*
 * Once a turn of the loop, before it sleeps: a HELLO speaks of every service, and when a host is
 * lost they all change at once.
 */
static void on_prepare(struct ev_loop *loop, struct ev_prepare *w, int revents)
{
	struct engine *e = w->data;

	if (e->hello_wanted) {
		e->hello_wanted = false;
		peer_io_hello_now(e);
	} else {
		peer_io_update(e);
	}
}

/* A whole interval late: the others have missed what we did not send, and may act on it. */
static void tell_stall(struct engine *e, mtime late, mtime now)
{
	uint64_t missed;

	if (e->hello_at != 0 && e->hello_due != 0 && late > hello_interval(e, now) &&
	    ratelimit_pass(&e->stall_log, now, &missed))
		log_warn("this process stood still for %lld ms (%llu more times before), going on; an "
			 "active service does not survive a long one (supd --check-config)",
			 (long long)mtime_to_ms(late), (unsigned long long)missed);
}

/*
 * After a stall of ours the news of that time come first: a HELLO that still says "active" would
 * keep a peer waiting for a service that the keeper has killed.
 */
static void on_hello_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;

	mtime now = mtime_now(), late = now - e->hello_due;

	if (late > LATE)
		engine_drain(e);
	tell_stall(e, late, now);
	peer_socket_judge(e);
	peer_io_hello_now(e);
}

static void on_details_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	struct engine_peer *self = &e->peers[e->m->self];
	mtime now = mtime_now();
	struct peer_msg m;

	memset(&m, 0, sizeof(m));
	m.h.type = PEER_TYPE_DETAILS;
	details_read(&e->details, &m.details);
	m.details.started_at = (uint64_t)time(NULL) -
			       (uint64_t)((now - e->supd_started) / MTIME_SEC(1));
	self->details = m.details;
	self->details_at = now;
	self->has_details = true;
	for (uint32_t i = 0; i < e->m->n_nodes; i++)
		if (e->peers[i].linked)
			peer_io_send(e, &e->peers[i], &m);
}

/* ---- what the others ask to be sent ----------------------------------------------------------- */

void peer_io_send_term(struct engine *e, int peer, enum peer_type type, uint32_t service,
		       uint64_t term, unsigned successor, bool ending)
{
	struct peer_msg m;

	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		if (!e->peers[i].linked || (peer != MODEL_NONE && (uint32_t)peer != i))
			continue;
		memset(&m, 0, sizeof(m));
		m.h.type = type;
		m.term.service = model_service(e->m, service)->hash;
		m.term.term = term;
		m.term.successor = successor < e->m->n_nodes ? (uint8_t)successor : 0xff;
		m.term.ending = ending;
		peer_io_send(e, &e->peers[i], &m);
	}
}

unsigned peer_io_send_advert(struct engine *e, uint32_t service, uint8_t priority)
{
	const struct model_service *ms = model_service(e->m, service);
	struct peer_msg m;
	unsigned sent = 0;

	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		if (!e->peers[i].linked)
			continue;
		memset(&m, 0, sizeof(m));
		m.h.type = PEER_TYPE_ADVERT;
		m.advert.service = ms->hash;
		m.advert.priority = priority;
		m.advert.interval_ms = (uint32_t)mtime_to_ms(ms->advert_int);
		sent += peer_io_send(e, &e->peers[i], &m) == 0;
	}
	return sent;
}

static int send_text(struct engine *e, uint32_t peer, enum peer_type type, uint32_t id,
		     const char *text)
{
	size_t len = strlen(text);
	struct peer_msg m;

	if (peer >= e->m->n_nodes || !e->peers[peer].linked)
		return -EHOSTUNREACH;
	if (len >= PEER_TEXT_MAX)
		return -EMSGSIZE;
	memset(&m, 0, sizeof(m));
	m.h.type = type;
	m.text.id = id;
	m.text.len = (uint16_t)len;
	memcpy(m.text.text, text, len);
	return peer_io_send(e, &e->peers[peer], &m);
}

int peer_io_send_command(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	return send_text(e, peer, PEER_TYPE_COMMAND, id, json);
}

int peer_io_send_result(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	return send_text(e, peer, PEER_TYPE_RESULT, id, json);
}

/* ---- the beginning ---------------------------------------------------------------------------- */

static uint64_t new_session(void)
{
	uint64_t session = 0;

	while (session == 0)
		randombytes_buf(&session, sizeof(session));
	return session;
}

static void init_peer(struct engine *e, uint32_t i)
{
	struct engine_peer *p = &e->peers[i];

	memset(p, 0, sizeof(*p));
	p->engine = e;
	p->row = i;
	p->linked = model_node(e->m, i)->peer_link && (int)i != e->m->self;
	peer_socket_init_peer(p);
	peer_init(&p->fsm, (uint8_t)e->m->self, (uint8_t)i, e->session);
}

void peer_io_init(struct engine *e)
{
	if (sodium_init() < 0)
		die("libsodium does not start");
	peer_socket_init(e);
	e->session = new_session();
	for (uint32_t i = 0; i < e->m->n_nodes; i++)
		init_peer(e, i);
	details_init(&e->details, e->m);
	ev_prepare_init(&e->hello_prepare, on_prepare);
	e->hello_prepare.data = e;
	ev_prepare_start(e->loop, &e->hello_prepare);
	ev_init(&e->hello_timer, on_hello_timer);
	e->hello_timer.data = e;
	ev_timer_init(&e->details_timer, on_details_timer, 0., DETAILS_PERIOD);
	e->details_timer.data = e;
	ev_timer_again(e->loop, &e->details_timer);
}
