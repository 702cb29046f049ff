/* SPDX-License-Identifier: MIT */
#include "supd/engine/address_io.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "tests/unit/tiny_model.h"

/* vip_io.c between the machine and a keeper, both played here. */

static struct world {
	struct engine e;
	struct engine_service svc;
	struct tiny_model t;
	struct ipc_hook hook; /* newest */
	unsigned hooks, kills, results, losses;
	struct ipc_address_result result;
	uint32_t lost;
	bool holds, refuse;
} *w;

bool keeper_order_hook(struct engine *e, const struct ipc_hook *hook)
{
	if (w->refuse)
		return false;
	assert_int_equal(hook->kind, IPC_HOOK_VIP);
	assert_int_equal(w->svc.vip.hook, 0); /* one at a time */
	w->hook = *hook;
	w->hooks++;
	return true;
}

void keeper_order_hook_kill(struct engine *e, uint64_t order)
{
	assert_int_equal(order, w->hook.order);
	w->kills++;
}

void service_io_address_result(struct engine *e, const struct ipc_address_result *r)
{
	w->result = *r;
	w->results++;
}

void service_io_address_lost(struct engine *e, const struct ipc_address_lost *l)
{
	w->lost |= 1u << l->vip;
	w->losses++;
}

bool address_io_holds(const struct service_fsm *f)
{
	return w->holds;
}

static int setup(void **state)
{
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	w->t = tiny_model_new(2, 1, 0);
	tiny_service(&w->t, 0)->n_vips = 2;
	tiny_service(&w->t, 0)->garp_refresh = MTIME_SEC(60);
	tiny_service(&w->t, 0)->vip_command_timeout = MTIME_SEC(10);
	w->e.m = w->t.m;
	w->e.next_order = 1;
	w->e.loop = ev_loop_new(EVFLAG_NOENV);
	w->e.services = &w->svc;
	w->svc.engine = &w->e;
	w->svc.fsm.term = 257;
	vip_io_init(&w->svc);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	ev_timer_stop(w->e.loop, &w->svc.vip.timer);
	ev_loop_destroy(w->e.loop);
	free(w->t.m);
	free(w);
	return 0;
}

static void done(int code, bool timed_out)
{
	const struct ipc_hook_done d = {.order = w->hook.order,
					.kind = IPC_HOOK_VIP,
					.code = timed_out ? -1 : code,
					.ok = code == 0 && !timed_out,
					.timed_out = timed_out};

	vip_io_done(&w->svc, &d);
	vip_io_update(&w->svc);
}

static void expect(enum ipc_vip_verb verb, unsigned vip)
{
	assert_int_equal(w->hook.verb, verb);
	assert_int_equal(w->hook.vip, vip);
	assert_int_equal(w->svc.vip.hook, w->hook.order);
}

/* What the timer is armed for comes. */
static void timer(void)
{
	assert_true(ev_is_active(&w->svc.vip.timer));
	ev_invoke(w->e.loop, &w->svc.vip.timer, EV_TIMER);
}

static void acquired(void)
{
	w->holds = true;
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	done(0, false);
	done(0, false);
	assert_int_equal(w->result.error, 0);
	assert_int_equal(w->result.present, 3);
}

static void each_address_is_acquired_then_the_result_is_told(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	expect(IPC_VIP_ACQUIRE, 0);
	assert_int_equal(w->hook.term, 257);
	done(0, false);
	assert_int_equal(w->results, 0);
	expect(IPC_VIP_ACQUIRE, 1);
	done(0, false);
	assert_int_equal(w->results, 1);
	assert_int_equal(w->result.order, 7);
	assert_int_equal(w->result.op, IPC_ADDRESS_ADD);
	assert_int_equal(w->result.error, 0);
	assert_int_equal(w->result.present, 3);
}

static void a_failure_is_told_and_does_not_keep_the_others_away(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	done(3, false);
	expect(IPC_VIP_ACQUIRE, 1);
	done(0, false);
	assert_int_equal(w->result.error, EIO);
	assert_int_equal(w->result.present, 2);
	assert_int_equal(w->hooks, 2); /* whether it is tried again is the machine's business */
}

static void a_hang_is_a_failure(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	done(0, true);
	done(0, false);
	assert_int_equal(w->result.error, ETIMEDOUT);
}

static void what_the_keeper_does_not_take_has_failed(void **state)
{
	w->refuse = true;
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	assert_int_equal(w->results, 1);
	assert_int_equal(w->result.error, EIO);
}

static void an_order_said_again_does_not_begin_anew(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 8, false);
	assert_int_equal(w->hooks, 1);
	assert_int_equal(w->kills, 0);
	done(0, false);
	done(0, false);
	assert_int_equal(w->results, 1);
	assert_int_equal(w->result.order, 8);
}

