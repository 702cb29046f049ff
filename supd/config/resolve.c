/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/parse.h"
#include "supd/config/keys.h"

/* ---- paths ----------------------------------------------------------------------------------- */

#define PREFIX_SIZE 4096

/* The texts, joined, as a string of the block.  None may be in its pool: that moves. */
static int add_path(struct draft *d, struct model_str *ret, const char *const parts[4])
{
	uint32_t first, off;
	int r = pool_add(&d->strings, parts[0], strlen(parts[0]), &first);

	for (int i = 1; i < 4 && r == 0; i++)
		r = pool_add(&d->strings, parts[i], strlen(parts[i]), &off);
	if (r == 0)
		r = pool_add(&d->strings, "", 1, &off);
	if (r == 0)
		ret->off = first;
	return r;
}

/* --prefix as an absolute path without a slash at its end; NULL: none. */
static int absolute_prefix(const char *prefix, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	if (prefix == NULL)
		return 0;
	if (*prefix != '/') {
		if (getcwd(buf, size) == NULL)
			return -errno;
		n = strlen(buf);
		buf[n++] = '/';
	}
	if (n + strlen(prefix) >= size)
		return -ENAMETOOLONG;
	memcpy(buf + n, prefix, strlen(prefix) + 1);
	for (n = strlen(buf); n > 0 && buf[n - 1] == '/'; n--)
		buf[n - 1] = '\0';
	return 0;
}

static int add_directory(struct draft *d, const char *base, uint32_t text, struct model_str *ret)
{
	return add_path(d, ret, (const char *const[]){base, draft_text(d, text), "", ""});
}

static int resolve_directories(struct draft *d, const char *prefix)
{
	const size_t longest =
		sizeof(((struct sockaddr_un *)NULL)->sun_path) - sizeof("/supd.sock");
	struct draft_supd *s = &d->supd;
	char base[PREFIX_SIZE];
	size_t n;
	int r = absolute_prefix(prefix, base, sizeof(base));

	if (r == 0)
		r = add_directory(d, base, s->run_dir, &s->m.run_dir);
	if (r == 0)
		r = add_directory(d, base, s->state_dir, &s->m.state_dir);
	if (r == 0)
		r = add_directory(d, base, s->log_dir, &s->m.log_dir);
	if (r < 0)
		return r;
	n = strlen(pool_at(&d->strings, s->m.run_dir.off));
	if (n > longest)
		problems_add(
			d->problems, key_line(KEY_SUPD, &s->h, "run_dir"),
			"run_dir has %zu characters%s, expected at most %zu: the path of a socket "
			"is short",
			n, *base != '\0' ? " with its prefix" : "", longest);
	return 0;
}

/* The file that is set, or log_dir/NAME with the ending. */
static int resolve_log(struct draft *d, const struct draft_program *p, uint32_t text,
		       const char *ending, struct model_str *ret)
{
	char *log_dir;
	int r;

	if (text != 0)
		return pool_add_str(&d->strings, draft_text(d, text), &ret->off);
	log_dir = strdup(pool_at(&d->strings, d->supd.m.log_dir.off));
	if (log_dir == NULL)
		return -ENOMEM;
	r = add_path(d, ret, (const char *const[]){log_dir, "/", p->h.name, ending});
	free(log_dir);
	return r;
}

static int resolve_logs(struct draft *d, struct draft_program *p)
{
	int r = resolve_log(d, p, p->stdout_logfile, ".log", &p->m.stdout_logfile);

	return r < 0 ? r : resolve_log(d, p, p->stderr_logfile, ".err.log", &p->m.stderr_logfile);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int find_service(const struct draft *d, const char *name)
{
	for (uint32_t i = 0; i < d->n_services; i++)
		if (strcmp(d->services[i].h.name, name) == 0)
			return (int)i;
	return MODEL_NONE;
}

static void resolve_service(struct draft *d, struct draft_program *p)
{
	const char *name = draft_text(d, p->service);

	p->m.service = MODEL_NONE;
	if (p->service == 0)
		return;
	p->m.service = find_service(d, name);
	if (p->m.service == MODEL_NONE)
		problems_add(
			d->problems, key_line(KEY_PROGRAM, &p->h, "service"),
			"service = \"%.60s\" names no service, expected a section [service:%.60s]",
			name, name);
}

static int find_program(const struct draft *d, const char *name)
{
	for (uint32_t i = 0; i < d->n_programs; i++)
		if (strcmp(d->programs[i].h.name, name) == 0)
			return (int)i;
	return MODEL_NONE;
}

static void resolve_requires(struct draft *d, struct draft_program *p)
{
	const char *name = p->requires.count > 0 ? pool_at(&d->scratch, p->requires.off) : NULL;

	for (uint32_t i = 0; i < p->requires.count; i++, name = parse_strv_next(name)) {
		int row = find_program(d, name);

		if (row == MODEL_NONE)
			problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "requires"),
				     "requires \"%.60s\", which is no program, expected a section "
				     "[program:%.60s]",
				     name, name);
		else
			p->m.requires[p->m.n_requires++] = row;
	}
}

static void resolve_self(struct draft *d, const char *node)
{
	if (node == NULL || d->n_nodes == 0)
		return;
	for (uint32_t i = 0; i < d->n_nodes; i++)
		if (strcmp(d->nodes[i].h.name, node) == 0)
			d->self = (int)i;
	if (d->self == MODEL_NONE)
		problems_add(d->problems, 0,
			     "--node %s names no node, expected a section [node:%s]", node, node);
}

/* The names of the sections become strings of the block. */
static int resolve_names(struct draft *d)
{
	int r = 0;

	for (uint32_t i = 0; i < d->n_nodes && r == 0; i++)
		r = pool_add_str(&d->strings, d->nodes[i].h.name, &d->nodes[i].m.name.off);
	for (uint32_t i = 0; i < d->n_services && r == 0; i++)
		r = pool_add_str(&d->strings, d->services[i].h.name, &d->services[i].m.name.off);
	for (uint32_t i = 0; i < d->n_programs && r == 0; i++)
		r = pool_add_str(&d->strings, d->programs[i].h.name, &d->programs[i].m.name.off);
	return r;
}

int draft_resolve(struct draft *d, const char *node, const char *prefix)
{
	int r = resolve_names(d);

	if (r == 0)
		r = resolve_directories(d, prefix);
	for (uint32_t i = 0; i < d->n_programs && r == 0; i++) {
		resolve_service(d, &d->programs[i]);
		resolve_requires(d, &d->programs[i]);
		r = resolve_logs(d, &d->programs[i]);
	}
	resolve_self(d, node);
	return r < 0 ? r : draft_resolve_users(d);
}
