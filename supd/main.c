/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/parse.h"
#include "supd/await.h"
#include "supd/config/loader.h"
#include "supd/config/model.h"
#include "supd/keeper/handover.h"
#include "supd/keeper/keeper.h"
#include "supd/keeper/reexec_ask.h"
#include "supd/keeper/title.h"

/*
 * The command line, and the way into the background; then the keeper (keeper/keeper.h) is this
 * process.  The configuration is read before the fork, so that whoever typed the command sees what
 * is wrong with it.
 */

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_PERMISSION = 5,
		   EXIT_CONFIG = 6 };

struct options {
	struct loader_options load;
	bool foreground, check;
	int adopt_fd, prepare_fd; /* -1; between two images of supd only (keeper/reexec.h) */
	char *path, *node, *prefix; /* owned: what `load` points to */
};

static const char usage_text[] =
	"usage: supd [-c FILE] [-n] [--node NAME] [--prefix DIR] [--check-config] [--version]\n"
	"  -c, --config FILE   the configuration (" SUPD_DEFAULT_CONFIG ")\n"
	"  -n, --foreground    stay in the foreground\n"
	"      --node NAME     this node's name in the file; else found by its address\n"
	"      --prefix DIR    put before run_dir, state_dir and log_dir\n"
	"      --check-config  print problems (stderr) and the budget (stdout), and end\n"
	"      --version       print the version, and end\n"
	"  -h, --help          print this, and end\n";

/* ---- the command line ------------------------------------------------------------------------ */

enum { OPT_NODE = 256, OPT_PREFIX, OPT_CHECK, OPT_VERSION, OPT_ADOPT, OPT_PREPARE };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'n' },
	{ "node", required_argument, NULL, OPT_NODE },
	{ "prefix", required_argument, NULL, OPT_PREFIX },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "adopt", required_argument, NULL, OPT_ADOPT },
	{ "prepare", required_argument, NULL, OPT_PREPARE },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

__attribute__((noreturn)) static void usage_error(void)
{
	fputs(usage_text, stderr);
	exit(EXIT_USAGE);
}

/* The title overwrites argv: what is kept is a copy. */
static const char *keep(char **owned, const char *arg)
{
	free(*owned);
	*owned = strdup(arg);
	if (!*owned)
		die("out of memory");
	return *owned;
}

static int descriptor(const char *arg)
{
	uint64_t fd;

	if (parse_uint(arg, 3, INT_MAX, &fd) < 0)
		usage_error();
	return (int)fd;
}

static void take_option(struct options *o, int c)
{
	switch (c) {
	case 'c':
		o->load.path = keep(&o->path, optarg);
		break;
	case 'n':
		o->foreground = true;
		break;
	case OPT_NODE:
		o->load.node = keep(&o->node, optarg);
		break;
	case OPT_PREFIX:
		o->load.prefix = keep(&o->prefix, optarg);
		break;
	case OPT_CHECK:
		o->check = true;
		break;
	case OPT_ADOPT:
		o->adopt_fd = descriptor(optarg);
		break;
	case OPT_PREPARE:
		o->prepare_fd = descriptor(optarg);
		break;
	case OPT_VERSION:
		puts("supd " SUPD_VERSION);
		exit(EXIT_OK);
	case 'h':
		fputs(usage_text, stdout);
		exit(EXIT_OK);
	default:
		usage_error();
	}
}

static void parse_options(int argc, char **argv, struct options *ret)
{
	int c;

	*ret = (struct options){ .load = { .path = SUPD_DEFAULT_CONFIG, .read_key = true },
				 .adopt_fd = -1, .prepare_fd = -1 };
	while ((c = getopt_long(argc, argv, "c:nh", long_options, NULL)) != -1)
		take_option(ret, c);
	if (optind < argc) {
		fprintf(stderr, "supd: unexpected argument \"%s\"\n", argv[optind]);
		usage_error();
	}
}

/* ---- --check-config ---------------------------------------------------------------------------- */

static int check_config(struct options *o)
{
	struct model *m = NULL;
	int r;

	/* The key is root's: anybody else may check all but that. */
	o->load.read_key = geteuid() == 0;
	r = loader_load(&o->load, stderr, &m);
	if (r < 0) {
		if (r != -EINVAL)
			fprintf(stderr, "supd: cannot read %s: %s\n", o->load.path, strerror(-r));
		return EXIT_CONFIG;
	}
	loader_warn_host(m, stderr);
	loader_print_budget(m, stdout);
	free(m);
	return EXIT_OK;
}

/* ---- the background ------------------------------------------------------------------------------ */

