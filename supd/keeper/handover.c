/* SPDX-License-Identifier: MIT */
#include "supd/keeper/handover.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "supd/keeper/cgroup_tree.h"
#include "supd/keeper/guard.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/run.h"
#include "supd/keeper/state.h"

/* ---- writing ------------------------------------------------------------------------------------ */

static json_t *leaf_json(const struct cgroup_leaf *l)
{
	return l->dir_fd >= 0 ? json_string(l->name) : json_null();
}

static json_t *inherited_json(const struct inherited *i)
{
	return json_pack("{s:i, s:i, s:b, s:[I,I]}", "nice", i->nice, "oom_score_adj",
			 i->oom_score_adj, "oom_changed", (int)i->oom_changed, "nofile",
			 (json_int_t)i->nofile.rlim_cur, (json_int_t)i->nofile.rlim_max);
}

static json_t *cgroup_json(const struct keeper *k)
{
	if (!k->has_cgroup)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "mount", k->place.mount, "base", k->place.base,
			 "self", k->self_leaf.name, "programs", k->programs_name, "path",
			 k->programs_path);
}

static json_t *roles_json(const struct keeper *k)
{
	json_t *list = json_array();

	for (int i = 0; i < ROLES_END; i++)
		if (k->roles[i].pid > 0)
			json_array_append_new(list, json_pack("{s:i, s:i, s:o}", "role", i, "pid",
							      (int)k->roles[i].pid, "leaf",
							      leaf_json(&k->roles[i].leaf)));
	return list;
}

static json_t *guard_json(const struct guard *g)
{
	if (!g)
		return json_null();
	return json_pack("{s:i, s:o, s:i, s:i, s:b}", "pid", (int)g->pid, "leaf",
			 leaf_json(&g->leaf), "pid_ns", g->pid_ns, "mnt_ns", g->mnt_ns, "used",
			 (int)g->used);
}

static json_t *services_json(const struct keeper *k)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < k->m->n_services; i++) {
		const struct service *s = &k->services[i];

		json_array_append_new(
			list, json_pack("{s:s, s:I, s:I, s:I, s:i, s:o}", "name",
					model_service_name(k->m, i), "kill_at", (json_int_t)s->kill_at,
					"term_started", (json_int_t)s->term_started, "term_quiesced",
					(json_int_t)s->term_quiesced, "guard_n", (int)s->guard_n,
					"guard", guard_json(s->guard)));
	}
	return list;
}

static json_t *stream_json(const struct stream *s)
{
	if (s->program[0] < 0)
		return json_null();
	return json_pack("[i,i,i,i]", s->program[0], s->program[1], s->stage[0], s->stage[1]);
}

static json_t *run_json(const struct run *r)
{
	if (r->state != RUN_UP)
		return json_null();
	return json_pack("{s:I, s:I, s:i, s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "order",
			 (json_int_t)r->order,
			 "term", (json_int_t)r->term, "pid", (int)r->pid, "started",
			 (json_int_t)r->started, "leaf", leaf_json(&r->leaf), "announced",
			 (int)r->announced, "killed", (int)r->killed, "by_deadline",
			 (int)r->killed_by_deadline, "ready", (int)r->ready, "daemon", (int)r->daemon);
}

static json_t *programs_json(const struct keeper *k)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < k->m->n_programs; i++) {
		const struct program *p = &k->programs[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:i, s:i, s:b, s:[o,o], s:o}", "name",
						model_program_name(k->m, i), "runs",
						(json_int_t)p->runs, "leaf_n", (int)p->leaf_n, "notify",
						p->notify_fd, "post_owed", (int)p->post_owed, "out",
						stream_json(&p->out[0]), stream_json(&p->out[1]),
						"run", run_json(&p->run)));
	}
	return list;
}

/* Opaque: two hex digits a byte. */
static json_t *baton_json(const struct baton *b)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * IPC_BATON_MAX + 1];

	for (uint32_t i = 0; i < b->len; i++) {
		hex[2 * i] = digits[b->data[i] >> 4];
		hex[2 * i + 1] = digits[b->data[i] & 15];
	}
	hex[2 * b->len] = '\0';
	return json_string(hex);
}

