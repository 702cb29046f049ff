/* SPDX-License-Identifier: MIT */
#include "supctl/commands.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/control_proto.h"
#include "supctl/client.h"
#include "supctl/logs.h"
#include "supctl/render.h"
#include "supctl/settings.h"

/*
 * The commands.  Each asks supd one thing, prints the answer, and returns an exit code of
 * control_proto.h; whoever returns another than 0 has said why on stderr.
 */
#define QUERY_WAIT_MS 5000
#define GRACE_MS      3000 /* supd's own time-out comes first: it knows better what is missing */

/* ---- asking -------------------------------------------------------------------------------------- */

static void set_flag(json_t *args, const char *key, bool flag)
{
	if (flag)
		json_object_set_new(args, key, json_true());
}

static json_t *request_of(const struct command *command, const struct invocation *in)
{
	json_t *args = json_object();

	/* status has no name on the wire: supctl looks it up, so as to say what is like it. */
	if (in->name != NULL && strcmp(command->name, "status") != 0)
		json_object_set_new(args, "name", json_string(in->name));
	if (command->action != NULL && in->timeout_ms > 0)
		json_object_set_new(args, "timeout_ms", json_integer(in->timeout_ms));
	set_flag(args, "force", in->force);
	set_flag(args, "here", in->here);
	set_flag(args, "all", in->all);
	set_flag(args, "follow", in->follow);
	set_flag(args, "stderr", in->errors);
	if (in->lines >= 0)
		json_object_set_new(args, "lines", json_integer(in->lines));
	return control_request_new(command->name, args);
}

static int wait_ms(const struct command *command, const struct invocation *in)
{
	if (command->action == NULL)
		return in->timeout_ms > 0 ? in->timeout_ms : QUERY_WAIT_MS;
	if (in->timeout_ms > 0)
		return in->timeout_ms + GRACE_MS;
	return (strcmp(command->name, "start") == 0 ? CONTROL_START_MS : CONTROL_TIMEOUT_MS) +
	       GRACE_MS;
}

/*
 * Ask supd.  CONTROL_OK and *ret_reply, which is the caller's; any other code has been explained.
 * With --json supd's line has been printed as it came, errors too.
 */
static int ask_for(const struct command *command, const struct invocation *in, json_t *request,
		   json_t **ret_reply)
{
	json_t *reply = NULL;
	char *socket = settings_socket(in), *line = NULL;
	struct client c = { .socket = socket,
			    .wait_ms = wait_ms(command, in),
			    .is_query = command->action == NULL,
			    .again = (command->options & ASKED_AGAIN) != 0,
			    .action = command->action };
	const char *message;
	int code = CONTROL_FAILED;

	if (socket == NULL)
		code = CONTROL_CONFIG; /* explained */
	else if (request == NULL)
		client_complain(code, "%s is not text", in->name != NULL ? "the name" : "it");
	else
		code = client_ask(&c, request, &reply, &line);
	if (code == CONTROL_OK && in->json)
		puts(line);
	if (code == CONTROL_OK) {
		code = control_reply_code(reply, &message);
		if (code != CONTROL_OK)
			client_complain(code, "%s", message[0] != '\0' ? message
								       : control_code_text(code));
	}
	if (code == CONTROL_OK)
		*ret_reply = reply;
	else
		json_decref(reply);
	json_decref(request);
	free(socket);
	free(line);
	return code;
}

static int ask(const struct command *command, const struct invocation *in, json_t **ret_reply)
{
	return ask_for(command, in, request_of(command, in), ret_reply);
}

/* ---- queries -------------------------------------------------------------------------------------- */

static int status_of_name(const json_t *reply, const char *name)
{
	const char *state = "", *nearest;
	int here = render_status_of(reply, name, &state);

	if (here > 0)
		return CONTROL_OK;
	if (here == 0)
		return client_complain(CONTROL_NOT_IN_STATE, "%s is %s on this node", name, state);
	nearest = render_nearest(reply, name);
	if (nearest != NULL)
		return client_complain(CONTROL_UNKNOWN,
				       "no service or program is called %s; is it %s?", name,
				       nearest);
	return client_complain(CONTROL_UNKNOWN, "no service or program is called %s", name);
}

