/* SPDX-License-Identifier: MIT */
#include "tests/sim/scenario.h"

#include <stddef.h>
#include <string.h>

/*
 * Each family is one line a fault: who, when (from, to) and for how long (from, to), in thousandths
 * of advert_int after the first one.  Active_Down is 3,004 to 3,996 of them, the budget of an
 * Active some 2,000 to 3,000, engine_timeout 650 to 1,000.
 *
 * A family is covered by the tier that its stage reaches, as a whole: what two faults at once may
 * do is thought about here, not in scenario.c's admitted().
 */

#define LINES_MAX 6

enum need {
	NEED_SECONDS = 1 << 0,	/* advert_int = 1s: some of its times do not scale */
	NEED_PLAIN = 1 << 1,	/* one program, without children, soon gone */
	NEED_EQUALS = 1 << 2,	/* equal priorities, clocks that agree: all standbys at once */
	NEED_PATHS = 1 << 3,	/* two paths of the peer link */
	NEED_ONE_PATH = 1 << 4,
	NEED_HOLD = 1 << 5,
	NEED_COMMAND = 1 << 6,	/* fence_command */
	NEED_TWO_SEGMENTS = 1 << 7,
	NEED_TWO = 1 << 8,	/* two programs */
	NEED_HIGH = 1 << 9,	/* high priorities: the least Active_Down and budget */
	NEED_LOW = 1 << 10,	/* low ones: the longest */
};

struct line {
	enum fault_type type;
	enum role role, other;
	int at[2], length[2];
};

struct family {
	const char *name;
	unsigned nodes, weight; /* nodes: at least */
	unsigned needs;
	struct line lines[LINES_MAX];
	unsigned n;
};

#define LINES(...)                                                                                 \
	.lines = {__VA_ARGS__},                                                                    \
	.n = sizeof((struct line[]){__VA_ARGS__}) / sizeof(struct line)
#define ONE(type, who, ...)	  { FAULT_##type, ROLE_##who, ROLE_FIRST, __VA_ARGS__ }
#define TWO(type, who, whom, ...) { FAULT_##type, ROLE_##who, ROLE_##whom, __VA_ARGS__ }

