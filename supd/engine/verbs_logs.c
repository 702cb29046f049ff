/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <errno.h>
#include <string.h>

#include "supd/config/model.h"

/*
 * logs: what a program printed.  The engine reads no file and keeps nothing for a client that is
 * slow: it passes the client's connection on to the scribe, which answers (supd/scribe/tails.h).
 */

static bool goes_to_syslog(const struct control_request *r, const struct model_program *p)
{
	const struct model *m = r->engine->m;

	return strcmp(model_str(m, r->errors ? p->stderr_logfile : p->stdout_logfile),
		      MODEL_LOG_SYSLOG) == 0;
}

void control_logs_program(struct control_request *r)
{
	const struct model_program *p = model_program(r->engine->m, r->row);
	int rc;

	if (r->errors && p->redirect_stderr) {
		control_fail(r, CONTROL_USAGE,
			     "the errors of %s go where its output goes (redirect_stderr)", r->name);
		return;
	}
	if (goes_to_syslog(r, p)) {
		control_fail(r, CONTROL_FAILED, "%s logs to syslog: look there for \"%s:\"", r->name,
			     model_program_name(r->engine->m, r->row));
		return;
	}
	rc = scribe_pass_client(r->engine, control_client_fd(r->client),
				&(struct ipc_logs){ .program = (int32_t)r->row,
						    .output = r->errors,
						    .lines = r->lines,
						    .follow = r->follow });
	if (rc < 0)
		control_fail(r, CONTROL_FAILED, "the scribe takes no orders (%s), try again",
			     strerror(-rc));
	else
		control_done_elsewhere(r);
}

/* A service means its program, where it has one. */
void control_logs_service(struct control_request *r)
{
	const struct model *m = r->engine->m;
	char names[256] = "";
	unsigned n = 0;
	uint32_t last = 0;

	for (uint32_t i = 0; i < m->n_programs; i++) {
		if (model_program(m, i)->service != (int)r->row)
			continue;
		control_list_add(names, sizeof(names), model_program_name(m, i));
		last = i;
		n++;
	}
	if (n != 1) {
		control_fail(r, CONTROL_USAGE, "logs are a program's; the programs of %s: %s",
			     r->name, n > 0 ? names : "none");
		return;
	}
	r->row = last;
	control_logs_program(r);
}
