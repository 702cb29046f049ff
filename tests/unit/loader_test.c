/* SPDX-License-Identifier: MIT */
#include "supd/config/loader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/log.h"
#include "supd/config/keys.h"
#include "supd/config/model.h"

#define SUPD  "[supd]\ncluster = test\nkey_file = /etc/supd/key\nuser = root\nsocket_group = root\n"
#define NODES "[node:a]\naddress = 192.0.2.11\npriority = 150\n[node:b]\naddress = 192.0.2.12\n"
#define SERVICE                                                                                    \
	"[service:s]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.100\n"
#define PROGRAM "[program:p]\nservice = s\ncommand = /bin/echo 'a b' c\n"
#define ALL     SUPD NODES SERVICE PROGRAM

static struct model *load_as(const struct loader_options *o, const char *text)
{
	struct model *m = NULL;
	int r = loader_load_text(o, text, strlen(text), stderr, &m);

	assert_int_equal(r, 0);
	assert_int_equal(model_verify(m, m->size), 0);
	return m;
}

static struct model *load(const char *text)
{
	const struct loader_options o = {.path = "test.ini"};

	return load_as(&o, text);
}

/* ---- what the block holds -------------------------------------------------------------------- */

static void defaults_are_those_of_the_design(void **state)
{
	struct model *m = load(ALL);
	const struct model_service *s = model_service(m, 0);
	const struct model_program *p = model_program(m, 0);

	assert_string_equal(model_str(m, m->supd.run_dir), "/run/supd");
	assert_string_equal(model_str(m, m->supd.state_dir), "/var/lib/supd");
	assert_string_equal(model_str(m, m->supd.log_dir), "/var/log/supd");
	assert_int_equal(m->supd.peer_port, 7112);
	assert_int_equal(m->supd.socket_mode, 0660);
	assert_false(m->supd.log_to_stderr);
	assert_int_equal(m->supd.log_level, LOG_LEVEL_INFO);
	assert_true(m->supd.engine_timeout > MTIME_MS(796) &&
		    m->supd.engine_timeout < MTIME_MS(797));
	assert_int_equal(model_node(m, 1)->priority, 100);
	assert_true(model_node(m, 1)->peer_link);
	assert_true(s->advert_int == MTIME_SEC(1) && s->vip_lease == MTIME_SEC(3));
	assert_true(s->garp_count == 5 && s->isolation == MODEL_ISOLATION_AUTO);
	assert_true(s->wait_for_peer == MTIME_SEC(60) && s->restart_limit == 3);
	assert_true(s->restart_window == MTIME_SEC(60) && s->failure_reset == MTIME_NEVER);
	assert_true(s->fence_timeout == MTIME_MS(50) && s->pid_namespace);
	assert_true(s->kill_wait == MTIME_SEC(10));
	assert_string_equal(model_str(m, p->directory), "/");
	assert_int_equal(p->umask, 022);
	assert_true(p->autostart && p->autorestart == MODEL_RESTART_ALWAYS && p->redirect_stderr);
	assert_true(p->exitcodes[0] == 1 && p->restart_delay_max == MTIME_SEC(60));
	assert_true(p->startsecs == MTIME_SEC(1) && p->stopwaitsecs == MTIME_SEC(10));
	assert_int_equal(p->stopsignal, SIGTERM);
	assert_string_equal(model_str(m, p->stdout_logfile), "/var/log/supd/p.log");
	assert_string_equal(model_str(m, p->stderr_logfile), "/var/log/supd/p.err.log");
	assert_true(p->logfile_maxbytes == 50 << 20 && p->logfile_backups == 10);
	free(m);
}

