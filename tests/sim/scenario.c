/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <errno.h>

#include "supd/core/budget.h"

/*
 * A scenario is drawn from its seed, whole and before it begins: taking one fault out leaves the
 * others as they are.
 *
 * Only what tier 0 covers is drawn.  Excluded are: both hosts reach the gateway and neither hears
 * the other nor its answer for the address, and no third one hears both; the whole of supd stopped
 * while a program runs (engine and keeper of one host together); a path dead in one direction
 * together with whatever else keeps FENCE from arriving; a host that starts without a probe target
 * and is cut off before one answers.  Hence the reach of each fault, and admitted().
 */

enum reach { REACH_ONCE, REACH_PROC, REACH_HOST, REACH_NET, REACH_ALONE };

static const struct {
	const char *words;
	enum reach reach;
	unsigned weight;
} traits[] = {
#define X(name, text, r, w) [FAULT_##name] = { .words = text, .reach = REACH_##r, .weight = w },
	FAULTS(X)
#undef X
};

const char *fault_words(enum fault_type t)
{
	return traits[t].words;
}

/* ---- the stage ---------------------------------------------------------------------------------- */

static mtime draw_advert(struct rng *r)
{
	uint64_t dice = rng_below(r, 100);

	if (dice < 8)
		return MTIME_MS(100);
	if (dice < 20)
		return MTIME_MS(10) * (mtime)(20 + rng_below(r, 60));
	return MTIME_SEC(1);
}

static void draw_stage(struct scenario *s, struct rng *r)
{
	s->advert_int = draw_advert(r);
	s->vip_lease = MTIME_SEC(3);
	s->wait_for_peer = rng_range(r, MTIME_SEC(5), MTIME_SEC(15));
	s->restart_delay_max = rng_range(r, MTIME_SEC(2), MTIME_SEC(10));
	s->n_programs = rng_permille(r, 300) ? 2 : 1;
	s->wrapper = rng_permille(r, 500);
	s->heavy = rng_permille(r, 500);
	s->delay = rng_range(r, MTIME_US(30), MTIME_US(300));
	s->jitter = rng_range(r, MTIME_US(10), s->advert_int / 500);
	s->failback = rng_permille(r, 150) ? rng_range(r, MTIME_SEC(5), MTIME_SEC(30)) : MTIME_NEVER;
	s->paths = rng_permille(r, 250) ? 2 : 1;
	s->hold = rng_permille(r, 80);
	s->fence_command = rng_permille(r, 80);
	s->details = rng_permille(r, 300);
	for (unsigned i = 0; i < s->n_nodes; i++) {
		s->priority[i] = (uint8_t)(rng_permille(r, 300) ? 100 : 50 + rng_below(r, 200));
		s->rate_ppm[i] = (int)rng_below(r, 9800) - 4900;
		s->boot_at[i] = rng_permille(r, 500) ? 0 : rng_range(r, 0, MTIME_SEC(10));
	}
}

/* A higher one leaves no room for tier 0 (budget.c): 2 advert_int and the kill before D_min. */
static uint8_t highest_priority(mtime advert_int)
{
	mtime need = (2 * advert_int + BUDGET_KILL) * 100 / 99 - 2 * advert_int;

	return (uint8_t)(255 - need * 256 / advert_int);
}

static void keep_tier0(struct scenario *s)
{
	uint8_t highest = highest_priority(s->advert_int);

	for (unsigned i = 0; i < s->n_nodes; i++)
		if (s->priority[i] > highest)
			s->priority[i] = highest;
}

/* ---- faults --------------------------------------------------------------------------------------- */

/* What is under way while faults are drawn in the order of their times. */
struct drawing {
	struct scenario *s;
	struct rng r;
	mtime t, gap;
	mtime proc_until[WORLD_NODES_MAX], host_until[WORLD_NODES_MAX];
	mtime lasting_until, alone_until, cut_until, gateway_until;
	unsigned weights[FAULTS_END], total;
};

static mtime down(const struct scenario *s)
{
	return 4 * s->advert_int;
}

