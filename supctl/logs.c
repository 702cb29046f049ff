/* SPDX-License-Identifier: MIT */
#include "supctl/logs.h"

#include <stdio.h>

#include "common/control_proto.h"
#include "supctl/commands.h"

/* What a program printed, byte for byte but for what was no text. */
static void print_line(const json_t *reply, const json_t *line)
{
	fwrite(json_string_value(line), 1, json_string_length(line), stdout);
	if (!json_is_true(json_object_get(reply, "more")))
		putchar('\n');
}

static int take_reply(const json_t *reply, bool json)
{
	const json_t *line = json_object_get(reply, "line");
	const char *message;
	int code = control_reply_code(reply, &message);

	if (code != CONTROL_OK)
		return client_complain(code, "%s",
				       message[0] != '\0' ? message : control_code_text(code));
	if (json_is_string(line) && !json)
		print_line(reply, line);
	return json_object_get(reply, "result") != NULL ? CONTROL_OK : CLIENT_GOES_ON;
}

static int take(void *arg, const char *text, size_t len)
{
	const struct invocation *in = arg;
	json_t *reply;
	int code;

	if (in->json) {
		fwrite(text, 1, len, stdout);
		putchar('\n');
	}
	if (control_parse(text, len, &reply) < 0)
		return client_complain(CONTROL_FAILED, "supd's answer is not JSON");
	code = take_reply(reply, in->json);
	json_decref(reply);
	return code;
}

int logs_run(const struct client *c, const json_t *request, const struct invocation *in)
{
	struct invocation copy = *in;

	return client_stream(c, request, take, &copy);
}
