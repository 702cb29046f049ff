/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/engine/peer_internal.h"
#include "supd/engine/peer_seal.h"
#include "tests/unit/tiny_model.h"

/*
 * Two engines' peer links over real sockets on loopback (127.0.0.2, .3; the second path of those
 * that have two is 127.0.1.2, .3), in one process; the rest of each engine is a recorder.
 */
#define A 0
#define B 1
#define STRANGER "127.0.0.4"
#define EVENTS_MAX 1024
#define HASH 0x5eed /* of the first service */
#define MANY (2 * PEER_SERVICES_PAGE + 1)

struct side {
	struct tiny_model model;
	struct engine *e;
	struct {
		enum service_event_type type;
		struct service_event ev;
		struct service_report report;
	} events[EVENTS_MAX];
	unsigned n_events, n_batons, n_drains;
	uint8_t baton[IPC_BATON_MAX];
	uint32_t baton_len;
	char command[PEER_TEXT_MAX], result[PEER_TEXT_MAX];
	uint32_t id;
};

struct fixture {
	struct side side[2];
	uint16_t port;
};

static struct fixture *fixture; /* for the stubs, which get an engine only */

static struct side *side_of(const struct engine *e)
{
	return &fixture->side[fixture->side[B].e == e ? B : A];
}

/* ---- the rest of the engine ------------------------------------------------------------------- */

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	struct side *s = side_of(e);

	assert_true(row < e->m->n_services);
	assert_true(s->n_events < EVENTS_MAX);
	s->events[s->n_events].type = ev->type;
	s->events[s->n_events].ev = *ev;
	if (ev->report)
		s->events[s->n_events].report = *ev->report;
	s->n_events++;
}

void engine_drain(struct engine *e)
{
	side_of(e)->n_drains++;
}

void keeper_send_baton(struct engine *e, uint32_t slot, const void *data, uint32_t len)
{
	struct side *s = side_of(e);

	assert_int_equal(slot, IPC_BATON_NODE);
	assert_true(len <= sizeof(s->baton));
	memcpy(s->baton, data, len);
	s->baton_len = len;
	s->n_batons++;
}

void control_remote_command(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	snprintf(side_of(e)->command, PEER_TEXT_MAX, "%s", json);
	side_of(e)->id = id;
}

void control_remote_result(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	snprintf(side_of(e)->result, PEER_TEXT_MAX, "%s", json);
	side_of(e)->id = id;
}

/* ---- set-up ----------------------------------------------------------------------------------- */

static int bind_udp(const char *address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, address, &sa.sin_addr), 1);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fd_close(&fd);
	return fd;
}

static const char *address_of(int i)
{
	return i == A ? "127.0.0.2" : "127.0.0.3";
}

static void open_sockets(struct fixture *f)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	int a, b = -1;

	for (int attempt = 0; b < 0 && attempt < 20; attempt++) {
		a = bind_udp(address_of(A), 0);
		assert_int_equal(getsockname(a, (struct sockaddr *)&sa, &len), 0);
		f->port = ntohs(sa.sin_port);
		b = bind_udp(address_of(B), f->port);
		if (b < 0)
			close(a);
	}
	assert_true(b >= 0);
	for (int i = 0; i < 2; i++) {
		f->side[i].model.m->supd.peer_port = f->port;
		peer_io_init(f->side[i].e);
	}
	peer_io_open(f->side[A].e, 0, a);
	peer_io_open(f->side[B].e, 0, b);
}

static void init_service(struct engine *e, uint32_t row)
{
	struct service_config c = {.self = (unsigned)e->m->self, .n_nodes = 2,
				   .advert_int = MTIME_SEC(1), .digest = 77 + row};

	for (unsigned i = 0; i < 2; i++)
		c.nodes[i] = (struct service_node){.priority = (uint8_t)(100 + i),
						   .address = 0x7f000002 + i, .peer_link = true};
	service_init(&e->services[row].fsm, &c, mtime_now());
	memset(e->services[row].mac, 0x10 + e->m->self, 6);
}

