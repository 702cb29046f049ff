/* SPDX-License-Identifier: MIT */
#include "supd/engine/address_io.h"

#include <string.h>

#include "common/log.h"

/*
 * Orders about addresses, and their results.  The machine asks for ADD and REMOVE; what is done
 * besides is here: what a former life left behind goes, once per net process, and while the
 * addresses belong here their lease is refreshed.
 */

bool address_io_holds(const struct service_fsm *f)
{
	switch (f->state) {
	case SERVICE_STATE_ACTIVE:
		return true;
	case SERVICE_STATE_TAKING_OVER:
		return f->phase == SERVICE_PHASE_ADDRESS || f->phase == SERVICE_PHASE_START;
	case SERVICE_STATE_RELEASING:
		return !f->release_kill && (f->phase == SERVICE_PHASE_STOP ||
					    f->phase == SERVICE_PHASE_QUIESCE);
	case SERVICE_STATE_DOWN:
	case SERVICE_STATE_WAITING:
	case SERVICE_STATE_BACKUP:
	case SERVICE_STATE_FAILED:
	case SERVICE_STATE_STOPPED:
		break;
	}
	return false;
}

/* 0: nothing is to be refreshed. */
static mtime lease_of(const struct engine_service *svc)
{
	const struct model_service *ms = model_service(svc->engine->m, svc->row);

	return ms->vip_backend == MODEL_VIP_NETLINK ? ms->vip_lease : 0;
}

static enum model_vip_backend backend_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row)->vip_backend;
}

static void order_by_net(struct engine_service *svc, enum ipc_address_op op, uint64_t order,
			 mtime now)
{
	mtime lease = lease_of(svc);
	mtime valid = lease == 0 ? MTIME_NEVER : now + lease;

	if (op != IPC_ADDRESS_REMOVE)
		svc->lease_refreshed = now;
	/* A refresh must never outlive the programs' own deadline. */
	if (op == IPC_ADDRESS_REFRESH)
		valid = mtime_min(valid, service_kill_at(&svc->fsm));
	net_order_address(svc->engine, svc->row, op, order, valid);
}

static void order(struct engine_service *svc, enum ipc_address_op op, mtime now, bool careful)
{
	const uint64_t number = svc->engine->next_order++;

	if (op != IPC_ADDRESS_REFRESH)
		svc->address_order = number;
	switch (backend_of(svc)) {
	case MODEL_VIP_NETLINK:
		order_by_net(svc, op, number, now);
		break;
	case MODEL_VIP_COMMAND:
		vip_io_order(svc, op, number, careful);
		break;
	case MODEL_VIP_NONE:
		break;
	}
}

void address_io_order(struct engine_service *svc, enum ipc_address_op op, mtime now)
{
	order(svc, op, now, false);
}

/* Once per net process: left-overs of a former life go, addresses that belong here come. */
static void settle_addresses(struct engine_service *svc, mtime now)
{
	if (svc->addresses_settled || !svc->fsm.loaded || !svc->net_up)
		return;
	svc->addresses_settled = true;
	order(svc, address_io_holds(&svc->fsm) ? IPC_ADDRESS_ADD : IPC_ADDRESS_REMOVE, now, true);
}

static void on_lease_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct engine_service *svc = w->data;

	if (address_io_holds(&svc->fsm))
		order(svc, IPC_ADDRESS_REFRESH, mtime_now(), false);
	else
		ev_timer_stop(loop, w);
}

static void arm_lease(struct engine_service *svc)
{
	mtime lease = lease_of(svc);

	if (lease == 0 || !address_io_holds(&svc->fsm) || ev_is_active(&svc->lease_timer))
		return;
	/* Four refreshes a lease: two may be late or lost. */
	svc->lease_timer.repeat = (double)lease / 1e9 / 4;
	ev_timer_again(svc->engine->loop, &svc->lease_timer);
}

void address_io_update(struct engine_service *svc, mtime now)
{
	settle_addresses(svc, now);
	arm_lease(svc);
	if (backend_of(svc) == MODEL_VIP_COMMAND)
		vip_io_update(svc);
}

void address_io_init(struct engine_service *svc)
{
	ev_init(&svc->lease_timer, on_lease_timer);
	svc->lease_timer.data = svc;
	vip_io_init(svc);
}

/* ---- results -------------------------------------------------------------------------------- */

void service_io_address_result(struct engine *e, const struct ipc_address_result *r)
{
	struct engine_service *svc = &e->services[r->service];
	struct service_event ev = {.type = SERVICE_EV_ADDRESSES, .ok = r->error == 0};

	svc->addresses_present = r->present;
	if (r->error != 0)
		log_warn("service %s: virtual address: %s, retrying",
			 model_service_name(e->m, r->service), strerror(r->error));
	if (r->op == IPC_ADDRESS_REFRESH) {
		if (r->error == 0)
			return;
		ev.type = SERVICE_EV_ADDRESS_LOST;
	} else if (r->order != svc->address_order) {
		return; /* a newer order is on its way */
	}
	ev.adding = r->op == IPC_ADDRESS_ADD;
	engine_service_event(e, r->service, &ev);
}

void service_io_address_lost(struct engine *e, const struct ipc_address_lost *r)
{
	struct engine_service *svc = &e->services[r->service];
	struct service_event ev = {.type = SERVICE_EV_ADDRESS_LOST};

	svc->addresses_present &= ~(1u << r->vip);
	if (!address_io_holds(&svc->fsm))
		return;
	log_warn("service %s: virtual address %u was taken off the interface, putting it back",
		 model_service_name(e->m, r->service), r->vip + 1);
	engine_service_event(e, r->service, &ev);
}
