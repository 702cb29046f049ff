/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * Adverts in and out of the raw socket that net made (bound to our address and to the service's
 * interface, TTL 255, filtered to the service's VRID).
 *
 * The watcher stands above the timers: after a stall both an expired Active_Down and the adverts of
 * the time wait, and libev would run the timer first.  Whoever acts on an expiry drains first too
 * (engine_drain), since a priority only orders what one poll has seen.
 */

#define DATAGRAM_MAX (60 + VRRP_PACKET_MAX + 64)
#define DRAIN_MAX    1000 /* more than the socket's buffer holds: a flood does not hold us here */

static struct engine_service *service_of(struct engine *e, uint32_t row)
{
	return &e->services[row];
}

/* The other nodes' addresses; linked or plain VRRP routers alike. */
static size_t list_peers(const struct engine *e, uint32_t ret[MODEL_NODES_MAX])
{
	size_t n = 0;

	for (uint32_t i = 0; i < e->m->n_nodes; i++)
		if ((int)i != e->m->self)
			ret[n++] = model_node(e->m, i)->address.v4.s_addr;
	return n;
}

static unsigned node_of(const struct engine *e, uint32_t address)
{
	unsigned i = 0;

	while (i < e->m->n_nodes && model_node(e->m, i)->address.v4.s_addr != address)
		i++;
	return i;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* What differs from what was expected; the packet is at least as long as its reason implies. */
static void describe_reject(const struct engine_service *svc, enum vrrp_reject reason,
			    const uint8_t *d, size_t len, char *buf, size_t size)
{
	const struct model_service *ms = model_service(svc->engine->m, svc->row);
	const size_t ip = len > 0 ? (size_t)(d[0] & 0x0f) * 4 : 0;
	const uint8_t *v = d + ip;

	buf[0] = '\0';
	if (len < ip + 8 || len < 28)
		return;
	if (reason == VRRP_REJECT_TTL)
		snprintf(buf, size, ": it is %u, must be 255", d[8]);
	else if (reason == VRRP_REJECT_VERSION)
		snprintf(buf, size, ": it is VRRPv%u, must be 3", v[0] >> 4);
	else if (reason == VRRP_REJECT_VRID)
		snprintf(buf, size, ": it is %u, ours is %u", v[1], ms->vrid);
	else if (reason == VRRP_REJECT_COUNT || reason == VRRP_REJECT_LENGTH)
		snprintf(buf, size, ": %zu bytes with %u addresses", len - ip, v[3]);
	else if (reason == VRRP_REJECT_NOT_A_PEER)
		snprintf(buf, size, ": VRID %u, priority %u", v[1], v[2]);
}

static void count_reject(struct engine_service *svc, enum vrrp_reject reason, const uint8_t *d,
			 size_t len)
{
	char src[INET_ADDRSTRLEN] = "?", detail[80];
	uint64_t missed;

	svc->rejects[reason]++;
	if (!ratelimit_pass(&svc->reject_log[reason], mtime_now(), &missed))
		return;
	if (len >= 20)
		inet_ntop(AF_INET, d + 12, src, sizeof(src));
	describe_reject(svc, reason, d, len, detail, sizeof(detail));
	log_warn("service %s: advert from %s refused for its %s%s (%llu more before), ignoring",
		 model_service_name(svc->engine->m, svc->row), src, vrrp_reject_name(reason),
		 detail, (unsigned long long)missed);
}

static void receive_one(struct engine_service *svc, const uint8_t *datagram, size_t len)
{
	struct engine *e = svc->engine;
	uint32_t peers[MODEL_NODES_MAX];
	const size_t n_peers = list_peers(e, peers);
	struct vrrp_packet p;
	const enum vrrp_reject reason = vrrp_packet_parse(
		datagram, len, model_service(e->m, svc->row)->vrid, peers, n_peers, &p);

	if (reason != VRRP_REJECT_NONE) {
		count_reject(svc, reason, datagram, len);
		return;
	}
	svc->adverts_received++;
	const struct service_event ev = {.type = SERVICE_EV_ADVERT,
					 .peer = node_of(e, p.src),
					 .priority = p.priority,
					 .interval = p.interval};

	engine_service_event(e, svc->row, &ev);
}

void vrrp_io_drain(struct engine *e, uint32_t service)
{
	struct engine_service *svc = service_of(e, service);
	uint8_t datagram[DATAGRAM_MAX];

	if (!ev_is_active(&svc->vrrp_watcher))
		return;
	for (int i = 0; i < DRAIN_MAX; i++) {
		const ssize_t len = recv(svc->vrrp_fd, datagram, sizeof(datagram), MSG_DONTWAIT);

		if (len >= 0)
			receive_one(svc, datagram, (size_t)len);
		else if (errno != EINTR)
			return; /* nothing more, or an error that the call has cleared */
	}
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct engine_service *svc = w->data;

	vrrp_io_drain(svc->engine, svc->row);
}

void vrrp_io_open(struct engine *e, uint32_t service, int fd)
{
	struct engine_service *svc = service_of(e, service);

	if (ev_is_active(&svc->vrrp_watcher)) {
		ev_io_stop(e->loop, &svc->vrrp_watcher);
		fd_close(&svc->vrrp_fd);
	}
	svc->vrrp_fd = fd;
	if (fd < 0)
		return;
	ev_io_init(&svc->vrrp_watcher, on_readable, fd, EV_READ);
	ev_set_priority(&svc->vrrp_watcher, 1);
	svc->vrrp_watcher.data = svc;
	ev_io_start(e->loop, &svc->vrrp_watcher);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void count_failure(struct engine_service *svc, const char *node, int error)
{
	uint64_t missed;

	if (ratelimit_pass(&svc->send_log, mtime_now(), &missed))
		log_warn("service %s: advert to %s not sent: %s (%llu more before), going on",
			 model_service_name(svc->engine->m, svc->row), node, strerror(error),
			 (unsigned long long)missed);
}

/* To one node: the checksum covers the real destination. */
static void send_to(struct engine_service *svc, struct vrrp_packet *p, uint32_t node)
{
	const struct model *m = svc->engine->m;
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_addr = model_node(m, node)->address.v4};
	uint8_t buf[VRRP_PACKET_MAX];
	size_t len;

	p->dst = to.sin_addr.s_addr;
	len = vrrp_packet_build(p, VRRP_CHECKSUM_PSEUDO, buf, sizeof(buf));
	if (sendto(svc->vrrp_fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		   (const struct sockaddr *)&to, sizeof(to)) < 0)
		count_failure(svc, model_node_name(m, node), errno);
	else
		svc->adverts_sent++;
}

void vrrp_io_send(struct engine *e, uint32_t service, uint8_t priority)
{
	struct engine_service *svc = service_of(e, service);
	const struct model_service *ms = model_service(e->m, service);
	struct vrrp_packet p = {.vrid = ms->vrid,
				.priority = priority,
				.interval = ms->advert_int};

	if (!ev_is_active(&svc->vrrp_watcher) || e->m->self == MODEL_NONE)
		return;
	p.src = model_node(e->m, (uint32_t)e->m->self)->address.v4.s_addr;
	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ms->vips[i].family == AF_INET)
			p.addrs[p.count++] = ms->vips[i].v4.s_addr;
	for (uint32_t i = 0; i < e->m->n_nodes; i++)
		if ((int)i != e->m->self)
			send_to(svc, &p, i);
}
