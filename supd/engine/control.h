/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_CONTROL_H
#define SUPD_ENGINE_CONTROL_H

#include <ev.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/control_proto.h"
#include "common/mtime.h"
#include "supd/engine/engine.h"

/*
 * Inside the control server.
 *
 *   control.c        the socket: clients, their lines, who may ask
 *   request.c        a request's life: run, wait, answer; requests from peers
 *   request_read.c   a request out of a line of JSON
 *   verbs.c          the verb table; is-active, start, stop, restart
 *   verbs_name.c     which program or service a name means
 *   verbs_cluster.c  failover, reset: what other nodes take part in
 *   verbs_reexec.c   version, reexec: supd itself
 *   status.c         status as JSON
 *   status_text.c    alarms and reasons in words
 *   status_paths.c   of it, the paths of the peer link
 *   explain_json.c   explain as JSON
 *
 * A request is run once.  It ends with control_done() or control_fail(), at once or later: then it
 * has set `poll`, which is called after every step of the machines until it ends the request.
 * What a request has set in motion goes on without it: a client that leaves loses only its answer.
 */
#define CONTROL_CLIENTS_MAX  64
#define CONTROL_REQUESTS_MAX (2 * CONTROL_CLIENTS_MAX)
#define CONTROL_RESULTS_MAX  32

struct control_client;
struct control_request;

/* Who may use a verb.  Both groups are the same people in this version; the table says which is which. */
enum control_access { CONTROL_QUERY, CONTROL_COMMAND };

/* Arguments of a verb; others are refused. */
enum control_arg {
	CONTROL_ARG_NAME = 1, /* "name" */
	CONTROL_ARG_NAME_REQUIRED = 2,
	CONTROL_ARG_FORCE = 4,
	CONTROL_ARG_HERE = 8,
	CONTROL_ARG_ALL = 16,
	CONTROL_ARG_IMAGE = 32, /* "image": the one to be replaced, from `version` */
	CONTROL_ARG_LOGS = 64, /* "lines", "follow", "stderr" */
};

struct control_verb {
	const char *name;
	enum control_access access;
	unsigned args; /* enum control_arg */
	bool remote;   /* may come from a peer */
	void (*run)(struct control_request *r);
	const char *help;
};

/* NULL: no such verb. */
const struct control_verb *control_verb_find(const char *name);

/* What became of a command that was passed on to a peer. */
enum control_told { CONTROL_NOT_TOLD, CONTROL_TELLING, CONTROL_TOLD, CONTROL_TOLD_FAILED };

struct control_request {
	struct control_request *next;
	struct engine *engine;
	const struct control_verb *verb;
	struct control_client *client; /* NULL: a peer asks */
	uint32_t peer, peer_id;	       /* which peer, and its number of the request */
	json_t *json;		       /* the request, whole */
	const char *name;	       /* args.name (in json), or NULL */
	bool force, here, all, follow, errors;
	uint32_t lines;
	int64_t image; /* -1: not given */
	mtime began, deadline;
	bool timeout_given; /* args.timeout_ms */
	json_t *reply; /* set: it has ended */

	/* While it waits: */
	void (*poll)(struct control_request *r, mtime now);
	const char *waits_for; /* for the message of a time-out */
	char waits_text[256];  /* what it may point to */
	uint32_t row;	       /* of the service or program */
	uint32_t runs[GROUP_MEMBERS_MAX]; /* run of each program when it began; a program: [0] */
	unsigned deaths;		  /* its deaths so far, then */
	int from;			  /* failover: the node that was active */
	uint32_t id;			  /* of our COMMAND; 0: none */
	mtime sent;			  /* when it was last sent */
	enum control_told told[MODEL_NODES_MAX];
	json_t *results[MODEL_NODES_MAX]; /* a peer's RESULT */
};

