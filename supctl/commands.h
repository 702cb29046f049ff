/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_COMMANDS_H
#define SUPCTL_COMMANDS_H

#include <stdbool.h>
#include <stdio.h>

/* What the command line says. */
struct invocation {
	const char *config, *prefix, *socket; /* NULL: not given */
	int timeout_ms;			      /* 0: not given */
	bool json, force, here, all, follow, errors;
	int lines; /* -1: not given */
	const char *name; /* NULL: not given */
	unsigned width;	  /* of the terminal */
};

/* Options that only some commands take. */
enum command_option {
	OPTION_FORCE = 1,
	OPTION_HERE = 2,
	OPTION_ALL = 4,
	ASKED_AGAIN = 8, /* no option: asked once more where the connection ends before the answer */
	OPTION_FOLLOW = 16,
	OPTION_LINES = 32,
	OPTION_STDERR = 64,
};

enum command_name { NAME_NONE, NAME_OPTIONAL, NAME_REQUIRED };

/* One row a command: it drives dispatch, usage and help. */
struct command {
	const char *name;
	const char *args; /* for the help */
	enum command_name takes_name;
	unsigned options; /* enum command_option */
	int (*run)(const struct command *command, const struct invocation *in);
	const char *help;
	const char *action; /* commands that act: "the failover" */
};

const struct command *command_find(const char *name);
void command_print_all(FILE *out);

#endif
