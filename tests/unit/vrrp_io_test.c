/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <arpa/inet.h>
#include <net/if.h>
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
#include "supd/net/net_internal.h"

/*
 * vrrp_io.c over the sockets that net makes, on the loopback interface of a network namespace of its
 * own: three nodes at 127.0.0.1 to 127.0.0.3, fd00::1 to fd00::3, in each version, family and way of
 * casting.  The loopback interface does not deliver to IPv6 groups: for those there is vs0, with
 * fe80::1 to fe80::3, and what is sent is looped.  Needs root; else skipped (exit 77).
 */

#define VRID    51
#define N_NODES 3

struct kind {
	const char *why;
	uint8_t version;
	int family;
	bool multicast;
	enum vrrp_auth auth;
	enum vrrp_checksum checksum;
};

static const struct kind kinds[] = {
	{"v3, IPv4, unicast", 3, AF_INET, false, VRRP_AUTH_NONE, VRRP_CHECKSUM_PSEUDO},
	{"v3, IPv4, unicast, RFC 9568", 3, AF_INET, false, VRRP_AUTH_NONE, VRRP_CHECKSUM_RFC9568},
	{"v3, IPv4, multicast", 3, AF_INET, true, VRRP_AUTH_NONE, VRRP_CHECKSUM_PSEUDO},
	{"v2, IPv4, unicast, password", 2, AF_INET, false, VRRP_AUTH_PASS, VRRP_CHECKSUM_PSEUDO},
	{"v2, IPv4, multicast", 2, AF_INET, true, VRRP_AUTH_NONE, VRRP_CHECKSUM_PSEUDO},
	{"v3, IPv6, unicast", 3, AF_INET6, false, VRRP_AUTH_NONE, VRRP_CHECKSUM_PSEUDO},
	{"v3, IPv6, multicast", 3, AF_INET6, true, VRRP_AUTH_NONE, VRRP_CHECKSUM_PSEUDO},
};
enum { KIND_V3 = 0, KIND_V2 = 3, KIND_V6 = 5, KIND_V6_MULTICAST = 6, N_KINDS = 7 };

static struct {
	struct model m;
	struct model_node nodes[N_NODES];
	struct model_service service[2];
	char strings[16];
} block[N_NODES];

struct node {
	struct engine e;
	struct engine_service svc;
	struct net net;
	struct net_service net_services[2];
};

static struct node nodes[N_NODES];
static struct service_event caught[8];
static unsigned n_caught;

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_true(n_caught < 8);
	caught[n_caught++] = *ev;
}

unsigned peer_io_send_advert(struct engine *e, uint32_t service, uint8_t priority)
{
	fail(); /* transport = udp: peer_io_test.c */
	return 0;
}

static struct ip_addr parsed(const char *prefix, unsigned i)
{
	char text[40];
	struct ip_addr a = {0};

	snprintf(text, sizeof(text), "%s%u", prefix, i + 1);
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static void make_service(struct model_service *s, const struct kind *k)
{
	s->vrid = VRID;
	s->vrrp_version = k->version;
	s->multicast = k->multicast;
	s->auth_type = k->auth;
	s->checksum = k->checksum;
	memcpy(s->auth_pass, "secret12", sizeof(s->auth_pass));
	s->n_vips = 3;
	s->vips[0] = k->family == AF_INET ? parsed("10.9.0.", 99) : parsed("fd00::", 99);
	s->vips[1] = k->family == AF_INET ? parsed("10.9.0.", 100) : parsed("fd00::", 100);
	s->vips[2] = k->family == AF_INET ? parsed("fd00::", 99) : parsed("10.9.0.", 99);
	s->advert_int = k->version == 2 ? MTIME_SEC(1) : MTIME_MS(100);
}

static unsigned interface_of(const struct model_service *s)
{
	return if_nametoindex(s->multicast && model_vrrp_family(s) == AF_INET6 ? "vs0" : "lo");
}

static void make_model(unsigned self, const struct kind *k)
{
	struct model *m = &block[self].m;
	struct model_service *s = block[self].service;

	memset(&block[self], 0, sizeof(block[self]));
	m->self = (int)self;
	m->n_nodes = N_NODES;
	m->n_services = 1;
	m->nodes_off = (uint32_t)((char *)block[self].nodes - (char *)m);
	m->services_off = (uint32_t)((char *)s - (char *)m);
	memcpy(block[self].strings, "svc\0node\0lo\0vs0", 16);
	s->name.off = (uint32_t)(block[self].strings - (char *)m);
	s->interface.off = s->name.off + 9;
	for (unsigned i = 0; i < N_NODES; i++) {
		struct model_node *n = &block[self].nodes[i];

		n->name.off = s->name.off + 4;
		n->address = parsed("127.0.0.", i);
		n->n_more = 2;
		n->more[0] = parsed("fd00::", i);
		n->more[1] = parsed("fe80::", i);
		n->peer_link = i != 2; /* a plain router counts too */
	}
	make_service(s, k);
	if (interface_of(s) != if_nametoindex("lo"))
		s->interface.off = s->name.off + 12;
}

static int real_socket(unsigned i)
{
	const unsigned ifindex = interface_of(block[i].service);
	const int on = 1;
	int fd;

	nodes[i].net.m = &block[i].m;
	nodes[i].net.services = nodes[i].net_services;
	nodes[i].net_services[0].ifindex = nodes[i].net_services[1].ifindex = ifindex;
	fd = vrrp_socket_open(&nodes[i].net, 0);
	assert_true(fd >= 0);
	if (ifindex != if_nametoindex("lo"))
		assert_int_equal(
			setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &on, sizeof(on)), 0);
	return fd;
}

