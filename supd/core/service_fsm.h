/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_SERVICE_FSM_H
#define SUPD_CORE_SERVICE_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"
#include "supd/config/model.h"
#include "supd/core/budget.h"
#include "supd/core/vrrp_fsm.h"

/*
 * The policy of one service on one node: who runs it, and what must be known before it may run
 * here.  Pure: the same code runs in the engine and, for all nodes at once, in tests/sim.
 *
 * What the shell owes it: every event as it happens; RESULT events for every action; the socket
 * drained before a TICK; HELLOs at the rate it asks for (service_hello_interval).
 */

/* ---- names ---------------------------------------------------------------------------------- */

#define SERVICE_STATES(X)                                                                          \
	X(DOWN, "down") X(WAITING, "waiting") X(BACKUP, "backup") X(TAKING_OVER, "taking_over")    \
	X(ACTIVE, "active") X(RELEASING, "releasing") X(FAILED, "failed") X(STOPPED, "stopped")

enum service_state {
#define X(name, text) SERVICE_STATE_##name,
	SERVICE_STATES(X)
#undef X
};
#define SERVICE_STATES_END (SERVICE_STATE_STOPPED + 1)
const char *service_state_name(enum service_state s);

#define SERVICE_CAUSES(X)                                                                          \
	X(NONE, "none") X(BOOT, "boot") X(TAKEOVER, "takeover") X(RELEASE, "release")              \
	X(FAILED, "failed") X(STEP_DOWN, "step_down") X(STOP, "stop") X(START, "start")            \
	X(FAILOVER, "failover") X(FAILBACK, "failback") X(RESET, "reset")

enum service_cause {
#define X(name, text) SERVICE_CAUSE_##name,
	SERVICE_CAUSES(X)
#undef X
};
const char *service_cause_name(enum service_cause c);

/*
 * Why a node is not fit.  A hard reason forbids a takeover; a soft one yields to everybody who is
 * fit, and counts no more when nobody is (service_fit.c).
 */
#define SERVICE_UNFITS(X)                                                                          \
	X(FAILED, "failed", HARD) X(STOPPED, "stopped", HARD) X(LINK, "link", HARD)                \
	X(ISOLATED, "isolated", HARD) X(PAUSED, "paused", HARD) X(DIGEST, "config", HARD)          \
	X(STATE_FILE, "state_file", HARD) X(ENDING, "ending", HARD) X(SOCKETS, "sockets", HARD)    \
	X(FILE, "config_file", SOFT) X(CHECK, "check", SOFT) X(LOAD, "load", SOFT)                 \
	X(MEMORY, "memory", SOFT)

enum service_unfit {
#define X(name, text, kind) SERVICE_UNFIT_##name,
	SERVICE_UNFITS(X)
#undef X
	SERVICE_UNFITS_END
};
const char *service_unfit_name(enum service_unfit u);
bool service_unfit_is_soft(enum service_unfit u);

#define SERVICE_ALARMS(X)                                                                          \
	X(NO_STANDBY, "no_standby") X(PERSON_NEEDED, "person_needed")                              \
	X(VRRP_PATH, "vrrp_path") X(PEER_LINK, "peer_link") X(CONFIG_DIFFERS, "config_differs")    \
	X(NO_TARGET, "no_target") X(CONFLICT, "conflict")                                          \
	X(ACTIVE_FILTERED, "active_behind_filter") X(ADDRESS, "address")                           \
	X(UNKILLABLE, "unkillable") X(STATE_FILE, "state_file") X(BUDGET, "budget")                \
	X(WAIT_FOR_PEER, "wait_for_peer") X(HELD, "held")                                          \
	X(VRRP_REFUSED, "vrrp_refused") X(FENCE_FAILED, "fence_failed") X(CONFIG_FILE, "config_file")                              \
	X(ACTIVE_UNFIT, "active_unfit")

enum service_alarm {
#define X(name, text) SERVICE_ALARM_##name,
	SERVICE_ALARMS(X)
#undef X
	SERVICE_ALARMS_END
};
const char *service_alarm_name(enum service_alarm a);