static void init_side(struct side *s, int self, uint32_t n_services)
{
	s->model = tiny_model_new(2, n_services, 0);
	s->model.m->self = self;
	s->model.m->supd.cluster = tiny_str(&s->model, "cluster");
	memset(s->model.m->supd.key, 0x42, sizeof(s->model.m->supd.key));
	for (int i = 0; i < 2; i++) {
		struct model_node *n = tiny_node(&s->model, (uint32_t)i);

		n->name = tiny_str(&s->model, i == A ? "a" : "b");
		n->peer_link = true;
		assert_int_equal(ip_addr_parse(address_of(i), &n->address), 0);
	}
	for (uint32_t i = 0; i < n_services; i++) {
		tiny_service(&s->model, i)->name = tiny_str(&s->model, "s");
		tiny_service(&s->model, i)->hash = HASH + i;
	}
	s->e = calloc(1, sizeof(*s->e));
	assert_non_null(s->e);
	s->e->m = s->model.m;
	s->e->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	s->e->supd_started = mtime_now();
	s->e->services = calloc(n_services, sizeof(s->e->services[0]));
	for (uint32_t i = 0; i < n_services; i++)
		init_service(s->e, i);
	for (unsigned path = 0; path < MODEL_PATHS_MAX; path++)
		s->e->peer_paths[path].fd = -1;
}

static int set_up_services(void **state, uint32_t n)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fixture = f;
	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < 2; i++)
		init_side(&f->side[i], i, n);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_services(state, 1);
}

static int set_up_many(void **state)
{
	return set_up_services(state, MANY);
}

/* A second path: to both nodes, or to A alone. */
static int set_up_paths(void **state, bool of_b)
{
	int r = set_up(state);
	struct fixture *f = *state;

	for (int i = 0; r == 0 && i < 2; i++) {
		struct tiny_model *t = &f->side[i].model;

		tiny_node(t, A)->n_further = 1;
		tiny_node(t, A)->further[0] = ip_addr_v4(inet_addr("127.0.1.2"));
		tiny_node(t, B)->n_further = of_b;
		tiny_node(t, B)->further[0] = ip_addr_v4(inet_addr("127.0.1.3"));
	}
	return r;
}

static int set_up_two_paths(void **state)
{
	return set_up_paths(state, true);
}

static int set_up_uneven_paths(void **state)
{
	return set_up_paths(state, false);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct engine *e = f->side[i].e;

		for (unsigned path = 0; path < MODEL_PATHS_MAX; path++)
			peer_io_open(e, path, -1);
		fd_close(&e->details.loadavg_fd);
		fd_close(&e->details.meminfo_fd);
		fd_close(&e->details.stat_fd);
		ev_loop_destroy(e->loop);
		free(e->services);
		free(e);
		free(f->side[i].model.m);
	}
	free(f);
	return 0;
}

/* Until nobody has anything to read: loopback delivers at once. */
static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++) {
		peer_io_drain(f->side[A].e);
		peer_io_drain(f->side[B].e);
	}
}

static void forget(struct fixture *f)
{
	f->side[A].n_events = f->side[B].n_events = 0;
}

static bool know_each_other(const struct fixture *f)
{
	return f->side[A].e->peers[B].fsm.his_session == f->side[B].e->session &&
	       f->side[B].e->peers[A].fsm.his_session == f->side[A].e->session;
}

/* Where a challenge has just gone out, the next HELLO causes the next one. */
static void await_contact(struct fixture *f)
{
	mtime give_up = mtime_now() + MTIME_SEC(10);

	settle(f);
	while (!know_each_other(f)) {
		assert_true(mtime_now() < give_up);
		usleep(1000);
		peer_io_hello_now(f->side[A].e);
		settle(f);
		forget(f);
	}
}

static void connect_both(struct fixture *f)
{
	open_sockets(f);
	settle(f);
	assert_true(know_each_other(f));
	forget(f);
}

static const struct service_event *find_event(const struct side *s, enum service_event_type type)
{
	for (unsigned i = 0; i < s->n_events; i++)
		if (s->events[i].type == type)
			return &s->events[i].ev;
	return NULL;
}

/* The first of its kind, which must be there. */
static struct service_event the_event(const struct side *s, enum service_event_type type)
{
	const struct service_event *found = find_event(s, type);
	struct service_event none = {.type = SERVICE_EV_TICK};

	assert_non_null(found);
	return found ? *found : none;
}

static unsigned count_events(const struct side *s, enum service_event_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_events; i++)
		n += s->events[i].type == type;
	return n;
}

/* ---- tests ------------------------------------------------------------------------------------ */

static void strangers_connect_by_themselves(void **state)
{
	struct fixture *f = *state;

	open_sockets(f);
	settle(f);
	assert_true(know_each_other(f));
}