static void every_key_reaches_its_member(void **state)
{
	struct model *m = load(
		SUPD "peer_port = 7200\nrun_dir = /r\nstate_dir = /s\nlog_dir = /l\n"
		     "log_target = stderr\nlog_level = debug\nsocket_mode = 0600\nengine_timeout = "
		     "300ms\n"
		     "[node:a]\naddress = 192.0.2.11\npeer_link = no\n" SERVICE
		     "advert_int = 200ms\nvip_lease = off\ngarp_count = 7\n"
		     "isolation_probe = 192.0.2.1 192.0.2.2\nwait_for_peer = 5s\nrestart_limit = "
		     "5/2min\n"
		     "failure_reset = 1h\nfence_timeout = 20ms\npid_namespace = no\nkill_wait = "
		     "1s\n" PROGRAM
		     "directory = /tmp\nuser = root\ngroup = root\numask = 077\nautostart = no\n"
		     "autorestart = unexpected\nexitcodes = 2 143\nrestart_delay_max = 9s\n"
		     "startsecs = 0\nstopsignal = INT\nstopwaitsecs = 2s\nstdout_logfile = /x/o\n"
		     "stderr_logfile = syslog\nredirect_stderr = no\nlogfile_maxbytes = 2GB\n"
		     "logfile_backups = 0\n");
	const struct model_service *s = model_service(m, 0);
	const struct model_program *p = model_program(m, 0);

	assert_int_equal(m->supd.peer_port, 7200);
	assert_string_equal(model_str(m, m->supd.run_dir), "/r");
	assert_string_equal(model_str(m, m->supd.state_dir), "/s");
	assert_string_equal(model_str(m, m->supd.log_dir), "/l");
	assert_true(m->supd.log_to_stderr);
	assert_int_equal(m->supd.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(m->supd.socket_mode, 0600);
	assert_true(m->supd.engine_timeout == MTIME_MS(300));
	assert_false(model_node(m, 0)->peer_link);
	assert_int_equal(s->vrid, 51);
	assert_true(s->advert_int == MTIME_MS(200) && s->vip_lease == 0 && s->garp_count == 7);
	assert_int_equal(s->isolation, MODEL_ISOLATION_LIST);
	assert_int_equal(s->n_targets, 2);
	assert_int_equal(s->targets[1].v4.s_addr, inet_addr("192.0.2.2"));
	assert_true(s->wait_for_peer == MTIME_SEC(5) && s->restart_limit == 5);
	assert_true(s->restart_window == MTIME_SEC(120) && s->failure_reset == MTIME_SEC(3600));
	assert_true(s->fence_timeout == MTIME_MS(20) && !s->pid_namespace);
	assert_true(s->kill_wait == MTIME_SEC(1));
	assert_string_equal(model_str(m, p->directory), "/tmp");
	assert_int_equal(p->umask, 077);
	assert_false(p->autostart || p->redirect_stderr);
	assert_int_equal(p->autorestart, MODEL_RESTART_UNEXPECTED);
	assert_true(p->exitcodes[0] == 1 << 2 && p->exitcodes[17] == 1 << 7);
	assert_true(p->restart_delay_max == MTIME_SEC(9) && p->startsecs == 0);
	assert_true(p->stopsignal == SIGINT && p->stopwaitsecs == MTIME_SEC(2));
	assert_string_equal(model_str(m, p->stdout_logfile), "/x/o");
	assert_string_equal(model_str(m, p->stderr_logfile), MODEL_LOG_SYSLOG);
	assert_true(p->logfile_maxbytes == UINT64_C(2) << 30 && p->logfile_backups == 0);
	free(m);
}

static void rows_are_found_by_name_in_the_order_of_the_file(void **state)
{
	struct model *m = load(ALL "[program:w]\ncommand = /bin/true\n");

	assert_int_equal(model_find_node(m, "b"), 1);
	assert_int_equal(model_find_service(m, "s"), 0);
	assert_int_equal(model_find_program(m, "w"), 1);
	assert_int_equal(model_find_program(m, "s"), MODEL_NONE);
	assert_int_equal(model_find_node(m, "aa"), MODEL_NONE);
	assert_int_equal(model_program(m, 0)->service, 0);
	assert_int_equal(model_program(m, 1)->service, MODEL_NONE);
	free(m);
}

static void a_command_is_its_words(void **state)
{
	struct model *m = load(ALL);
	char *argv[4];

	assert_int_equal(model_program(m, 0)->argv.count, 3);
	model_strv_fill(m, model_program(m, 0)->argv, argv);
	assert_string_equal(argv[0], "/bin/echo");
	assert_string_equal(argv[1], "a b");
	assert_string_equal(argv[2], "c");
	assert_null(argv[3]);
	free(m);
}

static const char *variable(const struct model *m, uint32_t program, const char *name)
{
	struct model_strv v = model_program(m, program)->env;
	const char *found = NULL, *s = (const char *)m + v.off;
	size_t n = strlen(name);

	for (uint32_t i = 0; i < v.count; i++, s += strlen(s) + 1) {
		if (strncmp(s, name, n) != 0 || s[n] != '=')
			continue;
		assert_null(found); /* once */
		found = s + n + 1;
	}
	return found;
}

static void a_fence_command_is_its_words_and_has_a_time_out(void **state)
{
	struct model *m = load(SUPD NODES SERVICE
			       "fence_command = /sbin/fence --off 'a b'\n" PROGRAM);
	const struct model_service *s = model_service(m, 0);
	char *argv[4];

	assert_int_equal(s->fence_argv.count, 3);
	model_strv_fill(m, s->fence_argv, argv);
	assert_string_equal(argv[0], "/sbin/fence");
	assert_string_equal(argv[2], "a b");
	assert_true(s->fence_command_timeout == MTIME_SEC(30));
	free(m);
	m = load(SUPD NODES SERVICE PROGRAM);
	assert_int_equal(model_service(m, 0)->fence_argv.count, 0);
	free(m);
}

static void the_environment_is_that_of_its_user(void **state)
{
	struct model *m = load(ALL "environment = A=1 \"B=x y\" PATH=/bin HOME=\n"
				   "[program:q]\ncommand = /bin/true\nuser = nobody\n");
	const struct passwd *pw = getpwnam("nobody");

	assert_string_equal(variable(m, 0, "A"), "1");
	assert_string_equal(variable(m, 0, "B"), "x y");
	assert_string_equal(variable(m, 0, "PATH"), "/bin");
	assert_string_equal(variable(m, 0, "HOME"), "");
	assert_string_equal(variable(m, 0, "USER"), "root");
	assert_int_equal(model_program(m, 0)->env.count, 7);

	assert_non_null(pw);
	assert_non_null(strstr(variable(m, 1, "PATH"), "/usr/bin"));
	assert_string_equal(variable(m, 1, "HOME"), pw->pw_dir);
	assert_string_equal(variable(m, 1, "USER"), "nobody");
	assert_string_equal(variable(m, 1, "LOGNAME"), "nobody");
	assert_string_equal(variable(m, 1, "SHELL"), pw->pw_shell);
	assert_null(variable(m, 1, "A"));
	free(m);
}

static void users_and_groups_are_resolved(void **state)
{
	struct model *m = load(ALL "user = nobody\ngroup = daemon\n");
	const struct model_program *p = model_program(m, 0);
	const struct passwd *pw = getpwnam("nobody");
	bool has_primary = false;

	assert_int_equal(p->uid, pw->pw_uid);
	assert_string_equal(model_str(m, p->user_name), "nobody");
	assert_int_equal(p->gid, 1); /* daemon, on every Debian */
	for (uint32_t i = 0; i < p->n_groups; i++)
		has_primary |= p->groups[i] == p->gid;
	assert_true(has_primary);
	free(m);
}

static void a_prefix_is_put_before_the_directories_alone(void **state)
{
	const struct loader_options o = {.path = "test.ini", .prefix = "/tmp/one/"};
	struct model *m = load_as(&o, ALL "stderr_logfile = /x/e\n");

	assert_string_equal(model_str(m, m->supd.run_dir), "/tmp/one/run/supd");
	assert_string_equal(model_str(m, m->supd.state_dir), "/tmp/one/var/lib/supd");
	assert_string_equal(model_str(m, m->supd.log_dir), "/tmp/one/var/log/supd");
	assert_string_equal(model_str(m, model_program(m, 0)->stdout_logfile),
			    "/tmp/one/var/log/supd/p.log");
	assert_string_equal(model_str(m, model_program(m, 0)->stderr_logfile), "/x/e");
	free(m);
}

/* ---- who we are ------------------------------------------------------------------------------ */

static void a_node_is_found_by_its_address(void **state)
{
	struct model *m =
		load(SUPD "[node:x]\naddress = 192.0.2.11\n[node:y]\naddress = 127.0.0.1\n");

	assert_int_equal(m->self, 1);
	assert_int_equal(loader_find_self(m), 1);
	free(m);
}

static void a_node_without_its_address_yet_is_no_problem(void **state)
{
	struct model *m = load(ALL);

	assert_int_equal(m->self, MODEL_NONE);
	assert_int_equal(loader_find_self(m), MODEL_NONE);
	free(m);
}

static void a_node_is_named(void **state)
{
	const struct loader_options o = {.path = "test.ini", .node = "b"};
	struct model *m = load_as(&o, ALL);

	assert_int_equal(m->self, 1);
	/* As Active, b has to fear a alone, and the reverse. */
	assert_true(m->supd.engine_timeout < MTIME_MS(797));
	free(m);
}

/* ---- digests --------------------------------------------------------------------------------- */

static uint64_t digest(const char *text)
{
	struct model *m = load(text);
	uint64_t d = model_service(m, 0)->digest;

	free(m);
	return d;
}

static char *with(const char *from, const char *to)
{
	static char text[4096];
	const char *at = strstr(ALL, from);

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - ALL), ALL, to, at + strlen(from));
	return text;
}

