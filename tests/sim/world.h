/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_SIM_WORLD_H
#define SUPD_TESTS_SIM_WORLD_H

#include "supd/core/program_group.h"
#include "tests/sim/traffic.h"

/*
 * A world for the cores: hosts with their processes, kernels, disks and clocks, and the network
 * between them, in virtual time.
 *
 *   scenario.c   what happens to whom, drawn from the seed
 *   world.c      the queue of events, the clocks, one event after the other
 *   engine.c     the engine as a process; input.c: what it reads
 *   glue*.c      the engine's shell: between the real cores and the world
 *   keeper.c     the keeper; run.c: the guard and the programs, the ground truth of "alive"
 *   host.c       kernel (addresses), net, scribe and disk, boot and death
 *   network.c    paths between hosts, ARP, the gateway
 *   oracle.c     never two, terms, latch, eventually one
 *   story.c      what happened, in words
 *
 * Everything follows from the scenario: no clock, no address, no rand(3) is looked at.  World time
 * is global; each host reads it through a clock of its own (offset and rate), and whatever a core
 * sees or says is in its host's time.
 */

/* ---- processes ----------------------------------------------------------------------------------------- */

enum run_state { RUN_NONE, RUN_FORKED, RUN_ALIVE, RUN_DEAD };

struct run {
	enum run_state state;
	bool main_alive, rest_alive;
	uint32_t number;
	uint64_t order, term, known;
	mtime valid_until;
	bool reaped; /* EXITED was told */
};

/* What is read late because the reader is stopped. */
struct backlog {
	struct event *e;
	unsigned n, cap;
};

struct keeper {
	bool alive, stalled, ending;
	uint32_t life;
	uint32_t engines;      /* generation of the newest */
	mtime resume_at;
	mtime kill_at;	       /* host time */
	mtime deadline_armed;  /* world time of the queued EVENT_KEEPER_DEADLINE; 0: none */
	uint64_t quiesced;
	bool has_baton;
	struct service_baton baton;
	struct peer_baton sessions[WORLD_NODES_MAX];
	uint64_t session;
	uint64_t top_term;     /* highest of a start order */
	mtime last_arrival;    /* orders arrive in order */
	uint64_t hook; /* order number of the fence_command that runs; 0: none */
	struct backlog backlog;
};

struct engine {
	bool alive, stalled, ready, sockets, ended, orphan;
	uint32_t life;
	mtime resume_at;
	struct service_fsm fsm;
	struct program_group group;
	struct group_member members[GROUP_MEMBERS_MAX];
	struct program_fsm programs[WORLD_PROGRAMS_MAX];
	uint64_t began_term, began_known; /* of the newest term: known when its first start was ordered */
	unsigned began;	 /* the programs that were started under it, a bit each */
	uint64_t order_of[WORLD_PROGRAMS_MAX];
	struct peer_fsm peers[WORLD_NODES_MAX];
	bool mac_known[WORLD_NODES_MAX]; /* judges answers for the virtual address */
	mtime armed;	   /* world time of the queued wake; 0: none */
	mtime hello_at, probe_at, conflict_at, lease_at, details_at; /* host time, last done */
	mtime fed_kill_at;
	mtime keeper_silent_at; /* host time: when the silence of the keeper is believed */
	mtime orphan_since;	/* world time */
	mtime baton_s;
	mtime last_arrival;	/* what the keeper says arrives in order */
	uint64_t orders, address_order; /* address_order: newest without a result; 0: none */
	uint64_t hook_order; /* newest fence_command without an end; 0: none */
	unsigned hook_node;
	uint64_t hook_term;
	bool addresses_settled, hello_due;
	/* what the keeper told at birth */
	struct run found[WORLD_PROGRAMS_MAX];
	bool has_baton;
	struct service_baton baton;
	/* service events that come up while the service's machine is at work */
	bool in_service;
	unsigned n_pending;
	struct service_event pending[16];
	struct backlog backlog;
};

struct host {
	uint8_t row;
	bool up;
	mtime offset; /* local = offset + world time x (1 + rate) */
	int rate_ppm;
	struct keeper keeper;
	struct run runs[WORLD_PROGRAMS_MAX]; /* the kernel's: the guard ends them with the keeper */
	uint32_t last_run;
	struct engine engine;
	/* net and kernel */
	bool net_alive;
	mtime net_free_at; /* a hang of RTNL ends */
	uint32_t net_life;
	mtime vip_until;   /* world time; 0: not on the interface */
	bool vip_watched;
	/* scribe and disk */
	bool scribe_alive;
	uint32_t scribe_life;
	mtime disk_free_at, disk_ok_at; /* a hang ends; a full disk ends */
	mtime scribe_last;
	struct service_persist disk;
	/* the program on this host */
	mtime sane_at; /* crash-loops until then */
	unsigned checks_failed;
	bool stay_down;	 /* supd is not started again until its fault ends */
	/* for the oracle */
	unsigned broken;      /* lasting faults that touch it */
	mtime well_since;
	uint64_t told_term;   /* highest term it was told of since supd started */
};

