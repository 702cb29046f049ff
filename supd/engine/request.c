/* SPDX-License-Identifier: MIT */
#include "supd/engine/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"

/*
 * A request's life:
 *
 *   made --(actions: engine ready)--> run --+--> ended --> answered, freed
 *                                           +--> polled after each step, until ended or too late
 *
 * Requests end only in request_settle(), never inside a handler: a handler's events may call
 * control_poll() on the way, so a request counts as waiting only once its handler has returned.
 */
#define POLL_FIRST    0.001
#define POLL_INTERVAL 0.05
#define RESEND_AFTER  MTIME_MS(300) /* a COMMAND is one datagram, and may be lost */

/* ---- ending --------------------------------------------------------------------------------------- */

void control_done_reply(struct control_request *r, json_t *reply)
{
	json_decref(r->reply);
	r->reply = reply != NULL ? reply : control_error_new(CONTROL_FAILED, "out of memory");
}

void control_done_elsewhere(struct control_request *r)
{
	control_done_reply(r, json_null());
}

void control_done(struct control_request *r, json_t *result)
{
	json_t *reply = control_reply_new();

	if (result != NULL)
		json_object_set_new(reply, "result", result);
	control_done_reply(r, reply);
}

void control_fail(struct control_request *r, enum control_code code, const char *fmt, ...)
{
	char message[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	control_done_reply(r, control_error_new(code, "%s", message));
}

static void request_free(struct control_request *r)
{
	for (unsigned i = 0; i < MODEL_NODES_MAX; i++)
		json_decref(r->results[i]);
	json_decref(r->reply);
	json_decref(r->json);
	free(r);
}

/* ---- peers that ask ------------------------------------------------------------------------------- */

static int result_find(const struct control *c, uint32_t peer, uint32_t id)
{
	for (int i = 0; i < CONTROL_RESULTS_MAX; i++)
		if (c->results[i].used && c->results[i].peer == peer && c->results[i].id == id)
			return i;
	return -1;
}

static void result_remember(struct control *c, uint32_t peer, uint32_t id)
{
	unsigned i = c->next_result;

	c->next_result = (i + 1) % CONTROL_RESULTS_MAX;
	free(c->results[i].result);
	c->results[i].peer = peer;
	c->results[i].id = id;
	c->results[i].used = true;
	c->results[i].result = NULL;
}

static void result_send(struct engine *e, uint32_t peer, uint32_t id, const char *text)
{
	int r = peer_io_send_result(e, peer, id, text);

	if (r < 0)
		log_info("control: result for %s: %s, sent again when it asks again",
			 model_node_name(e->m, peer), strerror(-r));
}

static void answer_peer(struct control *c, const struct control_request *r)
{
	int i = result_find(c, r->peer, r->peer_id);
	char *text = json_dumps(r->reply, JSON_COMPACT);

	if (text != NULL && strlen(text) >= PEER_TEXT_MAX) {
		json_t *error = control_error_new(CONTROL_FAILED, "the answer is too long");

		free(text);
		text = json_dumps(error, JSON_COMPACT);
		json_decref(error);
	}
	if (text == NULL)
		return;
	result_send(c->engine, r->peer, r->peer_id, text);
	if (i >= 0)
		c->results[i].result = text;
	else
		free(text);
}

/* What the peer needs to know of the request. */
static json_t *request_for_peer(const struct control_request *r, mtime now)
{
	json_int_t ms = mtime_to_ms(mtime_max(r->deadline - now, MTIME_MS(1)));
	json_t *args = json_pack("{s:s, s:I}", "name", model_service_name(r->engine->m, r->row),
				 "timeout_ms", ms);

	if (r->force)
		json_object_set_new(args, "force", json_true());
	return control_request_new(r->verb->name, args);
}

void control_tell_peer(struct control_request *r, uint32_t peer)
{
	struct control *c = r->engine->control;
	json_t *request = request_for_peer(r, mtime_now());
	char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
	int rc = -ENOMEM;

	if (r->id == 0) {
		c->next_id += c->next_id == UINT32_MAX ? 2 : 1;
		r->id = c->next_id;
	}
	if (text != NULL)
		rc = peer_io_send_command(r->engine, peer, r->id, text);
	if (rc < 0 && r->told[peer] == CONTROL_NOT_TOLD)
		log_info("control: command for %s: %s, trying again",
			 model_node_name(r->engine->m, peer), strerror(-rc));
	r->told[peer] = CONTROL_TELLING;
	r->sent = mtime_now();
	free(text);
	json_decref(request);
}

static void request_resend(struct control_request *r, mtime now)
{
	if (r->id == 0 || now - r->sent < RESEND_AFTER)
		return;
	for (uint32_t p = 0; p < r->engine->m->n_nodes; p++)
		if (r->told[p] == CONTROL_TELLING)
			control_tell_peer(r, p);
}

/* ---- living ----------------------------------------------------------------------------------------- */

/* Answer and free what has ended. */
static void request_settle(struct control *c)
{
	struct control_request **p = &c->requests;

	while (*p != NULL) {
		struct control_request *r = *p;

		if (r->reply == NULL) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		c->n_requests--;
		if (r->client != NULL)
			control_client_answer(r->client, r->reply);
		else
			answer_peer(c, r);
		request_free(r);
	}
	if (c->n_requests == 0)
		ev_timer_stop(c->engine->loop, &c->poller);
}

static void request_poll(struct control_request *r, mtime now)
{
	if (r->poll == NULL || r->reply != NULL)
		return;
	request_resend(r, now);
	r->poll(r, now);
	if (r->reply == NULL && now >= r->deadline)
		control_fail(r, CONTROL_TIMEOUT, "timed out waiting for %s; it goes on",
			     r->waits_for != NULL ? r->waits_for : "the result");
}

void control_poll(struct engine *e)
{
	struct control *c = e->control;
	mtime now;

	if (c == NULL || c->polling || c->requests == NULL)
		return;
	c->polling = true;
	now = mtime_now();
	for (struct control_request *r = c->requests; r != NULL; r = r->next)
		request_poll(r, now);
	request_settle(c);
	c->polling = false;
}

static void on_poller(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct control *c = w->data;

	control_poll(c->engine);
}

/*
 * A new engine learns from the keeper what runs, and from the disk what was wished; a program that
 * runs on every node does not wait for the disk.
 */
static bool engine_is_up(const struct control_request *r)
{
	const struct engine *e = r->engine;
	int program = r->name != NULL ? model_find_program(e->m, r->name) : MODEL_NONE;
	bool local = program != MODEL_NONE && e->programs[program].service == MODEL_NONE;

	return e->ready && (e->state_loaded || local || e->m->n_services == 0);
}

static void poll_engine_up(struct control_request *r, mtime now)
{
	if (!engine_is_up(r))
		return;
	r->poll = NULL;
	r->waits_for = NULL;
	r->verb->run(r);
}

static void request_run(struct control *c, struct control_request *r)
{
	bool nested = c->polling;

	r->next = c->requests;
	c->requests = r;
	c->n_requests++;
	if (!ev_is_active(&c->poller)) {
		ev_timer_set(&c->poller, POLL_FIRST, POLL_INTERVAL);
		ev_timer_start(c->engine->loop, &c->poller);
	}
	c->polling = true; /* what the handler sets in motion may call control_poll() */
	if (r->reply == NULL && r->verb->access == CONTROL_COMMAND && r->engine->ending) {
		control_fail(r, CONTROL_REFUSED, "supd is ending");
	} else if (r->reply == NULL && r->verb->access == CONTROL_COMMAND &&
		   !engine_is_up(r)) {
		r->waits_for = "supd to be up";
		r->poll = poll_engine_up;
	} else if (r->reply == NULL) {
		r->verb->run(r);
	}
	c->polling = nested;
	if (!nested)
		request_settle(c);
}

/* ---- beginning one ----------------------------------------------------------------------------------- */

void control_request_line(struct control *c, struct control_client *client, const char *line,
			  size_t len)
{
	struct control_request *r = control_request_read(c, line, len);

	if (r == NULL) {
		control_client_answer(client, NULL);
		return;
	}
	r->client = client;
	if (!control_client_may(client, r->verb != NULL ? r->verb->access : CONTROL_QUERY))
		control_fail(r, CONTROL_PERMISSION,
			     "permitted to root and the members of socket_group only");
	else if (c->n_requests >= CONTROL_REQUESTS_MAX)
		control_fail(r, CONTROL_FAILED, "too many requests are under way, try again");
	else if (r->reply == NULL && r->verb->access == CONTROL_COMMAND)
		log_notice("command: %s %s (uid %d, pid %d)", r->verb->name,
			   r->name != NULL ? r->name : "-", (int)control_client_uid(client),
			   (int)control_client_pid(client));
	request_run(c, r);
}

void control_remote_command(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	struct control *c = e->control;
	struct control_request *r;
	int i;

	if (c == NULL || peer >= e->m->n_nodes)
		return;
	i = result_find(c, peer, id);
	if (i >= 0) {
		/* It has not heard our answer; or there is none yet. */
		if (c->results[i].result != NULL)
			result_send(e, peer, id, c->results[i].result);
		return;
	}
	r = control_request_read(c, json, strlen(json));
	if (r == NULL)
		return; /* it asks again */
	result_remember(c, peer, id);
	r->peer = peer;
	r->peer_id = id;
	if (r->reply == NULL && !r->verb->remote)
		control_fail(r, CONTROL_USAGE, "%s: not a command for another node", r->verb->name);
	else if (r->reply == NULL && c->n_requests >= CONTROL_REQUESTS_MAX)
		control_fail(r, CONTROL_FAILED, "too many requests are under way, try again");
	else if (r->reply == NULL)
		log_notice("command: %s %s (from node %s)", r->verb->name,
			   r->name != NULL ? r->name : "-", model_node_name(e->m, peer));
	request_run(c, r);
}

void control_remote_result(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	struct control *c = e->control;

	if (c == NULL || peer >= e->m->n_nodes)
		return;
	for (struct control_request *r = c->requests; r != NULL; r = r->next) {
		const char *message;

		if (r->id != id || r->told[peer] != CONTROL_TELLING ||
		    control_parse(json, strlen(json), &r->results[peer]) < 0)
			continue;
		r->told[peer] = control_reply_code(r->results[peer], &message) == CONTROL_OK
					? CONTROL_TOLD
					: CONTROL_TOLD_FAILED;
	}
	control_poll(e);
}

void control_request_forget(struct control *c, const struct control_client *client)
{
	struct control_request **p = &c->requests;

	while (*p != NULL) {
		struct control_request *r = *p;

		if (r->client != client) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		c->n_requests--;
		request_free(r);
	}
}

/* ---- the server's part ---------------------------------------------------------------------------- */

void control_requests_init(struct control *c)
{
	size_t seed = 0;

	/* Numbers of an earlier engine's commands are not used again. */
	if (getrandom(&c->next_id, sizeof(c->next_id), GRND_NONBLOCK) < 0)
		c->next_id = (uint32_t)mtime_now();
	/* Else jansson would open /dev/urandom at some moment of its own. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0 || seed == 0)
		seed = (size_t)mtime_now();
	json_object_seed(seed);
	ev_timer_init(&c->poller, on_poller, POLL_INTERVAL, POLL_INTERVAL);
	ev_set_priority(&c->poller, EV_MINPRI);
	c->poller.data = c;
}

void control_requests_fini(struct control *c)
{
	for (struct control_request *r = c->requests; r != NULL; r = r->next)
		if (r->reply == NULL)
			control_fail(r, CONTROL_FAILED, "supd is ending; what was begun may go on");
	request_settle(c);
	for (unsigned i = 0; i < CONTROL_RESULTS_MAX; i++)
		free(c->results[i].result);
}
