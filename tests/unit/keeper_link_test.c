/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/engine/engine.h"
#include "supd/engine/address_io.h"
#include "tests/unit/tiny_model.h"

/*
 * keeper_link, program_io, engine_life and engine_queue as they are, between a keeper that is this
 * test (the other end of the channel) and doubles of the service's side, which note what came.
 */
enum { MASTER, HELPER, WORKER, PROGRAMS };

#define GENERATION 3

struct rig {
	struct engine e;
	struct tiny_model model;
	struct engine_service services[1];
	struct engine_program programs[PROGRAMS];
	struct group_member local_members[PROGRAMS];
	uint32_t local_rows[PROGRAMS];
	int keeper; /* the test's end */
	unsigned died, limits, resumed, ended, reconciled, silences;
	bool running, silent_dead;
	struct service_baton baton;
	unsigned quiesced;
	unsigned net_opened, scribe_opened;
	uint32_t node_baton_len;
	unsigned hooks;
	struct service_event hook;
	char reexec_failed[256];
};

static struct rig *rig;

/* ---- doubles ------------------------------------------------------------------------------------ */

void service_io_event(struct engine *e, uint32_t row, const struct service_event *ev)
{
	assert_int_equal(row, 0);
	if (ev->type == SERVICE_EV_RESUME) {
		rig->resumed++;
		rig->running = ev->running;
		rig->baton = *ev->baton;
	}
	rig->died += ev->type == SERVICE_EV_PROGRAM_DIED;
	rig->limits += ev->type == SERVICE_EV_PROGRAM_LIMIT;
	if (ev->type == SERVICE_EV_FENCE_COMMAND) {
		rig->hooks++;
		rig->hook = *ev;
	}
	rig->ended += ev->type == SERVICE_EV_COMMAND && ev->command == SERVICE_CMD_END;
}

void service_io_reconcile(struct engine *e, uint32_t row)
{
	struct group_order o;

	assert_true(e->ready);
	rig->reconciled++;
	if (group_reconcile(&e->services[row].group, &o)) {
		struct program_event ev = { .type = o.event };

		engine_program_event(e, e->services[row].group_rows[o.member], &ev);
	}
}

void vip_io_done(struct engine_service *svc, const struct ipc_hook_done *d)
{
	fail_msg("no test here has a vip_command");
}

void service_io_quiesced(struct engine *e, const struct ipc_quiesced *q)
{
	rig->quiesced++;
}

void control_poll(struct engine *e)
{
}

void control_reexec_failed(struct engine *e, const char *why)
{
	snprintf(rig->reexec_failed, sizeof(rig->reexec_failed), "%s", why);
}

void keeper_silence(struct engine *e, bool dead)
{
	rig->silences++;
	rig->silent_dead = dead;
	engine_finish(e, 0);
}

void peer_io_hello_now(struct engine *e)
{
}

void peer_io_from_baton(struct engine *e, const void *data, uint32_t len)
{
	rig->node_baton_len = len;
}

void net_link_open(struct engine *e, int fd)
{
	rig->net_opened++;
	close(fd);
}

void scribe_link_open(struct engine *e, int fd)
{
	rig->scribe_opened++;
	close(fd);
}

/* ---- the rig ---------------------------------------------------------------------------------------- */

static void add_program(unsigned row, const char *name, int service)
{
	struct model_program *mp = tiny_program(&rig->model, row);
	struct engine_program *ep = &rig->programs[row];

	mp->name = tiny_str(&rig->model, name);
	mp->service = service;
	mp->autostart = true;
	mp->stopsignal = SIGTERM;
	mp->stopwaitsecs = MTIME_SEC(10);
	mp->startsecs = MTIME_SEC(1);
	mp->restart_delay_max = MTIME_SEC(60);
	ep->engine = &rig->e;
	ep->row = row;
	ep->service = service;
	ep->notify.fd = -1;
	if (service == MODEL_NONE) {
		ep->member = rig->e.local.n++;
		rig->local_rows[ep->member] = row;
		rig->local_members[ep->member] =
			(struct group_member){ .program = &ep->fsm, .autostart = true };
		return;
	}
	ep->member = rig->services[0].group.n++;
	rig->services[0].group_rows[ep->member] = row;
	rig->services[0].group.members[ep->member] =
		(struct group_member){ .program = &ep->fsm, .autostart = true };
}

