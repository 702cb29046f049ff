/* SPDX-License-Identifier: MIT */
#include "supd/net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/core/arp.h"
#include "supd/core/vrrp_packet.h"
#include "supd/ipc/channel.h"
#include "supd/ipc/msg.h"

/*
 * The real net process over real channels, in a network namespace of this process's own:
 *
 *   vs0 (10.9.0.1/24, the service's) ==== vs1 (no address; its frames are read and written raw)
 *
 * Needs root and ip(8); without them everything is skipped (exit 77).
 */

#define OWN    "10.9.0.1"
#define PEER   "10.9.0.2"
#define SECOND "127.0.0.1" /* of further paths: one that is there, and one that is not */
#define ABSENT "10.9.1.1"
#define VIP    "10.9.0.100"
#define VIP2   "10.9.0.101"
#define VIP6   "2001:db8::100"
#define VRID   51
#define PORT   7112
#define NOBODY 65534
#define SOON   MTIME_SEC(5)

/* ---- a model of one service on one of two nodes --------------------------------------------- */

static struct {
	struct model m;
	struct model_node nodes[2];
	struct model_service service;
	char strings[32];
} block;

static uint8_t n_further; /* paths of the model that is made next */
static bool six;

static void make_model(void)
{
	struct model_service *s = &block.service;

	memset(&block, 0, sizeof(block));
	block.m.self = 0;
	block.m.supd.uid = NOBODY;
	block.m.supd.gid = NOBODY;
	block.m.supd.peer_port = PORT;
	block.m.n_nodes = 2;
	block.m.n_services = 1;
	block.m.nodes_off = (uint32_t)((char *)block.nodes - (char *)&block);
	block.m.services_off = (uint32_t)((char *)&block.service - (char *)&block);
	block.nodes[0].address = ip_addr_v4(inet_addr(OWN));
	block.nodes[0].n_further = n_further;
	block.nodes[0].further[0] = ip_addr_v4(inet_addr(SECOND));
	block.nodes[0].further[1] = ip_addr_v4(inet_addr(ABSENT));
	block.nodes[1].address = ip_addr_v4(inet_addr(PEER));
	memcpy(block.strings, "svc\0vs0", 8);
	s->name.off = (uint32_t)(block.strings - (char *)&block);
	s->interface.off = s->name.off + 4;
	s->vrid = VRID;
	s->n_vips = 2;
	s->vips[0] = ip_addr_v4(inet_addr(VIP));
	s->vips[1] = ip_addr_v4(inet_addr(VIP2));
	if (six)
		assert_int_equal(ip_addr_parse(VIP6, &s->vips[1]), 0);
	s->advert_int = MTIME_SEC(1);
	s->vip_lease = MTIME_SEC(1);
}

/* ---- the process under test ----------------------------------------------------------------- */

struct fixture {
	struct channel keeper, engine;
	pid_t pid;
	uint32_t generation;
	uint64_t order;
};

static void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void make_links(void)
{
	shell("ip link add vs0 type veth peer name vs1 && ip addr add " OWN "/24 dev vs0 && "
	      "ip link set vs1 up && ip link set vs0 up");
}

static void give_engine(struct fixture *f)
{
	struct ipc_channel msg = {.h = {IPC_CHANNEL, ++f->generation}, .role = IPC_ROLE_NET};
	int fds[2];

	channel_fini(&f->engine);
	assert_int_equal(channel_pair(fds), 0);
	channel_init(&f->engine, fds[0]);
	assert_int_equal(channel_send(&f->keeper, &msg, sizeof(msg), &fds[1], 1), 0);
	fd_close(&fds[1]);
}

static int monitor_buffer; /* of the net that is started next; 0: as it comes */

static int start(void **state, mtime lease)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	make_model();
	block.service.vip_lease = lease;
	make_links();
	f->engine.fd = -1;
	assert_int_equal(channel_pair(fds), 0);
	fflush(NULL);
	f->pid = fork();
	if (f->pid == 0) {
		const struct net_args args = {.m = &block.m, .keeper_fd = fds[1],
						.monitor_buffer = monitor_buffer};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		log_init(2, "net", LOG_LEVEL_ERROR, false);
		_exit(net_run(&args));
	}
	assert_true(f->pid > 0);
	close(fds[1]);
	channel_init(&f->keeper, fds[0]);
	give_engine(f);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return start(state, MTIME_SEC(1));
}

static int setup_paths(void **state)
{
	n_further = 2;
	const int r = start(state, MTIME_SEC(1));
	n_further = 0;
	return r;
}

/* vip_lease = off: what goes was taken off by somebody. */
static int setup_lasting(void **state)
{
	return start(state, 0);
}

/* Fewer events fit than these tests make. */
static int setup_deaf(void **state)
{
	monitor_buffer = 4096;
	const int r = start(state, 0);
	monitor_buffer = 0;
	return r;
}

/* One address of each family, in the place of two of one. */
static int setup_six(void **state)
{
	six = true;
	const int r = start(state, 0);
	six = false;
	return r;
}

