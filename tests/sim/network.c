/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

/*
 * Paths between hosts.  A path is cut by kind (VRRP, peer link, ARP) and direction, or with the
 * whole interface.  What a path lets through is delayed, and, as the scenario has it, lost,
 * repeated or overtaken.
 */

static bool path_open(const struct world *w, enum path path, unsigned from, unsigned to)
{
	bool own = path == PATH_PEER2; /* interfaces of its own, without faults */

	return !w->cut[path][from][to] && w->hosts[to].up &&
	       (own || (!w->tx_dead[from] && !w->rx_dead[to]));
}

bool network_peer_open(const struct world *w, unsigned from, unsigned to)
{
	return path_open(w, PATH_PEER, from, to) ||
	       (w->scenario.paths > 1 && path_open(w, PATH_PEER2, from, to));
}

static bool lost(struct world *w)
{
	return w->loss_permille && rng_permille(&w->rng, w->loss_permille);
}

static mtime flight(struct world *w)
{
	const struct scenario *s = &w->scenario;
	mtime d = s->delay + world_noise(w, 0, s->jitter);

	return w->slow ? d + world_noise(w, 0, w->slow) : d;
}

/* One after the other, as a rule; some overtake. */
static mtime in_order(struct world *w, enum path path, unsigned from, unsigned to)
{
	mtime at = w->now + flight(w), *last = &w->last_arrival[path][from][to];

	if (!rng_permille(&w->rng, w->slow ? 100 : 20))
		at = mtime_max(at, *last + 1);
	*last = mtime_max(at, *last);
	return at - w->now;
}

/* How many copies of one packet arrive. */
static unsigned copies(struct world *w)
{
	if (lost(w))
		return 0;
	return rng_permille(&w->rng, 2) ? 2 : 1;
}

void network_letter(struct world *w, const struct host *from, unsigned to, const struct letter *l)
{
	for (unsigned i = 0; i < w->scenario.paths; i++) {
		enum path path = i == 0 ? PATH_PEER : PATH_PEER2;

		if (!path_open(w, path, from->row, to))
			continue;
		for (unsigned n = copies(w); n > 0; n--) {
			struct input *in = engine_post(w, &w->hosts[to],
						       in_order(w, path, from->row, to),
						       INPUT_LETTER);

			in->from = from->row;
			in->letter = *l;
		}
	}
}

void network_advert(struct world *w, const struct host *from, uint8_t priority)
{
	for (unsigned to = 0; to < w->scenario.n_nodes; to++) {
		if (to == from->row || !path_open(w, PATH_VRRP, from->row, to))
			continue;
		for (unsigned n = copies(w); n > 0; n--) {
			struct input *in = engine_post(w, &w->hosts[to],
						       in_order(w, PATH_VRRP, from->row, to),
						       INPUT_ADVERT);

			in->from = from->row;
			in->advert.priority = priority;
			in->advert.interval = w->scenario.advert_int;
		}
	}
}

/* By somebody who is on the network, about as often as the host looks around. */
static void forge_adverts(struct world *w, struct host *to)
{
	for (unsigned from = 0; from < w->scenario.n_nodes; from++) {
		struct input *in;

		if (from == to->row || w->rx_dead[to->row] || lost(w))
			continue;
		in = engine_post(w, to, flight(w), INPUT_ADVERT);
		in->from = (uint8_t)from;
		in->advert.priority = (uint8_t)rng_range(&w->rng, 0, 255);
		in->advert.interval = rng_range(&w->rng, MTIME_MS(10), MTIME_SEC(40));
	}
}

/* ---- ARP ------------------------------------------------------------------------------------------ */

static bool gateway_open(const struct world *w, unsigned host)
{
	return !w->gateway_down && !w->gateway_cut[host] && !w->tx_dead[host] && !w->rx_dead[host];
}

/* A question and its answer: two chances to be lost, one input when both arrive. */
static struct input *answer(struct world *w, struct host *asker, enum input_type type)
{
	if (lost(w) || lost(w))
		return NULL;
	return engine_post(w, asker, flight(w) + flight(w), type);
}

static bool asks_and_hears(const struct world *w, unsigned asker, unsigned other)
{
	return path_open(w, PATH_ARP, asker, other) && path_open(w, PATH_ARP, other, asker);
}

static void probe_answer(struct world *w, struct host *from, unsigned target, bool is_node)
{
	mtime sent_at = host_now(w, from);
	struct input *in = answer(w, from, INPUT_PROBE_ANSWER);

	if (!in)
		return;
	in->from = (uint8_t)target;
	in->probe.sent_at = sent_at;
	in->probe.is_node = is_node;
}

void network_probe_targets(struct world *w, struct host *from)
{
	if (w->forger)
		forge_adverts(w, from);
	if (gateway_open(w, from->row))
		probe_answer(w, from, 0, false);
	for (unsigned n = 0; n < w->scenario.n_nodes; n++)
		if (n != from->row && asks_and_hears(w, from->row, n))
			probe_answer(w, from, n, true);
}

static void conflict(struct world *w, struct host *asker, unsigned from,
		     enum service_conflict kind)
{
	struct input *in;

	if (w->scenario.tooth == TOOTH_CONFLICT)
		return;
	in = answer(w, asker, INPUT_CONFLICT);
	if (!in)
		return;
	in->from = (uint8_t)from;
	in->conflict = kind;
}

void network_probe_address(struct world *w, struct host *from)
{
	for (unsigned n = 0; n < w->scenario.n_nodes; n++)
		if (n != from->row && asks_and_hears(w, from->row, n) &&
		    host_has_vip(w, &w->hosts[n]))
			conflict(w, from, n,
				 from->engine.mac_known[n] ? SERVICE_CONFLICT_NODE
							   : SERVICE_CONFLICT_UNKNOWN);
	if (w->stranger && !w->tx_dead[from->row] && !w->rx_dead[from->row])
		conflict(w, from, 0, SERVICE_CONFLICT_UNKNOWN);
}
