/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PROBE_H
#define SUPD_ENGINE_PROBE_H

#include <stdbool.h>

#include "supd/core/neigh.h"
#include "supd/engine/engine.h"

/* Between probe.c, conflict.c and announce.c, which share the ARP and ND sockets. */

/* Whether the frame for this address was sent; a failure is logged now and then. */
bool probe_send_frame(struct engine_service *svc, const struct ip_addr *address,
		      const uint8_t *frame, size_t len);
/* Our address to ask from, of the same family as `to`; none: there is none. */
struct ip_addr probe_own_address(const struct engine_service *svc, const struct ip_addr *to);
/* Whether the gateway of the address's family is asked as a target. */
bool probe_is_target(const struct engine_service *svc, const struct ip_addr *address);

bool conflict_is_vip(const struct engine_service *svc, const struct ip_addr *address);
bool conflict_mac_known(const struct engine_service *svc, int node);
/* Ask who has the virtual addresses. */
void conflict_probe(struct engine_service *svc);
/* Somebody says that one of our virtual addresses is at its MAC. */
void conflict_claim(struct engine_service *svc, const struct neigh_claim *c);

void announce_init(struct engine_service *svc);
/* After each step of the service: begin or end the regular announcements. */
void announce_update(struct engine_service *svc);
/* Another one has announced an address of ours; a series follows when it is silent again. */
void announce_again(struct engine_service *svc, bool contest);

#endif