static void hello_carries_the_report_and_the_mac(void **state)
{
	struct fixture *f = *state;
	struct service_event ev;
	static const uint8_t mac[6] = {0x10, 0x10, 0x10, 0x10, 0x10, 0x10};

	connect_both(f);
	peer_io_hello_now(f->side[A].e);
	settle(f);
	ev = the_event(&f->side[B], SERVICE_EV_HELLO);
	assert_int_equal(ev.peer, A);
	assert_true(ev.echoed != 0 && ev.echoed <= mtime_now());
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_HEARD), 0); /* HELLO says it too */
	assert_memory_equal(f->side[B].e->services[0].node_mac[A], mac, 6);
	for (unsigned i = 0; i < f->side[B].n_events; i++)
		if (f->side[B].events[i].type == SERVICE_EV_HELLO)
			assert_int_equal(f->side[B].events[i].report.digest, 77);
}

static void a_sent_hello_is_told_with_a_time_before_the_sending(void **state)
{
	struct fixture *f = *state;
	struct service_event ev;
	mtime before;

	connect_both(f);
	before = mtime_now();
	peer_io_hello_now(f->side[A].e);
	ev = the_event(&f->side[A], SERVICE_EV_SENT);
	assert_true(ev.sent_at >= before && ev.sent_at <= mtime_now());
}

static void without_a_socket_nothing_counts_as_sent(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	peer_io_open(f->side[A].e, 0, -1);
	peer_io_hello_now(f->side[A].e);
	assert_null(find_event(&f->side[A], SERVICE_EV_SENT));
	assert_int_equal(peer_io_send_command(f->side[A].e, B, 1, "{}"), -ENOTCONN);
}

static void a_node_without_linked_peers_is_never_silent(void **state)
{
	struct fixture *f = *state;

	tiny_node(&f->side[A].model, B)->peer_link = false;
	peer_io_init(f->side[A].e);
	peer_io_hello_now(f->side[A].e);
	assert_non_null(find_event(&f->side[A], SERVICE_EV_SENT));
}

/* An active node asks, the other one answers, and that is all. */
static void a_hello_that_asks_is_answered_once(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	f->side[A].e->services[0].fsm.state = SERVICE_STATE_ACTIVE;
	f->side[B].e->services[0].fsm.state = SERVICE_STATE_ACTIVE; /* both would ask */
	peer_io_hello_now(f->side[A].e);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_HELLO), 1);
	assert_int_equal(count_events(&f->side[A], SERVICE_EV_HELLO), 1);
	assert_int_equal(the_event(&f->side[A], SERVICE_EV_HELLO).echoed,
			 f->side[A].e->peers[B].fsm.echoed);
}

static void terms_arrive_with_their_fields(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum peer_type type;
		enum service_event_type event;
	} cases[] = {{PEER_TYPE_FENCE, SERVICE_EV_FENCE},
		     {PEER_TYPE_FENCED, SERVICE_EV_FENCED},
		     {PEER_TYPE_RELEASE, SERVICE_EV_RELEASE},
		     {PEER_TYPE_RELEASED, SERVICE_EV_RELEASED}};

	connect_both(f);
	for (size_t i = 0; i < 4; i++) {
		struct service_event ev;

		forget(f);
		peer_io_send_term(f->side[A].e, i % 2 ? B : MODEL_NONE, cases[i].type, 0, 257 + i,
				  i % 2 ? B : MODEL_NODES_MAX, i == 2);
		settle(f);
		assert_int_equal(f->side[B].n_events, 1);
		ev = the_event(&f->side[B], cases[i].event);
		assert_int_equal(ev.peer, A);
		assert_int_equal(ev.term, 257 + i);
		assert_int_equal(ev.ending, i == 2);
		if (i % 2)
			assert_int_equal(ev.successor, B);
		else
			assert_true(ev.successor >= MODEL_NODES_MAX);
	}
}

static void an_advert_goes_by_the_peer_link_where_the_transport_is_udp(void **state)
{
	struct fixture *f = *state;
	struct side *b = &f->side[B];
	struct service_event ev;

	connect_both(f);
	for (int i = 0; i < 2; i++) {
		tiny_service(&f->side[i].model, 0)->transport = MODEL_TRANSPORT_UDP;
		tiny_service(&f->side[i].model, 0)->advert_int = MTIME_MS(110);
		f->side[i].e->services[0].engine = f->side[i].e;
	}
	forget(f);
	vrrp_io_send(f->side[A].e, 0, VRRP_PRIO_RELEASE);
	settle(f);
	ev = the_event(b, SERVICE_EV_ADVERT);
	assert_int_equal(ev.peer, A);
	assert_int_equal(ev.priority, VRRP_PRIO_RELEASE);
	assert_int_equal(ev.interval, MTIME_MS(110));
	assert_int_equal(f->side[A].e->services[0].adverts_sent, 1);
	assert_int_equal(b->e->services[0].adverts_received, 1);

	/* Where it is another here the peer is heard, but its advert is not. */
	tiny_service(&b->model, 0)->transport = MODEL_TRANSPORT_IP;
	forget(f);
	vrrp_io_send(f->side[A].e, 0, 150);
	settle(f);
	assert_int_equal(b->n_events, 1);
	assert_int_equal(b->events[0].type, SERVICE_EV_HEARD);
	assert_int_equal(b->e->services[0].adverts_received, 1);
}

