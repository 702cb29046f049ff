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
#define SUPD_VARS    6u

struct block {
	char *stack_top;
	struct spawn_child *child;
	char **argv, **envp;
	char *strings, *strings_end;
};

static size_t page_round(size_t n)
{
	return (n + GUARD_PAGE - 1) & ~(size_t)(GUARD_PAGE - 1);
}

static int block_make(struct program *p, const struct model_program *mp, struct block *ret)
{
	size_t argv = (mp->argv.count + 1) * sizeof(char *);
	size_t envp = (mp->env.count + SUPD_VARS + 1) * sizeof(char *);
	size_t size = GUARD_PAGE + STACK_SIZE +
		      page_round(sizeof(*ret->child) + argv + envp + STRINGS_SIZE);
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
			-1, 0);

	if (at == MAP_FAILED)
		return -errno;
	mprotect(at, GUARD_PAGE, PROT_NONE);
	p->run.block = at;
	p->run.block_size = size;
	at += GUARD_PAGE + STACK_SIZE;
	ret->stack_top = at;
	ret->child = (struct spawn_child *)(void *)at;
	at += sizeof(*ret->child);
	ret->argv = (char **)(void *)at;
	ret->envp = (char **)(void *)(at + argv);
	ret->strings = at + argv + envp;
	ret->strings_end = ret->strings + STRINGS_SIZE;
	return 0;
}

void spawn_free_block(struct program *p)
{
	if (!p->run.block)
		return;
	munmap(p->run.block, p->run.block_size);
	p->run.block = NULL;
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

/* Six names of at most 64 and a number: STRINGS_SIZE holds them all. */
static void put_arguments(const struct keeper *k, const struct program *p,
			  const struct ipc_start *s, struct block *b)
{
	const struct model_program *mp = model_program(k->m, p->row);
	const char *service =
		p->service == MODEL_NONE ? "" : model_service_name(k->m, (uint32_t)p->service);
	char **e = b->envp + mp->env.count;

	model_strv_fill(k->m, mp->argv, b->argv);
	model_strv_fill(k->m, mp->env, b->envp);
	*e++ = put_string(b, "SUPD_NODE=%s", model_node_name(k->m, (uint32_t)k->m->self));
	*e++ = put_string(b, "SUPD_SERVICE=%s", service);
	*e++ = put_string(b, "SUPD_PROGRAM=%s", model_program_name(k->m, p->row));
	*e++ = put_string(b, "SUPD_TERM=%llu", (unsigned long long)s->term);
	*e++ = put_string(b, "SUPD_ROLE=%s", p->service == MODEL_NONE ? "local" : "active");
	*e++ = put_string(b, "SUPD_CAUSE=%.*s", (int)sizeof(s->cause), s->cause);
	*e = NULL;
}

static void put_child(const struct keeper *k, const struct program *p, const struct ipc_start *s,
		      const struct guard *g, struct block *b)
{
	const struct model_program *mp = model_program(k->m, p->row);

	*b->child = (struct spawn_child){
		.status_fd = -1,
		.null_fd = k->null_fd,
		.stdout_fd = p->out[0].program[1],
		.stderr_fd = p->out[mp->redirect_stderr ? 0 : 1].program[1],
		.mnt_ns = g ? g->mnt_ns : -1,
		.directory = model_str(k->m, mp->directory),
		.argv = (const char *const *)b->argv,
		.envp = (const char *const *)b->envp,
		.uid = mp->uid,
		.gid = mp->gid,
		.n_groups = mp->n_groups,
		.groups = mp->groups,
		.umask = mp->umask,
		.nice = k->inherited.nice,
		.nofile = k->inherited.nofile,
		.keeper = g ? 0 : getpid(),
		.valid_until = s->valid_until,
	};
	put_arguments(k, p, s, b);
}

/* ---- the clone ------------------------------------------------------------------------------ */

int spawn_own_namespace(struct keeper *k)
{
	if (k->namespace_lost && setns(k->self_pid_ns, CLONE_NEWPID) < 0)
		return -errno;
	k->namespace_lost = false;
	return 0;
}

/* Children of the keeper are born where pid_for_children points: there and back again. */
static int clone_into(struct keeper *k, struct program *p, const struct guard *g,
		      const struct block *b)
{
	int pidfd = -1, r = spawn_own_namespace(k);
	struct clone_args args = { .flags = CLONE_VM | CLONE_PIDFD,
				   .pidfd = (uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD,
				   .stack = (uintptr_t)p->run.block + GUARD_PAGE,
				   .stack_size = STACK_SIZE };
	long pid;

	if (r < 0)
		return r;
	if (p->next.dir_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)p->next.dir_fd;
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
	p->run.pid = (pid_t)pid;
	p->run.pidfd = pidfd;
	return 0;
}

int spawn_program(struct keeper *k, struct program *p, const struct ipc_start *s,
		  const struct guard *g, enum ipc_stage *ret_stage)
{
	const struct model_program *mp = model_program(k->m, p->row);
	struct block b = { 0 };
	int status[2], r;

	*ret_stage = IPC_STAGE_CLONE;
	if (mp->argv.count == 0) {
		*ret_stage = IPC_STAGE_EXEC;
		return -ENOENT;
	}
	r = fd_pipe(status, O_NONBLOCK);
	if (r < 0)
		return r;
	r = block_make(p, mp, &b);
	if (r == 0) {
		put_child(k, p, s, g, &b);
		b.child->status_fd = status[1];
		r = clone_into(k, p, g, &b);
	}
	close(status[1]);
	if (r < 0) {
		spawn_free_block(p);
		close(status[0]);
		return r;
	}
	p->run.exec_fd = status[0];
	return 0;
}

/*
 * Not the child's work: as long as it shares the keeper's memory, what it writes is set for the
 * keeper too (fs/proc/base.c, __set_oom_adj).
 */
void spawn_restore_oom(const struct keeper *k, pid_t pid)
{
	char text[16];

	if (!k->inherited.oom_changed)
		return;
	snprintf(text, sizeof(text), "%d", k->inherited.oom_score_adj);
	process_write_proc(pid, "oom_score_adj", text);
}
