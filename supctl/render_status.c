/* SPDX-License-Identifier: MIT */
#include "supctl/render.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "common/control_proto.h"
#include "supctl/text.h"

/*
 * status as text: one line for each service that says what matters and what to do, then tables.
 */

struct view {
	FILE *out;
	unsigned width;
	const json_t *reply;
	const char *name; /* what is asked for; NULL: everything */
	bool begun;	  /* something has been printed */
};

static const char *str(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

static bool is(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static bool is_state(const json_t *object, const char *state)
{
	return strcmp(str(object, "state"), state) == 0;
}

/* Append to a line under construction. */
static void add(char *line, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add(char *line, size_t size, const char *fmt, ...)
{
	size_t len = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + len, size - len, fmt, ap);
	va_end(ap);
}

/* ---- the first lines ----------------------------------------------------------------------------- */

static const json_t *service_at(const json_t *node, const json_t *service)
{
	return json_object_get(json_object_get(node, "services"), str(service, "name"));
}

/* Why a node that is not active could not take over, as a few words; "" when it could. */
static void why_no_standby(const json_t *node, const json_t *service, char *buf, size_t size)
{
	const json_t *there = service_at(node, service);
	const char *name = str(node, "name");
	const char *where = is(node, "self") ? "here" : "there";

	buf[0] = '\0';
	if (!is(node, "reachable"))
		snprintf(buf, size, "%s unreachable", name);
	else if (there == NULL)
		snprintf(buf, size, "%s says nothing about it", name);
	else if (is(there, "latched") || is_state(there, "failed"))
		snprintf(buf, size, "%s failed: supctl reset %s", name, where);
	else if (is(there, "stopped"))
		snprintf(buf, size, "%s stopped: supctl start %s %s", name, str(service, "name"),
			 where);
	else if (is_state(there, "stopped"))
		snprintf(buf, size, "%s barred by stop --here: supctl reset %s", name, where);
	else if (!is(there, "fit"))
		snprintf(buf, size, "%s not fit: supctl status %s", name, where);
	else if (!is_state(there, "backup") && !is_state(there, "waiting"))
		snprintf(buf, size, "%s %s", name, str(there, "state"));
}

static void add_standbys(const json_t *reply, const json_t *service, char *line, size_t size)
{
	char ready[256] = "", others[384] = "";
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		char why[128];

		if (strcmp(str(node, "name"), str(service, "active_node")) == 0)
			continue;
		why_no_standby(node, service, why, sizeof(why));
		if (why[0] == '\0')
			add(ready, sizeof(ready), "%s%s", ready[0] != '\0' ? ", " : "",
			    str(node, "name"));
		else
			add(others, sizeof(others), "%s%s", others[0] != '\0' ? ", " : "", why);
	}
	if (ready[0] != '\0')
		add(line, size, "; standby %s ready", ready);
	else
		add(line, size, "; NO STANDBY");
	if (ready[0] == '\0' && others[0] == '\0')
		add(line, size, " (there is no other node)");
	else if (others[0] != '\0')
		add(line, size, " (%s)", others);
}

/* Name of the first node that is heard and says that the service is in this state there, or NULL. */
static const char *node_in_state(const json_t *reply, const json_t *service, const char *state)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const json_t *there = service_at(node, service);

		if (is(node, "reachable") && there != NULL && is_state(there, state))
			return str(node, "name");
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
			return str(node, "name");
	}
	return NULL;
}

static bool has_alarm(const json_t *reply, const json_t *service, const char *code)
{
	const json_t *alarm;
	size_t i;

	json_array_foreach(json_object_get(reply, "alarms"), i, alarm)
		if (strcmp(str(alarm, "code"), code) == 0 &&
		    strcmp(str(alarm, "service"), str(service, "name")) == 0)
			return true;
	return false;
}

