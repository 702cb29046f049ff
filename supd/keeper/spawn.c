/* SPDX-License-Identifier: MIT */
#include "supd/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/hook.h"
#include "supd/keeper/notify_socket.h"
#include "supd/keeper/process.h"
#include "supd/keeper/rawsys.h"
#include "supd/keeper/spawn_child.h"
#include "supd/keeper/state.h"

/*
 * A block per child in flight, one mapping:
 *
 *   | no access | stack ............ top | struct spawn_child | argv | envp | SUPD_* strings |
 *
 * It lives until the exec pipe says EOF: then the child has left this memory, by exec or death.
 */
#define GUARD_PAGE   4096u
#define STACK_SIZE   (32u << 10)
#define STRINGS_SIZE 1024u
#define SUPD_VARS    8u /* of a program, and of a hook */

struct block {
	void *start;
	size_t size;
	struct spawn_child *child;
	char **argv, **envp;
	char *strings, *strings_end;
};

static size_t page_round(size_t n)
{
	return (n + GUARD_PAGE - 1) & ~(size_t)(GUARD_PAGE - 1);
}

/* Room for so many words beside the NULL at the end of each. */
static int block_make(size_t argc, size_t envc, struct block *ret)
{
	size_t argv = (argc + 1) * sizeof(char *);
	size_t envp = (envc + 1) * sizeof(char *);
	size_t size = GUARD_PAGE + STACK_SIZE +
		      page_round(sizeof(*ret->child) + argv + envp + STRINGS_SIZE);
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
			-1, 0);

	if (at == MAP_FAILED)
		return -errno;
	mprotect(at, GUARD_PAGE, PROT_NONE);
	ret->start = at;
	ret->size = size;
	at += GUARD_PAGE + STACK_SIZE;
	ret->child = (struct spawn_child *)(void *)at;
	at += sizeof(*ret->child);
	ret->argv = (char **)(void *)at;
	ret->envp = (char **)(void *)(at + argv);
	ret->strings = at + argv + envp;
	ret->strings_end = ret->strings + STRINGS_SIZE;
	return 0;
}

void spawn_free_block(void **block, size_t size)
{
	if (*block)
		munmap(*block, size);
	*block = NULL;
}

__attribute__((format(printf, 2, 3))) static char *put_string(struct block *b, const char *fmt, ...)
{
	size_t room = (size_t)(b->strings_end - b->strings);
	char *at = b->strings;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	b->strings += n < 0 ? 0 : (size_t)n < room ? (size_t)n + 1 : room;
	return at;
}

/* What one start of a program, or of a hook of it, is about. */
struct occasion {
	uint64_t term;
	const char *cause; /* 16 bytes */
	mtime valid_until;
	struct model_strv argv;
	int stdout_fd, stderr_fd;
	bool is_main; /* not a hook */
};

/* Where it may say how it is; a hook has nothing to say for it. */
static char **put_notify(const struct keeper *k, const struct program *p, struct block *b, char **e)
{
	const struct model_program *mp = model_program(k->m, p->row);
	mtime silence = mp->health_interval * mp->health_fall;
	char path[128];

	if (p->notify_fd < 0 || notify_socket_path(k->m, p->row, path, sizeof(path)) < 0)
		return e;
	*e++ = put_string(b, "NOTIFY_SOCKET=%s", path);
	if (mp->health.kind == MODEL_PROBE_NOTIFY)
		*e++ = put_string(b, "WATCHDOG_USEC=%lld", (long long)(silence / 1000));
	return e;
}

/*
 * Six names of at most 64 and a number, a path of a socket (or the login of root): STRINGS_SIZE
 * holds them all.
 */
static void put_arguments(const struct keeper *k, const struct program *p, const struct occasion *o,
			  struct block *b)
{
	const struct model_program *mp = model_program(k->m, p->row);
	const char *service =
		p->service == MODEL_NONE ? "" : model_service_name(k->m, (uint32_t)p->service);
	char **e = b->envp + mp->env.count;