static json_t *batons_json(const struct keeper *k)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i <= k->m->n_services; i++)
		json_array_append_new(list, baton_json(&k->batons[i]));
	return list;
}

static json_t *keeper_json(const struct keeper *k, int model_fd)
{
	return json_pack("{s:i, s:s, s:i, s:i, s:I, s:i, s:i, s:i, s:i, s:{s:i, s:i, s:i, s:[i,i]},"
			 " s:o, s:o, s:o, s:o, s:o, s:o}",
			 "handover", HANDOVER_VERSION, "from", SUPD_VERSION, "model", model_fd,
			 "image", (int)k->image_n, "deputy", (int)k->reexec.deputy, "started", (json_int_t)k->started, "generation",
			 (int)k->generation, "role_leaf_n", (int)k->role_leaf_n, "hook_n",
			 (int)k->hook_n, "fds", "lock", k->lock_fd, "state", k->state_lock_fd,
			 "control", k->control_fd, "log",
			 k->log_pipe[0], k->log_pipe[1], "inherited", inherited_json(&k->inherited),
			 "cgroup", cgroup_json(k), "roles", roles_json(k), "services",
			 services_json(k), "programs", programs_json(k), "batons", batons_json(k));
}

int handover_write(const struct keeper *k, int model_fd, int *ret_fd)
{
	json_t *doc = keeper_json(k, model_fd);
	int fd = doc ? memfd_create("supd-handover", MFD_CLOEXEC) : -1;
	int r = 0;

	if (!doc)
		return -ENOMEM;
	if (fd < 0)
		r = -errno;
	else if (json_dumpfd(doc, fd, JSON_COMPACT) < 0)
		r = -ENOSPC;
	json_decref(doc);
	if (r < 0)
		fd_close(&fd);
	else
		*ret_fd = fd;
	return r;
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* NULL: no handover that this version knows. */
static json_t *parse(int fd)
{
	json_error_t error;
	int version;
	json_t *doc;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return NULL;
	doc = json_loadfd(fd, 0, &error);
	if (doc && json_unpack(doc, "{s:i}", "handover", &version) == 0 &&
	    version == HANDOVER_VERSION)
		return doc;
	json_decref(doc);
	return NULL;
}

struct fd_list {
	int *fds;
	size_t n;
};

static void add_fd(struct fd_list *l, int fd)
{
	if (fd > 2)
		l->fds[l->n++] = fd;
}

static void add_all(struct fd_list *l, json_t *doc)
{
	json_t *entry, *out, *fd;
	size_t i, o, f;
	int pid_ns, mnt_ns;

	json_array_foreach(json_object_get(doc, "services"), i, entry)
		if (json_unpack(entry, "{s:{s:i, s:i}}", "guard", "pid_ns",
				&pid_ns, "mnt_ns", &mnt_ns) == 0) {
			add_fd(l, pid_ns);
			add_fd(l, mnt_ns);
		}
	json_array_foreach(json_object_get(doc, "programs"), i, entry) {
		add_fd(l, (int)json_integer_value(json_object_get(entry, "notify")));
		json_array_foreach(json_object_get(entry, "out"), o, out)
			json_array_foreach(out, f, fd)
				add_fd(l, (int)json_integer_value(fd));
	}
}

int handover_fds(int fd, int **ret_fds, size_t *ret_n, int *ret_model_fd)
{
	json_t *doc = parse(fd);
	struct fd_list l = { 0 };
	int own[6];
	size_t room;

	if (!doc || json_unpack(doc, "{s:i, s:{s:i, s:i, s:i, s:[i,i]}}", "model", &own[0], "fds",
				"lock", &own[1], "state", &own[2], "control", &own[3], "log",
				&own[4], &own[5]) < 0) {
		json_decref(doc);
		return -EPROTO;
	}
	room = 7 + 2 * json_array_size(json_object_get(doc, "services")) +
	       9 * json_array_size(json_object_get(doc, "programs"));
	l.fds = calloc(room, sizeof(*l.fds));
	if (!l.fds) {
		json_decref(doc);
		return -ENOMEM;
	}
	add_fd(&l, fd);
	for (size_t i = 0; i < 6; i++)
		add_fd(&l, own[i]);
	add_all(&l, doc);
	json_decref(doc);
	*ret_fds = l.fds;
	*ret_n = l.n;
	*ret_model_fd = own[0];
	return 0;
}

static int read_inherited(struct keeper *k, json_t *doc)
{
	struct inherited *i = &k->inherited;
	json_int_t cur, max;
	int changed;

	if (json_unpack(doc, "{s:{s:i, s:i, s:b, s:[I,I]}}", "inherited", "nice", &i->nice,
			"oom_score_adj", &i->oom_score_adj, "oom_changed", &changed, "nofile", &cur,
			&max) < 0)
		return -EPROTO;
	i->oom_changed = changed;
	i->nofile = (struct rlimit){ (rlim_t)cur, (rlim_t)max };
	return 0;
}

static int read_own(struct keeper *k, json_t *doc)
{
	json_int_t started;
	const char *from;
	int image, deputy, generation, role_leaf_n, hook_n;

	if (json_unpack(doc, "{s:s, s:i, s:i, s:I, s:i, s:i, s:i, s:{s:i, s:i, s:i, s:[i,i]}}", "from",
			&from, "image", &image, "deputy", &deputy, "started", &started, "generation", &generation,
			"role_leaf_n", &role_leaf_n, "hook_n", &hook_n, "fds", "lock", &k->lock_fd,
			"state", &k->state_lock_fd, "control", &k->control_fd, "log", &k->log_pipe[0], &k->log_pipe[1]) < 0)
		return -EPROTO;
	k->image_n = (uint32_t)image + 1;
	k->reexec.deputy = (pid_t)deputy;
	k->started = started;
	k->generation = (uint32_t)generation;
	k->role_leaf_n = (unsigned)role_leaf_n;
	k->hook_n = (unsigned)hook_n;
	k->ready = true;
	log_notice("supd " SUPD_VERSION " goes on in the place of supd %s", from);
	return read_inherited(k, doc);
}

static int read_cgroup(struct keeper *k, json_t *doc)
{
	struct cgroup_names names;
	json_t *entry = json_object_get(doc, "cgroup");

	if (json_is_null(entry))
		return 0;
	if (json_unpack(entry, "{s:s, s:s, s:s, s:s, s:s}", "mount", &names.mount, "base", &names.base,
			"self", &names.self, "programs", &names.programs, "path", &names.path) < 0)
		return -EPROTO;
	return cgroup_tree_adopt(k, &names);
}

static int read_roles(struct keeper *k, json_t *doc)
{
	json_t *entry;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(doc, "roles"), i, entry) {
		json_t *leaf;
		int id, pid;

		if (json_unpack(entry, "{s:i, s:i, s:o}", "role", &id, "pid", &pid, "leaf", &leaf) <
			    0 || id < 0 || id >= ROLES_END)
			return -EPROTO;
		r = role_adopt(&k->roles[id], (pid_t)pid, json_string_value(leaf));
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_guard(struct keeper *k, struct service *s, json_t *entry)
{
	int pid, used, pid_ns, mnt_ns;
	json_t *leaf;

	if (json_is_null(entry))
		return 0;
	if (json_unpack(entry, "{s:i, s:o, s:i, s:i, s:b}", "pid", &pid, "leaf", &leaf, "pid_ns",
			&pid_ns, "mnt_ns", &mnt_ns, "used", &used) < 0)
		return -EPROTO;
	return guard_adopt(k, s, &(struct guard_left){ .pid = (pid_t)pid,
						      .leaf = json_string_value(leaf),
						      .pid_ns = pid_ns, .mnt_ns = mnt_ns,
						      .used = used });
}

static int read_service(struct keeper *k, json_t *entry)
{
	json_int_t kill_at, started, quiesced;
	const char *name;
	struct service *s;
	json_t *guard;
	int row, guard_n;

	if (json_unpack(entry, "{s:s, s:I, s:I, s:I, s:i, s:o}", "name", &name, "kill_at", &kill_at,
			"term_started", &started, "term_quiesced", &quiesced, "guard_n", &guard_n,
			"guard", &guard) < 0)
		return -EPROTO;
	row = model_find_service(k->m, name);
	if (row == MODEL_NONE)
		return -ENOENT;
	s = &k->services[row];
	s->kill_at = kill_at;
	s->term_started = (uint64_t)started;
	s->term_quiesced = (uint64_t)quiesced;
	s->guard_n = (unsigned)guard_n;
	return read_guard(k, s, guard);
}

static int read_stream(struct stream *s, json_t *entry)
{
	if (json_is_null(entry))
		return 0;
	return json_unpack(entry, "[i,i,i,i]", &s->program[0], &s->program[1], &s->stage[0],
			   &s->stage[1]) < 0 ? -EPROTO : 0;
}

static int read_run(struct keeper *k, struct program *p, json_t *entry)
{
	json_int_t order, term, started;
	int pid, announced, killed, by_deadline, ready, daemon;
	json_t *leaf;

	if (json_is_null(entry))
		return 0;
	if (json_unpack(entry, "{s:I, s:I, s:i, s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "order", &order,
			"term", &term, "pid", &pid, "started", &started, "leaf", &leaf, "announced",
			&announced, "killed", &killed, "by_deadline", &by_deadline, "ready",
			&ready, "daemon", &daemon) < 0)
		return -EPROTO;
	p->run = (struct run){ .state = RUN_UP, .number = p->runs, .order = (uint64_t)order,
			       .term = (uint64_t)term, .announced = announced, .killed = killed,
			       .killed_by_deadline = by_deadline, .ready = ready, .daemon = daemon, .scout_fd = -1,
			       .scout_pidfd = -1, .pid = (pid_t)pid, .pidfd = -1,
			       .exec_fd = -1, .started = started, .leaf = CGROUP_LEAF_NONE };
	return run_adopt(k, p, json_string_value(leaf));
}

static int read_program(struct keeper *k, json_t *entry)
{
	json_t *out[2], *run;
	const char *name;
	struct program *p;
	json_int_t runs;
	int row, leaf_n, owed, notify, r;

	if (json_unpack(entry, "{s:s, s:I, s:i, s:i, s:b, s:[o,o], s:o}", "name", &name, "runs", &runs,
			"leaf_n", &leaf_n, "notify", &notify, "post_owed", &owed, "out", &out[0], &out[1], "run", &run) < 0)
		return -EPROTO;
	row = model_find_program(k->m, name);
	if (row == MODEL_NONE)
		return -ENOENT;
	p = &k->programs[row];
	p->runs = (uint32_t)runs;
	p->leaf_n = (unsigned)leaf_n;
	p->notify_fd = notify;
	p->post_owed = owed;
	r = read_stream(&p->out[0], out[0]);
	if (r == 0)
		r = read_stream(&p->out[1], out[1]);
	return r < 0 ? r : read_run(k, p, run);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_baton(struct baton *b, const char *hex)
{
	size_t len = hex ? strlen(hex) : 1;

	if (len % 2 != 0 || len / 2 > IPC_BATON_MAX)
		return -EPROTO;
	for (size_t i = 0; i < len / 2; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EPROTO;
		b->data[i] = (uint8_t)(16 * high + low);
	}
	b->len = (uint32_t)(len / 2);
	return 0;
}

static int read_batons(struct keeper *k, json_t *doc)
{
	json_t *entry, *list = json_object_get(doc, "batons");
	size_t i;
	int r = json_array_size(list) == k->m->n_services + 1 ? 0 : -EPROTO;

	json_array_foreach(list, i, entry)
		if (r == 0)
			r = read_baton(&k->batons[i], json_string_value(entry));
	return r;
}

static int read_each(struct keeper *k, json_t *list, int (*one)(struct keeper *k, json_t *entry))
{
	json_t *entry;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, entry)
		if (r == 0)
			r = one(k, entry);
	return r;
}

int handover_read(struct keeper *k, int fd)
{
	json_t *doc = parse(fd);
	int r = doc ? read_own(k, doc) : -EPROTO;

	if (r == 0)
		r = read_cgroup(k, doc);
	if (r == 0)
		r = read_roles(k, doc);
	if (r == 0)
		r = read_each(k, json_object_get(doc, "services"), read_service);
	if (r == 0)
		r = read_each(k, json_object_get(doc, "programs"), read_program);
	if (r == 0)
		r = read_batons(k, doc);
	json_decref(doc);
	close(fd);
	if (r < 0)
		log_error("cannot go on from what the last image left: %s, ending", strerror(-r));
	return r;
}
