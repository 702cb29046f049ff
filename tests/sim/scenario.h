/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_SIM_SCENARIO_H
#define SUPD_TESTS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"

/* What is drawn from a seed: the stage, and what happens to whom, and when. */

#define WORLD_NODES_MAX	   5
#define WORLD_PROGRAMS_MAX 2
#define WORLD_FAULTS_MAX   192
#define WORLD_PATHS	   4
#define WORLD_CASTS_MAX	   16

/* ---- random numbers -------------------------------------------------------------------------- */

struct rng {
	uint64_t x;
};

uint64_t rng_next(struct rng *r); /* splitmix64 */
uint64_t rng_below(struct rng *r, uint64_t n);
mtime rng_range(struct rng *r, mtime lo, mtime hi);
bool rng_permille(struct rng *r, unsigned chance);

/* ---- the scenario ------------------------------------------------------------------------------- */

/*
 * Name, words, reach, weight.  Reach: ONCE is over at once; HOST lasts and touches one host; NET
 * lasts and touches all; ALONE lasts, and only programs and operators act beside it.  PROC stops
 * or kills supd's own processes: one at a time on a host.
 */
#define FAULTS(X)                                                                                  \
	X(ENGINE_KILL, "engine killed", PROC, 8)                                                   \
	X(ENGINE_STALL, "engine stopped (SIGSTOP)", PROC, 8)                                       \
	X(KEEPER_KILL, "keeper killed", PROC, 5)                                                   \
	X(KEEPER_STALL, "keeper stopped (SIGSTOP)", PROC, 5)                                       \
	X(SUPD_KILL, "all of supd killed", PROC, 4)                                                \
	X(SUPD_STOP, "supd ended by its init script", PROC, 4)                                     \
	X(HOST_CRASH, "power cut", PROC, 6)                                                        \
	X(NET_KILL, "net killed", ONCE, 3)                                                         \
	X(NET_STALL, "net hangs (RTNL)", HOST, 3)                                                  \
	X(SCRIBE_KILL, "scribe killed", ONCE, 3)                                                   \
	X(DISK_HANG, "disk hangs", HOST, 3)                                                        \
	X(DISK_FAIL, "disk full", HOST, 3)                                                         \
	X(CHECK_FAILS, "its check fails", HOST, 3)                                                 \
	X(PROGRAM_DIE, "program dies", ONCE, 12)                                                   \
	X(PROGRAM_LOOP, "program crashes at each start", HOST, 5)                                  \
	X(CABLE, "cable pulled", HOST, 6)                                                          \
	X(CABLE_SILENT, "cut off at the switch", HOST, 8)                                          \
	X(TX_DEAD, "nothing leaves it", ALONE, 3)                                                  \
	X(RX_DEAD, "nothing reaches it", ALONE, 3)                                                 \
	X(VRRP_CUT, "VRRP cut towards", ALONE, 2)                                                  \
	X(PEER_CUT, "peer link cut towards", ALONE, 2)                                             \
	X(VRRP_CUT_BOTH, "VRRP cut both ways to", ALONE, 2)                                        \
	X(PEER_CUT_BOTH, "peer link cut both ways to", ALONE, 2)                                   \
	X(IP_CUT, "IP cut (ARP too, where a third hears both), both ways to", ALONE, 2)            \
	X(IP_CUT_TO, "IP cut (ARP too, where a third hears both) towards", ALONE, 1)               \
	X(SPLIT_TO, "everything cut (not the gateway's segment) towards", ALONE, 0)                \
	X(GATEWAY_CUT, "gateway unreachable", HOST, 3)                                             \
	X(GATEWAY_DOWN, "gateway reboots", NET, 3)                                                 \
	X(LOSS, "network loses packets", ALONE, 3)                                                 \
	X(SLOW, "network is slow", ALONE, 2)                                                       \
	X(STRANGER, "a stranger answers for the address", NET, 2)                                  \
	X(FORGER, "adverts are forged in the name of every node", NET, 2)                          \
	X(ADDRESS_TAKEN_OFF, "address taken off by hand", ONCE, 3)                                 \
	X(OP_FAILOVER, "supctl failover", ONCE, 5)                                                 \
	X(OP_FORCE, "supctl failover --force", ONCE, 2)                                            \
	X(OP_STOP, "supctl stop", ONCE, 2)                                                         \
	X(OP_STOP_HERE, "supctl stop --here", ONCE, 2)                                             \
	X(OP_START, "supctl start", ONCE, 4)                                                       \
	X(OP_PAUSE, "supctl pause", ONCE, 2)                                                       \
	X(OP_RESUME, "supctl resume", ONCE, 1)                                                     \
	X(OP_RESET, "supctl reset --all", ONCE, 5)                                                 \
	X(HEAL, "all is repaired: supctl reset --all, supctl start, supctl resume", ONCE, 0)

