/* SPDX-License-Identifier: MIT */
#include "tests/unit/control_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

#define PATIENCE MTIME_SEC(5)

static struct control_kit *kit; /* of the test that runs: the doubles below know no other */

/* ---- doubles of the shells ------------------------------------------------------------------------ */

static void program_acts(struct control_kit *k, uint32_t row, const struct program_actions *acts)
{
	for (unsigned i = 0; i < acts->n; i++) {
		if (acts->a[i].type == PROGRAM_ACT_SPAWN)
			k->n_spawns[row]++;
		if (acts->a[i].type == PROGRAM_ACT_SIGNAL)
			k->n_signals[row]++;
	}
}

void engine_program_event(struct engine *e, uint32_t row, const struct program_event *ev)
{
	struct program_actions acts = { 0 };

	program_step(&e->programs[row].fsm, ev, mtime_now(), &acts);
	program_acts(kit, row, &acts);
	control_poll(e);
}

void engine_service_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_int_equal(row, 0);
	assert_int_equal(ev->type, SERVICE_EV_COMMAND);
	assert_true(kit->n_commands < KIT_NOTES_MAX);
	kit->commands[kit->n_commands++] = ev->command;
	kit->command_force = ev->force;
	control_poll(e);
}

void service_io_reconcile(struct engine *e, uint32_t row)
{
	kit->n_reconciles++;
}

void program_io_look(struct engine *e)
{
}

void program_io_reconcile_local(struct engine *e)
{
	kit->n_reconciles++;
}

bool keeper_order_reexec(struct engine *e)
{
	kit->n_reexecs++;
	return !kit->keeper_is_deaf;
}

static int note_sent(uint32_t peer, uint32_t id, const char *json, bool is_result)
{
	assert_true(kit->n_sent < KIT_NOTES_MAX);
	assert_true(strlen(json) < PEER_TEXT_MAX);
	kit->sent[kit->n_sent].peer = peer;
	kit->sent[kit->n_sent].id = id;
	kit->sent[kit->n_sent].is_result = is_result;
	strcpy(kit->sent[kit->n_sent].json, json);
	kit->n_sent++;
	return kit->send_error;
}

int peer_io_send_command(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	return note_sent(peer, id, json, false);
}

int scribe_pass_client(struct engine *e, int fd, const struct ipc_logs *order)
{
	kit->logs = *order;
	if (kit->send_error < 0)
		return kit->send_error;
	kit->passed_fd = dup(fd);
	return 0;
}

int peer_io_send_result(struct engine *e, uint32_t peer, uint32_t id, const char *json)
{
	return note_sent(peer, id, json, true);
}

/* ---- making the world ------------------------------------------------------------------------------- */

static void make_model(struct control_kit *k)
{
	static const char *const nodes[] = { "a", "b", "c" };
	static const char *const programs[] = { "master", "helper", "worker" };
	struct tiny_model *t = &k->model;

	*t = tiny_model_new(3, 1, 3);
	t->m->self = NODE_A;
	t->m->supd.cluster = tiny_str(t, "sched");
	t->m->supd.socket_gid = 4242;
	for (uint32_t i = 0; i < 3; i++) {
		tiny_node(t, i)->name = tiny_str(t, nodes[i]);
		tiny_node(t, i)->priority = (uint8_t)(150 - 50 * i);
		tiny_node(t, i)->peer_link = true;
		tiny_program(t, i)->name = tiny_str(t, programs[i]);
		tiny_program(t, i)->service = i == WORKER ? MODEL_NONE : 0;
	}
	tiny_service(t, 0)->name = tiny_str(t, "scheduler");
	tiny_service(t, 0)->n_vips = 1;
	ip_addr_parse("192.0.2.100", &tiny_service(t, 0)->vips[0]);
}

static void make_service(struct engine_service *es)
{
	/* Long intervals: nothing ages during a test. */
	struct service_config c = { .self = NODE_A, .n_nodes = 3, .advert_int = MTIME_SEC(30),
				    .vip_lease = MTIME_SEC(3), .n_vips = 1, .conflict_probe = true, .digest = 77 };

	for (unsigned i = 0; i < 3; i++)
		c.nodes[i] = (struct service_node){ .priority = (uint8_t)(150 - 50 * i),
						    .address = 0xc000020bu + i,
						    .peer_link = true };
	service_init(&es->fsm, &c, mtime_now());
	es->fsm.loaded = es->fsm.link_up = es->fsm.sockets_ok = true;
}