static mtime draw_length(struct drawing *d, enum fault_type t)
{
	struct rng *r = &d->r;
	mtime a = d->s->advert_int;

	switch (t) {
	case FAULT_ENGINE_STALL:
	case FAULT_KEEPER_STALL:
		return rng_permille(r, 300) ? rng_range(r, MTIME_MS(5), a)
					    : rng_range(r, down(d->s) / 2, 5 * down(d->s));
	case FAULT_NET_STALL:
	case FAULT_DISK_HANG:
	case FAULT_DISK_FAIL:
		return rng_range(r, MTIME_MS(50), MTIME_SEC(15));
	case FAULT_HOST_CRASH:
	case FAULT_SUPD_STOP:
		return rng_range(r, MTIME_SEC(2), MTIME_SEC(60));
	case FAULT_CHECK_FAILS:
		return rng_range(r, MTIME_SEC(1), MTIME_SEC(60));
	case FAULT_PROGRAM_LOOP:
		return rng_range(r, MTIME_SEC(1), MTIME_SEC(40));
	case FAULT_CABLE:
	case FAULT_CABLE_SILENT:
	case FAULT_TX_DEAD:
	case FAULT_RX_DEAD:
	case FAULT_VRRP_CUT:
	case FAULT_PEER_CUT:
	case FAULT_VRRP_CUT_BOTH:
	case FAULT_PEER_CUT_BOTH:
	case FAULT_IP_CUT:
	case FAULT_IP_CUT_TO:
	case FAULT_SPLIT_TO:
	case FAULT_GATEWAY_CUT:
	case FAULT_GATEWAY_DOWN:
	case FAULT_LOSS:
	case FAULT_SLOW:
	case FAULT_STRANGER:
	case FAULT_FORGER:
		return rng_permille(r, 400) ? rng_range(r, a / 4, 2 * down(d->s))
					    : rng_range(r, down(d->s), MTIME_SEC(40));
	case FAULT_ENGINE_KILL:
	case FAULT_KEEPER_KILL:
	case FAULT_SUPD_KILL:
	case FAULT_NET_KILL:
	case FAULT_SCRIBE_KILL:
	case FAULT_PROGRAM_DIE:
	case FAULT_ADDRESS_TAKEN_OFF:
	case FAULT_OP_FAILOVER:
	case FAULT_OP_FORCE:
	case FAULT_OP_STOP:
	case FAULT_OP_STOP_HERE:
	case FAULT_OP_START:
	case FAULT_OP_PAUSE:
	case FAULT_OP_RESUME:
	case FAULT_OP_RESET:
	case FAULT_HEAL:
	case FAULTS_END:
		break;
	}
	return 0;
}

/* Each scenario has its own taste: most kinds of faults stay away from it. */
static void draw_taste(struct drawing *d)
{
	bool all = rng_permille(&d->r, 250);

	for (unsigned i = 0; i < FAULTS_END; i++) {
		if (all || rng_permille(&d->r, 300))
			d->weights[i] = traits[i].weight;
		d->total += d->weights[i];
	}
	if (!d->total)
		d->total = d->weights[FAULT_HOST_CRASH] = 1;
}

static enum fault_type draw_type(struct drawing *d)
{
	uint64_t dice = rng_below(&d->r, d->total);
	unsigned i = 0;

	while (dice >= d->weights[i])
		dice -= d->weights[i++];
	return (enum fault_type)i;
}

/* A program or an operator may act beside anything. */
static bool harmless(enum fault_type t)
{
	return t == FAULT_PROGRAM_DIE || t == FAULT_PROGRAM_LOOP || t == FAULT_CHECK_FAILS || t >= FAULT_OP_FAILOVER;
}

static bool cuts_off(enum fault_type t)
{
	return t == FAULT_CABLE || t == FAULT_CABLE_SILENT;
}

static bool takes_gateway(enum fault_type t)
{
	return t == FAULT_GATEWAY_CUT || t == FAULT_GATEWAY_DOWN;
}

static bool admitted(const struct drawing *d, const struct fault *f)
{
	enum reach reach = traits[f->type].reach;

	if (harmless(f->type))
		return true;
	if (f->at < d->alone_until)
		return false;
	if (reach == REACH_ALONE)
		return f->at >= d->lasting_until;
	if (reach == REACH_PROC && f->at < d->proc_until[f->host])
		return false;
	/* Tier 0 needs a target that answers: who starts without one cannot tell a cut from a death. */
	if ((cuts_off(f->type) && f->at < d->gateway_until) ||
	    (takes_gateway(f->type) && f->at < d->cut_until))
		return false;
	/* A stopped keeper and a cut together are two faults against one budget. */
	if (f->type == FAULT_KEEPER_STALL)
		return f->at >= d->host_until[f->host];
	return true;
}

static void note(struct drawing *d, const struct fault *f)
{
	enum reach reach = traits[f->type].reach;
	mtime settled = f->at + f->length + 3 * down(d->s) + MTIME_SEC(2);

	if (harmless(f->type))
		return;
	if (reach == REACH_ALONE)
		d->alone_until = settled;
	if (cuts_off(f->type))
		d->cut_until = mtime_max(d->cut_until, settled);
	if (takes_gateway(f->type))
		d->gateway_until = mtime_max(d->gateway_until, settled);
	if (reach == REACH_PROC)
		d->proc_until[f->host] = f->at + f->length + MTIME_SEC(3);
	d->host_until[f->host] = mtime_max(d->host_until[f->host], settled);
	d->lasting_until = mtime_max(d->lasting_until, settled);
	if (f->type == FAULT_KEEPER_STALL) /* nothing else on this host until it is over */
		d->alone_until = mtime_max(d->alone_until, f->at + f->length);
}

