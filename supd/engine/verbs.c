/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdio.h>
#include <string.h>

/*
 * The verbs of one node: status, explain, is-active, and start, stop, restart of programs
 * and services.  An action is posted to the machines first, and the request then waits for the
 * state it asked for; it is edge-free: whoever brings that state about, the request is content.
 */

/* ---- a program ------------------------------------------------------------------------------------- */

static struct engine_program *program_of(const struct control_request *r)
{
	return &r->engine->programs[r->row];
}

static void program_post(struct control_request *r, uint32_t row, enum program_event_type type)
{
	struct program_event ev = { .type = type };

	engine_program_event(r->engine, row, &ev);
}

/* A service's program obeys a person only where the service is active. */
static bool program_is_ours(struct control_request *r)
{
	const struct engine_program *ep = program_of(r);
	const struct engine_service *es;
	char where[96];

	if (ep->service == MODEL_NONE)
		return true;
	es = &r->engine->services[ep->service];
	if (es->fsm.state == SERVICE_STATE_ACTIVE)
		return true;
	control_service_where(r->engine, (uint32_t)ep->service, mtime_now(), where, sizeof(where));
	control_fail(r, CONTROL_REFUSED, "%s belongs to %s, which is %s on this node (%s)",
		     model_program_name(r->engine->m, r->row),
		     model_service_name(r->engine->m, (uint32_t)ep->service),
		     service_state_name(es->fsm.state), where);
	return false;
}

static void set_manual_stop(struct control_request *r, bool stop)
{
	const struct engine_program *ep = program_of(r);
	struct program_group *g = ep->service == MODEL_NONE
					  ? &r->engine->local
					  : &r->engine->services[ep->service].group;

	g->members[ep->member].manual_stop = stop;
}

static void reconcile(struct control_request *r)
{
	const struct engine_program *ep = program_of(r);

	if (ep->service != MODEL_NONE)
		service_io_reconcile(r->engine, (uint32_t)ep->service);
	else
		program_io_reconcile_local(r->engine);
}

static void done_program(struct control_request *r)
{
	const struct program_fsm *p = &program_of(r)->fsm;
	json_t *pid = p->main_alive ? json_integer(p->pid) : json_null();

	control_done(r, json_pack("{s:s, s:s, s:o}", "name",
				  model_program_name(r->engine->m, r->row), "state",
				  program_state_name(p->state), "pid", pid));
}

static void fail_program(struct control_request *r, const char *what)
{
	char why[96];

	control_program_why(&program_of(r)->fsm, why, sizeof(why));
	control_fail(r, CONTROL_FAILED, "%s %s: %s", model_program_name(r->engine->m, r->row), what,
		     why);
}

/* Of start and restart: another run than `runs[0]`, unless it may be the same (start). */
static void poll_program_up(struct control_request *r, bool same_run_will_do)
{
	const struct program_fsm *p = &program_of(r)->fsm;
	bool another = p->run != r->runs[0];

	if (p->state == PROGRAM_STATE_RUNNING && (another || same_run_will_do))
		done_program(r);
	else if (p->policy.total > r->deaths)
		fail_program(r, "died");
	else if (p->state == PROGRAM_STATE_FATAL)
		fail_program(r, "was given up");
	else if (p->state == PROGRAM_STATE_EXITED && another && p->last_exit.code == 0)
		done_program(r);
	else if (p->state == PROGRAM_STATE_EXITED && another)
		fail_program(r, "ended");
	else if (p->state == PROGRAM_STATE_STOPPED && !p->wanted)
		control_fail(r, CONTROL_FAILED, "%s was stopped meanwhile",
			     model_program_name(r->engine->m, r->row));
}

static void poll_program_started(struct control_request *r, mtime now)
{
	poll_program_up(r, true);
}

static void poll_program_restarted(struct control_request *r, mtime now)
{
	poll_program_up(r, false);
}

static void poll_program_stopped(struct control_request *r, mtime now)
{
	const struct program_fsm *p = &program_of(r)->fsm;

	if (p->wanted)
		return; /* not stepped yet, or started again: then the time-out tells */
	if (program_gone(p))
		done_program(r);
	else if (p->unkillable)
		control_fail(r, CONTROL_FAILED,
			     "%s was killed and is still not gone: it waits inside the kernel",
			     model_program_name(r->engine->m, r->row));
}

