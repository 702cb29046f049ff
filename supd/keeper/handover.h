/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_HANDOVER_H
#define SUPD_KEEPER_HANDOVER_H

#include <stddef.h>

struct keeper;

/*
 * What one image of the keeper leaves to the next across its execve: one JSON object in a memfd,
 * with names instead of rows, pids instead of pidfds, and descriptors by number.
 *
 *   {"handover":2, "from":"0.1", "model":FD, "image":N, "deputy":PID, "started":NS, "generation":G, ...
 *    "fds":{"lock":FD,"state":FD,"control":FD,"log":[R,W]}, "inherited":{...}, "cgroup":{...}|null,
 *    "roles":[{"name","pid","leaf"}], "batons":[{"service":NAME|null,"data":HEX}],
 *    "services":[{"name","kill_at","term_started","term_quiesced","guard_n",
 *                 "guard":{"pid","leaf","pid_ns","mnt_ns","used"}|null}],
 *    "programs":[{"name","runs","leaf_n","out":[[R,W,R,W]|null,...],
 *                 "run":{"number","order","term","pid","started","leaf","killed",...}|null}]}
 *
 * HANDOVER_VERSION grows with each change that an older or newer reader could not make sense of; a
 * new image says in its preparation (reexec.h) whether it takes the version that it is offered.
 */
#define HANDOVER_VERSION 2

/* Write it, with `model_fd` the model of the next image: 0 and *ret_fd (a memfd), or -errno. */
int handover_write(const struct keeper *k, int model_fd, int *ret_fd);

/*
 * All descriptors that it names, to be left open by who closes others: 0 and *ret_fds (malloc'ed)
 * or -EPROTO, -ENOMEM.  *ret_model_fd is one of them.
 */
int handover_fds(int fd, int **ret_fds, size_t *ret_n, int *ret_model_fd);

/*
 * Into a keeper whose storage is made for the model and whose watches are open (keeper.c); `fd` is
 * closed.  Roles, guards and runs are watched from here on.  0; or -EPROTO or -errno, logged: then
 * the only way is the end.
 */
int handover_read(struct keeper *k, int fd);

#endif
