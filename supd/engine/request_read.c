/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdlib.h>
#include <string.h>

#include "common/parse.h"

/* A request out of a line of JSON: its verb, and the arguments that this verb has. */

static void read_verb(struct control_request *r)
{
	const json_t *command = json_object_get(r->json, "command");
	const char *name = json_string_value(command);

	if (name == NULL) {
		control_fail(r, CONTROL_USAGE, "a request needs \"command\"");
		return;
	}
	r->verb = control_verb_find(name);
	if (r->verb != NULL)
		return;
	if (control_command_is_later(name))
		control_fail(r, CONTROL_USAGE, "%s: known, not supported yet", name);
	else
		control_fail(r, CONTROL_USAGE, "%.64s: no such command", name);
}

static bool read_flag(struct control_request *r, const char *key, const json_t *value,
		      enum control_arg arg, bool *ret)
{
	if ((r->verb->args & arg) == 0)
		return false;
	if (!json_is_boolean(value))
		control_fail(r, CONTROL_USAGE, "%s: argument \"%s\" must be true or false",
			     r->verb->name, key);
	*ret = json_is_true(value);
	return true;
}

static void read_timeout(struct control_request *r, const json_t *value)
{
	json_int_t ms = json_integer_value(value);

	if (!json_is_integer(value) || ms < 1 || ms > CONTROL_TIMEOUT_MAX)
		control_fail(r, CONTROL_USAGE, "timeout_ms must be a number from 1 to %d",
			     CONTROL_TIMEOUT_MAX);
	else
		r->deadline = r->began + MTIME_MS(ms);
	r->timeout_given = true;
}

static bool read_lines(struct control_request *r, const json_t *value)
{
	json_int_t lines = json_integer_value(value);

	if ((r->verb->args & CONTROL_ARG_LOGS) == 0)
		return false;
	if (!json_is_integer(value) || lines < 0 || lines > CONTROL_LOG_LINES_MAX)
		control_fail(r, CONTROL_USAGE, "lines must be a number from 0 to %d",
			     CONTROL_LOG_LINES_MAX);
	r->lines = (uint32_t)lines;
	return true;
}

static void read_arg(struct control_request *r, const char *key, const json_t *value)
{
	bool known;

	if (strcmp(key, "timeout_ms") == 0) {
		read_timeout(r, value);
		return;
	}
	if (strcmp(key, "name") == 0) {
		known = (r->verb->args & (CONTROL_ARG_NAME | CONTROL_ARG_NAME_REQUIRED)) != 0;
		r->name = json_string_value(value);
		if (r->name == NULL)
			control_fail(r, CONTROL_USAGE, "%s: argument \"name\" must be a string",
				     r->verb->name);
		else if (!parse_is_name(r->name))
			control_fail(r, CONTROL_UNKNOWN, "a name has 1 to %d of A-Z a-z 0-9 _ -",
				     MODEL_NAME_MAX);
	} else if (strcmp(key, "force") == 0) {
		known = read_flag(r, key, value, CONTROL_ARG_FORCE, &r->force);
	} else if (strcmp(key, "here") == 0) {
		known = read_flag(r, key, value, CONTROL_ARG_HERE, &r->here);
	} else if (strcmp(key, "all") == 0) {
		known = read_flag(r, key, value, CONTROL_ARG_ALL, &r->all);
	} else if (strcmp(key, "image") == 0) {
		known = (r->verb->args & CONTROL_ARG_IMAGE) != 0;
		r->image = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
		if (known && r->image < 0)
			control_fail(r, CONTROL_USAGE, "%s: argument \"image\" must be a number",
				     r->verb->name);
	} else if (strcmp(key, "follow") == 0) {
		known = read_flag(r, key, value, CONTROL_ARG_LOGS, &r->follow);
	} else if (strcmp(key, "stderr") == 0) {
		known = read_flag(r, key, value, CONTROL_ARG_LOGS, &r->errors);
	} else if (strcmp(key, "lines") == 0) {
		known = read_lines(r, value);
	} else {
		known = false;
	}
	if (!known)
		control_fail(r, CONTROL_USAGE, "%s: no such argument: %.64s", r->verb->name, key);
}

static void read_args(struct control_request *r)
{
	json_t *args = json_object_get(r->json, "args");
	const char *key;
	json_t *value;

	if (args != NULL && !json_is_object(args)) {
		control_fail(r, CONTROL_USAGE, "\"args\" must be an object");
		return;
	}
	json_object_foreach(args, key, value)
		read_arg(r, key, value);
	if (r->reply == NULL && (r->verb->args & CONTROL_ARG_NAME_REQUIRED) != 0 && r->name == NULL)
		control_fail(r, CONTROL_USAGE, "%s needs a name", r->verb->name);
}

struct control_request *control_request_read(struct control *c, const char *line, size_t len)
{
	struct control_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->engine = c->engine;
	r->image = -1;
	r->lines = CONTROL_LOG_LINES;
	r->began = mtime_now();
	r->deadline = r->began + MTIME_MS(CONTROL_TIMEOUT_MS);
	if (control_parse(line, len, &r->json) < 0) {
		control_fail(r, CONTROL_USAGE, "a request is one JSON object on one line");
		return r;
	}
	read_verb(r);
	if (r->reply == NULL)
		read_args(r);
	return r;
}
