/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SERVICE_KIT_H
#define TESTS_UNIT_SERVICE_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "supd/core/service_fsm.h"

/*
 * One service_fsm of node a (row 0) among two or three nodes, with a clock of its own.  The kit
 * plays the shell: persisting succeeds at once unless told otherwise, everything else is the
 * test's to say.
 */
#define ADV MTIME_SEC(1)

struct kit {
	struct service_fsm s;
	mtime now;
	struct service_actions acts; /* of the last step */
	bool disk_ok;
};

static inline struct service_config kit_config(unsigned n_nodes)
{
	struct service_config c = {
		.self = 0,
		.n_nodes = n_nodes,
		.advert_int = ADV,
		.vip_lease = MTIME_SEC(3),
		.wait_for_peer = MTIME_SEC(60),
		.fence_timeout = MTIME_MS(50),
		.failure_reset = MTIME_NEVER,
		.failback = MTIME_NEVER,
		.isolation = MODEL_ISOLATION_AUTO,
		.n_vips = 1,
		.conflict_probe = true,
		.digest = 77,
	};
	for (unsigned i = 0; i < n_nodes; i++)
		c.nodes[i] = (struct service_node){.priority = (uint8_t)(150 - 50 * i),
						   .address = 0xc000020bu + i,
						   .peer_link = true};
	return c;
}

static inline bool kit_did(const struct kit *k, enum service_action_type type)
{
	for (unsigned i = 0; i < k->acts.n; i++) {
		if (k->acts.a[i].type == type)
			return true;
	}
	return false;
}

static inline const struct service_action *kit_act(const struct kit *k,
						   enum service_action_type type)
{
	for (unsigned i = 0; i < k->acts.n; i++) {
		if (k->acts.a[i].type == type)
			return &k->acts.a[i];
	}
	fail_msg("action %d was not emitted", type);
	return &k->acts.a[0];
}

static inline void kit_raw(struct kit *k, const struct service_event *ev)
{
	service_step(&k->s, ev, k->now, &k->acts);
	assert_true(k->acts.n < SERVICE_ACTIONS_MAX);
	if (!service_check(&k->s))
		fail_msg("invariant broken by event %d: state %s phase %d vrrp %s may_run %d "
			 "term %llu quiesced %llu term_seen %llu",
			 ev->type, service_state_name(k->s.state), k->s.phase,
			 vrrp_state_name(k->s.vrrp.state), k->s.may_run,
			 (unsigned long long)k->s.term, (unsigned long long)k->s.quiesced,
			 (unsigned long long)k->s.persist.term_seen);
}

static inline void kit_step(struct kit *k, struct service_event ev)
{
	k->acts.n = 0;
	kit_raw(k, &ev);
	for (unsigned i = 0; i < k->acts.n && k->disk_ok; i++) {
		if (k->acts.a[i].type != SERVICE_ACT_PERSIST)
			continue;
		struct service_event done = {.type = SERVICE_EV_PERSISTED,
					     .seq = k->acts.a[i].seq,
					     .ok = true};
		kit_raw(k, &done);
	}
}

static inline void kit_tick(struct kit *k, mtime later)
{
	k->now += later;
	kit_step(k, (struct service_event){.type = SERVICE_EV_TICK});
}

static inline struct service_report kit_report(enum service_state state, uint64_t term)
{
	return (struct service_report){.state = state,
				       .priority = 100,
				       .fit = true,
				       .running = state == SERVICE_STATE_ACTIVE,
				       .ready = state == SERVICE_STATE_ACTIVE,
				       .term = term,
				       .term_seen = term,
				       .digest = 77};
}

/* A HELLO of the peer that echoes what we sent a moment ago. */
static inline void kit_hello(struct kit *k, unsigned peer, struct service_report r)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_HELLO,
					   .peer = peer,
					   .report = &r,
					   .echoed = k->now - MTIME_MS(1)});
}

static inline void kit_gateway(struct kit *k)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_PROBE_ANSWER,
					   .sent_at = k->now - MTIME_MS(1)});
}

static inline void kit_term(struct kit *k, enum service_event_type type, unsigned peer,
			    uint64_t term)
{
	kit_step(k, (struct service_event){.type = type,
					   .peer = peer,
					   .term = term,
					   .successor = MODEL_NODES_MAX,
					   .echoed = k->now - MTIME_MS(1)});
}

static inline void kit_command(struct kit *k, enum service_command c)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_COMMAND, .command = c});
}

static inline void kit_quiesced(struct kit *k, uint64_t term)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_QUIESCED, .term = term});
}

static inline void kit_addresses(struct kit *k, bool adding, bool ok)
{
	kit_step(k, (struct service_event){.type = SERVICE_EV_ADDRESSES,
					   .adding = adding,
					   .ok = ok});
}

static inline void kit_boot(struct kit *k, unsigned n_nodes)
{
	struct service_config c = kit_config(n_nodes);
	struct service_persist none = {0};

	memset(k, 0, sizeof(*k));
	k->now = MTIME_SEC(1000);
	k->disk_ok = true;
	service_init(&k->s, &c, k->now);
	kit_step(k, (struct service_event){.type = SERVICE_EV_LINK, .ok = true});
	kit_step(k, (struct service_event){.type = SERVICE_EV_SOCKETS, .ok = true});
	kit_step(k, (struct service_event){.type = SERVICE_EV_LOADED, .persist = &none});
	assert_int_equal(k->s.state, SERVICE_STATE_WAITING);
}

/* Backup beside an active b of term 2, the gateway answering. */
static inline void kit_backup(struct kit *k)
{
	kit_boot(k, 2);
	kit_gateway(k);
	kit_hello(k, 1, kit_report(SERVICE_STATE_ACTIVE, 2));
	assert_int_equal(k->s.state, SERVICE_STATE_BACKUP);
}

/* Through FENCED, addresses and ready to active; b is a fit Backup. */
static inline void kit_finish_takeover(struct kit *k)
{
	assert_int_equal(k->s.state, SERVICE_STATE_TAKING_OVER);
	kit_term(k, SERVICE_EV_FENCED, 1, k->s.term);
	assert_true(kit_did(k, SERVICE_ACT_ADDRESSES_ADD));
	kit_addresses(k, true, true);
	assert_true(kit_did(k, SERVICE_ACT_PROGRAMS_START));
	kit_step(k, (struct service_event){.type = SERVICE_EV_PROGRAMS_READY});
	assert_int_equal(k->s.state, SERVICE_STATE_ACTIVE);
}

static inline void kit_active(struct kit *k)
{
	kit_boot(k, 2);
	kit_gateway(k);
	kit_hello(k, 1, kit_report(SERVICE_STATE_WAITING, 0));
	kit_finish_takeover(k);
	struct service_report r = kit_report(SERVICE_STATE_BACKUP, 0);
	r.term_seen = k->s.term;
	kit_hello(k, 1, r);
}

#endif