static int setup_six_leased(void **state)
{
	six = true;
	const int r = start(state, MTIME_SEC(1));
	six = false;
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	channel_fini(&f->keeper);
	channel_fini(&f->engine);
	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
	}
	free(f);
	/* Not there any more after some tests. */
	if (system("ip link del vs1 2>/dev/null; ip link del vs0 2>/dev/null") < 0)
		return -1;
	return 0;
}

/* ---- talking to it -------------------------------------------------------------------------- */

union msg {
	struct ipc_header h;
	struct ipc_peer_socket peer;
	struct ipc_service_sockets sockets;
	struct ipc_address_result result;
	struct ipc_address_lost lost;
	struct ipc_link link;
	struct ipc_gateway gateway;
};

/* The next message of any type; false: none within the time. */
static bool next_message(struct fixture *f, union msg *ret, int fds[2], mtime deadline)
{
	for (;;) {
		struct pollfd p = {.fd = f->engine.fd, .events = POLLIN};
		int received[CHANNEL_FDS_MAX];
		size_t n_fds = 0;
		const ssize_t len = channel_recv(&f->engine, ret, sizeof(*ret), received, &n_fds);

		if (len > 0) {
			assert_int_equal(ret->h.generation, f->generation);
			fds[0] = n_fds > 0 ? received[0] : -1;
			fds[1] = n_fds > 1 ? received[1] : -1;
			return true;
		}
		assert_int_equal(len, -EAGAIN);
		if (mtime_now() >= deadline)
			return false;
		poll(&p, 1, (int)mtime_to_ms(deadline - mtime_now()) + 1);
	}
}

/* The next message of this type; others are passed over. */
static void expect(struct fixture *f, enum ipc_type type, union msg *ret, int fds[2])
{
	const mtime deadline = mtime_now() + SOON;
	int unwanted[2];

	while (next_message(f, ret, unwanted, deadline)) {
		if (ret->h.type == (uint32_t)type) {
			if (fds != NULL)
				memcpy(fds, unwanted, sizeof(unwanted));
			if (fds != NULL)
				return;
		}
		fd_close(&unwanted[0]);
		fd_close(&unwanted[1]);
		if (ret->h.type == (uint32_t)type)
			return;
	}
	fail_msg("no message of type %d", (int)type);
}

static void tell(struct fixture *f, void *msg, size_t len, enum ipc_type type)
{
	struct ipc_header *h = msg;

	h->type = (uint32_t)type;
	h->generation = f->generation;
	assert_int_equal(channel_send(&f->engine, msg, len, NULL, 0), 0);
}

static void order(struct fixture *f, enum ipc_address_op op, mtime valid_until,
		  struct ipc_address_result *ret)
{
	struct ipc_address msg = {
		.order = ++f->order, .op = (uint32_t)op, .valid_until = valid_until};
	union msg answer;

	tell(f, &msg, sizeof(msg), IPC_ADDRESS);
	expect(f, IPC_ADDRESS_RESULT, &answer, NULL);
	assert_int_equal(answer.result.order, f->order);
	assert_int_equal(answer.result.op, op);
	*ret = answer.result;
}

static void add(struct fixture *f)
{
	struct ipc_address_result r;

	order(f, IPC_ADDRESS_ADD, mtime_now() + SOON, &r);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.present, 3);
}

static void open_service(struct fixture *f, union msg *sockets, int fds[2])
{
	struct ipc_open_service msg = {.service = 0};

	tell(f, &msg, sizeof(msg), IPC_OPEN_SERVICE);
	expect(f, IPC_SERVICE_SOCKETS, sockets, fds);
}

/* What ip(8) says about vs0 contains this. */
static bool shown(const char *text)
{
	char line[1024];
	bool found = false;
	FILE *p = popen("ip -o addr show dev vs0", "r");

	assert_non_null(p);
	while (fgets(line, sizeof(line), p) != NULL)
		found |= strstr(line, text) != NULL;
	pclose(p);
	return found;
}

static int exit_status(struct fixture *f, mtime patience)
{
	const mtime deadline = mtime_now() + patience;
	int status = -1;

	while (waitpid(f->pid, &status, WNOHANG) == 0) {
		if (mtime_now() > deadline)
			fail_msg("net does not end");
		usleep(1000);
	}
	f->pid = 0;
	return status;
}

/* ---- addresses ------------------------------------------------------------------------------ */

static void an_added_address_has_a_lease_that_refresh_keeps_and_the_kernel_ends(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;
	union msg m;
	mtime until, added;

	add(f);
	assert_true(shown("inet " VIP "/32"));
	assert_true(shown("inet " VIP2 "/32"));
	assert_true(shown("vs0:supd"));
	assert_true(shown("noprefixroute"));
	assert_true(shown("valid_lft 1sec"));
	/* Twice as long as it would live by itself. */
	for (until = mtime_now() + MTIME_SEC(4); mtime_now() < until; usleep(250000)) {
		order(f, IPC_ADDRESS_REFRESH, mtime_now() + MTIME_SEC(1), &r);
		assert_int_equal(r.error, 0);
		assert_int_equal(r.present, 3);
		assert_true(shown("inet " VIP "/32"));
	}
	added = mtime_now();
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	assert_true(mtime_now() - added < MTIME_MS(2500));
	assert_false(shown(VIP));
}