static void init_model(void)
{
	struct model_service *ms;

	rig->model = tiny_model_new(2, 1, PROGRAMS);
	rig->model.m->supd.engine_timeout = MTIME_SEC(1);
	ms = tiny_service(&rig->model, 0);
	ms->name = tiny_str(&rig->model, "scheduler");
	ms->advert_int = MTIME_SEC(1);
	ms->restart_limit = 2;
	ms->restart_window = MTIME_SEC(60);
	ms->kill_wait = MTIME_SEC(10);
	group_init(&rig->services[0].group, rig->services[0].members);
	group_init(&rig->e.local, rig->local_members);
	rig->e.local_rows = rig->local_rows;
	add_program(MASTER, "master", 0);
	add_program(HELPER, "helper", 0);
	add_program(WORKER, "worker", MODEL_NONE);
}

static int set_up(void **state)
{
	int fds[2];
	struct engine *e;

	rig = calloc(1, sizeof(*rig));
	e = &rig->e;
	init_model();
	e->m = rig->model.m;
	e->generation = GENERATION;
	e->services = rig->services;
	e->programs = rig->programs;
	e->next_order = 1;
	e->keeper_pidfd = -1;
	for (int i = 0; i < 3; i++)
		e->kill_fds[i] = -1;
	e->early_fds[0] = e->early_fds[1] = -1;
	rig->services[0].engine = e;
	rig->services[0].kill_sent = MTIME_NEVER;
	e->fed_at = mtime_now();
	e->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_int_equal(engine_queue_init(e), 0);
	program_io_init(e);
	assert_int_equal(channel_pair(fds), 0);
	rig->keeper = fds[1];
	keeper_link_open(e, fds[0]);
	return 0;
}

static int tear_down(void **state)
{
	struct engine *e = &rig->e;

	link_close(&e->keeper);
	fd_close(&rig->keeper);
	for (int i = 0; i < 3; i++)
		fd_close(&e->kill_fds[i]);
	fd_close(&e->early_fds[0]);
	fd_close(&e->early_fds[1]);
	engine_queue_fini(e);
	ev_loop_destroy(e->loop);
	free(rig->model.m);
	free(rig);
	return 0;
}

static struct ipc_header header(enum ipc_type type)
{
	return (struct ipc_header){ .type = type, .generation = GENERATION };
}

/* The keeper says this, and the engine reads it. */
static void say(const void *msg, size_t len)
{
	assert_int_equal(send(rig->keeper, msg, len, 0), (ssize_t)len);
	keeper_link_drain(&rig->e);
}

static void say_type(enum ipc_type type)
{
	struct ipc_header h = header(type);

	say(&h, sizeof(h));
}

static void say_run(int program, uint32_t run, uint64_t term, pid_t pid)
{
	struct ipc_run r = { .h = header(IPC_RUN), .program = program, .run = run, .term = term,
			     .pid = pid, .started = mtime_now() - MTIME_SEC(5) };

	say(&r, sizeof(r));
}

static void say_baton(uint64_t term)
{
	struct service_baton baton = { .format = SERVICE_BATON_FORMAT,
				       .state = SERVICE_STATE_ACTIVE, .term = term };
	struct ipc_baton b = { .h = header(IPC_BATON), .slot = 0, .len = sizeof(baton) };

	memcpy(b.data, &baton, sizeof(baton));
	say(&b, sizeof(b));
}

static void say_spawned(int program, uint64_t order, uint32_t run)
{
	struct ipc_spawned s = { .h = header(IPC_SPAWNED), .order = order, .program = program,
				 .run = run, .pid = 4000 + program, .at = mtime_now() };

	say(&s, sizeof(s));
}

static void say_ended(int program, uint32_t run)
{
	struct ipc_exited x = { .h = header(IPC_EXITED), .program = program, .run = run,
				.code = 1 };
	struct ipc_gone g = { .h = header(IPC_GONE), .program = program, .run = run };

	say(&x, sizeof(x));
	say(&g, sizeof(g));
}

