/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdio.h>

/* The paths of the peer link in status: nodes[].paths, and the alarm path_lost of the node. */

static const char *address_text(struct ip_addr a, char buf[IP_ADDR_TEXT])
{
	return ip_addr_text(&a, buf);
}

/* One path to a peer for each pair of addresses; of this node its own, heard by nobody. */
json_t *control_paths_json(const struct engine *e, uint32_t node, mtime now)
{
	const struct model_node *n = model_node(e->m, node);
	const struct peer_paths *p = &e->peers[node].paths;
	unsigned count = (int)node == e->m->self ? model_node_n_paths(n) : p->n;
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++) {
		mtime heard = p->path[i].heard;
		json_t *age = heard == 0 || heard > now ? json_null()
							: json_integer(mtime_to_ms(now - heard));
		char text[IP_ADDR_TEXT];

		json_array_append_new(list, json_pack("{s:s, s:o}", "address",
						      address_text(model_node_path(n, i), text),
						      "heard_ms", age));
	}
	return list;
}

static json_t *alarm_json(const struct engine *e, uint32_t node, unsigned path)
{
	const struct model_node *self = model_node(e->m, (uint32_t)e->m->self);
	char own[IP_ADDR_TEXT], his[IP_ADDR_TEXT], text[256];
	const char *name = model_node_name(e->m, node);

	address_text(model_node_path(self, path), own);
	address_text(model_node_path(model_node(e->m, node), path), his);
	snprintf(text, sizeof(text),
		 "nothing comes from %s at %s to %s here, another path carries the peer link: look "
		 "at that network (address, cable, switch, firewall)",
		 name, his, own);
	return json_pack("{s:s, s:s, s:s, s:s}", "code", "path_lost", "node", name, "address", his,
			 "text", text);
}

void control_add_path_alarms(json_t *list, const struct engine *e)
{
	for (uint32_t node = 0; node < e->m->n_nodes; node++)
		for (unsigned i = 0; i < e->peers[node].paths.n; i++)
			if (e->peers[node].paths.path[i].lost)
				json_array_append_new(list, alarm_json(e, node, i));
}
