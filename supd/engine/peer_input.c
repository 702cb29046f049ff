/* SPDX-License-Identifier: MIT */
#include "supd/engine/peer_internal.h"

#include <string.h>

#include "common/log.h"
#include "supd/engine/peer_seal.h"

/*
 * A datagram of the peer link, from the wire to events: a column of guards, each with its counter.
 *
 *   source is an address of the node that it claims to come from -> seal -> form -> freshness
 *
 * Until the seal is verified nothing of it is believed, and nothing is answered.
 */

#define OFFSET_FROM 6 /* of the sender's row in the header (core/peer_msg.h) */

/* ---- guards ----------------------------------------------------------------------------------- */

static void complain_stray(struct engine *e, const struct ip_addr *source)
{
	char text[IP_ADDR_TEXT];
	uint64_t missed;

	e->strays++;
	if (ratelimit_pass(&e->stray_complaint, mtime_now(), &missed))
		log_warn("peer link: datagram from %s, no address of the node that it claims "
			 "to be, dropped (%llu so far): are the [node:*] sections the same on all "
			 "hosts?",
			 ip_addr_text(source, text), (unsigned long long)e->strays);
}

static void complain_seal(struct engine *e, struct engine_peer *p)
{
	uint64_t missed;

	p->bad_hmac++;
	if (ratelimit_pass(&p->complaint, mtime_now(), &missed))
		log_warn("peer %s: datagram with a wrong seal, dropped (%llu so far): key differs? "
			 "key_file, cluster and [node:*] must be the same on all hosts",
			 model_node_name(e->m, p->row), (unsigned long long)p->bad_hmac);
}

static void complain_form(struct engine *e, struct engine_peer *p)
{
	uint64_t missed;

	p->malformed++;
	if (ratelimit_pass(&p->complaint, mtime_now(), &missed))
		log_warn("peer %s: sealed datagram that this version does not understand, dropped "
			 "(%llu so far): another version of supd there?",
			 model_node_name(e->m, p->row), (unsigned long long)p->malformed);
}

static void complain_verdict(struct engine *e, struct engine_peer *p, enum peer_verdict v)
{
	uint64_t missed;

	p->rejected[v]++;
	if (v != PEER_VERDICT_CHALLENGE && ratelimit_pass(&p->complaint, mtime_now(), &missed))
		log_info("peer %s: %s, dropped (%llu so far): duplicated or recorded datagrams?",
			 model_node_name(e->m, p->row), peer_verdict_name(v),
			 (unsigned long long)p->rejected[v]);
}

/* The linked peer that the datagram claims to come from, where the source fits; else NULL. */
static struct engine_peer *find_peer(struct engine *e, unsigned own,
				     const struct ip_addr *source,
				     const uint8_t *buf, size_t len, unsigned *ret_path)
{
	uint8_t row;
	int path;

	if (len < PEER_HEADER_LEN + PEER_HMAC_LEN || len > PEER_DATAGRAM_MAX)
		return NULL;
	row = buf[OFFSET_FROM];
	if (row >= e->m->n_nodes || !e->peers[row].linked)
		return NULL;
	path = peer_path_of(&e->peers[row], own, source);
	if (path < 0)
		return NULL;
	*ret_path = (unsigned)path;
	return &e->peers[row];
}

/* ---- what it says ----------------------------------------------------------------------------- */

static int find_service(const struct engine *e, uint64_t hash)
{
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (model_service(e->m, i)->hash == hash)
			return (int)i;
	return MODEL_NONE;
}

static struct service_event event_of(const struct engine_peer *p, enum service_event_type type)
{
	struct service_event ev = {.type = type, .peer = p->row, .echoed = p->fsm.echoed};

	return ev;
}

/* The peer lives: for every service but those that have an event of their own. */
static void tell_heard(struct engine *e, const struct engine_peer *p, const bool *told)
{
	struct service_event ev = event_of(p, SERVICE_EV_HEARD);

	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (!told || !told[i])
			engine_service_event(e, i, &ev);
}

static void note_mac(struct engine_service *svc, uint32_t node, const uint8_t mac[6])
{
	static const uint8_t none[6];

	if (memcmp(mac, none, sizeof(none)) != 0)
		memcpy(svc->node_mac[node], mac, 6);
}

static void handle_hello(struct engine *e, struct engine_peer *p, const struct peer_hello *h)
{
	struct service_event ev = event_of(p, SERVICE_EV_HELLO);
	bool told[MODEL_SERVICES_MAX] = {false};

	for (unsigned i = 0; i < h->n; i++) {
		int row = find_service(e, h->records[i].service);

		if (row == MODEL_NONE) {
			p->unknown_services++;
			continue;
		}
		told[row] = true;
		note_mac(&e->services[row], p->row, h->records[i].mac);
		ev.report = &h->records[i].report;
		engine_service_event(e, (uint32_t)row, &ev);
	}
	tell_heard(e, p, told);
	if (h->answer)
		peer_io_send_hello(e, p, false);
}

static void handle_term(struct engine *e, struct engine_peer *p, const struct peer_term *t,
			enum service_event_type type)
{
	struct service_event ev = event_of(p, type);
	bool told[MODEL_SERVICES_MAX] = {false};
	int row = find_service(e, t->service);

	ev.term = t->term;
	ev.successor = t->successor;
	ev.ending = t->ending;
	if (row == MODEL_NONE) {
		p->unknown_services++;
	} else {
		told[row] = true;
		engine_service_event(e, (uint32_t)row, &ev);
	}
	tell_heard(e, p, told);
}