/* ---- what nodes tell each other about a service ------------------------------------------------ */

/* One record of a HELLO. */
struct service_report {
	enum service_state state;
	uint8_t priority;
	bool fit;	    /* hard and soft */
	bool soft;	    /* not fit, and only soft reasons speak against it */
	bool running;	    /* anything of its programs may be alive */
	bool ready;	    /* active, and its programs are ready */
	bool stopped;	    /* operator's wish, with its version */
	bool paused;	    /* the same */
	bool latched;	    /* the failed latch */
	bool adverts_heard; /* somebody's adverts, within Active_Down */
	uint32_t wish_version;
	uint64_t term;	    /* its own: last one it acted under */
	uint64_t term_seen; /* highest it knows of */
	uint64_t digest;    /* of what safety depends on */
	uint64_t file;	    /* of the whole file */
};

/* ---- configuration --------------------------------------------------------------------------- */

struct service_node {
	uint8_t priority;
	uint32_t address; /* only compared: a higher one is a higher address */
	bool peer_link;
	mtime release_delay; /* !peer_link: from its yielding until nothing of it is left there */
};

struct service_config {
	unsigned self, n_nodes;
	struct service_node nodes[MODEL_NODES_MAX];
	mtime advert_int, vip_lease, wait_for_peer, fence_timeout, failure_reset;
	enum model_isolation isolation;
	mtime failback;	      /* MTIME_NEVER: never */
	bool hold_on_silence; /* silence alone is no reason to take over */
	bool has_fence_command; /* a node that did not confirm must be fenced by it first */
	unsigned n_vips; /* that are to be set here; 0: none */
	bool conflict_probe; /* whether an answer for them is evidence */
	bool vip_command; /* a command sets them, which may take MODEL_VIP_COMMAND_TIMEOUT */
	uint64_t digest, file; /* as in the report */
};

/* ---- kept on disk, and kept by the keeper -------------------------------------------------------- */

struct service_persist {
	uint64_t term_seen;
	uint64_t reserved; /* our next term: above term_seen, ours by its residue */
	bool latched;
	bool barred;  /* a person's stop --here: this node alone */
	bool stopped; /* a person's wish, and its version: the highest one counts, whoever has it */
	bool paused;
	uint32_t wish_version;
};

/* What a new engine needs to go on; opaque to the keeper. */
struct service_baton {
	uint32_t format; /* SERVICE_BATON_FORMAT */
	uint32_t state;	 /* enum service_state */
	uint32_t cause;
	uint64_t term;
	mtime s;
	mtime since;
	uint64_t quiesced;
	bool target_answered; /* a target that is not a node has answered since start */
	bool ready;
	bool taken_unfit;
	struct service_persist persist;
};
#define SERVICE_BATON_FORMAT 2u

/* ---- the machine ------------------------------------------------------------------------------- */

struct service_peer {
	struct service_report report;
	mtime heard;	/* newest authenticated message; 0: never */
	mtime reported; /* when `report` came; 0: never */
	mtime echoed;	/* send time of our newest message that it echoed; 0: never */
	uint64_t fenced; /* highest term it answered FENCED to */
	mtime acted;	/* newest HELLO or FENCE by which something runs or begins there; 0: not now */
	uint64_t commanded; /* highest term for which fence_command has confirmed that it is off */
	bool dead_before; /* unheard for Active_Down at our last takeover or restart */
	bool ending;	/* it has RELEASEd because its supd ends */
	mtime advert;	/* newest advert of priority > 0; 0: none, or one of priority 0 since */
	mtime refused;	/* plain router: newest advert that was refused; 0: none */
	mtime adverts_alone; /* linked: since when adverts are all that comes of it; 0: not so */
	bool disbelieved; /* linked: its adverts, for nobody answers for the address */
	mtime released; /* plain router: newest advert of priority 0; 0: not now */
};