static void set_up(const struct kind *k)
{
	n_caught = 0;
	for (unsigned i = 0; i < N_NODES; i++) {
		struct node *n = &nodes[i];

		make_model(i, k);
		memset(n, 0, sizeof(*n));
		n->e.loop = ev_loop_new(EVFLAG_NOENV);
		n->e.m = &block[i].m;
		n->e.services = &n->svc;
		n->svc.engine = &n->e;
		n->svc.ifindex = interface_of(block[i].service);
		vrrp_io_open(&n->e, 0, real_socket(i));
	}
}

static void tear_down(void)
{
	for (unsigned i = 0; i < N_NODES; i++) {
		vrrp_io_open(&nodes[i].e, 0, -1);
		ev_loop_destroy(nodes[i].e.loop);
	}
}

static int setup(void **state)
{
	set_up(&kinds[KIND_V3]);
	return 0;
}

static int teardown(void **state)
{
	tear_down();
	return 0;
}

/* Loopback delivers at once, IPv6 by way of a soft interrupt that may be a moment late. */
static void drain(unsigned i)
{
	struct pollfd p = {.fd = nodes[i].svc.vrrp_fd, .events = POLLIN};

	n_caught = 0;
	poll(&p, 1, 20);
	vrrp_io_drain(&nodes[i].e, 0);
}

static void an_advert_reaches_every_other_node(void **state)
{
	for (size_t k = 0; k < N_KINDS; k++) {
		set_up(&kinds[k]);
		print_message("%s\n", kinds[k].why);
		vrrp_io_send(&nodes[0].e, 0, 150);
		assert_int_equal(nodes[0].svc.adverts_sent, kinds[k].multicast ? 1 : 2);
		for (unsigned i = 1; i < N_NODES; i++) {
			drain(i);
			assert_int_equal(n_caught, 1);
			assert_int_equal(caught[0].type, SERVICE_EV_ADVERT);
			assert_int_equal(caught[0].peer, 0);
			assert_int_equal(caught[0].priority, 150);
			assert_int_equal(caught[0].interval, block[0].service[0].advert_int);
			assert_int_equal(nodes[i].svc.adverts_received, 1);
			assert_int_equal(nodes[i].svc.differs[VRRP_DIFFER_ADDRESSES], 0);
			assert_int_equal(nodes[i].svc.differs[VRRP_DIFFER_INTERVAL], 0);
		}
		drain(0);
		assert_int_equal(n_caught, 0);
		tear_down();
	}
}

static void a_plain_router_is_a_peer_and_a_release_is_an_advert(void **state)
{
	for (size_t k = 0; k < N_KINDS; k++) {
		set_up(&kinds[k]);
		print_message("%s\n", kinds[k].why);
		vrrp_io_send(&nodes[2].e, 0, VRRP_PRIO_RELEASE);
		drain(0);
		assert_int_equal(n_caught, 1);
		assert_int_equal(caught[0].peer, 2);
		assert_int_equal(caught[0].priority, 0);
		tear_down();
	}
}

