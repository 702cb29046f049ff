/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_ENGINE_H
#define SUPD_ENGINE_ENGINE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/core/check_fsm.h"
#include "supd/core/peer_fsm.h"
#include "supd/core/peer_paths.h"
#include "supd/core/program_group.h"
#include "supd/core/service_fsm.h"
#include "supd/core/vrrp_packet.h"
#include "supd/engine/ask.h"
#include "supd/engine/details.h"
#include "supd/engine/ratelimit.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"
#include "supd/ipc/msg_hook.h"

/*
 * The head of supd: one event loop, no blocking call, no capability, no fork.
 *
 * The shells meet only here, through this struct: each module owns its part of it and the
 * functions below are all that the others may call.  Every input ends in one of
 *   engine_service_event(e, row, &event)    -> service_step()  -> service_io.c carries out
 *   engine_program_event(e, row, &event)    -> program_step()  -> program_io.c carries out
 * which re-arm the object's timer from its deadline afterwards.  Both may be called from within
 * each other's actions: events are queued, never nested.
 */

struct control;	     /* control.c */
struct engine_queue; /* engine_queue.c */
struct engine;

struct link { /* to one other process */
	struct channel channel;
	struct ev_io reader, writer;
	struct engine *engine;
	void (*on_readable)(struct engine *);
};

/* Wrap an fd in a link and start reading; on_readable is called until the socket is drained. */
void link_open(struct engine *e, struct link *l, int fd, void (*on_readable)(struct engine *));
void link_close(struct link *l);
/* channel_send, and watch for writability where something was queued.  -ENOTCONN without an fd. */
int link_send(struct link *l, const void *msg, size_t len);
/* The same with a descriptor, which stays the caller's. */
int link_send_fd(struct link *l, const void *msg, size_t len, int fd);

/* Whom to ask whether this node is isolated (probe.c). */
struct probe_target {
	struct ip_addr address;
	int node;	/* row, or MODEL_NONE: a target that is not a node */
	mtime sent[8];	/* send times of unanswered probes, a ring; 0: answered or given up */
	unsigned next;
	mtime asked;	/* newest of them, whichever service on the interface sent it; 0: none */
	mtime answered; /* send time of the newest answered one; 0: never */
};

enum engine_vip_job { ENGINE_VIP_IDLE, ENGINE_VIP_ADD, ENGINE_VIP_REMOVE, ENGINE_VIP_CHECK };

struct engine_service {
	struct engine *engine;
	uint32_t row;
	struct service_fsm fsm;
	struct program_group group;
	struct group_member members[GROUP_MEMBERS_MAX];
	uint32_t group_rows[GROUP_MEMBERS_MAX]; /* member -> program row */
	struct ev_timer timer;

	/* vrrp_io.c */
	struct ev_io vrrp_watcher;
	int vrrp_fd; /* -1: net has not handed it over (yet) */
	uint64_t adverts_sent, adverts_received;
	uint64_t rejects[VRRP_REJECTS_END], differs[VRRP_DIFFERS_END];
	struct ratelimit reject_log[VRRP_REJECTS_END], differ_log[VRRP_DIFFERS_END], send_log;

	/* probe.c */
	struct engine_wire {
		struct ev_io watcher;
		int fd; /* -1 */
	} wires[2]; /* ARP, ND: by engine_family() */
	uint32_t ifindex;
	uint8_t mac[6];
	struct ip_addr link_local; /* none: not known */
	bool router;		   /* of IPv6 */
	struct engine_gateway {
		struct ip_addr address; /* none: there is none */
		uint8_t mac[6];
		bool mac_known;
	} gateways[2]; /* by engine_family() */
	uint8_t node_mac[MODEL_NODES_MAX][6]; /* from HELLO; all zero: not known */
	struct ev_timer probe_timer;
	mtime probed_at, conflict_probed_at; /* newest round; 0: none */
	struct ratelimit probe_log;
	struct probe_target targets[MODEL_TARGETS_MAX + MODEL_NODES_MAX];
	unsigned n_targets;

	/* conflict.c */
	struct ratelimit conflict_log;

	/* announce.c */
	struct ev_timer garp_timer;
	uint32_t garp_left, garp_sent; /* of the present series */
	mtime defended_at, defend_gap; /* newest defence, and time until the next may follow */