	model_strv_fill(k->m, o->argv, b->argv);
	model_strv_fill(k->m, mp->env, b->envp);
	*e++ = put_string(b, "SUPD_NODE=%s", model_node_name(k->m, (uint32_t)k->m->self));
	*e++ = put_string(b, "SUPD_SERVICE=%s", service);
	*e++ = put_string(b, "SUPD_PROGRAM=%s", model_program_name(k->m, p->row));
	*e++ = put_string(b, "SUPD_TERM=%llu", (unsigned long long)o->term);
	*e++ = put_string(b, "SUPD_ROLE=%s", p->service == MODEL_NONE ? "local" : "active");
	*e++ = put_string(b, "SUPD_CAUSE=%.16s", o->cause);
	if (o->is_main)
		e = put_notify(k, p, b, e);
	*e = NULL;
}

static void put_child(const struct keeper *k, const struct program *p, const struct occasion *o,
		      const struct guard *g, struct block *b)
{
	const struct model_program *mp = model_program(k->m, p->row);

	*b->child = (struct spawn_child){
		.status_fd = -1,
		.null_fd = k->null_fd,
		.stdout_fd = o->stdout_fd,
		.stderr_fd = o->stderr_fd,
		.mnt_ns = g ? g->mnt_ns : -1,
		.directory = model_str(k->m, mp->directory),
		.argv = (const char *const *)b->argv,
		.envp = (const char *const *)b->envp,
		.uid = mp->uid,
		.gid = mp->gid,
		.n_groups = mp->n_groups,
		.groups = mp->groups,
		.umask = mp->umask,
		.nice = mp->nice == MODEL_INHERIT ? k->inherited.nice : mp->nice,
		.nofile = k->inherited.nofile,
		.ignored = k->inherited.ignored,
		.rlimits = mp->rlimits,
		.keeper = g ? 0 : getpid(),
		.valid_until = o->valid_until,
	};
	put_arguments(k, p, o, b);
}

/* ---- the clone ------------------------------------------------------------------------------ */

int spawn_own_namespace(struct keeper *k)
{
	if (k->namespace_lost && setns(k->self_pid_ns, CLONE_NEWPID) < 0)
		return -errno;
	k->namespace_lost = false;
	return 0;
}

struct spawned {
	pid_t pid;
	int pidfd, exec_fd;
	void *block;
	size_t block_size;
};