static void both_checksums_are_understood(void **state)
{
	block[0].service[0].checksum = VRRP_CHECKSUM_RFC9568;
	vrrp_io_send(&nodes[0].e, 0, 150);
	drain(1);
	assert_int_equal(n_caught, 1);
	vrrp_io_send(&nodes[1].e, 0, 150);
	drain(0);
	assert_int_equal(n_caught, 1);
}

/* ---- by a foreign hand ---------------------------------------------------------------------- */

struct forged {
	const char *why;
	size_t kind;
	unsigned from; /* 0 to 2: that node; above: a stranger */
	int ttl;
	int at; /* byte that is changed before the checksum is made right; -1: none */
	uint8_t value;
	size_t cut;
	enum vrrp_reject want;
};

#define R(name) VRRP_REJECT_##name
static const struct forged forgeries[] = {
	{"good", KIND_V3, 1, 255, -1, 0, 0, R(NONE)},
	{"too short", KIND_V3, 1, 255, -1, 0, 8, R(SHORT)},
	{"another VRID", KIND_V3, 1, 255, 1, 52, 0, R(VRID)},
	{"a stranger", KIND_V3, 77, 255, -1, 0, 0, R(NOT_A_PEER)},
	{"TTL 64", KIND_V3, 1, 64, -1, 0, 0, R(TTL)},
	{"version 2", KIND_V3, 1, 255, 0, 0x21, 0, R(VERSION)},
	{"type 2", KIND_V3, 1, 255, 0, 0x32, 0, R(TYPE)},
	{"no address", KIND_V3, 1, 255, 3, 0, 0, R(COUNT)},
	{"cut short", KIND_V3, 1, 255, -1, 0, 4, R(LENGTH)},
	{"interval 0", KIND_V3, 1, 255, 5, 0, 0, R(INTERVAL)},
	{"v2: good", KIND_V2, 1, 255, -1, 0, 0, R(NONE)},
	{"v2: no authentication", KIND_V2, 1, 255, 4, 0, 0, R(AUTH_TYPE)},
	{"v2: another password", KIND_V2, 1, 255, 16, 'x', 0, R(PASSWORD)},
	{"v2: another interval", KIND_V2, 1, 255, 5, 2, 0, R(INTERVAL)},
	{"v2: version 3", KIND_V2, 1, 255, 0, 0x31, 0, R(VERSION)},
	{"v6: good", KIND_V6, 1, 255, -1, 0, 0, R(NONE)},
	{"v6: another VRID", KIND_V6, 1, 255, 1, 52, 0, R(VRID)},
	{"v6: a stranger", KIND_V6, 77, 255, -1, 0, 0, R(NOT_A_PEER)},
	{"v6: hop limit 64", KIND_V6, 1, 64, -1, 0, 0, R(TTL)},
	{"v6: global address first", KIND_V6, 1, 255, 8, 0x20, 0, R(LINK_LOCAL)},
	{"v6: cut short", KIND_V6, 1, 255, -1, 0, 4, R(LENGTH)},
	{"v6 to the group: good", KIND_V6_MULTICAST, 1, 255, -1, 0, 0, R(NONE)},
	{"v6 to the group: a stranger", KIND_V6_MULTICAST, 77, 255, -1, 0, 0, R(NOT_A_PEER)},
};

/* A raw socket of somebody who may be root on one of the hosts. */
static int raw_socket(const struct ip_addr *from, int ttl)
{
	const bool six = from->family == AF_INET6;
	const int offset = 6;
	struct sockaddr_storage sa;
	const socklen_t len = ip_addr_to_sockaddr(from, 0, interface_of(block[0].service), &sa);
	int fd = socket((int)from->family, SOCK_RAW | SOCK_CLOEXEC, VRRP_PROTOCOL);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, len), 0);
	assert_int_equal(setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
				    six ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof(ttl)), 0);
	if (six)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &ttl,
					    sizeof(ttl)), 0);
	if (six)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset,
					    sizeof(offset)), 0);
	return fd;
}