static const struct family families[] = {
	/* Cut off, and its engine stops before the deadline: the keeper must do it alone. */
	{ .name = "cut_and_stall", .nodes = 2, .weight = 3, .needs = NEED_LOW,
	  LINES(ONE(CABLE_SILENT, ACTIVE, {0, 0}, {4000, 12000}),
		ONE(ENGINE_STALL, ACTIVE, {1800, 2950}, {1500, 6000})) },
	/* A second death delays the restart by 1 s; the order meets a stopped keeper, and its engine
	 * dies: it is carried out much later, or not. */
	{ .name = "late_order", .nodes = 2, .weight = 3, .needs = NEED_SECONDS | NEED_PLAIN,
	  LINES(ONE(PROGRAM_DIE, ACTIVE, {0, 0}), ONE(PROGRAM_DIE, ACTIVE, {300, 400}),
		ONE(KEEPER_STALL, ACTIVE, {900, 1250}, {6000, 20000}),
		ONE(ENGINE_KILL, ACTIVE, {1310, 1500})) },
	/* Nobody else is there, and its engine stops for minutes. */
	{ .name = "silent_engine", .nodes = 2, .weight = 2, .needs = NEED_SECONDS,
	  LINES(ONE(SUPD_STOP, FIRST, {0, 0}, {170000, 180000}),
		ONE(SUPD_STOP, SECOND, {0, 500}, {170000, 180000}),
		ONE(SUPD_STOP, THIRD, {0, 500}, {170000, 180000}),
		ONE(ENGINE_STALL, ACTIVE, {8000, 12000}, {150000, 160000})) },
	/* The keeper stops, and then the host is cut off: the engine has killed it by then. */
	{ .name = "keeper_then_cut", .nodes = 2, .weight = 2,
	  LINES(ONE(KEEPER_STALL, ACTIVE, {0, 0}, {7000, 15000}),
		ONE(CABLE_SILENT, ACTIVE, {1600, 4000}, {4000, 12000})) },
	/* Contact comes back just before the deadline, of which a stopped keeper does not hear; an order
	 * is on its way when it kills after all. */
	{ .name = "killed_meanwhile", .nodes = 2, .weight = 6,
	  .needs = NEED_SECONDS | NEED_TWO | NEED_HIGH,
	  LINES(ONE(CABLE_SILENT, ACTIVE, {0, 0}, {1200, 1600}),
		ONE(PROGRAM_DIE, ACTIVE, {100, 200}), ONE(PROGRAM_DIE, ACTIVE, {650, 850}),
		ONE(KEEPER_STALL, ACTIVE, {1450, 1650}, {500, 640})) },
	/* Nothing of it reaches the other, and all the rest works: FENCE must arrive. */
	{ .name = "one_way", .nodes = 2, .weight = 2, .needs = NEED_ONE_PATH,
	  LINES(TWO(SPLIT_TO, ACTIVE, FIRST, {0, 0}, {4000, 15000})) },
	/* The same, and the one that hears nothing starts anew: it has no session to fence by. */
	{ .name = "one_way_newborn", .nodes = 2, .weight = 2, .needs = NEED_ONE_PATH | NEED_SECONDS,
	  LINES(ONE(SUPD_STOP, FIRST, {0, 0}, {2000, 4000}),
		TWO(SPLIT_TO, ACTIVE, FIRST, {1000, 1500}, {25000, 32000})) },
	/* The interface goes while the keeper does not answer; RELEASE has another way out. */
	{ .name = "link_and_keeper", .nodes = 2, .weight = 2, .needs = NEED_PATHS,
	  LINES(ONE(KEEPER_STALL, ACTIVE, {0, 0}, {50, 900}),
		ONE(CABLE, ACTIVE, {0, 100}, {3000, 15000})) },
	/* Two segments, both with the gateway; one direction heals before the other. */
	{ .name = "two_segments", .nodes = 2, .weight = 2, .needs = NEED_TWO_SEGMENTS,
	  LINES(TWO(SPLIT_TO, ACTIVE, FIRST, {0, 0}, {8000, 30000}),
		TWO(SPLIT_TO, FIRST, ACTIVE, {0, 0}, {8000, 30000}),
		ONE(PROGRAM_DIE, ACTIVE, {5000, 9000})) },
	{ .name = "two_segments_hold", .nodes = 2, .weight = 2, .needs = NEED_HOLD,
	  LINES(TWO(SPLIT_TO, ACTIVE, FIRST, {0, 0}, {5000, 20000}),
		TWO(SPLIT_TO, FIRST, ACTIVE, {0, 0}, {5000, 20000}),
		ONE(ENGINE_STALL, ACTIVE, {0, 5000}, {500, 3000})) },
	{ .name = "two_segments_fence", .nodes = 2, .weight = 2, .needs = NEED_COMMAND,
	  LINES(TWO(SPLIT_TO, ACTIVE, FIRST, {0, 0}, {5000, 20000}),
		TWO(SPLIT_TO, FIRST, ACTIVE, {0, 0}, {5000, 20000}),
		ONE(KEEPER_STALL, ACTIVE, {0, 5000}, {500, 3000})) },
	{ .name = "crash_fence", .nodes = 2, .weight = 1, .needs = NEED_COMMAND,
	  LINES(ONE(HOST_CRASH, ACTIVE, {0, 0}, {3000, 20000}),
		ONE(KEEPER_STALL, FIRST, {3000, 6000}, {500, 4000})) },
	/* Two standbys that do not hear each other but for VRRP, and whose net is slow. */
	{ .name = "adverts_only", .nodes = 3, .weight = 3, .needs = NEED_EQUALS | NEED_ONE_PATH,
	  LINES(TWO(PEER_CUT_BOTH, FIRST, SECOND, {0, 0}, {9000, 14000}),
		ONE(NET_STALL, FIRST, {4500, 4800}, {3000, 5000}),
		ONE(NET_STALL, SECOND, {4500, 4800}, {3000, 5000}),
		ONE(HOST_CRASH, ACTIVE, {2000, 2000}, {15000, 25000})) },
	/* Two standbys that see each other's addresses, and nothing else of each other. */
	{ .name = "addresses_only", .nodes = 3, .weight = 2, .needs = NEED_EQUALS | NEED_ONE_PATH,
	  LINES(TWO(IP_CUT, FIRST, SECOND, {0, 0}, {9000, 14000}),
		ONE(HOST_CRASH, ACTIVE, {2000, 2000}, {15000, 25000})) },
	/* It starts alone, from an old number; then it is told of a newer one, and a program dies. */
	{ .name = "old_number", .nodes = 2, .weight = 1, .needs = NEED_SECONDS,
	  LINES(ONE(SUPD_STOP, FIRST, {0, 0}, {46000, 47000}),
		ONE(OP_FORCE, ACTIVE, {3000, 4000}), ONE(OP_FORCE, ACTIVE, {15000, 17000}),
		ONE(OP_FORCE, ACTIVE, {28000, 30000}),
		ONE(SUPD_STOP, ACTIVE, {40000, 41000}, {45000, 48000}),
		ONE(PROGRAM_DIE, FIRST, {93000, 98000})) },
	/* The one that goes first is not fit, for a soft reason; another one is. */
	{ .name = "unfit_first", .nodes = 3, .weight = 2,
	  LINES(ONE(CHECK_FAILS, FIRST, {0, 0}, {20000, 30000}),
		ONE(HOST_CRASH, ACTIVE, {2000, 6000}, {10000, 20000})) },
	/* Alone, and not fit: better than nobody. */
	{ .name = "unfit_alone", .nodes = 2, .weight = 1, .needs = NEED_SECONDS,
	  LINES(ONE(CHECK_FAILS, FIRST, {0, 0}, {110000, 120000}),
		ONE(CHECK_FAILS, SECOND, {0, 0}, {110000, 120000}),
		ONE(CHECK_FAILS, THIRD, {0, 0}, {110000, 120000}),
		ONE(HOST_CRASH, ACTIVE, {2000, 6000}, {90000, 100000})) },
	/* A node begins, with a higher number, in the middle of a takeover. */
	{ .name = "newcomer", .nodes = 3, .weight = 2,
	  LINES(ONE(SUPD_STOP, SECOND, {0, 0}, {5800, 7200}),
		ONE(HOST_CRASH, ACTIVE, {3000, 3000}, {15000, 25000})) },
	/* The standby that takes over is not heard by another one; a third hears both. */
	{ .name = "witness", .nodes = 3, .weight = 3,
	  LINES(TWO(IP_CUT_TO, FIRST, SECOND, {0, 0}, {9000, 20000}),
		ONE(OP_FAILOVER, ACTIVE, {500, 2000})) },
	{ .name = "witness_of_three", .nodes = 4, .weight = 2,
	  LINES(TWO(IP_CUT_TO, FIRST, SECOND, {0, 0}, {9000, 20000}),
		ONE(HOST_CRASH, ACTIVE, {500, 2000}, {15000, 25000})) },
	/* The active is silent for a while (its net hangs, a new engine has no sockets, nobody puts the
	 * address back); the standby is cut off just before it would be heard again. */
	{ .name = "cut_before_expiry", .nodes = 2, .weight = 4,
	  .needs = NEED_ONE_PATH | NEED_HIGH,
	  LINES(ONE(NET_STALL, ACTIVE, {0, 0}, {1550, 1700}),
		ONE(ADDRESS_TAKEN_OFF, ACTIVE, {10, 20}), ONE(ENGINE_KILL, ACTIVE, {20, 50}),
		ONE(CABLE_SILENT, FIRST, {1500, 1680}, {3000, 9000})) },
	/* A standby that has just started is cut off before a target has answered. */
	{ .name = "cut_newborn", .nodes = 2, .weight = 2, .needs = NEED_ONE_PATH,
	  LINES(ONE(SUPD_STOP, FIRST, {0, 0}, {5000, 6000}),
		ONE(GATEWAY_CUT, FIRST, {3000, 4000}, {20000, 22000}),
		ONE(CABLE_SILENT, FIRST, {6050, 6400}, {3400, 4400})) },
	/* Operators at bad moments. */
	{ .name = "two_failovers", .nodes = 2, .weight = 2,
	  LINES(ONE(OP_FAILOVER, ACTIVE, {0, 0}), ONE(OP_FAILOVER, FIRST, {0, 300}),
		ONE(OP_FAILOVER, FIRST, {0, 3000}), ONE(PROGRAM_DIE, FIRST, {0, 3000})) },
	{ .name = "stop_at_start", .nodes = 2, .weight = 1,
	  LINES(ONE(HOST_CRASH, ACTIVE, {0, 0}, {10000, 20000}),
		ONE(OP_STOP, FIRST, {2900, 4400}), ONE(OP_START, FIRST, {3000, 6000})) },
	{ .name = "reset_when_cut", .nodes = 2, .weight = 1,
	  LINES(ONE(PROGRAM_LOOP, ACTIVE, {0, 0}, {6000, 9000}),
		ONE(CABLE_SILENT, ACTIVE, {5000, 12000}, {4000, 12000}),
		ONE(OP_RESET, FIRST, {6000, 16000})) },
	{ .name = "paused_apart", .nodes = 2, .weight = 2,
	  LINES(ONE(CABLE_SILENT, FIRST, {0, 0}, {4000, 9000}),
		ONE(OP_PAUSE, ACTIVE, {500, 3000}), ONE(OP_RESUME, FIRST, {500, 6000}),
		ONE(HOST_CRASH, ACTIVE, {6000, 15000}, {10000, 20000})) },
	/* A cable that comes and goes. */
	{ .name = "flap", .nodes = 2, .weight = 2,
	  LINES(ONE(CABLE, ACTIVE, {0, 0}, {50, 800}), ONE(CABLE, ACTIVE, {900, 1500}, {50, 800}),
		ONE(CABLE, ACTIVE, {2400, 3500}, {50, 3000}),
		ONE(CABLE, FIRST, {0, 6000}, {50, 800})) },
};
#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

