/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_REPLY_H
#define SUPCTL_REPLY_H

#include <jansson.h>
#include <stdbool.h>

/* Looking into a reply: what is not there is "" or false, so that any supd can be rendered. */

const char *reply_str(const json_t *object, const char *key);
bool reply_is(const json_t *object, const char *key);
/* The member "state". */
bool reply_is_state(const json_t *object, const char *state);

#endif
