/* SPDX-License-Identifier: MIT */
#include "supd/config/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/config/model.h"

/*
 * The loader reads what others wrote, and asks a user database that may ask the network: it does so
 * in a child of its own, which ends with it.  What comes back is a block that nobody can change any
 * more, and that is verified as if a stranger had sent it.
 */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* The child's exit status is the errno of its failure. */
static int child(const struct loader_options *o, int fd, pid_t parent)
{
	struct model *m;
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return ECANCELED;
	r = loader_load(o, stderr, &m);
	if (r < 0)
		return -r;
	r = loader_seal(m, fd);
	sodium_memzero(m, m->size);
	free(m);
	return -r;
}

int loader_seal(const struct model *m, int fd)
{
	int r = ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;

	if (r == 0)
		r = fd_write_all(fd, m, m->size);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	return r;
}

/* Where SIGCHLD is ignored nobody gets the status: then the seals alone tell, see
 * loader_take(). */
static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno == ECHILD)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	if (!WIFEXITED(status))
		return -ECHILD;
	return -WEXITSTATUS(status);
}

int loader_take(int fd, const struct model **ret_model)
{
	struct stat st;
	void *p;

	if (fcntl(fd, F_GET_SEALS) != SEALS)
		return -EPROTO;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct model) || st.st_size > UINT32_MAX)
		return -EPROTO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (model_verify(p, (uint32_t)st.st_size) < 0) {
		munmap(p, (size_t)st.st_size);
		return -EPROTO;
	}
	*ret_model = p;
	return 0;
}

int loader_load_isolated(const struct loader_options *o, const struct model **ret_model)
{
	pid_t parent = getpid(), pid;
	int fd = memfd_create("supd-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		_exit(child(o, fd, parent));
	r = pid < 0 ? -errno : wait_for(pid);
	if (r == 0)
		r = loader_take(fd, ret_model);
	close(fd);
	return r;
}