static void add(struct drawing *d, const struct fault *f)
{
	if (d->s->n_faults < WORLD_FAULTS_MAX - 3)
		d->s->faults[d->s->n_faults++] = *f;
}

/* What a person stopped, a person starts again. */
static void add_remedy(struct drawing *d, const struct fault *f)
{
	struct fault remedy = { .host = (uint8_t)rng_below(&d->r, d->s->n_nodes) };

	remedy.at = f->at + rng_range(&d->r, MTIME_SEC(1), MTIME_SEC(40));
	if (f->type == FAULT_OP_STOP)
		remedy.type = FAULT_OP_START;
	else if (f->type == FAULT_OP_STOP_HERE)
		remedy.type = FAULT_OP_RESET;
	else if (f->type == FAULT_OP_PAUSE)
		remedy.type = FAULT_OP_RESUME;
	else
		return;
	add(d, &remedy);
}

static void draw_fault(struct drawing *d)
{
	struct scenario *s = d->s;
	struct fault f = { .at = d->t, .type = draw_type(d),
			   .host = (uint8_t)rng_below(&d->r, s->n_nodes) };

	f.other = (uint8_t)((f.host + 1 + rng_below(&d->r, s->n_nodes - 1)) % s->n_nodes);
	f.length = mtime_min(draw_length(d, f.type), s->quiet_from - f.at);
	f.paths = (uint8_t)(1 + rng_below(&d->r, 3));
	f.permille = (uint16_t)(20 + rng_below(&d->r, 180));
	if (!admitted(d, &f))
		return;
	note(d, &f);
	add(d, &f);
	add_remedy(d, &f);
}

static void draw_at_random(struct drawing *d)
{
	struct scenario *s = d->s;

	keep_tier0(s);
	draw_taste(d);
	d->gap = rng_range(&d->r, MTIME_SEC(2), MTIME_SEC(40));
	d->t = rng_range(&d->r, MTIME_SEC(1), MTIME_SEC(40));
	while (d->t < s->quiet_from) {
		draw_fault(d);
		d->t += rng_permille(&d->r, 200) ? rng_range(&d->r, 0, 2 * s->advert_int)
						 : rng_range(&d->r, 0, 2 * d->gap);
	}
}

/* Boot, and what comes back after each time, has time to settle. */
static void draw_family(struct drawing *d, const struct family *f)
{
	struct scenario *s = d->s;
	mtime settle = s->wait_for_peer + MTIME_SEC(15);

	family_stage(f, s);
	keep_tier0(s);
	d->t = settle;
	while (d->t < s->quiet_from - MTIME_SEC(10) && s->n_casts < WORLD_CASTS_MAX)
		d->t = family_play(f, s, &d->r, d->t + rng_range(&d->r, 0, settle)) + settle;
}

static unsigned draw_nodes(struct rng *r)
{
	uint64_t dice = rng_below(r, 100);

	return dice < 50 ? 2 : dice < 80 ? 3 : 4;
}

static void heal(struct scenario *s)
{
	struct fault f = { .at = s->quiet_from, .type = FAULT_HEAL };

	s->faults[s->n_faults++] = f;
	f.type = FAULT_OP_FORCE; /* a person confirms what silence alone may not */
	for (unsigned i = 0; s->hold && i < 2 && s->n_faults < WORLD_FAULTS_MAX; i++) {
		f.at += MTIME_SEC(15);
		f.host = (uint8_t)i;
		s->faults[s->n_faults++] = f;
	}
}

int scenario_draw(struct scenario *ret, uint64_t seed, unsigned n_nodes, unsigned minutes,
		  const char *family)
{
	struct drawing d = { .s = ret, .r = { seed * 0x2545f4914f6cdd1du + 1 } };
	unsigned nodes = draw_nodes(&d.r);
	const struct family *f = family ? family_named(family) : NULL;

	if (family && !f)
		return -EINVAL;
	*ret = (struct scenario){ .seed = seed, .n_nodes = n_nodes ? n_nodes : nodes,
				  .length = MTIME_SEC(60) * (mtime)minutes };
	if (f && ret->n_nodes < family_nodes(f))
		ret->n_nodes = family_nodes(f);
	if (!f && rng_permille(&d.r, 500))
		f = family_draw(&d.r, ret->n_nodes);
	draw_stage(ret, &d.r);
	ret->quiet_from = ret->length - MTIME_SEC(100);
	if (f)
		draw_family(&d, f);
	else
		draw_at_random(&d);
	heal(ret);
	return 0;
}