static void a_late_refresh_removes(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;

	add(f);
	order(f, IPC_ADDRESS_REFRESH, mtime_now() - 1, &r);
	assert_int_equal(r.error, ETIME);
	assert_int_equal(r.present, 0);
	assert_false(shown(VIP));
}

static void a_refresh_that_was_slept_through_removes(void **state)
{
	struct fixture *f = *state;
	struct ipc_address msg = {.order = 77, .op = IPC_ADDRESS_REFRESH};
	union msg m;

	add(f);
	kill(f->pid, SIGSTOP);
	msg.valid_until = mtime_now() + MTIME_MS(50);
	tell(f, &msg, sizeof(msg), IPC_ADDRESS);
	while (mtime_now() <= msg.valid_until)
		usleep(10000);
	kill(f->pid, SIGCONT);
	expect(f, IPC_ADDRESS_RESULT, &m, NULL);
	assert_int_equal(m.result.error, ETIME);
	assert_false(shown(VIP));
}

static void an_expired_add_adds_nothing(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;

	order(f, IPC_ADDRESS_ADD, 1, &r);
	assert_int_equal(r.error, ETIME);
	assert_false(shown(VIP));
	order(f, IPC_ADDRESS_ADD, 0, &r); /* without a limit */
	assert_int_equal(r.error, 0);
}

static void removing_succeeds_also_where_nothing_is(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;

	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
	add(f);
	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.present, 0);
	assert_false(shown(VIP));
	/* A left-over of a former life, and one that somebody made permanent. */
	shell("ip addr add " VIP "/32 dev vs0");
	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
	assert_false(shown(VIP));
}

static void an_address_removed_by_hand_is_told_and_only_an_add_brings_it_back(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;
	union msg m;

	add(f);
	shell("ip addr del " VIP2 "/32 dev vs0");
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	assert_int_equal(m.lost.vip, 1);
	order(f, IPC_ADDRESS_REFRESH, mtime_now() + MTIME_SEC(1), &r);
	assert_int_equal(r.error, EADDRNOTAVAIL);
	assert_int_equal(r.present, 1);
	assert_false(shown(VIP2));
	add(f);
	assert_true(shown(VIP2));
}

static void our_own_removal_is_no_loss(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;
	struct ipc_address msg = {.op = IPC_ADDRESS_REMOVE};
	mtime deadline;
	union msg m;
	int fds[2];

	add(f);
	tell(f, &msg, sizeof(msg), IPC_ADDRESS);
	msg.op = IPC_ADDRESS_ADD;
	tell(f, &msg, sizeof(msg), IPC_ADDRESS);
	for (int i = 0; i < 2; i++)
		expect(f, IPC_ADDRESS_RESULT, &m, NULL);
	order(f, IPC_ADDRESS_REFRESH, mtime_now() + SOON, &r);
	assert_int_equal(r.present, 3);
	/* Not for as long as the lease surely lasts. */
	deadline = mtime_now() + MTIME_MS(300);
	while (next_message(f, &m, fds, deadline))
		assert_int_not_equal(m.h.type, IPC_ADDRESS_LOST);
}

static void an_address_on_a_missing_interface_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;

	shell("ip link del vs0");
	order(f, IPC_ADDRESS_ADD, mtime_now() + SOON, &r);
	assert_int_equal(r.error, ENODEV);
	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
}

/* ---- IPv6 ----------------------------------------------------------------------------------- */

static void an_ipv6_address_is_deprecated_and_ready_at_once(void **state)
{
	struct fixture *f = *state;
	struct ipc_address_result r;
	union msg m;

	add(f);
	assert_true(shown("inet6 " VIP6 "/128"));
	assert_true(shown(" deprecated "));
	assert_true(shown(" nodad "));
	assert_true(shown("preferred_lft 0sec"));
	order(f, IPC_ADDRESS_REFRESH, mtime_now() + SOON, &r);
	assert_int_equal(r.error, 0);
	assert_true(shown("inet6 " VIP6 "/128"));
	shell("ip addr del " VIP6 "/128 dev vs0");
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	assert_int_equal(m.lost.vip, 1);
	add(f);
	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
	assert_false(shown(VIP6));
}

static void its_lease_ends_without_anybody(void **state)
{
	struct fixture *f = *state;
	const mtime deadline = mtime_now() + 2 * SOON;
	struct ipc_address_result r;

	order(f, IPC_ADDRESS_ADD, 0, &r);
	assert_int_equal(r.error, 0);
	kill(f->pid, SIGKILL);
	while (shown(VIP6)) {
		assert_true(mtime_now() < deadline);
		usleep(20000);
	}
}

/* ---- connections ---------------------------------------------------------------------------- */