	/* service_io.c */
	bool link_up, sockets_ok;
	uint32_t addresses_present; /* bit i: vips[i] */
	mtime lease_refreshed;
	struct ev_timer lease_timer;
	uint64_t address_order;	 /* newest ADD or REMOVE under way */
	bool ended;
	bool net_up, addresses_settled; /* left-overs were seen to, once per net process */
	bool link_known;
	mtime fed_kill_at, baton_s; /* what the keeper knows */

	/* vip_io.c */
	struct engine_vip {
		enum engine_vip_job job;
		bool careful;
		uint64_t order;	   /* of the machine, to be answered; 0: none, or answered */
		uint64_t hook;	   /* the command that runs; 0: none */
		uint64_t job_hook; /* the present job's own; another one is being killed */
		unsigned at, tries; /* address of the service; of a release */
		enum ipc_vip_verb verb;
		int error; /* errno of the first address that failed */
		uint32_t present, gone; /* bit i: vips[i] */
		struct ev_timer timer;
	} vip;

	/* hook_io.c */
	uint64_t hook_order; /* the fence_command that runs; 0: none */
	unsigned hook_node;
	uint64_t hook_term;

	/* engine_life.c, keeper_link.c: what the keeper told before READY, what it was fed */
	bool has_baton, found_alive;
	struct service_baton baton;
	uint64_t found_term; /* highest term among the runs that were found */
	mtime kill_sent;     /* newest kill deadline in a FEED; MTIME_NEVER: none */

	/* scribe_link.c */
	struct service_persist disk; /* what the state file had when it was loaded */
	struct {
		uint64_t seq;  /* PERSISTED(seq) is owed */
		uint64_t save; /* once this STATE_SAVE is done; 0: not sent */
	} state_waits[2];
	unsigned n_state_waits;
	/* last transition, for status */
	enum service_cause last_cause;
	int64_t last_change_wall; /* seconds since the epoch; 0: none */
};

/* What is asked of a program that runs (program_watch.c). */
enum watch_kind { WATCH_NOTHING, WATCH_READY, WATCH_HEALTH };

struct program_watch {
	enum watch_kind kind;
	uint32_t run; /* that it is about */
	struct check_fsm check;
	struct ask ask;	/* tcp, http */
	uint64_t order; /* exec: of the keeper; 0: none */
	struct ev_timer timer;
	char why[96]; /* the last answer */
};

struct program_usage { /* program_usage.c; -1: not known */
	mtime at;	   /* 0: nobody has looked */
	int64_t processes, memory, cpu_ms;
};

struct engine_program {
	struct engine *engine;
	uint32_t row;
	int service; /* row, or MODEL_NONE */
	unsigned member; /* of the service's group */
	struct program_fsm fsm;
	struct ev_timer timer;
	uint64_t order;	 /* of the start under way */
	bool adopting;	 /* the present step takes over what an engine before has started */
	uint64_t hook_order; /* pre_start or post_stop under way; 0: none */
	struct program_watch watch;
	struct program_usage usage;
	struct {
		int fd; /* -1: it has none */
		struct ev_io io;
		struct ratelimit stranger;
	} notify; /* program_notify.c */
};

struct engine_peer {
	struct engine *engine;
	uint32_t row;
	bool linked; /* peer_link = yes, and not this node */
	struct peer_fsm fsm;
	struct peer_paths paths;
	struct peer_details details;
	bool has_details;
	mtime details_at;
	uint64_t rejected[PEER_VERDICTS_END];
	uint64_t bad_hmac, malformed, unknown_services;
	struct ratelimit complaint; /* about rejected datagrams of it */
	uint64_t copies; /* later ones, which came by another path */
	int send_error[MODEL_PATHS_MAX]; /* of the newest datagram, positive; 0: it went out */
};

struct engine_peer_path { /* our end of a path of the peer link */
	struct engine *engine;
	unsigned index;
	int fd; /* -1: net has not handed it over (yet) */
	struct ev_io watcher;
};

struct engine {
	struct ev_loop *loop;
	const struct model *m;
	uint32_t generation;
	uint32_t engine_restarts;
	mtime supd_started; /* BOOTTIME */
	pid_t keeper_pid;
	bool ready;	 /* READY of the keeper has come */
	bool ending;	 /* SHUTDOWN has come */
	bool state_loaded, loaded_told;
	struct ipc_welcome welcome;

