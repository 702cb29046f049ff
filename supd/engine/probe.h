/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PROBE_H
#define SUPD_ENGINE_PROBE_H

#include <stdbool.h>

#include "supd/engine/engine.h"

/* Between probe.c and announce.c, which share the ARP socket. */

struct arp_frame;

/* Whether it was sent; a failure is logged now and then. */
bool probe_send_frame(struct engine_service *svc, const struct arp_frame *f);

void announce_init(struct engine_service *svc);
/* After each step of the service: begin or end the regular announcements. */
void announce_update(struct engine_service *svc);

#endif