static void sum_up(uint8_t *v, size_t len)
{
	uint32_t sum = 0;

	v[6] = v[7] = 0;
	for (size_t i = 0; i < len; i++)
		sum += i % 2 == 0 ? (uint32_t)v[i] << 8 : v[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	v[6] = (uint8_t)(~sum >> 8);
	v[7] = (uint8_t)~sum;
}

static void send_bytes(const struct ip_addr *from, const struct ip_addr *to, int ttl,
		       const uint8_t *buf, size_t len)
{
	struct sockaddr_storage sa;
	const socklen_t sa_len = ip_addr_to_sockaddr(to, 0, interface_of(block[0].service), &sa);
	int fd = raw_socket(from, ttl);

	assert_int_equal(sendto(fd, buf, len, 0, (const struct sockaddr *)&sa, sa_len), len);
	close(fd);
}

static struct ip_addr address_of(unsigned i)
{
	const struct model_service *s = block[0].service;

	if (i < N_NODES)
		return model_vrrp_address(s, &block[0].nodes[i]);
	return model_vrrp_family(s) == AF_INET ? parsed("127.0.0.", i)
	       : s->multicast			? parsed("fe80::", i)
						: parsed("fd00::", i);
}

static void forge(const struct forged *f)
{
	const struct ip_addr from = address_of(f->from), own = address_of(0);
	const struct ip_addr group = vrrp_packet_group(own.family);
	struct vrrp_profile profile;
	struct vrrp_packet p;
	uint8_t buf[VRRP_PACKET_MAX];
	size_t len;

	vrrp_profile_of(&nodes[0].svc, &profile);
	vrrp_advert_of(&nodes[0].svc, 254, &p);
	p.count = 1;
	len = vrrp_packet_build(&profile, &p, buf, sizeof(buf)) - f->cut;
	if (f->at >= 0)
		buf[f->at] = f->value;
	sum_up(buf, len);
	send_bytes(&from, block[0].service[0].multicast ? &group : &own, f->ttl, buf, len);
}

static void what_is_refused_is_counted_by_reason(void **state)
{
	for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
		const struct forged *f = &forgeries[i];
		const struct engine_service *s = &nodes[0].svc;

		set_up(&kinds[f->kind]);
		print_message("%s\n", f->why);
		forge(f);
		forge(f);
		drain(0);
		assert_int_equal(n_caught, f->want == R(NONE) ? 2 : 0);
		for (int r = VRRP_REJECT_NONE + 1; r < VRRP_REJECTS_END; r++)
			assert_int_equal(s->rejects[r], r == (int)f->want ? 2 : 0);
		if (f->want != R(NONE))
			assert_int_equal(s->reject_log[f->want].missed, 1); /* logged once */
		tear_down();
	}
}

/* Damage on the way: of IPv4 it is seen here, of IPv6 by the kernel, which drops it. */
static void a_wrong_checksum_is_counted(void **state)
{
	const struct ip_addr from = address_of(1), own = address_of(0);
	struct vrrp_profile profile;
	struct vrrp_packet p;
	uint8_t buf[VRRP_PACKET_MAX];
	size_t len;

	vrrp_profile_of(&nodes[0].svc, &profile);
	vrrp_advert_of(&nodes[0].svc, 254, &p);
	len = vrrp_packet_build(&profile, &p, buf, sizeof(buf));
	buf[2] ^= 1;
	send_bytes(&from, &own, VRRP_TTL, buf, len);
	drain(0);
	assert_int_equal(n_caught, 0);
	assert_int_equal(nodes[0].svc.rejects[VRRP_REJECT_CHECKSUM], 1);
}

/* All that is known of a plain router are its adverts: one that is refused tells that it lives. */
static void a_refused_advert_of_a_plain_router_is_told(void **state)
{
	const struct ip_addr from = address_of(2), own = address_of(0);
	struct vrrp_profile profile;
	struct vrrp_packet p;
	uint8_t buf[VRRP_PACKET_MAX];
	size_t len;

	vrrp_profile_of(&nodes[0].svc, &profile);
	vrrp_advert_of(&nodes[0].svc, 254, &p);
	len = vrrp_packet_build(&profile, &p, buf, sizeof(buf));
	buf[0] = 0x21; /* version 2 */
	send_bytes(&from, &own, VRRP_TTL, buf, len);
	drain(0);
	assert_int_equal(n_caught, 1);
	assert_int_equal(caught[0].type, SERVICE_EV_ADVERT_REFUSED);
	assert_int_equal(caught[0].peer, 2);
}

static void what_differs_counts_and_is_counted(void **state)
{
	block[1].service[0].advert_int = MTIME_MS(200);
	block[1].service[0].n_vips = 1;
	vrrp_io_send(&nodes[1].e, 0, 150);
	drain(0);
	assert_int_equal(n_caught, 1);
	assert_int_equal(caught[0].interval, MTIME_MS(200));
	assert_int_equal(nodes[0].svc.differs[VRRP_DIFFER_INTERVAL], 1);
	assert_int_equal(nodes[0].svc.differs[VRRP_DIFFER_ADDRESSES], 1);
}