static void make_programs(struct engine *e)
{
	struct engine_service *es = &e->services[0];

	group_init(&es->group, es->members);
	group_init(&e->local, kit->local_members);
	e->local.n = 1;
	kit->local_members[0].program = &e->programs[WORKER].fsm;
	for (uint32_t i = 0; i < 3; i++) {
		struct program_config c = { .stopsignal = 15,
					    .stopwaitsecs = MTIME_SEC(10),
					    .kill_wait = MTIME_SEC(10),
					    .startsecs = MTIME_SEC(1),
					    .restart_delay_max = MTIME_SEC(60),
					    .restart_limit = i == WORKER ? 0 : 3,
					    .restart_window = MTIME_SEC(60) };

		program_init(&e->programs[i].fsm, &c);
		e->programs[i].engine = e;
		e->programs[i].row = i;
		e->programs[i].service = i == WORKER ? MODEL_NONE : 0;
		e->programs[i].member = i == WORKER ? 0 : i;
		if (i == WORKER)
			continue;
		es->group.members[i] = (struct group_member){ .program = &e->programs[i].fsm,
							      .autostart = true };
		es->group_rows[i] = i;
		es->group.n++;
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

int kit_setup(void **state)
{
	struct control_kit *k = calloc(1, sizeof(*k));
	struct engine *e = calloc(1, sizeof(*e));

	assert_non_null(k);
	assert_non_null(e);
	log_init(STDERR_FILENO, "test", LOG_LEVEL_ERROR, false);
	kit = k;
	k->e = e;
	make_model(k);
	e->m = k->model.m;
	e->loop = ev_loop_new(EVFLAG_AUTO);
	e->ready = e->state_loaded = true;
	e->keeper_pid = 4321;
	e->supd_started = mtime_now();
	e->services = calloc(1, sizeof(*e->services));
	e->programs = calloc(3, sizeof(*e->programs));
	make_service(&e->services[0]);
	make_programs(e);
	snprintf(k->dir, sizeof(k->dir), "/tmp/supd-control-test-%d-XXXXXX", (int)getpid());
	assert_non_null(mkdtemp(k->dir));
	assert_int_equal(chmod(k->dir, 0755), 0);
	snprintf(k->path, sizeof(k->path), "%s/supd.sock", k->dir);
	assert_int_equal(control_open(e, listen_at(k->path)), 0);
	k->fd = kit_connect(k);
	assert_true(k->fd >= 0);
	*state = k;
	return 0;
}

int kit_teardown(void **state)
{
	struct control_kit *k = *state;

	control_close(k->e);
	ev_loop_destroy(k->e->loop);
	if (k->fd >= 0)
		close(k->fd);
	unlink(k->path);
	rmdir(k->dir);
	free(k->e->services);
	free(k->e->programs);
	free(k->e);
	free(k->model.m);
	free(k);
	return 0;
}

/* ---- a client --------------------------------------------------------------------------------------- */

int kit_connect(struct control_kit *k)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", k->path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void kit_spin(struct control_kit *k)
{
	for (int i = 0; i < 20; i++)
		ev_run(k->e->loop, EVRUN_NOWAIT);
}

/* Let the server run for a moment, or until fd is readable. */
static void run_a_moment(struct control_kit *k, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ev_run(k->e->loop, EVRUN_NOWAIT);
	poll(&p, 1, 1);
}

void kit_send(struct control_kit *k, const char *bytes)
{
	size_t len = strlen(bytes);
	mtime until = mtime_now() + PATIENCE;

	while (len > 0 && mtime_now() < until) {
		ssize_t n = send(k->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EPIPE)
			return; /* refused before its end */
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else {
			ev_run(k->e->loop, EVRUN_NOWAIT);
		}
	}
	assert_int_equal(len, 0);
}

static json_t *parse_line(const char *line, size_t len)
{
	json_t *json;

	assert_int_equal(control_parse(line, len, &json), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
	return json;
}

/* One line of fd, through a buffer that may hold the beginning of the next. */
static json_t *read_line(struct control_kit *k, int fd, char *buf, size_t size, size_t *len)
{
	mtime until = mtime_now() + PATIENCE;

	while (mtime_now() < until) {
		char *end = memchr(buf, '\n', *len);
		ssize_t n;

		if (end != NULL) {
			size_t line = (size_t)(end - buf);
			json_t *json = parse_line(buf, line);

			memmove(buf, end + 1, *len - line - 1);
			*len -= line + 1;
			return json;
		}
		run_a_moment(k, fd);
		n = recv(fd, buf + *len, size - *len, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return NULL;
		if (n > 0)
			*len += (size_t)n;
	}
	fail_msg("no reply");
	return NULL;
}

json_t *kit_reply(struct control_kit *k)
{
	json_t *reply = read_line(k, k->fd, k->in, sizeof(k->in), &k->in_len);

	assert_non_null(reply);
	return reply;
}

json_t *kit_reply_on(struct control_kit *k, int fd)
{
	static char buf[1 << 16];
	size_t len = 0;

	return read_line(k, fd, buf, sizeof(buf), &len);
}

json_t *kit_ask(struct control_kit *k, const char *request)
{
	kit_send(k, request);
	kit_send(k, "\n");
	return kit_reply(k);
}

void kit_expect_silence(struct control_kit *k)
{
	mtime until = mtime_now() + MTIME_MS(120); /* two rounds of the server's poller */
	char c;

	while (mtime_now() < until)
		run_a_moment(k, k->fd);
	assert_int_equal(k->in_len, 0);
	assert_int_equal(recv(k->fd, &c, 1, MSG_PEEK), -1);
}

void kit_expect_closed(struct control_kit *k, int fd)
{
	mtime until = mtime_now() + PATIENCE;
	char buf[4096];

	while (mtime_now() < until) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return;
		if (n < 0)
			run_a_moment(k, fd);
	}
	fail_msg("still open");
}

void kit_expect_(json_t *reply, int code, const char *part, const char *file, int line)
{
	const char *message;
	int got = control_reply_code(reply, &message);

	if (got != code || (part != NULL && strstr(message, part) == NULL)) {
		print_error("code %d, message \"%s\"; expected %d, \"%s\"\n", got, message, code,
			    part != NULL ? part : "");
		json_decref(reply);
		_fail(file, line);
	}
	json_decref(reply);
}

/* ---- changing the world ----------------------------------------------------------------------------- */

struct service_fsm *kit_service(struct control_kit *k)
{
	return &k->e->services[0].fsm;
}

struct program_fsm *kit_program(struct control_kit *k, unsigned program)
{
	return &k->e->programs[program].fsm;
}

void kit_set_state(struct control_kit *k, enum service_state state)
{
	struct service_fsm *s = kit_service(k);

	s->state = state;
	s->since = mtime_now();
	s->may_run = s->programs_ready = state == SERVICE_STATE_ACTIVE;
	s->vrrp.state = state == SERVICE_STATE_ACTIVE ? VRRP_STATE_ACTIVE : VRRP_STATE_BACKUP;
	if (state == SERVICE_STATE_ACTIVE)
		s->term = s->persist.term_seen = s->persist.term_seen + 257;
	control_poll(k->e);
}

void kit_peer_says(struct control_kit *k, unsigned peer, enum service_state state)
{
	struct service_fsm *s = kit_service(k);
	struct service_peer *p = &s->peers[peer];
	bool active = state == SERVICE_STATE_ACTIVE;

	p->heard = p->reported = p->echoed = mtime_now();
	k->e->peers[peer].fsm.heard = k->e->peers[peer].fsm.echoed = p->heard;
	p->report.state = state;
	p->report.priority = s->config.nodes[peer].priority;
	p->report.digest = s->config.digest;
	p->report.latched = state == SERVICE_STATE_FAILED;
	p->report.stopped = state == SERVICE_STATE_STOPPED;
	p->report.fit = !p->report.latched && !p->report.stopped;
	p->report.running = p->report.ready = active;
	if (active)
		p->report.term = p->report.term_seen = s->persist.term_seen + 258;
	control_poll(k->e);
}

void kit_peer_silent(struct control_kit *k, unsigned peer)
{
	struct service_peer *p = &kit_service(k)->peers[peer];

	p->heard = p->reported = p->echoed = 0;
	control_poll(k->e);
}

void kit_spawned(struct control_kit *k, unsigned program)
{
	static uint32_t run = 1;
	struct program_event ev = { .type = PROGRAM_EV_SPAWNED, .run = run++, .pid = 4711 };

	engine_program_event(k->e, program, &ev);
}

void kit_spawn_failed(struct control_kit *k, unsigned program, enum ipc_stage stage, int error)
{
	struct program_event ev = { .type = PROGRAM_EV_SPAWN_FAILED, .stage = stage, .error = error };

	engine_program_event(k->e, program, &ev);
}

void kit_exited(struct control_kit *k, unsigned program, int code, int signo)
{
	uint32_t run = kit_program(k, program)->run;
	struct program_event exited = { .type = PROGRAM_EV_EXITED,
					.run = run,
					.exit = { .code = code, .signo = signo } };
	struct program_event gone = { .type = PROGRAM_EV_GONE, .run = run };

	engine_program_event(k->e, program, &exited);
	engine_program_event(k->e, program, &gone);
}
