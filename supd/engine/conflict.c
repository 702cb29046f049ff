/* SPDX-License-Identifier: MIT */
#include "supd/engine/probe.h"

#include <string.h>

#include "common/log.h"

/*
 * Does somebody else hold a virtual address?
 *
 * From the first missed advert until the start order the addresses are asked for by probes that
 * claim nothing.  Who answers is told by its MAC.  While we are active, anyone who announces one of
 * our addresses is told too, and answered: announce.c.
 *
 * A gateway answers for others (proxy ARP, proxy ND): its MAC says nothing.
 */

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

bool conflict_mac_known(const struct engine_service *svc, int node)
{
	static const uint8_t unknown[6];

	return memcmp(svc->node_mac[node], unknown, sizeof(unknown)) != 0;
}

static int node_by_mac(const struct engine_service *svc, const uint8_t mac[6])
{
	for (uint32_t i = 0; i < svc->engine->m->n_nodes; i++)
		if ((int)i != svc->engine->m->self && conflict_mac_known(svc, (int)i) &&
		    memcmp(svc->node_mac[i], mac, sizeof(svc->node_mac[i])) == 0)
			return (int)i;
	return MODEL_NONE;
}

/* A virtual router's own MAC (RFC 9568 section 7.3) with our VRID: that of a plain router's. */
static int node_by_virtual_mac(const struct engine_service *svc, const uint8_t mac[6])
{
	const uint8_t four[6] = {0, 0, 0x5e, 0, 1, config_of(svc)->vrid};
	const uint8_t six[6] = {0, 0, 0x5e, 0, 2, config_of(svc)->vrid};
	int newest = MODEL_NONE;

	if (memcmp(mac, four, 6) != 0 && memcmp(mac, six, 6) != 0)
		return MODEL_NONE;
	for (uint32_t i = 0; i < svc->engine->m->n_nodes; i++) {
		if (model_node(svc->engine->m, i)->peer_link || (int)i == svc->engine->m->self)
			continue;
		if (newest == MODEL_NONE ||
		    svc->fsm.peers[i].advert > svc->fsm.peers[newest].advert)
			newest = (int)i;
	}
	return newest;
}

/* Of either family: one router may answer for both. */
static bool is_gateway(const struct engine_service *svc, const uint8_t mac[6])
{
	for (unsigned i = 0; i < 2; i++)
		if (svc->gateways[i].mac_known && memcmp(svc->gateways[i].mac, mac, 6) == 0)
			return true;
	return false;
}

bool conflict_is_vip(const struct engine_service *svc, const struct ip_addr *address)
{
	const struct model_service *ms = config_of(svc);

	for (unsigned i = 0; i < ms->n_vips; i++)
		if (ip_addr_equal(&ms->vips[i], address))
			return true;
	return false;
}

static void log_claim(struct engine_service *svc, const struct neigh_claim *c, int node)
{
	const struct model *m = svc->engine->m;
	char address[IP_ADDR_TEXT];
	uint64_t missed;

	if (!ratelimit_pass(&svc->conflict_log, mtime_now(), &missed))
		return;
	log_warn(
		"service %s: %s is claimed by %02x:%02x:%02x:%02x:%02x:%02x (%s; %llu more before)",
		model_service_name(m, svc->row), ip_addr_text(&c->address, address), c->mac[0],
		c->mac[1], c->mac[2], c->mac[3], c->mac[4], c->mac[5],
		node == MODEL_NONE ? "unknown" : model_node_name(m, (uint32_t)node),
		(unsigned long long)missed);
}

void conflict_claim(struct engine_service *svc, const struct neigh_claim *c)
{
	int node = node_by_mac(svc, c->mac);
	struct service_event ev = {.type = SERVICE_EV_CONFLICT};

	/* On a Backup it is the Active, and right. */
	if (svc->fsm.state != SERVICE_STATE_ACTIVE &&
	    !service_wants_conflict_probe(&svc->fsm, mtime_now()))
		return;
	if (node == MODEL_NONE)
		node = node_by_virtual_mac(svc, c->mac);
	if (node == MODEL_NONE && is_gateway(svc, c->mac))
		return;
	log_claim(svc, c, node);
	ev.conflict = node == MODEL_NONE ? SERVICE_CONFLICT_UNKNOWN : SERVICE_CONFLICT_NODE;
	ev.peer = node == MODEL_NONE ? 0 : (unsigned)node;
	engine_service_event(svc->engine, svc->row, &ev);
	/* Who of two nodes is right, the terms decide, and not the louder one. */
	announce_again(svc, node == MODEL_NONE);
}

/* To judge the answers its MAC is needed, also where it is no target. */
static void ask_gateway(struct engine_service *svc, const struct engine_gateway *g)
{
	const struct ip_addr own = probe_own_address(svc, &g->address);
	uint8_t frame[NEIGH_FRAME_MAX];

	if (g->mac_known || g->address.family == 0 || probe_is_target(svc, &g->address))
		return;
	probe_send_frame(svc, &g->address, frame,
			 neigh_request(svc->mac, &own, &g->address, frame));
}

void conflict_probe(struct engine_service *svc)
{
	const struct model_service *ms = config_of(svc);
	uint8_t frame[NEIGH_FRAME_MAX];

	for (unsigned i = 0; i < ms->n_vips; i++)
		probe_send_frame(svc, &ms->vips[i], frame,
				 neigh_probe(svc->mac, &ms->vips[i], frame));
	for (unsigned i = 0; i < 2; i++)
		ask_gateway(svc, &svc->gateways[i]);
}
