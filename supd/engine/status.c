/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * status as JSON: what this node knows, as numbers and nulls.  What is not measured is null; text
 * is for reading, codes are for programs.
 */

/* ---- values -------------------------------------------------------------------------------------------- */

static json_t *text_or_null(const char *s)
{
	json_t *j = s != NULL && s[0] != '\0' ? json_string(s) : NULL;

	return j != NULL ? j : json_null();
}

static json_t *node_or_null(const struct engine *e, int row)
{
	return row == MODEL_NONE ? json_null() : text_or_null(model_node_name(e->m, (uint32_t)row));
}

/* Milliseconds since a point in time; 0: it has not been. */
static json_t *age_ms(mtime at, mtime now)
{
	return at == 0 || at > now ? json_null() : json_integer(mtime_to_ms(now - at));
}

/* RFC 3339, UTC. */
static json_t *wall_time(int64_t seconds)
{
	time_t t = (time_t)seconds;
	char buf[40];
	struct tm tm;

	if (seconds <= 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(buf);
}

static json_t *number_or_null(int64_t n, bool known)
{
	return known ? json_integer(n) : json_null();
}

static json_t *signal_or_null(int signo)
{
	const char *name = signo > 0 ? sigabbrev_np(signo) : NULL;
	char buf[16];

	if (signo <= 0 || name != NULL)
		return text_or_null(name);
	snprintf(buf, sizeof(buf), "%d", signo); /* a realtime signal */
	return json_string(buf);
}

static const char *errno_name(int error)
{
	return error > 0 ? strerrorname_np(error) : NULL;
}

/* ---- services -------------------------------------------------------------------------------------------- */

static json_t *addresses(const struct engine *e, uint32_t row)
{
	const struct model_service *ms = model_service(e->m, row);
	json_t *list = json_array();

	for (unsigned i = 0; i < ms->n_vips; i++) {
		const bool present = (e->services[row].addresses_present >> i & 1) != 0;
		char text[IP_ADDR_TEXT];

		ip_addr_text(&ms->vips[i], text);
		/* Where somebody else sets them, nobody here knows. */
		json_array_append_new(list, json_pack("{s:s, s:o}", "address", text, "present",
						      ms->vip_backend == MODEL_VIP_NONE
							      ? json_null()
							      : json_boolean(present)));
	}
	return list;
}

static json_t *unfit_because(const struct engine *e, uint32_t row, mtime now, bool *ret_fit)
{
	const struct service_fsm *s = &e->services[row].fsm;
	bool reasons[SERVICE_UNFITS_END] = { false };
	json_t *list = json_array();

	*ret_fit = service_fit(s, now, reasons);
	for (int u = 0; u < SERVICE_UNFITS_END; u++) {
		char text[CONTROL_TEXT_MAX];

		if (!reasons[u])
			continue;
		control_unfit_text(e, row, u, text, sizeof(text));
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "code",
						      service_unfit_name(u), "text", text, "soft",
						      service_unfit_is_soft(u) ? 1 : 0));
	}
	return list;
}

static json_t *last_change(const struct engine_service *es)
{
	if (es->last_cause == SERVICE_CAUSE_NONE)
		return json_null();
	return json_pack("{s:s, s:o}", "cause", service_cause_name(es->last_cause), "at",
			 wall_time(es->last_change_wall));
}

static json_t *counters(const struct engine_service *es)
{
	json_t *rejects = json_object(), *differs = json_object();

	for (int i = VRRP_REJECT_NONE + 1; i < VRRP_REJECTS_END; i++)
		json_object_set_new(rejects, vrrp_reject_name(i),
				    json_integer((json_int_t)es->rejects[i]));
	for (int i = 0; i < VRRP_DIFFERS_END; i++)
		json_object_set_new(differs, vrrp_differ_name((enum vrrp_differ)i),
				    json_integer((json_int_t)es->differs[i]));
	return json_pack("{s:I, s:I, s:o, s:o}", "adverts_sent", (json_int_t)es->adverts_sent,
			 "adverts_received", (json_int_t)es->adverts_received, "rejects", rejects, "differs", differs);
}