/* End a request.  control_done takes over `result` (may be NULL), shown as "result". */
void control_done(struct control_request *r, json_t *result);
void control_done_reply(struct control_request *r, json_t *reply); /* a whole reply */
/* The client's connection has been passed on: somebody else answers. */
void control_done_elsewhere(struct control_request *r);
void control_fail(struct control_request *r, enum control_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Pass the request, which is about the service `row`, on to a peer; sent again until its RESULT comes. */
void control_tell_peer(struct control_request *r, uint32_t peer);

/* ---- request.c, for control.c ------------------------------------------------------------------- */

/* The server. */
struct control {
	struct engine *engine;
	int fd;
	struct ev_io acceptor;
	struct ev_timer accept_again; /* out of descriptors */
	unsigned n_clients;
	double client_timeout; /* s */
	struct control_client *clients; /* list */

	struct ev_timer poller; /* while requests wait: conditions that come by time alone */
	unsigned n_requests;
	struct control_request *requests; /* list */
	bool polling;
	uint32_t next_id;

	/* What peers asked lately: a COMMAND that comes twice is carried out once. */
	struct {
		uint32_t peer, id;
		bool used;
		char *result; /* NULL: not ended yet */
	} results[CONTROL_RESULTS_MAX];
	unsigned next_result;
};

/* Never NULL but without memory; a request that makes no sense has its reply already. */
struct control_request *control_request_read(struct control *c, const char *line, size_t len);
/* A line of a client.  Takes over nothing; the answer goes to control_client_answer(). */
void control_request_line(struct control *c, struct control_client *client, const char *line,
			  size_t len);
/* The client is gone: what it asked for goes on, nobody is answered. */
void control_request_forget(struct control *c, const struct control_client *client);
void control_requests_fini(struct control *c);
void control_requests_init(struct control *c);

/*
 * control.c: the answer to the request that is under way for this client; the reply stays the
 * caller's.  JSON null: its connection has been passed on, and is closed here.
 */
void control_client_answer(struct control_client *client, const json_t *reply);
/* Whether the client's credentials permit it; uid and pid for the log. */
bool control_client_may(const struct control_client *client, enum control_access access);
uid_t control_client_uid(const struct control_client *client);
pid_t control_client_pid(const struct control_client *client);
/* Its connection, to pass it on; it stays the client's. */
int control_client_fd(const struct control_client *client);

/* ---- status.c, explain_json.c: whole replies, NULL without memory -------------------------------- */

json_t *control_status_json(const struct engine *e, mtime now);
json_t *control_explain_json(const struct engine *e, int service, mtime now); /* MODEL_NONE: all */
/* status_paths.c: the paths to a node, with what was heard by each; path_lost for each that is dead. */
json_t *control_paths_json(const struct engine *e, uint32_t node, mtime now);
void control_add_path_alarms(json_t *list, const struct engine *e);
/* status_text.c: what an alarm means, and what to do; why this node is not fit. */
#define CONTROL_TEXT_MAX 512
void control_alarm_text(const struct engine *e, uint32_t row, enum service_alarm a, char *buf,
			size_t size);
void control_unfit_text(const struct engine *e, uint32_t row, enum service_unfit u, char *buf,
			size_t size);
/* "exec failed: ENOENT", "exit code 1", "killed by SIGKILL": why a program is not running. */
void control_program_why(const struct program_fsm *p, char *buf, size_t size);
/* "active on a", "active on no node". */
void control_service_where(const struct engine *e, uint32_t service, mtime now, char *buf,
			   size_t size);

/* ---- verbs_cluster.c ----------------------------------------------------------------------------- */

void control_verb_failover(struct control_request *r);
void control_verb_reset(struct control_request *r);
/*
 * verbs_name.c: run `program` or `service` with r->row as what args.name means; a name that is none
 * fails the request, with one that is like it.
 */
void control_by_name(struct control_request *r, void (*program)(struct control_request *r),
		     void (*service)(struct control_request *r));
/* verbs_logs.c: logs of a program, or of the one program of a service. */
void control_logs_program(struct control_request *r);
void control_logs_service(struct control_request *r);
/* verbs_reexec.c: reexec, and the version that tells of it. */
void control_verb_version(struct control_request *r);
void control_verb_reexec(struct control_request *r);
/* verbs_pause.c: pause and resume. */
void control_verb_pause(struct control_request *r);
/* The service that args.name means; left out: the only one.  False: the request has been failed. */
bool control_pick_service(struct control_request *r, uint32_t *ret_row);
/* Give a service a command; the machines have been stepped, or will be before the next poll. */
void control_service_command(struct control_request *r, enum service_command command);
/* The node whose instance of service `row` is active and ready, as far as it is known, or MODEL_NONE. */
int control_ready_node(const struct engine *e, uint32_t row, mtime now);
/* The wish is on disk, or cannot be written (an alarm says so). */
bool control_written(const struct service_fsm *s);
/* Append ", b" and the like; a short list of names. */
void control_list_add(char *buf, size_t size, const char *item);

#endif