/* Who plays what in one playing of a family. */
struct cast {
	bool bound;
	int who[ROLES_END]; /* -1: nobody */
};

struct world {
	struct scenario scenario;
	struct cast casts[WORLD_CASTS_MAX + 1];
	mtime now;
	struct rng rng;
	struct queue queue;
	struct host hosts[WORLD_NODES_MAX];
	mtime engine_timeout, active_down;
	bool left_out[WORLD_FAULTS_MAX]; /* not covered as the world is when its time comes */
	bool witnessed[WORLD_FAULTS_MAX]; /* IP_CUT: of everything, for a third node hears both */
	/* network: a path is open while 0 */
	uint8_t cut[WORLD_PATHS][WORLD_NODES_MAX][WORLD_NODES_MAX];
	uint8_t tx_dead[WORLD_NODES_MAX], rx_dead[WORLD_NODES_MAX]; /* the whole interface */
	uint8_t no_carrier[WORLD_NODES_MAX];
	uint8_t gateway_cut[WORLD_NODES_MAX], gateway_down, stranger, forger;
	unsigned loss_permille;
	mtime last_arrival[WORLD_PATHS][WORLD_NODES_MAX][WORLD_NODES_MAX];
	mtime slow;
	/* oracle */
	unsigned net_broken;
	mtime net_well_since;
	int last_place;	 /* host where it lived last; -1 */
	uint64_t top_term; /* highest term a program was started under */
	unsigned moves, starts, faults_done;
	unsigned both[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* looks at which the older could have known */
	mtime none_since; /* nobody lives; 0: somebody does */
	mtime one_since;  /* the newest start */
	bool settled;	  /* all is quiet: nothing more will happen */
	mtime worst_outage;
	/* result and story */
	char violation[256]; /* empty: none so far */
	bool tell, print;
	struct story *story;
};

/* ---- world.c -------------------------------------------------------------------------------------------- */

void world_run(struct world *w); /* until the end, or the first violation */
/* Queue an event `in` from now; the caller fills it before the next one is queued. */
struct event *world_post(struct world *w, mtime in, enum event_type type, uint8_t host);
/* The same event once more, later. */
void world_repost(struct world *w, mtime in, const struct event *e);
mtime host_now(const struct world *w, const struct host *h);
mtime host_local(const struct host *h, mtime world_time);
mtime host_world(const struct host *h, mtime local_time); /* first world time at which it is reached */
mtime world_noise(struct world *w, mtime lo, mtime hi);
void backlog_add(struct backlog *b, const struct event *e);
void world_fini(struct world *w);

/* ---- fault.c -------------------------------------------------------------------------------------------- */

void fault_begin(struct world *w, unsigned number);
void fault_end(struct world *w, unsigned number);

/* ---- host.c ----------------------------------------------------------------------------------------------- */

void host_boot(struct world *w, struct host *h);
void host_crash(struct world *w, struct host *h);
void host_supd_start(struct world *w, struct host *h);
void host_supd_gone(struct world *w, struct host *h); /* the last process ended */
bool host_has_vip(const struct world *w, const struct host *h);
void host_vip_remove(struct world *w, struct host *h, bool tell);
void host_net_kill(struct world *w, struct host *h);
void host_net_order(struct world *w, struct host *h, bool adding, bool refresh, uint64_t order,
		    mtime valid_until);
void host_scribe_kill(struct world *w, struct host *h);
void host_save(struct world *w, struct host *h, uint64_t seq, const struct service_persist *p);
void host_load(struct world *w, struct host *h);
void host_event(struct world *w, const struct event *e);

/* ---- keeper.c ----------------------------------------------------------------------------------------------- */

void keeper_start(struct world *w, struct host *h);
void keeper_die(struct world *w, struct host *h); /* and with it guard and programs */
void keeper_stall(struct world *w, struct host *h, mtime length);
void keeper_engine_died(struct world *w, struct host *h);
/* One order of the engine, on its way. */
struct order *keeper_post(struct world *w, struct host *h, enum order_type type);
void keeper_engine_silent(struct world *w, struct host *h); /* it was stopped: watch it */
void keeper_event(struct world *w, const struct event *e);
void keeper_kill_all(struct world *w, struct host *h, bool by_deadline);
/* A program's own death; only_main: what it started lives on. */
void keeper_program_dies(struct world *w, struct host *h, unsigned program, bool only_main);
bool keeper_populated(const struct host *h);
mtime keeper_late(const struct world *w, const struct host *h); /* until it runs again; 0: it does */

/* ---- run.c ---------------------------------------------------------------------------------------------------- */

void run_tell_failed(struct world *w, struct host *h, unsigned program, uint64_t order);
struct input *keeper_tell(struct world *w, struct host *h, enum input_type type);
void keeper_tell_quiesced(struct world *w, struct host *h, uint64_t term, bool by_deadline);
void run_later(struct world *w, struct host *h, unsigned program, mtime in, enum event_type type);
void run_kill(struct world *w, struct host *h, unsigned program, const char *why);
void run_kill_all(struct world *w, struct host *h, const char *why);
void run_event(struct world *w, struct host *h, const struct event *e);
bool host_lives(const struct host *h); /* any process of any program: the ground truth */

/* ---- engine.c ------------------------------------------------------------------------------------------------- */

void engine_start(struct world *w, struct host *h);
void engine_die(struct world *w, struct host *h);
void engine_stall(struct world *w, struct host *h, mtime length);
void engine_arm(struct world *w, struct host *h); /* its next wake-up */
/* Something to read, `in` from now. */
struct input *engine_post(struct world *w, struct host *h, mtime in, enum input_type type);
void engine_event(struct world *w, const struct event *e);
/* The keeper is dead, or silent: kill, remove, release, end. */
void engine_become_orphan(struct world *w, struct host *h);

/* ---- input.c --------------------------------------------------------------------------------------------------- */

void input_handle(struct world *w, struct host *h, const struct input *in);

/* ---- glue.c ------------------------------------------------------------------------------------------------- */

void glue_init(struct world *w, struct host *h);
void glue_service(struct world *w, struct host *h, const struct service_event *ev);
void glue_program(struct world *w, struct host *h, unsigned program, const struct program_event *ev);
/* After every input: give programs their next orders, tell the service what changed, feed. */
void glue_fitness(struct world *w, struct host *h); /* what the checks say */
void glue_settle(struct world *w, struct host *h);
void glue_resume(struct world *w, struct host *h);
void glue_hello(struct world *w, struct host *h);
void glue_answer(struct world *w, struct host *h, unsigned peer, bool ask); /* one HELLO to one */
void glue_details(struct world *w, struct host *h);
void glue_refresh_lease(struct world *w, struct host *h);
bool glue_holds_addresses(const struct service_fsm *f);
void glue_order_address(struct world *w, struct host *h, bool adding);
void glue_send_baton(struct world *w, struct host *h);
void glue_last_words(struct world *w, struct host *h);

/* ---- network.c -------------------------------------------------------------------------------------------------- */

/* The peer link from one to the other, by whichever path. */
bool network_peer_open(const struct world *w, unsigned from, unsigned to);
void network_letter(struct world *w, const struct host *from, unsigned to, const struct letter *l);
void network_advert(struct world *w, const struct host *from, uint8_t priority);
/* Ask every target: each answer is an input to `from`. */
void network_probe_targets(struct world *w, struct host *from);
void network_probe_address(struct world *w, struct host *from);

/* ---- oracle.c ----------------------------------------------------------------------------------------------------- */

void oracle_exec(struct world *w, struct host *h, const struct run *r);
void oracle_dead(struct world *w, struct host *h);
void oracle_takes(struct world *w, const struct host *h); /* a takeover begins */
void oracle_begins(struct world *w, struct host *h); /* it starts its programs, under a new term */
void oracle_step(struct world *w, struct host *h); /* after each step of its machines */
/* Highest term that the host knows of now. */
uint64_t oracle_known(const struct host *h);
void oracle_told(struct host *h, const struct letter *l);
void oracle_calm(struct world *w);
void oracle_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- story.c ------------------------------------------------------------------------------------------------------- */

struct story *story_new(void);
void story_free(struct story *s);
void story_line(struct world *w, const struct host *h, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The newest lines kept. */
void story_print(const struct story *s, unsigned lines);
char story_name(unsigned row);

#define STORY(w, h, ...)                                                                           \
	do {                                                                                       \
		if ((w)->tell)                                                                     \
			story_line(w, h, __VA_ARGS__);                                             \
	} while (0)

#endif
