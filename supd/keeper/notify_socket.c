/* SPDX-License-Identifier: MIT */
#include "supd/keeper/notify_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/rundir.h"
#include "supd/keeper/state.h"

/*
 * In the file system, not in the abstract namespace: there every local user could send to it, and
 * an engine that is kept busy with nonsense is an engine that does not send adverts.
 */

bool notify_socket_wanted(const struct model_program *p)
{
	return p->ready.kind == MODEL_PROBE_NOTIFY || p->health.kind == MODEL_PROBE_NOTIFY;
}

int notify_socket_path(const struct model *m, uint32_t program, char *buf, size_t size)
{
	char name[16];

	snprintf(name, sizeof(name), "n.%u", program); /* no longer than supd.sock: see run_dir */
	return rundir_path(m, name, buf, size);
}

/* fchmod before bind, and nobody's but its user's. */
static int make(const struct model *m, uint32_t program, int *ret_fd)
{
	const struct model_program *mp = model_program(m, program);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int one = 1, fd, r = notify_socket_path(m, program, sa.sun_path, sizeof(sa.sun_path));

	if (r < 0)
		return r;
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 ||
	    fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    lchown(sa.sun_path, mp->uid, mp->gid) < 0)
		r = -errno;
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int notify_sockets_open(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		int r = 0;

		if (notify_socket_wanted(model_program(k->m, i)))
			r = make(k->m, i, &k->programs[i].notify_fd);
		if (r == 0)
			continue;
		log_error("cannot bind the notify socket of program %s: %s",
			  model_program_name(k->m, i), strerror(-r));
		return r;
	}
	return 0;
}

void notify_sockets_tell(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		const struct ipc_notify m = { .h = { IPC_NOTIFY, k->generation },
					      .program = (int32_t)i };

		if (k->programs[i].notify_fd >= 0)
			role_send(&k->roles[ROLE_ENGINE], &m, sizeof(m), &k->programs[i].notify_fd,
				  1);
	}
}

void notify_sockets_close(struct keeper *k)
{
	char path[256];

	for (uint32_t i = 0; k->programs && i < k->m->n_programs; i++) {
		if (k->programs[i].notify_fd < 0)
			continue;
		fd_close(&k->programs[i].notify_fd);
		if (notify_socket_path(k->m, i, path, sizeof(path)) == 0)
			unlink(path);
	}
}