static void add_inactive(const json_t *reply, const json_t *service, char *line, size_t size)
{
	const char *taking = node_in_state(reply, service, "taking_over");
	const char *releasing = node_in_state(reply, service, "releasing");
	const char *name = str(service, "name");

	if (taking != NULL)
		add(line, size, "taking over on %s", taking);
	else if (releasing != NULL)
		add(line, size, "%s is releasing it", releasing);
	else if (is(service, "stopped"))
		add(line, size, "stopped by a person: supctl start %s", name);
	else if (has_alarm(reply, service, "wait_for_peer"))
		add(line, size, "DOWN, person needed: supctl failover --force");
	else if (has_alarm(reply, service, "person_needed"))
		add(line, size, "DOWN, person needed: supctl reset");
	else if (is_state(service, "waiting"))
		add(line, size, "DOWN, waiting for the other nodes");
	else if (candidate(reply, service) != NULL)
		add(line, size, "DOWN, %s may take over: supctl explain %s there",
		    candidate(reply, service), name);
	else if (is(service, "latched"))
		add(line, size, "DOWN, person needed: supctl reset");
	else
		add(line, size, "DOWN, active nowhere: supctl explain %s", name);
}

static void print_headline(struct view *v, const json_t *service)
{
	char line[1024] = "";
	const json_t *reply = v->reply;
	const char *active = str(service, "active_node");
	const json_t *node;
	size_t i;

	v->begun = true;
	add(line, sizeof(line), "%s: ", str(service, "name"));
	if (active[0] == '\0') {
		add_inactive(reply, service, line, sizeof(line));
		fprintf(v->out, "%s\n", line);
		return;
	}
	add(line, sizeof(line), "active on %s", active);
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const json_t *there = service_at(node, service);

		if (strcmp(str(node, "name"), active) == 0 && there != NULL && !is(there, "ready"))
			add(line, sizeof(line), " (not ready)");
	}
	add_standbys(reply, service, line, sizeof(line));
	fprintf(v->out, "%s\n", line);
}

/* ---- the tables ------------------------------------------------------------------------------------ */

static void cell_duration(struct table *t, const json_t *object, const char *key)
{
	const json_t *ms = json_object_get(object, key);
	char buf[32];

	if (json_is_integer(ms))
		table_cell(t, "%s", text_duration(json_integer_value(ms), buf, sizeof(buf)));
	else
		table_cell(t, "-");
}

static void cell_integer(struct table *t, const json_t *object, const char *key)
{
	const json_t *n = json_object_get(object, key);

	if (json_is_integer(n))
		table_cell(t, "%lld", (long long)json_integer_value(n));
	else
		table_cell(t, "-");
}

static void cells(struct table *t, const char *const *heads)
{
	table_begin(t, 0);
	for (; *heads != NULL; heads++) {
		table_cell(t, "%s", *heads);
		t->n_columns++;
	}
}

static void print_table(struct view *v, struct table *t)
{
	if (v->begun)
		fputc('\n', v->out);
	v->begun = true;
	table_end(t, v->out, v->width);
}

static bool wanted(const json_t *object, const char *key, const char *name)
{
	return name == NULL || strcmp(str(object, key), name) == 0;
}

/* Any of the array is asked for. */
static bool any_wanted(const json_t *array, const char *name)
{
	const json_t *object;
	size_t i;

	json_array_foreach(array, i, object)
		if (wanted(object, "name", name) || wanted(object, "service", name))
			return true;
	return false;
}

static void cell_addresses(struct table *t, const json_t *service)
{
	char line[512] = "";
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(service, "addresses"), i, item)
		add(line, sizeof(line), "%s%s%s", i > 0 ? ", " : "", str(item, "address"),
		    is(item, "present") ? " (here)" : "");
	table_cell(t, "%s", line);
}

static void print_unfit(struct view *v, const json_t *service)
{
	char line[1024] = "";
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(service, "unfit_because"), i, item)
		add(line, sizeof(line), "%s%s", i > 0 ? "; " : "", str(item, "text"));
	if (line[0] == '\0')
		return;
	fprintf(v->out, "%s is not fit here: ", str(service, "name"));
	text_wrap(v->out, line, (unsigned)strlen(str(service, "name")) + 18, v->width);
}

