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

void control_verb_reexec(struct control_request *r)
{
	struct engine *e = r->engine;

	if (r->image >= 0 && (int64_t)e->welcome.image > r->image) {
		control_verb_version(r);
		return;
	}
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
