/* SPDX-License-Identifier: MIT */
#include "tests/valgrind/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "supd/config/model.h"
#include "supd/engine/engine.h"
#include "supd/keeper/process.h"
#include "supd/net/net.h"
#include "supd/scribe/scribe.h"

/*
 * One role of supd in a process of its own, for valgrind: what keeper/roles.c does after its fork,
 * with the descriptors that exec_roles.c names on the command line.
 *
 * usage: role NAME MODEL_FD LOG_FD KEEPER_FD EXTRA_FD EXTRA_FD GENERATION
 */

/* On the heap, where a read beyond its end is seen. */
static struct model *read_model(int fd)
{
	struct stat st;
	char *m;

	if (fstat(fd, &st) < 0)
		die("model: %s", strerror(errno));
	m = malloc((size_t)st.st_size);
	if (!m || read(fd, m, (size_t)st.st_size) != st.st_size)
		die("model: cannot be read");
	close(fd);
	return (struct model *)(void *)m;
}

static void close_on_exec(const struct role_fds *fds)
{
	const int all[] = {fds->log, fds->keeper, fds->extra[0], fds->extra[1]};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] >= 0)
			fcntl(all[i], F_SETFD, FD_CLOEXEC);
}

static int run(const char *name, const struct model *m, const struct role_fds *fds,
	       uint32_t generation)
{
	const struct net_args net = {.m = m, .keeper_fd = fds->keeper};
	const struct scribe_args scribe = {.m = m, .keeper_fd = fds->keeper,
					   .log_fd = fds->extra[0]};
	const struct engine_args engine = {.m = m, .generation = generation,
					   .keeper_fd = fds->keeper,
					   .control_fd = fds->extra[0],
					   .keeper_pidfd = fds->extra[1]};

	if (strcmp(name, "net") == 0)
		return net_run(&net);
	return strcmp(name, "scribe") == 0 ? scribe_run(&scribe) : engine_run(&engine);
}

int main(int argc, char **argv)
{
	struct role_fds fds;
	struct model *m;
	char title[32];
	int r;

	if (argc != 8)
		return 2;
	fds = (struct role_fds){.model = atoi(argv[2]), .log = atoi(argv[3]),
				.keeper = atoi(argv[4]),
				.extra = {atoi(argv[5]), atoi(argv[6])}};
	m = read_model(fds.model);
	close_on_exec(&fds);
	snprintf(title, sizeof(title), "supd: %s", argv[1]);
	prctl(PR_SET_NAME, title);
	log_init(fds.log, argv[1], (enum log_level)m->supd.log_level, true);
	r = process_confine(m, strcmp(argv[1], "net") == 0);
	if (r < 0)
		die("cannot give up privileges: %s", strerror(-r));
	r = run(argv[1], m, &fds, (uint32_t)strtoul(argv[7], NULL, 10));
	free(m);
	return r;
}
