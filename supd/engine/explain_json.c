/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdio.h>

/*
 * explain as JSON: the verdict of the policy machine on this node, with each item of evidence, as
 * service_explain() derives them from the same state that decides.
 */
static json_t *evidence_json(const struct engine *e, enum service_evidence_kind kind,
			     const struct service_evidence *ev)
{
	json_t *age = ev->age < 0 ? json_null() : json_integer(mtime_to_ms(ev->age));
	char detail[sizeof(ev->detail) + MODEL_NAME_MAX + 4];

	snprintf(detail, sizeof(detail), "%s%s%s", ev->detail, ev->node == MODEL_NONE ? "" : ": ",
		 ev->node == MODEL_NONE ? "" : model_node_name(e->m, (uint32_t)ev->node));
	return json_pack("{s:s, s:b, s:o, s:s, s:s}", "kind", service_evidence_name(kind), "ok",
			 ev->ok ? 1 : 0, "age_ms", age, "detail", detail, "consequence",
			 ev->consequence);
}

static json_t *explain_service(const struct engine *e, uint32_t row, mtime now)
{
	const struct service_fsm *s = &e->services[row].fsm;
	struct service_evidence evidence[SERVICE_EVIDENCES_END];
	enum service_verdict verdict = service_explain(s, now, evidence);
	json_t *list = json_array();

	for (int k = 0; k < SERVICE_EVIDENCES_END; k++)
		json_array_append_new(list, evidence_json(e, k, &evidence[k]));
	return json_pack("{s:s, s:s, s:s, s:o}", "name", model_service_name(e->m, row), "state",
			 service_state_name(s->state), "verdict", service_verdict_name(verdict),
			 "evidence", list);
}

json_t *control_explain_json(const struct engine *e, int service, mtime now)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->m->n_services; i++)
		if (service == MODEL_NONE || service == (int)i)
			json_array_append_new(list, explain_service(e, i, now));
	return json_pack("{s:i, s:s, s:o}", "schema", CONTROL_SCHEMA, "node",
			 model_node_name(e->m, (uint32_t)e->m->self), "services", list);
}