	struct link keeper, net, scribe;
	int kill_fds[3]; /* of WELCOME; -1 */
	int keeper_pidfd;

	struct engine_service *services; /* n_services of the model */
	struct engine_program *programs;
	struct program_group local; /* the node's own programs */
	uint32_t *local_rows;	    /* member -> program row */
	struct engine_peer peers[MODEL_NODES_MAX];

	/* keeper_link.c */
	struct ev_timer feed_timer;
	struct ev_io keeper_watcher; /* pidfd */
	mtime feed_due, feed_base;   /* next tick; silence counts from here after a stall of ours */
	uint64_t feed_seq, fed_seq;
	mtime fed_at; /* newest FED */
	uint64_t next_order;

	/* peer_io.c */
	struct engine_peer_path peer_paths[MODEL_PATHS_MAX];
	struct ev_timer hello_timer;
	struct ev_prepare hello_prepare;
	bool hello_wanted; /* at once: what we are has changed */
	mtime hello_at; /* newest HELLO sent */
	mtime drained_at; /* engine_drain(); 0: never */
	mtime hello_due; /* what hello_timer is armed for */
	struct ratelimit stall_log;
	uint64_t session;
	struct ev_timer details_timer;
	struct details_source details;
	uint64_t strays; /* datagrams from no peer of ours */
	struct ratelimit stray_complaint;

	/* scribe_link.c */
	uint64_t state_seq;
	struct ev_timer state_timer; /* tries a failed load or save again */
	int state_error;	     /* logged once */
	unsigned state_bad_line;

	struct control *control;

	/* engine_queue.c, engine_life.c */
	struct engine_queue *queue;
	int early_fds[2]; /* by enum ipc_role: channels that came before READY; -1 */
	bool done;	  /* DONE was sent: the keeper's end is expected */
	bool finished;	  /* the loop is to be left: nothing is processed any more */
	int status;	  /* exit status */
};

/* ---- engine.c ------------------------------------------------------------------------------------ */

struct engine_args {
	const struct model *m;
	uint32_t generation;
	int keeper_fd; /* channel to the keeper */
	int control_fd; /* listening UNIX socket, bound by the keeper */
	int keeper_pidfd;
};

/* The engine's process: never returns to the caller's loop; the result is the exit status. */
int engine_run(const struct engine_args *args);

/* Drain every socket that may hold news (keeper, peers, VRRP, ARP, ND): before an expiry is believed. */
void engine_drain(struct engine *e);

/* ---- engine_queue.c ------------------------------------------------------------------------------ */

/* The two doors of the machines; see above.  The event is copied, with what it points to. */
void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev);
void engine_program_event(struct engine *e, uint32_t row, const struct program_event *ev);

int engine_queue_init(struct engine *e); /* 0 or -ENOMEM */
void engine_queue_fini(struct engine *e);

/* ---- engine_life.c ------------------------------------------------------------------------------- */

/* READY: everything that the keeper had to tell has come. */
void engine_life_ready(struct engine *e);
/* A new end towards net or scribe; takes over fd. */
void engine_life_channel(struct engine *e, enum ipc_role role, int fd);
/* SHUTDOWN: release everything. */
void engine_life_end(struct engine *e);
/* Whether everything has ended here: then the keeper is told DONE. */
void engine_check_ended(struct engine *e);
/* Leave the loop with this exit status. */
void engine_finish(struct engine *e, int status);

/* ---- keeper_link.c ---------------------------------------------------------------------------------- */

void keeper_link_open(struct engine *e, int fd);
void keeper_link_drain(struct engine *e);
/* Orders; the order number is e->next_order. */
void keeper_order_start(struct engine *e, uint32_t program, uint64_t term, mtime valid_until,
			mtime kill_at, const char *cause);
void keeper_order_signal(struct engine *e, uint32_t program, uint32_t run, int signo);
void keeper_order_kill(struct engine *e, uint32_t program, uint32_t run);
void keeper_order_quiesce(struct engine *e, uint32_t service, uint64_t term);
/* False: it could not be sent, and no HOOK_DONE will come. */
bool keeper_order_hook(struct engine *e, const struct ipc_hook *hook);
void keeper_order_hook_kill(struct engine *e, uint64_t order);
void keeper_send_note(struct engine *e, uint32_t program, uint32_t run, bool ready);
bool keeper_order_reexec(struct engine *e);
void keeper_send_baton(struct engine *e, uint32_t slot, const void *data, uint32_t len);
void keeper_feed(struct engine *e);
void keeper_send_done(struct engine *e);

