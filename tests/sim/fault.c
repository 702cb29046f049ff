/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * What a fault does to the world, and what its end undoes.  `broken` counts what lasts: while it
 * is not zero, nothing is promised about liveness.
 */

/* ---- network --------------------------------------------------------------------------------------- */

static void cut(struct world *w, enum path path, const struct fault *f, bool both, bool on)
{
	if (on)
		w->cut[path][f->host][f->other]++;
	else
		w->cut[path][f->host][f->other]--;
	if (!both)
		return;
	if (on)
		w->cut[path][f->other][f->host]++;
	else
		w->cut[path][f->other][f->host]--;
}

static void count(uint8_t *n, bool on)
{
	if (on)
		(*n)++;
	else
		(*n)--;
}

static void carrier(struct world *w, struct host *h, bool lost)
{
	count(&w->no_carrier[h->row], lost);
	if (h->engine.alive && h->net_alive)
		engine_post(w, h, world_noise(w, MTIME_MS(1), MTIME_MS(10)), INPUT_LINK);
}

/* Somebody between the two hears both: then nothing need pass between them.  Decided at the begin. */
static bool has_witness(struct world *w, const struct fault *f, bool on)
{
	bool *has = &w->witnessed[f - w->scenario.faults];

	/* A family knows whether a third one is there. */
	if (f->cast && f->type == FAULT_IP_CUT_TO)
		return true;
	for (unsigned i = 0; on && i < w->scenario.n_nodes; i++)
		if (i != f->host && i != f->other)
			*has |= w->hosts[i].engine.alive &&
				w->hosts[i].engine.fsm.state == SERVICE_STATE_BACKUP;
	return *has;
}

static void cut_ip(struct world *w, const struct fault *f, bool on)
{
	bool both = f->type == FAULT_IP_CUT;

	cut(w, PATH_VRRP, f, both, on);
	cut(w, PATH_PEER, f, both, on);
	cut(w, PATH_PEER2, f, both, on);
	if (f->type == FAULT_SPLIT_TO || has_witness(w, f, on))
		cut(w, PATH_ARP, f, both, on);
}

static void network_fault(struct world *w, const struct fault *f, bool on)
{
	struct host *h = &w->hosts[f->host];

	switch ((int)f->type) {
	case FAULT_CABLE:
		carrier(w, h, on);
		count(&w->tx_dead[f->host], on);
		count(&w->rx_dead[f->host], on);
		break;
	case FAULT_CABLE_SILENT:
		count(&w->tx_dead[f->host], on);
		count(&w->rx_dead[f->host], on);
		break;
	case FAULT_TX_DEAD:
		count(&w->tx_dead[f->host], on);
		break;
	case FAULT_RX_DEAD:
		count(&w->rx_dead[f->host], on);
		break;
	case FAULT_VRRP_CUT:
	case FAULT_VRRP_CUT_BOTH:
		cut(w, PATH_VRRP, f, f->type == FAULT_VRRP_CUT_BOTH, on);
		break;
	case FAULT_PEER_CUT:
	case FAULT_PEER_CUT_BOTH:
		if (f->paths & 1)
			cut(w, PATH_PEER, f, f->type == FAULT_PEER_CUT_BOTH, on);
		if (f->paths & 2)
			cut(w, PATH_PEER2, f, f->type == FAULT_PEER_CUT_BOTH, on);
		break;
	case FAULT_IP_CUT:
	case FAULT_IP_CUT_TO:
	case FAULT_SPLIT_TO:
		cut_ip(w, f, on);
		break;
	case FAULT_GATEWAY_CUT:
		count(&w->gateway_cut[f->host], on);
		break;
	case FAULT_GATEWAY_DOWN:
		count(&w->gateway_down, on);
		break;
	case FAULT_STRANGER:
		count(&w->stranger, on);
		break;
	case FAULT_FORGER:
		count(&w->forger, on);
		break;
	case FAULT_LOSS:
		w->loss_permille = on ? f->permille : 0;
		break;
	case FAULT_SLOW:
		w->slow = on ? w->scenario.advert_int / 10 : 0;
		break;
	default:
		break;
	}
}