static void commands_and_results_find_their_way(void **state)
{
	struct fixture *f = *state;
	char longest[PEER_TEXT_MAX + 1];

	connect_both(f);
	assert_int_equal(peer_io_send_command(f->side[A].e, B, 7, "{\"command\":\"x\"}"), 0);
	settle(f);
	assert_string_equal(f->side[B].command, "{\"command\":\"x\"}");
	assert_int_equal(f->side[B].id, 7);
	assert_int_equal(peer_io_send_result(f->side[B].e, A, 7, "{}"), 0);
	settle(f);
	assert_string_equal(f->side[A].result, "{}");
	memset(longest, 'x', sizeof(longest));
	longest[PEER_TEXT_MAX] = '\0';
	assert_int_equal(peer_io_send_command(f->side[A].e, B, 8, longest), -EMSGSIZE);
	longest[PEER_TEXT_MAX - 1] = '\0';
	assert_int_equal(peer_io_send_command(f->side[A].e, B, 8, longest), 0);
	assert_int_equal(peer_io_send_command(f->side[A].e, A, 8, "{}"), -EHOSTUNREACH);
	assert_int_equal(peer_io_send_command(f->side[A].e, 9, 8, "{}"), -EHOSTUNREACH);
}

static void details_come_once_a_second(void **state)
{
	struct fixture *f = *state;
	struct engine *e = f->side[A].e;

	connect_both(f);
	ev_invoke(e->loop, &e->details_timer, EV_TIMER);
	settle(f);
	assert_true(f->side[B].e->peers[A].has_details);
	assert_true(e->peers[A].has_details); /* of itself */
	assert_true(f->side[B].e->peers[A].details.memory_available > 0);
	assert_true(f->side[B].e->peers[A].details.started_at > 1000000000);
	assert_int_equal(f->side[B].e->peers[A].details.config_digest,
			 f->side[B].e->details.config_digest);
	assert_non_null(find_event(&f->side[B], SERVICE_EV_HEARD));
}

/*
 * supd of this side is started anew, or only its engine, which goes on from the record that the
 * keeper has.  The socket is net's, and stays.
 */
static void start_anew(struct side *s, bool only_engine)
{
	struct engine *e = s->e;
	int fd = fcntl(e->peer_paths[0].fd, F_DUPFD_CLOEXEC, 3);

	peer_io_open(e, 0, -1);
	fd_close(&e->details.loadavg_fd);
	fd_close(&e->details.meminfo_fd);
	fd_close(&e->details.stat_fd);
	ev_timer_stop(e->loop, &e->details_timer);
	ev_timer_stop(e->loop, &e->hello_timer);
	peer_io_init(e);
	if (only_engine)
		peer_io_from_baton(e, s->baton, s->baton_len);
	peer_io_open(e, 0, fd);
}

/* ---- what must not be believed ---------------------------------------------------------------- */

/* A sealed FENCE as node A would send it to B, all numbers right. */
static size_t forge(struct fixture *f, uint8_t *buf)
{
	struct peer_fsm *as = &f->side[A].e->peers[B].fsm;
	struct peer_msg m;
	bool new_ceiling;
	size_t len;

	memset(&m, 0, sizeof(m));
	m.h.type = PEER_TYPE_FENCE;
	peer_stamp(as, mtime_now(), &m.h, &new_ceiling);
	m.term.service = HASH;
	m.term.term = 999;
	m.term.successor = 0xff;
	len = peer_msg_encode(&m, buf, PEER_DATAGRAM_MAX);
	peer_seal(f->side[A].e->m, A, B, buf, len, buf + len);
	return len + PEER_HMAC_LEN;
}

static void send_from(int fd, struct fixture *f, int to, const uint8_t *buf, size_t len)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(f->port)};

	inet_pton(AF_INET, address_of(to), &sa.sin_addr);
	assert_int_equal(sendto(fd, buf, len, 0, (struct sockaddr *)&sa, sizeof(sa)), len);
}

