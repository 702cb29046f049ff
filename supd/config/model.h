/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_MODEL_H
#define SUPD_CONFIG_MODEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ip_addr.h"
#include "common/mtime.h"
#include "supd/core/vrrp_packet.h"

/*
 * The configuration as every process of supd sees it: one flat, position-independent, read-only
 * block.  The loader builds it, seals it in a memfd and the keeper maps it; the roles inherit the
 * mapping.  Whatever an index in a message names (service, program, node), it names a row here.
 *
 * Strings and arrays are offsets from the start of the block; offset 0 is the empty string.
 * Users and groups are resolved when the file is loaded.  Durations are mtime.
 */

#define MODEL_MAGIC 0x53555044u /* "SUPD" */
#define MODEL_FORMAT 1u

#define MODEL_NODES_MAX	   16
#define MODEL_PATHS_MAX	   4 /* of the peer link to one node */
#define MODEL_ADDRESSES_MAX 3 /* of one node, for adverts */
#define MODEL_SERVICES_MAX 255
#define MODEL_PROGRAMS_MAX 4096
#define MODEL_VIPS_MAX	   16 /* of one service */
#define MODEL_TARGETS_MAX  8  /* isolation_probe targets of one service */
#define MODEL_GROUPS_MAX   32 /* supplementary groups of one user */
#define MODEL_NAME_MAX	   63
#define MODEL_REQUIRES_MAX 16 /* of one program */
#define MODEL_LOG_SYSLOG   "syslog" /* in place of a log's path */
#define MODEL_NONE	   (-1)
#define MODEL_VIP_COMMAND_TIMEOUT MTIME_SEC(10) /* likewise, for each address */
#define MODEL_FENCE_COMMAND_TIMEOUT MTIME_SEC(30) /* then it is killed, and has failed */

struct model_str {
	uint32_t off;
};

/* `count` strings, one after the other, each with its NUL, from `off`. */
struct model_strv {
	uint32_t off, count;
};

struct model_supd {
	struct model_str cluster, run_dir, state_dir, log_dir; /* directories: --prefix is applied */
	struct model_str config_path;
	uint16_t peer_port;
	uid_t uid; /* of `user` */
	gid_t gid;
	gid_t socket_gid;
	mode_t socket_mode;
	bool log_to_stderr;
	int log_level; /* enum log_level */
	mtime engine_timeout; /* resolved: auto is computed from the budgets (core/budget.h) */
	uint8_t key[32];
	uint8_t text_hash[32]; /* SHA-256 of the sections, keys and values, in the file's order */
};

struct model_node {
	struct model_str name;
	struct ip_addr address; /* the peer link's, path 0 */
	uint8_t n_more;
	struct ip_addr more[MODEL_ADDRESSES_MAX - 1]; /* further ones of `address`: for adverts */
	uint8_t priority;
	bool peer_link;
	mtime release_delay; /* !peer_link: from its priority 0 until nothing is left there */
	uint8_t n_further;
	struct ip_addr further[MODEL_PATHS_MAX - 1]; /* peer_address */
};

enum model_vip_backend { MODEL_VIP_NETLINK, MODEL_VIP_COMMAND, MODEL_VIP_NONE };
enum model_transport { MODEL_TRANSPORT_IP, MODEL_TRANSPORT_UDP };
enum model_isolation { MODEL_ISOLATION_AUTO, MODEL_ISOLATION_OFF, MODEL_ISOLATION_LIST };

struct model_service {
	struct model_str name;
	struct model_str interface;
	uint64_t hash;	 /* of the name: the service's identity on the peer link */
	uint64_t digest; /* safety digest: cluster, nodes, VRID, addresses, intervals */
	uint8_t vrid;
	uint8_t n_vips, n_targets;
	struct ip_addr vips[MODEL_VIPS_MAX];
	enum model_isolation isolation;
	struct ip_addr targets[MODEL_TARGETS_MAX]; /* isolation_probe = a list */
	uint8_t vrrp_version;
	enum model_transport transport;
	bool multicast;
	enum vrrp_auth auth_type;
	uint8_t auth_pass[VRRP_PASSWORD_LEN]; /* zeros after its end */
	enum vrrp_checksum checksum;
	mtime advert_int;
	mtime vip_lease; /* whole seconds; 0: off */
	enum model_vip_backend vip_backend;
	struct model_strv vip_argv; /* vip_command, with vip_backend = command only */
	mtime vip_command_timeout; /* no key: MODEL_VIP_COMMAND_TIMEOUT, shorter in tests */
	bool conflict_probe;
	uint32_t garp_count;
	mtime garp_refresh; /* 0: off */
	mtime wait_for_peer;
	uint32_t restart_limit; /* N of N/W */
	mtime restart_window;	/* W */
	mtime failure_reset;	/* MTIME_NEVER: never */
	mtime fence_timeout;	/* resolved */
	mtime failback; /* MTIME_NEVER: never, or by a person only */
	bool hold_on_silence;
	struct model_strv fence_argv; /* empty: no fence_command */
	mtime fence_command_timeout; /* no key: MODEL_FENCE_COMMAND_TIMEOUT, shorter in tests */
	bool pid_namespace;
	mtime kill_wait;
};

/* What tells that a program is ready, or well. */
enum model_probe_kind {
	MODEL_PROBE_NONE,
	MODEL_PROBE_NOTIFY, /* sd_notify(3): READY=1, WATCHDOG=1 */
	MODEL_PROBE_TCP,    /* a connection is accepted */
	MODEL_PROBE_HTTP,   /* GET is answered with 200 to 399 */
	MODEL_PROBE_EXEC,   /* exits with 0 */
};

