/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_RENDER_H
#define SUPCTL_RENDER_H

#include <jansson.h>
#include <stdio.h>

/* The replies of supd as text for people.  Nothing is looked up here: a reply and a width is all. */

/* The whole, or (name not NULL) what is called so. */
void render_status(FILE *out, unsigned width, const json_t *reply, const char *name);
/* The line that says what matters about a service; status begins with it. */
void render_headline(FILE *out, const json_t *reply, const json_t *service);
void render_explain(FILE *out, unsigned width, const json_t *reply);

/*
 * What status says about a name: its state in *ret_state, pointing into the reply.
 * 1: running or active here, 0: it is not, -1: there is no such name.
 */
int render_status_of(const json_t *reply, const char *name, const char **ret_state);
/* The name in the reply that is most like this one, or NULL. */
const char *render_nearest(const json_t *reply, const char *name);

#endif