static void print_services(struct view *v)
{
	static const char *const heads[] = { "SERVICE", "HERE",	 "SINCE", "CAUSE",     "TERM",
					     "VRRP",	"FIT", "ADDRESSES", NULL };
	const json_t *services = json_object_get(v->reply, "services"), *s;
	struct table t;
	size_t i;

	if (!any_wanted(services, v->name))
		return;
	cells(&t, heads);
	json_array_foreach(services, i, s) {
		const char *cause = str(json_object_get(s, "last_change"), "cause");

		if (!wanted(s, "name", v->name))
			continue;
		table_cell(&t, "%s", str(s, "name"));
		table_cell(&t, "%s", str(s, "state"));
		cell_duration(&t, s, "since_ms");
		table_cell(&t, "%s", cause[0] != '\0' ? cause : "-");
		cell_integer(&t, s, "term");
		table_cell(&t, "%s", str(s, "vrrp"));
		table_cell(&t, "%s", is(s, "fit") ? "yes" : "NO");
		cell_addresses(&t, s);
	}
	print_table(v, &t);
	json_array_foreach(services, i, s)
		if (wanted(s, "name", v->name))
			print_unfit(v, s);
}

static void cell_restarts(struct table *t, const json_t *program)
{
	const json_t *r = json_object_get(program, "restarts");
	const json_t *limit = json_object_get(r, "limit");
	long long total = (long long)json_integer_value(json_object_get(r, "total"));
	long long counted = (long long)json_integer_value(json_object_get(r, "counted"));

	if (json_is_integer(limit) && counted > 0)
		table_cell(t, "%lld (%lld/%lld)", total, counted,
			   (long long)json_integer_value(limit));
	else
		table_cell(t, "%lld", total);
}

static void program_notes(struct table *t, const json_t *program)
{
	const json_t *next = json_object_get(program, "next_start_ms");
	const json_t *exit = json_object_get(program, "last_exit");
	const json_t *error = json_object_get(program, "last_error");
	const json_t *code = json_object_get(exit, "code");
	char line[256] = "", buf[32];

	if (json_is_integer(next))
		add(line, sizeof(line), "starts in %s; ",
		    text_duration(json_integer_value(next), buf, sizeof(buf)));
	if (json_is_object(error))
		add(line, sizeof(line), "%s failed%s%s; ", str(error, "stage"),
		    str(error, "errno")[0] != '\0' ? ": " : "", str(error, "errno"));
	if (json_is_integer(code))
		add(line, sizeof(line), "last exit code %lld; ", (long long)json_integer_value(code));
	else if (json_is_object(exit))
		add(line, sizeof(line), "last killed by SIG%s; ", str(exit, "signal"));
	if (strlen(line) >= 2)
		line[strlen(line) - 2] = '\0';
	table_cell(t, "%s", line);
}

static void print_programs(struct view *v)
{
	static const char *const heads[] = { "PROGRAM", "SERVICE",  "STATE", "PID",
					     "UPTIME",	"RESTARTS", "",	     NULL };
	const json_t *programs = json_object_get(v->reply, "programs"), *p;
	struct table t;
	size_t i;

	if (!any_wanted(programs, v->name))
		return;
	cells(&t, heads);
	json_array_foreach(programs, i, p) {
		if (!wanted(p, "name", v->name) && !wanted(p, "service", v->name))
			continue;
		table_cell(&t, "%s", str(p, "name"));
		table_cell(&t, "%s", str(p, "service")[0] != '\0' ? str(p, "service") : "-");
		table_cell(&t, "%s", str(p, "state"));
		cell_integer(&t, p, "pid");
		cell_duration(&t, p, "uptime_ms");
		cell_restarts(&t, p);
		program_notes(&t, p);
	}
	print_table(v, &t);
}

static void node_services(struct table *t, const json_t *node)
{
	char line[1024] = "";
	const char *name;
	json_t *s;

	json_object_foreach(json_object_get(node, "services"), name, s) {
		bool says_it = is(s, "fit") || is_state(s, "failed") || is_state(s, "stopped");

		add(line, sizeof(line), "%s%s %s%s", line[0] != '\0' ? ", " : "", name,
		    str(s, "state"), says_it ? "" : " (not fit)");
	}
	if (!is(node, "reachable") && line[0] != '\0')
		add(line, sizeof(line), " (last heard)");
	if (json_is_false(json_object_get(node, "config_matches")))
		add(line, sizeof(line), "; CONFIGURATION DIFFERS");
	table_cell(t, "%s", line);
}

