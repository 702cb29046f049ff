/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

/*
 * vrrp_io.c over real raw sockets on the loopback interface of a network namespace of its own:
 * three nodes at 127.0.0.1 to 127.0.0.3.  Needs root; else skipped (exit 77).
 */

#define VRID    51
#define N_NODES 3

static struct {
	struct model m;
	struct model_node nodes[N_NODES];
	struct model_service service;
	char strings[16];
} block[N_NODES];

struct node {
	struct engine e;
	struct engine_service svc;
};

static struct node nodes[N_NODES];
static struct service_event caught[8];
static unsigned n_caught;

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_true(n_caught < 8);
	caught[n_caught++] = *ev;
}

static uint32_t loopback(unsigned i)
{
	return htonl(INADDR_LOOPBACK + i);
}

static int raw_socket(unsigned i, int ttl)
{
	const struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = loopback(i)};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, VRRP_PROTOCOL);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
	return fd;
}

static void make_model(unsigned self)
{
	struct model *m = &block[self].m;
	struct model_service *s = &block[self].service;

	memset(&block[self], 0, sizeof(block[self]));
	m->self = (int)self;
	m->n_nodes = N_NODES;
	m->n_services = 1;
	m->nodes_off = (uint32_t)((char *)block[self].nodes - (char *)m);
	m->services_off = (uint32_t)((char *)s - (char *)m);
	memcpy(block[self].strings, "svc\0node", 9);
	s->name.off = (uint32_t)(block[self].strings - (char *)m);
	for (unsigned i = 0; i < N_NODES; i++) {
		block[self].nodes[i].name.off = s->name.off + 4;
		block[self].nodes[i].address = ip_addr_v4(loopback(i));
		block[self].nodes[i].peer_link = i != 2; /* a plain router counts too */
	}
	s->vrid = VRID;
	s->n_vips = 2;
	s->vips[0] = ip_addr_v4(inet_addr("10.9.0.100"));
	s->vips[1] = ip_addr_v4(inet_addr("10.9.0.101"));
	s->advert_int = MTIME_MS(100);
}

static int setup(void **state)
{
	n_caught = 0;
	for (unsigned i = 0; i < N_NODES; i++) {
		struct node *n = &nodes[i];

		make_model(i);
		memset(n, 0, sizeof(*n));
		n->e.loop = ev_loop_new(EVFLAG_NOENV);
		n->e.m = &block[i].m;
		n->e.services = &n->svc;
		n->svc.engine = &n->e;
		vrrp_io_open(&n->e, 0, raw_socket(i, VRRP_TTL));
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < N_NODES; i++) {
		vrrp_io_open(&nodes[i].e, 0, -1);
		ev_loop_destroy(nodes[i].e.loop);
	}
	return 0;
}

/* Loopback delivers within the call that sends: what was sent is there. */
static void drain(unsigned i)
{
	n_caught = 0;
	vrrp_io_drain(&nodes[i].e, 0);
}

static void an_advert_reaches_every_other_node(void **state)
{
	vrrp_io_send(&nodes[0].e, 0, 150);
	assert_int_equal(nodes[0].svc.adverts_sent, 2);
	for (unsigned i = 1; i < N_NODES; i++) {
		drain(i);
		assert_int_equal(n_caught, 1);
		assert_int_equal(caught[0].type, SERVICE_EV_ADVERT);
		assert_int_equal(caught[0].peer, 0);
		assert_int_equal(caught[0].priority, 150);
		assert_int_equal(caught[0].interval, MTIME_MS(100));
		assert_int_equal(nodes[i].svc.adverts_received, 1);
	}
	drain(0);
	assert_int_equal(n_caught, 0);
}

static void a_plain_router_is_a_peer_and_a_release_is_an_advert(void **state)
{
	vrrp_io_send(&nodes[2].e, 0, VRRP_PRIO_RELEASE);
	drain(0);
	assert_int_equal(n_caught, 1);
	assert_int_equal(caught[0].peer, 2);
	assert_int_equal(caught[0].priority, 0);
}

