/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_SERVICE_INTERNAL_H
#define SUPD_CORE_SERVICE_INTERNAL_H

#include "supd/core/service_fsm.h"

/*
 * What the parts of service_fsm share.  One step carries machine, time and output along.
 *
 *   service_fsm.c      the doors: init, step, state changes, progress
 *   service_event.c    events: facts only
 *   service_peer.c     what other nodes say
 *   service_advert.c   what their adverts are worth
 *   service_query.c    what can be derived: reachability, S, deadlines, report, baton
 *   service_fit.c      who is fit, here and elsewhere
 *   service_take.c     verdict and taking over
 *   service_boot.c     the beginning, when nothing is known of the others
 *   service_restart.c  restarts on the active node
 *   service_address.c  addresses that go, and are put back
 *   service_command.c  fence_command
 *   service_plain.c    plain VRRP routers: priorities and preemption
 *   service_release.c  release, step-down, the answers to FENCE
 *   service_alarm.c    alarms, level-driven
 *   service_explain.c  the same verdict in words
 */
struct svc_step {
	struct service_fsm *s;
	mtime now;
	struct service_actions *out;
};

/*
 * The rules that a simulator's build can switch off one at a time, to see that its search finds
 * what the rule prevents.  In supd itself they are constants.
 */
#define SERVICE_RULES(X)                                                                           \
	X(FENCE) X(CONTACT) X(CONFLICT) X(BUDGET) X(HELLO_IS_LIFE) X(ADVERT_IS_LIFE) X(RENUMBER) X(HOLD) X(QUIESCE) X(HIGHER_TERM)       \
	X(ISOLATION_HOLD) X(WITNESS) X(LAST_LOOK) X(FRESH_PROOF) X(CLAIM) X(SOFT) X(FRESH_TERM) X(UNPROVEN)

enum service_rule {
#define X(name) SERVICE_RULE_##name,
	SERVICE_RULES(X)
#undef X
	SERVICE_RULES_END
};

#ifdef SUPD_SIM_TEETH
extern bool service_rule_off[SERVICE_RULES_END];
#define RULE(name) (!service_rule_off[SERVICE_RULE_##name])
#else
#define RULE(name) true
#endif

/* ---- service_fsm.c ---- */
struct service_action *svc_emit(struct svc_step *x, enum service_action_type type);
void svc_set_state(struct svc_step *x, enum service_state state, enum service_cause cause);
void svc_set_phase(struct svc_step *x, enum service_phase phase);
void svc_vrrp(struct svc_step *x, enum vrrp_event_type type);
/* Ask for persist to be written; returns the sequence number of the write. */
uint64_t svc_persist(struct svc_step *x);
/* A term was heard of: remember it, and renew the reservation. */
void svc_see_term(struct svc_step *x, uint64_t term);
void svc_quiesce(struct svc_step *x, uint64_t term);

/* ---- service_event.c ---- */
void svc_apply(struct svc_step *x, const struct service_event *ev);

/* ---- service_peer.c ---- */
void svc_on_heard(struct svc_step *x, unsigned p, mtime echoed);
void svc_on_hello(struct svc_step *x, const struct service_event *ev);
void svc_on_fence_message(struct svc_step *x, const struct service_event *ev);
void svc_on_unproven(struct svc_step *x, const struct service_event *ev);
void svc_on_fenced(struct svc_step *x, const struct service_event *ev);
void svc_on_release(struct svc_step *x, const struct service_event *ev);
void svc_on_released(struct svc_step *x, const struct service_event *ev);
void svc_on_probe_answer(struct svc_step *x, const struct service_event *ev);
void svc_on_conflict(struct svc_step *x, const struct service_event *ev);

/* ---- service_advert.c ---- */
void svc_on_advert(struct svc_step *x, const struct service_event *ev);
/* A node that is silent on the peer link is said to live by adverts alone: ask for the address. */
bool svc_adverts_doubtful(const struct service_fsm *s, mtime now);

/* ---- service_query.c ---- */
mtime svc_down_interval(const struct service_fsm *s);
bool svc_within(mtime now, mtime at, mtime age); /* at is known and not older than age */
bool svc_linked(const struct service_fsm *s, unsigned p);
bool svc_report_fresh(const struct service_fsm *s, unsigned p, mtime now);
/* Its fresh report says that it is active, taking over or releasing. */
bool svc_peer_busy(const struct service_fsm *s, unsigned p, mtime now);
void svc_update_contact(struct svc_step *x);
bool svc_has_contact(const struct service_fsm *s, mtime now);
/* The conflict rule: whether an answer for the virtual address forbids a takeover now. */
bool svc_conflict_holds(const struct service_fsm *s, mtime now);
/*
 * Address up, FENCE answered, start order not yet given: for this long answers for the address are
 * looked for once more, so that of two that take over at once one sees the other.
 */
#define SERVICE_LAST_LOOK (2 * BUDGET_ANSWER)
bool svc_last_look(const struct service_fsm *s);
/* What makes others wait. */
bool svc_acts(enum service_state state);
/* Until when we know better than a node that asks for our FENCED: another one lives. */
mtime svc_witnessed_until(const struct service_fsm *s, unsigned asks);
bool svc_persist_settled(const struct service_fsm *s);