static void the_digest_covers_what_nodes_must_agree_on(void **state)
{
	static const struct {
		const char *from, *to;
		bool same;
	} cases[] = {
		{"cluster = test", "cluster = tess", false},
		{"[node:b]", "[node:c]", false},
		{"192.0.2.11", "192.0.2.13", false},
		{"priority = 150", "priority = 151", false},
		{"priority = 150", "priority = 150\npeer_link = no", false},
		{"router_id = 51", "router_id = 52", false},
		{"192.0.2.100", "192.0.2.101", false},
		{"192.0.2.100", "192.0.2.100 192.0.2.101", false},
		{"[program:p]", "advert_int = 990ms\n[program:p]", false},
		{"[program:p]", "vip_lease = 4s\n[program:p]", false},
		{"[program:p]", "fence_timeout = 49ms\n[program:p]", false},
		{"[program:p]", "advert_int = 1000ms\nvip_lease = 3\n[program:p]", true},
		{"[program:p]", "garp_count = 9\nrestart_limit = 9/9s\n[program:p]", true},
		{"interface = eth0", "interface = bond0", true},
		{"/bin/echo", "/bin/cat", true},
		{"user = root", "user = daemon", true},
	};
	uint64_t before = digest(ALL);

	assert_true(before == digest(ALL));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if ((digest(with(cases[i].from, cases[i].to)) == before) != cases[i].same)
			fail_msg("%s -> %s", cases[i].from, cases[i].to);
}

