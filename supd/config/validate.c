/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/keys.h"
#include "supd/core/program_group.h"

/* A value that could not be read is told once: what compares it with others passes it over. */
static bool node_has(const struct draft_node *n, const char *key)
{
	return key_is_set(KEY_NODE, &n->h, key);
}

static bool service_has(const struct draft_service *s, const char *key)
{
	return key_is_set(KEY_SERVICE, &s->h, key);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static const char *path_key(unsigned path)
{
	return path == 0 ? "address" : "peer_address";
}

/* Whether the node has this address as one of its first `n_paths` paths: *ret_path is which. */
static bool node_has_path(const struct draft_node *n, unsigned n_paths, const struct ip_addr *a,
			  unsigned *ret_path)
{
	for (unsigned i = 0; i < n_paths && i < model_node_n_paths(&n->m); i++) {
		const struct ip_addr path = model_node_path(&n->m, i);

		if (node_has(n, path_key(i)) && ip_addr_equal(&path, a)) {
			*ret_path = i;
			return true;
		}
	}
	return false;
}

static const struct draft_node *node_of_address(const struct draft *d, uint32_t n_nodes,
						const struct ip_addr *a,
						unsigned *ret_path)
{
	for (uint32_t i = 0; i < n_nodes; i++)
		if (node_has_path(&d->nodes[i], MODEL_PATHS_MAX, a, ret_path))
			return &d->nodes[i];
	return NULL;
}

/* Who sent a datagram, and by which path, is told by its source: no address may stand twice. */
static void check_path(struct draft *d, uint32_t row, unsigned path)
{
	const struct draft_node *n = &d->nodes[row], *first;
	const struct ip_addr a = model_node_path(&n->m, path);
	unsigned line = key_line(KEY_NODE, &n->h, path_key(path)), at;
	char text[IP_ADDR_TEXT];

	first = node_of_address(d, row, &a, &at);
	if (first == NULL && node_has_path(n, path, &a, &at))
		first = n;
	if (first == NULL)
		return;
	ip_addr_text(&a, text);
	if (path == 0)
		problems_add(d->problems, line,
			     "address is that of [node:%s] in line %u, expected one for each node",
			     first->h.name, key_line(KEY_NODE, &first->h, path_key(at)));
	else
		problems_add(d->problems, line,
			     "peer_address %s is that of [node:%s] in line %u, expected one for "
			     "each path of each node",
			     text, first->h.name, key_line(KEY_NODE, &first->h, path_key(at)));
}

static void check_nodes(struct draft *d)
{
	for (uint32_t i = 0; i < d->n_nodes; i++) {
		const struct draft_node *n = &d->nodes[i];

		for (unsigned path = 0; path < model_node_n_paths(&n->m); path++)
			if (node_has(n, path_key(path)))
				check_path(d, i, path);
		if (n->m.n_further > 0 && node_has(n, "peer_link") && !n->m.peer_link)
			problems_add(d->problems, key_line(KEY_NODE, &n->h, "peer_address"),
				     "peer_address is for the peer link, and peer_link = no, "
				     "expected one of them");
	}
}

/* ---- services -------------------------------------------------------------------------------- */

/* Two services with one number on one network would take each other's adverts for their own. */
static void check_vrid(struct draft *d, uint32_t row)
{
	const struct draft_service *s = &d->services[row];

	for (uint32_t i = 0; i < row; i++) {
		const struct draft_service *o = &d->services[i];

		if (o->m.vrid != s->m.vrid || !service_has(o, "interface") ||
		    strcmp(pool_at(&d->strings, o->m.interface.off),
			   pool_at(&d->strings, s->m.interface.off)) != 0)
			continue;
		problems_add(d->problems, key_line(KEY_SERVICE, &s->h, "virtual_router_id"),
			     "virtual_router_id %u is that of [service:%s] in line %u on the same "
			     "interface, expected another",
			     s->m.vrid, o->h.name,
			     key_line(KEY_SERVICE, &o->h, "virtual_router_id"));
		return;
	}
}

static bool has_vip(const struct draft_service *s, const struct ip_addr *a)
{
	for (unsigned i = 0; service_has(s, "virtual_ipaddress") && i < s->m.n_vips; i++)
		if (ip_addr_equal(&s->m.vips[i], a))
			return true;
	return false;
}

static void check_vip(struct draft *d, uint32_t row, const struct ip_addr *vip)
{
	const struct draft_service *s = &d->services[row];
	unsigned line = key_line(KEY_SERVICE, &s->h, "virtual_ipaddress"), path;
	const struct draft_node *n = node_of_address(d, d->n_nodes, vip, &path);
	char text[IP_ADDR_TEXT];

	ip_addr_text(vip, text);
	if (n != NULL)
		problems_add(
			d->problems, line,
			"virtual_ipaddress %s is the address of [node:%s], expected one of its "
			"own",
			text, n->h.name);
	for (uint32_t i = 0; i < row; i++)
		if (has_vip(&d->services[i], vip))
			problems_add(d->problems, line,
				     "virtual_ipaddress %s is that of [service:%s] in line %u, "
				     "expected one of its own",
				     text, d->services[i].h.name,
				     key_line(KEY_SERVICE, &d->services[i].h, "virtual_ipaddress"));
}

/* A virtual address answers wherever the service is: it says nothing about our own cable. */
static void check_targets(struct draft *d, const struct draft_service *s)
{
	for (unsigned i = 0; i < s->m.n_targets; i++) {
		char text[IP_ADDR_TEXT];

		ip_addr_text(&s->m.targets[i], text);
		for (uint32_t j = 0; j < d->n_services; j++)
			if (has_vip(&d->services[j], &s->m.targets[i]))
				problems_add(
					d->problems,
					key_line(KEY_SERVICE, &s->h, "isolation_probe"),
					"isolation_probe %s is a virtual address of [service:%s], "
					"expected a host such as the gateway",
					text, d->services[j].h.name);
	}
}

/* A command without its backend would never run, and the reverse could do nothing. */
static void check_backend(struct draft *d, const struct draft_service *s)
{
	const bool command = s->m.vip_backend == MODEL_VIP_COMMAND;

	if (!service_has(s, "vip_backend") || command == (s->m.vip_argv.count > 0))
		return;
	if (command && key_line(KEY_SERVICE, &s->h, "vip_command") != s->h.line)
		return; /* a bad one, which was told already */
	problems_add(d->problems,
		     key_line(KEY_SERVICE, &s->h, command ? "vip_backend" : "vip_command"),
		     command ? "vip_backend = command without vip_command, expected both"
			     : "vip_command without vip_backend = command, expected both");
}

static void check_programs_of(struct draft *d, uint32_t row)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < d->n_programs; i++) {
		const struct draft_program *p = &d->programs[i];

		if (p->service == 0 || p->m.service != (int)row || ++n != GROUP_MEMBERS_MAX + 1)
			continue;
		problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "service"),
			     "[service:%s] has more than %d programs, expected at most that",
			     d->services[row].h.name, GROUP_MEMBERS_MAX);
	}
}

