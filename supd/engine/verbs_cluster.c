/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdio.h>
#include <string.h>

/*
 * The verbs in which other nodes take part.
 *
 * failover, typed anywhere, is carried out by the active node: elsewhere it becomes a COMMAND on
 * the peer link, and the request ends with that node's RESULT, or as soon as this node sees for
 * itself that another one is active and ready: the node that hands over may have other worries
 * than to answer.
 */

void control_list_add(char *buf, size_t size, const char *item)
{
	size_t len = strlen(buf);

	snprintf(buf + len, size - len, "%s%s", len > 0 ? ", " : "", item);
}

static struct engine_service *service_of(const struct control_request *r)
{
	return &r->engine->services[r->row];
}

static const char *name_of(const struct control_request *r)
{
	return model_service_name(r->engine->m, r->row);
}

static bool is_linked_peer(const struct service_fsm *s, uint32_t p)
{
	return p < s->config.n_nodes && p != s->config.self && s->config.nodes[p].peer_link;
}

bool control_pick_service(struct control_request *r, uint32_t *ret_row)
{
	const struct model *m = r->engine->m;
	int row;

	if (r->name == NULL && m->n_services == 1) {
		*ret_row = 0;
		return true;
	}
	if (r->name == NULL) {
		control_fail(r, CONTROL_USAGE, "%s: which service? there are %u", r->verb->name,
			     m->n_services);
		return false;
	}
	row = model_find_service(m, r->name);
	if (row == MODEL_NONE) {
		control_fail(r, CONTROL_UNKNOWN, "no service is called %s", r->name);
		return false;
	}
	*ret_row = (uint32_t)row;
	return true;
}

void control_service_command(struct control_request *r, enum service_command command)
{
	struct service_event ev = { .type = SERVICE_EV_COMMAND,
				    .command = command,
				    .force = r->force };

	engine_service_event(r->engine, r->row, &ev);
}

bool control_written(const struct service_fsm *s)
{
	return s->persist_done == s->persist_seq || s->persist_failed;
}

int control_ready_node(const struct engine *e, uint32_t row, mtime now)
{
	const struct service_fsm *s = &e->services[row].fsm;

	if (s->state == SERVICE_STATE_ACTIVE)
		return s->programs_ready ? (int)s->config.self : MODEL_NONE;
	for (uint32_t p = 0; p < s->config.n_nodes; p++) {
		const struct service_report *report = &s->peers[p].report;

		if (service_peer_reachable(s, p, now) && report->state == SERVICE_STATE_ACTIVE &&
		    report->ready)
			return (int)p;
	}
	/* All that a plain VRRP router ever says is that it is active. */
	int active = service_active_node(s, now);

	return active != MODEL_NONE && !s->config.nodes[active].peer_link ? active : MODEL_NONE;
}

/* ---- failover ---------------------------------------------------------------------------------------- */

static void done_failover(struct control_request *r, int node, mtime now)
{
	json_t *name = node != MODEL_NONE
			       ? json_string(model_node_name(r->engine->m, (uint32_t)node))
			       : json_null();

	control_done(r, json_pack("{s:o, s:I}", "active_node", name, "ms",
				  (json_int_t)mtime_to_ms(now - r->began)));
}

/* Why each other node cannot take over, in a few words. */
static void peers_why_not(const struct control_request *r, char *buf, size_t size)
{
	const struct service_fsm *s = &service_of(r)->fsm;

	for (uint32_t p = 0; p < s->config.n_nodes; p++) {
		const struct service_report *report = &s->peers[p].report;
		const char *node = model_node_name(r->engine->m, p);
		char item[128];

		if (p == s->config.self)
			continue;
		if (!s->config.nodes[p].peer_link)
			snprintf(item, sizeof(item), "%s has no peer link", node);
		else if (!service_peer_reachable(s, p, mtime_now()))
			snprintf(item, sizeof(item), "%s is unreachable", node);
		else if (report->latched)
			snprintf(item, sizeof(item), "%s has failed: supctl reset there", node);
		else if (s->peers[p].ending)
			snprintf(item, sizeof(item), "%s is shutting down", node);
		else if (service_peer_differs(s, p, mtime_now(), SERVICE_UNFIT_FILE))
			snprintf(item, sizeof(item), "%s has another configuration file", node);
		else
			snprintf(item, sizeof(item), "%s is %s and not fit: supctl status there",
				 node, service_state_name(report->state));
		control_list_add(buf, size, item);
	}
	if (buf[0] == '\0')
		snprintf(buf, size, "there is no other node");
}

/* On the node that was active. */
static void poll_handed_over(struct control_request *r, mtime now)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	int node = control_ready_node(r->engine, r->row, now);

	if (node != MODEL_NONE && node != r->from) {
		done_failover(r, node, now);
	} else if (s->state == SERVICE_STATE_ACTIVE && s->since >= r->began) {
		control_fail(r, CONTROL_FAILED, "nobody took %s; it is active here again", name_of(r));
	} else if (s->state == SERVICE_STATE_FAILED || s->state == SERVICE_STATE_STOPPED) {
		if (service_active_node(s, now) == MODEL_NONE && s->since >= r->began)
			control_fail(r, CONTROL_FAILED, "%s became %s on this node", name_of(r),
				     service_state_name(s->state));
	} else if (r->force && !s->may_run && s->state == SERVICE_STATE_BACKUP &&
		   r->told[s->config.self] == CONTROL_TOLD) {
		done_failover(r, MODEL_NONE, now);
	}
}