static void only_the_nodes_own_address_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	int stranger = bind_udp(STRANGER, f->port);
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	send_from(stranger, f, B, buf, len);
	settle(f);
	assert_int_equal(f->side[B].n_events, 0);
	assert_int_equal(f->side[B].e->strays, 1);
	send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len); /* the same, from the right place */
	settle(f);
	assert_non_null(find_event(&f->side[B], SERVICE_EV_FENCE));
	close(stranger);
}

static void every_changed_bit_breaks_the_seal(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	for (size_t bit = 0; bit < len * 8; bit++) {
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
		peer_io_drain(f->side[B].e);
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(f->side[B].n_events, 0);
	assert_int_equal(f->side[B].e->peers[A].bad_hmac + f->side[B].e->strays, len * 8);
}

static void another_key_cluster_or_name_is_another_world(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	struct model *m = f->side[B].model.m;
	struct model_str cluster = m->supd.cluster, name = tiny_node(&f->side[B].model, A)->name;
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	assert_true(peer_seal_verify(m, A, B, buf, len));
	assert_false(peer_seal_verify(m, B, A, buf, len));
	assert_false(peer_seal_verify(m, A, B, buf, len - 1));
	assert_false(peer_seal_verify(m, A, B, buf, PEER_HMAC_LEN - 1));
	m->supd.key[31] ^= 1;
	assert_false(peer_seal_verify(m, A, B, buf, len));
	m->supd.key[31] ^= 1;
	m->supd.cluster = tiny_str(&f->side[B].model, "cluster2");
	assert_false(peer_seal_verify(m, A, B, buf, len));
	m->supd.cluster = cluster;
	tiny_node(&f->side[B].model, A)->name = tiny_str(&f->side[B].model, "aa");
	assert_false(peer_seal_verify(m, A, B, buf, len));
	tiny_node(&f->side[B].model, A)->name = name;
	assert_true(peer_seal_verify(m, A, B, buf, len));
}

static void a_replay_is_counted_and_causes_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	for (int i = 0; i < 3; i++)
		send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 1);
	assert_int_equal(f->side[B].e->peers[A].rejected[PEER_VERDICT_REPLAY], 2);
}

static void noise_is_counted_and_causes_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX] = {0};

	connect_both(f);
	for (size_t len = 0; len <= sizeof(buf); len += 35)
		send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(f->side[B].n_events, 0);
}

static void nothing_of_a_session_before_is_believed(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_both(f);
	len = forge(f, buf); /* never arrives */
	start_anew(&f->side[A], false);
	await_contact(f);
	forget(f);
	send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(f->side[B].n_events, 0);
	assert_int_equal(f->side[B].e->peers[A].rejected[PEER_VERDICT_RETIRED], 1);
}

/*
 * Said to B before it was started anew: authentic, so it is answered, but not believed; and who
 * plays it back ever faster makes B send no faster.
 */
static void a_recording_is_answered_slowly_and_believed_never(void **state)
{
	struct fixture *f = *state;
	struct side *b = &f->side[B];
	const struct peer_fsm *bs = &b->e->peers[A].fsm;
	uint8_t buf[PEER_DATAGRAM_MAX];
	uint64_t first;
	mtime begun;
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	start_anew(b, false);
	forget(f);
	begun = mtime_now();
	first = bs->seq;
	for (int i = 0; i < 2000; i++) {
		send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
		peer_io_drain(b->e);
		/* what it claims is handed on as a claim, and as nothing else */
		assert_int_equal(b->n_events, count_events(b, SERVICE_EV_UNPROVEN));
		b->n_events = 0;
	}
	assert_true(bs->seq - first <= 1 + (uint64_t)((mtime_now() - begun) / MTIME_MS(20)));
}

static uint64_t total_sent(const struct fixture *f)
{
	return f->side[A].e->peers[B].fsm.seq + f->side[B].e->peers[A].fsm.seq;
}

/* Both ask, neither knows the other: a few datagrams, and then silence until a timer is due. */
static void contact_settles(void **state)
{
	struct fixture *f = *state;
	uint64_t sent;

	f->side[A].e->services[0].fsm.state = SERVICE_STATE_ACTIVE;
	f->side[B].e->services[0].fsm.state = SERVICE_STATE_TAKING_OVER;
	open_sockets(f);
	settle(f);
	sent = total_sent(f);
	assert_true(sent <= 10);
	settle(f);
	assert_int_equal(total_sent(f), sent);
	start_anew(&f->side[A], true);
	start_anew(&f->side[B], true);
	sent = total_sent(f);
	settle(f);
	assert_true(total_sent(f) - sent <= 10);
}