const struct family *family_named(const char *name)
{
	for (unsigned i = 0; i < N_FAMILIES; i++)
		if (!strcmp(families[i].name, name))
			return &families[i];
	return NULL;
}

static unsigned weight(const struct family *f, unsigned n_nodes)
{
	return f->nodes <= n_nodes ? f->weight : 0;
}

const struct family *family_draw(struct rng *r, unsigned n_nodes)
{
	unsigned total = 0, i = 0;
	uint64_t dice;

	for (unsigned k = 0; k < N_FAMILIES; k++)
		total += weight(&families[k], n_nodes);
	dice = rng_below(r, total);
	while (dice >= weight(&families[i], n_nodes))
		dice -= weight(&families[i++], n_nodes);
	return &families[i];
}

const char *family_name(const struct family *f)
{
	return f->name;
}

unsigned family_nodes(const struct family *f)
{
	return f->nodes;
}

void family_stage(const struct family *f, struct scenario *s)
{
	s->family = f->name;
	if (f->needs & NEED_SECONDS)
		s->advert_int = MTIME_SEC(1);
	if (f->needs & NEED_PLAIN) {
		s->n_programs = 1;
		s->wrapper = s->heavy = false;
	}
	if (f->needs & NEED_TWO)
		s->n_programs = 2;
	for (unsigned i = 0; f->needs & (NEED_HIGH | NEED_LOW) && i < s->n_nodes; i++)
		s->priority[i] = (uint8_t)((f->needs & NEED_HIGH ? 200 : 1) + s->priority[i] % 40);
	if (f->needs & (NEED_PATHS | NEED_ONE_PATH))
		s->paths = f->needs & NEED_PATHS ? 2 : 1;
	s->hold = f->needs & NEED_HOLD;
	s->fence_command = f->needs & NEED_COMMAND;
	s->two_segments = f->needs & NEED_TWO_SEGMENTS;
	for (unsigned i = 1; f->needs & NEED_EQUALS && i < s->n_nodes; i++) {
		s->priority[i] = s->priority[0];
		s->rate_ppm[i] = s->rate_ppm[0] + (int)i;
	}
}

