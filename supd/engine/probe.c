/* SPDX-License-Identifier: MIT */
#include "supd/engine/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/core/arp.h"

/*
 * ARP: is this node cut off, and does somebody else hold the virtual address?
 *
 * Isolation: every probe interval each target is asked for its MAC in our own name.  An ARP answer
 * does not say which request it answers.  It is taken for the answer to the oldest request that is
 * open, so that S, the newest moment at which we were surely connected, is never overstated; a
 * request is given up when one is sent 1.5 intervals later, and an answer closes all that are open,
 * so that a lost one does not make every later answer look old.  What waits in the socket is read
 * before anything is sent: an answer that came while we were stalled belongs to the past.
 *
 * Conflict: from the first missed advert until the start order the virtual addresses are probed
 * (sender address 0: claims nothing).  Who answers is told by its MAC.  While we are active, anyone
 * who announces one of our addresses is told too.
 */

#define FRAME_MAX 128
#define DRAIN_MAX 1000

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

static struct ip_addr own_address(const struct engine_service *svc)
{
	const struct model *m = svc->engine->m;

	return m->self == MODEL_NONE ? (struct ip_addr){0}
				     : model_node(m, (uint32_t)m->self)->address;
}

bool probe_send_frame(struct engine_service *svc, const struct arp_frame *f)
{
	uint8_t buf[ARP_FRAME_LEN];
	const size_t len = arp_build(f, buf, sizeof(buf));
	uint64_t missed;

	if (!ev_is_active(&svc->arp_watcher))
		return false;
	if (send(svc->arp_fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return true;

	const int error = errno;

	if (ratelimit_pass(&svc->probe_log, mtime_now(), &missed))
		log_warn("service %s: ARP not sent: %s (%llu more before), going on",
			 model_service_name(svc->engine->m, svc->row), strerror(error),
			 (unsigned long long)missed);
	return false;
}

static bool mac_known(const struct engine_service *svc, int node)
{
	static const uint8_t unknown[6];

	return memcmp(svc->node_mac[node], unknown, sizeof(unknown)) != 0;
}

/* ---- targets -------------------------------------------------------------------------------- */

static struct probe_target *find_target(struct probe_target *t, unsigned n,
					const struct ip_addr *address)
{
	for (unsigned i = 0; i < n; i++)
		if (ip_addr_equal(&t[i].address, address))
			return &t[i];
	return NULL;
}

/* Once each, and what is known about one that was there before is kept. */
static void add_target(struct engine_service *svc, const struct ip_addr *address,
		       struct probe_target *old, unsigned n_old)
{
	const struct probe_target *known = find_target(old, n_old, address);
	const struct ip_addr own = own_address(svc);
	struct probe_target *t = &svc->targets[svc->n_targets];

	if (address->family == 0 || ip_addr_equal(address, &own) ||
	    find_target(svc->targets, svc->n_targets, address) != NULL)
		return;
	*t = known != NULL ? *known : (struct probe_target){.address = *address};
	t->node = model_find_node_address(svc->engine->m, address);
	svc->n_targets++;
}

static void list_targets(struct engine_service *svc)
{
	const struct model *m = svc->engine->m;
	const struct model_service *ms = config_of(svc);
	struct probe_target old[MODEL_TARGETS_MAX + MODEL_NODES_MAX];
	const unsigned n_old = svc->n_targets;

	memcpy(old, svc->targets, sizeof(old));
	svc->n_targets = 0;
	switch (ms->isolation) {
	case MODEL_ISOLATION_OFF:
		return;
	case MODEL_ISOLATION_AUTO:
		add_target(svc, &svc->gateway, old, n_old);
		break;
	case MODEL_ISOLATION_LIST:
		for (unsigned i = 0; i < ms->n_targets; i++)
			add_target(svc, &ms->targets[i], old, n_old);
		break;
	}
	for (uint32_t i = 0; i < m->n_nodes; i++)
		add_target(svc, &model_node(m, i)->address, old, n_old);
}

/* The isolation rule must know whether there is anybody to ask. */
static void tell_targets(struct engine_service *svc)
{
	struct service_event ev = {.type = SERVICE_EV_TARGETS};

	for (unsigned i = 0; i < svc->n_targets; i++)
		ev.ok = ev.ok || svc->targets[i].node == MODEL_NONE;
	engine_service_event(svc->engine, svc->row, &ev);
}

void probe_set_gateway(struct engine *e, uint32_t service, const struct ip_addr *gateway)
{
	struct engine_service *svc = &e->services[service];

	if (ip_addr_equal(&svc->gateway, gateway))
		return;
	svc->gateway_mac_known = false;
	svc->gateway = *gateway;
	list_targets(svc);
	tell_targets(svc);
	/* Ask it now: until it has answered once, the isolation rule cannot speak. */
	svc->probed_at = 0;
	probe_update(e, service);
}

static void probe_target(struct engine_service *svc, struct probe_target *t, mtime now,
			 mtime give_up)
{
	const size_t ring = sizeof(t->sent) / sizeof(t->sent[0]);
	struct arp_frame f;

	for (size_t i = 0; i < ring; i++)
		if (t->sent[i] != 0 && now - t->sent[i] > give_up)
			t->sent[i] = 0;
	arp_request(&f, svc->mac, own_address(svc).v4.s_addr, t->address.v4.s_addr);
	if (!probe_send_frame(svc, &f))
		return;
	t->sent[t->next] = now;
	t->next = (t->next + 1) % ring;
}

/* The oldest open request's send time, all of them closed; 0: none was open. */
static mtime take_oldest(struct probe_target *t)
{
	mtime oldest = MTIME_NEVER;

	for (size_t i = 0; i < sizeof(t->sent) / sizeof(t->sent[0]); i++)
		if (t->sent[i] != 0)
			oldest = mtime_min(oldest, t->sent[i]);
	memset(t->sent, 0, sizeof(t->sent));
	return oldest == MTIME_NEVER ? 0 : oldest;
}

static void on_answer(struct engine_service *svc, const struct arp_frame *f)
{
	const struct ip_addr spa = ip_addr_v4(f->spa);
	struct probe_target *t = find_target(svc->targets, svc->n_targets, &spa);
	mtime sent_at;

	if (ip_addr_equal(&svc->gateway, &spa)) {
		memcpy(svc->gateway_mac, f->sha, sizeof(svc->gateway_mac));
		svc->gateway_mac_known = true;
	}
	if (t == NULL)
		return;
	/* HELLO tells it too; at a boot beside a blocked peer link there is none. */
	if (t->node != MODEL_NONE && t->node != svc->engine->m->self && !mac_known(svc, t->node))
		memcpy(svc->node_mac[t->node], f->sha, sizeof(svc->node_mac[0]));
	sent_at = take_oldest(t);
	if (sent_at == 0)
		return; /* a second answer to one request */
	t->answered = sent_at;
	const struct service_event ev = {.type = SERVICE_EV_PROBE_ANSWER,
					 .sent_at = sent_at,
					 .is_node = t->node != MODEL_NONE};

	engine_service_event(svc->engine, svc->row, &ev);
}

/* ---- conflict ------------------------------------------------------------------------------- */

static int node_by_mac(const struct engine_service *svc, const uint8_t mac[6])
{
	for (uint32_t i = 0; i < svc->engine->m->n_nodes; i++)
		if ((int)i != svc->engine->m->self && mac_known(svc, (int)i) &&
		    memcmp(svc->node_mac[i], mac, sizeof(svc->node_mac[i])) == 0)
			return (int)i;
	return MODEL_NONE;
}

static bool is_vip(const struct engine_service *svc, const struct ip_addr *address)
{
	const struct model_service *ms = config_of(svc);

	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ip_addr_equal(&ms->vips[i], address))
			return true;
	return false;
}

static void log_conflict(struct engine_service *svc, const struct arp_frame *f, int node)
{
	const struct model *m = svc->engine->m;
	char address[INET_ADDRSTRLEN];
	uint64_t missed;

	if (!ratelimit_pass(&svc->conflict_log, mtime_now(), &missed))
		return;
	inet_ntop(AF_INET, &f->spa, address, sizeof(address));
	log_warn(
		"service %s: %s is claimed by %02x:%02x:%02x:%02x:%02x:%02x (%s; %llu more before)",
		model_service_name(m, svc->row), address, f->sha[0], f->sha[1], f->sha[2],
		f->sha[3], f->sha[4], f->sha[5],
		node == MODEL_NONE ? "unknown" : model_node_name(m, (uint32_t)node),
		(unsigned long long)missed);
}

/* Somebody says that one of our virtual addresses is at its MAC. */
static void on_claim(struct engine_service *svc, const struct arp_frame *f)
{
	const int node = node_by_mac(svc, f->sha);
	struct service_event ev = {.type = SERVICE_EV_CONFLICT};

	/* On a Backup it is the Active, and right. */
	if (svc->fsm.state != SERVICE_STATE_ACTIVE &&
	    !service_wants_conflict_probe(&svc->fsm, mtime_now()))
		return;
	/* The gateway answers for others too (proxy ARP): that says nothing. */
	if (node == MODEL_NONE && svc->gateway_mac_known &&
	    memcmp(svc->gateway_mac, f->sha, sizeof(svc->gateway_mac)) == 0)
		return;
	log_conflict(svc, f, node);
	ev.conflict = node == MODEL_NONE ? SERVICE_CONFLICT_UNKNOWN : SERVICE_CONFLICT_NODE;
	ev.peer = node == MODEL_NONE ? 0 : (unsigned)node;
	engine_service_event(svc->engine, svc->row, &ev);
}

static void probe_conflicts(struct engine_service *svc)
{
	const struct model_service *ms = config_of(svc);
	struct arp_frame f;

	for (unsigned i = 0; i < ms->n_vips; i++) {
		if (ms->vips[i].family != AF_INET)
			continue;
		arp_probe(&f, svc->mac, ms->vips[i].v4.s_addr);
		probe_send_frame(svc, &f);
	}
	/* To judge the answers its MAC is needed, also where it is no target. */
	if (!svc->gateway_mac_known && svc->gateway.family == AF_INET &&
	    find_target(svc->targets, svc->n_targets, &svc->gateway) == NULL) {
		arp_request(&f, svc->mac, own_address(svc).v4.s_addr, svc->gateway.v4.s_addr);
		probe_send_frame(svc, &f);
	}
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void receive_one(struct engine_service *svc, const uint8_t *buf, size_t len)
{
	struct arp_frame f;

	if (arp_parse(buf, len, &f) < 0 || memcmp(f.sha, svc->mac, sizeof(f.sha)) == 0)
		return;

	const struct ip_addr spa = ip_addr_v4(f.spa);

	if (is_vip(svc, &spa))
		on_claim(svc, &f);
	else if (f.op == ARP_OP_REPLY && f.tpa == own_address(svc).v4.s_addr &&
		 memcmp(f.tha, svc->mac, sizeof(f.tha)) == 0)
		on_answer(svc, &f);
}

void probe_drain(struct engine *e, uint32_t service)
{
	struct engine_service *svc = &e->services[service];
	uint8_t buf[FRAME_MAX];

	if (!ev_is_active(&svc->arp_watcher))
		return;
	for (int i = 0; i < DRAIN_MAX; i++) {
		const ssize_t len = recv(svc->arp_fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (len >= 0)
			receive_one(svc, buf, (size_t)len);
		else if (errno != EINTR)
			return; /* nothing more, or ENETDOWN, which the call has cleared */
	}
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct engine_service *svc = w->data;

	probe_drain(svc->engine, svc->row);
}

/* ---- the timer ------------------------------------------------------------------------------ */

static bool is_due(mtime last, mtime interval, mtime now)
{
	return last == 0 || now - last >= interval;
}

static void send_round(struct engine_service *svc, mtime interval, mtime now)
{
	svc->probed_at = now;
	/*
	 * An answer will renew S, which promises that the peers have heard of us shortly before:
	 * so a HELLO goes with each round, unless one has just gone.
	 */
	if (svc->fsm.may_run && now - svc->engine->hello_at > interval / 4)
		peer_io_hello_now(svc->engine);
	for (unsigned i = 0; i < svc->n_targets; i++)
		probe_target(svc, &svc->targets[i], now, interval + interval / 2);
}

void probe_update(struct engine *e, uint32_t service)
{
	struct engine_service *svc = &e->services[service];
	mtime now = mtime_now();
	const mtime interval = service_probe_interval(&svc->fsm, now);
	const bool conflicts = service_wants_conflict_probe(&svc->fsm, now);
	mtime next;

	announce_update(svc);
	ev_timer_stop(e->loop, &svc->probe_timer);
	if (!ev_is_active(&svc->arp_watcher) || interval <= 0 || interval == MTIME_NEVER)
		return;
	if (is_due(svc->probed_at, interval, now)) {
		probe_drain(e, service);
		now = mtime_now();
		send_round(svc, interval, now);
	}
	if (conflicts && is_due(svc->conflict_probed_at, interval, now)) {
		svc->conflict_probed_at = now;
		probe_conflicts(svc);
	}
	next = svc->probed_at + interval;
	if (conflicts)
		next = mtime_min(next, svc->conflict_probed_at + interval);
	ev_now_update(e->loop);
	ev_timer_set(&svc->probe_timer, (double)mtime_max(next - now, MTIME_US(100)) / 1e9, 0.);
	ev_timer_start(e->loop, &svc->probe_timer);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine_service *svc = w->data;

	probe_update(svc->engine, svc->row);
}

void probe_open(struct engine *e, uint32_t service, int fd)
{
	struct engine_service *svc = &e->services[service];

	if (ev_is_active(&svc->arp_watcher)) {
		ev_io_stop(e->loop, &svc->arp_watcher);
		fd_close(&svc->arp_fd);
	}
	svc->arp_fd = fd;
	svc->probed_at = svc->conflict_probed_at = 0;
	for (unsigned i = 0; i < svc->n_targets; i++)
		memset(svc->targets[i].sent, 0, sizeof(svc->targets[i].sent));
	tell_targets(svc);
	if (fd < 0)
		return;
	ev_io_init(&svc->arp_watcher, on_readable, fd, EV_READ);
	ev_set_priority(&svc->arp_watcher, 1); /* above the timers, as vrrp_io.c has it */
	svc->arp_watcher.data = svc;
	ev_io_start(e->loop, &svc->arp_watcher);
}

void probe_init(struct engine *e)
{
	for (uint32_t row = 0; row < e->m->n_services; row++) {
		struct engine_service *svc = &e->services[row];

		svc->engine = e;
		svc->row = row;
		svc->arp_fd = -1;
		ev_timer_init(&svc->probe_timer, on_timer, 0., 0.);
		svc->probe_timer.data = svc;
		announce_init(svc);
		list_targets(svc);
	}
}