static void send_raw(unsigned from, int ttl, const struct vrrp_packet *p, size_t cut)
{
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = loopback(0)};
	uint8_t buf[VRRP_PACKET_MAX];
	const size_t len = vrrp_packet_build(p, VRRP_CHECKSUM_RFC9568, buf, sizeof(buf)) - cut;
	int fd = raw_socket(from, ttl);

	assert_int_equal(sendto(fd, buf, len, 0, (const struct sockaddr *)&to, sizeof(to)), len);
	close(fd);
}

static void what_is_refused_is_counted_by_reason(void **state)
{
	struct vrrp_packet p = {.vrid = VRID, .priority = 1, .count = 1, .interval = MTIME_SEC(1)};
	const struct engine_service *s = &nodes[0].svc;

	send_raw(77, VRRP_TTL, &p, 0);
	send_raw(1, 64, &p, 0);
	send_raw(1, 64, &p, 0);
	send_raw(1, VRRP_TTL, &p, 4);
	p.vrid++;
	send_raw(1, VRRP_TTL, &p, 0);
	drain(0);
	assert_int_equal(n_caught, 0);
	assert_int_equal(s->rejects[VRRP_REJECT_NOT_A_PEER], 1);
	assert_int_equal(s->rejects[VRRP_REJECT_TTL], 2);
	assert_int_equal(s->reject_log[VRRP_REJECT_TTL].missed, 1); /* logged once */
	assert_int_equal(s->rejects[VRRP_REJECT_LENGTH], 1);
	assert_int_equal(s->rejects[VRRP_REJECT_VRID], 1);
	p.vrid--;
	send_raw(1, VRRP_TTL, &p, 0);
	drain(0);
	assert_int_equal(n_caught, 1);
	assert_int_equal(s->adverts_received, 1);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	*(unsigned *)t->data = n_caught;
	ev_break(loop, EVBREAK_ALL);
}

static void adverts_are_read_before_a_timer_that_expired_meanwhile(void **state)
{
	unsigned seen = 99;
	ev_timer t;

	ev_timer_init(&t, on_timer, 0.02, 0.);
	t.data = &seen;
	ev_timer_start(nodes[1].e.loop, &t);
	vrrp_io_send(&nodes[0].e, 0, 150);
	usleep(50000); /* a stall: both are pending when the loop runs */
	ev_run(nodes[1].e.loop, 0);
	assert_int_equal(seen, 1);
}

static void without_a_socket_nothing_happens(void **state)
{
	vrrp_io_open(&nodes[0].e, 0, -1);
	vrrp_io_send(&nodes[0].e, 0, 150);
	drain(0);
	assert_int_equal(nodes[0].svc.adverts_sent, 0);
	vrrp_io_open(&nodes[0].e, 0, raw_socket(0, VRRP_TTL));
	vrrp_io_send(&nodes[0].e, 0, 150);
	assert_int_equal(nodes[0].svc.adverts_sent, 2);
}

static void a_failed_send_is_logged_once_and_does_not_count(void **state)
{
	/* No route leads there. */
	block[0].nodes[1].address = ip_addr_v4(inet_addr("192.0.2.1"));
	block[0].nodes[2].address = ip_addr_v4(inet_addr("192.0.2.2"));
	vrrp_io_send(&nodes[0].e, 0, 150);
	vrrp_io_send(&nodes[0].e, 0, 150);
	assert_int_equal(nodes[0].svc.adverts_sent, 0);
	assert_int_equal(nodes[0].svc.send_log.missed, 3);
}

int main(void)
{
#define VRRP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		VRRP_TEST(an_advert_reaches_every_other_node),
		VRRP_TEST(a_plain_router_is_a_peer_and_a_release_is_an_advert),
		VRRP_TEST(what_is_refused_is_counted_by_reason),
		VRRP_TEST(adverts_are_read_before_a_timer_that_expired_meanwhile),
		VRRP_TEST(without_a_socket_nothing_happens),
		VRRP_TEST(a_failed_send_is_logged_once_and_does_not_count),
	};

	if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up") != 0) {
		fprintf(stderr, "needs root, network namespaces and ip(8): skipped\n");
		return 77;
	}
	log_init(2, "vrrp", LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
