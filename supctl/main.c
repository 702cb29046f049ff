/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/control_proto.h"
#include "common/parse.h"
#include "supctl/client.h"
#include "supctl/commands.h"

/*
 * supctl: asks and commands the supd of this host.  Options may stand before or behind the command.
 */
#define DEFAULT_WIDTH 80

enum { OPT_PREFIX = 256, OPT_JSON, OPT_TIMEOUT, OPT_VERSION, OPT_HELP, OPT_FORCE, OPT_HERE, OPT_ALL,
       OPT_STDERR };

static const struct option options[] = {
	{ "prefix", required_argument, NULL, OPT_PREFIX },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "here", no_argument, NULL, OPT_HERE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "stderr", no_argument, NULL, OPT_STDERR },
	{ NULL, 0, NULL, 0 },
};

static void print_help(FILE *out)
{
	fputs("usage: supctl [-c FILE] [--prefix DIR] [-s SOCKET] [--json] [--timeout T] "
	      "COMMAND ...\n\n",
	      out);
	command_print_all(out);
	fputs("\nexit codes: 0 done, 1 failed, 2 usage, 3 not in that state, 4 unknown name or supd\n"
	      "unreachable, 5 not permitted, 6 bad configuration, 7 not running, 8 timed out, "
	      "9 refused\n",
	      out);
}

static int usage(const char *what, const char *arg)
{
	return client_complain(CONTROL_USAGE, "%s%s; see supctl --help", what, arg);
}

static int take_timeout(const char *text, int *ret_ms)
{
	mtime t;

	if (parse_duration(text, &t) < 0 || t < MTIME_MS(1) || t > MTIME_MS(CONTROL_TIMEOUT_MAX))
		return usage("--timeout needs a duration (500ms, 10s, 5min): ", text);
	*ret_ms = (int)mtime_to_ms(t);
	return CONTROL_OK;
}

static int take_lines(const char *text, int *ret_lines)
{
	uint64_t n;

	if (parse_uint(text, 0, CONTROL_LOG_LINES_MAX, &n) < 0)
		return usage("-n needs a number of lines, at most 1000000: ", text);
	*ret_lines = (int)n;
	return CONTROL_OK;
}

/* -1: go on; else the exit code. */
static int take_option(int opt, struct invocation *in, unsigned *given)
{
	switch (opt) {
	case 'c':
		in->config = optarg;
		return -1;
	case 's':
		in->socket = optarg;
		return -1;
	case OPT_PREFIX:
		in->prefix = optarg;
		return -1;
	case OPT_JSON:
		in->json = true;
		return -1;
	case OPT_TIMEOUT:
		return take_timeout(optarg, &in->timeout_ms) == CONTROL_OK ? -1 : CONTROL_USAGE;
	case OPT_FORCE:
		in->force = true;
		*given |= OPTION_FORCE;
		return -1;
	case OPT_HERE:
		in->here = true;
		*given |= OPTION_HERE;
		return -1;
	case OPT_ALL:
		in->all = true;
		*given |= OPTION_ALL;
		return -1;
	case 'f':
		in->follow = true;
		*given |= OPTION_FOLLOW;
		return -1;
	case 'n':
		*given |= OPTION_LINES;
		return take_lines(optarg, &in->lines) == CONTROL_OK ? -1 : CONTROL_USAGE;
	case OPT_STDERR:
		in->errors = true;
		*given |= OPTION_STDERR;
		return -1;
	case 'h':
	case OPT_HELP:
		print_help(stdout);
		return CONTROL_OK;
	case OPT_VERSION:
		puts("supctl " SUPD_VERSION);
		return CONTROL_OK;
	}
	return usage("", "bad option");
}

/* Options of argv up to the first word that is none, or (all) wherever they stand. */
static int take_options(int argc, char **argv, bool all, struct invocation *in, unsigned *given)
{
	const char *letters = all ? "c:s:hfn:" : "+c:s:hfn:";
	int opt, code = -1;

	optind = 0; /* begin anew */
	opterr = 0;
	while (code < 0 && (opt = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
		if (opt == '?' && optind > 0 && optind <= argc)
			return usage("bad option: ", argv[optind - 1]);
		code = take_option(opt, in, given);
	}
	return code;
}

static unsigned terminal_width(void)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col < 40)
		return DEFAULT_WIDTH;
	return w.ws_col;
}

static int take_command(const char *name, const struct command **ret)
{
	*ret = command_find(name);
	if (*ret != NULL)
		return CONTROL_OK;
	if (control_command_is_later(name))
		return client_complain(CONTROL_USAGE, "%s: known, not supported yet", name);
	return usage("no such command: ", name);
}

static int run(const struct command *command, struct invocation *in, int argc, char **argv,
	       unsigned given)
{
	if ((given & ~command->options) != 0)
		return usage("that option is not for ", command->name);
	if (argc > 1 || (argc == 1 && command->takes_name == NAME_NONE))
		return usage("too many arguments for ", command->name);
	if (argc == 0 && command->takes_name == NAME_REQUIRED)
		return usage("a name is needed for ", command->name);
	in->name = argc == 1 ? argv[0] : NULL;
	in->width = terminal_width();
	return command->run(command, in);
}

int main(int argc, char **argv)
{
	struct invocation in = { .width = DEFAULT_WIDTH, .lines = -1 };
	const struct command *command;
	unsigned given = 0;
	int code;

	signal(SIGPIPE, SIG_DFL);
	code = take_options(argc, argv, false, &in, &given);
	if (code >= 0)
		return code;
	if (optind >= argc)
		return usage("", "a command is needed");
	argc -= optind;
	argv += optind;
	code = take_command(argv[0], &command);
	if (code != CONTROL_OK)
		return code;
	code = take_options(argc, argv, true, &in, &given);
	if (code >= 0)
		return code;
	code = run(command, &in, argc - optind, argv + optind, given);
	if (fflush(stdout) != 0 || ferror(stdout))
		return client_complain(CONTROL_FAILED, "stdout: %s", strerror(errno));
	return code;
}
