/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <string.h>

#include "common/log.h"
#include "supd/engine/address_io.h"

/*
 * Commands of the file that the keeper runs for a service, once and with a time-out, and whose end
 * is an event: fence_command; vip_command's go to vip_io.c.  The order number tells the newest one's answer from that of one
 * before it, which nobody waits for any more.
 */

static void fence_command_ended(struct engine_service *svc, bool ok)
{
	struct service_event ev = {.type = SERVICE_EV_FENCE_COMMAND,
				   .peer = svc->hook_node,
				   .term = svc->hook_term,
				   .ok = ok};

	svc->hook_order = 0;
	engine_service_event(svc->engine, svc->row, &ev);
}

void hook_io_fence(struct engine *e, uint32_t row, unsigned node, uint64_t term)
{
	struct engine_service *svc = &e->services[row];
	struct ipc_hook h = {.order = e->next_order++,
			     .kind = IPC_HOOK_FENCE,
			     .row = (int32_t)row,
			     .node = (int32_t)node,
			     .term = term,
			     .valid_until = service_order_valid_until(&svc->fsm, mtime_now())};

	strncpy(h.cause, service_cause_name(svc->fsm.cause), sizeof(h.cause) - 1);
	svc->hook_order = h.order;
	svc->hook_node = node;
	svc->hook_term = term;
	log_notice("service %s: running fence_command for node %s (term %llu)",
		   model_service_name(e->m, row), model_node_name(e->m, node),
		   (unsigned long long)term);
	if (!keeper_order_hook(e, &h))
		fence_command_ended(svc, false);
}

static void log_hook_done(const struct engine_service *svc, const struct ipc_hook_done *d)
{
	const char *service = model_service_name(svc->engine->m, svc->row);
	const char *node = model_node_name(svc->engine->m, svc->hook_node);
	mtime timeout = model_service(svc->engine->m, svc->row)->fence_command_timeout;

	if (d->ok)
		log_notice("service %s: fence_command has confirmed that node %s is off", service,
			   node);
	else if (d->timed_out)
		log_error("service %s: fence_command for node %s was killed: no end within %lld s",
			  service, node, (long long)(timeout / MTIME_SEC(1)));
	else if (d->code > 0)
		log_error("service %s: fence_command for node %s failed: exit status %d", service,
			  node, d->code);
	else if (d->signo > 0)
		log_error("service %s: fence_command for node %s failed: killed by signal %d",
			  service, node, d->signo);
	else
		log_error("service %s: fence_command for node %s was not run", service, node);
}

void hook_io_done(struct engine *e, const struct ipc_hook_done *d)
{
	struct engine_service *svc;

	if (d->kind != IPC_HOOK_FENCE && d->kind != IPC_HOOK_VIP) {
		program_io_hook_done(e, d);
		return;
	}
	svc = &e->services[d->row];
	if (d->kind == IPC_HOOK_VIP) {
		vip_io_done(svc, d);
		return;
	}
	if (svc->hook_order == 0 || d->order != svc->hook_order)
		return;
	log_hook_done(svc, d);
	fence_command_ended(svc, d->ok);
}
