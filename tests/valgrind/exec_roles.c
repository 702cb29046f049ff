/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/engine/engine.h"
#include "supd/keeper/process.h"
#include "supd/net/net.h"
#include "supd/scribe/scribe.h"
#include "tests/valgrind/roles.h"

/*
 * supd whose net, scribe and engine run under valgrind: the real keeper, guards and programs, and in
 * place of the three roles this file, which executes valgrind with role.c.
 *
 * The keeper itself cannot run there: it starts everything with clone3, which valgrind 3.19 answers
 * with ENOSYS, and the child of CLONE_VM on a stack of its own would be beyond it anyway.
 *
 * From the environment: SUPD_VALGRIND, a shell command that ends with the role's program.
 */

/* What the roles give up, they give up under valgrind (role.c): it starts as root. */
int __wrap_process_confine(const struct model *m, bool net);
int __wrap_process_confine(const struct model *m, bool net)
{
	return 0;
}

static void keep_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

/* The model in a file without a name, for the role's process to read. */
static int model_fd(const struct model *m)
{
	int fd = memfd_create("model", 0);

	if (fd < 0 || fd_write_all(fd, m, m->size) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return fd;
}

/* The log pipe's write end: common/log.h does not tell, but no role has another one yet. */
static int log_fd(void)
{
	struct stat st;

	for (int fd = 3; fd < 1024; fd++)
		if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
		    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
			return fd;
	return -1;
}

static int exec_role(const struct model *m, const char *name, struct role_fds fds,
		     uint32_t generation)
{
	const char *valgrind = getenv("SUPD_VALGRIND");
	char command[2048];
	int n;

	fds.model = model_fd(m);
	fds.log = log_fd();
	keep_open(fds.log);
	keep_open(fds.keeper);
	keep_open(fds.extra[0]);
	keep_open(fds.extra[1]);
	n = snprintf(command, sizeof(command), "exec %s %s %d %d %d %d %d %u",
		     valgrind ? valgrind : "false", name, fds.model, fds.log, fds.keeper,
		     fds.extra[0], fds.extra[1], (unsigned)generation);
	if (valgrind && n > 0 && (size_t)n < sizeof(command))
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	log_error("cannot execute the %s under valgrind: %s", name, strerror(errno));
	return 1;
}

int net_run(const struct net_args *args)
{
	return exec_role(args->m, "net", (struct role_fds){.keeper = args->keeper_fd,
							   .extra = {-1, -1}}, 0);
}

int scribe_run(const struct scribe_args *args)
{
	return exec_role(args->m, "scribe", (struct role_fds){.keeper = args->keeper_fd,
							      .extra = {args->log_fd, -1}}, 0);
}

int engine_run(const struct engine_args *args)
{
	return exec_role(args->m, "engine",
			 (struct role_fds){.keeper = args->keeper_fd,
					   .extra = {args->control_fd, args->keeper_pidfd}},
			 args->generation);
}