/* The next thing that the engine asked for, heartbeats left out. */
static size_t next_order(void *buf, size_t size)
{
	struct ipc_header h;

	for (;;) {
		ssize_t n = recv(rig->keeper, buf, size, MSG_DONTWAIT);

		if (n <= 0)
			return 0;
		memcpy(&h, buf, sizeof(h));
		assert_int_equal(h.generation, GENERATION);
		if (h.type != IPC_FEED)
			return (size_t)n;
	}
}

static void expect_start(int program, struct ipc_start *ret)
{
	assert_int_equal(next_order(ret, sizeof(*ret)), sizeof(*ret));
	assert_int_equal(ret->h.type, IPC_START);
	assert_int_equal(ret->program, program);
}

static void expect_nothing(void)
{
	struct ipc_baton any;

	assert_int_equal(next_order(&any, sizeof(any)), 0);
}

/* A first engine: nothing runs, nothing is remembered; the local program was started. */
static void make_ready(void)
{
	struct ipc_start s;

	say_type(IPC_READY);
	expect_start(WORKER, &s);
	say_spawned(WORKER, s.order, 1);
	expect_nothing();
}

static void bring_service_up(void)
{
	struct ipc_start s;

	group_up(&rig->services[0].group);
	service_io_reconcile(&rig->e, 0);
	expect_start(MASTER, &s);
	say_spawned(MASTER, s.order, 1);
	expect_start(HELPER, &s);
	say_spawned(HELPER, s.order, 1);
	expect_nothing();
}

/* ---- life -------------------------------------------------------------------------------------------- */

static void local_programs_start_at_ready_and_not_before(void **state)
{
	struct ipc_start s;
	mtime now = mtime_now();

	expect_nothing();
	say_type(IPC_READY);
	expect_start(WORKER, &s);
	assert_int_equal(s.term, 0);
	assert_true(s.kill_at == MTIME_NEVER);
	assert_true(s.valid_until >= now + MTIME_SEC(1));
	assert_int_equal(rig->resumed, 0);
	expect_nothing(); /* a second READY changes nothing */
	say_type(IPC_READY);
	expect_nothing();
}

static void service_starts_carry_term_deadline_and_cause(void **state)
{
	struct service_fsm *f = &rig->services[0].fsm;
	struct ipc_start s;

	make_ready();
	f->term = 257;
	f->cause = SERVICE_CAUSE_TAKEOVER;
	f->may_run = true;
	f->s = mtime_now();
	f->budget.life = MTIME_SEC(2);
	f->config.advert_int = MTIME_SEC(1);
	group_up(&rig->services[0].group);
	service_io_reconcile(&rig->e, 0);
	expect_start(MASTER, &s);
	assert_int_equal(s.term, 257);
	assert_int_equal(s.kill_at, f->s + MTIME_SEC(2));
	assert_true(s.valid_until <= s.kill_at);
	assert_string_equal(s.cause, "takeover");
}

static void new_engine_adopts_before_its_service_resumes(void **state)
{
	say_run(MASTER, 9, 257, 4711);
	say_run(WORKER, 4, 0, 4712);
	say_baton(257);
	assert_int_equal(rig->resumed, 0);
	assert_int_equal(rig->reconciled, 0); /* its group is down: it would be stopped */
	assert_int_equal(rig->programs[MASTER].fsm.state, PROGRAM_STATE_RUNNING);
	say_type(IPC_READY);
	assert_int_equal(rig->resumed, 1);
	assert_true(rig->running);
	assert_int_equal(rig->baton.term, 257);
	expect_nothing(); /* and the worker is not started a second time */
}

static void death_among_the_adopted_is_told_after_resume(void **state)
{
	say_run(MASTER, 9, 257, 0); /* only its tree is left */
	say_run(HELPER, 9, 257, 4711);
	say_baton(257);
	assert_int_equal(rig->died, 0);
	say_type(IPC_READY);
	assert_int_equal(rig->resumed, 1);
	assert_int_equal(rig->died, 1);
}

