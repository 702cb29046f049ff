/* SPDX-License-Identifier: MIT */
#include "supd/keeper/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/log.h"
#include "supd/keeper/run_internal.h"

/*
 * The cgroups of runs: a new one for each start, made in advance, and watched for its end.  One
 * that was killed once kills whatever is cloned into it later (FACTS.md L).
 */

#define REFILL_STEP 16 /* leaves at a time: 0.1 ms each */
#define TIDY_DELAY  0.02 /* s after a start or an end: the program comes first */

void run_watch_leaf(struct keeper *k, struct cgroup_leaf *l)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->events_fd);
	l->wd = inotify_add_watch(k->inotify_fd, path, IN_MODIFY);
}

/* Before anything is in it.  What is not to be had is said once. */
static void set_limit(const struct keeper *k, const struct program *p, const char *key,
		      const char *file, const char *text)
{
	int r = cgroup_write(p->next.dir_fd, file, text);

	if (r < 0 && p->leaf_n == 2) /* the number after that of the first leaf */
		log_warn("program %s: %s is not enforced: %s, going on without it",
			 model_program_name(k->m, p->row), key,
			 r == -ENOENT ? "cgroup v2 has no such controller here" : strerror(-r));
}

static void set_limits(const struct keeper *k, const struct program *p)
{
	const struct model_program *mp = model_program(k->m, p->row);
	char text[48];

	if (mp->memory_max > 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)mp->memory_max);
		set_limit(k, p, "memory_max", "memory.max", text);
	}
	if (mp->cpu_max > 0) { /* microseconds of each 100 ms */
		snprintf(text, sizeof(text), "%llu 100000", 1000ull * mp->cpu_max);
		set_limit(k, p, "cpu_max", "cpu.max", text);
	}
}

int run_make_leaf(struct keeper *k, struct program *p)
{
	struct service *s = run_service(k, p);
	int r;

	if (!k->has_cgroup || p->next.dir_fd >= 0)
		return 0;
	r = cgroup_leaf_make(s ? s->dir_fd : k->node_fd, model_program_name(k->m, p->row),
			     &p->leaf_n, &p->next);
	if (r < 0)
		return r;
	set_limits(k, p);
	run_watch_leaf(k, &p->next);
	return 0;
}

void run_drop_leaf(struct keeper *k, struct cgroup_leaf *l)
{
	if (l->wd >= 0)
		inotify_rm_watch(k->inotify_fd, l->wd);
	cgroup_leaf_drop(l);
}

void run_drop_next(struct keeper *k, struct program *p)
{
	run_drop_leaf(k, &p->next);
	run_drop_leaf(k, &p->old);
}

void run_retire_leaf(struct keeper *k, struct program *p)
{
	run_drop_leaf(k, &p->old);
	p->old = p->run.leaf;
	p->run.leaf = CGROUP_LEAF_NONE;
	if (k->ending != ENDING_NOT)
		run_drop_leaf(k, &p->old);
}

static void schedule(struct keeper *k, double delay);

static void on_refill(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct keeper *k = w->data;
	unsigned made = 0;

	(void)loop;
	(void)revents;
	for (uint32_t i = 0; i < k->m->n_programs && k->ending == ENDING_NOT; i++) {
		run_drop_leaf(k, &k->programs[i].old);
		if (!k->has_cgroup || k->programs[i].next.dir_fd >= 0)
			continue;
		if (made++ == REFILL_STEP) {
			schedule(k, 0.);
			return;
		}
		/* No further one now, or this would go round and round: each start tries anew. */
		if (run_make_leaf(k, &k->programs[i]) < 0)
			return;
	}
}

static void schedule(struct keeper *k, double delay)
{
	if (ev_is_active(&k->refill))
		return;
	ev_timer_init(&k->refill, on_refill, delay, 0.);
	k->refill.data = k;
	ev_timer_start(k->loop, &k->refill);
}

void run_refill(struct keeper *k)
{
	schedule(k, TIDY_DELAY);
}

void run_refill_now(struct keeper *k)
{
	schedule(k, 0.);
}

/* ---- the watch -------------------------------------------------------------------------------- */

static void on_inotify(struct ev_loop *loop, ev_io *w, int revents)
{
	_Alignas(struct inotify_event) char buf[4096];
	struct keeper *k = w->data;
	ssize_t n = read(k->inotify_fd, buf, sizeof(buf));

	(void)loop;
	(void)revents;
	for (char *at = buf; n > 0 && at < buf + n;) {
		const struct inotify_event *e = (const struct inotify_event *)(const void *)at;

		at += sizeof(*e) + e->len;
		for (uint32_t i = 0; i < k->m->n_programs; i++)
			if (k->programs[i].run.state == RUN_ENDED &&
			    k->programs[i].run.leaf.wd == e->wd)
				run_check_gone(k, &k->programs[i]);
	}
}

int run_open(struct keeper *k)
{
	k->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (k->inotify_fd < 0)
		return -errno;
	ev_io_init(&k->inotify, on_inotify, k->inotify_fd, EV_READ);
	k->inotify.data = k;
	ev_io_start(k->loop, &k->inotify);
	return 0;
}