enum fault_type {
#define X(name, words, reach, weight) FAULT_##name,
	FAULTS(X)
#undef X
	FAULTS_END
};
const char *fault_words(enum fault_type t);

/* Whom a fault of a cast meets: decided when the first one of the cast comes. */
enum role { ROLE_ACTIVE, ROLE_FIRST, ROLE_SECOND, ROLE_THIRD, ROLES_END };

struct fault {
	mtime at, length; /* length: of a lasting one, and until a host or supd is back */
	enum fault_type type;
	uint8_t host, other;
	uint8_t cast;	       /* from 1; 0: host and other are rows */
	enum role role, other_role;
	uint8_t paths;	   /* PEER_CUT: bit 0 and 1, the paths of the peer link */
	uint16_t permille; /* LOSS */
	bool off;	   /* taken out by the search for a shorter story */
};

/* What a tooth takes away; each must make the search find a violation. */
#define TEETH(X)                                                                                   \
	X(NONE, "none", "every rule is in force")                                                  \
	X(KEEPER_DEADLINE, "keeper_deadline", "the keeper does not kill at the deadline")          \
	X(ORDER_DEADLINE, "order_deadline", "valid_until of a start order is not looked at")       \
	X(QUIESCED, "quiesced", "an order of a quiesced term is carried out")                      \
	X(GUARD, "guard", "programs survive their keeper")                                         \
	X(ENGINE_TIMEOUT, "engine_timeout", "a silent engine is not replaced")                     \
	X(KEEPER_TIMEOUT, "keeper_timeout", "a silent keeper is not killed")                       \
	X(CONFLICT, "conflict", "no answer for the virtual address is ever seen")                  \
	X(FENCE_COMMAND, "fence_command", "a fence_command that failed is taken for one that did not")

enum tooth {
#define X(name, word, what) TOOTH_##name,
	TEETH(X)
#undef X
	TEETH_END
};

struct scenario {
	uint64_t seed;
	unsigned n_nodes, n_programs;
	mtime length, quiet_from; /* faults end at quiet_from */
	mtime advert_int, vip_lease, wait_for_peer, restart_delay_max;
	uint8_t priority[WORLD_NODES_MAX];
	int rate_ppm[WORLD_NODES_MAX]; /* clock against world time */
	mtime boot_at[WORLD_NODES_MAX];
	mtime delay, jitter; /* of the network */
	mtime failback;	     /* MTIME_NEVER: never */
	unsigned paths;	     /* of the peer link; the second one is a network of its own */
	bool hold;	     /* on_peer_silence = hold */
	bool fence_command;
	bool details;	     /* the once-a-second details of the peer link travel too */
	bool two_segments;   /* faults that tier 0 does not cover: two may live until it heals */
	bool wrapper;	     /* programs are trees: the main process may die and leave the rest */
	bool heavy;	     /* takes up to a second to be gone */
	enum tooth tooth;
	unsigned n_casts;
	const char *family; /* what its faults aim at; NULL: at nothing */
	unsigned n_faults;
	struct fault faults[WORLD_FAULTS_MAX];
};

/* n_nodes 0, family NULL: drawn too.  -EINVAL: there is no such family. */
int scenario_draw(struct scenario *ret, uint64_t seed, unsigned n_nodes, unsigned minutes,
		  const char *family);

/* ---- family.c ------------------------------------------------------------------------------------- */

/*
 * Families of scenarios: two or three faults that follow each other closely, aimed at one rule,
 * again and again with other roles' hosts and other moments.
 */
struct family;
const struct family *family_named(const char *name);
const struct family *family_draw(struct rng *r, unsigned n_nodes);
const char *family_name(const struct family *f);
unsigned family_nodes(const struct family *f);
/* What the stage must be like for it. */
void family_stage(const struct family *f, struct scenario *s);
/* Once more, with its first fault at t.  Returns when it is over. */
mtime family_play(const struct family *f, struct scenario *s, struct rng *r, mtime t);

#endif