static void check_service(struct draft *d, uint32_t row)
{
	const struct draft_service *s = &d->services[row];

	if (service_has(s, "interface") && service_has(s, "virtual_router_id"))
		check_vrid(d, row);
	for (unsigned i = 0; service_has(s, "virtual_ipaddress") && i < s->m.n_vips; i++)
		check_vip(d, row, &s->m.vips[i]);
	check_targets(d, s);
	check_backend(d, s);
	check_programs_of(d, row);
}

/* ---- programs -------------------------------------------------------------------------------- */

static void check_name(struct draft *d, const struct draft_program *p)
{
	for (uint32_t i = 0; i < d->n_services; i++)
		if (strcmp(d->services[i].h.name, p->h.name) == 0)
			problems_add(
				d->problems, p->h.line,
				"[program:%s] has the name of [service:%s] in line %u, expected "
				"one of its own",
				p->h.name, p->h.name, d->services[i].h.line);
}

static void check_type(struct draft *d, const struct draft_program *p)
{
	const bool has_pidfile = p->m.pidfile.off != 0;

	if (!key_is_set(KEY_PROGRAM, &p->h, "type") || p->m.forking == has_pidfile)
		return;
	if (has_pidfile)
		problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "pidfile"),
			     "pidfile is for type = forking, expected both or none of them");
	else
		problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "type"),
			     "type = forking has no pidfile, expected one: which process is the "
			     "daemon?");
}

struct log_use {
	const char *path;
	const struct draft_program *p;
	const char *key;
};

/* Two programs that write one file would tear each other's lines; a device, or syslog, is for all. */
static bool is_file_of_one(const char *path)
{
	return *path == '/' && strncmp(path, "/dev/", 5) != 0;
}

static int by_path(const void *a, const void *b)
{
	const struct log_use *x = a, *y = b;
	int r = strcmp(x->path, y->path);

	if (r != 0)
		return r;
	return x->p != y->p ? (x->p < y->p ? -1 : 1) : strcmp(y->key, x->key);
}

/* Two writers with an offset each would overwrite one another's lines. */
static void check_logs(struct draft *d)
{
	struct log_use *v = calloc((size_t)d->n_programs * 2 + 1, sizeof(*v));
	size_t n = 0;

	if (v == NULL) {
		d->problems->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < d->n_programs; i++) {
		const struct draft_program *p = &d->programs[i];

		v[n++] = (struct log_use){pool_at(&d->strings, p->m.stdout_logfile.off), p,
					  "stdout_logfile"};
		if (!p->m.redirect_stderr && key_is_set(KEY_PROGRAM, &p->h, "redirect_stderr"))
			v[n++] = (struct log_use){pool_at(&d->strings, p->m.stderr_logfile.off), p,
						  "stderr_logfile"};
	}
	qsort(v, n, sizeof(*v), by_path);
	for (size_t i = 1; i < n; i++)
		if (strcmp(v[i - 1].path, v[i].path) == 0 && is_file_of_one(v[i].path))
			problems_add(
				d->problems, key_line(KEY_PROGRAM, &v[i].p->h, v[i].key),
				"%s = \"%.60s\" is the %s of [program:%s] too, expected a file "
				"for each",
				v[i].key, v[i].path, v[i - 1].key, v[i - 1].p->h.name);
	free(v);
}

void draft_validate(struct draft *d)
{
	check_nodes(d);
	for (uint32_t i = 0; i < d->n_services; i++)
		check_service(d, i);
	for (uint32_t i = 0; i < d->n_programs; i++) {
		check_name(d, &d->programs[i]);
		check_type(d, &d->programs[i]);
	}
	check_logs(d);
	draft_validate_requires(d);
}