/* ---- operators -------------------------------------------------------------------------------------- */

static void command(struct world *w, struct host *h, enum service_command c, bool force)
{
	struct input *in;

	if (!h->engine.alive || !h->engine.ready)
		return;
	in = engine_post(w, h, MTIME_MS(1), INPUT_COMMAND);
	in->command.command = c;
	in->command.force = force;
}

static void command_all(struct world *w, enum service_command c)
{
	for (unsigned i = 0; i < w->scenario.n_nodes; i++)
		command(w, &w->hosts[i], c, false);
}

static struct host *active_host(struct world *w)
{
	for (unsigned i = 0; i < w->scenario.n_nodes; i++)
		if (w->hosts[i].engine.alive &&
		    w->hosts[i].engine.fsm.state == SERVICE_STATE_ACTIVE)
			return &w->hosts[i];
	return NULL;
}

/* A person who forces has looked: nothing runs, nothing is cut. */
static void force(struct world *w, struct host *h)
{
	struct host *active = active_host(w);

	if (w->net_broken)
		return;
	if (active) {
		if (!w->scenario.hold) /* who would begin again? */
			command(w, active, SERVICE_CMD_FAILOVER, true);
		return;
	}
	for (unsigned i = 0; i < w->scenario.n_nodes; i++)
		if (host_lives(&w->hosts[i]) || w->tx_dead[i] || w->rx_dead[i])
			return;
	command(w, h, SERVICE_CMD_TAKE, true);
}

static void operator_fault(struct world *w, const struct fault *f)
{
	struct host *h = &w->hosts[f->host], *active = active_host(w);

	switch ((int)f->type) {
	case FAULT_OP_FAILOVER:
		if (active)
			command(w, active, SERVICE_CMD_FAILOVER, false);
		break;
	case FAULT_OP_FORCE:
		force(w, h);
		break;
	case FAULT_OP_STOP:
		command(w, h, SERVICE_CMD_STOP, false);
		break;
	case FAULT_OP_STOP_HERE:
		command(w, h, SERVICE_CMD_STOP_HERE, false);
		break;
	case FAULT_OP_START:
		command(w, h, SERVICE_CMD_START, false);
		break;
	case FAULT_OP_RESET:
		command_all(w, SERVICE_CMD_RESET);
		break;
	case FAULT_OP_PAUSE:
		command(w, h, SERVICE_CMD_PAUSE, false);
		break;
	case FAULT_OP_RESUME:
		command(w, h, SERVICE_CMD_RESUME, false);
		break;
	case FAULT_HEAL:
		command_all(w, SERVICE_CMD_RESET);
		command_all(w, SERVICE_CMD_START);
		command_all(w, SERVICE_CMD_RESUME);
		break;
	default:
		break;
	}
}

/* ---- processes --------------------------------------------------------------------------------------- */

static void supd_kill(struct world *w, struct host *h)
{
	if (!h->keeper.alive && !h->engine.alive)
		return;
	h->engine.alive = h->engine.stalled = false;
	h->engine.life++;
	h->engine.backlog.n = 0;
	if (h->keeper.alive)
		keeper_die(w, h);
	else
		host_supd_gone(w, h);
}

static void supd_stop(struct world *w, struct host *h)
{
	h->stay_down = true;
	h->keeper.ending = true;
	if (h->keeper.alive && h->engine.alive)
		engine_post(w, h, MTIME_MS(1), INPUT_SHUTDOWN);
}

static void check_fails(struct world *w, struct host *h, bool on)
{
	h->checks_failed = on ? h->checks_failed + 1 : h->checks_failed - 1;
	if (h->engine.alive && h->engine.ready && !h->engine.stalled)
		glue_fitness(w, h);
}

