/* SPDX-License-Identifier: MIT */
#ifndef SUPD_IPC_MSG_H
#define SUPD_IPC_MSG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ip_addr.h"
#include "common/mtime.h"
#include "supd/config/model.h"

/*
 * What the processes of supd say to each other.
 *
 *   engine -> keeper   FEED START SIGNAL KILL QUIESCE BATON DONE HOOK HOOK_KILL REEXEC NOTE
 *   keeper -> engine   WELCOME RUN BATON READY FED SPAWNED SPAWN_FAILED EXITED GONE QUIESCED
 *                      CHANNEL SHUTDOWN HOOK_DONE REEXEC_FAILED NOTIFY MAIN
 *   keeper -> net      CHANNEL                     keeper -> scribe   CHANNEL STREAM
 *   engine -> net      OPEN_PEER OPEN_SERVICE ADDRESS ROUTES
 *   net -> engine      PEER_SOCKET SERVICE_SOCKETS ADDRESS_RESULT ADDRESS_LOST LINK GATEWAY
 *   engine -> scribe   STATE_LOAD STATE_SAVE LOGS  scribe -> engine   STATE STATE_SAVED
 *
 * `generation` grows with each engine.  The keeper drops whatever carries another generation than
 * that of the engine it started last, and so do net and scribe (CHANNEL tells them the newest).
 * `order` numbers what the engine asks for; a result repeats it.
 * Services, programs and nodes are rows of the model.
 *
 * No message has a hole: what a compiler leaves in one is what was on the stack before, and the
 * keeper's stack is nothing that the engine should see.  Hence `pad`, which initialisers clear.
 */
#define IPC_TYPES(X)                                                                               \
	X(FEED) X(START) X(SIGNAL) X(KILL) X(QUIESCE) X(BATON) X(DONE)                             \
	X(WELCOME) X(RUN) X(READY) X(FED) X(SPAWNED) X(SPAWN_FAILED) X(EXITED) X(GONE)             \
	X(QUIESCED) X(CHANNEL) X(SHUTDOWN) X(STREAM)                                               \
	X(OPEN_PEER) X(OPEN_SERVICE) X(ADDRESS) X(ROUTES)                                          \
	X(PEER_SOCKET) X(SERVICE_SOCKETS) X(ADDRESS_RESULT) X(ADDRESS_LOST) X(LINK) X(GATEWAY)     \
	X(STATE_LOAD) X(STATE_SAVE) X(STATE) X(STATE_SAVED) X(LOGS)                                \
	X(HOOK) X(HOOK_DONE) X(HOOK_KILL) X(REEXEC) X(REEXEC_FAILED) X(NOTE) X(NOTIFY) X(MAIN)

enum ipc_type {
	IPC_NONE,
#define X(name) IPC_##name,
	IPC_TYPES(X)
#undef X
	IPC_TYPES_END
};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

struct ipc_header {
	uint32_t type; /* enum ipc_type */
	uint32_t generation;
};

#define IPC_BATON_MAX 1024
/* The slot of a baton: a service's row, or the node's own. */
#define IPC_BATON_NODE 0xffffffffu
/* No service in a message about a program that runs on every node. */
#define IPC_NO_SERVICE MODEL_NONE

/* ---- engine -> keeper ------------------------------------------------------------------- */

/*
 * I am alive.  For each service with something running: the moment at which the keeper must have
 * killed it unless fed a later one (BOOTTIME; MTIME_NEVER: none).  Deadlines stay in force when
 * the engine dies.  A service that is not listed keeps its deadline.  Answered by FED.
 */
struct ipc_feed {
	struct ipc_header h;
	uint64_t seq;
	uint32_t n, pad;
	struct {
		int32_t service;
		uint32_t pad;
		mtime kill_at;
	} kill[MODEL_SERVICES_MAX];
};

/*
 * Start a program.  Refused (SPAWN_FAILED, stage "order") when `valid_until` has passed, when term
 * is not above the service's quiesced term, or when it still runs.  The child looks at valid_until again just
 * before execve.  kill_at: the service's kill deadline, as in FEED.
 */
struct ipc_start {
	struct ipc_header h;
	uint64_t order;
	int32_t program;
	uint32_t pad;
	uint64_t term;
	mtime valid_until;
	mtime kill_at;
	char cause[16]; /* SUPD_CAUSE */
};

/* Send signo to the main process of the program's run. */
struct ipc_signal {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
	int32_t signo;
};

/* Kill the whole tree of the run (cgroup.kill).  GONE follows when it is empty. */
struct ipc_kill {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
};

/*
 * Kill everything of the service, its guard included, and refuse every START of it with a term not
 * above `term` from now on.  Answered by QUIESCED when all is dead (each run's EXITED and GONE
 * follow as they come).  Nothing running: answered at once.
 */
struct ipc_quiesce {
	struct ipc_header h;
	uint64_t order;
	int32_t service;
	uint32_t pad;
	uint64_t term;
};

