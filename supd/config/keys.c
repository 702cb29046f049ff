/* SPDX-License-Identifier: MIT */
#include "supd/config/keys.h"

#include <string.h>
#include <sys/resource.h>

#include "common/log.h"
#include "common/mtime.h"
#include "supd/config/values.h"

/* ---- words that stand for a value ------------------------------------------------------------ */

static const struct key_choice log_targets[] = {{"syslog", false}, {"stderr", true}, {0}};

static const struct key_choice log_levels[] = {
	{"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN},   {"notice", LOG_LEVEL_NOTICE},
	{"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG}, {0},
};

static const struct key_choice engine_timeouts[] = {{"auto", DRAFT_ENGINE_AUTO}, {0}};
static const struct key_choice fence_timeouts[] = {{"auto", DRAFT_FENCE_AUTO}, {0}};
static const struct key_choice vip_leases[] = {{"auto", MTIME_SEC(3)}, {"off", 0}, {0}};
static const struct key_choice vip_backends[] = {
	{"netlink", MODEL_VIP_NETLINK},
	{"command", MODEL_VIP_COMMAND},
	{"none", MODEL_VIP_NONE},
	{0},
};
static const struct key_choice off[] = {{"off", 0}, {0}};
static const struct key_choice no_limit[] = {{"0", 0}, {0}};
static const struct key_choice transports[] = {
	{"ip", MODEL_TRANSPORT_IP}, {"udp", MODEL_TRANSPORT_UDP}, {0}};
static const struct key_choice auth_types[] = {
	{"none", VRRP_AUTH_NONE}, {"pass", VRRP_AUTH_PASS}, {0}};
static const struct key_choice checksums[] = {
	{"pseudo", VRRP_CHECKSUM_PSEUDO}, {"rfc9568", VRRP_CHECKSUM_RFC9568}, {0}};
static const struct key_choice never[] = {{"never", MTIME_NEVER}, {0}};

static const struct key_choice failbacks[] = {
	{"never", MTIME_NEVER}, {"manual", MTIME_NEVER}, {0}};
static const struct key_choice silences[] = {{"takeover", false}, {"hold", true}, {0}};

static const struct key_choice autorestarts[] = {
	{"always", MODEL_RESTART_ALWAYS},
	{"unexpected", MODEL_RESTART_UNEXPECTED},
	{"never", MODEL_RESTART_NEVER},
	{0},
};

static const struct key_choice types[] = {{"simple", false}, {"forking", true}, {0}};
static const struct key_choice inherits[] = {{"inherit", MODEL_INHERIT}, {0}};
static const struct key_choice unlimited[] = {{"unlimited", 0}, {0}};

/* ---- the table ------------------------------------------------------------------------------- */

#define HOUR MTIME_SEC(3600)
#define DAY  (24 * HOUR)

/* section, name, parser and member; the macro names the section's draft for offset and width. */
#define ROW(section_, draft_, name_, parse_, member_)                                              \
	.section = (section_), .name = (name_), .parse = (parse_),                                 \
	.offset = offsetof(struct draft_, member_),                                                \
	.width = sizeof(((struct draft_ *)NULL)->member_)
#define SUPD(name, parse, member)    ROW(KEY_SUPD, draft_supd, name, parse, member)
#define NODE(name, parse, member)    ROW(KEY_NODE, draft_node, name, parse, member)
#define SERVICE(name, parse, member) ROW(KEY_SERVICE, draft_service, name, parse, member)
#define PROGRAM(name, parse, member) ROW(KEY_PROGRAM, draft_program, name, parse, member)
#define LATER(section_, name_, help_)                                                              \
	{                                                                                          \
		.section = (section_), .name = (name_), .help = (help_)                            \
	}

/* Rows of a section stand together. */
/* clang-format off */
static const struct key table[] = {
	{ SUPD("cluster", value_name, m.cluster), .required = true, .reload = KEY_RELOAD_SUPD,
	  .help = "name of the cluster, the same on every node" },
	{ SUPD("key_file", value_path, key_file), .required = true, .reload = KEY_RELOAD_SUPD,
	  .help = "secret of the peer link: 64 hex digits, owner root, mode 0600" },
	{ SUPD("peer_port", value_uint, m.peer_port), .min = 1, .max = 65535, .def = "7112",
	  .reload = KEY_RELOAD_SUPD, .help = "UDP port of the peer link" },
	{ SUPD("user", value_text, user), .def = "supd", .reload = KEY_RELOAD_SUPD,
	  .help = "user of the processes that need no privilege" },
	{ SUPD("run_dir", value_path, run_dir), .def = "/run/supd", .reload = KEY_RELOAD_SUPD,
	  .help = "directory of supd.pid and supd.sock" },
	{ SUPD("state_dir", value_path, state_dir), .def = "/var/lib/supd",
	  .reload = KEY_RELOAD_SUPD, .help = "directory of what must survive a restart" },
	{ SUPD("log_dir", value_path, log_dir), .def = "/var/log/supd", .reload = KEY_RELOAD_SUPD,
	  .help = "directory of the programs' logs" },
	{ SUPD("log_target", value_choice, m.log_to_stderr), .choices = log_targets,
	  .def = "syslog", .reload = KEY_RELOAD_SUPD, .help = "where supd's own log goes" },
	{ SUPD("log_level", value_choice, m.log_level), .choices = log_levels, .def = "info",
	  .reload = KEY_RELOAD_LIVE, .help = "the least important line that is logged" },
	{ SUPD("socket_group", value_text, socket_group), .def = "supd",
	  .reload = KEY_RELOAD_SUPD, .help = "group that may use the control socket" },
	{ SUPD("socket_mode", value_octal, m.socket_mode), .max = 0777, .def = "0660",
	  .reload = KEY_RELOAD_SUPD, .help = "mode of the control socket" },
	{ SUPD("engine_timeout", value_duration, m.engine_timeout), .min = MTIME_MS(50),
	  .max = MTIME_SEC(60), .choices = engine_timeouts, .def = "auto",
	  .reload = KEY_RELOAD_SUPD, .help = "silence after which the engine is replaced" },
	LATER(KEY_SUPD, "watchdog", "hardware watchdog that resets a host whose supd hangs"),
	LATER(KEY_SUPD, "notify_command", "command that is told of transitions and alarms"),
	LATER(KEY_SUPD, "include", "further files, as a pattern"),

	{ NODE("address", value_addresses, m.address), .required = true, .reload = KEY_RELOAD_SUPD,
	  .help = "the node's own address, by which it finds itself; further ones for adverts" },
	{ NODE("priority", value_uint, m.priority), .min = 1, .max = 254, .def = "100",
	  .reload = KEY_RELOAD_SERVICE, .help = "VRRP priority: who comes first at boot" },
	{ NODE("peer_link", value_bool, m.peer_link), .def = "yes", .reload = KEY_RELOAD_SUPD,
	  .help = "no: a plain VRRP router, about whose processes nothing is promised" },
	{ NODE("release_delay", value_duration, m.release_delay), .max = HOUR, .def = "1s",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "peer_link = no: from its priority 0 until nothing of it is left there" },
	{ NODE("peer_address", value_paths, m.further), .reload = KEY_RELOAD_SUPD,
	  .help = "further paths of the peer link: its addresses on other networks" },

	{ SERVICE("interface", value_interface, m.interface), .required = true,
	  .reload = KEY_RELOAD_SERVICE, .help = "interface of the virtual address" },
	{ SERVICE("virtual_router_id", value_uint, m.vrid), .min = 1, .max = 255,
	  .required = true, .reload = KEY_RELOAD_SERVICE,
	  .help = "VRRP number of the service, one of its own on this network" },
	{ SERVICE("virtual_ipaddress", value_vips, m.vips), .required = true,
	  .reload = KEY_RELOAD_SERVICE, .help = "addresses that move with the service" },
	{ SERVICE("advert_int", value_duration, m.advert_int), .min = MTIME_MS(10),
	  .max = MTIME_MS(40950), .step = MTIME_MS(10), .def = "1s",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "interval of the adverts; three of them lost: takeover" },
	{ SERVICE("vrrp_version", value_uint, m.vrrp_version), .min = 2, .max = 3, .def = "3",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "2: for neighbours that know nothing newer, IPv4 and whole seconds only" },
	{ SERVICE("transport", value_choice, m.transport), .choices = transports, .def = "ip",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "carrier of the adverts: ip (protocol 112), or udp: the peer link" },
	{ SERVICE("multicast", value_bool, m.multicast), .def = "no",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "adverts to 224.0.0.18 or ff02::12 instead of to each node" },
	{ SERVICE("auth_type", value_choice, m.auth_type), .choices = auth_types, .def = "none",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "pass: a password in clear, vrrp_version = 2 only" },
	{ SERVICE("auth_pass", value_password, m.auth_pass), .reload = KEY_RELOAD_SERVICE,
	  .help = "password of auth_type = pass, at most 8 bytes" },
	{ SERVICE("vrrp_checksum", value_choice, m.checksum), .choices = checksums,
	  .def = "pseudo", .reload = KEY_RELOAD_SERVICE,
	  .help = "form of the IPv4 checksum that is sent; both are understood" },
	{ SERVICE("vip_lease", value_duration, m.vip_lease), .min = MTIME_SEC(1), .max = DAY,
	  .step = MTIME_SEC(1), .choices = vip_leases, .def = "auto",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "lifetime of the address in the kernel if all of supd dies; auto: 3s" },
	{ SERVICE("garp_count", value_uint, m.garp_count), .min = 1, .max = 100, .def = "5",
	  .reload = KEY_RELOAD_LIVE, .help = "announcements of the address after a takeover" },
	{ SERVICE("garp_refresh", value_duration, m.garp_refresh), .min = MTIME_SEC(1), .max = DAY,
	  .choices = off, .def = "60s", .reload = KEY_RELOAD_LIVE,
	  .help = "interval of later announcements, and of vip_command's check" },
	{ SERVICE("vip_backend", value_choice, m.vip_backend), .choices = vip_backends,
	  .def = "netlink", .reload = KEY_RELOAD_SERVICE,
	  .help = "who sets the address: netlink, command or none" },
	{ SERVICE("vip_command", value_command, m.vip_argv), .reload = KEY_RELOAD_SERVICE,
	  .help = "of vip_backend = command: gets acquire, release or check, address, interface" },
	{ SERVICE("conflict_probe", value_bool, m.conflict_probe), .def = "yes",
	  .reload = KEY_RELOAD_LIVE, .help = "ask for the address before taking it" },
	{ SERVICE("isolation_probe", value_isolation, m.targets), .def = "auto",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "addresses that tell a dead peer from an own cut cable; auto: the gateway" },
	{ SERVICE("wait_for_peer", value_duration, m.wait_for_peer), .max = DAY, .def = "60s",
	  .reload = KEY_RELOAD_LIVE, .help = "at boot: how long to wait before starting alone" },
	{ SERVICE("restart_limit", value_restart_limit, m.restart_limit), .def = "3/60s",
	  .reload = KEY_RELOAD_LIVE,
	  .help = "deaths before handing over, and ready time that clears the count" },
	{ SERVICE("failure_reset", value_duration, m.failure_reset), .min = MTIME_SEC(1),
	  .max = 365 * DAY, .choices = never, .def = "never", .reload = KEY_RELOAD_LIVE,
	  .help = "when the failed latch clears by itself" },
	{ SERVICE("fence_timeout", value_duration, m.fence_timeout), .min = MTIME_MS(1),
	  .max = MTIME_SEC(60), .choices = fence_timeouts, .def = "auto",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "how long a takeover waits for a silent peer's FENCED" },
	{ SERVICE("pid_namespace", value_bool, m.pid_namespace), .def = "yes",
	  .reload = KEY_RELOAD_SERVICE,
	  .help = "programs die with supd, whatever they forked" },
	{ SERVICE("kill_wait", value_duration, m.kill_wait), .min = MTIME_MS(100), .max = HOUR,
	  .def = "10s", .reload = KEY_RELOAD_LIVE,
	  .help = "how long a killed program may take to be gone before the release goes on" },
	{ SERVICE("failback", value_duration, m.failback), .min = MTIME_SEC(1), .max = 365 * DAY,
	  .choices = failbacks, .def = "never", .reload = KEY_RELOAD_LIVE,
	  .help = "after how long a fit node of higher priority gets the service back" },
	{ SERVICE("on_peer_silence", value_choice, m.hold_on_silence), .choices = silences,
	  .def = "takeover", .reload = KEY_RELOAD_LIVE,
	  .help = "hold: a person confirms a takeover of a silent node" },
	{ SERVICE("fence_command", value_command, m.fence_argv), .reload = KEY_RELOAD_SERVICE,
	  .help = "before a takeover: must confirm that the silent node is off, within 30s" },
	LATER(KEY_SERVICE, "track_interface", "further interfaces whose link must be up"),
	LATER(KEY_SERVICE, "max_load", "load average above which a node is unfit"),
	LATER(KEY_SERVICE, "reserved_memory", "available memory below which a node is unfit"),
	LATER(KEY_SERVICE, "notify_command", "command that is told of transitions and alarms"),

	{ PROGRAM("service", value_text, service), .reload = KEY_RELOAD_PROGRAM,
	  .help = "service it belongs to; without: it runs on every node" },
	{ PROGRAM("command", value_command, m.argv), .required = true,
	  .reload = KEY_RELOAD_PROGRAM, .help = "absolute path and arguments; no shell" },
	{ PROGRAM("directory", value_path_str, m.directory), .def = "/",
	  .reload = KEY_RELOAD_PROGRAM, .help = "working directory" },
	{ PROGRAM("user", value_text, user), .def = "root", .reload = KEY_RELOAD_PROGRAM,
	  .help = "user it runs as" },
	{ PROGRAM("group", value_text, group), .reload = KEY_RELOAD_PROGRAM,
	  .help = "primary group, instead of the user's" },
	{ PROGRAM("umask", value_octal, m.umask), .max = 0777, .def = "022",
	  .reload = KEY_RELOAD_PROGRAM, .help = "file mode creation mask" },
	{ PROGRAM("environment", value_environment, environment), .def = "",
	  .reload = KEY_RELOAD_PROGRAM, .help = "NAME=VALUE words, added to a clean environment" },
	{ PROGRAM("autostart", value_bool, m.autostart), .def = "yes", .reload = KEY_RELOAD_LIVE,
	  .help = "no: started by supctl only" },
	{ PROGRAM("autorestart", value_choice, m.autorestart), .choices = autorestarts,
	  .def = "always", .reload = KEY_RELOAD_LIVE,
	  .help = "which deaths are followed by a start" },
	{ PROGRAM("exitcodes", value_exitcodes, m.exitcodes), .def = "0",
	  .reload = KEY_RELOAD_LIVE, .help = "exit codes that autorestart = unexpected expects" },
	{ PROGRAM("restart_delay_max", value_duration, m.restart_delay_max),
	  .min = MTIME_MS(100), .max = DAY, .def = "60s", .reload = KEY_RELOAD_LIVE,
	  .help = "longest delay between restarts" },
	{ PROGRAM("startsecs", value_duration, m.startsecs), .max = HOUR, .def = "1s",
	  .reload = KEY_RELOAD_LIVE, .help = "a death before this is a failed start" },
	{ PROGRAM("stopsignal", value_signal, m.stopsignal), .def = "TERM",
	  .reload = KEY_RELOAD_LIVE, .help = "signal that asks it to stop" },
	{ PROGRAM("stopwaitsecs", value_duration, m.stopwaitsecs), .max = DAY, .def = "10s",
	  .reload = KEY_RELOAD_LIVE, .help = "time to stop in, before it is killed" },
	{ PROGRAM("stdout_logfile", value_logfile, stdout_logfile), .reload = KEY_RELOAD_PROGRAM,
	  .help = "file of its output, or syslog; log_dir/NAME.log unless set" },
	{ PROGRAM("stderr_logfile", value_logfile, stderr_logfile), .reload = KEY_RELOAD_PROGRAM,
	  .help = "its errors likewise if redirect_stderr = no; log_dir/NAME.err.log unless set" },
	{ PROGRAM("redirect_stderr", value_bool, m.redirect_stderr), .def = "yes",
	  .reload = KEY_RELOAD_PROGRAM, .help = "errors go where the output goes" },
	{ PROGRAM("logfile_maxbytes", value_size, m.logfile_maxbytes), .min = 1 << 10,
	  .max = INT64_C(1) << 40, .choices = no_limit, .def = "50MB",
	  .reload = KEY_RELOAD_LIVE,
	  .help = "size at which a log is rotated, at the end of a line; 0: never" },
	{ PROGRAM("logfile_backups", value_uint, m.logfile_backups), .max = 1000, .def = "10",
	  .reload = KEY_RELOAD_LIVE,
	  .help = "old logs that are kept, NAME.log.1 the newest" },
	{ PROGRAM("requires", value_requires, requires), .reload = KEY_RELOAD_PROGRAM,
	  .help = "programs that must be ready before it starts, and stop after it" },
	{ PROGRAM("pre_start", value_command, m.pre_start), .reload = KEY_RELOAD_LIVE,
	  .help = "command before each start; if it fails, there is no start" },
	{ PROGRAM("post_stop", value_command, m.post_stop), .reload = KEY_RELOAD_LIVE,
	  .help = "command after each end" },
	{ PROGRAM("hook_timeout", value_duration, m.hook_timeout), .min = MTIME_MS(100),
	  .max = DAY, .def = "30s", .reload = KEY_RELOAD_LIVE,
	  .help = "time of pre_start and of post_stop, before it is killed" },
	{ PROGRAM("ready", value_probe, m.ready), .def = "none", .reload = KEY_RELOAD_PROGRAM,
	  .help = "what tells that it is ready: none, notify, tcp:PORT, http:URL, exec:COMMAND" },
	{ PROGRAM("ready_timeout", value_duration, m.ready_timeout), .min = MTIME_MS(100),
	  .max = DAY, .def = "60s", .reload = KEY_RELOAD_LIVE,
	  .help = "time to become ready in; then it is stopped, and that is a death" },
	{ PROGRAM("health", value_probe, m.health), .def = "none", .reload = KEY_RELOAD_PROGRAM,
	  .help = "what tells that it is well, as for ready; notify: WATCHDOG=1" },
	{ PROGRAM("health_interval", value_duration, m.health_interval), .min = MTIME_MS(100),
	  .max = DAY, .def = "5s", .reload = KEY_RELOAD_LIVE,
	  .help = "interval of health" },
	{ PROGRAM("health_timeout", value_duration, m.health_timeout), .min = MTIME_MS(10),
	  .max = HOUR, .def = "2s", .reload = KEY_RELOAD_LIVE,
	  .help = "time of one probe, of ready and of health; then it has failed" },
	{ PROGRAM("health_fall", value_uint, m.health_fall), .min = 1, .max = 1000, .def = "3",
	  .reload = KEY_RELOAD_LIVE, .help = "failures in a row that are a death" },
	{ PROGRAM("type", value_choice, m.forking), .choices = types, .def = "simple",
	  .reload = KEY_RELOAD_PROGRAM,
	  .help = "forking: the command ends with 0 and leaves a daemon; see pidfile" },
	{ PROGRAM("pidfile", value_path_str, m.pidfile), .reload = KEY_RELOAD_PROGRAM,
	  .help = "file that a daemon of type = forking writes its pid to" },
	{ PROGRAM("environment_file", value_path, environment_file), .reload = KEY_RELOAD_PROGRAM,
	  .help = "file of NAME=VALUE lines, read with this one; environment comes over it" },
	{ PROGRAM("nice", value_int, m.nice), .min = -20, .max = 19, .choices = inherits,
	  .def = "inherit", .reload = KEY_RELOAD_PROGRAM,
	  .help = "nice value; inherit: that of supd's start" },
	{ PROGRAM("oom_score_adj", value_int, m.oom_score_adj), .min = -1000, .max = 1000,
	  .choices = inherits, .def = "inherit", .reload = KEY_RELOAD_PROGRAM,
	  .help = "whom the kernel kills when memory ends: -1000 never, 1000 first" },
	{ PROGRAM("rlimit_as", value_rlimit_size, m.rlimits[RLIMIT_AS]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: address space" },
	{ PROGRAM("rlimit_core", value_rlimit_size, m.rlimits[RLIMIT_CORE]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: core file" },
	{ PROGRAM("rlimit_cpu", value_rlimit, m.rlimits[RLIMIT_CPU]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: CPU time, in seconds" },
	{ PROGRAM("rlimit_data", value_rlimit_size, m.rlimits[RLIMIT_DATA]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: data segment" },
	{ PROGRAM("rlimit_fsize", value_rlimit_size, m.rlimits[RLIMIT_FSIZE]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: file size" },
	{ PROGRAM("rlimit_locks", value_rlimit, m.rlimits[RLIMIT_LOCKS]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: file locks" },
	{ PROGRAM("rlimit_memlock", value_rlimit_size, m.rlimits[RLIMIT_MEMLOCK]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: locked memory" },
	{ PROGRAM("rlimit_msgqueue", value_rlimit_size, m.rlimits[RLIMIT_MSGQUEUE]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: message queues" },
	{ PROGRAM("rlimit_nice", value_rlimit, m.rlimits[RLIMIT_NICE]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: nice value, 20 minus it" },
	{ PROGRAM("rlimit_nofile", value_rlimit, m.rlimits[RLIMIT_NOFILE]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: open files" },
	{ PROGRAM("rlimit_nproc", value_rlimit, m.rlimits[RLIMIT_NPROC]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: processes of the user" },
	{ PROGRAM("rlimit_rss", value_rlimit_size, m.rlimits[RLIMIT_RSS]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: resident set" },
	{ PROGRAM("rlimit_rtprio", value_rlimit, m.rlimits[RLIMIT_RTPRIO]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: real-time priority" },
	{ PROGRAM("rlimit_rttime", value_rlimit, m.rlimits[RLIMIT_RTTIME]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: real-time CPU time, in microseconds" },
	{ PROGRAM("rlimit_sigpending", value_rlimit, m.rlimits[RLIMIT_SIGPENDING]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: queued signals" },
	{ PROGRAM("rlimit_stack", value_rlimit_size, m.rlimits[RLIMIT_STACK]),
	  .reload = KEY_RELOAD_PROGRAM, .help = "resource limit: stack" },
	{ PROGRAM("memory_max", value_size, m.memory_max), .min = 1 << 20,
	  .max = INT64_C(1) << 46, .choices = unlimited,
	  .def = "unlimited", .reload = KEY_RELOAD_PROGRAM,
	  .help = "memory of the whole tree, where the memory controller is" },
	{ PROGRAM("cpu_max", value_percent, m.cpu_max), .min = 1, .max = 100000,
	  .choices = unlimited, .def = "unlimited", .reload = KEY_RELOAD_PROGRAM,
	  .help = "CPU of the whole tree in percent of one, where the cpu controller is" },
	LATER(KEY_PROGRAM, "reload_signal", "signal that asks it to read its files again"),

	LATER(KEY_TASK, "service", "service where it is active"),
	LATER(KEY_TASK, "command", "absolute path and arguments"),
	LATER(KEY_TASK, "user", "user it runs as"),
	LATER(KEY_TASK, "every", "interval"),
	LATER(KEY_TASK, "on_takeover", "also after each takeover"),
	LATER(KEY_TASK, "timeout", "time to run in"),

	LATER(KEY_CHECK, "service", "service whose fitness it tells"),
	LATER(KEY_CHECK, "command", "probe: a command"),
	LATER(KEY_CHECK, "tcp", "probe: a connection"),
	LATER(KEY_CHECK, "http", "probe: a request"),
	LATER(KEY_CHECK, "interval", "interval of the probe"),
	LATER(KEY_CHECK, "timeout", "time-out of the probe"),
	LATER(KEY_CHECK, "rise", "successes in a row that count"),
	LATER(KEY_CHECK, "fall", "failures in a row that count"),

	LATER(KEY_WITNESS, "endpoints", "where the witness answers"),
	LATER(KEY_WITNESS, "ttl", "length of the lease"),
	LATER(KEY_WITNESS, "ca_file", "certificate of its authority"),
	LATER(KEY_WITNESS, "cert_file", "own certificate"),
	LATER(KEY_WITNESS, "key_file", "own key"),
};
/* clang-format on */

#define N_KEYS (sizeof(table) / sizeof(table[0]))

/* ---- looking up ------------------------------------------------------------------------------ */

const char *key_section_name(enum key_section s)
{
	static const char *const names[] = {
#define X(name, text, later) [KEY_##name] = text,
		KEY_SECTIONS(X)
#undef X
	};

	return names[s];
}

enum key_section key_section_find(const char *name)
{
	unsigned s = 0;

	while (s < KEY_SECTIONS_END && strcmp(key_section_name(s), name) != 0)
		s++;
	return s;
}

bool key_section_is_later(enum key_section s)
{
	static const bool later[] = {
#define X(name, text, is_later) [KEY_##name] = is_later,
		KEY_SECTIONS(X)
#undef X
	};

	return later[s];
}

const struct key *keys_of(enum key_section s, size_t *ret_count)
{
	size_t first = 0, n = 0;

	while (first < N_KEYS && table[first].section != s)
		first++;
	while (first + n < N_KEYS && table[first + n].section == s)
		n++;
	*ret_count = n;
	return &table[first];
}

const struct key *key_find(enum key_section s, const char *name)
{
	size_t n;
	const struct key *k = keys_of(s, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(k[i].name, name) == 0)
			return &k[i];
	return NULL;
}

enum key_section key_elsewhere(const char *name)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].section;
	return KEY_SECTIONS_END;
}

/* ---- the nearest name ------------------------------------------------------------------------ */

#define NEAR_MAX 32 /* longer names are not compared */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance: insertions, deletions and replacements that make b of a. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NEAR_MAX + 1];
	size_t na = strlen(a), nb = strlen(b);

	if (na > NEAR_MAX || nb > NEAR_MAX)
		return NEAR_MAX;
	for (unsigned j = 0; j <= nb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned old = row[j];

			row[j] = least(old + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = old;
		}
	}
	return row[nb];
}

/* A third of the letters may be wrong. */
static bool is_near(unsigned d, const char *name)
{
	return d <= (strlen(name) + 1) / 3;
}

const struct key *key_suggest(enum key_section s, const char *name)
{
	const struct key *best = NULL;
	unsigned best_distance = NEAR_MAX;
	size_t n;
	const struct key *k = keys_of(s, &n);

	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(name, k[i].name);

		if (d >= best_distance || !is_near(d, name))
			continue;
		best = &k[i];
		best_distance = d;
	}
	return best;
}

const char *key_section_suggest(const char *name)
{
	for (unsigned s = 0; s < KEY_SECTIONS_END; s++)
		if (is_near(distance(name, key_section_name(s)), name))
			return key_section_name(s);
	return NULL;
}

/* ---- what a section of the file has ---------------------------------------------------------- */

static size_t key_index(enum key_section s, const char *name)
{
	size_t n;
	const struct key *first = keys_of(s, &n);

	return (size_t)(key_find(s, name) - first);
}

unsigned key_line(enum key_section s, const struct draft_head *h, const char *name)
{
	unsigned line = h->key_line[key_index(s, name)];

	return line > 0 ? line : h->line;
}

bool key_is_set(enum key_section s, const struct draft_head *h, const char *name)
{
	return h->key_ok[key_index(s, name)];
}