/* ---- keeper_silence.c -------------------------------------------------------------------------------- */

/* The keeper is dead, or has been silent for engine_timeout: undo everything, then leave the loop. */
void keeper_silence(struct engine *e, bool dead);

/* ---- net_link.c ---------------------------------------------------------------------------------------- */

void net_link_open(struct engine *e, int fd); /* a new net: asks for all sockets again */
void net_link_drain(struct engine *e);
void net_order_address(struct engine *e, uint32_t service, enum ipc_address_op op, uint64_t order,
		       mtime valid_until);

/* ---- scribe_link.c --------------------------------------------------------------------------------------- */

void scribe_link_open(struct engine *e, int fd); /* a new scribe: loads or saves state again */
void scribe_link_drain(struct engine *e);
/* Write what all services' `persist` hold; SERVICE_EV_PERSISTED(seq) follows for `service`. */
void scribe_save_state(struct engine *e, uint32_t service, uint64_t seq);
/* The peer link has a socket: what waited for it. */
void scribe_tell_loaded(struct engine *e);
/* Give a client of the control socket to the scribe; fd stays the caller's.  0 or -errno. */
int scribe_pass_client(struct engine *e, int fd, const struct ipc_logs *order);

/* state_text.c: the state file, one line a service. Length, or -ENOSPC. */
int state_text_encode(const struct engine *e, char *buf, size_t size);
/* Fills persist of each service named in it (others stay zero): 0, or -EINVAL with the line number. */
int state_text_decode(const struct model *m, const char *text, size_t len,
		      struct service_persist *ret_by_row, unsigned *ret_line);

/* ---- service_io.c ------------------------------------------------------------------------------------------ */

void service_io_init(struct engine *e);
/* One event for the machine: step, carry out, re-arm.  For engine.c's queue only. */
void service_io_event(struct engine *e, uint32_t row, const struct service_event *ev);
/* Results from net. */
void service_io_address_result(struct engine *e, const struct ipc_address_result *r);
void service_io_address_lost(struct engine *e, const struct ipc_address_lost *r);
void service_io_link(struct engine *e, const struct ipc_link *l);
void service_io_sockets(struct engine *e, const struct ipc_service_sockets *s, int vrrp_fd,
			 const int neigh_fds[2]);
void service_io_gateway(struct engine *e, const struct ipc_gateway *g);
void service_io_quiesced(struct engine *e, const struct ipc_quiesced *q);
/* Look at the group of a service: give members their next orders, tell the service what changed. */
void service_io_reconcile(struct engine *e, uint32_t row);

/* ---- hook_io.c ---------------------------------------------------------------------------------------------------- */

/* Have fence_command run for a node; SERVICE_EV_FENCE_COMMAND follows in any case. */
void hook_io_fence(struct engine *e, uint32_t row, unsigned node, uint64_t term);
void hook_io_done(struct engine *e, const struct ipc_hook_done *d);

/* ---- program_io.c ---------------------------------------------------------------------------------------------- */

void program_io_init(struct engine *e);
/* One event for a machine: step, carry out, re-arm.  For engine_queue.c only. */
void program_io_event(struct engine *e, uint32_t row, const struct program_event *ev);
/* Start what runs on every node (autostart), once the keeper is ready. */
void program_io_start_local(struct engine *e);
/* All of those, in the reverse order. */
void program_io_stop_local(struct engine *e);
/* Give the next order that their order allows. */
void program_io_reconcile_local(struct engine *e);
void program_io_run(struct engine *e, const struct ipc_run *r); /* found by a new engine */
void program_io_spawned(struct engine *e, const struct ipc_spawned *s);
void program_io_spawn_failed(struct engine *e, const struct ipc_spawn_failed *f);
void program_io_main(struct engine *e, const struct ipc_main *m);
void program_io_exited(struct engine *e, const struct ipc_exited *x);
void program_io_gone(struct engine *e, const struct ipc_gone *g);
void program_io_hook_done(struct engine *e, const struct ipc_hook_done *d);
/* Look what programs use: those of the longest time first, for at most a few milliseconds. */
void program_io_look(struct engine *e);
/* The socket of sd_notify(3); takes over fd. */
void program_notify_open(struct engine *e, uint32_t row, int fd);

