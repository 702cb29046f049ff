/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/log.h"

/*
 * Adverts in and out of the raw socket that net made (bound to our address, or to the group, and to
 * the service's interface; TTL 255; filtered to the service's VRID).
 *
 * The watcher stands above the timers: after a stall both an expired Active_Down and the adverts of
 * the time wait, and libev would run the timer first.  Whoever acts on an expiry drains first too
 * (engine_drain), since a priority only orders what one poll has seen.
 *
 * An IPv4 datagram comes with its header, an IPv6 one without: there source, destination and hop
 * limit come beside it, and the kernel has verified the checksum, and fills it in on the way out
 * (IPV6_CHECKSUM).  With transport = udp adverts come and go by the peer link instead, sealed, and
 * the raw socket hears nothing.  An IPv6 advert names its source, or the kernel might choose a virtual address.
 */

#define DATAGRAM_MAX (60 + VRRP_PACKET_MAX + 64)
#define DRAIN_MAX    1000 /* more than the socket's buffer holds: a flood does not hold us here */

static struct engine_service *service_of(struct engine *e, uint32_t row)
{
	return &e->services[row];
}

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

/* Where the node's adverts of this service come from. */
static struct ip_addr address_of(const struct engine_service *svc, uint32_t node)
{
	return model_vrrp_address(config_of(svc), model_node(svc->engine->m, node));
}

/* The other nodes' addresses; linked or plain VRRP routers alike. */
static size_t list_peers(const struct engine_service *svc, struct ip_addr ret[MODEL_NODES_MAX])
{
	const struct model *m = svc->engine->m;
	size_t n = 0;

	for (uint32_t i = 0; i < m->n_nodes; i++)
		if ((int)i != m->self)
			ret[n++] = address_of(svc, i);
	return n;
}

static unsigned node_of(const struct engine_service *svc, const struct ip_addr *address)
{
	const struct model *m = svc->engine->m;

	for (uint32_t i = 0; i < m->n_nodes; i++) {
		const struct ip_addr a = address_of(svc, i);

		if ((int)i != m->self && ip_addr_equal(&a, address))
			return i;
	}
	return m->n_nodes;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void tell_advert(struct engine_service *svc, unsigned peer, uint8_t priority, mtime interval)
{
	const struct service_event ev = {
		.type = SERVICE_EV_ADVERT, .peer = peer, .priority = priority, .interval = interval};

	svc->adverts_received++;
	engine_service_event(svc->engine, svc->row, &ev);
}

/*
 * Our VRID and a node's address: not what we expect, but somebody there is active.  Of a linked node
 * the peer link says so.
 */
static void tell_refused(struct engine_service *svc, unsigned peer)
{
	const struct service_event ev = {.type = SERVICE_EV_ADVERT_REFUSED, .peer = peer};

	if (!model_node(svc->engine->m, peer)->peer_link)
		engine_service_event(svc->engine, svc->row, &ev);
}

/* Sealed, and from a node whose safety digest tells what else of it may differ. */
void vrrp_io_hear(struct engine *e, uint32_t service, unsigned peer, uint8_t priority,
		  mtime interval)
{
	if (model_service(e->m, service)->transport == MODEL_TRANSPORT_UDP)
		tell_advert(service_of(e, service), peer, priority, interval);
}

static void take(struct engine_service *svc, const struct vrrp_datagram *d)
{
	struct ip_addr peers[MODEL_NODES_MAX];
	const size_t n_peers = list_peers(svc, peers);
	struct vrrp_profile profile;
	struct vrrp_packet p;
	enum vrrp_reject reject;

	vrrp_profile_of(svc, &profile);
	reject = vrrp_packet_parse(d, &profile, peers, n_peers, &p);
	if (reject != VRRP_REJECT_NONE) {
		vrrp_tell_reject(svc, reject, d);
		if (reject > VRRP_REJECT_NOT_A_PEER)
			tell_refused(svc, node_of(svc, &d->src));
		return;
	}
	vrrp_tell_differences(svc, &p);
	tell_advert(svc, node_of(svc, &p.src), p.priority, p.interval);
}

static void take_ip4(struct engine_service *svc, const uint8_t *datagram, size_t len)
{
	struct vrrp_datagram d = {0};
	const enum vrrp_reject reject = vrrp_packet_unwrap(datagram, len, &d);

	if (reject != VRRP_REJECT_NONE)
		vrrp_tell_reject(svc, reject, &d);
	else
		take(svc, &d);
}

/* What the kernel says beside an IPv6 datagram: RFC 3542 sections 6.1 and 6.3. */
static void read_control(struct msghdr *msg, struct vrrp_datagram *d)
{
	struct in6_pktinfo info;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != IPPROTO_IPV6)
			continue;
		if (c->cmsg_type == IPV6_HOPLIMIT && c->cmsg_len >= CMSG_LEN(sizeof(d->ttl)))
			memcpy(&d->ttl, CMSG_DATA(c), sizeof(d->ttl));
		if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_len >= CMSG_LEN(sizeof(info))) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			d->dst = ip_addr_v6(&info.ipi6_addr);
		}
	}
}

