/* SPDX-License-Identifier: MIT */
#include "supd/engine/probe.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * ARP and ND: is this node cut off?  (Who else holds the virtual address: conflict.c, by the same
 * sockets and the same timer.)
 *
 * Every probe interval each target is asked for its MAC in our own name.  An answer does not say
 * which request it answers.  It is taken for the answer to the oldest request that is open, so that
 * S, the newest moment at which we were surely connected, is never overstated; a request is given
 * up when one is sent 1.5 intervals later, and an answer closes all that are open, so that a lost
 * one does not make every later answer look old.  What waits in the sockets is read before anything
 * is sent: an answer that came while we were stalled belongs to the past.
 *
 * A target of IPv6 is asked from an own IPv6 address, for the answer to come to us alone: one to
 * all nodes proves one direction only.  Without such an address it is not asked.
 */

#define FRAME_MAX 128
#define DRAIN_MAX 1000

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

struct ip_addr probe_own_address(const struct engine_service *svc, const struct ip_addr *to)
{
	const struct model *m = svc->engine->m;
	const struct ip_addr none = {0};

	if (m->self != MODEL_NONE &&
	    model_node(m, (uint32_t)m->self)->address.family == to->family)
		return model_node(m, (uint32_t)m->self)->address;
	return to->family == AF_INET6 ? svc->link_local : none;
}