static void failover_from_here(struct control_request *r)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	bool nobody = service_best_peer(s, r->began) == MODEL_NONE;
	bool unfit = nobody && service_successor(s, r->began) != MODEL_NONE;
	char why[256] = "";

	if (nobody && !r->force) {
		peers_why_not(r, why, sizeof(why));
		control_fail(r, CONTROL_REFUSED, "no fit peer for %s (%s)%s", name_of(r), why,
			     unfit ? "; to hand over all the same: --force" : "");
		return;
	}
	nobody = nobody && !unfit;
	/* Without anybody to wait for, released is all that there will be to see. */
	r->told[s->config.self] = nobody ? CONTROL_TOLD : CONTROL_NOT_TOLD;
	r->from = (int)s->config.self;
	r->waits_for = "another node to be active and ready";
	if (s->state == SERVICE_STATE_ACTIVE)
		control_service_command(r, SERVICE_CMD_FAILOVER);
	r->poll = poll_handed_over;
}

/* On another node: relay, or see. */
static void poll_passed_on(struct control_request *r, mtime now)
{
	int node = control_ready_node(r->engine, r->row, now);

	if (r->told[r->from] == CONTROL_TOLD || r->told[r->from] == CONTROL_TOLD_FAILED)
		control_done_reply(r, json_incref(r->results[r->from]));
	else if (node != MODEL_NONE && node != r->from)
		done_failover(r, node, now);
}

static void failover_from(struct control_request *r, uint32_t active)
{
	const char *node = model_node_name(r->engine->m, active);

	if (r->client == NULL) {
		control_fail(r, CONTROL_REFUSED, "%s is active on %s", name_of(r), node);
		return;
	}
	if (!is_linked_peer(&service_of(r)->fsm, active)) {
		control_fail(r, CONTROL_REFUSED,
			     "%s is active on %s, a plain VRRP router: hand it over there",
			     name_of(r), node);
		return;
	}
	if (!service_peer_reachable(&service_of(r)->fsm, active, r->began)) {
		control_fail(r, CONTROL_REFUSED, "%s is active on %s, which is unreachable",
			     name_of(r), node);
		return;
	}
	r->from = (int)active;
	r->waits_for = "another node to be active and ready";
	control_tell_peer(r, active);
	r->poll = poll_passed_on;
}

static void poll_taken(struct control_request *r, mtime now)
{
	int node = control_ready_node(r->engine, r->row, now);

	if (node != MODEL_NONE)
		done_failover(r, node, now);
}

/* Nobody is active: only a person who says so makes this node take it without the usual evidence. */
static void failover_to_here(struct control_request *r)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	const char *state = service_state_name(s->state);

	if (s->state == SERVICE_STATE_FAILED)
		control_fail(r, CONTROL_REFUSED, "%s has failed on this node: supctl reset first",
			     name_of(r));
	else if (s->state == SERVICE_STATE_STOPPED)
		control_fail(r, CONTROL_REFUSED, "%s is stopped: supctl start %s", name_of(r),
			     name_of(r));
	else if (s->persist.paused)
		control_fail(r, CONTROL_REFUSED, "%s is paused: supctl resume first", name_of(r));
	else if (!r->force)
		control_fail(r, CONTROL_REFUSED,
			     "%s is active on no node that is heard here (%s here); to take it in "
			     "spite of that: supctl failover --force",
			     name_of(r), state);
	else if (!service_may_be_forced(s))
		control_fail(r, CONTROL_REFUSED, "%s is %s on this node already", name_of(r), state);
	if (r->reply != NULL)
		return;
	r->waits_for = "the service to be active and ready on this node";
	control_service_command(r, SERVICE_CMD_TAKE);
	r->poll = poll_taken;
}

void control_verb_failover(struct control_request *r)
{
	const struct service_fsm *s;
	int active;

	if (!control_pick_service(r, &r->row))
		return;
	s = &service_of(r)->fsm;
	active = service_active_node(s, r->began);
	/* Typed a second time while it goes on: wait with the first. */
	if (active == (int)s->config.self || s->state == SERVICE_STATE_RELEASING)
		failover_from_here(r);
	else if (active != MODEL_NONE)
		failover_from(r, (uint32_t)active);
	else
		failover_to_here(r);
}

/* ---- reset -------------------------------------------------------------------------------------------- */

static void poll_reset(struct control_request *r, mtime now)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	const struct model *m = r->engine->m;
	json_t *done;
	char missing[200] = "";

	if (s->persist.latched || s->persist.barred || !control_written(s))
		return;
	for (uint32_t p = 0; p < m->n_nodes; p++)
		if (r->told[p] == CONTROL_TELLING && service_peer_reachable(s, p, now))
			return;
	done = json_pack("[s]", model_node_name(m, s->config.self));
	for (uint32_t p = 0; r->all && p < m->n_nodes; p++) {
		if (r->told[p] == CONTROL_TOLD)
			json_array_append_new(done, json_string(model_node_name(m, p)));
		else if (is_linked_peer(s, p))
			control_list_add(missing, sizeof(missing), model_node_name(m, p));
	}
	if (missing[0] == '\0') {
		control_done(r, json_pack("{s:o}", "reset", done));
		return;
	}
	json_decref(done);
	control_fail(r, CONTROL_FAILED, "%s is reset here; not on: %s (unreachable, or refused)",
		     name_of(r), missing);
}

void control_verb_reset(struct control_request *r)
{
	const struct service_fsm *s;

	if (!control_pick_service(r, &r->row))
		return;
	s = &service_of(r)->fsm;
	r->waits_for = "the latch to be cleared";
	control_service_command(r, SERVICE_CMD_RESET);
	for (uint32_t p = 0; r->all && p < s->config.n_nodes; p++)
		if (is_linked_peer(s, p) && service_peer_reachable(s, p, r->began))
			control_tell_peer(r, p);
	r->poll = poll_reset;
}