/* ---- several pages ---------------------------------------------------------------------------- */

static void every_page_arrives_and_one_answer_is_enough(void **state)
{
	struct fixture *f = *state;
	uint64_t sent;

	connect_both(f);
	f->side[A].e->services[MANY - 1].fsm.state = SERVICE_STATE_ACTIVE;
	sent = total_sent(f);
	peer_io_hello_now(f->side[A].e);
	settle(f);
	assert_int_equal(total_sent(f) - sent, 2 * 3); /* pages, and those of the answer */
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_HELLO), MANY);
	assert_int_equal(count_events(&f->side[A], SERVICE_EV_HELLO), MANY);
}

static void strangers_with_many_pages_connect_without_a_storm(void **state)
{
	struct fixture *f = *state;

	open_sockets(f);
	settle(f);
	assert_true(know_each_other(f));
	/* First words, two challenges of one page, an answer to each. */
	assert_int_equal(total_sent(f), 3 + 3 + 1 + 1 + 3 + 3);
	assert_true(count_events(&f->side[A], SERVICE_EV_HELLO) >= MANY);
	assert_true(count_events(&f->side[B], SERVICE_EV_HELLO) >= MANY);
}

static void a_service_that_we_do_not_have_is_counted(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	tiny_service(&f->side[B].model, 0)->hash = HASH + 1;
	peer_io_hello_now(f->side[A].e);
	settle(f);
	assert_null(find_event(&f->side[B], SERVICE_EV_HELLO));
	assert_non_null(find_event(&f->side[B], SERVICE_EV_HEARD));
	assert_int_equal(f->side[B].e->peers[A].unknown_services, 1);
}

/* ---- a new engine ----------------------------------------------------------------------------- */

static void a_new_engine_goes_on_in_the_session_of_the_old(void **state)
{
	struct fixture *f = *state;
	struct side *a = &f->side[A];
	uint64_t session;

	connect_both(f);
	session = a->e->session;
	start_anew(a, true);
	assert_int_equal(a->e->session, session);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_HELLO), 1); /* accepted at once */
	assert_int_equal(f->side[B].e->peers[A].fsm.his_session, session);
	peer_io_hello_now(f->side[B].e);
	settle(f);
	assert_non_null(find_event(a, SERVICE_EV_HELLO));
}

/* What the dead engine has accepted since its last record is not news to the next one. */
static void what_the_old_engine_has_heard_is_not_heard_again(void **state)
{
	struct fixture *f = *state;
	struct side *b = &f->side[B];
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_both(f);
	len = forge(f, buf);
	send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(count_events(b, SERVICE_EV_FENCE), 1);
	start_anew(b, true);
	forget(f);
	send_from(f->side[A].e->peer_paths[0].fd, f, B, buf, len);
	peer_io_drain(b->e);
	assert_int_equal(b->n_events, 1);
	assert_int_equal(count_events(b, SERVICE_EV_UNPROVEN), 1);
	settle(f);
	assert_int_equal(count_events(b, SERVICE_EV_FENCE), 0);
	assert_non_null(find_event(b, SERVICE_EV_HELLO)); /* the honest peer is heard again */
}

/* A record that was on its way when the engine was killed costs no number. */
static void numbers_are_not_used_twice_when_the_last_record_is_lost(void **state)
{
	struct fixture *f = *state;
	struct side *a = &f->side[A];
	uint8_t record[IPC_BATON_MAX];
	uint32_t record_len;
	unsigned n_batons;
	uint64_t used;

	connect_both(f);
	do {
		memcpy(record, a->baton, a->baton_len);
		record_len = a->baton_len;
		n_batons = a->n_batons;
		peer_io_send_hello(a->e, &a->e->peers[B], false);
		peer_io_drain(f->side[B].e);
		forget(f);
	} while (a->n_batons == n_batons);
	used = a->e->peers[B].fsm.seq;
	memcpy(a->baton, record, record_len); /* the newest one never arrived */
	a->baton_len = record_len;
	start_anew(a, true);
	assert_true(a->e->peers[B].fsm.seq > used);
}

static void a_record_of_another_version_means_a_new_session(void **state)
{
	struct fixture *f = *state;
	struct side *a = &f->side[A];
	uint8_t odd[8] = {0, 0, 0, 99};
	uint64_t session;

	open_sockets(f);
	session = a->e->session;
	peer_io_from_baton(a->e, odd, sizeof(odd));
	peer_io_from_baton(a->e, odd, 0);
	assert_int_equal(a->e->session, session);
}

