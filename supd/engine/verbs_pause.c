/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <string.h>

/*
 * pause and resume: a person's wish about every service, on all nodes.  It travels as the wishes
 * for stop and start do, in every HELLO and with a version; the request waits until it is on disk
 * here and every node that can be reached repeats it.
 */

static bool wish_of(const struct control_request *r)
{
	return strcmp(r->verb->name, "pause") == 0;
}

/* Of one service: false while a reachable node has not repeated it; others are named. */
static bool everybody_knows(const struct control_request *r, uint32_t row, mtime now, bool *missing)
{
	const struct service_fsm *s = &r->engine->services[row].fsm;
	bool wish = wish_of(r);

	if (s->persist.paused != wish || !control_written(s))
		return false;
	for (uint32_t p = 0; p < s->config.n_nodes; p++) {
		if (p == s->config.self || !s->config.nodes[p].peer_link)
			continue;
		if (!service_peer_reachable(s, p, now))
			missing[p] = true;
		else if (s->peers[p].report.paused != wish)
			return false;
	}
	return true;
}

static void poll_told(struct control_request *r, mtime now)
{
	const struct model *m = r->engine->m;
	bool missing[MODEL_NODES_MAX] = {false};
	char not_told[200] = "";

	for (uint32_t row = 0; row < m->n_services; row++) {
		if (!everybody_knows(r, row, now, missing))
			return;
	}
	for (uint32_t p = 0; p < m->n_nodes; p++) {
		if (missing[p])
			control_list_add(not_told, sizeof(not_told), model_node_name(m, p));
	}
	if (not_told[0] == '\0')
		control_done(r, json_pack("{s:s}", "state", wish_of(r) ? "paused" : "resumed"));
	else
		control_fail(r, CONTROL_FAILED, "%s here; not told: %s (unreachable; told on contact)",
			     wish_of(r) ? "paused" : "resumed", not_told);
}

void control_verb_pause(struct control_request *r)
{
	struct service_event ev = { .type = SERVICE_EV_COMMAND,
				    .command = wish_of(r) ? SERVICE_CMD_PAUSE
							  : SERVICE_CMD_RESUME };

	for (uint32_t row = 0; row < r->engine->m->n_services; row++)
		engine_service_event(r->engine, row, &ev);
	r->waits_for = "every reachable node to know";
	r->poll = poll_told;
}
