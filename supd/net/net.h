/* SPDX-License-Identifier: MIT */
#ifndef SUPD_NET_NET_H
#define SUPD_NET_NET_H

struct model;

/*
 * The net process: virtual addresses (libnl-route), the privileged sockets that it hands to the
 * engine, and the link, address and route monitor.  CAP_NET_ADMIN and CAP_NET_RAW only, as the
 * configured user.  It may wait on the kernel's RTNL lock, so nobody else's heart depends on it.
 *
 * Ends: the keeper's end of the channel closed (keeper dead, or shutting down): carries out the
 * engine's orders until the engine's end is closed too, or 2 s have passed; then removes every
 * virtual address that it put up and exits 0.
 */
struct net_args {
	const struct model *m;
	int keeper_fd; /* channel: CHANNEL messages come here */
	int monitor_buffer; /* of rtnetlink events, bytes; 0: a good one (others are for tests) */
};

int net_run(const struct net_args *args);

#endif
