/* SPDX-License-Identifier: MIT */
#ifndef SUPD_IPC_MSG_HOOK_H
#define SUPD_IPC_MSG_HOOK_H

#include "supd/ipc/msg.h"

/* HOOK and HOOK_KILL, from the engine to the keeper, and HOOK_DONE, its answer; see msg.h. */

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/*
 * The commands of the file that are run once, on order, with a time-out.  FENCE is a service's; it
 * runs as root and outlives what kills the service.  The others are a program's: as its user, in
 * its environment, its service's PID namespace and cgroup, with which they die.
 */
#define IPC_HOOKS(X)                                                                               \
	X(FENCE, "fence_command") X(VIP, "vip_command") X(PRE_START, "pre_start") X(POST_STOP, "post_stop")              \
	X(READY, "ready") X(HEALTH, "health")

/* What vip_command is asked to do with an address: its first argument. */
#define IPC_VIP_VERBS(X) X(ACQUIRE, "acquire") X(RELEASE, "release") X(CHECK, "check")

enum ipc_vip_verb {
#define X(name, text) IPC_VIP_##name,
	IPC_VIP_VERBS(X)
#undef X
	IPC_VIP_VERBS_END
};
const char *ipc_vip_verb_name(enum ipc_vip_verb v);

enum ipc_hook_kind {
#define X(name, text) IPC_HOOK_##name,
	IPC_HOOKS(X)
#undef X
	IPC_HOOKS_END
};
const char *ipc_hook_name(enum ipc_hook_kind k);

/*
 * Run one of them.  HOOK_DONE answers, within its time-out: the keeper kills it then.  Refused (not
 * ok, code -1, signo 0) when `valid_until` has passed, also just before execve, while an earlier
 * one of this kind and row is not gone, and, but for FENCE and VIP, when `term` is not above the service's
 * quiesced term.  A new engine does not inherit it: what runs is killed with the engine that
 * ordered it.
 */
struct ipc_hook {
	struct ipc_header h;
	uint64_t order;
	uint32_t kind; /* enum ipc_hook_kind */
	int32_t row;   /* service (FENCE, VIP) or program */
	int32_t node;  /* FENCE: the one that must be off */
	uint16_t verb; /* VIP: enum ipc_vip_verb */
	uint16_t vip;  /* VIP: the address's row of the service */
	uint64_t term;
	mtime valid_until;
	char cause[16]; /* SUPD_CAUSE */
};

/* Kill what this order has started, with all of its tree.  HOOK_DONE follows as for any end. */
struct ipc_hook_kill {
	struct ipc_header h;
	uint64_t order;
};

/* How a hook ended. */
struct ipc_hook_done {
	struct ipc_header h;
	uint64_t order;
	uint32_t kind; /* enum ipc_hook_kind */
	int32_t row;
	int32_t code;  /* exit code; -1: killed by signo */
	int32_t signo;
	bool ok;	/* it ran, and exited with 0 */
	bool timed_out; /* killed by the keeper: it is dead */
	uint8_t pad[6];
};

#pragma GCC diagnostic pop

#endif
