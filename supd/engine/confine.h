/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_CONFINE_H
#define SUPD_ENGINE_CONFINE_H

/*
 * Take from this process for good what an engine never does: new processes and programs, namespaces
 * and mounts, kernel modules, other processes' memory, sockets of its own that reach past what net
 * handed over (bind, connect, netlink, packet).  Such a call fails with EPERM from now on.
 *
 * Sets no_new_privs.  0; -ENOSYS: built without libseccomp, only no_new_privs is set; -errno.
 */
int confine(void);

#endif