static void print_nodes(struct view *v)
{
	static const char *const heads[] = { "NODE", "LINK", "HEARD", "HEARS US", "LOAD", "MEMORY",
					     "SERVICES", NULL };
	const json_t *node;
	struct table t;
	size_t i;

	cells(&t, heads);
	json_array_foreach(json_object_get(v->reply, "nodes"), i, node) {
		const json_t *load = json_array_get(json_object_get(node, "load"), 0);
		const json_t *memory = json_object_get(node, "memory_available_bytes");
		char buf[32];

		table_cell(&t, "%s", str(node, "name"));
		table_cell(&t, "%s",
			   is(node, "self") ? "this" : is(node, "reachable") ? "up" : "DOWN");
		cell_duration(&t, node, "heard_ms");
		cell_duration(&t, node, "hears_us_ms");
		if (json_is_number(load))
			table_cell(&t, "%.2f", json_number_value(load));
		else
			table_cell(&t, "-");
		table_cell(&t, "%s",
			   json_is_integer(memory)
				   ? text_bytes(json_integer_value(memory), buf, sizeof(buf))
				   : "-");
		node_services(&t, node);
	}
	print_table(v, &t);
}

static void print_alarms(struct view *v)
{
	const json_t *alarms = json_object_get(v->reply, "alarms"), *a;
	static const char *const heads[] = { "ALARM", "SERVICE", "WHAT IT MEANS", NULL };
	struct table t;
	size_t i;

	if (!any_wanted(alarms, v->name))
		return;
	cells(&t, heads);
	json_array_foreach(alarms, i, a) {
		if (!wanted(a, "service", v->name))
			continue;
		table_cell(&t, "%s", str(a, "code"));
		table_cell(&t, "%s", str(a, "service"));
		table_cell(&t, "%s", str(a, "text"));
	}
	print_table(v, &t);
}

void render_status(FILE *out, unsigned width, const json_t *reply, const char *name)
{
	struct view v = { .out = out, .width = width, .reply = reply, .name = name };
	const json_t *services = json_object_get(reply, "services");
	const json_t *s;
	size_t i;

	json_array_foreach(services, i, s)
		if (wanted(s, "name", name))
			print_headline(&v, s);
	if (json_array_size(services) == 0 && name == NULL) {
		fprintf(out, "%s: no service is configured\n", str(reply, "node"));
		v.begun = true;
	}
	print_services(&v);
	print_programs(&v);
	if (name == NULL || any_wanted(services, name))
		print_nodes(&v);
	print_alarms(&v);
}

/* ---- names ------------------------------------------------------------------------------------------ */

static const json_t *find_named(const json_t *array, const char *name)
{
	const json_t *object;
	size_t i;

	json_array_foreach(array, i, object)
		if (wanted(object, "name", name))
			return object;
	return NULL;
}

int render_status_of(const json_t *reply, const char *name, const char **ret_state)
{
	const json_t *object = find_named(json_object_get(reply, "services"), name);

	if (object == NULL)
		object = find_named(json_object_get(reply, "programs"), name);
	if (object == NULL)
		return -1;
	*ret_state = str(object, "state");
	return is_state(object, "active") || is_state(object, "running");
}

static void consider(const json_t *array, const char *name, const char **best, int *distance)
{
	const json_t *object;
	size_t i;

	json_array_foreach(array, i, object) {
		int d = control_name_distance(name, str(object, "name"));

		if (d >= 0 && d < *distance) {
			*best = str(object, "name");
			*distance = d;
		}
	}
}

const char *render_nearest(const json_t *reply, const char *name)
{
	const char *best = NULL;
	int distance = 100;

	consider(json_object_get(reply, "services"), name, &best, &distance);
	consider(json_object_get(reply, "programs"), name, &best, &distance);
	return best;
}
