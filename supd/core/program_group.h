/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PROGRAM_GROUP_H
#define SUPD_CORE_PROGRAM_GROUP_H

#include <stdbool.h>

#include "supd/core/program_fsm.h"

/*
 * The programs of one service, or those of the node's own, as one thing: each is started when all
 * that it requires are ready, and stopped when all that require it are gone.  Level-driven:
 * group_reconcile() compares what is wanted with the members and says which event to give to which
 * member next.
 *
 * The members belong to the caller, who steps them and calls group_reconcile() after each step.
 * What they require must not go round in a circle.
 */
#define GROUP_MEMBERS_MAX  64 /* of a service */
#define GROUP_REQUIRES_MAX 16

enum group_want { GROUP_DOWN, GROUP_UP };

struct group_member {
	struct program_fsm *program;
	bool autostart; /* no: started by a person only, and not waited for */
	bool manual_stop; /* a person stopped it: not started by the group, and counted as ready */
	bool required;	  /* by some other member; set by group_require() */
	uint8_t n_requires;
	uint16_t requires[GROUP_REQUIRES_MAX]; /* members */
};

struct program_group {
	enum group_want want;
	bool give_up; /* down because the limit was reached: members end as fatal */
	unsigned n;
	struct group_member *members;
};

struct group_order {
	unsigned member;
	enum program_event_type event; /* START, STOP or GIVE_UP */
};

/* `members` has room for all; n of them are there when n says so. */
void group_init(struct program_group *g, struct group_member *members);
/* Member requires another one: 0 or -E2BIG. */
int group_require(struct program_group *g, unsigned member, unsigned required);
void group_up(struct program_group *g);
void group_down(struct program_group *g, bool give_up);

/*
 * The next event to give to a member: true and *ret, false when there is nothing to do.  Call
 * again after giving it.
 */
bool group_reconcile(const struct program_group *g, struct group_order *ret);

/* Every member that the group starts is ready. */
bool group_ready(const struct program_group *g);
/* Nothing of any member is alive. */
bool group_gone(const struct program_group *g);
/* Every member is gone or was killed and could not be (dead, not gone). */
bool group_gone_or_unkillable(const struct program_group *g);
/* Some member waits for ALLOW to restart. */
bool group_wants_restart(const struct program_group *g, mtime now);

#endif