static void process_fault(struct world *w, const struct fault *f)
{
	struct host *h = &w->hosts[f->host];

	switch ((int)f->type) {
	case FAULT_ENGINE_KILL:
		engine_die(w, h);
		break;
	case FAULT_ENGINE_STALL:
		engine_stall(w, h, f->length);
		break;
	case FAULT_KEEPER_KILL:
		keeper_die(w, h);
		break;
	case FAULT_KEEPER_STALL:
		keeper_stall(w, h, f->length);
		break;
	case FAULT_SUPD_KILL:
		supd_kill(w, h);
		break;
	case FAULT_SUPD_STOP:
		supd_stop(w, h);
		break;
	case FAULT_HOST_CRASH:
		host_crash(w, h);
		break;
	case FAULT_NET_KILL:
		host_net_kill(w, h);
		break;
	case FAULT_NET_STALL:
		h->net_free_at = mtime_max(h->net_free_at, w->now + f->length);
		break;
	case FAULT_SCRIBE_KILL:
		host_scribe_kill(w, h);
		break;
	case FAULT_DISK_HANG:
		h->disk_free_at = mtime_max(h->disk_free_at, w->now + f->length);
		break;
	case FAULT_DISK_FAIL:
		h->disk_ok_at = mtime_max(h->disk_ok_at, w->now + f->length);
		break;
	case FAULT_CHECK_FAILS:
		check_fails(w, h, true);
		break;
	case FAULT_PROGRAM_DIE:
		keeper_program_dies(w, h, (unsigned)rng_below(&w->rng, w->scenario.n_programs),
				    w->scenario.wrapper && rng_permille(&w->rng, 500));
		break;
	case FAULT_PROGRAM_LOOP:
		h->sane_at = mtime_max(h->sane_at, w->now + f->length);
		for (unsigned i = 0; i < w->scenario.n_programs; i++)
			keeper_program_dies(w, h, i, false);
		break;
	case FAULT_ADDRESS_TAKEN_OFF:
		host_vip_remove(w, h, true);
		break;
	default:
		break;
	}
}

/* ---- what lasts --------------------------------------------------------------------------------------- */

static bool of_pair(enum fault_type t)
{
	return t == FAULT_VRRP_CUT || t == FAULT_PEER_CUT || t == FAULT_VRRP_CUT_BOTH ||
	       t == FAULT_PEER_CUT_BOTH || t == FAULT_IP_CUT || t == FAULT_IP_CUT_TO ||
	       t == FAULT_SPLIT_TO;
}

static bool of_net(enum fault_type t)
{
	return of_pair(t) || t == FAULT_TX_DEAD || t == FAULT_RX_DEAD || t == FAULT_LOSS ||
	       t == FAULT_SLOW || t == FAULT_STRANGER || t == FAULT_FORGER ||
	       t == FAULT_GATEWAY_DOWN;
}

static bool of_nobody(enum fault_type t)
{
	return of_net(t) && !of_pair(t) && t != FAULT_TX_DEAD && t != FAULT_RX_DEAD;
}

static void mark(struct world *w, const struct fault *f, bool on)
{
	struct host *h = &w->hosts[f->host];

	h->well_since = w->now;
	/* A stopped engine is replaced at once: no reason not to run the service. */
	if (f->length && f->type != FAULT_ENGINE_STALL && f->type != FAULT_CHECK_FAILS)
		h->broken = on ? h->broken + 1 : h->broken - 1;
	if (!of_net(f->type))
		return;
	w->net_well_since = w->now;
	w->net_broken = on ? w->net_broken + 1 : w->net_broken - 1;
}

static void tell(struct world *w, const struct fault *f, const char *more)
{
	const struct host *h = of_nobody(f->type) || f->type == FAULT_HEAL ? NULL
									   : &w->hosts[f->host];

	if (of_pair(f->type))
		STORY(w, h, "%s** %s %c", more, fault_words(f->type), story_name(f->other));
	else
		STORY(w, h, "%s** %s", more, fault_words(f->type));
}