/* One step of releasing or taking over at a time. */
enum service_phase {
	SERVICE_PHASE_NONE,
	/* taking over */
	SERVICE_PHASE_FENCE,   /* FENCE went out */
	SERVICE_PHASE_CLAIM,   /* adverts go out, a plain router is to yield */
	SERVICE_PHASE_ADDRESS, /* addresses are being added */
	SERVICE_PHASE_START,   /* programs are starting */
	/* releasing */
	SERVICE_PHASE_STOP,    /* programs are stopping */
	SERVICE_PHASE_QUIESCE, /* the keeper is asked to confirm */
	SERVICE_PHASE_REMOVE,  /* addresses are being removed */
	SERVICE_PHASE_TELL,    /* RELEASE waits for RELEASED */
};

struct service_fsm {
	struct service_config config;
	struct budget budget;
	struct vrrp_fsm vrrp;
	enum service_state state;
	enum service_phase phase;
	enum service_cause cause;      /* of the present state */
	mtime since;		       /* of the present state */
	mtime phase_since;

	struct service_persist persist; /* as it should be on disk */
	uint64_t persist_seq, persist_done; /* newest asked for, newest written */
	mtime persist_since;		    /* when the oldest unwritten one was asked for */
	bool persist_failed;
	mtime persist_retry_at; /* failed: when to write again */

	uint64_t term;	    /* the one we act or last acted under */
	uint64_t quiesced;  /* highest term the keeper confirmed quiesced */
	uint64_t quiesce_asked;
	uint64_t term_heard; /* highest one heard of before our own state was read */
	uint64_t term_acted; /* highest one that another node acted under, as far as we know */
	uint64_t file_in_force; /* of whoever was active last, this node or another */
	bool file_known;	/* ... has been heard of */
	bool file_replaced;	/* this takeover put another file in force */
	bool may_run;	    /* something of ours may be alive (from the first start order on) */
	bool programs_ready;
	bool addresses_held;
	bool addresses_may; /* any of them may be here: added, and no REMOVE has succeeded since */
	bool unkillable;

	mtime s;	    /* newest proof of contact (send time) */
	mtime last_sent;    /* newest successful send of a HELLO */
	mtime target_answer;	  /* send time of the newest answered probe, any target; 0: never */
	mtime target_answer_other; /* the same, targets that are not nodes */
	bool target_answered;	  /* a target that is not a node has answered since start */
	bool isolated;
	bool has_target;    /* there is one to ask that is not a node */
	bool contact;	    /* a peer in two-way contact, or a target that answers */

	bool link_up, sockets_ok, loaded, ending;
	bool unfit_told[SERVICE_UNFITS_END]; /* soft reasons that the shell has told of */
	mtime leaderless; /* no Active, and no other node fit, since; 0: there is one */
	bool taken_unfit; /* this takeover, or what came of it, is in spite of soft reasons */

	struct service_peer peers[MODEL_NODES_MAX]; /* [self] unused */

	/* takeover */
	enum service_cause take_cause;
	mtime fence_started, fence_sent; /* this round; 0: none */
	uint64_t released_term;	  /* RELEASE that names us (or nobody) as successor; 0: none */
	mtime released_at;
	bool released_named;	  /* ... by name: nobody else was asked */
	bool elected;		  /* taken at boot, every node heard: every FENCED is needed */
	unsigned releaser;
	bool forced;		  /* failover --force */
	bool restart_fence;	  /* Active: a restart waits for FENCED */
	mtime hold_until;	  /* staggered new beginning after a conflict */

	/* plain routers (service_plain.c) */
	mtime lesser_since; /* fit beside an Active of lower priority since; 0: not */
	mtime claimed_at, claim_until, claim_again;

	/* fence_command: one at a time; it outlives the takeover that asked for it */
	bool command_runs;
	unsigned command_peer;
	uint64_t command_term;
	mtime command_since; /* of the one that runs */
	mtime command_time;  /* that earlier ones of this takeover took */
	bool command_failed; /* the newest takeover ended by it; of command_peer */
	mtime command_failed_at;