/* Nothing is started in a pause: that is said at once, not by a time-out. */
static bool is_paused(struct control_request *r, int service)
{
	if (service == MODEL_NONE || !r->engine->services[service].fsm.persist.paused)
		return false;
	control_fail(r, CONTROL_REFUSED,
		     "%s is paused, and a pause keeps programs from being started: "
		     "supctl resume first",
		     model_service_name(r->engine->m, (uint32_t)service));
	return true;
}

static void program_up(struct control_request *r, enum program_event_type event,
		       void (*poll)(struct control_request *r, mtime now))
{
	bool runs = program_of(r)->fsm.state == PROGRAM_STATE_RUNNING;

	if (!program_is_ours(r))
		return;
	if (!(runs && event == PROGRAM_EV_START_PERSON) && is_paused(r, program_of(r)->service))
		return;
	r->runs[0] = program_of(r)->fsm.run;
	r->deaths = program_of(r)->fsm.policy.total;
	r->waits_for = "the program to run";
	set_manual_stop(r, false);
	program_post(r, r->row, event);
	reconcile(r);
	r->poll = poll;
}

static void start_program(struct control_request *r)
{
	program_up(r, PROGRAM_EV_START_PERSON, poll_program_started);
}

static void restart_program(struct control_request *r)
{
	program_up(r, PROGRAM_EV_RESTART, poll_program_restarted);
}

static void stop_program(struct control_request *r)
{
	if (r->here) {
		control_fail(r, CONTROL_USAGE, "--here is for a service");
		return;
	}
	if (!program_is_ours(r))
		return;
	r->waits_for = "the program to end";
	set_manual_stop(r, true);
	program_post(r, r->row, PROGRAM_EV_STOP);
	reconcile(r);
	r->poll = poll_program_stopped;
}

/* ---- a service ------------------------------------------------------------------------------------- */

static struct engine_service *service_of(const struct control_request *r)
{
	return &r->engine->services[r->row];
}

static bool is_linked_peer(const struct service_fsm *s, uint32_t p)
{
	return p < s->config.n_nodes && p != s->config.self && s->config.nodes[p].peer_link;
}

/* What a time-out will name: by what it is held up at the moment. */
static void service_waits_for(struct control_request *r, mtime now)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	char silent[128] = "";

	r->waits_for = "the service to be active and ready on some node";
	if (s->state != SERVICE_STATE_WAITING)
		return;
	for (uint32_t p = 0; p < s->config.n_nodes; p++)
		if (is_linked_peer(s, p) && !service_peer_reachable(s, p, now))
			control_list_add(silent, sizeof(silent), model_node_name(r->engine->m, p));
	if (silent[0] == '\0')
		return;
	if (now < service_waits_until(s, now))
		snprintf(r->waits_text, sizeof(r->waits_text),
			 "%s to be heard (without it, this node starts in %lld s: wait_for_peer)",
			 silent, (long long)(mtime_to_ms(service_waits_until(s, now) - now) + 999) / 1000);
	else
		snprintf(r->waits_text, sizeof(r->waits_text),
			 "%s to be heard, or a probe target to answer (supctl explain; if %s is down "
			 "for certain: supctl failover --force)",
			 silent, silent);
	r->waits_for = r->waits_text;
}

static void poll_service_started(struct control_request *r, mtime now)
{
	const struct service_fsm *s = &service_of(r)->fsm;
	const char *name = model_service_name(r->engine->m, r->row);
	int node = control_ready_node(r->engine, r->row, now);
	bool all_failed = s->persist.latched;

	if (node != MODEL_NONE) {
		control_done(r, json_pack("{s:s, s:s, s:s}", "name", name, "state", "active",
					  "active_node",
					  model_node_name(r->engine->m, (uint32_t)node)));
		return;
	}
	for (uint32_t p = 0; p < s->config.n_nodes; p++)
		if (is_linked_peer(s, p) && service_peer_reachable(s, p, now))
			all_failed &= s->peers[p].report.latched;
	service_waits_for(r, now);
	if (all_failed && !s->persist.stopped)
		control_fail(r, CONTROL_REFUSED,
			     "%s has failed on every node that can be reached: supctl reset --all %s",
			     name, name);
}