/*
 * Tier 0 needs a target that answers: who has not heard one since it started, and is cut off (once
 * more), cannot tell that from the death of the others.
 */
static bool uncovered(const struct world *w, const struct fault *f)
{
	const struct host *h = &w->hosts[f->host];
	bool cuts = f->type == FAULT_CABLE || f->type == FAULT_CABLE_SILENT ||
		    f->type == FAULT_TX_DEAD || f->type == FAULT_RX_DEAD ||
		    f->type == FAULT_GATEWAY_CUT;

	if (f->type == FAULT_GATEWAY_DOWN)
		for (unsigned i = 0; i < w->scenario.n_nodes; i++)
			if (w->hosts[i].keeper.alive && !w->hosts[i].engine.fsm.target_answered)
				return true;
	return cuts && h->keeper.alive && !h->engine.fsm.target_answered;
}

/* ---- casts -------------------------------------------------------------------------------------------- */

static bool goes_before(const struct world *w, unsigned a, int b)
{
	return b < 0 || w->scenario.priority[a] > w->scenario.priority[b] ||
	       (w->scenario.priority[a] == w->scenario.priority[b] && a > (unsigned)b);
}

/* The standby that would take over first, of those that have no role yet. */
static int next_standby(const struct world *w, const struct cast *c)
{
	int best = -1;

	for (unsigned i = 0; i < w->scenario.n_nodes; i++) {
		bool taken = false;

		for (unsigned r = 0; r < ROLES_END; r++)
			taken |= c->who[r] == (int)i;
		if (!taken && w->hosts[i].engine.alive &&
		    w->hosts[i].engine.fsm.state == SERVICE_STATE_BACKUP &&
		    goes_before(w, i, best))
			best = (int)i;
	}
	return best;
}

static void bind_cast(struct world *w, struct cast *c)
{
	const struct host *active = active_host(w);

	c->bound = true;
	for (unsigned r = 0; r < ROLES_END; r++)
		c->who[r] = -1;
	c->who[ROLE_ACTIVE] = active ? active->row : -1;
	for (unsigned r = ROLE_FIRST; active && r < ROLES_END; r++)
		c->who[r] = next_standby(w, c);
}

/* Who it meets; false: nobody plays that now. */
static bool find_host(struct world *w, struct fault *f)
{
	struct cast *c = &w->casts[f->cast];

	if (!f->cast)
		return true;
	if (!c->bound)
		bind_cast(w, c);
	if (c->who[f->role] < 0 || (of_pair(f->type) && c->who[f->other_role] < 0))
		return false;
	f->host = (uint8_t)c->who[f->role];
	f->other = of_pair(f->type) ? (uint8_t)c->who[f->other_role] : 0;
	return true;
}

/* ---- begin and end ------------------------------------------------------------------------------------ */

void fault_begin(struct world *w, unsigned number)
{
	struct fault *f = &w->scenario.faults[number];

	w->left_out[number] = !find_host(w, f) || (!f->cast && uncovered(w, f));
	if (w->left_out[number])
		return;
	w->faults_done++;
	tell(w, f, "");
	mark(w, f, true);
	network_fault(w, f, true);
	process_fault(w, f);
	operator_fault(w, f);
	if (f->type == FAULT_HEAL)
		for (unsigned i = 0; i < w->scenario.n_nodes; i++)
			w->hosts[i].well_since = w->now;
}

void fault_end(struct world *w, unsigned number)
{
	const struct fault *f = &w->scenario.faults[number];
	struct host *h = &w->hosts[f->host];

	if (w->left_out[number])
		return;
	tell(w, f, "over: ");
	mark(w, f, false);
	network_fault(w, f, false);
	if (f->type == FAULT_CHECK_FAILS)
		check_fails(w, h, false);
	if (f->type == FAULT_HOST_CRASH)
		host_boot(w, h);
	if (f->type == FAULT_SUPD_STOP) {
		h->stay_down = false;
		host_supd_start(w, h);
	}
}