/* A connection to `vip` within this host: [0] its client, [1] the end that has the address. */
static void connect_to(const char *vip, int ret[2])
{
	struct sockaddr_storage sa;
	struct ip_addr a;
	socklen_t len;
	int listener;

	assert_int_equal(ip_addr_parse(vip, &a), 0);
	len = ip_addr_to_sockaddr(&a, 0, 0, &sa);
	listener = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	ret[0] = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* From another address of ours: who ends is to be seen. */
	assert_int_equal(ip_addr_parse(a.family == AF_INET ? OWN : "::1", &a), 0);
	struct sockaddr_storage from;
	const socklen_t from_len = ip_addr_to_sockaddr(&a, 0, 0, &from);

	assert_int_equal(bind(ret[0], (struct sockaddr *)&from, from_len), 0);
	/* The kernel has the address a moment before it has the way to it. */
	for (mtime until = mtime_now() + MTIME_SEC(5);
	     connect(ret[0], (struct sockaddr *)&sa, len) < 0 && errno != EISCONN;) {
		assert_true(mtime_now() < until);
		usleep(1000);
	}
	ret[1] = accept(listener, NULL, NULL);
	assert_true(ret[1] >= 0);
	close(listener);
}

/* The error that a read finds, waiting for it. */
static int read_error(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&p, 1, 5000), 1);
	return read(fd, &byte, 1) < 0 ? errno : 0;
}

static void connections_of_an_address_that_leaves_are_ended_at_both_ends(void **state)
{
	static const char *const vips[] = {VIP, VIP6};
	struct fixture *f = *state;
	struct ipc_address_result r;
	int ends[2][2];

	shell("ip link set lo up");
	add(f);
	for (int i = 0; i < 2; i++)
		connect_to(vips[i], ends[i]);
	order(f, IPC_ADDRESS_REMOVE, 0, &r);
	assert_int_equal(r.error, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(read_error(ends[i][1]), ECONNABORTED);
		assert_int_equal(read_error(ends[i][0]), ECONNRESET);
		close(ends[i][0]);
		close(ends[i][1]);
	}
}

/* ---- overrun -------------------------------------------------------------------------------- */

static void what_was_lost_while_nobody_listened_is_found_by_asking(void **state)
{
	struct fixture *f = *state;
	union msg m, sockets;
	int fds[2];

	open_service(f, &sockets, fds);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	expect(f, IPC_LINK, &m, NULL);
	add(f);
	kill(f->pid, SIGSTOP);
	/* More than the buffer holds, then what matters: both are dropped by the kernel. */
	shell("for i in $(seq 1 200); do echo addr add 10.9.9.$i/32 dev vs0; done | ip -batch - && "
	      "ip addr del " VIP "/32 dev vs0 && ip link set vs0 down && ip link set vs0 "
	      "address 02:00:00:00:00:77 && ip link del vs0 && "
	      "ip link add vs0 type veth peer name vs1 && ip link set vs1 up && "
	      "ip link set vs0 up");
	kill(f->pid, SIGCONT);
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	expect(f, IPC_SERVICE_SOCKETS, &sockets, fds); /* of the new interface */
	assert_int_equal(sockets.sockets.error, 0);
	assert_int_equal(sockets.sockets.ifindex, if_nametoindex("vs0"));
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	do
		expect(f, IPC_LINK, &m, NULL);
	while (!m.link.up);
	assert_int_equal(m.link.ifindex, if_nametoindex("vs0"));
	add(f);
}

/* ---- interfaces ----------------------------------------------------------------------------- */

static void a_renamed_interface_keeps_no_address_of_ours(void **state)
{
	struct fixture *f = *state;
	union msg m, sockets;
	int fds[2];

	open_service(f, &sockets, fds);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	add(f);
	shell("ip link set vs0 down && ip link set vs0 name vs9 && ip link set vs9 up");
	do
		expect(f, IPC_LINK, &m, NULL);
	while (m.link.exists);
	assert_int_equal(system("ip -o addr show dev vs9 | grep -q '" VIP "/'") == 0, 0);
	shell("ip link set vs9 down && ip link set vs9 name vs0 && ip link set vs0 up");
	expect(f, IPC_SERVICE_SOCKETS, &sockets, fds);
	assert_int_equal(sockets.sockets.error, 0);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	do
		expect(f, IPC_LINK, &m, NULL);
	while (!m.link.up || m.link.link_local.family == 0); /* nobody tells of an old address */
	add(f);
}

/* ---- orders --------------------------------------------------------------------------------- */

static void orders_of_a_former_engine_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct ipc_address msg = {.h = {IPC_ADDRESS, 0}, .order = 1, .op = IPC_ADDRESS_ADD};
	struct ipc_address_result r;

	assert_int_equal(channel_send(&f->engine, &msg, sizeof(msg), NULL, 0), 0);
	order(f, IPC_ADDRESS_REMOVE, 0, &r); /* orders are carried out in order */
	assert_int_equal(r.present, 0);
	assert_false(shown(VIP));
}

/* ---- the end -------------------------------------------------------------------------------- */

static void both_ends_closed_removes_addresses_and_exits_0(void **state)
{
	struct fixture *f = *state;

	add(f);
	channel_fini(&f->engine);
	assert_true(shown(VIP)); /* an engine may come back */
	channel_fini(&f->keeper);
	assert_int_equal(exit_status(f, SOON), 0);
	assert_false(shown(VIP));
	assert_false(shown(VIP2));
	assert_true(shown(OWN));
}

