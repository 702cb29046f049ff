/* SPDX-License-Identifier: MIT */
#include "supctl/render.h"

#include <string.h>

#include "supctl/reply.h"
#include "supctl/text.h"

/* explain as text: the verdict, then each item of evidence with what follows from it. */

#define TEXT_COLUMN 25

static const char *verdict_text(const char *verdict)
{
	if (strcmp(verdict, "hold") == 0)
		return "HOLD: does not take over";
	if (strcmp(verdict, "take") == 0)
		return "TAKE: takes over";
	if (strcmp(verdict, "keep") == 0)
		return "KEEP: stays active";
	if (strcmp(verdict, "step_down") == 0)
		return "STEP DOWN: stops its programs at once";
	return verdict;
}

static void print_evidence(FILE *out, unsigned width, const json_t *ev)
{
	const json_t *age = json_object_get(ev, "age_ms");
	const char *mark = json_is_true(json_object_get(ev, "ok")) ? "ok" : "NO";
	char buf[32] = "-";

	if (json_is_integer(age))
		text_duration(json_integer_value(age), buf, sizeof(buf));
	fprintf(out, "  %s  %-9s  %6s  ", mark, reply_str(ev, "kind"), buf);
	text_wrap(out, reply_str(ev, "detail"), TEXT_COLUMN, width);
	if (reply_str(ev, "consequence")[0] == '\0')
		return;
	fprintf(out, "%*s-> ", TEXT_COLUMN, "");
	text_wrap(out, reply_str(ev, "consequence"), TEXT_COLUMN + 3, width);
}

void render_explain(FILE *out, unsigned width, const json_t *reply)
{
	const json_t *service, *ev;
	size_t i, j;

	json_array_foreach(json_object_get(reply, "services"), i, service) {
		if (i > 0)
			fputc('\n', out);
		fprintf(out, "%s on %s (%s): %s\n", reply_str(service, "name"), reply_str(reply, "node"),
			reply_str(service, "state"), verdict_text(reply_str(service, "verdict")));
		json_array_foreach(json_object_get(service, "evidence"), j, ev)
			print_evidence(out, width, ev);
	}
}
