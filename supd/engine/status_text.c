/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <stdio.h>
#include <string.h>

/*
 * Alarms and reasons in words.  Codes are for programs; what differs between nodes is said with the
 * names of the nodes that differ.
 */

/* What it means, and what to do: read by somebody who was woken up. */
#define ALARM_TEXTS(X)                                                                             \
	X(NO_STANDBY, "no other node could take over if this one failed; start supd there, or "    \
		      "clear its failure: supctl reset there")                                     \
	X(PERSON_NEEDED, "it failed here, and no other node can run it: nothing is started again " \
			 "by itself; find the reason in the programs' logs, then: supctl reset "   \
			 "--all")                                                                  \
	X(VRRP_PATH, "the active node is heard on the peer link, but its VRRP adverts are not: "   \
		     "let IP protocol 112 pass between the nodes (firewall, switch)")              \
	X(PEER_LINK, "VRRP adverts are heard, but nothing on the peer link: let UDP peer_port "    \
		     "pass, and compare cluster name and key file on the nodes")                   \
	X(CONFIG_DIFFERS, "nodes, virtual_router_id, addresses or intervals differ between the "   \
			  "nodes: put the same file on all of them and restart supd")              \
	X(NO_TARGET, "no address but the nodes' has ever answered a probe, so a cut-off host "     \
		     "cannot tell that it is cut off: set isolation_probe")                        \
	X(CONFLICT, "another machine answers for the virtual address: find its MAC in the "        \
		    "switch and take the address off it")                                          \
	X(ACTIVE_FILTERED, "the active node is silent, but still answers for the virtual "         \
			   "address: stop that host, or: supctl failover --force")                 \
	X(ADDRESS, "the virtual address could not be put on the interface: the log has the "       \
		   "error; the service runs without it")                                           \
	X(UNKILLABLE, "a killed program does not go away, it waits inside the kernel (a dead "     \
		      "disk or NFS server?); it executes nothing any more")                        \
	X(STATE_FILE, "the state file cannot be read or written (disk full, read-only, hanging? "  \
		      "file damaged? the log says): this node cannot take over until it can")      \
	X(BUDGET, "with these priorities and intervals an isolated node may not stop before "      \
		  "another starts: see supd --check-config")                                       \
	X(WAIT_FOR_PEER, "since boot neither another node nor any probe target has answered, so "  \
			 "nothing is started; if the others are down: supctl failover --force")    \
	X(HELD,                                                                                    \
	  "the active node is silent, and on_peer_silence = hold: make sure that it is dead, "     \
	  "then supctl failover --force")                                                          \
	X(VRRP_REFUSED, "a plain VRRP router speaks with our virtual_router_id, but its adverts "   \
			"are refused: the log says what differs; nothing is taken over meanwhile") \
	X(FENCE_FAILED, "fence_command could not confirm that the silent node is off, so nothing " \
			"is started; it is tried again; if that node is off for certain: "         \
			"supctl failover --force")                                                 \
	X(CONFIG_FILE, "the configuration files of the nodes differ: put the same file on all of " \
		       "them and restart supd; a node with another file than the active one's "    \
		       "takes over only where no other is left")                                   \
	X(ACTIVE_UNFIT, "this node was not fit for the service when it took it over (a check, "    \
			"load, memory, or another configuration file than the service ran under "  \
			"before), but no fit node was left")

#define UNFIT_TEXTS(X)                                                                             \
	X(FAILED, "it failed here too often; supctl reset clears that")                            \
	X(PAUSED, "a person paused it; supctl resume ends that")                                   \
	X(STOPPED, "a person stopped it; supctl start ends that")                                  \
	X(LINK, "the interface is down or missing")                                                \
	X(ISOLATED, "this host hears no node and no probe target answers")                         \
	X(DIGEST, "nodes, addresses or intervals differ from a peer's")                            \
	X(STATE_FILE, "the state file cannot be read or written")                                  \
	X(ENDING, "supd is ending")                                                                \
	X(SOCKETS, "the VRRP or ARP socket could not be opened")                                   \
	X(FILE, "the configuration file is not the one that the service runs under")               \
	X(CHECK, "a check fails")                                                                  \
	X(LOAD, "the load average is above max_load")                                              \
	X(MEMORY, "less memory is available than reserved_memory")

static const char *alarm_text(enum service_alarm a)
{
	switch (a) {
#define X(name, text)                                                                              \
	case SERVICE_ALARM_##name:                                                                 \
		return text;
		ALARM_TEXTS(X)
#undef X
	case SERVICE_ALARMS_END:
		break;
	}
	return "";
}

static const char *unfit_text(enum service_unfit u)
{
	switch (u) {
#define X(name, text)                                                                              \
	case SERVICE_UNFIT_##name:                                                                 \
		return text;
		UNFIT_TEXTS(X)
#undef X
	case SERVICE_UNFITS_END:
		break;
	}
	return "";
}

/* ", on b and c": the nodes in contact whose file differs in what is meant; else "". */
static void add_differing(const struct service_fsm *s, const struct model *m,
			  enum service_unfit what, char *buf, size_t size)
{
	char nodes[200] = "";
	size_t len = strlen(buf);

	for (uint32_t p = 0; p < s->config.n_nodes; p++) {
		if (service_peer_differs(s, p, mtime_now(), what))
			control_list_add(nodes, sizeof(nodes), model_node_name(m, p));
	}
	if (nodes[0] != '\0')
		snprintf(buf + len, size - len, " (another one on: %s)", nodes);
}

void control_alarm_text(const struct engine *e, uint32_t row, enum service_alarm a, char *buf,
			size_t size)
{
	snprintf(buf, size, "%s", alarm_text(a));
	if (a == SERVICE_ALARM_CONFIG_DIFFERS)
		add_differing(&e->services[row].fsm, e->m, SERVICE_UNFIT_DIGEST, buf, size);
	else if (a == SERVICE_ALARM_CONFIG_FILE)
		add_differing(&e->services[row].fsm, e->m, SERVICE_UNFIT_FILE, buf, size);
}

void control_unfit_text(const struct engine *e, uint32_t row, enum service_unfit u, char *buf,
			size_t size)
{
	const struct service_fsm *s = &e->services[row].fsm;

	snprintf(buf, size, "%s", unfit_text(u));
	/* A person bars one node, or stops it everywhere: two commands that undo it. */
	if (u == SERVICE_UNFIT_STOPPED && !s->persist.stopped)
		snprintf(buf, size,
			 "a person stopped it on this node (stop --here); supctl start %s "
			 "on this node ends that",
			 model_service_name(e->m, row));
	else if (u == SERVICE_UNFIT_DIGEST || u == SERVICE_UNFIT_FILE)
		add_differing(s, e->m, u, buf, size);
}