struct model_probe {
	enum model_probe_kind kind;
	struct ip_addr address;
	uint16_t port;
	struct model_str host, path; /* of HTTP */
	struct model_strv argv;	     /* of EXEC */
};

#define MODEL_RLIMITS 16 /* RLIM_NLIMITS */
#define MODEL_INHERIT INT32_MIN /* as supd was started */

struct model_rlimit {
	bool set;
	uint64_t soft, hard; /* RLIM_INFINITY: none */
};

enum model_autorestart { MODEL_RESTART_ALWAYS, MODEL_RESTART_UNEXPECTED, MODEL_RESTART_NEVER };

struct model_program {
	struct model_str name;
	int service; /* row, or MODEL_NONE: runs on every node */
	struct model_strv argv;
	struct model_strv env; /* complete but for the SUPD_* variables of one start */
	struct model_str directory;
	struct model_str user_name;
	uid_t uid;
	gid_t gid;
	uint32_t n_groups;
	gid_t groups[MODEL_GROUPS_MAX];
	mode_t umask;
	bool autostart;
	enum model_autorestart autorestart;
	uint8_t exitcodes[32]; /* bit set: bit c of byte c / 8 */
	mtime restart_delay_max;
	mtime startsecs;
	bool forking;
	struct model_str pidfile; /* absolute; where forking */
	int stopsignal;
	mtime stopwaitsecs;
	bool redirect_stderr;
	struct model_str stdout_logfile; /* absolute, or MODEL_LOG_SYSLOG; log_dir/NAME.log unless set */
	struct model_str stderr_logfile; /* used where !redirect_stderr; log_dir/NAME.err.log */
	struct model_strv pre_start, post_stop; /* empty: none */
	mtime hook_timeout;			/* of each */
	struct model_probe ready, health;
	mtime ready_timeout;
	mtime health_interval, health_timeout;
	uint32_t health_fall; /* failures in a row that count */
	int nice, oom_score_adj; /* MODEL_INHERIT */
	struct model_rlimit rlimits[MODEL_RLIMITS];
	uint64_t memory_max; /* bytes of the whole tree; 0: no limit */
	uint32_t cpu_max;    /* percent of one CPU; 0: no limit */
	uint32_t n_requires;
	int requires[MODEL_REQUIRES_MAX]; /* rows of programs */
	uint64_t logfile_maxbytes; /* 0: never rotated */
	uint32_t logfile_backups;
};

struct model {
	uint32_t magic, format, size;
	int self; /* row of this node, or MODEL_NONE: not found yet, wait and retry */
	struct model_supd supd;
	uint32_t n_nodes, n_services, n_programs;
	uint32_t nodes_off, services_off, programs_off;
	/* The block goes on with the arrays and the strings. */
};

static inline const char *model_str(const struct model *m, struct model_str s)
{
	return s.off == 0 ? "" : (const char *)m + s.off;
}

static inline const struct model_node *model_node(const struct model *m, uint32_t i)
{
	return (const struct model_node *)(const void *)((const char *)m + m->nodes_off) + i;
}

static inline const struct model_service *model_service(const struct model *m, uint32_t i)
{
	return (const struct model_service *)(const void *)((const char *)m + m->services_off) + i;
}

static inline const struct model_program *model_program(const struct model *m, uint32_t i)
{
	return (const struct model_program *)(const void *)((const char *)m + m->programs_off) + i;
}

static inline const char *model_service_name(const struct model *m, uint32_t i)
{
	return model_str(m, model_service(m, i)->name);
}

static inline const char *model_program_name(const struct model *m, uint32_t i)
{
	return model_str(m, model_program(m, i)->name);
}

static inline const char *model_node_name(const struct model *m, uint32_t i)
{
	return model_str(m, model_node(m, i)->name);
}

/* The paths of the peer link to a node: its address is path 0, then those of peer_address. */
static inline unsigned model_node_n_paths(const struct model_node *n)
{
	return 1u + n->n_further;
}

/* The last one stands in for those that the node lacks. */
static inline struct ip_addr model_node_path(const struct model_node *n, unsigned path)
{
	if (path > n->n_further)
		path = n->n_further;
	return path == 0 ? n->address : n->further[path - 1];
}

/* What the adverts of a service are about: the family of its first address. */
static inline uint32_t model_vrrp_family(const struct model_service *s)
{
	return s->n_vips > 0 ? s->vips[0].family : AF_INET;
}

/* Where the adverts of the service come from and go to; none: the node has no such address. */
struct ip_addr model_vrrp_address(const struct model_service *s, const struct model_node *n);

/* Row of the service or program of that name, or MODEL_NONE. */
int model_find_service(const struct model *m, const char *name);
int model_find_program(const struct model *m, const char *name);
int model_find_node(const struct model *m, const char *name);
/* Row of the node that has this address, on whichever path, or MODEL_NONE. */
int model_find_node_address(const struct model *m, const struct ip_addr *a);

/* Fill argv[0 .. v.count] (NULL last) with pointers into the block. */
void model_strv_fill(const struct model *m, struct model_strv v, char **argv);

/* Whether [buf, buf+size) is a whole block that the accessors may walk: 0 or -EINVAL. */
int model_verify(const void *buf, uint32_t size);

#endif