/* Children of the keeper are born where pid_for_children points: there and back again. */
static int clone_into(struct keeper *k, int cgroup_fd, const struct guard *g,
		      const struct block *b, struct spawned *ret)
{
	int pidfd = -1, r = spawn_own_namespace(k);
	struct clone_args args = { .flags = CLONE_VM | CLONE_PIDFD,
				   .pidfd = (uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD,
				   .stack = (uintptr_t)b->start + GUARD_PAGE,
				   .stack_size = STACK_SIZE };
	long pid;

	if (r < 0)
		return r;
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	if (g && setns(g->pid_ns, CLONE_NEWPID) < 0)
		return -errno;
	pid = raw_clone3(&args, spawn_child, b->child);
	if (g) {
		k->namespace_lost = true;
		r = spawn_own_namespace(k);
		if (r < 0)
			log_error("cannot go back to the own PID namespace: %s, trying again at "
				  "the next start",
				  strerror(-r));
	}
	if (pid < 0)
		return (int)pid;
	ret->pid = (pid_t)pid;
	ret->pidfd = pidfd;
	return 0;
}

/* What is in the block belongs to the child from here on, unless it fails. */
static int launch(struct keeper *k, int cgroup_fd, const struct guard *g, struct block *b,
		  struct spawned *ret)
{
	int status[2], r = fd_pipe(status, O_NONBLOCK);

	if (r == 0) {
		b->child->status_fd = status[1];
		r = clone_into(k, cgroup_fd, g, b, ret);
		close(status[1]);
		ret->exec_fd = status[0];
		if (r < 0)
			close(status[0]);
	}
	ret->block = b->start;
	ret->block_size = b->size;
	if (r < 0)
		spawn_free_block(&ret->block, ret->block_size);
	return r;
}

/* The program itself, or a hook of it. */
static int launch_as(struct keeper *k, const struct program *p, const struct occasion *o,
		     int cgroup_fd, const struct guard *g, struct spawned *ret)
{
	struct block b = { 0 };
	int r = block_make(o->argv.count, model_program(k->m, p->row)->env.count + SUPD_VARS, &b);

	if (r < 0)
		return r;
	put_child(k, p, o, g, &b);
	return launch(k, cgroup_fd, g, &b, ret);
}

int spawn_program(struct keeper *k, struct program *p, const struct ipc_start *s,
		  const struct guard *g, enum ipc_stage *ret_stage)
{
	const struct model_program *mp = model_program(k->m, p->row);
	const struct occasion o = {
		.term = s->term,
		.cause = s->cause,
		.valid_until = s->valid_until,
		.argv = mp->argv,
		.stdout_fd = p->out[0].program[1],
		.stderr_fd = p->out[mp->redirect_stderr ? 0 : 1].program[1],
		.is_main = true,
	};
	struct spawned child;
	int r;

	*ret_stage = IPC_STAGE_CLONE;
	if (mp->argv.count == 0) {
		*ret_stage = IPC_STAGE_EXEC;
		return -ENOENT;
	}
	r = launch_as(k, p, &o, p->next.dir_fd, g, &child);
	if (r < 0)
		return r;
	p->run.pid = child.pid;
	p->run.pidfd = child.pidfd;
	p->run.exec_fd = child.exec_fd;
	p->run.block = child.block;
	p->run.block_size = child.block_size;
	return 0;
}

/* ---- hooks ---------------------------------------------------------------------------------- */

/* What a login of root would set: there is no user in the file whose it could be. */
static const char *const root_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh",
};
#define ROOT_ENV (sizeof(root_env) / sizeof(root_env[0]))

static void put_fence(const struct keeper *k, const struct ipc_hook *o, struct block *b, char **e)
{
	const struct model_node *node = model_node(k->m, (uint32_t)o->node);
	char address[IP_ADDR_TEXT];

	*e++ = put_string(b, "SUPD_FENCE_NODE=%s", model_node_name(k->m, (uint32_t)o->node));
	*e++ = put_string(b, "SUPD_FENCE_ADDRESS=%s", ip_addr_text(&node->address, address));
	*e = NULL;
}

/* Arguments behind those of the file: verb, address, interface. */
#define VIP_ARGUMENTS 3

static void put_vip(const struct keeper *k, const struct ipc_hook *o, struct block *b, char **e)
{
	const struct model_service *ms = model_service(k->m, (uint32_t)o->row);
	char address[IP_ADDR_TEXT], **argv = b->argv + ms->vip_argv.count;

	*argv++ = put_string(b, "%s", ipc_vip_verb_name((enum ipc_vip_verb)o->verb));
	*argv++ = put_string(b, "%s", ip_addr_text(&ms->vips[o->vip], address));
	*argv++ = put_string(b, "%s", model_str(k->m, ms->interface));
	*argv = NULL;
	*e = NULL;
}

static void put_service_arguments(const struct keeper *k, const struct ipc_hook *o,
				  struct block *b)
{
	char **e = b->envp;