/* ---- service_fit.c ---- */
/* How many nodes go before this one, fit or not: priority, then address. */
unsigned svc_rank(const struct service_fsm *s);
/* This node goes before every fit peer. */
bool svc_best_here(const struct service_fsm *s, mtime now);
/* Keeps `leaderless`. */
void svc_update_leaderless(struct svc_step *x);
/* When a softly unfit node may begin of itself; MTIME_NEVER: somebody else is there for it. */
mtime svc_soft_turn(const struct service_fsm *s, mtime now);
/* A HELLO of p says under which file it is active, or that it has ours. */
void svc_note_file(struct service_fsm *s, unsigned p);
/* We are active: our file is the one in force. */
void svc_own_file(struct service_fsm *s);

/* ---- service_take.c ---- */
void svc_consider_takeover(struct svc_step *x);
void svc_progress_takeover(struct svc_step *x);
void svc_abandon(struct svc_step *x, mtime hold);
/* Begin, where the verdict holds and the reserved term is on disk; elected: every node was heard. */
void svc_begin_takeover(struct svc_step *x, enum service_cause cause, bool elected);
void svc_begin_fence(struct svc_step *x);
/* The reserved one; the next one is reserved by the write that must follow. */
void svc_take_term(struct service_fsm *s);
/* Somebody runs it, or is about to. */
bool svc_any_busy(const struct service_fsm *s, mtime now);
/* Every FENCED that must be awaited has come. */
bool svc_fence_done(const struct service_fsm *s, mtime now);
void svc_repeat_fence(struct svc_step *x);
mtime svc_fence_again(const struct service_fsm *s); /* when it is repeated, if need be */
/* Its HELLO, sent after our FENCE, says that nothing runs there. */
bool svc_said_idle(const struct service_fsm *s, unsigned p, mtime now);
/* To FAILED or STOPPED where persist says so, else to WAITING (boot) or BACKUP. */
void svc_enter_idle(struct svc_step *x, enum service_cause cause, bool boot);

/* ---- service_address.c ---- */
#define SERVICE_ADDRESS_RETRY MTIME_SEC(1)
void svc_address_lost(struct svc_step *x);
void svc_add_addresses(struct svc_step *x);
void svc_addresses_added(struct svc_step *x, bool ok);
void svc_progress_addresses(struct svc_step *x);
/* How long a takeover waits for its addresses. */
mtime svc_address_patience(const struct service_fsm *s);

/* ---- service_boot.c ---- */
void svc_consider_boot(struct svc_step *x);
/* Enough is known, or has been waited for, to begin where nobody was active before. */
bool svc_may_boot(const struct service_fsm *s, mtime now);

/* ---- service_restart.c ---- */
void svc_restart_fence(struct svc_step *x);
void svc_progress_restart(struct svc_step *x);

/* ---- service_command.c ---- */
/* How long this takeover has waited for fence_command by now. */
mtime svc_command_time(const struct service_fsm *s, mtime now);
/* One runs, and nothing starts before it has ended. */
bool svc_command_awaited(struct svc_step *x);
/* Begin the next one that is needed; false: none is. */
bool svc_command_next(struct svc_step *x);
void svc_on_command(struct svc_step *x, unsigned peer, uint64_t term, bool ok);

/* ---- service_plain.c ---- */
bool svc_plain(const struct service_fsm *s, unsigned p);
bool svc_has_plain(const struct service_fsm *s);
void svc_on_refused(struct svc_step *x, const struct service_event *ev);
/* A plain router's adverts are refused. */
bool svc_plain_refused(const struct service_fsm *s, mtime now);
/* It is Active as far as its adverts tell. */
bool svc_plain_active(const struct service_fsm *s, unsigned p, mtime now);
void svc_plain_advert(struct svc_step *x, const struct service_event *ev);
/* Granted: whether a plain router must yield first (phase CLAIM). */
bool svc_claim(struct svc_step *x);
/* Given up before anything was started: whoever yielded to our adverts has no other news of us. */
void svc_unclaim(struct svc_step *x);
bool svc_plain_yields(struct svc_step *x, const struct service_event *ev);
bool svc_plain_may_answer(const struct service_fsm *s, unsigned p, mtime now);

/* ---- service_release.c ---- */
struct svc_release {
	enum service_state to;
	enum service_cause cause;
	unsigned successor;
	bool give_up;
};
void svc_release(struct svc_step *x, const struct svc_release *r);
/* Kill first; what follows is `to`. */
void svc_step_down(struct svc_step *x, enum service_state to, enum service_cause cause);
void svc_progress_release(struct svc_step *x);
void svc_on_fence(struct svc_step *x, unsigned peer, uint64_t term);
void svc_pay_fences(struct svc_step *x);
void svc_on_limit(struct svc_step *x);

/* ---- service_alarm.c ---- */
void svc_update_alarms(struct svc_step *x);
/* While the state file has not been read; said after this long from the start of the engine. */
#define SERVICE_LOADS_WITHIN MTIME_SEC(2)
void svc_alarm_not_loaded(struct svc_step *x);

#endif