/* Both ways: a record that the keeper keeps, never reads, and hands to the next engine. */
struct ipc_baton {
	struct ipc_header h;
	uint32_t slot;
	uint32_t len;
	uint8_t data[IPC_BATON_MAX];
};

/* What the keeper keeps of a run for the next engine, which is told in its RUN. */
struct ipc_note {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
	uint32_t ready; /* 1: it was ready */
	uint32_t pad;
};

/* The engine has released everything: the keeper ends supd. */
struct ipc_done {
	struct ipc_header h;
};

/*
 * Replace every process of supd by the binary that stands at its path now, and keep the programs.
 * REEXEC_FAILED answers; success is the end of this engine, and a new one's WELCOME.
 */
struct ipc_reexec {
	struct ipc_header h;
	uint64_t order;
};

/* ---- keeper -> engine ------------------------------------------------------------------- */

/*
 * First message to a new engine, then a RUN for each program with something alive, a BATON for
 * each record, CHANNEL for net and scribe, READY.
 * Descriptors: [0] cgroup.kill of the keeper's own leaf, [1] cgroup.kill of all programs' tree,
 * [2] cgroup.events of that tree; none without cgroup v2.
 */
struct ipc_welcome {
	struct ipc_header h; /* generation: the engine's own */
	pid_t keeper_pid;
	uint32_t image; /* 0, and one more with each replacement in place */
	mtime started;	     /* of supd */
	uint32_t engine_restarts;
	bool has_cgroup, has_cgroup_kill;
	uint8_t pad_cgroup[2];
	char cgroup[256]; /* path of the tree below its mount */
	char mount[256];  /* of cgroup v2 */
};

/*
 * What runs: main process alive, or its tree not yet gone (pid 0).  One that is gone, and whose
 * post_stop has not been run, is told too, with its GONE behind it.
 */
struct ipc_run {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
	uint64_t term;
	pid_t pid; /* the host's */
	uint32_t ready; /* of its NOTE */
	mtime started;
};

struct ipc_ready {
	struct ipc_header h;
};

struct ipc_fed {
	struct ipc_header h;
	uint64_t seq;
};

/* execve has succeeded. */
struct ipc_spawned {
	struct ipc_header h;
	uint64_t order;
	int32_t program;
	uint32_t run;
	pid_t pid;
	uint32_t pad;
	mtime at;
};

/* Stages of a start, for last_error: what failed, and why (errno; 0 for order and deadline). */
#define IPC_STAGES(X)                                                                              \
	X(ORDER, "order") X(GUARD, "guard") X(CGROUP, "cgroup") X(CLONE, "clone")                  \
	X(NAMESPACE, "namespace") X(LOG, "log") X(GROUP, "group") X(USER, "user")                  \
	X(DIRECTORY, "directory") X(DEADLINE, "deadline") X(EXEC, "exec")                          \
	X(PRE_START, "pre_start") X(RLIMIT, "rlimit")

enum ipc_stage {
#define X(name, text) IPC_STAGE_##name,
	IPC_STAGES(X)
#undef X
	IPC_STAGES_END
};
const char *ipc_stage_name(enum ipc_stage s);

struct ipc_spawn_failed {
	struct ipc_header h;
	uint64_t order;
	int32_t program;
	uint32_t stage; /* enum ipc_stage */
	int32_t error;	/* errno, positive */
	uint32_t pad;
};

/* type = forking: what was started has ended, and this is the run's main process from now on. */
struct ipc_main {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
	pid_t pid; /* the host's */
	uint32_t pad;
};

/* The main process is dead and reaped; the rest of its tree may live until GONE. */
struct ipc_exited {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
	int32_t code;	/* exit code, or -1: killed by signo */
	int32_t signo;
	bool killed_by_deadline;
	uint8_t pad[7];
};

/* The run's cgroup is empty, and nothing that left it lives in the service's PID namespace. */
struct ipc_gone {
	struct ipc_header h;
	int32_t program;
	uint32_t run;
};

/* Everything of the service is dead (SIGKILL pending everywhere); orders up to term are refused. */
struct ipc_quiesced {
	struct ipc_header h;
	uint64_t order;
	int32_t service;
	uint32_t pad;
	uint64_t term;
	mtime at;
	bool by_deadline; /* unasked: the keeper's own doing at kill_at; order is 0 */
	uint8_t pad_end[7];
};

enum ipc_role { IPC_ROLE_NET, IPC_ROLE_SCRIBE };

/*
 * To the engine: descriptor [0] is the new end towards that role (it was started anew, or you
 * were).  To net or scribe: descriptor [0] is the end towards the engine of that generation.
 */
struct ipc_channel {
	struct ipc_header h;
	uint32_t role; /* enum ipc_role */
};

/* Nothing has changed, but perhaps net, scribe and engine were started anew. */
struct ipc_reexec_failed {
	struct ipc_header h;
	uint64_t order;
	char why[256];
};

/*
 * After WELCOME: descriptor [0] is the socket (SOCK_DGRAM, SO_PASSCRED) that a program with
 * ready = notify or health = notify finds in NOTIFY_SOCKET.  It is the same for every engine and
 * every run: what nobody has read yet waits in it.
 */