/* What the daemon says on the pipe: its exit status, or 0 when it is up. */
static int await_daemon(int fd)
{
	unsigned char status;
	ssize_t n;

	do
		n = read(fd, &status, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return status;
	fprintf(stderr, "supd: died while it was starting\n");
	return EXIT_FAILED;
}

/*
 * The SysV way: two forks, a session of its own, no terminal to come back to.  stdout and stderr
 * stay those of the caller until supd is up.  Returns in the daemon only.
 */
static int daemonise(void)
{
	int ready[2], null, r = fd_pipe(ready, 0);
	pid_t pid;

	if (r < 0)
		die("cannot make a pipe: %s", strerror(-r));
	pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (pid > 0) {
		close(ready[1]);
		exit(await_daemon(ready[0]));
	}
	close(ready[0]);
	setsid();
	pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (pid > 0)
		_exit(0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	fd_close(&null);
	return ready[1];
}

static void tell_parent(int *ready_fd, int status)
{
	unsigned char byte = (unsigned char)status;

	if (*ready_fd < 0)
		return;
	(void)!write(*ready_fd, &byte, 1);
	fd_close(ready_fd);
}

/* ---- start ---------------------------------------------------------------------------------------- */

static const struct model *load(const struct options *o)
{
	const struct model *m = NULL;
	int r = loader_load_isolated(&o->load, &m);

	if (r == 0)
		return m;
	if (r != -EINVAL)
		fprintf(stderr, "supd: cannot read %s: %s\n", o->load.path, strerror(-r));
	exit(EXIT_CONFIG);
}

/* 0, 1 and 2 are open in every process of supd, so that no other descriptor gets their number. */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
}

/* Where the image before this one was replaced: the model that it has brought, its descriptors. */
static void adopt(struct keeper_args *args, int fd)
{
	size_t n = 0;
	int *fds = NULL, model_fd = -1;

	if (handover_fds(fd, &fds, &n, &model_fd) < 0 || loader_take(model_fd, &args->m) < 0)
		die("--adopt is for supd itself");
	for (size_t i = 0; i < n; i++)
		fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	close(model_fd);
	fd_close_all_but(fds, n);
	free(fds);
	args->adopt_fd = fd;
}

/* How to start the next image: as this one, from wherever it stands, and as the same node. */
static void remember_image(struct image *ret, const struct options *o, const struct model *m)
{
	const char *config = model_str(m, m->supd.config_path);
	ssize_t n = readlink("/proc/self/exe", ret->path, sizeof(ret->path) - 1);
	size_t i = 0;

	if (n <= 0 || *config == '\0')
		return;
	ret->argv[i++] = "supd";
	ret->argv[i++] = "-c";
	ret->argv[i++] = config;
	ret->argv[i++] = "--node";
	ret->argv[i++] = model_node_name(m, (uint32_t)m->self);
	if (o->load.prefix && o->load.prefix[0] != '/')
		return; /* the next image would stand elsewhere */
	if (o->load.prefix) {
		ret->argv[i++] = "--prefix";
		ret->argv[i++] = o->load.prefix;
	}
	if (o->foreground)
		ret->argv[i++] = "-n";
	ret->argc = i;
}

/* Once nobody is there to read stderr, the system's log is told that it came to nothing. */
static int run_when_found(struct keeper_args *args, const struct options *o)
{
	bool daemon = args->ready_fd >= 0;
	int r = await_self(args), status;

	if (r != 0)
		return r < 0 ? EXIT_FAILED : EXIT_OK;
	remember_image(&args->image, o, args->m);
	status = keeper_run(args);
	if (status != EXIT_OK && daemon && args->ready_fd < 0)
		syslog(LOG_DAEMON | LOG_ERR, "supd: did not start when the node's address came; "
					     "supd -n says why");
	return status;
}

static int go_on(struct keeper_args *args, const struct options *o, int argc, char **argv)
{
	adopt(args, o->adopt_fd);
	title_init(&args->title, argc, argv);
	umask(022);
	remember_image(&args->image, o, args->m);
	return keeper_run(args);
}

static int run(struct options *o, int argc, char **argv)
{
	struct keeper_args args = { .ready_fd = -1 };
	int status;

	if (o->prepare_fd >= 0)
		return reexec_ask_answer(&o->load, o->prepare_fd);
	if (o->adopt_fd >= 0)
		return go_on(&args, o, argc, argv);
	fd_close_all_but(NULL, 0);
	if (o->check)
		return check_config(o);
	if (geteuid() != 0) {
		fprintf(stderr, "supd: must be started by root\n");
		return EXIT_PERMISSION;
	}
	args.m = load(o);
	title_init(&args.title, argc, argv);
	umask(022);
	if (!o->foreground)
		args.ready_fd = daemonise();
	if (chdir("/") < 0)
		die("cannot chdir to /: %s", strerror(errno));
	if (args.m->self != MODEL_NONE)
		remember_image(&args.image, o, args.m);
	status = args.m->self == MODEL_NONE ? run_when_found(&args, o) : keeper_run(&args);
	if (status != EXIT_OK)
		tell_parent(&args.ready_fd, status);
	return status;
}

int main(int argc, char **argv)
{
	struct options o;
	int status;

	open_standard();
	parse_options(argc, argv, &o);
	status = run(&o, argc, argv);
	free(o.path);
	free(o.node);
	free(o.prefix);
	return status;
}