static void start_service(struct control_request *r)
{
	if (control_ready_node(r->engine, r->row, r->began) == MODEL_NONE &&
	    is_paused(r, (int)r->row))
		return;
	if (!r->timeout_given)
		r->deadline = r->began + MTIME_MS(CONTROL_START_MS);
	control_service_command(r, SERVICE_CMD_START);
	r->poll = poll_service_started;
}

static void done_service_stopped(struct control_request *r, const char *not_told)
{
	const char *name = model_service_name(r->engine->m, r->row);

	if (service_of(r)->fsm.persist_failed)
		control_fail(r, CONTROL_FAILED,
			     "%s is stopped, but state_dir cannot be written: "
			     "a restart of supd would forget it",
			     name);
	else if (not_told[0] == '\0')
		control_done(r, json_pack("{s:s, s:s}", "name", name, "state", "stopped"));
	else
		control_fail(r, CONTROL_FAILED,
			     "%s is stopped here; not told: %s (unreachable; told on contact)", name,
			     not_told);
}

static void poll_service_stopped(struct control_request *r, mtime now)
{
	const struct engine_service *es = service_of(r);
	const struct service_fsm *s = &es->fsm;
	char not_told[200] = "";

	if (!s->persist.stopped || !control_written(s) || s->may_run || !group_gone(&es->group))
		return;
	for (uint32_t p = 0; p < s->config.n_nodes; p++) {
		const struct service_report *report = &s->peers[p].report;

		if (!is_linked_peer(s, p))
			continue;
		if (!service_peer_reachable(s, p, now))
			control_list_add(not_told, sizeof(not_told),
					 model_node_name(r->engine->m, p));
		else if (!report->stopped || report->running)
			return;
	}
	done_service_stopped(r, not_told);
}

static void poll_service_stopped_here(struct control_request *r, mtime now)
{
	const struct engine_service *es = service_of(r);

	if (!es->fsm.persist.barred || !control_written(&es->fsm) || es->fsm.may_run ||
	    !group_gone(&es->group))
		return;
	done_service_stopped(r, "");
}

static void stop_service(struct control_request *r)
{
	r->waits_for = "the service to stop";
	control_service_command(r, r->here ? SERVICE_CMD_STOP_HERE : SERVICE_CMD_STOP);
	r->poll = r->here ? poll_service_stopped_here : poll_service_stopped;
}

/* Whether restart of a service is about this member. */
static bool member_runs(const struct group_member *g)
{
	return g->autostart && !g->manual_stop;
}

static void poll_service_restarted(struct control_request *r, mtime now)
{
	const struct engine_service *es = service_of(r);
	const char *name = model_service_name(r->engine->m, r->row);
	unsigned deaths = 0;
	bool all_up = true;

	if (es->fsm.state != SERVICE_STATE_ACTIVE) {
		control_fail(r, CONTROL_FAILED, "%s became %s meanwhile", name,
			     service_state_name(es->fsm.state));
		return;
	}
	for (unsigned i = 0; i < es->group.n; i++) {
		const struct program_fsm *p = es->group.members[i].program;

		deaths += p->policy.total;
		if (member_runs(&es->group.members[i]))
			all_up &= p->state == PROGRAM_STATE_RUNNING && p->run != r->runs[i];
	}
	if (all_up)
		control_done(r, json_pack("{s:s, s:s}", "name", name, "state", "active"));
	else if (deaths > r->deaths)
		control_fail(r, CONTROL_FAILED, "a program of %s died: supctl status %s", name, name);
}