static int run_status(const struct command *command, const struct invocation *in)
{
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		render_status(stdout, in->width, reply, in->name);
	fflush(stdout);
	if (in->name != NULL)
		code = status_of_name(reply, in->name);
	json_decref(reply);
	return code;
}

static int run_explain(const struct command *command, const struct invocation *in)
{
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		render_explain(stdout, in->width, reply);
	json_decref(reply);
	return code;
}

static const char *result_str(const json_t *reply, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(reply, "result"), key));

	return s != NULL ? s : "";
}

static int run_is_active(const struct command *command, const struct invocation *in)
{
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		puts(result_str(reply, "state"));
	fflush(stdout);
	if (!json_is_true(json_object_get(json_object_get(reply, "result"), "active")))
		code = client_complain(CONTROL_NOT_IN_STATE, "%s is %s on this node", in->name,
				       result_str(reply, "state"));
	json_decref(reply);
	return code;
}

static int run_version(const struct command *command, const struct invocation *in)
{
	json_t *reply;
	int code;

	if (!in->json) {
		puts("supctl " SUPD_VERSION);
		fflush(stdout);
	}
	code = ask(command, in, &reply);
	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		printf("supd %s\n", result_str(reply, "version"));
	json_decref(reply);
	return code;
}

static int run_logs(const struct command *command, const struct invocation *in)
{
	json_t *request = request_of(command, in);
	char *socket = settings_socket(in);
	const struct client c = { .socket = socket,
				  .wait_ms = wait_ms(command, in),
				  .is_query = true,
				  .follows = in->follow };
	int code = CONTROL_CONFIG; /* explained */

	if (request == NULL)
		code = client_complain(CONTROL_FAILED, "the name is not text");
	else if (socket != NULL)
		code = logs_run(&c, request, in);
	json_decref(request);
	free(socket);
	return code;
}

/* ---- actions -------------------------------------------------------------------------------------- */

/* start, stop, restart: what it is now. */
static int run_state(const struct command *command, const struct invocation *in)
{
	const json_t *pid;
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	pid = json_object_get(json_object_get(reply, "result"), "pid");
	if (!in->json) {
		printf("%s: %s", in->name, result_str(reply, "state"));
		if (json_is_integer(pid))
			printf(" (pid %lld)", (long long)json_integer_value(pid));
		if (result_str(reply, "active_node")[0] != '\0')
			printf(" on %s", result_str(reply, "active_node"));
		putchar('\n');
	}
	json_decref(reply);
	return code;
}

static int run_failover(const struct command *command, const struct invocation *in)
{
	const json_t *ms;
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	ms = json_object_get(json_object_get(reply, "result"), "ms");
	if (!in->json && result_str(reply, "active_node")[0] != '\0')
		printf("active on %s after %lld ms\n", result_str(reply, "active_node"),
		       (long long)json_integer_value(ms));
	else if (!in->json)
		printf("released after %lld ms; no fit node is there to take over\n",
		       (long long)json_integer_value(ms));
	json_decref(reply);
	return code;
}

static int run_reset(const struct command *command, const struct invocation *in)
{
	const json_t *node;
	json_t *reply;
	size_t i;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	if (!in->json) {
		fputs("reset on", stdout);
		json_array_foreach(json_object_get(json_object_get(reply, "result"), "reset"), i,
				   node)
			printf("%s %s", i > 0 ? "," : "", json_string_value(node));
		putchar('\n');
	}
	json_decref(reply);
	return code;
}

static int run_pause(const struct command *command, const struct invocation *in)
{
	json_t *reply;
	int code = ask(command, in, &reply);

	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		printf("%s on all nodes\n", result_str(reply, "state"));
	json_decref(reply);
	return code;
}