static void runs_without_a_record_are_killed(void **state)
{
	union {
		struct ipc_header h;
		struct ipc_quiesce q;
		struct ipc_kill k;
		struct ipc_start s;
	} m;

	say_run(MASTER, 9, 257, 4711);
	say_run(HELPER, 9, 513, 4712);
	say_type(IPC_READY);
	assert_int_equal(rig->resumed, 0);
	assert_int_equal(next_order(&m, sizeof(m)), sizeof(m.q));
	assert_int_equal(m.h.type, IPC_QUIESCE);
	assert_int_equal(m.q.term, 513);
	assert_int_equal(next_order(&m, sizeof(m)), sizeof(m.k));
	assert_int_equal(m.h.type, IPC_KILL);
	assert_int_equal(rig->programs[MASTER].fsm.state, PROGRAM_STATE_STOPPING);
	assert_int_equal(rig->programs[HELPER].fsm.state, PROGRAM_STATE_STOPPING);
}

static void baton_that_cannot_be_read_counts_as_none(void **state)
{
	static const struct {
		uint32_t format, state, cut;
		const char *why;
	} rows[] = {
		{ SERVICE_BATON_FORMAT + 1, SERVICE_STATE_ACTIVE, 0, "another format" },
		{ SERVICE_BATON_FORMAT, SERVICE_STATES_END, 0, "no such state" },
		{ SERVICE_BATON_FORMAT, SERVICE_STATE_ACTIVE, 1, "cut" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct service_baton baton = { .format = rows[i].format, .state = rows[i].state };
		struct ipc_baton b = { .h = header(IPC_BATON), .slot = 0,
				       .len = (uint32_t)sizeof(baton) - rows[i].cut };

		memcpy(b.data, &baton, sizeof(baton));
		say(&b, sizeof(b));
		if (rig->services[0].has_baton)
			fail_msg("believed, though: %s", rows[i].why);
	}
}

static void node_record_goes_to_the_peer_link(void **state)
{
	struct ipc_baton b = { .h = header(IPC_BATON), .slot = IPC_BATON_NODE, .len = 24 };

	say(&b, offsetof(struct ipc_baton, data) + 24);
	assert_int_equal(rig->node_baton_len, 24);
}

static void say_channel(enum ipc_role role)
{
	struct ipc_channel c = { .h = header(IPC_CHANNEL), .role = role };
	struct channel ch;
	int fds[2];

	assert_int_equal(fd_pipe(fds, 0), 0);
	channel_init(&ch, rig->keeper);
	assert_int_equal(channel_send(&ch, &c, sizeof(c), fds, 1), 0);
	close(fds[0]);
	close(fds[1]);
	keeper_link_drain(&rig->e);
}

static void channels_are_opened_at_ready_and_later_at_once(void **state)
{
	say_channel(IPC_ROLE_NET);
	say_channel(IPC_ROLE_SCRIBE);
	assert_int_equal(rig->net_opened + rig->scribe_opened, 0);
	say_type(IPC_READY);
	assert_int_equal(rig->net_opened, 1);
	assert_int_equal(rig->scribe_opened, 1);
	say_channel(IPC_ROLE_NET);
	assert_int_equal(rig->net_opened, 2);
}

static void end_waits_for_services_and_local_programs(void **state)
{
	struct ipc_signal sig;
	struct ipc_done done;

	make_ready();
	say_type(IPC_SHUTDOWN);
	assert_int_equal(rig->ended, 1);
	assert_int_equal(next_order(&sig, sizeof(sig)), sizeof(sig));
	assert_int_equal(sig.h.type, IPC_SIGNAL);
	assert_int_equal(sig.program, WORKER);
	assert_int_equal(sig.signo, SIGTERM);
	say_ended(WORKER, 1);
	assert_false(rig->e.done);
	rig->services[0].ended = true;
	engine_check_ended(&rig->e);
	while (next_order(&done, sizeof(done)) > 0 && done.h.type != IPC_DONE)
		;
	assert_int_equal(done.h.type, IPC_DONE);
	assert_true(rig->e.finished);
	assert_int_equal(rig->e.status, 0);
	assert_int_equal(rig->silences, 0);
}

static void done_that_must_wait_for_the_socket_is_not_cut_off(void **state)
{
	struct ipc_baton b = { .slot = IPC_BATON_NODE };

	say_type(IPC_READY);
	while (!channel_wants_write(&rig->e.keeper.channel))
		keeper_send_baton(&rig->e, IPC_BATON_NODE, b.data, sizeof(b.data));
	keeper_send_done(&rig->e);
	assert_false(rig->e.finished);
	fd_close(&rig->keeper); /* the keeper has read it, and hangs up */
	keeper_link_drain(&rig->e);
	assert_true(rig->e.finished);
	assert_int_equal(rig->silences, 0);
}

static void shutdown_before_ready_ends_at_ready(void **state)
{
	say_type(IPC_SHUTDOWN);
	assert_int_equal(rig->ended, 0);
	say_type(IPC_READY);
	assert_int_equal(rig->ended, 1);
	expect_nothing(); /* nothing is started on the way out */
}

/* ---- programs ------------------------------------------------------------------------------------------ */

static void death_and_limit_reach_the_service(void **state)
{
	make_ready();
	bring_service_up();
	say_ended(MASTER, 1);
	assert_true(rig->died >= 1);
	assert_int_equal(rig->limits, 0);
	engine_program_event(&rig->e, MASTER, &(struct program_event){ .type = PROGRAM_EV_TICK });
	rig->programs[MASTER].fsm.next_start = 0;
	engine_program_event(&rig->e, MASTER, &(struct program_event){ .type = PROGRAM_EV_ALLOW });
	say_spawned(MASTER, rig->programs[MASTER].order, 2);
	assert_int_equal(rig->programs[MASTER].fsm.state, PROGRAM_STATE_RUNNING);
	say_ended(MASTER, 2);
	assert_int_equal(rig->limits, 1); /* restart_limit = 2 */
}

static void local_program_restarts_without_asking_anybody(void **state)
{
	struct ipc_start s;
	struct ipc_kill k;

	make_ready();
	rig->programs[WORKER].fsm.ready_at -= MTIME_SEC(5); /* it lived for its startsecs */
	say_ended(WORKER, 1);
	assert_int_equal(next_order(&k, sizeof(k)), sizeof(k)); /* what it may have left */
	assert_int_equal(k.h.type, IPC_KILL);
	expect_start(WORKER, &s);
	assert_int_equal(rig->died, 0);
}

static void failed_spawn_keeps_stage_and_errno(void **state)
{
	struct ipc_spawn_failed f = { .h = header(IPC_SPAWN_FAILED), .program = WORKER,
				      .stage = IPC_STAGE_EXEC, .error = 2 };
	struct ipc_start s;

	say_type(IPC_READY);
	expect_start(WORKER, &s);
	f.order = s.order + 1;
	say(&f, sizeof(f)); /* of another order */
	assert_int_equal(rig->programs[WORKER].fsm.state, PROGRAM_STATE_STARTING);
	f.order = s.order;
	say(&f, sizeof(f));
	assert_int_equal(rig->programs[WORKER].fsm.state, PROGRAM_STATE_BACKOFF);
	assert_int_equal(rig->programs[WORKER].fsm.last_stage, IPC_STAGE_EXEC);
	assert_int_equal(rig->programs[WORKER].fsm.last_errno, 2);
}

static void run_of_an_order_that_is_not_ours_is_killed(void **state)
{
	struct ipc_start s;
	struct ipc_kill k;

	say_type(IPC_READY);
	expect_start(WORKER, &s);
	say_spawned(WORKER, s.order + 7, 5);
	assert_int_equal(next_order(&k, sizeof(k)), sizeof(k));
	assert_int_equal(k.h.type, IPC_KILL);
	assert_int_equal(k.run, 5);
	assert_int_equal(rig->programs[WORKER].fsm.state, PROGRAM_STATE_STARTING);
}

/* ---- the beat ---------------------------------------------------------------------------------------------- */

static struct ipc_feed last_feed(void)
{
	struct ipc_feed f, last = { 0 };

	while (recv(rig->keeper, &f, sizeof(f), MSG_DONTWAIT) > 0) {
		if (f.h.type == IPC_FEED)
			last = f;
	}
	return last;
}

static void feed_names_the_deadline_and_its_end_once(void **state)
{
	struct service_fsm *f = &rig->services[0].fsm;
	struct ipc_feed feed;

	keeper_feed(&rig->e);
	assert_int_equal(last_feed().n, 0); /* nothing may run, nothing was said before */
	f->may_run = true;
	f->s = MTIME_SEC(50);
	f->budget.life = MTIME_SEC(2);
	keeper_feed(&rig->e);
	feed = last_feed();
	assert_int_equal(feed.n, 1);
	assert_int_equal(feed.kill[0].service, 0);
	assert_int_equal(feed.kill[0].kill_at, MTIME_SEC(52));
	f->may_run = false;
	keeper_feed(&rig->e);
	feed = last_feed();
	assert_int_equal(feed.n, 1);
	assert_true(feed.kill[0].kill_at == MTIME_NEVER);
	keeper_feed(&rig->e);
	assert_int_equal(last_feed().n, 0);
}

static void stop_loop(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	ev_break(loop, EVBREAK_ALL);
}

static void run_for(double seconds)
{
	struct ev_timer t;

	ev_timer_init(&t, stop_loop, seconds, 0.);
	ev_timer_start(rig->e.loop, &t);
	ev_run(rig->e.loop, 0);
	ev_timer_stop(rig->e.loop, &t);
}

static void answer_feeds(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct ipc_fed fed = { .h = header(IPC_FED), .seq = last_feed().seq };

	send(rig->keeper, &fed, sizeof(fed), 0);
}

static void keeper_that_does_not_answer_is_silent_after_engine_timeout(void **state)
{
	mtime begin = mtime_now();

	rig->e.services[0].fsm.may_run = true;
	rig->e.fed_at = begin;
	run_for(5.);
	assert_int_equal(rig->silences, 1);
	assert_false(rig->silent_dead);
	assert_in_range(mtime_to_ms(mtime_now() - begin), 1000, 1900);
}

/* Nothing runs: ending supd over a short stall would only cost the others their standby. */
static void where_nothing_runs_the_keeper_may_be_silent_for_longer(void **state)
{
	mtime begin = mtime_now();

	rig->e.fed_at = begin;
	run_for(5.);
	assert_int_equal(rig->silences, 1);
	assert_true(mtime_now() - begin >= MTIME_SEC(2));
}

static void keeper_that_answers_is_not_silent(void **state)
{
	struct ev_io w;

	ev_io_init(&w, answer_feeds, rig->keeper, EV_READ);
	ev_io_start(rig->e.loop, &w);
	run_for(1.6);
	ev_io_stop(rig->e.loop, &w);
	assert_int_equal(rig->silences, 0);
	assert_true(rig->e.fed_seq >= 5);
}

static void engine_that_was_stalled_gives_the_keeper_another_timeout(void **state)
{
	/* As after a SIGSTOP: the tick is late, the last answer is old. */
	rig->e.fed_at = mtime_now() - MTIME_SEC(5);
	rig->e.feed_base = rig->e.fed_at;
	rig->e.feed_due = mtime_now() - MTIME_SEC(4);
	run_for(0.6);
	assert_int_equal(rig->silences, 0);
	run_for(2.);
	assert_int_equal(rig->silences, 1);
}

static void answer_to_what_was_never_sent_does_not_count(void **state)
{
	struct ipc_fed fed = { .h = header(IPC_FED), .seq = 1000000 };

	rig->e.fed_at = 1;
	say(&fed, sizeof(fed));
	assert_int_equal(rig->e.fed_at, 1);
}

static void closed_channel_before_done_is_not_the_end(void **state)
{
	make_ready();
	fd_close(&rig->keeper);
	keeper_link_drain(&rig->e);
	assert_false(rig->e.finished); /* its pidfd or its silence decides */
	assert_int_equal(rig->silences, 0);
}

/* ---- fence_command -------------------------------------------------------------------------------------------------- */

static void order_fence(uint64_t term, struct ipc_hook *ret)
{
	hook_io_fence(&rig->e, 0, 1, term);
	assert_int_equal(next_order(ret, sizeof(*ret)), sizeof(*ret));
	assert_int_equal(ret->h.type, IPC_HOOK);
}

static void a_refused_replacement_is_told_with_its_reason(void **state)
{
	struct ipc_reexec_failed f = { .h = header(IPC_REEXEC_FAILED), .order = 1 };

	make_ready();
	memset(f.why, 'x', sizeof(f.why)); /* no end */
	say(&f, sizeof(f));
	assert_int_equal(strlen(rig->reexec_failed), sizeof(f.why) - 1);
	snprintf(f.why, sizeof(f.why), "no such binary");
	say(&f, sizeof(f));
	assert_string_equal(rig->reexec_failed, "no such binary");
}

static void say_hook_done(uint64_t order, bool ok)
{
	struct ipc_hook_done d = { .h = header(IPC_HOOK_DONE), .order = order, .ok = ok,
				   .code = ok ? 0 : 1 };

	say(&d, sizeof(d));
}

static void fence_command_is_ordered_for_a_node_and_its_end_is_an_event(void **state)
{
	struct ipc_hook h;
	mtime now = mtime_now();

	make_ready();
	rig->services[0].fsm.cause = SERVICE_CAUSE_TAKEOVER;
	order_fence(257, &h);
	assert_int_equal(h.kind, IPC_HOOK_FENCE);
	assert_int_equal(h.row, 0);
	assert_int_equal(h.node, 1);
	assert_int_equal(h.term, 257);
	assert_string_equal(h.cause, "takeover");
	assert_in_range(h.valid_until, now + MTIME_SEC(1), now + MTIME_SEC(5));
	assert_int_equal(rig->hooks, 0);
	say_hook_done(h.order, true);
	assert_int_equal(rig->hooks, 1);
	assert_true(rig->hook.ok);
	assert_int_equal(rig->hook.peer, 1);
	assert_int_equal(rig->hook.term, 257);
	say_hook_done(h.order, true); /* said twice */
	assert_int_equal(rig->hooks, 1);
}

static void only_the_newest_fence_command_is_heard(void **state)
{
	struct ipc_hook first, second;

	make_ready();
	order_fence(257, &first);
	order_fence(513, &second);
	say_hook_done(first.order, true);
	say_hook_done(0, true);
	assert_int_equal(rig->hooks, 0);
	say_hook_done(second.order, false);
	assert_int_equal(rig->hooks, 1);
	assert_false(rig->hook.ok);
	assert_int_equal(rig->hook.term, 513);
}

static void fence_command_that_cannot_be_ordered_has_failed(void **state)
{
	make_ready();
	fd_close(&rig->keeper);
	keeper_link_drain(&rig->e);
	hook_io_fence(&rig->e, 0, 1, 257);
	assert_int_equal(rig->hooks, 1);
	assert_false(rig->hook.ok);
}

/* ---- nonsense ---------------------------------------------------------------------------------------------------- */

static void messages_that_make_no_sense_change_nothing(void **state)
{
	union {
		struct ipc_header h;
		struct ipc_run run;
		struct ipc_exited exited;
		struct ipc_spawn_failed failed;
		struct ipc_quiesced quiesced;
		struct ipc_baton baton;
		struct ipc_channel channel;
	} m;
	make_ready();
	for (int row = -1; row <= PROGRAMS; row += PROGRAMS + 1) {
		struct ipc_run r = { .h = header(IPC_RUN), .program = row, .run = 1 };
		struct ipc_exited x = { .h = header(IPC_EXITED), .program = row, .run = 1 };
		struct ipc_gone g = { .h = header(IPC_GONE), .program = row, .run = 1 };
		struct ipc_spawned sp = { .h = header(IPC_SPAWNED), .program = row, .run = 1 };

		say(&r, sizeof(r));
		say(&x, sizeof(x));
		say(&g, sizeof(g));
		say(&sp, sizeof(sp));
	}
	memset(&m, 0, sizeof(m));
	m.failed = (struct ipc_spawn_failed){ .h = header(IPC_SPAWN_FAILED), .program = WORKER,
					      .order = rig->programs[WORKER].order,
					      .stage = IPC_STAGES_END };
	say(&m, sizeof(m.failed));
	m.quiesced = (struct ipc_quiesced){ .h = header(IPC_QUIESCED), .service = 1 };
	say(&m, sizeof(m.quiesced));
	struct ipc_hook_done hook = { .h = header(IPC_HOOK_DONE), .row = 1, .ok = true };
	say(&hook, sizeof(hook));
	m.baton = (struct ipc_baton){ .h = header(IPC_BATON), .slot = 1, .len = 8 };
	say(&m, sizeof(m.baton));
	m.baton = (struct ipc_baton){ .h = header(IPC_BATON), .slot = IPC_BATON_NODE, .len = 2000 };
	say(&m, sizeof(m.baton));
	m.channel = (struct ipc_channel){ .h = header(IPC_CHANNEL), .role = IPC_ROLE_NET };
	say(&m, sizeof(m.channel)); /* without a descriptor */
	for (uint32_t type = 0; type < IPC_TYPES_END + 2; type++) {
		struct ipc_header h = { .type = type, .generation = GENERATION };

		if (type != IPC_SHUTDOWN)
			say(&h, sizeof(h));
	}
	assert_int_equal(rig->quiesced, 0);
	assert_int_equal(rig->hooks, 0);
	assert_int_equal(rig->node_baton_len, 0);
	assert_int_equal(rig->net_opened, 0);
	assert_int_equal(rig->programs[WORKER].fsm.state, PROGRAM_STATE_RUNNING);
	assert_int_equal(rig->programs[MASTER].fsm.state, PROGRAM_STATE_STOPPED);
	assert_true(rig->e.keeper.channel.fd >= 0);
}

static void descriptors_of_refused_messages_are_closed(void **state)
{
	struct ipc_channel c = { .h = header(IPC_CHANNEL), .role = 77 };
	struct channel ch;
	struct pollfd p;
	int fds[2];

	assert_int_equal(fd_pipe(fds, 0), 0);
	channel_init(&ch, rig->keeper);
	assert_int_equal(channel_send(&ch, &c, sizeof(c), &fds[1], 1), 0);
	fd_close(&fds[1]);
	keeper_link_drain(&rig->e);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true((p.revents & POLLHUP) != 0); /* no writer is left */
	fd_close(&fds[0]);
}

static void welcome_brings_the_descriptors_that_kill(void **state)
{
	struct ipc_welcome w = { .h = header(IPC_WELCOME), .keeper_pid = 77,
				 .engine_restarts = 2 };
	struct channel ch;
	int fds[3];

	for (int i = 0; i < 3; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	memset(w.cgroup, 'x', sizeof(w.cgroup));
	channel_init(&ch, rig->keeper);
	assert_int_equal(channel_send(&ch, &w, sizeof(w), fds, 3), 0);
	for (int i = 0; i < 3; i++)
		fd_close(&fds[i]);
	keeper_link_drain(&rig->e);
	for (int i = 0; i < 3; i++)
		assert_true(rig->e.kill_fds[i] >= 0);
	assert_int_equal(rig->e.keeper_pid, 77);
	assert_int_equal(rig->e.engine_restarts, 2);
	assert_int_equal(strlen(rig->e.welcome.cgroup), sizeof(w.cgroup) - 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(local_programs_start_at_ready_and_not_before),
		T(service_starts_carry_term_deadline_and_cause),
		T(new_engine_adopts_before_its_service_resumes),
		T(death_among_the_adopted_is_told_after_resume),
		T(runs_without_a_record_are_killed),
		T(baton_that_cannot_be_read_counts_as_none),
		T(node_record_goes_to_the_peer_link),
		T(channels_are_opened_at_ready_and_later_at_once),
		T(end_waits_for_services_and_local_programs),
		T(done_that_must_wait_for_the_socket_is_not_cut_off),
		T(shutdown_before_ready_ends_at_ready),
		T(death_and_limit_reach_the_service),
		T(local_program_restarts_without_asking_anybody),
		T(failed_spawn_keeps_stage_and_errno),
		T(run_of_an_order_that_is_not_ours_is_killed),
		T(feed_names_the_deadline_and_its_end_once),
		T(keeper_that_does_not_answer_is_silent_after_engine_timeout),
		T(where_nothing_runs_the_keeper_may_be_silent_for_longer),
		T(keeper_that_answers_is_not_silent),
		T(engine_that_was_stalled_gives_the_keeper_another_timeout),
		T(answer_to_what_was_never_sent_does_not_count),
		T(closed_channel_before_done_is_not_the_end),
		T(fence_command_is_ordered_for_a_node_and_its_end_is_an_event),
		T(a_refused_replacement_is_told_with_its_reason),
		T(only_the_newest_fence_command_is_heard),
		T(fence_command_that_cannot_be_ordered_has_failed),
		T(messages_that_make_no_sense_change_nothing),
		T(descriptors_of_refused_messages_are_closed),
		T(welcome_brings_the_descriptors_that_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