/* One datagram; its length, or -1 with errno. */
static ssize_t receive_one(struct engine_service *svc)
{
	union {
		char buf[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control;
	uint8_t datagram[DATAGRAM_MAX];
	struct sockaddr_storage from;
	struct iovec iov = {.iov_base = datagram, .iov_len = sizeof(datagram)};
	struct msghdr msg = {.msg_name = &from,
			     .msg_namelen = sizeof(from),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	const ssize_t len = recvmsg(svc->vrrp_fd, &msg, MSG_DONTWAIT);
	struct vrrp_datagram d = {.message = datagram, .verified = true};

	if (len < 0)
		return len;
	d.src = ip_addr_from_sockaddr(&from, msg.msg_namelen);
	d.len = (size_t)len;
	if (d.src.family == AF_INET6) {
		read_control(&msg, &d);
		take(svc, &d);
	} else {
		take_ip4(svc, datagram, (size_t)len);
	}
	return len;
}

void vrrp_io_drain(struct engine *e, uint32_t service)
{
	struct engine_service *svc = service_of(e, service);

	if (!ev_is_active(&svc->vrrp_watcher))
		return;
	for (int i = 0; i < DRAIN_MAX; i++)
		if (receive_one(svc) < 0 && errno != EINTR)
			return; /* nothing more, or an error that the call has cleared */
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

static void count_failure(struct engine_service *svc, const struct ip_addr *to, int error)
{
	char text[IP_ADDR_TEXT];
	uint64_t missed;

	if (ratelimit_pass(&svc->send_log, mtime_now(), &missed))
		log_warn("service %s: advert to %s not sent: %s (%llu more before), going on",
			 model_service_name(svc->engine->m, svc->row), ip_addr_text(to, text),
			 strerror(error), (unsigned long long)missed);
}

/* 0 or -errno. */
static int send_message(const struct engine_service *svc, const struct vrrp_packet *p,
			const uint8_t *buf, size_t len)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr header;
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(struct in6_pktinfo)),
				.cmsg_level = IPPROTO_IPV6,
				.cmsg_type = IPV6_PKTINFO}};
	const struct in6_pktinfo from = {.ipi6_addr = p->src.v6, .ipi6_ifindex = svc->ifindex};
	struct sockaddr_storage to;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1};

	msg.msg_namelen = ip_addr_to_sockaddr(&p->dst, 0, svc->ifindex, &to);
	if (p->dst.family == AF_INET6) {
		memcpy(CMSG_DATA(&control.header), &from, sizeof(from));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	return sendmsg(svc->vrrp_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* To one node or to the group: the checksum covers the real destination. */
static void send_to(struct engine_service *svc, struct vrrp_packet *p, const struct ip_addr *to)
{
	uint8_t buf[VRRP_PACKET_MAX];
	struct vrrp_profile profile;
	size_t len;
	int r;

	if (to->family == AF_UNSPEC)
		return;
	vrrp_profile_of(svc, &profile);
	p->dst = *to;
	len = vrrp_packet_build(&profile, p, buf, sizeof(buf));
	r = len > 0 ? send_message(svc, p, buf, len) : -EINVAL;
	if (r < 0)
		count_failure(svc, to, -r);
	else
		svc->adverts_sent++;
}

void vrrp_io_send(struct engine *e, uint32_t service, uint8_t priority)
{
	struct engine_service *svc = service_of(e, service);
	const struct ip_addr group = vrrp_packet_group(model_vrrp_family(config_of(svc)));
	struct vrrp_packet p;

	if (config_of(svc)->transport == MODEL_TRANSPORT_UDP) {
		svc->adverts_sent += peer_io_send_advert(e, service, priority);
		return;
	}
	if (!ev_is_active(&svc->vrrp_watcher) || e->m->self == MODEL_NONE)
		return;
	vrrp_advert_of(svc, priority, &p);
	p.src = address_of(svc, (uint32_t)e->m->self);
	if (config_of(svc)->multicast) {
		send_to(svc, &p, &group);
		return;
	}
	for (uint32_t i = 0; i < e->m->n_nodes; i++) {
		const struct ip_addr to = address_of(svc, i);

		if ((int)i != e->m->self)
			send_to(svc, &p, &to);
	}
}