struct ipc_notify {
	struct ipc_header h;
	int32_t program;
	uint32_t pad;
};

/* supd is to end: hand over, release, then DONE. */
struct ipc_shutdown {
	struct ipc_header h;
};

/* ---- keeper -> scribe ------------------------------------------------------------------- */

/*
 * The two pipes of one output of a program.  Descriptors: [0] program pipe (read end),
 * [1] stage (read end), [2] stage (write end).  Sent again for every stream to a new scribe.
 */
struct ipc_stream {
	struct ipc_header h;
	int32_t program;
	int32_t output; /* 0: stdout (and stderr if redirected), 1: stderr */
};

/* ---- engine <-> net ----------------------------------------------------------------------- */

/*
 * Open the peer link's sockets, UDP, peer_port: one for each path of this node (model_node_path()).
 * PEER_SOCKET answers for each.
 */
struct ipc_open_peer {
	struct ipc_header h;
};

/*
 * Open the sockets of a service and tell its link's state, now and at every change (LINK).
 * SERVICE_SOCKETS answers, again whenever the interface was created anew.
 */
struct ipc_open_service {
	struct ipc_header h;
	int32_t service;
};

enum ipc_address_op { IPC_ADDRESS_ADD, IPC_ADDRESS_REFRESH, IPC_ADDRESS_REMOVE };

/*
 * All virtual addresses of a service.  ADD and REFRESH set the lease; a REFRESH that is carried
 * out after `valid_until` removes them instead (a late refresh would bring a lost address back).
 * REMOVE of an absent address succeeds.  ADDRESS_RESULT answers.
 */
struct ipc_address {
	struct ipc_header h;
	uint64_t order;
	int32_t service;
	uint32_t op; /* enum ipc_address_op */
	mtime valid_until;
};

/* Tell the default gateway of each service's interface (GATEWAY), now and at every change. */
struct ipc_routes {
	struct ipc_header h;
};

/* [0]: UDP socket; error: errno, positive, then no descriptor (net tries again by itself, 1 s). */
struct ipc_peer_socket {
	struct ipc_header h;
	int32_t error;
	uint32_t path; /* bound to this path's address */
};

/*
 * [0] VRRP receive and send (raw protocol 112, IP_HDRINCL off, TTL 255, bound to the node's address and to the
 * interface; received datagrams begin with the IPv4 header); [1] ARP (AF_PACKET/SOCK_RAW, bound to the interface, filter ARP
 * only and locked); [2], with addresses of IPv6 to set or to ask only, neighbour discovery likewise.  error: errno, positive, then no descriptors; net tries again by itself.
 */
struct ipc_service_sockets {
	struct ipc_header h;
	int32_t service;
	int32_t error;
	uint32_t ifindex;
	uint8_t mac[6], pad[2];
};

struct ipc_address_result {
	struct ipc_header h;
	uint64_t order;
	int32_t service;
	uint32_t op;
	int32_t error; /* errno of the first address that failed, positive; 0: done */
	uint32_t present; /* bit i: vips[i] is on the interface */
};

/* An address of the service was taken off the interface by somebody else, or its lease ended. */
struct ipc_address_lost {
	struct ipc_header h;
	int32_t service;
	uint32_t vip;
};

struct ipc_link {
	struct ipc_header h;
	int32_t service;
	bool exists, up; /* up: IFF_UP and IFF_RUNNING */
	uint8_t pad[2];
	uint32_t ifindex;
	uint8_t mac[6];
	bool router; /* of IPv6: forwards */
	uint8_t pad_end;
	struct ip_addr link_local; /* none: there is none that is ready */
};

struct ipc_gateway {
	struct ipc_header h;
	int32_t service;
	struct ip_addr address[2]; /* IPv4, IPv6; none: no gateway on that interface */
};

/* ---- engine <-> scribe ---------------------------------------------------------------------- */

#define IPC_STATE_MAX 61440 /* 255 services fit */

struct ipc_state_load {
	struct ipc_header h;
};

/* Replace state_dir/NODE.state: temporary file, fsync, rename, fsync of the directory. */
struct ipc_state_save {
	struct ipc_header h;
	uint64_t seq;
	uint32_t len, pad;
	char text[IPC_STATE_MAX];
};

/* The file's content; error ENOENT: there is none yet. */
struct ipc_state {
	struct ipc_header h;
	int32_t error;
	uint32_t len;
	char text[IPC_STATE_MAX];
};

struct ipc_state_saved {
	struct ipc_header h;
	uint64_t seq;
	int32_t error; /* errno, positive */
	uint32_t pad;
};

/*
 * A client of the control socket asks for a program's log: descriptor [0] is its connection, and
 * the scribe's from now on.  It gets the last `lines` lines, then what comes (scribe/tails.h).
 */
struct ipc_logs {
	struct ipc_header h;
	int32_t program;
	int32_t output; /* as in STREAM */
	uint32_t lines;
	bool follow;
	uint8_t pad[3];
};

#pragma GCC diagnostic pop

#endif
