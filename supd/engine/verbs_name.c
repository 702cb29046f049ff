/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

/* What a name in a request means: names are unique over services and programs. */

static void consider(const char *name, const char *candidate, const char **best, int *best_distance)
{
	int d = control_name_distance(name, candidate);

	if (d >= 0 && d < *best_distance) {
		*best = candidate;
		*best_distance = d;
	}
}

static void fail_unknown(struct control_request *r)
{
	const struct model *m = r->engine->m;
	const char *best = NULL;
	int distance = 100;

	for (uint32_t i = 0; i < m->n_services; i++)
		consider(r->name, model_service_name(m, i), &best, &distance);
	for (uint32_t i = 0; i < m->n_programs; i++)
		consider(r->name, model_program_name(m, i), &best, &distance);
	if (best != NULL)
		control_fail(r, CONTROL_UNKNOWN, "no service or program is called %s; is it %s?",
			     r->name, best);
	else
		control_fail(r, CONTROL_UNKNOWN, "no service or program is called %s", r->name);
}

void control_by_name(struct control_request *r, void (*program)(struct control_request *r),
		     void (*service)(struct control_request *r))
{
	int row = model_find_program(r->engine->m, r->name);

	if (row != MODEL_NONE) {
		r->row = (uint32_t)row;
		program(r);
		return;
	}
	row = model_find_service(r->engine->m, r->name);
	if (row != MODEL_NONE) {
		r->row = (uint32_t)row;
		service(r);
		return;
	}
	fail_unknown(r);
}
