/* SPDX-License-Identifier: MIT */
#include "supd/config/loader.h"

#include <arpa/inet.h>
#include <stdarg.h>

#include "supd/config/build.h"
#include "supd/config/model.h"

/* The page that --check-config prints, and how many warnings are on it. */
struct report {
	const struct model *m;
	FILE *out;
	int warnings;
};

static void __attribute__((format(printf, 2, 3))) warn(struct report *r, const char *fmt, ...)
{
	va_list ap;

	r->warnings++;
	fputs("  warning: ", r->out);
	va_start(ap, fmt);
	vfprintf(r->out, fmt, ap);
	va_end(ap);
	fputc('\n', r->out);
}

static long long ms(mtime d)
{
	return (long long)mtime_to_ms(d);
}

/* ---- one node as the Active of a service ----------------------------------------------------- */

/* The peer whose priority makes D_min: the one that would come first. */
static int strongest_peer(const struct model *m, int self)
{
	int best = MODEL_NONE;

	for (int i = 0; i < (int)m->n_nodes; i++)
		if (i != self &&
		    (best == MODEL_NONE || model_node(m, (uint32_t)i)->priority >
						   model_node(m, (uint32_t)best)->priority))
			best = i;
	return best;
}

static bool fits(mtime advert_int, uint8_t priority)
{
	const struct budget_input in = {
		.advert_int = advert_int, .n_peers = 1, .peer_priorities = &priority};
	struct budget b;

	budget_compute(&in, &b);
	return b.tier0;
}

/* The shortest advert_int, not below this one, that fits; above the maximum: none does. */
static mtime shortest_advert_int(mtime a, uint8_t priority)
{
	while (a <= MTIME_MS(40950) && !fits(a, priority))
		a += MTIME_MS(10);
	return a;
}

/* Which key to change, and to what: either alone, or both together. */
static void print_remedy(struct report *r, mtime advert_int, int peer)
{
	const uint8_t modest = 100; /* the default */
	uint8_t priority = model_node(r->m, (uint32_t)peer)->priority, p = priority;
	const char *name = model_node_name(r->m, (uint32_t)peer);
	mtime a = shortest_advert_int(advert_int, priority);
	bool slower = a <= MTIME_MS(40950);

	while (p > 0 && !fits(advert_int, p))
		p--;
	fputs("    change: ", r->out);
	if (slower)
		fprintf(r->out, "advert_int to %lldms or more%s", ms(a), p > 0 ? ", or " : "");
	if (p > 0)
		fprintf(r->out, "priority of [node:%s] to %u or less", name, p);
	if (!slower && p == 0)
		fprintf(r->out, "priority of [node:%s] to %u, and advert_int to %lldms or more",
			name, modest, ms(shortest_advert_int(advert_int, modest)));
	fputc('\n', r->out);
}

static void print_inequality(struct report *r, bool holds, const char *text)
{
	fprintf(r->out, "    %s %s\n", holds ? "holds:" : "FAILS:", text);
}

static void print_active_on(struct report *r, uint32_t service, int self)
{
	const struct model_service *s = model_service(r->m, service);
	const char *name = model_node_name(r->m, (uint32_t)self);
	int peer = strongest_peer(r->m, self);
	mtime rest, tolerance;
	struct budget b;
	char text[160];

	build_budget(r->m, service, self, &b);
	rest = b.d_min - BUDGET_KILL;
	fprintf(r->out,
		"  active on %s: %s (priority %u) can start %lldms (D_min) after the last "
		"proof of contact, no sooner\n",
		name, model_node_name(r->m, (uint32_t)peer),
		model_node(r->m, (uint32_t)peer)->priority, ms(b.d_min));
	snprintf(text, sizeof(text),
		 "D_min - kill_budget = %lldms - %lldms = %lldms >= 2 advert_int = %lldms",
		 ms(b.d_min), ms(BUDGET_KILL), ms(rest), ms(2 * s->advert_int));
	print_inequality(r, rest >= 2 * s->advert_int, text);
	snprintf(text, sizeof(text),
		 "1.2 advert_int + two answers = %lldms < D_min - kill_budget = %lldms",
		 ms(b.renewal_need), ms(rest));
	print_inequality(r, b.renewal_fits, text);
	fprintf(r->out, "    programs are dead %lldms after the last proof of contact\n",
		ms(b.life));
	tolerance = b.life - b.renewal_need;
	if (tolerance > 0)
		fprintf(r->out,
			"    a stall of this host or its network of up to %lldms costs nothing, a "
			"longer one the service's life\n",
			ms(tolerance));
	if (b.tier0)
		return;
	print_remedy(r, s->advert_int, peer);
	warn(r,
	     "tier 0 is not reached while %s is active: a peer may start before the programs "
	     "there are dead",
	     name);
}

/* ---- what a service's keys leave open -------------------------------------------------------- */

static bool asks_only_nodes(const struct model *m, const struct model_service *s)
{
	for (unsigned i = 0; i < s->n_targets; i++)
		if (model_find_node_address(m, &s->targets[i]) == MODEL_NONE)
			return false;
	return s->isolation == MODEL_ISOLATION_LIST;
}