/* ---- vrrp_io.c --------------------------------------------------------------------------------------------------- */

void vrrp_io_open(struct engine *e, uint32_t service, int fd); /* takes over fd; -1: closed */
void vrrp_io_drain(struct engine *e, uint32_t service);
void vrrp_io_send(struct engine *e, uint32_t service, uint8_t priority);
/* An advert that the peer link has brought (transport = udp). */
void vrrp_io_hear(struct engine *e, uint32_t service, unsigned peer, uint8_t priority,
		  mtime interval);

/* ---- vrrp_tell.c ------------------------------------------------------------------------------------------------- */

/* What all members of the service's virtual router must have alike. */
void vrrp_profile_of(const struct engine_service *svc, struct vrrp_profile *ret);
/* An advert as this node would send it, but for its destination. */
void vrrp_advert_of(const struct engine_service *svc, uint8_t priority, struct vrrp_packet *ret);
/* Count a refused datagram, and say now and then from where it came and what differs. */
void vrrp_tell_reject(struct engine_service *svc, enum vrrp_reject reason,
		      const struct vrrp_datagram *d);
/* Count and say what of an accepted one is not as it is here. */
void vrrp_tell_differences(struct engine_service *svc, const struct vrrp_packet *p);

/* ---- probe.c --------------------------------------------------------------------------------------------------------- */

void probe_init(struct engine *e);
/* ARP and ND; takes over both; -1: closed. */
void probe_open(struct engine *e, uint32_t service, const int fds[2]);
/* IPv4, IPv6. */
void probe_set_gateways(struct engine *e, uint32_t service, const struct ip_addr gateways[2]);
/* The interface's own IPv6 address, or none; whether it forwards IPv6. */
void probe_set_six(struct engine *e, uint32_t service, const struct ip_addr *link_local,
		   bool router);
void probe_drain(struct engine *e, uint32_t service);
/* Send probes that are due, and arm the timer for the next ones; called after each service step. */
void probe_update(struct engine *e, uint32_t service);
/* What differs between ARP and ND stands in pairs: 0 for IPv4, 1 for IPv6. */
static inline unsigned engine_family(const struct ip_addr *a)
{
	return a->family == AF_INET6;
}

/* announce.c: begin a series of garp_count announcements of every address. */
void probe_announce(struct engine *e, uint32_t service);

/* ---- peer_io.c ---------------------------------------------------------------------------------------------------------- */

void peer_io_init(struct engine *e);
/* The socket of one of our paths; takes over fd; -1: closed. */
void peer_io_open(struct engine *e, unsigned path, int fd);
/* Whether there is a socket at all. */
bool peer_socket_ready(const struct engine *e);
void peer_io_drain(struct engine *e);
void peer_io_hello_now(struct engine *e);
/* After each service step: the wanted HELLO rate may have changed. */
void peer_io_update(struct engine *e);
/* An advert to every linked peer (transport = udp): how many it left for. */
unsigned peer_io_send_advert(struct engine *e, uint32_t service, uint8_t priority);
/* FENCE, FENCED, RELEASE, RELEASED; peer MODEL_NONE: to every linked peer. */
void peer_io_send_term(struct engine *e, int peer, enum peer_type type, uint32_t service,
		       uint64_t term, unsigned successor, bool ending);
/* COMMAND to a peer; RESULT comes to control_remote_result().  0 or -errno. */
int peer_io_send_command(struct engine *e, uint32_t peer, uint32_t id, const char *json);
int peer_io_send_result(struct engine *e, uint32_t peer, uint32_t id, const char *json);
/* The node's record in the keeper: sessions. */
void peer_io_from_baton(struct engine *e, const void *data, uint32_t len);

/* ---- control.c ------------------------------------------------------------------------------------------------------------- */

int control_open(struct engine *e, int listen_fd);
void control_close(struct engine *e);
/* A RESULT came from a peer for our COMMAND id. */
void control_remote_result(struct engine *e, uint32_t peer, uint32_t id, const char *json);
/* A COMMAND came from a peer; the answer goes out by peer_io_send_result(). */
void control_remote_command(struct engine *e, uint32_t peer, uint32_t id, const char *json);
/* Something changed: requests that wait for a condition look again. */
void control_poll(struct engine *e);
/* The keeper's answer to reexec, where no new image gives it. */
void control_reexec_failed(struct engine *e, const char *why);

#endif