/* The term that the service runs under, wherever it does; where it does not, the highest known. */
static uint64_t term_in_force(const struct service_fsm *s, mtime now)
{
	int active = service_active_node(s, now);

	if (s->may_run || active == (int)s->config.self)
		return s->term;
	/* A plain VRRP router has none. */
	return active != MODEL_NONE && s->config.nodes[active].peer_link ? s->peers[active].report.term : s->persist.term_seen;
}

static json_t *service_json(const struct engine *e, uint32_t row, mtime now)
{
	const struct engine_service *es = &e->services[row];
	const struct service_fsm *s = &es->fsm;
	bool fit;
	json_t *because = unfit_because(e, row, now, &fit);
	json_t *j = json_pack(
		"{s:s, s:s, s:o, s:I, s:s, s:i, s:o, s:o, s:b, s:o, s:o, s:o}", "name",
		model_service_name(e->m, row), "state", service_state_name(s->state), "active_node",
		node_or_null(e, service_active_node(s, now)), "term",
		(json_int_t)term_in_force(s, now), "vrrp",
		vrrp_state_name(s->vrrp.state), "priority", s->config.nodes[s->config.self].priority,
		"addresses", addresses(e, row), "since_ms", age_ms(s->since, now), "fit", fit ? 1 : 0,
		"unfit_because", because, "last_change", last_change(es), "counters", counters(es));

	json_object_set_new(j, "ready",
			    json_boolean(s->state == SERVICE_STATE_ACTIVE && s->programs_ready));
	json_object_set_new(j, "stopped", json_boolean(s->persist.stopped));
	json_object_set_new(j, "latched", json_boolean(s->persist.latched));
	return j;
}

static void add_alarms(json_t *list, const struct engine *e, uint32_t row)
{
	const struct service_fsm *s = &e->services[row].fsm;

	for (int a = 0; a < SERVICE_ALARMS_END; a++) {
		char text[CONTROL_TEXT_MAX];

		if (!s->alarms[a])
			continue;
		control_alarm_text(e, row, a, text, sizeof(text));
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s}", "code", service_alarm_name(a), "service",
					model_service_name(e->m, row), "text", text));
	}
}

/* ---- programs -------------------------------------------------------------------------------------------- */

static json_t *last_exit(const struct program_fsm *p)
{
	if (!p->has_exited)
		return json_null();
	return json_pack("{s:o, s:o, s:s}", "code",
			 number_or_null(p->last_exit.code, p->last_exit.code >= 0), "signal",
			 p->last_exit.code >= 0 ? json_null() : signal_or_null(p->last_exit.signo),
			 "reason", program_end_name(p->last_end));
}

static json_t *last_error(const struct program_fsm *p)
{
	if (p->last_stage >= IPC_STAGES_END)
		return json_null();
	return json_pack("{s:s, s:o}", "stage", ipc_stage_name((enum ipc_stage)p->last_stage),
			 "errno", text_or_null(errno_name(p->last_errno)));
}

void control_program_why(const struct program_fsm *p, char *buf, size_t size)
{
	if (p->last_stage < IPC_STAGES_END)
		snprintf(buf, size, "%s: %s", ipc_stage_name((enum ipc_stage)p->last_stage),
			 p->last_errno > 0 ? strerrordesc_np(p->last_errno) : "refused");
	else if (p->has_exited && p->last_exit.code >= 0)
		snprintf(buf, size, "exit code %d", p->last_exit.code);
	else if (p->has_exited && sigabbrev_np(p->last_exit.signo) != NULL)
		snprintf(buf, size, "killed by SIG%s", sigabbrev_np(p->last_exit.signo));
	else if (p->has_exited)
		snprintf(buf, size, "killed by signal %d", p->last_exit.signo);
	else
		snprintf(buf, size, "not known why");
}

static json_t *restarts(const struct program_fsm *p)
{
	bool limited = p->config.restart_limit > 0;

	return json_pack("{s:I, s:I, s:o, s:o}", "total", (json_int_t)p->policy.total, "counted",
			 (json_int_t)p->policy.counted, "limit",
			 number_or_null(p->config.restart_limit, limited), "window_ms",
			 number_or_null(mtime_to_ms(p->config.restart_window), limited));
}

