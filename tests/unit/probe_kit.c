/* SPDX-License-Identifier: MIT */
#include "tests/unit/probe_kit.h"

#include "common/fd.h"
#include "common/log.h"

const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, b_mac[6] = {2, 0, 0, 0, 0, 2},
		     gateway_mac[6] = {2, 0, 0, 0, 0, 0xfe}, stranger_mac[6] = {2, 0, 0, 0, 0, 9};

static struct {
	struct model m;
	struct model_node nodes[3];
	struct model_service service;
	char strings[16];
} block;

struct world *w;
struct model_service *kit_service = &block.service;

void peer_io_hello_now(struct engine *e)
{
	w->hellos++;
	e->hello_at = mtime_now();
}

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_ptr_equal(e, &w->e);
	assert_int_equal(row, 0);
	if (ev->type == SERVICE_EV_TARGETS) {
		w->has_target = ev->ok;
		return;
	}
	assert_true(w->n_caught < 32);
	w->caught[w->n_caught++] = *ev;
}

static void make_model(enum model_isolation isolation)
{
	static const char *const addresses[] = {OWN, NODE_B, NODE_C};
	struct model_service *s = &block.service;

	memset(&block, 0, sizeof(block));
	block.m.n_nodes = 3;
	block.m.n_services = 1;
	block.m.nodes_off = (uint32_t)((char *)block.nodes - (char *)&block);
	block.m.services_off = (uint32_t)((char *)s - (char *)&block);
	for (int i = 0; i < 3; i++) {
		block.nodes[i].address = ip_addr_v4(inet_addr(addresses[i]));
		block.nodes[i].priority = 100;
	}
	memcpy(block.strings, "svc", 4);
	s->name.off = (uint32_t)(block.strings - (char *)&block);
	s->isolation = isolation;
	s->n_targets = 2;
	s->targets[0] = ip_addr_v4(inet_addr(LISTED));
	s->targets[1] = ip_addr_v4(inet_addr(NODE_C));
	s->n_vips = 1;
	s->vips[0] = ip_addr_v4(inet_addr(VIP));
	s->advert_int = MTIME_SEC(1);
	s->garp_count = 3;
	s->garp_refresh = MTIME_SEC(60);
}

static void start(void **state, enum model_isolation isolation)
{
	struct service_config config = {
		.n_nodes = 3, .advert_int = MTIME_SEC(1), .vip_lease = MTIME_SEC(3), .n_vips = 1,
		.conflict_probe = true};
	int arp[2], nd[2];

	make_model(isolation);
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	for (int i = 0; i < 3; i++)
		config.nodes[i] = (struct service_node){.priority = 100, .peer_link = true};
	w->e.loop = ev_loop_new(EVFLAG_NOENV);
	w->e.m = &block.m;
	w->e.services = &w->svc;
	service_init(&w->svc.fsm, &config, mtime_now());
	memcpy(w->svc.mac, own_mac, 6);
	memcpy(w->svc.node_mac[1], b_mac, 6);
	probe_init(&w->e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, arp), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, nd), 0);
	w->wires[0] = arp[1];
	w->wires[1] = nd[1];
	probe_open(&w->e, 0, (const int[]){arp[0], nd[0]});
	*state = w;
}

int setup_auto(void **state)
{
	start(state, MODEL_ISOLATION_AUTO);
	return 0;
}

int setup_list(void **state)
{
	start(state, MODEL_ISOLATION_LIST);
	return 0;
}

int setup_off(void **state)
{
	start(state, MODEL_ISOLATION_OFF);
	return 0;
}

/* One of each family, and a link-local address of our own. */
int setup_six(void **state)
{
	const struct ip_addr own = ip(LOCAL6);

	start(state, MODEL_ISOLATION_AUTO);
	kit_service->vips[1] = ip(VIP6);
	kit_service->n_vips = 2;
	probe_set_six(&w->e, 0, &own, false);
	return 0;
}

int teardown(void **state)
{
	probe_open(&w->e, 0, (const int[]){-1, -1});
	ev_timer_stop(w->e.loop, &w->svc.probe_timer);
	ev_timer_stop(w->e.loop, &w->svc.garp_timer);
	ev_loop_destroy(w->e.loop);
	close(w->wires[0]);
	close(w->wires[1]);
	free(w);
	return 0;
}

struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

size_t sent_on(unsigned wire, uint8_t *buf, size_t size)
{
	const ssize_t len = recv(w->wires[wire], buf, size, MSG_DONTWAIT);

	return len < 0 ? 0 : (size_t)len;
}

void arrive_on(unsigned wire, const uint8_t *buf, size_t len)
{
	assert_int_equal(send(w->wires[wire], buf, len, 0), len);
	probe_drain(&w->e, 0);
}

bool sent(struct arp_frame *ret)
{
	uint8_t buf[128];
	const ssize_t len = recv(w->wires[0], buf, sizeof(buf), MSG_DONTWAIT);

	if (len < 0)
		return false;
	assert_int_equal(arp_parse(buf, (size_t)len, ret), 0);
	return true;
}

unsigned count_sent(uint32_t tpa)
{
	struct arp_frame f;
	unsigned n = 0;

	while (sent(&f))
		n += f.tpa == tpa;
	return n;
}

void arrive(uint16_t op, const uint8_t sha[6], const char *spa, const uint8_t tha[6],
		   const char *tpa)
{
	struct arp_frame f = {.op = op, .spa = inet_addr(spa), .tpa = inet_addr(tpa)};
	uint8_t buf[ARP_FRAME_LEN];

	memcpy(f.sha, sha, 6);
	memcpy(f.eth_src, sha, 6);
	memcpy(f.tha, tha, 6);
	memcpy(f.eth_dst, tha, 6);
	assert_int_equal(send(w->wires[0], buf, arp_build(&f, buf, sizeof(buf)), 0), ARP_FRAME_LEN);
	probe_drain(&w->e, 0);
}

void answer(const uint8_t mac[6], const char *address)
{
	arrive(ARP_OP_REPLY, mac, address, own_mac, OWN);
}

/* As if the last round had been so long ago. */
void probe_again(mtime ago)
{
	struct engine_service *s = &w->svc;

	s->probed_at -= ago;
	for (unsigned i = 0; i < s->n_targets; i++) {
		s->targets[i].asked -= ago;
		for (unsigned k = 0; k < 8; k++)
			if (s->targets[i].sent[k] != 0)
				s->targets[i].sent[k] -= ago;
	}
	probe_update(&w->e, 0);
}

void set_gateway(const char *address)
{
	const struct ip_addr a[2] = {ip(address)};

	probe_set_gateways(&w->e, 0, a);
}

/* A backup whose Active_Down has expired. */
void miss_adverts(void)
{
	w->svc.fsm.link_up = true;
	w->svc.fsm.state = SERVICE_STATE_BACKUP;
	w->svc.fsm.vrrp.state = VRRP_STATE_BACKUP;
	w->svc.fsm.vrrp.down_at = MTIME_NEVER;
	w->svc.fsm.vrrp.expired = true;
	assert_true(service_wants_conflict_probe(&w->svc.fsm, mtime_now()));
}

static void stop_loop(struct ev_loop *loop, ev_timer *t, int revents)
{
	ev_break(loop, EVBREAK_ALL);
}

void run_loop(double seconds)
{
	ev_timer t;

	ev_now_update(w->e.loop);
	ev_timer_init(&t, stop_loop, seconds, 0.);
	ev_timer_start(w->e.loop, &t);
	ev_run(w->e.loop, 0);
}