static void the_digest_is_the_same_on_every_node(void **state)
{
	const struct loader_options as_a = {.path = "a.ini", .node = "a"};
	const struct loader_options as_b = {.path = "b.ini", .node = "b", .prefix = "/tmp"};
	struct model *a = load_as(&as_a, ALL), *b = load_as(&as_b, ALL);

	assert_true(model_service(a, 0)->digest == model_service(b, 0)->digest);
	assert_true(model_service(a, 0)->hash == model_service(b, 0)->hash);
	free(a);
	free(b);
}

/* ---- the block as a stranger might send it --------------------------------------------------- */

static void a_block_is_verified(void **state)
{
	struct model *m = load(ALL);
	uint32_t size = m->size;
	char *copy = malloc(size);
	struct model *c = (void *)copy;

#define REFUSED(change)                                                                            \
	do {                                                                                       \
		memcpy(copy, m, size);                                                             \
		change;                                                                            \
		assert_int_equal(model_verify(copy, size), -EINVAL);                               \
	} while (0)
#define PROGRAM_ROW ((struct model_program *)(void *)(copy + c->programs_off))
#define SERVICE_ROW ((struct model_service *)(void *)(copy + c->services_off))
	assert_non_null(copy);
	REFUSED(c->magic++);
	REFUSED(c->format++);
	REFUSED(c->size--);
	REFUSED(c->self = 2);
	REFUSED(c->self = -2);
	REFUSED(c->n_nodes = MODEL_NODES_MAX + 1);
	REFUSED(c->n_programs = MODEL_PROGRAMS_MAX);
	REFUSED(c->n_services = 0); /* and so p's service is none */
	REFUSED(c->nodes_off = size);
	REFUSED(c->services_off = UINT32_MAX - 15);
	REFUSED(c->programs_off += 4);
	REFUSED(c->programs_off = 0);
	REFUSED(c->supd.run_dir.off = size);
	REFUSED(c->supd.cluster.off = 1);
	REFUSED(memset(&c->supd.log_to_stderr, 2, 1));
	REFUSED(PROGRAM_ROW->service = 1);
	REFUSED(PROGRAM_ROW->argv.count = 0);
	REFUSED(PROGRAM_ROW->argv.count = UINT32_MAX);
	REFUSED(PROGRAM_ROW->env.off = size - 1; PROGRAM_ROW->env.count = 3);
	REFUSED(PROGRAM_ROW->n_groups = MODEL_GROUPS_MAX + 1);
	REFUSED(memset(&PROGRAM_ROW->autostart, 7, 1));
	REFUSED(memset(&PROGRAM_ROW->autorestart, 7, 1));
	REFUSED(SERVICE_ROW->n_vips = MODEL_VIPS_MAX + 1);
	REFUSED(SERVICE_ROW->n_targets = MODEL_TARGETS_MAX + 1);
	memcpy(copy, m, size);
	assert_int_equal(model_verify(copy, size), 0);
	assert_int_equal(model_verify(copy, sizeof(*m) - 1), -EINVAL);
	assert_int_equal(model_verify(NULL, 0), -EINVAL);
	free(copy);
	free(m);
}