bool probe_send_frame(struct engine_service *svc, const struct ip_addr *address,
		      const uint8_t *frame, size_t len)
{
	struct engine_wire *wire = &svc->wires[engine_family(address)];
	uint64_t missed;

	if (len == 0 || !ev_is_active(&wire->watcher))
		return false;
	if (send(wire->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return true;

	const int error = errno;

	if (ratelimit_pass(&svc->probe_log, mtime_now(), &missed))
		log_warn("service %s: %s not sent: %s (%llu more before), going on",
			 model_service_name(svc->engine->m, svc->row),
			 address->family == AF_INET6 ? "ND" : "ARP", strerror(error),
			 (unsigned long long)missed);
	return false;
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

/* Once each, where we can ask; what is known about one that was there before is kept. */
static void add_target(struct engine_service *svc, const struct ip_addr *address,
		       struct probe_target *old, unsigned n_old)
{
	const struct probe_target *known = find_target(old, n_old, address);
	const struct ip_addr own = probe_own_address(svc, address);
	struct probe_target *t = &svc->targets[svc->n_targets];

	if (address->family == 0 || own.family == 0 || ip_addr_equal(address, &own) ||
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
		for (unsigned i = 0; i < 2; i++)
			add_target(svc, &svc->gateways[i].address, old, n_old);
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

/* Ask new ones now: until one has answered once, the isolation rule cannot speak. */
static void ask_anew(struct engine_service *svc)
{
	list_targets(svc);
	tell_targets(svc);
	svc->probed_at = 0;
	probe_update(svc->engine, svc->row);
}

void probe_set_gateways(struct engine *e, uint32_t service, const struct ip_addr gateways[2])
{
	struct engine_service *svc = &e->services[service];
	bool changed = false;

	for (unsigned i = 0; i < 2; i++) {
		if (ip_addr_equal(&svc->gateways[i].address, &gateways[i]))
			continue;
		svc->gateways[i] = (struct engine_gateway){.address = gateways[i]};
		changed = true;
	}
	if (changed)
		ask_anew(svc);
}

void probe_set_six(struct engine *e, uint32_t service, const struct ip_addr *link_local,
		   bool router)
{
	struct engine_service *svc = &e->services[service];

	svc->router = router;
	if (ip_addr_equal(&svc->link_local, link_local))
		return;
	svc->link_local = *link_local;
	ask_anew(svc);
}

bool probe_is_target(const struct engine_service *svc, const struct ip_addr *address)
{
	for (unsigned i = 0; i < svc->n_targets; i++)
		if (ip_addr_equal(&svc->targets[i].address, address))
			return true;
	return false;
}

static void note_request(struct probe_target *t, mtime now, mtime give_up)
{
	const size_t ring = sizeof(t->sent) / sizeof(t->sent[0]);

	for (size_t i = 0; i < ring; i++)
		if (t->sent[i] != 0 && now - t->sent[i] > give_up)
			t->sent[i] = 0;
	t->sent[t->next] = t->asked = now;
	t->next = (t->next + 1) % ring;
}

static bool is_beside(const struct engine_service *svc, const struct engine_service *other)
{
	return other->ifindex == svc->ifindex && ev_is_active(&other->wires[0].watcher);
}

/* An answer comes to every service on the interface, so one of them asks for all. */
static void probe_target(struct engine_service *svc, const struct ip_addr *address, mtime now,
			 mtime give_up)
{
	const struct ip_addr own = probe_own_address(svc, address);
	struct engine *e = svc->engine;
	uint8_t frame[NEIGH_FRAME_MAX];

	if (!probe_send_frame(svc, address, frame,
			      neigh_request(svc->mac, &own, address, frame)))
		return;
	for (uint32_t i = 0; i < e->m->n_services; i++) {
		struct engine_service *other = &e->services[i];
		struct probe_target *t = find_target(other->targets, other->n_targets, address);

		if (t != NULL && is_beside(svc, other))
			note_request(t, now, give_up);
	}
}

static void forget_requests(struct probe_target *t)
{
	memset(t->sent, 0, sizeof(t->sent));
	t->asked = 0;
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

static void on_answer(struct engine_service *svc, const struct neigh_claim *c)
{
	struct probe_target *t = find_target(svc->targets, svc->n_targets, &c->address);
	struct engine_gateway *g = &svc->gateways[engine_family(&c->address)];
	mtime sent_at;

	if (ip_addr_equal(&g->address, &c->address)) {
		memcpy(g->mac, c->mac, sizeof(g->mac));
		g->mac_known = true;
	}
	if (t == NULL)
		return;
	/* HELLO tells it too; at a boot beside a blocked peer link there is none. */
	if (t->node != MODEL_NONE && t->node != svc->engine->m->self && !conflict_mac_known(svc, t->node))
		memcpy(svc->node_mac[t->node], c->mac, sizeof(svc->node_mac[0]));
	sent_at = take_oldest(t);
	if (sent_at == 0)
		return; /* a second answer to one request */
	t->answered = sent_at;
	const struct service_event ev = {.type = SERVICE_EV_PROBE_ANSWER,
					 .sent_at = sent_at,
					 .is_node = t->node != MODEL_NONE};

	engine_service_event(svc->engine, svc->row, &ev);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void receive_one(struct engine_service *svc, const uint8_t *buf, size_t len)
{
	struct neigh_claim c;
	struct ip_addr own;

	if (neigh_parse(buf, len, &c) < 0 || memcmp(c.mac, svc->mac, sizeof(c.mac)) == 0)
		return;
	own = probe_own_address(svc, &c.address);
	if (conflict_is_vip(svc, &c.address))
		conflict_claim(svc, &c);
	else if (c.answer && ip_addr_equal(&c.to, &own) &&
		 memcmp(c.to_mac, svc->mac, sizeof(c.to_mac)) == 0)
		on_answer(svc, &c);
}

static void drain_wire(struct engine_service *svc, const struct engine_wire *wire)
{
	uint8_t buf[FRAME_MAX];

	for (int i = 0; i < DRAIN_MAX && ev_is_active(&wire->watcher); i++) {
		const ssize_t len = recv(wire->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (len >= 0)
			receive_one(svc, buf, (size_t)len);
		else if (errno != EINTR)
			return; /* nothing more, or ENETDOWN, which the call has cleared */
	}
}

void probe_drain(struct engine *e, uint32_t service)
{
	struct engine_service *svc = &e->services[service];

	for (unsigned i = 0; i < 2; i++)
		drain_wire(svc, &svc->wires[i]);
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
	struct engine *e = svc->engine;
	bool runs = false, asks = false;

	svc->probed_at = now;
	for (uint32_t i = 0; i < e->m->n_services && !runs; i++)
		runs = e->services[i].fsm.may_run && is_beside(svc, &e->services[i]);
	for (unsigned i = 0; i < svc->n_targets; i++)
		asks = asks || is_due(svc->targets[i].asked, interval - interval / 4, now);
	/*
	 * An answer will renew S, which promises that the peers have heard of us shortly before:
	 * so a HELLO goes with each round, unless one has just gone.  "Just" is what the budget's
	 * 1 % covers: a host that was cut off for an advert_int, and comes back for a moment
	 * between the two, would renew S with nobody having heard it.
	 */
	if (runs && asks && now - e->hello_at > interval / 50)
		peer_io_hello_now(e);
	for (unsigned i = 0; i < svc->n_targets; i++)
		if (is_due(svc->targets[i].asked, interval - interval / 4, now))
			probe_target(svc, &svc->targets[i].address, now, interval + interval / 2);
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
	if (!ev_is_active(&svc->wires[0].watcher) || interval <= 0 || interval == MTIME_NEVER)
		return;
	if (is_due(svc->probed_at, interval, now)) {
		probe_drain(e, service);
		now = mtime_now();
		send_round(svc, interval, now);
	}
	if (conflicts && is_due(svc->conflict_probed_at, interval, now)) {
		svc->conflict_probed_at = now;
		conflict_probe(svc);
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

static void open_wire(struct engine_service *svc, struct engine_wire *wire, int fd)
{
	struct ev_loop *loop = svc->engine->loop;

	if (ev_is_active(&wire->watcher)) {
		ev_io_stop(loop, &wire->watcher);
		fd_close(&wire->fd);
	}
	wire->fd = fd;
	if (fd < 0)
		return;
	ev_io_init(&wire->watcher, on_readable, fd, EV_READ);
	ev_set_priority(&wire->watcher, 1); /* above the timers, as vrrp_io.c has it */
	wire->watcher.data = svc;
	ev_io_start(loop, &wire->watcher);
}

void probe_open(struct engine *e, uint32_t service, const int fds[2])
{
	struct engine_service *svc = &e->services[service];

	svc->probed_at = svc->conflict_probed_at = 0;
	for (unsigned i = 0; i < svc->n_targets; i++)
		forget_requests(&svc->targets[i]);
	for (unsigned i = 0; i < 2; i++)
		open_wire(svc, &svc->wires[i], fds[i]);
	tell_targets(svc);
}

void probe_init(struct engine *e)
{
	for (uint32_t row = 0; row < e->m->n_services; row++) {
		struct engine_service *svc = &e->services[row];

		svc->engine = e;
		svc->row = row;
		svc->wires[0].fd = svc->wires[1].fd = -1;
		ev_timer_init(&svc->probe_timer, on_timer, 0., 0.);
		svc->probe_timer.data = svc;
		announce_init(svc);
		list_targets(svc);
	}
}