/* Its programs end and start again where it is active; it does not move. */
static void restart_service(struct control_request *r)
{
	struct engine_service *es = service_of(r);
	char where[96];

	if (es->fsm.state != SERVICE_STATE_ACTIVE) {
		control_service_where(r->engine, r->row, mtime_now(), where, sizeof(where));
		control_fail(r, CONTROL_REFUSED, "%s is %s on this node (%s)",
			     model_service_name(r->engine->m, r->row),
			     service_state_name(es->fsm.state), where);
		return;
	}
	if (is_paused(r, (int)r->row))
		return;
	for (unsigned i = 0; i < es->group.n; i++) {
		r->runs[i] = es->group.members[i].program->run;
		r->deaths += es->group.members[i].program->policy.total;
	}
	r->waits_for = "the programs to run again";
	for (unsigned i = 0; i < es->group.n; i++)
		if (member_runs(&es->group.members[i]))
			program_post(r, es->group_rows[i], PROGRAM_EV_RESTART);
	service_io_reconcile(r->engine, r->row);
	r->poll = poll_service_restarted;
}

/* ---- the handlers ---------------------------------------------------------------------------------- */

static void verb_start(struct control_request *r)
{
	control_by_name(r, start_program, start_service);
}

static void verb_stop(struct control_request *r)
{
	control_by_name(r, stop_program, stop_service);
}

static void verb_restart(struct control_request *r)
{
	control_by_name(r, restart_program, restart_service);
}

static void done_is_active(struct control_request *r, const char *state, bool active)
{
	control_done(r, json_pack("{s:s, s:s, s:b}", "name", r->name, "state", state, "active",
				  active ? 1 : 0));
}

static void program_is_active(struct control_request *r)
{
	enum program_state state = program_of(r)->fsm.state;

	done_is_active(r, program_state_name(state), state == PROGRAM_STATE_RUNNING);
}

static void service_is_active(struct control_request *r)
{
	enum service_state state = service_of(r)->fsm.state;

	done_is_active(r, service_state_name(state), state == SERVICE_STATE_ACTIVE);
}

static void verb_is_active(struct control_request *r)
{
	control_by_name(r, program_is_active, service_is_active);
}

static void verb_logs(struct control_request *r)
{
	control_by_name(r, control_logs_program, control_logs_service);
}

static void verb_status(struct control_request *r)
{
	program_io_look(r->engine);
	control_done_reply(r, control_status_json(r->engine, mtime_now()));
}

static void verb_explain(struct control_request *r)
{
	uint32_t row;

	if (control_pick_service(r, &row))
		control_done_reply(r, control_explain_json(r->engine, (int)row, mtime_now()));
}

static const struct control_verb verbs[] = {
	{ "status", CONTROL_QUERY, 0, false, verb_status, "services, programs, nodes" },
	{ "explain", CONTROL_QUERY, CONTROL_ARG_NAME, false, verb_explain,
	  "why this node is, or is not, active" },
	{ "is-active", CONTROL_QUERY, CONTROL_ARG_NAME_REQUIRED, false, verb_is_active,
	  "active or running here" },
	{ "version", CONTROL_QUERY, 0, false, control_verb_version, "the version of supd" },
	{ "logs", CONTROL_QUERY, CONTROL_ARG_NAME_REQUIRED | CONTROL_ARG_LOGS, false, verb_logs,
	  "what a program printed" },
	{ "start", CONTROL_COMMAND, CONTROL_ARG_NAME_REQUIRED, false, verb_start,
	  "start a program or a service" },
	{ "stop", CONTROL_COMMAND, CONTROL_ARG_NAME_REQUIRED | CONTROL_ARG_HERE, false, verb_stop,
	  "stop a program, or a service on all nodes" },
	{ "restart", CONTROL_COMMAND, CONTROL_ARG_NAME_REQUIRED, false, verb_restart,
	  "stop and start a program, or the programs of a service" },
	{ "failover", CONTROL_COMMAND, CONTROL_ARG_NAME | CONTROL_ARG_FORCE, true,
	  control_verb_failover, "hand over to the best fit peer" },
	{ "reset", CONTROL_COMMAND, CONTROL_ARG_NAME | CONTROL_ARG_ALL, true, control_verb_reset,
	  "clear the failed latch" },
	{ "pause", CONTROL_COMMAND, 0, false, control_verb_pause, "no restarts and no takeovers" },
	{ "resume", CONTROL_COMMAND, 0, false, control_verb_pause, "end a pause" },
	{ "reexec", CONTROL_COMMAND, CONTROL_ARG_IMAGE, false, control_verb_reexec,
	  "replace supd in place; programs keep running" },
};

const struct control_verb *control_verb_find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}
