/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_ADDRESS_IO_H
#define SUPD_ENGINE_ADDRESS_IO_H

#include "supd/engine/engine.h"

/*
 * The service's addresses, by whichever vip_backend: net (netlink), vip_io.c (command), or nobody.
 * Called by service_io.c.
 */
void address_io_init(struct engine_service *svc);
void address_io_order(struct engine_service *svc, enum ipc_address_op op, mtime now);
/* After each step of the service: left-overs, the lease, the check. */
void address_io_update(struct engine_service *svc, mtime now);
/* Whether the addresses belong here now: from their adding to the moment they are to go. */
bool address_io_holds(const struct service_fsm *f);

/* ---- vip_io.c ---- */
void vip_io_init(struct engine_service *svc);
/*
 * ADD or REMOVE by vip_command; service_io_address_result() follows, but where a newer order of the
 * other kind comes first.  `careful`: only what a check finds here is released.
 */
void vip_io_order(struct engine_service *svc, enum ipc_address_op op, uint64_t order,
		  bool careful);
void vip_io_update(struct engine_service *svc);
void vip_io_done(struct engine_service *svc, const struct ipc_hook_done *d);

#endif