static void handle_advert(struct engine *e, struct engine_peer *p, const struct peer_advert *a)
{
	int row = find_service(e, a->service);

	if (row == MODEL_NONE)
		p->unknown_services++;
	else
		vrrp_io_hear(e, (uint32_t)row, p->row, a->priority, MTIME_MS(a->interval_ms));
	tell_heard(e, p, NULL);
}

static void handle_details(struct engine_peer *p, const struct peer_details *d, mtime now)
{
	p->details = *d;
	p->has_details = true;
	p->details_at = now;
}

static void dispatch(struct engine *e, struct engine_peer *p, const struct peer_msg *m, mtime now)
{
	switch (m->h.type) {
	case PEER_TYPE_HELLO:
		handle_hello(e, p, &m->hello);
		return;
	case PEER_TYPE_FENCE:
		handle_term(e, p, &m->term, SERVICE_EV_FENCE);
		return;
	case PEER_TYPE_FENCED:
		handle_term(e, p, &m->term, SERVICE_EV_FENCED);
		return;
	case PEER_TYPE_RELEASE:
		handle_term(e, p, &m->term, SERVICE_EV_RELEASE);
		return;
	case PEER_TYPE_RELEASED:
		handle_term(e, p, &m->term, SERVICE_EV_RELEASED);
		return;
	case PEER_TYPE_COMMAND:
		tell_heard(e, p, NULL);
		control_remote_command(e, p->row, m->text.id, m->text.text);
		return;
	case PEER_TYPE_RESULT:
		tell_heard(e, p, NULL);
		control_remote_result(e, p->row, m->text.id, m->text.text);
		return;
	case PEER_TYPE_DETAILS:
		tell_heard(e, p, NULL);
		handle_details(p, &m->details, now);
		return;
	case PEER_TYPE_ADVERT:
		handle_advert(e, p, &m->advert);
		return;
	case PEER_TYPE_NONE:
	case PEER_TYPES_END:
		return;
	}
}

/* The keeper must know the session in force before anything that the message causes. */
static void note_session(struct engine *e, struct engine_peer *p, uint64_t before)
{
	if (p->fsm.his_session == before)
		return;
	log_notice("peer %s: %s", model_node_name(e->m, p->row),
		   before == 0 ? "connected" : "has started anew");
	peer_io_send_baton(e);
}

/* Whether the peer is heard by this path, which it may be by a message that we know already. */
static bool note_path(struct engine *e, struct engine_peer *p, unsigned path,
		      const struct peer_header *h, mtime now)
{
	return peer_paths_hear(&p->paths, path, h->session, h->seq, now, peer_socket_patience(e));
}

/* Of what proves no session, only these two say something; echoed stays 0. */
static void tell_unproven(struct engine *e, struct engine_peer *p, const struct peer_msg *m)
{
	struct service_event ev = {.type = SERVICE_EV_UNPROVEN, .peer = p->row};
	int row;

	if (m->h.type == PEER_TYPE_FENCE) {
		row = find_service(e, m->term.service);
		ev.term = m->term.term;
		if (row != MODEL_NONE)
			engine_service_event(e, (uint32_t)row, &ev);
	}
	if (m->h.type != PEER_TYPE_HELLO || !peer_is_news(&p->fsm, &m->h))
		return;
	for (unsigned i = 0; i < m->hello.n; i++) {
		row = find_service(e, m->hello.records[i].service);
		ev.report = &m->hello.records[i].report;
		if (row != MODEL_NONE)
			engine_service_event(e, (uint32_t)row, &ev);
	}
}

static void refuse(struct engine *e, struct engine_peer *p, unsigned path,
		   const struct peer_msg *m, enum peer_verdict v)
{
	const struct peer_header *h = &m->h;
	mtime now = mtime_now();

	if (v == PEER_VERDICT_REPLAY && peer_is_copy(&p->fsm, h) && note_path(e, p, path, h, now)) {
		p->copies++;
		return;
	}
	complain_verdict(e, p, v);
	if (v == PEER_VERDICT_CHALLENGE && peer_may_challenge(&p->fsm, now))
		peer_io_send_challenge(e, p);
	if (v == PEER_VERDICT_CHALLENGE)
		tell_unproven(e, p, m);
}

void peer_input(struct engine *e, unsigned own, const struct ip_addr *source,
		const uint8_t *buf, size_t len)
{
	unsigned path;
	struct engine_peer *p = find_peer(e, own, source, buf, len, &path);
	mtime now = mtime_now();
	enum peer_verdict verdict;
	struct peer_msg m;
	uint64_t session;

	if (!p) {
		complain_stray(e, source);
		return;
	}
	if (!peer_seal_verify(e->m, p->row, (uint32_t)e->m->self, buf, len)) {
		complain_seal(e, p);
		return;
	}
	if (peer_msg_decode(buf, len - PEER_HMAC_LEN, &m) < 0) {
		complain_form(e, p);
		return;
	}
	session = p->fsm.his_session;
	verdict = peer_receive(&p->fsm, &m.h, now);
	if (verdict != PEER_VERDICT_ACCEPT) {
		refuse(e, p, path, &m, verdict);
		return;
	}
	note_path(e, p, path, &m.h, now);
	note_session(e, p, session);
	dispatch(e, p, &m, now);
}