	/* conflict */
	mtime conflict_node_at;	   /* newest answer by a node's MAC; 0: none */
	mtime conflict_node_first; /* first of the present series */
	mtime conflict_unknown_at, conflict_unknown_first;
	unsigned conflict_node;	   /* whose */

	/* release */
	enum service_state release_to;
	unsigned successor; /* MODEL_NODES_MAX: nobody named */
	bool release_kill, release_told;
	unsigned releases_sent;
	mtime release_sent;
	uint64_t fence_owed[MODEL_NODES_MAX]; /* FENCED still to be sent, by peer; 0: none */
	uint64_t fence_owed_seq[MODEL_NODES_MAX]; /* ... once this write is on disk */

	mtime wait_until;	 /* WAITING */
	bool by_advert;		 /* an advert of a linked node, no more, ended WAITING: it goes on */
	mtime listening;	 /* in contact with the network, and so able to hear, since */
	mtime started;		 /* of this machine */
	mtime address_lost_at;	 /* newest ADDRESSES_ADD after a loss: rate limit */
	unsigned address_losses; /* of the minute that began at address_losses_since */
	mtime address_losses_since;
	bool address_failed, conflict_taken, filtered, exhausted;
	mtime failed_at;	 /* latch set at; for failure_reset */
	mtime better_since;	 /* active: a fit node goes before us since; 0: none */
	bool alarms[SERVICE_ALARMS_END];
	mtime alarm_since[SERVICE_ALARMS_END]; /* of those that must last: its cause began; 0: none */
	mtime alarm_said[SERVICE_ALARMS_END]; /* repeated every SERVICE_REMIND */
};

enum service_event_type {
	SERVICE_EV_TICK,
	SERVICE_EV_LOADED,  /* persist: what the disk had (all zero: no file) */
	SERVICE_EV_RESUME,  /* baton, running: a new engine goes on */
	SERVICE_EV_HEARD,   /* peer, echoed: any authenticated message but HELLO */
	SERVICE_EV_HELLO,   /* peer, report, echoed */
	SERVICE_EV_FENCE,   /* peer, term */
	SERVICE_EV_FENCED,  /* peer, term */
	SERVICE_EV_RELEASE, /* peer, term, successor, ending */
	SERVICE_EV_RELEASED,/* peer, term */
	SERVICE_EV_UNPROVEN,/* authentic, but of no session: peer, and report (HELLO) or term (FENCE) */
	SERVICE_EV_ADVERT,  /* peer (node), priority, interval */
	SERVICE_EV_ADVERT_REFUSED, /* peer (node): an advert of it that does not fit our settings */
	SERVICE_EV_SENT,    /* sent_at: a HELLO left the host */
	SERVICE_EV_PROBE_ANSWER, /* sent_at, is_node: a target answered the probe sent then */
	SERVICE_EV_TARGETS,	 /* ok: there is a probe target that is not a node */
	SERVICE_EV_CONFLICT,	 /* conflict: somebody answers for the virtual address */
	SERVICE_EV_LINK,	 /* ok: up */
	SERVICE_EV_SOCKETS,	 /* ok: net has handed over working sockets */
	SERVICE_EV_FITNESS,	 /* unfit (CHECK, LOAD, MEMORY), ok: it is no reason any more */
	SERVICE_EV_ADDRESSES,	 /* result of ADD or REMOVE: adding, ok */
	SERVICE_EV_ADDRESS_LOST,
	SERVICE_EV_PROGRAMS_READY, /* all of them */
	SERVICE_EV_PROGRAMS_GONE,  /* stopped as asked; ok: false when dead but not gone */
	SERVICE_EV_PROGRAM_DIED,   /* not ready any more; its restart may be due much later */
	SERVICE_EV_RESTART_DUE,	   /* a start of a program waits for PROGRAMS_ALLOW */
	SERVICE_EV_PROGRAM_LIMIT,  /* a program reached restart_limit */
	SERVICE_EV_QUIESCED,	   /* term, by_deadline */
	SERVICE_EV_PERSISTED,	   /* seq, ok */
	SERVICE_EV_FENCE_COMMAND,  /* peer, term, ok: how fence_command ended */
	SERVICE_EV_COMMAND,	   /* command */
};

