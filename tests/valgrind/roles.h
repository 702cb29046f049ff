/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_VALGRIND_ROLES_H
#define SUPD_TESTS_VALGRIND_ROLES_H

/* The descriptors that a role inherits, by number on the command line of role.c, in this order. */
struct role_fds {
	int model, log, keeper;
	int extra[2]; /* scribe: log pipe; engine: control socket, keeper's pidfd; -1: none */
};

#endif
