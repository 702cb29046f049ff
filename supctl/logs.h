/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_LOGS_H
#define SUPCTL_LOGS_H

#include "supctl/client.h"

struct invocation;

/* Ask for a program's log and print it as it comes (supd/scribe/tails.h): an exit code. */
int logs_run(const struct client *c, const json_t *request, const struct invocation *in);

#endif
