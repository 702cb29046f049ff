/* SPDX-License-Identifier: MIT */
#include "supd/config/loader.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/build.h"
#include "supd/config/draft_read.h"
#include "supd/config/model.h"

/* ---- which node is this ---------------------------------------------------------------------- */

static int row_of(const struct ip_addr *nodes, uint32_t n, const struct sockaddr *sa)
{
	struct sockaddr_storage full = {0};
	struct ip_addr local;

	if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return MODEL_NONE;
	memcpy(&full, sa,
	       sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	local = ip_addr_from_sockaddr(&full, sizeof(full));
	for (uint32_t i = 0; i < n; i++)
		if (ip_addr_equal(&nodes[i], &local))
			return (int)i;
	return MODEL_NONE;
}

/* The first row, in the file's order, that this machine has an address of. */
static int find_local(const struct ip_addr *nodes, uint32_t n)
{
	struct ifaddrs *list;
	int row = MODEL_NONE;

	if (getifaddrs(&list) < 0)
		return MODEL_NONE;
	for (const struct ifaddrs *a = list; a != NULL; a = a->ifa_next) {
		int r = row_of(nodes, n, a->ifa_addr);

		if (r != MODEL_NONE && (row == MODEL_NONE || r < row))
			row = r;
	}
	freeifaddrs(list);
	return row;
}

int loader_find_self(const struct model *m)
{
	struct ip_addr nodes[MODEL_NODES_MAX];

	for (uint32_t i = 0; i < m->n_nodes; i++)
		nodes[i] = model_node(m, i)->address;
	return find_local(nodes, m->n_nodes);
}

static int find_self_of_draft(const struct draft *d)
{
	struct ip_addr nodes[MODEL_NODES_MAX];

	for (uint32_t i = 0; i < d->n_nodes; i++)
		nodes[i] = d->nodes[i].m.address;
	return find_local(nodes, d->n_nodes);
}

/* ---- from a file, or a text, to the block ---------------------------------------------------- */

struct source {
	const char *text; /* NULL: o->path */
	size_t len;
};

/* All steps that find problems. */
static int fill(struct draft *d, const struct loader_options *o, const struct source *from)
{
	int r = from->text != NULL ? draft_read_text(d, from->text, from->len)
				   : draft_read_file(d, o->path);

	if (r < 0)
		return r;
	r = draft_resolve(d, o->node, o->prefix);
	if (r < 0)
		return r;
	draft_validate(d);
	draft_validate_vrrp(d);
	if (o->read_key)
		draft_read_key(d);
	return d->problems->error;
}

static int load(const struct loader_options *o, const struct source *from, FILE *out,
		struct model **ret_model)
{
	struct problems problems;
	struct draft *d = malloc(sizeof(*d));
	int r;

	if (d == NULL)
		return -ENOMEM;
	problems_init(&problems);
	r = draft_init(d, &problems);
	if (r == 0)
		r = fill(d, o, from);
	problems_print(&problems, o->path, out);
	if (r == 0 && problems.n > 0)
		r = -EINVAL;
	if (r == 0 && d->self == MODEL_NONE)
		d->self = find_self_of_draft(d);
	if (r == 0)
		r = build_model(d, o->path, ret_model);
	problems_fini(&problems);
	draft_fini(d);
	free(d);
	return r;
}

int loader_load(const struct loader_options *o, FILE *problems, struct model **ret_model)
{
	const struct source from = {0};

	return load(o, &from, problems, ret_model);
}

int loader_load_text(const struct loader_options *o, const char *text, size_t len, FILE *problems,
		     struct model **ret_model)
{
	const struct source from = {.text = text, .len = len};

	return load(o, &from, problems, ret_model);
}