static mtime draw_time(const struct scenario *s, struct rng *r, const int range[2])
{
	return rng_range(r, range[0] * (s->advert_int / 1000), range[1] * (s->advert_int / 1000) + 1);
}

static mtime add(struct scenario *s, const struct fault *f)
{
	if (f->at + f->length > s->quiet_from || s->n_faults >= WORLD_FAULTS_MAX - 3)
		return f->at;
	s->faults[s->n_faults++] = *f;
	return f->at + f->length;
}

mtime family_play(const struct family *f, struct scenario *s, struct rng *r, mtime t)
{
	struct fault tidy = { .role = ROLE_ACTIVE };
	mtime end = t;

	s->n_casts++;
	for (unsigned i = 0; i < f->n; i++) {
		const struct line *l = &f->lines[i];
		struct fault fault = { .type = l->type, .role = l->role, .other_role = l->other,
				       .cast = (uint8_t)s->n_casts, .paths = 3 };

		fault.at = t + draw_time(s, r, l->at);
		fault.length = l->length[1] ? draw_time(s, r, l->length) : 0;
		end = mtime_max(end, add(s, &fault));
	}
	tidy.at = end + rng_range(r, MTIME_SEC(4), MTIME_SEC(15));
	tidy.type = FAULT_HEAL;
	add(s, &tidy);
	return tidy.at;
}