enum service_command {
	SERVICE_CMD_START,    /* the wish: running */
	SERVICE_CMD_STOP,     /* the wish: stopped, on all nodes */
	SERVICE_CMD_STOP_HERE, /* hand over and bar this node (reset or start ends it) */
	SERVICE_CMD_FAILOVER, /* on the active: to the best fit peer (force: even without one) */
	SERVICE_CMD_TAKE,     /* failover --force on a node where nobody is active: take it */
	SERVICE_CMD_PAUSE,    /* no restarts, no takeovers; on all nodes */
	SERVICE_CMD_RESUME,
	SERVICE_CMD_RESET,
	SERVICE_CMD_END,      /* supd ends: release, then down */
};

enum service_conflict {
	SERVICE_CONFLICT_NODE,	  /* another node's MAC */
	SERVICE_CONFLICT_UNKNOWN, /* nobody we know */
};

struct service_event {
	enum service_event_type type;
	unsigned peer; /* row of the node */
	uint64_t term, seq;
	unsigned successor;
	bool ok, adding, is_node, by_deadline, ending, running, force;
	mtime echoed, sent_at;
	uint8_t priority;
	mtime interval;
	enum service_conflict conflict;
	enum service_unfit unfit;
	enum service_command command;
	const struct service_report *report;
	const struct service_persist *persist;
	const struct service_baton *baton;
};

enum service_action_type {
	SERVICE_ACT_SEND_ADVERT,   /* with the node's priority */
	SERVICE_ACT_SEND_ADVERT_0, /* release */
	SERVICE_ACT_SEND_FENCE,	   /* to every peer-linked peer: term */
	SERVICE_ACT_SEND_FENCED,   /* peer, term */
	SERVICE_ACT_SEND_RELEASE,  /* to every peer-linked peer: term, successor, ending */
	SERVICE_ACT_SEND_RELEASED, /* peer, term */
	SERVICE_ACT_HELLO_NOW,	   /* what we are has changed: tell at once */
	SERVICE_ACT_PERSIST,	   /* seq: write the machine's `persist` */
	SERVICE_ACT_BATON,	   /* hand service_to_baton() to the keeper */
	SERVICE_ACT_ADDRESSES_ADD,
	SERVICE_ACT_ADDRESSES_REMOVE,
	SERVICE_ACT_ANNOUNCE,	   /* gratuitous ARP, garp_count of them */
	SERVICE_ACT_PROGRAMS_START,  /* term, cause: bring the group up */
	SERVICE_ACT_PROGRAMS_STOP,   /* in reverse order; give_up: members end as fatal */
	SERVICE_ACT_PROGRAMS_ALLOW,  /* a restart that waited may go */
	SERVICE_ACT_QUIESCE,	   /* term: kill everything at once, and confirm */
	SERVICE_ACT_STATE,	   /* transition: from, to, cause; a step may make several; the
				    * same: a new engine goes on, or under a newer term */
	SERVICE_ACT_ALARM,	   /* alarm; ok: true raised, false cleared */
	SERVICE_ACT_ENDED,	   /* after CMD_END: nothing is left here */
	SERVICE_ACT_FENCE_COMMAND, /* peer, term: run fence_command; FENCE_COMMAND answers */
};

struct service_action {
	enum service_action_type type;
	unsigned peer;
	uint64_t term, seq;
	unsigned successor;
	bool ok, give_up, ending;
	enum service_cause cause;
	enum service_state from, to;
	enum service_alarm alarm;
};

/* How often a standing alarm is said again. */
#define SERVICE_REMIND MTIME_SEC(3600)
/* fence_command is killed after its time-out; an answer that is later than this never comes. */
#define SERVICE_COMMAND_MAX (MODEL_FENCE_COMMAND_TIMEOUT + MTIME_SEC(5))

#define SERVICE_ACTIONS_MAX 48
struct service_actions {
	unsigned n;
	struct service_action a[SERVICE_ACTIONS_MAX];
};