static void the_engine_may_give_orders_after_the_keepers_end(void **state)
{
	struct fixture *f = *state;
	mtime closed;

	add(f);
	closed = mtime_now();
	channel_fini(&f->keeper);
	add(f);
	assert_int_equal(exit_status(f, SOON), 0);
	assert_true(mtime_now() - closed >= MTIME_MS(1900));
	assert_true(mtime_now() - closed < MTIME_MS(4000));
	assert_false(shown(VIP));
}

static void signals_to_the_session_do_not_end_it(void **state)
{
	struct fixture *f = *state;

	add(f); /* it is in its loop */
	kill(f->pid, SIGTERM);
	kill(f->pid, SIGINT);
	kill(f->pid, SIGHUP);
	add(f);
	channel_fini(&f->keeper);
	channel_fini(&f->engine);
	assert_int_equal(exit_status(f, SOON), 0);
}

static void it_keeps_two_capabilities_and_the_configured_user(void **state)
{
	struct fixture *f = *state;
	unsigned long long caps = 0;
	unsigned uid = 0;
	char path[64], line[256];
	FILE *status;

	add(f);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)f->pid);
	status = fopen(path, "r");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status) != NULL) {
		sscanf(line, "Uid: %u", &uid);
		sscanf(line, "CapPrm: %llx", &caps);
	}
	fclose(status);
	assert_int_equal(uid, NOBODY);
	assert_int_equal(caps, 1ull << 12 | 1ull << 13); /* NET_ADMIN, NET_RAW */
}

/* ---- links and routes ----------------------------------------------------------------------- */

static void expect_link(struct fixture *f, bool exists, bool up)
{
	union msg m;

	do
		expect(f, IPC_LINK, &m, NULL);
	while (m.link.exists != exists || m.link.up != up);
	if (exists)
		assert_int_equal(m.link.ifindex, if_nametoindex("vs0"));
}

static void link_changes_are_told_once_each(void **state)
{
	struct fixture *f = *state;
	union msg m;
	int fds[2];

	open_service(f, &m, fds);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	expect_link(f, true, true);
	shell("ip link set vs1 down"); /* carrier lost */
	expect_link(f, true, false);
	shell("ip link set vs1 up");
	expect_link(f, true, true);
	shell("ip link set vs0 down");
	expect_link(f, true, false);
	shell("ip link set vs0 up");
	expect_link(f, true, true);
	/* Events without a change are not passed on. */
	shell("ip link set vs0 alias changed; ip link set vs0 txqueuelen 77");
	while (next_message(f, &m, fds, mtime_now() + MTIME_MS(200)))
		assert_int_not_equal(m.h.type, IPC_LINK);
}

static void a_renamed_interface_is_missing(void **state)
{
	struct fixture *f = *state;
	union msg m;
	int fds[2];

	open_service(f, &m, fds);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	shell("ip link set vs0 down; ip link set vs0 name vs9");
	expect_link(f, false, false);
	shell("ip link set vs9 name vs0; ip link set vs0 up");
	expect(f, IPC_SERVICE_SOCKETS, &m, NULL);
	assert_int_equal(m.sockets.error, 0);
	expect_link(f, true, true);
}

static void an_interface_made_anew_gets_new_sockets_and_loses_addresses(void **state)
{
	struct fixture *f = *state;
	unsigned old = if_nametoindex("vs0");
	union msg m;
	int fds[2];

	open_service(f, &m, fds);
	assert_int_equal(m.sockets.ifindex, old);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	add(f);
	shell("ip link del vs0");
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	expect_link(f, false, false);
	make_links();
	expect(f, IPC_SERVICE_SOCKETS, &m, fds);
	assert_int_equal(m.sockets.error, 0);
	assert_int_equal(m.sockets.ifindex, if_nametoindex("vs0"));
	assert_int_not_equal(m.sockets.ifindex, old);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	expect_link(f, true, true);
	add(f);
}