static void a_release_kills_the_acquire_that_hangs_and_waits_for_its_end(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	vip_io_order(&w->svc, IPC_ADDRESS_REMOVE, 8, false);
	assert_int_equal(w->kills, 1);
	assert_int_equal(w->hooks, 1);
	done(-1, false);
	expect(IPC_VIP_RELEASE, 0); /* the first, not the second */
	done(0, false);
	done(0, false);
	assert_int_equal(w->results, 1);
	assert_int_equal(w->result.op, IPC_ADDRESS_REMOVE);
	assert_int_equal(w->result.order, 8);
}

static void a_release_that_fails_is_tried_three_times(void **state)
{
	acquired();
	w->holds = false;
	vip_io_order(&w->svc, IPC_ADDRESS_REMOVE, 8, false);
	for (int i = 0; i < 3; i++) {
		done(1, false);
		done(0, false);
		assert_int_equal(w->results, 2); /* told once: the release goes on without it */
		if (i < 2)
			timer();
	}
	assert_int_equal(w->result.error, EIO);
	assert_false(ev_is_active(&w->svc.vip.timer));
	assert_int_equal(w->svc.vip.present, 1);
}

static void a_release_ends_when_another_node_acts(void **state)
{
	acquired();
	w->holds = false;
	vip_io_order(&w->svc, IPC_ADDRESS_REMOVE, 8, false);
	w->svc.fsm.term_acted = 258;
	vip_io_update(&w->svc);
	assert_int_equal(w->kills, 1);
	done(-1, false);
	assert_int_equal(w->svc.vip.job, ENGINE_VIP_IDLE);
	assert_false(ev_is_active(&w->svc.vip.timer)); /* nor is it tried again */
	assert_int_equal(w->hooks, 3);
}

static void of_left_overs_only_what_is_here_is_released(void **state)
{
	vip_io_order(&w->svc, IPC_ADDRESS_REMOVE, 8, true);
	expect(IPC_VIP_CHECK, 0);
	done(1, false);
	expect(IPC_VIP_CHECK, 1);
	done(0, false);
	expect(IPC_VIP_RELEASE, 1);
	done(0, false);
	assert_int_equal(w->hooks, 3);
	assert_int_equal(w->result.error, 0);
}

static void while_active_each_address_is_checked_and_status_1_is_a_loss(void **state)
{
	acquired();
	timer();
	expect(IPC_VIP_CHECK, 0);
	done(0, false);
	expect(IPC_VIP_CHECK, 1);
	done(1, false);
	assert_int_equal(w->losses, 1);
	assert_int_equal(w->lost, 2);
	assert_int_equal(w->results, 1); /* of the acquire */
	assert_true(ev_is_active(&w->svc.vip.timer));
}

static void a_check_that_cannot_tell_says_nothing(void **state)
{
	acquired();
	timer();
	done(2, false);
	done(0, true);
	assert_int_equal(w->losses, 0);
}

static void a_standby_checks_nothing(void **state)
{
	acquired();
	w->holds = false;
	vip_io_update(&w->svc);
	assert_false(ev_is_active(&w->svc.vip.timer));
}

static void without_garp_refresh_nothing_is_checked(void **state)
{
	tiny_service(&w->t, 0)->garp_refresh = 0;
	acquired();
	assert_false(ev_is_active(&w->svc.vip.timer));
}

static void the_end_of_an_older_command_is_nobodys(void **state)
{
	const struct ipc_hook_done old = {.order = 1234, .kind = IPC_HOOK_VIP, .ok = true};

	vip_io_order(&w->svc, IPC_ADDRESS_ADD, 7, false);
	vip_io_done(&w->svc, &old);
	expect(IPC_VIP_ACQUIRE, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(each_address_is_acquired_then_the_result_is_told),
		T(a_failure_is_told_and_does_not_keep_the_others_away),
		T(a_hang_is_a_failure),
		T(what_the_keeper_does_not_take_has_failed),
		T(an_order_said_again_does_not_begin_anew),
		T(a_release_kills_the_acquire_that_hangs_and_waits_for_its_end),
		T(a_release_that_fails_is_tried_three_times),
		T(a_release_ends_when_another_node_acts),
		T(of_left_overs_only_what_is_here_is_released),
		T(while_active_each_address_is_checked_and_status_1_is_a_loss),
		T(a_check_that_cannot_tell_says_nothing),
		T(a_standby_checks_nothing),
		T(without_garp_refresh_nothing_is_checked),
		T(the_end_of_an_older_command_is_nobodys),
	};

	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), "vip_io", LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