static void a_late_hello_timer_looks_at_the_news_first(void **state)
{
	struct fixture *f = *state;
	struct engine *e = f->side[A].e;

	connect_both(f);
	e->hello_due = mtime_now();
	ev_invoke(e->loop, &e->hello_timer, EV_TIMER);
	assert_int_equal(f->side[A].n_drains, 0);
	e->hello_due = mtime_now() - MTIME_SEC(2);
	ev_invoke(e->loop, &e->hello_timer, EV_TIMER);
	assert_int_equal(f->side[A].n_drains, 1);
}

/* ---- several paths ---------------------------------------------------------------------------- */

static void open_second(struct fixture *f, int i)
{
	peer_io_open(f->side[i].e, 1, bind_udp(i == A ? "127.0.1.2" : "127.0.1.3", f->port));
}

static void connect_by_both(struct fixture *f)
{
	connect_both(f);
	open_second(f, A);
	open_second(f, B);
	peer_io_hello_now(f->side[A].e);
	settle(f);
	forget(f);
	for (int i = 0; i < 2; i++)
		f->side[i].e->peers[!i].copies = 0;
}

/* As long ago as Active_Down and more: what is heard from now on is of today. */
static void age(struct peer_paths *p)
{
	p->heard -= MTIME_SEC(100);
	p->since -= MTIME_SEC(200);
	for (unsigned i = 0; i < p->n; i++)
		p->path[i].heard -= MTIME_SEC(100);
}

static void hello_timer_expires(struct engine *e)
{
	e->hello_due = mtime_now();
	ev_invoke(e->loop, &e->hello_timer, EV_TIMER);
}

static void a_message_comes_by_every_path_and_counts_once(void **state)
{
	struct fixture *f = *state;
	const struct engine_peer *p = &f->side[B].e->peers[A];
	mtime before;

	connect_by_both(f);
	before = mtime_now();
	peer_io_send_term(f->side[A].e, B, PEER_TYPE_FENCE, 0, 257, MODEL_NODES_MAX, false);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 1);
	assert_int_equal(p->copies, 1);
	assert_int_equal(p->rejected[PEER_VERDICT_REPLAY], 0);
	assert_int_equal(f->side[B].e->strays, 0);
	assert_true(p->paths.path[0].heard >= before && p->paths.path[1].heard >= before);
}

static void either_path_alone_is_enough(void **state)
{
	struct fixture *f = *state;
	struct engine *a = f->side[A].e;

	connect_by_both(f);
	for (unsigned dead = 0; dead < 2; dead++) {
		int fd = fcntl(f->side[B].e->peer_paths[dead].fd, F_DUPFD_CLOEXEC, 3);

		peer_io_open(f->side[B].e, dead, -1);
		forget(f);
		peer_io_hello_now(a);
		assert_non_null(find_event(&f->side[A], SERVICE_EV_SENT));
		peer_io_send_term(a, B, PEER_TYPE_FENCE, 0, 257 + dead, MODEL_NODES_MAX, false);
		settle(f);
		assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 1);
		peer_io_open(f->side[B].e, dead, fd);
		settle(f); /* what waited in the socket is late, and of no use */
		assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 1);
	}
	peer_io_open(a, 0, -1);
	assert_int_equal(peer_io_send_command(a, B, 7, "{}"), 0);
	peer_io_open(a, 1, -1);
	assert_int_equal(peer_io_send_command(a, B, 7, "{}"), -ENOTCONN);
}

/* All that waits on one path is read before the other brings anything. */
static void a_slow_path_lives(void **state)
{
	struct fixture *f = *state;
	struct engine_peer *p = &f->side[B].e->peers[A];
	uint8_t buf[5][PEER_DATAGRAM_MAX];
	size_t len[5];

	connect_by_both(f);
	for (unsigned i = 0; i < 5; i++) {
		len[i] = forge(f, buf[i]);
		send_from(f->side[A].e->peer_paths[0].fd, f, B, buf[i], len[i]);
	}
	settle(f);
	for (unsigned i = 0; i < 5; i++)
		send_from(f->side[A].e->peer_paths[1].fd, f, B, buf[i], len[i]);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 5);
	assert_int_equal(p->copies, 5);
	assert_int_equal(p->rejected[PEER_VERDICT_REPLAY], 0);
}