/* A random byte changed is refused, or leaves a block that the accessors can walk. */
static void a_damaged_block_never_leads_outside(void **state)
{
	struct model *m = load(ALL "[program:q]\ncommand = /bin/true\n");
	uint32_t size = m->size, seed = 1;
	char *copy = malloc(size), *argv[8192];

	assert_non_null(copy);
	for (int i = 0; i < 20000; i++) {
		const struct model *c = (const void *)copy;

		memcpy(copy, m, size);
		seed = seed * 1664525 + 1013904223;
		copy[(seed >> 8) % size] = (char)(seed >> 3);
		if (model_verify(copy, size) < 0)
			continue;
		model_find_program(c, "none");
		model_find_service(c, "none");
		for (uint32_t p = 0; p < c->n_programs; p++)
			if (model_program(c, p)->argv.count < 8192)
				model_strv_fill(c, model_program(c, p)->argv, argv);
	}
	free(copy);
	free(m);
}

/* ---- in a child ------------------------------------------------------------------------------ */

static char dir[] = "/tmp/supd-loader-XXXXXX";
static char ini[64], key[64];

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static int make_files(void **state)
{
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(ini, sizeof(ini), "%s/supd.ini", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	return 0;
}

static int remove_files(void **state)
{
	unlink(ini);
	unlink(key);
	return rmdir(dir);
}

/* Whether the mapping of the block, as the kernel sees it, is of the memfd, private and read-only.
 */
static bool is_read_only_memfd(const struct model *m)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], start[32];
	bool found = false;

	assert_non_null(f);
	snprintf(start, sizeof(start), "%08lx-", (unsigned long)(uintptr_t)m);
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = strncmp(line, start, strlen(start)) == 0 &&
			strstr(line, " r--p ") != NULL && strstr(line, "memfd:supd-model") != NULL;
	fclose(f);
	return found;
}

static void a_child_hands_over_a_read_only_block(void **state)
{
	const struct loader_options o = {.path = ini, .read_key = true, .node = "a"};
	const struct model *m = NULL;
	char text[4096];

	if (geteuid() != 0)
		skip(); /* the key must be root's */
	snprintf(text, sizeof(text),
		 "[supd]\ncluster = test\nkey_file = %s\nuser = root\n"
		 "socket_group = root\n" NODES SERVICE PROGRAM,
		 key);
	write_file(ini, text, 0644);
	write_file(key, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0600);
	assert_int_equal(loader_load_isolated(&o, &m), 0);
	assert_string_equal(model_str(m, m->supd.cluster), "test");
	assert_string_equal(model_str(m, m->supd.config_path), ini);
	for (int i = 0; i < 32; i++)
		assert_int_equal(m->supd.key[i], i);
	assert_true(is_read_only_memfd(m));
	munmap((void *)(uintptr_t)m, m->size);
}

static void a_child_that_finds_problems_hands_over_nothing(void **state)
{
	const struct loader_options o = {.path = ini, .read_key = false};
	const struct model *m = NULL;
	int saved = dup(2);

	write_file(ini, SUPD "[node:a]\naddress = nowhere\n", 0644);
	assert_non_null(freopen("/dev/null", "w", stderr));
	assert_int_equal(loader_load_isolated(&o, &m), -EINVAL);
	assert_null(m);
	dup2(saved, 2);
	close(saved);
}