/* What is asked of it at present, and how it answers. */
static json_t *probe_json(const struct engine_program *ep)
{
	const struct program_watch *w = &ep->watch;

	if (w->kind == WATCH_NOTHING)
		return json_null();
	return json_pack("{s:s, s:I, s:o}", "for", w->kind == WATCH_READY ? "ready" : "health",
			 "failures", (json_int_t)w->check.failures, "last",
			 text_or_null(w->why[0] != '\0' ? w->why : NULL));
}

static json_t *program_json(const struct engine *e, uint32_t row, mtime now)
{
	const struct engine_program *ep = &e->programs[row];
	const struct program_fsm *p = &ep->fsm;
	bool known = p->main_alive && ep->usage.at != 0;
	bool waits = p->state == PROGRAM_STATE_BACKOFF && p->next_start != MTIME_NEVER;
	json_t *service = ep->service == MODEL_NONE
				  ? json_null()
				  : text_or_null(model_service_name(e->m, (uint32_t)ep->service));

	return json_pack(
		"{s:s, s:o, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
		model_program_name(e->m, row), "service", service, "state",
		program_state_name(p->state), "wanted", p->wanted ? 1 : 0, "ready", p->ready ? 1 : 0,
		"pid", number_or_null(p->pid, p->main_alive), "uptime_ms",
		p->main_alive ? age_ms(p->started_at, now) : json_null(), "restarts", restarts(p),
		"next_start_ms",
		number_or_null(mtime_to_ms(mtime_max(p->next_start - now, 0)), waits), "last_exit",
		last_exit(p), "last_error", last_error(p), "probe", probe_json(ep), "processes",
		number_or_null(ep->usage.processes, known && ep->usage.processes >= 0),
		"memory_bytes", number_or_null(ep->usage.memory, known && ep->usage.memory >= 0),
		"cpu_ms", number_or_null(ep->usage.cpu_ms, known && ep->usage.cpu_ms >= 0));
}

/* ---- nodes ----------------------------------------------------------------------------------------------- */

static json_t *report_json(const struct service_report *report)
{
	return json_pack("{s:s, s:I, s:b, s:b, s:I, s:i, s:b, s:b, s:b, s:b}", "state",
			 service_state_name(report->state), "term_seen",
			 (json_int_t)report->term_seen, "fit", report->fit ? 1 : 0,
			 "softly_unfit", report->soft ? 1 : 0, "term",
			 (json_int_t)report->term, "priority", report->priority, "ready",
			 report->ready ? 1 : 0, "running", report->running ? 1 : 0, "stopped",
			 report->stopped ? 1 : 0, "latched", report->latched ? 1 : 0);
}

static json_t *node_services(const struct engine *e, uint32_t node, mtime now)
{
	json_t *all = json_object();

	for (uint32_t i = 0; i < e->m->n_services; i++) {
		const struct service_fsm *s = &e->services[i].fsm;
		struct service_report report;

		if ((int)node == e->m->self)
			service_to_report(s, now, &report);
		else if (s->peers[node].reported != 0)
			report = s->peers[node].report;
		else
			continue;
		json_object_set_new(all, model_service_name(e->m, i), report_json(&report));
	}
	return all;
}

/* The file is the same there; null: it has said nothing yet. */
static json_t *config_matches(const struct engine *e, uint32_t node)
{
	const struct engine_peer *p = &e->peers[node];
	bool self = (int)node == e->m->self;
	bool known = self || p->has_details;
	bool same = self || !known || p->details.config_digest == e->details.config_digest;

	for (uint32_t i = 0; !self && i < e->m->n_services; i++) {
		const struct service_fsm *s = &e->services[i].fsm;

		if (s->peers[node].reported == 0)
			continue;
		known = true;
		same &= s->peers[node].report.digest == s->config.digest;
	}
	return known ? json_boolean(same) : json_null();
}

static bool node_reachable(const struct engine *e, uint32_t node, mtime now)
{
	const struct peer_fsm *p = &e->peers[node].fsm;

	if ((int)node == e->m->self)
		return true;
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (service_peer_reachable(&e->services[i].fsm, node, now))
			return true;
	return e->m->n_services == 0 && p->heard != 0 && now - p->heard < MTIME_SEC(4) &&
	       p->echoed != 0 && now - p->echoed < MTIME_SEC(4);
}