static void a_replay_is_one_on_each_path(void **state)
{
	struct fixture *f = *state;
	struct engine_peer *p = &f->side[B].e->peers[A];
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_by_both(f);
	len = forge(f, buf);
	for (unsigned i = 0; i < 6; i++)
		send_from(f->side[A].e->peer_paths[i % 2].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(count_events(&f->side[B], SERVICE_EV_FENCE), 1);
	assert_int_equal(p->copies, 1);
	assert_int_equal(p->rejected[PEER_VERDICT_REPLAY], 4);
}

static void an_address_of_another_node_is_no_path(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PEER_DATAGRAM_MAX];
	size_t len;

	connect_by_both(f);
	len = forge(f, buf);
	/* B's own second address, as if A had sent from there. */
	send_from(f->side[B].e->peer_paths[1].fd, f, B, buf, len);
	settle(f);
	assert_int_equal(f->side[B].e->strays, 1);
	assert_int_equal(f->side[B].n_events, 0);
}

static void a_dead_path_is_an_alarm_until_it_is_heard(void **state)
{
	struct fixture *f = *state;
	struct engine *b = f->side[B].e;
	struct peer_paths *p = &b->peers[A].paths;

	connect_by_both(f);
	for (unsigned dead = 0; dead < 2; dead++) {
		age(p);
		hello_timer_expires(b);
		assert_false(p->path[0].lost || p->path[1].lost); /* nothing at all was heard */
		p->heard = p->path[!dead].heard = mtime_now();
		hello_timer_expires(b);
		assert_true(p->path[dead].lost && !p->path[!dead].lost);
		assert_int_equal(count_events(&f->side[B], SERVICE_EV_HELLO), 0);
		peer_io_hello_now(f->side[A].e);
		settle(f);
		hello_timer_expires(b);
		assert_false(p->path[0].lost || p->path[1].lost);
		settle(f);
		forget(f);
	}
}

/* B's only address stands for both ends there: two pairs on either side. */
static void the_last_path_stands_in_for_missing_ones(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	open_second(f, A);
	settle(f);
	for (int i = 0; i < 2; i++) {
		struct engine_peer *p = &f->side[i].e->peers[!i];
		mtime before = mtime_now();

		assert_int_equal(p->paths.n, 2);
		peer_io_hello_now(f->side[!i].e);
		settle(f);
		assert_true(p->paths.path[0].heard >= before);
		assert_true(p->paths.path[1].heard >= before);
		assert_int_equal(p->rejected[PEER_VERDICT_REPLAY], 0);
		assert_int_equal(f->side[i].e->strays, 0);
	}
}

#define t(name)	   cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define many(name) cmocka_unit_test_setup_teardown(name, set_up_many, tear_down)
#define two(name)  cmocka_unit_test_setup_teardown(name, set_up_two_paths, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(strangers_connect_by_themselves),
		t(hello_carries_the_report_and_the_mac),
		t(a_sent_hello_is_told_with_a_time_before_the_sending),
		t(without_a_socket_nothing_counts_as_sent),
		t(a_node_without_linked_peers_is_never_silent),
		t(a_hello_that_asks_is_answered_once),
		t(terms_arrive_with_their_fields),
		t(an_advert_goes_by_the_peer_link_where_the_transport_is_udp),
		t(commands_and_results_find_their_way),
		t(details_come_once_a_second),
		t(only_the_nodes_own_address_counts),
		t(every_changed_bit_breaks_the_seal),
		t(another_key_cluster_or_name_is_another_world),
		t(a_replay_is_counted_and_causes_nothing),
		t(noise_is_counted_and_causes_nothing),
		t(nothing_of_a_session_before_is_believed),
		t(a_recording_is_answered_slowly_and_believed_never),
		t(contact_settles),
		many(every_page_arrives_and_one_answer_is_enough),
		many(strangers_with_many_pages_connect_without_a_storm),
		t(a_service_that_we_do_not_have_is_counted),
		t(a_new_engine_goes_on_in_the_session_of_the_old),
		t(what_the_old_engine_has_heard_is_not_heard_again),
		t(numbers_are_not_used_twice_when_the_last_record_is_lost),
		t(a_record_of_another_version_means_a_new_session),
		t(a_late_hello_timer_looks_at_the_news_first),
		two(a_message_comes_by_every_path_and_counts_once),
		two(either_path_alone_is_enough),
		two(a_slow_path_lives),
		two(a_replay_is_one_on_each_path),
		two(an_address_of_another_node_is_no_path),
		two(a_dead_path_is_an_alarm_until_it_is_heard),
		cmocka_unit_test_setup_teardown(the_last_path_stands_in_for_missing_ones,
						set_up_uneven_paths, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