/* The number of supd's present image, or -1. */
static json_int_t image_of(const json_t *reply)
{
	const json_t *image = json_object_get(json_object_get(reply, "result"), "image");

	return json_is_integer(image) ? json_integer_value(image) : -1;
}

/* The answer comes from the next image: which one is to be replaced is asked first. */
static int run_reexec(const struct command *command, const struct invocation *in)
{
	const struct command *version = command_find("version");
	struct invocation quiet = *in;
	char before[64] = "";
	json_t *reply, *request;
	int code;

	quiet.json = false;
	quiet.timeout_ms = 0;
	code = ask(version, &quiet, &reply);
	if (code != CONTROL_OK)
		return code;
	snprintf(before, sizeof(before), "%s", result_str(reply, "version"));
	request = request_of(command, in);
	if (image_of(reply) >= 0)
		json_object_set_new(json_object_get(request, "args"), "image",
				    json_integer(image_of(reply)));
	json_decref(reply);
	code = ask_for(command, in, request, &reply);
	if (code != CONTROL_OK)
		return code;
	if (!in->json)
		printf("supd %s took over from supd %s; programs were not touched\n",
		       result_str(reply, "version"), before);
	json_decref(reply);
	return code;
}

/* ---- without supd --------------------------------------------------------------------------------- */

static int run_keygen(const struct command *command, const struct invocation *in)
{
	unsigned char key[32];
	char hex[2 * sizeof(key) + 1];

	if (sodium_init() < 0)
		return client_complain(CONTROL_FAILED, "no random numbers to be had");
	randombytes_buf(key, sizeof(key));
	sodium_bin2hex(hex, sizeof(hex), key, sizeof(key));
	puts(hex);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(hex, sizeof(hex));
	return CONTROL_OK;
}

/* ---- the table ------------------------------------------------------------------------------------ */

static const struct command commands[] = {
	{ "status", "[NAME]", NAME_OPTIONAL, 0, run_status, "services, programs and nodes", NULL },
	{ "explain", "[SERVICE]", NAME_OPTIONAL, 0, run_explain,
	  "why this node is, or is not, active", NULL },
	{ "is-active", "NAME", NAME_REQUIRED, 0, run_is_active,
	  "exit 0 if it is active or runs on this node", NULL },
	{ "logs", "[-f] [-n N] NAME", NAME_REQUIRED, OPTION_FOLLOW | OPTION_LINES | OPTION_STDERR,
	  run_logs, "the last N lines (10) of a program (--stderr: its errors); -f: and what comes", NULL },
	{ "start", "NAME", NAME_REQUIRED, 0, run_state, "start a program or a service", "the start" },
	{ "stop", "[--here] NAME", NAME_REQUIRED, OPTION_HERE, run_state,
	  "stop a program, or a service on all nodes (--here: bar this node)", "the stop" },
	{ "restart", "NAME", NAME_REQUIRED, 0, run_state,
	  "restart a program, or the programs of a service", "the restart" },
	{ "failover", "[--force] [SERVICE]", NAME_OPTIONAL, OPTION_FORCE, run_failover,
	  "hand over to the best fit peer", "the failover" },
	{ "reset", "[--all] [SERVICE]", NAME_OPTIONAL, OPTION_ALL, run_reset,
	  "clear the failed latch of this node, or of all", "the reset" },
	{ "pause", "", NAME_NONE, 0, run_pause, "no restarts and no takeovers, on all nodes",
	  "the pause" },
	{ "resume", "", NAME_NONE, 0, run_pause, "end a pause", "the end of the pause" },
	{ "reexec", "", NAME_NONE, ASKED_AGAIN, run_reexec,
	  "replace supd in place, after an upgrade; programs keep running", "the replacement" },
	{ "version", "", NAME_NONE, 0, run_version, "versions of supctl and supd", NULL },
	{ "keygen", "", NAME_NONE, 0, run_keygen, "print a new key for key_file", NULL },
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

void command_print_all(FILE *out)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-9s %-20s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
}