static json_t *node_load(const struct peer_details *d)
{
	if (d == NULL)
		return json_null();
	return json_pack("[f, f, f]", d->load100[0] / 100.0, d->load100[1] / 100.0,
			 d->load100[2] / 100.0);
}

static int64_t supd_started_wall(const struct engine *e, mtime now)
{
	return (int64_t)time(NULL) - (now - e->supd_started) / MTIME_SEC(1);
}

static json_t *node_json(const struct engine *e, uint32_t node, mtime now)
{
	const struct engine_peer *p = &e->peers[node];
	const struct peer_details *d = p->has_details ? &p->details : NULL;
	bool self = (int)node == e->m->self;
	int64_t started = d != NULL ? (int64_t)d->started_at : 0;

	if (self)
		started = supd_started_wall(e, now);
	return json_pack("{s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "name",
			 model_node_name(e->m, node), "self", self ? 1 : 0, "reachable",
			 node_reachable(e, node, now) ? 1 : 0, "heard_ms",
			 self ? json_null() : age_ms(p->fsm.heard, now), "hears_us_ms",
			 self ? json_null() : age_ms(p->fsm.echoed, now), "services",
			 node_services(e, node, now), "load", node_load(d), "cpu_pct",
			 number_or_null(d != NULL ? d->cpu_pct : 0, d != NULL),
			 "memory_available_bytes",
			 number_or_null(d != NULL ? (int64_t)d->memory_available : 0, d != NULL),
			 "started_at", wall_time(started), "config_matches", config_matches(e, node),
			 "paths", control_paths_json(e, node, now), "peer_link",
			 model_node(e->m, node)->peer_link ? 1 : 0);
}

/* ---- the whole -------------------------------------------------------------------------------------------- */

void control_service_where(const struct engine *e, uint32_t service, mtime now, char *buf,
			   size_t size)
{
	int node = service_active_node(&e->services[service].fsm, now);

	if (node == MODEL_NONE)
		snprintf(buf, size, "active on no node that is heard");
	else
		snprintf(buf, size, "active on %s", model_node_name(e->m, (uint32_t)node));
}

static json_t *supd_json(const struct engine *e, mtime now)
{
	return json_pack("{s:s, s:i, s:I, s:o, s:o}", "version", SUPD_VERSION, "pid",
			 (int)e->keeper_pid, "engine_restarts", (json_int_t)e->engine_restarts,
			 "cgroup", e->welcome.has_cgroup ? text_or_null(e->welcome.cgroup) : json_null(),
			 "started_at", wall_time(supd_started_wall(e, now)));
}

/* The wish is every service's; said once, it is so for all. */
static bool is_paused(const struct engine *e)
{
	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (e->services[i].fsm.persist.paused)
			return true;
	return false;
}

json_t *control_status_json(const struct engine *e, mtime now)
{
	const struct model *m = e->m;
	json_t *alarms = json_array(), *services = json_array();
	json_t *programs = json_array(), *nodes = json_array();
	const char *self = m->self == MODEL_NONE ? NULL : model_node_name(m, (uint32_t)m->self);

	for (uint32_t i = 0; i < m->n_services; i++) {
		add_alarms(alarms, e, i);
		json_array_append_new(services, service_json(e, i, now));
	}
	control_add_path_alarms(alarms, e);
	for (uint32_t i = 0; i < m->n_programs; i++)
		json_array_append_new(programs, program_json(e, i, now));
	for (uint32_t i = 0; i < m->n_nodes; i++)
		json_array_append_new(nodes, node_json(e, i, now));
	return json_pack("{s:i, s:o, s:o, s:b, s:o, s:o, s:o, s:[], s:[], s:o, s:o}", "schema",
			 CONTROL_SCHEMA, "node", text_or_null(self), "cluster",
			 text_or_null(model_str(m, m->supd.cluster)), "paused",
			 is_paused(e), "alarms", alarms,
			 "services", services, "programs", programs, "tasks", "checks", "nodes", nodes,
			 "supd", supd_json(e, now));
}
