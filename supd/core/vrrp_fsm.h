/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_VRRP_FSM_H
#define SUPD_CORE_VRRP_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"

/*
 * The virtual router of RFC 9568 section 6.4, one instance.
 *
 * policy = false: a plain VRRP router; it changes state by itself.
 * policy = true (between peer-linked nodes): a change between Backup and Active is a request
 * (WANT_ACTIVE, WANT_BACKUP) and happens on GRANT_ACTIVE or GRANT_BACKUP; adverts of priority 0
 * do not shorten Active_Down, and no advert is discarded for its priority: adverts are evidence
 * of life, terms decide who yields.  A plain router (event.plain) keeps its rights of the RFC even
 * then: its priority 0 shortens Active_Down, a lower priority of it is discarded under preempt, and
 * its interval is learned, up to plain_interval_max.
 */
#define VRRP_STATES(X)                                                                             \
	X(INITIALIZE, "initialize") X(BACKUP, "backup") X(ACTIVE, "active")

enum vrrp_state {
#define X(name, text) VRRP_STATE_##name,
	VRRP_STATES(X)
#undef X
};
const char *vrrp_state_name(enum vrrp_state s);

struct vrrp_config {
	uint8_t priority;   /* 1 to 254, or 255: owner */
	mtime interval;	    /* own Advertisement_Interval */
	mtime interval_max; /* a learned interval is capped to this */
	mtime plain_interval_max; /* policy: the same, of a plain router's adverts */
	bool preempt;
	bool policy;
};

struct vrrp_fsm {
	struct vrrp_config config;
	enum vrrp_state state;
	mtime active_interval; /* Active_Adver_Interval: learned */
	mtime down_at;	       /* Active_Down_Timer; MTIME_NEVER: not running */
	mtime advert_at;       /* Adver_Timer; MTIME_NEVER: not running */
	bool expired;	       /* policy: Active_Down has expired, WANT_ACTIVE was said */
	mtime last_advert;     /* newest accepted advert; 0: none */
};

enum vrrp_event_type {
	VRRP_EV_STARTUP,
	VRRP_EV_SHUTDOWN,
	VRRP_EV_TICK,	      /* time has passed */
	VRRP_EV_ADVERT,	      /* a valid one */
	VRRP_EV_HOLD,	      /* Backup: restart Active_Down in full (a HELLO, a contact regained) */
	VRRP_EV_SUSPEND,      /* Backup: Active_Down does not run until HOLD or an advert */
	VRRP_EV_GRANT_ACTIVE, /* policy only */
	VRRP_EV_GRANT_BACKUP, /* policy only */
	VRRP_EV_ANNOUNCE,     /* Active: send an advert now */
};

struct vrrp_event {
	enum vrrp_event_type type;
	/* ADVERT: */
	uint8_t priority;
	mtime interval;
	bool src_above_own; /* the sender's address is greater than ours */
	bool plain;	    /* policy: the sender is a plain VRRP router */
	mtime grace;	    /* plain: the least wait after its priority 0 */
};

enum vrrp_action_type {
	VRRP_ACT_SEND_ADVERT,  /* with config.priority */
	VRRP_ACT_SEND_RELEASE, /* an advert of priority 0 */
	VRRP_ACT_BECAME_ACTIVE,
	VRRP_ACT_BECAME_BACKUP,
	VRRP_ACT_WANT_ACTIVE,
	VRRP_ACT_WANT_BACKUP,
};

struct vrrp_actions {
	unsigned n;
	enum vrrp_action_type a[8];
};

void vrrp_init(struct vrrp_fsm *v, const struct vrrp_config *config);
/* Appends to *out. */
void vrrp_step(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now,
	       struct vrrp_actions *out);
mtime vrrp_deadline(const struct vrrp_fsm *v);
/* Skew_Time and Active_Down_Interval (section 6.1) of the present Active_Adver_Interval. */
mtime vrrp_skew(const struct vrrp_fsm *v);
mtime vrrp_active_down(const struct vrrp_fsm *v);
/* Whether the invariants hold. */
bool vrrp_check(const struct vrrp_fsm *v);

#endif