/* ---- the host -------------------------------------------------------------------------------- */

static char *warnings(const struct model *m)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	loader_warn_host(m, f);
	fclose(f);
	return text;
}

static void a_command_out_of_reach_is_a_warning(void **state)
{
	struct model *m = load(
		SUPD NODES "[program:p]\ncommand = /bin/true\n"
			   "[program:q]\ncommand = /no/such/command\n"
			   "[program:r]\ncommand = /etc/passwd\n"
			   "[program:t]\ncommand = /bin/true\ndirectory = /no/such/directory\n"
			   "[program:u]\ncommand = /bin/true\nuser = nobody\ndirectory = /root\n");
	char *text = warnings(m);

	assert_null(strstr(text, "program:p"));
	assert_non_null(strstr(text, "[program:q]: command /no/such/command is missing"));
	assert_non_null(
		strstr(text, "[program:r]: command /etc/passwd is missing, or not executable"));
	assert_non_null(strstr(text, "[program:t]: directory /no/such/directory is missing"));
	if (geteuid() == 0)
		assert_non_null(strstr(text, "[program:u]: directory /root is missing, or out of "
					     "nobody's reach"));
	free(text);
	free(m);
}

static void a_fence_command_that_cannot_run_is_a_warning(void **state)
{
	static const struct {
		const char *command;
		bool warned;
		const char *why;
	} cases[] = {
		{"/bin/true", false, "executable"},
		{"/no/such/fence", true, "missing"},
		{"/etc/passwd", true, "not executable"},
		{"/usr", true, "a directory"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char ini_text[1024];
		struct model *m;
		char *text;

		snprintf(ini_text, sizeof(ini_text),
			 SUPD NODES SERVICE "fence_command = %s --off\n" PROGRAM,
			 cases[i].command);
		m = load(ini_text);
		text = warnings(m);
		if ((strstr(text, "fence_command") != NULL) != cases[i].warned)
			fail_msg("%s: %s", cases[i].why, text);
		free(text);
		free(m);
	}
}

/* ---- the key table --------------------------------------------------------------------------- */

static void the_key_table_is_consistent(void **state)
{
	for (unsigned s = 0; s < KEY_SECTIONS_END; s++) {
		size_t n;
		const struct key *k = keys_of(s, &n);

		assert_true(n > 0 && n <= DRAFT_KEYS_MAX);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(k[i].section, s);
			assert_non_null(k[i].help);
			/* Once, and with all rows of the section beside it. */
			assert_ptr_equal(key_find(s, k[i].name), &k[i]);
			assert_false(k[i].required && k[i].def != NULL);
			assert_true(!key_section_is_later(s) || k[i].parse == NULL);
		}
		assert_true(key_section_find(key_section_name(s)) == s);
	}
	assert_true(key_section_find("none") == KEY_SECTIONS_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_design),
		cmocka_unit_test(every_key_reaches_its_member),
		cmocka_unit_test(rows_are_found_by_name_in_the_order_of_the_file),
		cmocka_unit_test(a_command_is_its_words),
		cmocka_unit_test(a_fence_command_is_its_words_and_has_a_time_out),
		cmocka_unit_test(the_environment_is_that_of_its_user),
		cmocka_unit_test(users_and_groups_are_resolved),
		cmocka_unit_test(a_prefix_is_put_before_the_directories_alone),
		cmocka_unit_test(a_node_is_found_by_its_address),
		cmocka_unit_test(a_node_without_its_address_yet_is_no_problem),
		cmocka_unit_test(a_node_is_named),
		cmocka_unit_test(the_digest_covers_what_nodes_must_agree_on),
		cmocka_unit_test(the_digest_is_the_same_on_every_node),
		cmocka_unit_test(a_block_is_verified),
		cmocka_unit_test(a_damaged_block_never_leads_outside),
		cmocka_unit_test(a_child_hands_over_a_read_only_block),
		cmocka_unit_test(a_child_that_finds_problems_hands_over_nothing),
		cmocka_unit_test(a_command_out_of_reach_is_a_warning),
		cmocka_unit_test(a_fence_command_that_cannot_run_is_a_warning),
		cmocka_unit_test(the_key_table_is_consistent),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