/* A number that another service of the file has is that one's business; an unknown one is ours. */
static void only_the_first_service_hears_of_unknown_numbers(void **state)
{
	struct forged f = {.from = 1, .ttl = 255, .at = 1, .value = VRID + 1};

	for (unsigned known = 0; known < 2; known++) {
		tear_down();
		set_up(&kinds[KIND_V3]);
		block[0].m.n_services = 2;
		block[0].service[1] = block[0].service[0];
		block[0].service[1].vrid = VRID + 1 + (known ^ 1);
		vrrp_io_open(&nodes[0].e, 0, real_socket(0));
		forge(&f);
		drain(0);
		assert_int_equal(nodes[0].svc.rejects[VRRP_REJECT_VRID], known ? 0 : 1);
	}
}

/* ---- the loop ------------------------------------------------------------------------------- */

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
	n_caught = 0;
	vrrp_io_drain(&nodes[0].e, 0);
	assert_int_equal(n_caught, 0);
	assert_int_equal(nodes[0].svc.adverts_sent, 0);
	vrrp_io_open(&nodes[0].e, 0, real_socket(0));
	vrrp_io_send(&nodes[0].e, 0, 150);
	assert_int_equal(nodes[0].svc.adverts_sent, 2);
}

static void a_failed_send_is_logged_once_and_does_not_count(void **state)
{
	/* Not allowed without SO_BROADCAST. */
	block[0].nodes[1].address = block[0].nodes[2].address = parsed("255.255.255.", 254);
	vrrp_io_send(&nodes[0].e, 0, 150);
	vrrp_io_send(&nodes[0].e, 0, 150);
	assert_int_equal(nodes[0].svc.adverts_sent, 0);
	assert_int_equal(nodes[0].svc.send_log.missed, 3);
}

/* The kernel needs the address; that it has none yet must not keep the socket from being made. */
static void an_own_address_that_is_missing_fails_the_sending_only(void **state)
{
	for (size_t k = 0; k < N_KINDS; k++) {
		set_up(&kinds[k]);
		print_message("%s\n", kinds[k].why);
		block[0].nodes[0].address = parsed("192.0.2.", 0);
		block[0].nodes[0].more[0] = parsed("fd01::", 0);
		block[0].nodes[0].more[1] = parsed("fe80::ffff:", 0);
		vrrp_io_open(&nodes[0].e, 0, real_socket(0));
		vrrp_io_send(&nodes[0].e, 0, 150);
		assert_true(nodes[0].svc.vrrp_fd >= 0);
		if (kinds[k].family == AF_INET)
			assert_int_equal(nodes[0].svc.adverts_sent, 0);
		tear_down();
	}
}

static const char commands[] =
	"ip link set lo up multicast on && ip link add vs0 type veth peer name vs1 && "
	"ip link set vs0 up && ip link set vs1 up && "
	"for i in 1 2 3 78; do ip addr add fd00::$i/128 dev lo nodad && "
	"ip addr add fe80::$i/64 dev vs0 nodad || exit 1; done";

int main(void)
{
#define VRRP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_advert_reaches_every_other_node),
		cmocka_unit_test(a_plain_router_is_a_peer_and_a_release_is_an_advert),
		cmocka_unit_test(what_is_refused_is_counted_by_reason),
		cmocka_unit_test(an_own_address_that_is_missing_fails_the_sending_only),
		VRRP_TEST(both_checksums_are_understood),
		VRRP_TEST(a_wrong_checksum_is_counted),
		VRRP_TEST(a_refused_advert_of_a_plain_router_is_told),
		VRRP_TEST(what_differs_counts_and_is_counted),
		VRRP_TEST(only_the_first_service_hears_of_unknown_numbers),
		VRRP_TEST(adverts_are_read_before_a_timer_that_expired_meanwhile),
		VRRP_TEST(without_a_socket_nothing_happens),
		VRRP_TEST(a_failed_send_is_logged_once_and_does_not_count),
	};

	if (unshare(CLONE_NEWNET) < 0 || system(commands) != 0) {
		fprintf(stderr, "needs root, network namespaces and ip(8): skipped\n");
		return 77;
	}
	log_init(2, "vrrp", LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