static void sockets_of_a_missing_interface_come_when_it_does(void **state)
{
	struct fixture *f = *state;
	union msg m;
	int fds[2];

	shell("ip link del vs0");
	open_service(f, &m, fds);
	assert_int_equal(m.sockets.error, ENODEV);
	assert_int_equal(fds[0], -1);
	make_links();
	expect(f, IPC_SERVICE_SOCKETS, &m, fds);
	assert_int_equal(m.sockets.error, 0);
	assert_true(fds[1] >= 0);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void expect_gateway(struct fixture *f, const char *address)
{
	union msg m;

	do
		expect(f, IPC_GATEWAY, &m, NULL);
	while (m.gateway.address[0].v4.s_addr != inet_addr(address));
}

static void the_gateway_with_the_lowest_metric_is_told(void **state)
{
	struct fixture *f = *state;
	struct ipc_routes msg = {.h = {0}};

	tell(f, &msg, sizeof(msg), IPC_ROUTES);
	expect_gateway(f, "0.0.0.0");
	shell("ip route add default via 10.9.0.250 dev vs0 metric 200");
	expect_gateway(f, "10.9.0.250");
	shell("ip route add default via 10.9.0.251 dev vs0 metric 100");
	expect_gateway(f, "10.9.0.251");
	shell("ip route add default via 10.9.0.252 dev vs0 metric 300");
	shell("ip route add 10.10.0.0/16 via 10.9.0.253 dev vs0");
	shell("ip route del default via 10.9.0.251 dev vs0 metric 100");
	expect_gateway(f, "10.9.0.250");
	shell("ip link set vs0 down"); /* takes the routes away without a word */
	expect_gateway(f, "0.0.0.0");
}

static void a_flood_of_events_loses_no_state(void **state)
{
	struct fixture *f = *state;
	union msg m;
	int fds[2];

	open_service(f, &m, fds);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	expect_link(f, true, true);
	add(f);
	kill(f->pid, SIGSTOP);
	shell("i=0; while [ $i -lt 6000 ]; do "
	      "echo addr add 10.8.$((i / 250)).$((i % 250 + 1))/32 dev vs1; "
	      "i=$((i + 1)); done | ip -batch -");
	shell("ip addr del " VIP "/32 dev vs0; ip link set vs1 down");
	kill(f->pid, SIGCONT);
	expect_link(f, true, false);
	expect(f, IPC_ADDRESS_LOST, &m, NULL);
	assert_int_equal(m.lost.vip, 0);
}

/* ---- sockets -------------------------------------------------------------------------------- */

/* A raw socket at the other end of the wire. */
static int tap(uint16_t ethertype)
{
	const struct timeval patience = {.tv_sec = 5};
	const struct sockaddr_ll sa = {.sll_family = AF_PACKET,
				       .sll_protocol = htons(ethertype),
				       .sll_ifindex = (int)if_nametoindex("vs1")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void mac_of(const char *interface, uint8_t ret[6])
{
	char path[64];
	unsigned b[6];
	FILE *p;

	snprintf(path, sizeof(path), "ip -o link show dev %s | sed 's/.*link.ether //'", interface);
	p = popen(path, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]),
			 6);
	pclose(p);
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)b[i];
}

/* Run in a child that has nothing: another user, no capability. */
static void without_privilege(void (*run)(int fd), int fd)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(9);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		run(fd);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void send_announcement(int fd)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
	uint8_t buf[ARP_FRAME_LEN];
	struct arp_frame f;

	arp_announce(&f, mac, inet_addr(VIP));
	if (send(fd, buf, arp_build(&f, buf, sizeof(buf)), 0) != ARP_FRAME_LEN)
		_exit(1);
}

/* Good adverts of VRID from OWN to PEER, and the other way. */
static size_t make_advert(const char *from, const char *to, uint8_t vrid, uint8_t *buf, size_t size)
{
	const struct vrrp_profile profile = {
		.version = 3, .vrid = vrid, .family = AF_INET, .interval = MTIME_SEC(1)};
	const struct ip_addr vip = ip_addr_v4(inet_addr(VIP));
	struct vrrp_packet p = {.priority = 150,
				.src = ip_addr_v4(inet_addr(from)),
				.dst = ip_addr_v4(inet_addr(to))};

	vrrp_packet_add(&p, &vip);
	return vrrp_packet_build(&profile, &p, buf, size);
}

static void send_vrrp(int fd)
{
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(PEER)};
	uint8_t buf[64];
	const size_t len = make_advert(OWN, PEER, VRID, buf, sizeof(buf));

	if (sendto(fd, buf, len, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)len)
		_exit(1);
}

/* A datagram from IP header on is an advert from there. */
static void assert_advert(const uint8_t *buf, size_t len, const char *from)
{
	const struct vrrp_profile profile = {
		.version = 3, .vrid = VRID, .family = AF_INET, .interval = MTIME_SEC(1)};
	const struct ip_addr peer = ip_addr_v4(inet_addr(from));
	struct vrrp_datagram d;
	struct vrrp_packet seen;

	assert_int_equal(vrrp_packet_unwrap(buf, len, &d), VRRP_REJECT_NONE);
	assert_int_equal(vrrp_packet_parse(&d, &profile, &peer, 1, &seen), VRRP_REJECT_NONE);
	assert_int_equal(seen.priority, 150);
}

static void announcements_leave_through_the_arp_socket(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[128];
	struct arp_frame seen;
	int wire = tap(ETHERTYPE_ARP), fds[2];
	union msg m;

	open_service(f, &m, fds);
	without_privilege(send_announcement, fds[1]);
	do
		assert_int_equal(arp_parse(buf, (size_t)recv(wire, buf, sizeof(buf), 0), &seen), 0);
	while (seen.spa != inet_addr(VIP));
	assert_int_equal(seen.tpa, inet_addr(VIP));
	assert_int_equal(seen.sha[5], 9);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	close(wire);
}

