/* SPDX-License-Identifier: MIT */
#include "supctl/reply.h"

#include <string.h>

const char *reply_str(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

bool reply_is(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

bool reply_is_state(const json_t *object, const char *state)
{
	return strcmp(reply_str(object, "state"), state) == 0;
}
