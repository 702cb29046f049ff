/* SPDX-License-Identifier: MIT */
#include "supd/engine/address_io.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

/*
 * vip_backend = command: a command of the file moves the addresses, in a cloud whose network does
 * not listen to gratuitous ARP.
 *
 *   ADD     acquire each address, one after the other
 *   REMOVE  release each; careful (left-overs): only those that a check finds here
 *   while they belong here, every garp_refresh: check each; exit status 1 is a loss
 *
 * The keeper runs one command of a service at a time and kills it at its time-out.  A new order
 * ends the one before it: its command is killed first, and the next one waits for that.  A release
 * that fails is tried again; both end as soon as another node acts, for the address is its then.
 *
 * Statuses: 0 done (or: it is here), 1 from check: it is not here.  Anything else says nothing:
 * that the cloud does not answer is no reason to move a service.
 */

#define TRIES	    3   /* of a release */
#define RETRY	    1.0 /* s */
#define START_WITHIN MTIME_SEC(1)

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

static const char *name_of(const struct engine_service *svc)
{
	return model_service_name(svc->engine->m, svc->row);
}

/* Another node has acted under a higher term: the addresses are not ours to touch. */
static bool another_acts(const struct engine_service *svc)
{
	return svc->fsm.term_acted > svc->fsm.term;
}

/* ---- one address ---------------------------------------------------------------------------- */

static void finish(struct engine_service *svc);

/* False: it will not run. */
static bool run(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;
	struct ipc_hook h = {.order = svc->engine->next_order++,
			     .kind = IPC_HOOK_VIP,
			     .row = (int32_t)svc->row,
			     .verb = (uint16_t)v->verb,
			     .vip = (uint16_t)v->at,
			     .term = svc->fsm.term,
			     .valid_until = mtime_now() + START_WITHIN};

	strncpy(h.cause, service_cause_name(svc->fsm.cause), sizeof(h.cause) - 1);
	if (!keeper_order_hook(svc->engine, &h))
		return false;
	v->hook = v->job_hook = h.order;
	return true;
}

static enum ipc_vip_verb first_verb(const struct engine_vip *v)
{
	switch (v->job) {
	case ENGINE_VIP_ADD:
		return IPC_VIP_ACQUIRE;
	case ENGINE_VIP_REMOVE:
		return v->careful ? IPC_VIP_CHECK : IPC_VIP_RELEASE;
	case ENGINE_VIP_IDLE:
	case ENGINE_VIP_CHECK:
		break;
	}
	return IPC_VIP_CHECK;
}

/* From address v->at on; what cannot be run has failed. */
static void go_on(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;

	for (; v->at < config_of(svc)->n_vips; v->at++) {
		v->verb = first_verb(v);
		if (run(svc))
			return;
		v->error = v->error != 0 ? v->error : EIO;
	}
	finish(svc);
}