static void adverts_leave_through_the_vrrp_socket_as_the_rfc_wants(void **state)
{
	struct fixture *f = *state;
	char command[128];
	uint8_t buf[256], mac[6];
	int wire = tap(ETHERTYPE_IP), fds[2];
	ssize_t len;
	union msg m;

	mac_of("vs1", mac);
	snprintf(command, sizeof(command),
		 "ip neigh add " PEER " lladdr %02x:%02x:%02x:%02x:%02x:%02x dev vs0", mac[0],
		 mac[1], mac[2], mac[3], mac[4], mac[5]);
	shell(command);
	open_service(f, &m, fds);
	without_privilege(send_vrrp, fds[0]);
	do {
		len = recv(wire, buf, sizeof(buf), 0);
		assert_true(len > 34);
	} while (buf[23] != VRRP_PROTOCOL);
	assert_advert(buf + 14, (size_t)len - 14, OWN);
	assert_int_equal(buf[14 + 1], 0xc0);
	assert_int_equal(buf[14 + 6] & 0x40, 0); /* may be fragmented */
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	close(wire);
}

/* An advert with this VRID, on the wire towards vs0. */
static void inject_advert(int wire, const uint8_t to[6], uint8_t vrid)
{
	const in_addr_t src = inet_addr(PEER), dst = inet_addr(OWN);
	uint8_t d[14 + 20 + 12] = {0};
	uint32_t sum = 0;

	memcpy(d, to, 6);
	d[6] = 2;
	d[12] = 8;
	d[14] = 0x45;
	d[17] = 32;
	d[22] = 255;
	d[23] = VRRP_PROTOCOL;
	memcpy(d + 26, &src, 4);
	memcpy(d + 30, &dst, 4);
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)d[i] << 8 | d[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	d[24] = (uint8_t)(~sum >> 8);
	d[25] = (uint8_t)~sum;
	assert_int_equal(make_advert(PEER, OWN, vrid, d + 34, 12), 12);
	assert_int_equal(send(wire, d, sizeof(d), 0), sizeof(d));
}

static void adverts_of_a_peer_arrive(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = {.events = POLLIN};
	uint8_t buf[256];
	int wire = tap(ETHERTYPE_IP), fds[2];
	ssize_t len;
	union msg m;

	open_service(f, &m, fds);
	p.fd = fds[0];
	/* Again until one comes: an interface that was just made loses frames for a while. */
	for (int i = 0; i < 50 && poll(&p, 1, 100) == 0; i++)
		inject_advert(wire, m.sockets.mac, VRID);
	assert_int_equal(poll(&p, 1, 5000), 1);
	while ((len = recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT)) >= 0)
		assert_advert(buf, (size_t)len, PEER);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	close(wire);
}

struct arp_case {
	const char *why;
	uint16_t op;
	const char *spa;
	bool passes;
};

static const struct arp_case arps[] = {
	{"somebody asks for somebody", ARP_OP_REQUEST, "10.9.0.77", false},
	{"a probe of somebody", ARP_OP_REQUEST, "0.0.0.0", false},
	{"our first address is claimed", ARP_OP_REQUEST, VIP, true},
	{"our second address is claimed", ARP_OP_REQUEST, VIP2, true},
	{"an answer", ARP_OP_REPLY, "10.9.0.77", true},
};

static void the_arp_socket_sees_what_concerns_us_and_its_filter_is_locked(void **state)
{
	struct fixture *f = *state;
	int wire = tap(ETHERTYPE_ARP), fds[2], none = 0;
	uint8_t buf[128];
	union msg m;

	open_service(f, &m, fds);
	for (size_t i = 0; i < sizeof(arps) / sizeof(arps[0]); i++) {
		struct pollfd p = {.fd = fds[1], .events = POLLIN};
		struct arp_frame a = {.op = arps[i].op, .spa = inet_addr(arps[i].spa)};

		print_message("%s\n", arps[i].why);
		memcpy(a.eth_dst, m.sockets.mac, 6);
		assert_int_equal(send(wire, buf, arp_build(&a, buf, sizeof(buf)), 0),
				 ARP_FRAME_LEN);
		/* What passes comes in order, so a wait is needed only for what must not. */
		assert_int_equal(poll(&p, 1, arps[i].passes ? 5000 : 50), arps[i].passes);
		if (arps[i].passes)
			assert_int_equal(recv(fds[1], buf, sizeof(buf), 0), ARP_FRAME_LEN);
	}
	assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)), -1);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	close(wire);
}

