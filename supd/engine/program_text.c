/* SPDX-License-Identifier: MIT */
#include "supd/engine/program_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

/* What the log says of programs. */

static const char *exit_text(const struct program_exit *x, char *buf, size_t size)
{
	const char *name;

	if (x->code >= 0) {
		snprintf(buf, size, "exit code %d", x->code);
		return buf;
	}
	name = x->signo > 0 ? sigabbrev_np(x->signo) : NULL;
	if (name != NULL)
		snprintf(buf, size, "killed by SIG%s", name);
	else if (x->signo > 0)
		snprintf(buf, size, "killed by signal %d", x->signo);
	else
		snprintf(buf, size, "end not seen");
	return buf;
}

static const char *failure_text(const struct program_fsm *p, char *buf, size_t size)
{
	const char *stage = ipc_stage_name((enum ipc_stage)p->last_stage);

	if (p->last_errno != 0)
		snprintf(buf, size, "start failed: %s: %s", stage, strerror(p->last_errno));
	else if (p->last_stage == IPC_STAGE_PRE_START)
		snprintf(buf, size, "start failed: %s", stage);
	else
		snprintf(buf, size, "start refused: %s", stage);
	return buf;
}

/* Why it is in this state; "" where the state says it all. */
static const char *why(const struct program_fsm *p, mtime now, char *buf, size_t size)
{
	char text[128];

	switch (p->state) {
	case PROGRAM_STATE_RUNNING:
		snprintf(buf, size, " (pid %d)", p->pid);
		return buf;
	case PROGRAM_STATE_BACKOFF:
		if (p->last_stage < IPC_STAGES_END)
			failure_text(p, text, sizeof(text));
		else
			exit_text(&p->last_exit, text, sizeof(text));
		if (p->policy.counted == 0) /* asked for */
			snprintf(buf, size, " (%s; starting again)", text);
		else
			snprintf(buf, size, " (%s; death %u, next start in %lld ms)", text,
				 p->policy.counted,
				 (long long)mtime_to_ms(mtime_max(0, p->next_start - now)));
		return buf;
	case PROGRAM_STATE_EXITED:
	case PROGRAM_STATE_STOPPED:
	case PROGRAM_STATE_FATAL:
		if (!p->has_exited)
			return "";
		snprintf(buf, size, " (%s)", exit_text(&p->last_exit, text, sizeof(text)));
		return buf;
	case PROGRAM_STATE_STARTING:
	case PROGRAM_STATE_STOPPING:
		return "";
	}
	return "";
}

void program_log_transition(const struct engine_program *ep, enum program_state from,
			    enum program_state to, mtime now)
{
	const char *name = model_program_name(ep->engine->m, ep->row);
	char buf[192];

	log_notice("program %s: %s -> %s%s", name, ep->adopting ? "found" : program_state_name(from),
		   program_state_name(to),
		   to == ep->fsm.state ? why(&ep->fsm, now, buf, sizeof(buf)) : "");
}

void program_log_failing(const struct engine_program *ep)
{
	const struct model_program *mp = model_program(ep->engine->m, ep->row);
	const char *name = model_program_name(ep->engine->m, ep->row);
	const char *last = ep->watch.why;

	if (ep->fsm.failing == PROGRAM_END_NOT_READY)
		log_error("program %s: not ready within %lld ms%s%s, stopping it", name,
			  (long long)mtime_to_ms(mp->ready_timeout), *last != '\0' ? ": " : "", last);
	else if (ep->fsm.failing == PROGRAM_END_WATCHDOG)
		log_error("program %s: unhealthy: its watchdog says so, stopping it", name);
	else
		log_error("program %s: unhealthy, %u failures in a row: %s, stopping it", name,
			  mp->health_fall, last);
}

void program_log_hook_done(const struct engine_program *ep, const struct ipc_hook_done *d)
{
	const char *name = model_program_name(ep->engine->m, ep->row);
	const char *hook = ipc_hook_name((enum ipc_hook_kind)d->kind);
	const struct program_exit x = { .code = d->code, .signo = d->signo };
	char text[64];

	if (d->ok)
		log_info("program %s: %s done", name, hook);
	else if (d->timed_out)
		log_error("program %s: %s was killed: no end in time", name, hook);
	else if (d->code < 0 && d->signo == 0)
		log_error("program %s: %s was not run", name, hook);
	else
		log_error("program %s: %s failed: %s", name, hook,
			  exit_text(&x, text, sizeof(text)));
}