	model_strv_fill(k->m, hook_argv(k->m, (enum ipc_hook_kind)o->kind, (uint32_t)o->row),
			b->argv);
	for (size_t i = 0; i < ROOT_ENV; i++)
		*e++ = put_string(b, "%s", root_env[i]);
	*e++ = put_string(b, "SUPD_NODE=%s", model_node_name(k->m, (uint32_t)k->m->self));
	*e++ = put_string(b, "SUPD_SERVICE=%s", model_service_name(k->m, (uint32_t)o->row));
	*e++ = put_string(b, "SUPD_TERM=%llu", (unsigned long long)o->term);
	*e++ = put_string(b, "SUPD_CAUSE=%.*s", (int)sizeof(o->cause), o->cause);
	if (o->kind == IPC_HOOK_FENCE)
		put_fence(k, o, b, e);
	else
		put_vip(k, o, b, e);
}

/* Its output goes nowhere: neither a full pipe nor a stuck disk may hold a takeover up. */
static int launch_of_service(struct keeper *k, const struct hook *hook, struct spawned *ret)
{
	const struct ipc_hook *o = &hook->order;
	struct model_strv argv = hook_argv(k->m, (enum ipc_hook_kind)o->kind, (uint32_t)o->row);
	struct block b = { 0 };
	int r = block_make(argv.count + VIP_ARGUMENTS, ROOT_ENV + SUPD_VARS, &b);

	if (r < 0)
		return r;
	*b.child = (struct spawn_child){
		.status_fd = -1,
		.null_fd = k->null_fd,
		.stdout_fd = k->null_fd,
		.stderr_fd = k->null_fd,
		.mnt_ns = -1,
		.directory = "/",
		.argv = (const char *const *)b.argv,
		.envp = (const char *const *)b.envp,
		.umask = 022,
		.nice = k->inherited.nice,
		.nofile = k->inherited.nofile,
		.ignored = k->inherited.ignored,
		.keeper = getpid(),
		.valid_until = o->valid_until,
	};
	put_service_arguments(k, o, &b);
	return launch(k, hook->leaf.dir_fd, NULL, &b, ret);
}

/* What pre_start and post_stop say belongs to the program's log; what a probe says to nobody's. */
static int launch_of_program(struct keeper *k, const struct hook *hook, const struct guard *g,
			     struct spawned *ret)
{
	const struct ipc_hook *o = &hook->order;
	const enum ipc_hook_kind kind = (enum ipc_hook_kind)o->kind;
	const struct program *p = &k->programs[o->row];
	const bool quiet = hook_is_probe(kind);
	const int err = model_program(k->m, p->row)->redirect_stderr ? 0 : 1;
	const struct occasion occasion = {
		.term = o->term,
		.cause = o->cause,
		.valid_until = o->valid_until,
		.argv = hook_argv(k->m, kind, p->row),
		.stdout_fd = quiet ? k->null_fd : p->out[0].program[1],
		.stderr_fd = quiet ? k->null_fd : p->out[err].program[1],
	};

	return launch_as(k, p, &occasion, hook->leaf.dir_fd, g, ret);
}

int spawn_hook(struct keeper *k, struct hook *hook, const struct guard *g)
{
	struct spawned child;
	int r;

	if (hook_is_of_service((enum ipc_hook_kind)hook->order.kind))
		r = launch_of_service(k, hook, &child);
	else
		r = launch_of_program(k, hook, g, &child);
	if (r < 0)
		return r;
	hook->pid = child.pid;
	hook->pidfd = child.pidfd;
	hook->exec_fd = child.exec_fd;
	hook->block = child.block;
	hook->block_size = child.block_size;
	return 0;
}

/*
 * Not the child's work: as long as it shares the keeper's memory, what it writes is set for the
 * keeper too (fs/proc/base.c, __set_oom_adj).
 */
void spawn_set_oom(const struct keeper *k, const struct model_program *mp, pid_t pid)
{
	bool own = mp && mp->oom_score_adj != MODEL_INHERIT;
	char text[16];

	if (!own && !k->inherited.oom_changed)
		return;
	snprintf(text, sizeof(text), "%d", own ? mp->oom_score_adj : k->inherited.oom_score_adj);
	process_write_proc(pid, "oom_score_adj", text);
}