static void begin(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;

	ev_timer_stop(svc->engine->loop, &v->timer);
	v->at = 0;
	v->error = 0;
	v->job_hook = 0;
	if (v->hook == 0)
		go_on(svc);
	else /* it is killed first; vip_io_done() goes on */
		keeper_order_hook_kill(svc->engine, v->hook);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void wait_for(struct engine_service *svc, double seconds)
{
	ev_timer_stop(svc->engine->loop, &svc->vip.timer);
	ev_timer_set(&svc->vip.timer, seconds, 0.);
	ev_timer_start(svc->engine->loop, &svc->vip.timer);
}

static void tell(struct engine_service *svc, enum ipc_address_op op)
{
	const struct ipc_address_result r = {.order = svc->vip.order,
					     .service = (int32_t)svc->row,
					     .op = op,
					     .error = svc->vip.error,
					     .present = svc->vip.present};

	svc->vip.order = 0;
	service_io_address_result(svc->engine, &r);
}

/* Every address has been seen to. */
static void finish(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;
	const enum engine_vip_job job = v->job;
	const bool again = job == ENGINE_VIP_REMOVE && v->error != 0 && ++v->tries < TRIES;

	v->job = again ? ENGINE_VIP_REMOVE : ENGINE_VIP_IDLE;
	if (again)
		wait_for(svc, RETRY);
	if (v->order != 0)
		tell(svc, job == ENGINE_VIP_ADD ? IPC_ADDRESS_ADD : IPC_ADDRESS_REMOVE);
}

/* ---- results -------------------------------------------------------------------------------- */

static void log_done(struct engine_service *svc, const struct ipc_hook_done *d)
{
	const struct engine_vip *v = &svc->vip;
	const char *verb = ipc_vip_verb_name(v->verb);
	char address[IP_ADDR_TEXT];

	ip_addr_text(&config_of(svc)->vips[v->at], address);
	if (d->ok && v->verb != IPC_VIP_CHECK)
		log_notice("service %s: vip_command %s %s has succeeded", name_of(svc), verb,
			   address);
	else if (d->timed_out)
		log_error("service %s: vip_command %s %s was killed: no end within %lld s",
			  name_of(svc), verb, address,
			  (long long)(config_of(svc)->vip_command_timeout / MTIME_SEC(1)));
	else if (d->code > 0 && !(v->verb == IPC_VIP_CHECK && d->code == 1))
		log_error("service %s: vip_command %s %s failed: exit status %d", name_of(svc),
			  verb, address, d->code);
	else if (d->signo > 0)
		log_error("service %s: vip_command %s %s failed: killed by signal %d",
			  name_of(svc), verb, address, d->signo);
	else if (d->code < 0)
		log_error("service %s: vip_command %s %s was not run", name_of(svc), verb,
			  address);
}

static void lost(struct engine_service *svc, unsigned vip)
{
	const struct ipc_address_lost l = {.service = (int32_t)svc->row, .vip = vip};

	service_io_address_lost(svc->engine, &l);
}

/* What the command said about address v->at; true: there is more to do about it. */
static bool judge(struct engine_service *svc, const struct ipc_hook_done *d)
{
	struct engine_vip *v = &svc->vip;
	const uint32_t bit = 1u << v->at;

	switch (v->verb) {
	case IPC_VIP_CHECK:
		if (v->job == ENGINE_VIP_REMOVE && d->ok)
			v->verb = IPC_VIP_RELEASE;
		else if (v->job == ENGINE_VIP_CHECK && !d->timed_out && d->code == 1)
			v->gone |= bit;
		return v->verb == IPC_VIP_RELEASE;
	case IPC_VIP_ACQUIRE:
	case IPC_VIP_RELEASE:
		if (d->ok)
			v->present = v->verb == IPC_VIP_ACQUIRE ? v->present | bit
								 : v->present & ~bit;
		else if (v->error == 0)
			v->error = d->timed_out ? ETIMEDOUT : EIO;
		break;
	case IPC_VIP_VERBS_END:
		break;
	}
	return false;
}

static void tell_gone(struct engine_service *svc)
{
	const uint32_t gone = svc->vip.gone;

	svc->vip.gone = 0;
	svc->vip.present &= ~gone;
	for (unsigned i = 0; gone >> i != 0; i++)
		if ((gone >> i & 1) != 0)
			lost(svc, i);
}

void vip_io_done(struct engine_service *svc, const struct ipc_hook_done *d)
{
	struct engine_vip *v = &svc->vip;

	if (v->hook == 0 || d->order != v->hook)
		return;
	v->hook = 0;
	if (v->job == ENGINE_VIP_IDLE)
		return;
	if (d->order == v->job_hook) { /* else of an order before this one */
		log_done(svc, d);
		if (judge(svc, d)) {
			if (run(svc))
				return;
			v->error = EIO;
		}
		v->at++;
	}
	go_on(svc);
	tell_gone(svc);
}

/* ---- orders --------------------------------------------------------------------------------- */

void vip_io_order(struct engine_service *svc, enum ipc_address_op op, uint64_t order,
		  bool careful)
{
	struct engine_vip *v = &svc->vip;
	const enum engine_vip_job job = op == IPC_ADDRESS_REMOVE ? ENGINE_VIP_REMOVE
								  : ENGINE_VIP_ADD;
	const bool same = v->job == job && !(v->careful && !careful) && v->hook != 0;

	v->order = order;
	if (same)
		return; /* its end is this one's answer too */
	v->job = job;
	v->careful = careful && job == ENGINE_VIP_REMOVE;
	v->tries = 0;
	begin(svc);
}

static void cancel(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;

	v->job = ENGINE_VIP_IDLE;
	v->order = 0;
	ev_timer_stop(svc->engine->loop, &v->timer);
	if (v->hook != 0)
		keeper_order_hook_kill(svc->engine, v->hook);
}

void vip_io_update(struct engine_service *svc)
{
	struct engine_vip *v = &svc->vip;
	const bool holds = address_io_holds(&svc->fsm);
	const mtime refresh = config_of(svc)->garp_refresh;

	if (v->job == ENGINE_VIP_REMOVE && another_acts(svc))
		cancel(svc);
	else if (v->job == ENGINE_VIP_CHECK && !holds)
		cancel(svc);
	if (v->job == ENGINE_VIP_IDLE && !holds)
		ev_timer_stop(svc->engine->loop, &v->timer);
	else if (v->job == ENGINE_VIP_IDLE && refresh > 0 && !ev_is_active(&v->timer))
		wait_for(svc, (double)refresh / 1e9);
}

/* A release that is to be tried again, or the next check. */
static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine_service *svc = w->data;

	(void)loop;
	(void)revents;
	if (svc->vip.job == ENGINE_VIP_IDLE)
		svc->vip.job = ENGINE_VIP_CHECK;
	begin(svc);
}

void vip_io_init(struct engine_service *svc)
{
	ev_init(&svc->vip.timer, on_timer);
	svc->vip.timer.data = svc;
}
