/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_SIM_TRAFFIC_H
#define SUPD_TESTS_SIM_TRAFFIC_H

#include "supd/core/peer_fsm.h"
#include "supd/core/service_fsm.h"
#include "tests/sim/scenario.h"

/* ---- what travels -------------------------------------------------------------------------------- */

enum path { PATH_VRRP, PATH_PEER, PATH_PEER2, PATH_ARP };

/* A datagram of the peer link, as peer_msg would decode it. */
struct letter {
	struct peer_header h;
	bool answer; /* HELLO */
	union {
		struct service_report report;
		struct {
			uint64_t term;
			uint8_t successor;
			bool ending;
		} term;
	};
};

/* Whatever an engine reads from one of its sockets. */
enum input_type {
	INPUT_LETTER, INPUT_ADVERT, INPUT_PROBE_ANSWER, INPUT_CONFLICT,
	INPUT_READY,  /* keeper: records are complete */
	INPUT_SPAWNED, INPUT_SPAWN_FAILED, INPUT_EXITED, INPUT_GONE, INPUT_QUIESCED,
	INPUT_KEEPER_DEAD, INPUT_SHUTDOWN, INPUT_HOOK_DONE,
	INPUT_SOCKETS, INPUT_LINK, INPUT_ADDRESSES, INPUT_ADDRESS_LOST,
	INPUT_STATE, INPUT_SAVED, INPUT_SCRIBE_NEW, INPUT_NET_NEW,
	INPUT_COMMAND,
};

struct input {
	enum input_type type;
	uint8_t from; /* node */
	union {
		struct letter letter;
		struct {
			uint8_t priority;
			mtime interval;
		} advert;
		struct {
			mtime sent_at;
			bool is_node;
		} probe;
		enum service_conflict conflict;
		struct {
			uint8_t program;
			uint32_t run;
			uint64_t order;
			struct program_exit exit;
			unsigned stage;
		} run;
		struct {
			uint64_t term;
			bool by_deadline;
		} quiesced;
		struct {
			bool ok, adding;
			uint64_t order;
		} net;
		struct {
			uint64_t seq;
			bool ok;
			struct service_persist persist;
		} scribe;
		struct {
			enum service_command command;
			bool force;
		} command;
		struct {
			uint64_t order;
			bool ok;
		} hook;
	};
};

/* Engine to keeper. */
enum order_type { ORDER_FEED, ORDER_START, ORDER_SIGNAL, ORDER_KILL, ORDER_QUIESCE, ORDER_BATON,
		  ORDER_HOOK, ORDER_DONE };

struct order {
	enum order_type type;
	uint8_t program;
	uint8_t node; /* HOOK: whom to fence */
	uint32_t run;
	int signo;
	uint64_t order, term;
	uint64_t known; /* highest term that the engine had heard of when it ordered a start */
	mtime valid_until, kill_at;
	struct service_baton baton;
};

/* ---- the queue -------------------------------------------------------------------------------------- */

enum event_type {
	EVENT_FAULT, EVENT_FAULT_END, EVENT_CALM,
	EVENT_HOST_BOOT, EVENT_SUPD_START, EVENT_KEEPER_BORN,
	EVENT_ENGINE_BORN, EVENT_ENGINE_WAKE, EVENT_ENGINE_INPUT, EVENT_ENGINE_RESUME,
	EVENT_KEEPER_ORDER, EVENT_KEEPER_HOOK, EVENT_KEEPER_DEADLINE, EVENT_KEEPER_WATCH, EVENT_KEEPER_RESUME,
	EVENT_RUN_EXEC, EVENT_RUN_DIE, EVENT_RUN_REAPED, EVENT_RUN_GONE,
	EVENT_NET_ORDER, EVENT_NET_BORN, EVENT_VIP_CHECK,
	EVENT_SCRIBE_WRITTEN, EVENT_SCRIBE_BORN,
};

struct event {
	mtime at;
	uint64_t seq;
	enum event_type type;
	uint8_t host;
	uint32_t life; /* of the process it is for: void when that has ended */
	uint32_t number; /* fault; run (with program) */
	uint8_t program;
	union {
		struct input input;
		struct order order;
		struct {
			bool adding, refresh;
			mtime valid_until;
			uint64_t order;
		} net;
		struct {
			uint64_t seq;
			struct service_persist persist;
		} scribe;
	};
};

struct queue {
	struct event *pool;
	uint32_t *heap, *unused;
	unsigned n, cap, n_unused;
	uint64_t seq;
};

#endif
