/* SPDX-License-Identifier: MIT */
#include "supctl/render.h"

#include <stdbool.h>
#include <string.h>

#include "common/control_proto.h"
#include "supctl/reply.h"
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
	return name == NULL || strcmp(reply_str(object, key), name) == 0;
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
		text_add(line, sizeof(line), "%s%s%s", i > 0 ? ", " : "", reply_str(item, "address"),
		    reply_is(item, "present") ? " (here)" : "");
	table_cell(t, "%s", line);
}

static void print_unfit(struct view *v, const json_t *service)
{
	char line[1024] = "";
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(service, "unfit_because"), i, item)
		text_add(line, sizeof(line), "%s%s", i > 0 ? "; " : "", reply_str(item, "text"));
	if (line[0] == '\0')
		return;
	fprintf(v->out, "%s is not fit here: ", reply_str(service, "name"));
	text_wrap(v->out, line, (unsigned)strlen(reply_str(service, "name")) + 18, v->width);
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
		const char *cause = reply_str(json_object_get(s, "last_change"), "cause");

		if (!wanted(s, "name", v->name))
			continue;
		table_cell(&t, "%s", reply_str(s, "name"));
		table_cell(&t, "%s", reply_str(s, "state"));
		cell_duration(&t, s, "since_ms");
		table_cell(&t, "%s", cause[0] != '\0' ? cause : "-");
		cell_integer(&t, s, "term");
		table_cell(&t, "%s", reply_str(s, "vrrp"));
		table_cell(&t, "%s", reply_is(s, "fit") ? "yes" : "NO");
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
		text_add(line, sizeof(line), "starts in %s; ",
		    text_duration(json_integer_value(next), buf, sizeof(buf)));
	if (json_is_object(error))
		text_add(line, sizeof(line), "%s failed%s%s; ", reply_str(error, "stage"),
		    reply_str(error, "errno")[0] != '\0' ? ": " : "", reply_str(error, "errno"));
	if (json_is_integer(code))
		text_add(line, sizeof(line), "last exit code %lld; ", (long long)json_integer_value(code));
	else if (json_is_object(exit))
		text_add(line, sizeof(line), "last killed by SIG%s; ", reply_str(exit, "signal"));
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
		table_cell(&t, "%s", reply_str(p, "name"));
		table_cell(&t, "%s", reply_str(p, "service")[0] != '\0' ? reply_str(p, "service") : "-");
		table_cell(&t, "%s", reply_str(p, "state"));
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
		bool says_it = reply_is(s, "fit") || reply_is_state(s, "failed") || reply_is_state(s, "stopped");

		text_add(line, sizeof(line), "%s%s %s%s", line[0] != '\0' ? ", " : "", name,
		    reply_str(s, "state"), says_it ? "" : " (not fit)");
	}
	if (!reply_is(node, "reachable") && line[0] != '\0')
		text_add(line, sizeof(line), " (last heard)");
	if (json_is_false(json_object_get(node, "config_matches")))
		text_add(line, sizeof(line), "; CONFIGURATION DIFFERS");
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

		table_cell(&t, "%s", reply_str(node, "name"));
		table_cell(&t, "%s",
			   reply_is(node, "self") ? "this" : reply_is(node, "reachable") ? "up" : "DOWN");
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
		table_cell(&t, "%s", reply_str(a, "code"));
		table_cell(&t, "%s", reply_str(a, "service"));
		table_cell(&t, "%s", reply_str(a, "text"));
	}
	print_table(v, &t);
}

void render_status(FILE *out, unsigned width, const json_t *reply, const char *name)
{
	struct view v = { .out = out, .width = width, .reply = reply, .name = name };
	const json_t *services = json_object_get(reply, "services");
	const json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		if (!wanted(s, "name", name))
			continue;
		render_headline(out, reply, s);
		v.begun = true;
	}
	if (json_array_size(services) == 0 && name == NULL) {
		fprintf(out, "%s: no service is configured\n", reply_str(reply, "node"));
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
	*ret_state = reply_str(object, "state");
	return reply_is_state(object, "active") || reply_is_state(object, "running");
}

static void consider(const json_t *array, const char *name, const char **best, int *distance)
{
	const json_t *object;
	size_t i;

	json_array_foreach(array, i, object) {
		int d = control_name_distance(name, reply_str(object, "name"));

		if (d >= 0 && d < *distance) {
			*best = reply_str(object, "name");
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
