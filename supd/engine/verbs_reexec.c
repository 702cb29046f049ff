/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <string.h>

/*
 * version and reexec: supd itself.  A replacement in place (keeper/reexec.h) ends this engine, and
 * every connection with it.  Who asked connects again and asks the same once more, with the number
 * of the image that it wants replaced: from the next image the answer is that this has been done.
 */

void control_verb_version(struct control_request *r)
{
	const struct engine *e = r->engine;

	control_done(r, json_pack("{s:s, s:i, s:i}", "version", SUPD_VERSION, "pid",
				  (int)e->keeper_pid, "image", (int)e->welcome.image));
}

static void poll_nothing(struct control_request *r, mtime now)
{
	(void)r;
	(void)now;
}

/*
 * A new engine goes on from what lives: it would give up a service that is in between, and start a
 * program that rests because a person stopped it or because it has done its work.
 */
static bool service_is_settled(struct control_request *r, const struct engine_service *svc)
{
	enum service_state state = svc->fsm.state;

	if (state == SERVICE_STATE_ACTIVE || state == SERVICE_STATE_BACKUP ||
	    state == SERVICE_STATE_FAILED || state == SERVICE_STATE_STOPPED)
		return true;
	control_fail(r, CONTROL_REFUSED, "%s is %s: try again when that is over",
		     model_service_name(r->engine->m, svc->row), service_state_name(state));
	return false;
}

static bool program_is_settled(struct control_request *r, const struct engine_program *ep)
{
	const struct engine *e = r->engine;
	enum program_state state = ep->fsm.state;

	if (ep->service != MODEL_NONE &&
	    e->services[ep->service].fsm.state != SERVICE_STATE_ACTIVE)
		return true;
	if (state == PROGRAM_STATE_RUNNING ||
	    (state == PROGRAM_STATE_STOPPED && !model_program(e->m, ep->row)->autostart))
		return true;
	control_fail(r, CONTROL_REFUSED, "%s is %s: the new supd would start it; try again when it "
					 "runs, or restart supd",
		     model_program_name(e->m, ep->row), program_state_name(state));
	return false;
}

static bool is_settled(struct control_request *r)
{
	const struct engine *e = r->engine;
	bool settled = true;

	for (uint32_t i = 0; settled && i < e->m->n_services; i++)
		settled = service_is_settled(r, &e->services[i]);
	for (uint32_t i = 0; settled && i < e->m->n_programs; i++)
		settled = program_is_settled(r, &e->programs[i]);
	return settled;
}

void control_verb_reexec(struct control_request *r)
{
	struct engine *e = r->engine;

	if (r->image >= 0 && (int64_t)e->welcome.image > r->image) {
		control_verb_version(r);
		return;
	}
	if (!is_settled(r))
		return;
	if (!keeper_order_reexec(e)) {
		control_fail(r, CONTROL_FAILED, "the keeper takes no orders");
		return;
	}
	r->waits_for = "the new image";
	r->poll = poll_nothing;
}

void control_reexec_failed(struct engine *e, const char *why)
{
	for (struct control_request *r = e->control->requests; r; r = r->next)
		if (r->verb->run == control_verb_reexec && r->reply == NULL)
			control_fail(r, CONTROL_FAILED, "%s", why);
	control_poll(e);
}