static void a_new_engine_gets_the_port_of_the_old_one_as_soon_as_it_is_dead(void **state)
{
	struct fixture *f = *state;
	struct ipc_open_peer open = {.h = {0}};
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	int old[2], fds[2];
	union msg m;
	mtime closed;

	tell(f, &open, sizeof(open), IPC_OPEN_PEER);
	expect(f, IPC_PEER_SOCKET, &m, old);
	assert_int_equal(m.peer.error, 0);
	assert_int_equal(getsockname(old[0], (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(sa.sin_addr.s_addr, inet_addr(OWN));
	assert_int_equal(ntohs(sa.sin_port), PORT);

	give_engine(f);
	tell(f, &open, sizeof(open), IPC_OPEN_PEER);
	expect(f, IPC_PEER_SOCKET, &m, fds);
	assert_int_equal(m.peer.error, EADDRINUSE);
	assert_int_equal(fds[0], -1);
	fd_close(&old[0]);
	closed = mtime_now();
	expect(f, IPC_PEER_SOCKET, &m, fds);
	assert_int_equal(m.peer.error, 0);
	assert_true(mtime_now() - closed < MTIME_MS(500));
	fd_close(&fds[0]);
}

static void expect_peer(struct fixture *f, unsigned path, int error, int *ret_fd)
{
	int fds[2];
	union msg m;

	expect(f, IPC_PEER_SOCKET, &m, fds);
	assert_int_equal(m.peer.path, path);
	assert_int_equal(m.peer.error, error);
	*ret_fd = fds[0];
}

static void assert_bound(int fd, const char *address)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(sa.sin_addr.s_addr, inet_addr(address));
	assert_int_equal(ntohs(sa.sin_port), PORT);
}

/* Also of one whose address is not there; and one that is in use keeps no other waiting. */
static void each_path_of_the_peer_link_has_a_socket_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct ipc_open_peer open = {.h = {0}};
	int old[3], fds[3];

	tell(f, &open, sizeof(open), IPC_OPEN_PEER);
	for (unsigned i = 0; i < 3; i++)
		expect_peer(f, i, 0, &old[i]);
	assert_bound(old[0], OWN);
	assert_bound(old[1], SECOND);
	assert_bound(old[2], ABSENT);
	fd_close(&old[0]);
	fd_close(&old[2]);

	give_engine(f);
	tell(f, &open, sizeof(open), IPC_OPEN_PEER);
	expect_peer(f, 0, 0, &fds[0]);
	expect_peer(f, 1, EADDRINUSE, &fds[1]);
	assert_int_equal(fds[1], -1);
	expect_peer(f, 2, 0, &fds[2]);
	assert_bound(fds[2], ABSENT);
	fd_close(&old[1]);
	expect_peer(f, 1, 0, &fds[1]);
	assert_bound(fds[1], SECOND);
	for (unsigned i = 0; i < 3; i++)
		fd_close(&fds[i]);
}

/* --------------------------------------------------------------------------------------------- */

#define NET_TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LASTING_TEST(name) cmocka_unit_test_setup_teardown(name, setup_lasting, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(an_added_address_has_a_lease_that_refresh_keeps_and_the_kernel_ends),
		NET_TEST(a_late_refresh_removes),
		NET_TEST(a_refresh_that_was_slept_through_removes),
		NET_TEST(an_expired_add_adds_nothing),
		NET_TEST(removing_succeeds_also_where_nothing_is),
		NET_TEST(an_address_removed_by_hand_is_told_and_only_an_add_brings_it_back),
		LASTING_TEST(our_own_removal_is_no_loss),
		NET_TEST(an_address_on_a_missing_interface_is_an_error),
		NET_TEST(orders_of_a_former_engine_are_dropped),
		LASTING_TEST(both_ends_closed_removes_addresses_and_exits_0),
		NET_TEST(the_engine_may_give_orders_after_the_keepers_end),
		NET_TEST(signals_to_the_session_do_not_end_it),
		NET_TEST(it_keeps_two_capabilities_and_the_configured_user),
		NET_TEST(link_changes_are_told_once_each),
		NET_TEST(a_renamed_interface_is_missing),
		NET_TEST(an_interface_made_anew_gets_new_sockets_and_loses_addresses),
		NET_TEST(sockets_of_a_missing_interface_come_when_it_does),
		NET_TEST(the_gateway_with_the_lowest_metric_is_told),
		cmocka_unit_test_setup_teardown(an_ipv6_address_is_deprecated_and_ready_at_once,
						setup_six, teardown),
		cmocka_unit_test_setup_teardown(its_lease_ends_without_anybody, setup_six_leased,
						teardown),
		cmocka_unit_test_setup_teardown(
			connections_of_an_address_that_leaves_are_ended_at_both_ends, setup_six,
			teardown),
		cmocka_unit_test_setup_teardown(
			what_was_lost_while_nobody_listened_is_found_by_asking, setup_deaf,
			teardown),
		NET_TEST(a_renamed_interface_keeps_no_address_of_ours),
		LASTING_TEST(a_flood_of_events_loses_no_state),
		NET_TEST(announcements_leave_through_the_arp_socket),
		NET_TEST(adverts_leave_through_the_vrrp_socket_as_the_rfc_wants),
		NET_TEST(adverts_of_a_peer_arrive),
		NET_TEST(the_arp_socket_sees_what_concerns_us_and_its_filter_is_locked),
		NET_TEST(a_new_engine_gets_the_port_of_the_old_one_as_soon_as_it_is_dead),
		cmocka_unit_test_setup_teardown(
			each_path_of_the_peer_link_has_a_socket_of_its_own, setup_paths, teardown),
	};

	if (unshare(CLONE_NEWNET) < 0 ||
	    system("ip link set lo up && ip link add vs0 type veth peer name vs1 && "
		   "ip link del vs0") != 0) {
		fprintf(stderr, "needs root, network namespaces and ip(8): skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