static void warn_addresses(struct report *r, const struct model_service *s)
{
	switch (s->vip_backend) {
	case MODEL_VIP_NETLINK:
		if (s->transport == MODEL_TRANSPORT_UDP)
		warn(r,
		     "the adverts go by the peer link (transport = udp, or nodes without an address of "
		     "the family of virtual_ipaddress): they are no evidence of their own");
	if (s->vip_lease == 0)
			warn(r, "vip_lease = off: the address stays on a host where all of supd "
				"was killed");
		if (!s->conflict_probe)
			warn(r, "conflict_probe = no: a host that lives while its supd is silent "
				"is not noticed by the address that it still has");
		break;
	case MODEL_VIP_COMMAND:
		warn(r, "vip_backend = command: no lease takes the address off a host where all "
			"of supd was killed, and no probe notices such a host by it");
		break;
	case MODEL_VIP_NONE:
		warn(r, "vip_backend = none: supd sets no address, and no probe notices by it a "
			"host that lives while its supd is silent");
		break;
	}
}

static void warn_service(struct report *r, uint32_t row)
{
	const struct model_service *s = model_service(r->m, row);
	struct budget b;

	if (s->isolation == MODEL_ISOLATION_OFF)
		warn(r,
		     "isolation_probe = off: an isolated host is not covered, it takes a cut cable "
		     "for a dead peer and starts a second instance");
	if (asks_only_nodes(r->m, s))
		warn(r,
		     "isolation_probe has only nodes: their silence proves nothing, so an isolated "
		     "host is not covered; add the gateway");
	if (!s->pid_namespace)
		warn(r,
		     "pid_namespace = no: tier 0 covers direct children only, what a program forks "
		     "may outlive a kill -9 of supd");
	warn_addresses(r, s);
	/* As this node reckons "auto": a default must not be complained of. */
	build_budget(r->m, row, r->m->self, &b);
	if (r->m->supd.engine_timeout > b.engine_timeout)
		warn(r,
		     "engine_timeout %lldms is more than %lldms (D_min / 3, at most 1s): a hung "
		     "engine may cost the service its life",
		     ms(r->m->supd.engine_timeout), ms(b.engine_timeout));
}

static bool all_linked(const struct model *m)
{
	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (!model_node(m, i)->peer_link)
			return false;
	return true;
}

static void print_tier(struct report *r, uint32_t row)
{
	const struct model_service *s = model_service(r->m, row);
	struct budget b;

	/* Where it holds for the strongest peer, it holds for each. */
	build_budget(r->m, row, MODEL_NONE, &b);
	if (r->m->n_nodes < 2)
		fputs("  tier 0: trivially, there is nobody to take over\n", r->out);
	else if (!b.tier0)
		fputs("  tier: none, the budget does not hold\n", r->out);
	else if (s->isolation == MODEL_ISOLATION_OFF || asks_only_nodes(r->m, s) ||
		 !s->pid_namespace || !all_linked(r->m))
		fputs("  tier 0 but for the warnings\n", r->out);
	else
		fputs("  tier 0: never two instances, given a probe target that answers\n", r->out);
}

static void print_service(struct report *r, uint32_t row)
{
	const struct model_service *s = model_service(r->m, row);

	char lease[32] = "off";

	if (s->vip_lease != 0)
		snprintf(lease, sizeof(lease), "%lldms", ms(s->vip_lease));
	fprintf(r->out, "service %s: advert_int %lldms, vip_lease %s, fence_timeout %lldms\n",
		model_service_name(r->m, row), ms(s->advert_int), lease, ms(s->fence_timeout));
	for (int i = 0; r->m->n_nodes > 1 && i < (int)r->m->n_nodes; i++)
		if (model_node(r->m, (uint32_t)i)->peer_link)
			print_active_on(r, row, i);
	warn_service(r, row);
	print_tier(r, row);
	if (s->fence_argv.count > 0)
		fprintf(r->out,
			"  tier 3: from a silent node nothing is taken over before fence_command has "
			"confirmed, within %lldms, that it is off\n",
			ms(s->fence_command_timeout));
}

/* ---- the cluster ----------------------------------------------------------------------------- */

/* Each node's last path stands in for those that it lacks. */
static void print_paths(struct report *r)
{
	unsigned least = MODEL_PATHS_MAX, most = 1;

	for (uint32_t i = 0; i < r->m->n_nodes; i++) {
		const struct model_node *n = model_node(r->m, i);
		unsigned paths = model_node_n_paths(n);

		if (!n->peer_link)
			continue;
		least = paths < least ? paths : least;
		most = paths > most ? paths : most;
	}
	if (most > 1 && least > 1)
		fprintf(r->out, "peer link: %u paths between all nodes\n", least);
	if (least < most)
		warn(r,
		     "some nodes have %u paths, others %u: a node with fewer is sent more than one "
		     "copy by its last path; give each node a peer_address on each network",
		     most, least);
}

static void warn_nodes(struct report *r)
{
	unsigned linked = 0;

	for (uint32_t i = 0; i < r->m->n_nodes; i++) {
		const struct model_node *n = model_node(r->m, i);

		linked += n->peer_link;
		if (!n->peer_link)
			warn(r,
			     "[node:%s] has peer_link = no: nothing is promised about its "
			     "processes",
			     model_node_name(r->m, i));
	}
	if (linked < 2)
		warn(r, "%u node with a peer link: nobody takes over what fails here", linked);
}

int loader_print_budget(const struct model *m, FILE *out)
{
	struct report r = {.m = m, .out = out};

	fprintf(out, "cluster %s: %u nodes, %u services, %u programs; this node: %s\n",
		model_str(m, m->supd.cluster), m->n_nodes, m->n_services, m->n_programs,
		m->self == MODEL_NONE ? "not found by its address"
				      : model_node_name(m, (uint32_t)m->self));
	fprintf(out, "engine_timeout %lldms\n", ms(m->supd.engine_timeout));
	print_paths(&r);
	warn_nodes(&r);
	for (uint32_t i = 0; i < m->n_services; i++)
		print_service(&r, i);
	return r.warnings;
}