void service_init(struct service_fsm *s, const struct service_config *config, mtime now);
void service_step(struct service_fsm *s, const struct service_event *ev, mtime now,
		  struct service_actions *out);
mtime service_deadline(const struct service_fsm *s, mtime now);

/* What this node tells the others. */
void service_to_report(const struct service_fsm *s, mtime now, struct service_report *ret);
void service_to_baton(const struct service_fsm *s, struct service_baton *ret);

/* The moment by which the keeper must have killed everything; MTIME_NEVER while nothing may run. */
mtime service_kill_at(const struct service_fsm *s);
/* Until when a start order of the present term is valid. */
mtime service_order_valid_until(const struct service_fsm *s, mtime now);
/* Whether SERVICE_CMD_TAKE is heard now: idle, or held up by a fence_command. */
bool service_may_be_forced(const struct service_fsm *s);
/* WAITING: when this node may start without the nodes that are missing. */
mtime service_waits_until(const struct service_fsm *s, mtime now);
/* How often HELLOs and probes are wanted now. */
mtime service_hello_interval(const struct service_fsm *s, mtime now);
mtime service_probe_interval(const struct service_fsm *s, mtime now);
/* Whether to probe the virtual addresses now (first missed advert, until the start order). */
bool service_wants_conflict_probe(const struct service_fsm *s, mtime now);

/* No reason, hard or soft; fills ret_reasons[SERVICE_UNFITS_END] where it is not NULL. */
bool service_fit(const struct service_fsm *s, mtime now, bool *ret_reasons);
/* Not fit, and for soft reasons alone. */
bool service_softly_unfit(const struct service_fsm *s, mtime now);
/* Row of the node that is active as far as we know (may be self), or MODEL_NONE. */
int service_active_node(const struct service_fsm *s, mtime now);
/* Row of the best fit peer that could take over now, or MODEL_NONE. */
int service_best_peer(const struct service_fsm *s, mtime now);
/* Who is to have it when this node ends in any case: the best fit peer, else the best softly unfit. */
int service_successor(const struct service_fsm *s, mtime now);
/* Whether peer p, in contact, has another file: in what safety depends on (DIGEST), or at all (FILE). */
bool service_peer_differs(const struct service_fsm *s, unsigned p, mtime now, enum service_unfit what);
/* Whether peer p is in two-way contact: heard, and echoes us. */
bool service_peer_reachable(const struct service_fsm *s, unsigned p, mtime now);

/* Smallest term above `seen` that belongs to node `self` (row, from 0): congruent self + 1, mod 256. */
uint64_t service_next_term(uint64_t seen, unsigned self);

/* ---- explain ----------------------------------------------------------------------------------- */

enum service_verdict { SERVICE_VERDICT_HOLD, SERVICE_VERDICT_TAKE, SERVICE_VERDICT_KEEP,
		       SERVICE_VERDICT_STEP_DOWN };
const char *service_verdict_name(enum service_verdict v);

#define SERVICE_EVIDENCES(X)                                                                       \
	X(FIT, "fit") X(SILENCE, "silence") X(PATH, "path") X(ISOLATION, "isolation")              \
	X(CONFLICT, "conflict") X(FENCE, "fence")

enum service_evidence_kind {
#define X(name, text) SERVICE_EVIDENCE_##name,
	SERVICE_EVIDENCES(X)
#undef X
	SERVICE_EVIDENCES_END
};
const char *service_evidence_name(enum service_evidence_kind k);

struct service_evidence {
	bool ok;	     /* speaks for being or becoming active here */
	mtime age;	     /* -1: not known */
	int node;	     /* the one that `detail` is about, to be named; MODEL_NONE */
	char detail[160];
	char consequence[160];
};

/* The verdict and each item, as it stands now. */
enum service_verdict service_explain(const struct service_fsm *s, mtime now,
				     struct service_evidence ret[SERVICE_EVIDENCES_END]);

/* Whether the invariants hold (tests, simulation, fuzzing). */
bool service_check(const struct service_fsm *s);

#endif
