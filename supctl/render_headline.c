/* SPDX-License-Identifier: MIT */
#include "supctl/render.h"

#include <stdbool.h>
#include <string.h>

#include "supctl/reply.h"
#include "supctl/text.h"

/*
 * The first line of status: where the service is, who stands by, and what a person must do.  It is
 * what somebody reads who was woken up, so it says no more than this node knows.
 */

static const json_t *service_at(const json_t *node, const json_t *service)
{
	return json_object_get(json_object_get(node, "services"), reply_str(service, "name"));
}

/* Why a node that is not active could not take over, as a few words; "" when it could. */
static void why_no_standby(const json_t *node, const json_t *service, char *buf, size_t size)
{
	const json_t *there = service_at(node, service);
	const char *name = reply_str(node, "name");
	const char *where = reply_is(node, "self") ? "here" : "there";

	buf[0] = '\0';
	if (json_is_false(json_object_get(node, "peer_link")) && !reply_is(node, "self"))
		snprintf(buf, size, "%s is a plain VRRP router: not known", name);
	else if (!reply_is(node, "reachable"))
		snprintf(buf, size, "%s unreachable", name);
	else if (there == NULL)
		snprintf(buf, size, "%s says nothing about it", name);
	else if (reply_is(there, "latched") || reply_is_state(there, "failed"))
		snprintf(buf, size, "%s failed: supctl reset %s", name, where);
	else if (reply_is(there, "stopped"))
		snprintf(buf, size, "%s stopped: supctl start %s %s", name, reply_str(service, "name"),
			 where);
	else if (reply_is_state(there, "stopped"))
		snprintf(buf, size, "%s barred by stop --here: supctl start %s %s", name,
			 reply_str(service, "name"), where);
	else if (reply_is(there, "softly_unfit") &&
		 json_is_false(json_object_get(node, "config_matches")))
		snprintf(buf, size, "%s not fit: another configuration file", name);
	else if (!reply_is(there, "fit"))
		snprintf(buf, size, "%s not fit: supctl status %s", name, where);
	else if (!reply_is_state(there, "backup") && !reply_is_state(there, "waiting"))
		snprintf(buf, size, "%s %s", name, reply_str(there, "state"));
}

static void add_standbys(const json_t *reply, const json_t *service, char *line, size_t size)
{
	char ready[256] = "", others[384] = "";
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		char why[128];

		if (strcmp(reply_str(node, "name"), reply_str(service, "active_node")) == 0)
			continue;
		why_no_standby(node, service, why, sizeof(why));
		if (why[0] == '\0')
			text_add(ready, sizeof(ready), "%s%s", ready[0] != '\0' ? ", " : "",
				 reply_str(node, "name"));
		else
			text_add(others, sizeof(others), "%s%s", others[0] != '\0' ? ", " : "", why);
	}
	if (ready[0] != '\0')
		text_add(line, size, "; standby %s ready", ready);
	else
		text_add(line, size, "; NO STANDBY");
	if (ready[0] == '\0' && others[0] == '\0')
		text_add(line, size, " (there is no other node)");
	else if (others[0] != '\0')
		text_add(line, size, " (%s)", others);
}

/* Name of the first node that is heard and says that the service is in this state there, or NULL. */
static const char *node_in_state(const json_t *reply, const json_t *service, const char *state)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const json_t *there = service_at(node, service);

		if (reply_is(node, "reachable") && there != NULL && reply_is_state(there, state))
			return reply_str(node, "name");
	}
	return NULL;
}

/* Name of the first node that could take the service over, or NULL. */
static const char *candidate(const json_t *reply, const json_t *service)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		char why[128];

		why_no_standby(node, service, why, sizeof(why));
		if (why[0] == '\0')
			return reply_str(node, "name");
	}
	return NULL;
}

static bool has_alarm(const json_t *reply, const json_t *service, const char *code)
{
	const json_t *alarm;
	size_t i;

	json_array_foreach(json_object_get(reply, "alarms"), i, alarm)
		if (strcmp(reply_str(alarm, "code"), code) == 0 &&
		    strcmp(reply_str(alarm, "service"), reply_str(service, "name")) == 0)
			return true;
	return false;
}

static bool hears_others(const json_t *reply)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node)
		if (reply_is(node, "reachable") && !reply_is(node, "self"))
			return true;
	return false;
}

static void add_inactive(const json_t *reply, const json_t *service, char *line, size_t size)
{
	const char *taking = node_in_state(reply, service, "taking_over");
	const char *releasing = node_in_state(reply, service, "releasing");
	const char *name = reply_str(service, "name");

	if (taking != NULL)
		text_add(line, size, "taking over on %s", taking);
	else if (releasing != NULL)
		text_add(line, size, "%s is releasing it", releasing);
	else if (reply_is(service, "stopped"))
		text_add(line, size, "stopped by a person: supctl start %s", name);
	else if (reply_is(reply, "paused"))
		text_add(line, size, "DOWN");
	else if (has_alarm(reply, service, "wait_for_peer") || has_alarm(reply, service, "held"))
		text_add(line, size, "DOWN, person needed: supctl failover --force");
	else if (has_alarm(reply, service, "person_needed"))
		text_add(line, size, "DOWN, person needed: supctl reset");
	else if (reply_is_state(service, "waiting"))
		text_add(line, size, "DOWN, waiting for the other nodes");
	else if (candidate(reply, service) != NULL)
		text_add(line, size, "DOWN, %s may take over: supctl explain %s there",
			 candidate(reply, service), name);
	else if (reply_is(service, "latched"))
		text_add(line, size, "DOWN, person needed: supctl reset");
	else if (reply_is_state(service, "stopped")) /* --here, and nobody else has it */
		text_add(line, size, "not active here, stopped on this node by a person: supctl start %s",
			 name);
	else if (hears_others(reply))
		text_add(line, size, "DOWN, active nowhere: supctl explain %s", name);
	else /* a host that is cut off knows nothing of the others */
		text_add(line, size, "not active here, and no other node is heard: supctl explain %s",
			 name);
}

void render_headline(FILE *out, const json_t *reply, const json_t *service)
{
	char line[1024] = "";
	const char *active = reply_str(service, "active_node");
	const json_t *node;
	size_t i;

	text_add(line, sizeof(line), "%s: ", reply_str(service, "name"));
	if (active[0] == '\0')
		add_inactive(reply, service, line, sizeof(line));
	else
		text_add(line, sizeof(line), "active on %s", active);
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const json_t *there = service_at(node, service);

		if (strcmp(reply_str(node, "name"), active) == 0 && there != NULL &&
		    !reply_is(there, "ready"))
			text_add(line, sizeof(line), " (not ready)");
	}
	if (active[0] != '\0')
		add_standbys(reply, service, line, sizeof(line));
	if (reply_is(reply, "paused"))
		text_add(line, sizeof(line), "; PAUSED: supctl resume");
	fprintf(out, "%s\n", line);
}
