/* SPDX-License-Identifier: MIT */
#include "supd/keeper/title.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The environment out of the way, so that a title may be longer than the command was. */
static int move_environment(void)
{
	size_t n = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -1;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(environ[i]);
		if (!copy[i]) {
			while (i > 0)
				free(copy[--i]);
			free(copy);
			return -1;
		}
	}
	environ = copy;
	return 0;
}

void title_init(struct title *t, int argc, char **argv)
{
	char *end = NULL, **old = environ;

	t->start = NULL;
	t->size = 0;
	if (argc < 1 || !argv[0])
		return;
	/* The kernel lays the strings out one after another; stop where that does not hold. */
	end = argv[0];
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	if (move_environment() == 0)
		for (size_t i = 0; old[i] == end; i++)
			end += strlen(old[i]) + 1;
	t->start = argv[0];
	t->size = (size_t)(end - argv[0]);
}

void title_set(const struct title *t, const char *name, const char *detail)
{
	char text[128];

	snprintf(text, sizeof(text), "supd: %s", name);
	prctl(PR_SET_NAME, text);
	if (!t->start)
		return;
	memset(t->start, 0, t->size);
	snprintf(t->start, t->size, "%s%s%s", text, detail ? " " : "", detail ? detail : "");
}
