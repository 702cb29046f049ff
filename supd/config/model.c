/* SPDX-License-Identifier: MIT */
#include "supd/config/model.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int model_find_service(const struct model *m, const char *name)
{
	for (uint32_t i = 0; i < m->n_services; i++)
		if (strcmp(model_service_name(m, i), name) == 0)
			return (int)i;
	return MODEL_NONE;
}

int model_find_program(const struct model *m, const char *name)
{
	for (uint32_t i = 0; i < m->n_programs; i++)
		if (strcmp(model_program_name(m, i), name) == 0)
			return (int)i;
	return MODEL_NONE;
}

int model_find_node(const struct model *m, const char *name)
{
	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (strcmp(model_node_name(m, i), name) == 0)
			return (int)i;
	return MODEL_NONE;
}

/* The i-th of `address`; none: there are fewer. */
static struct ip_addr node_address(const struct model_node *n, unsigned i)
{
	if (i > n->n_more)
		return (struct ip_addr){0};
	return i == 0 ? n->address : n->more[i - 1];
}

struct ip_addr model_vrrp_address(const struct model_service *s, const struct model_node *n)
{
	const uint32_t family = model_vrrp_family(s);
	struct ip_addr second = {0};

	if (s->transport == MODEL_TRANSPORT_UDP)
		return n->address;
	for (unsigned i = 0; i <= n->n_more; i++) {
		const struct ip_addr a = node_address(n, i);

		if (a.family != family)
			continue;
		/* To a group it goes from a link-local address (RFC 9568 section 5.1.2.1). */
		if (family == AF_INET || ip_addr_is_link_local(&a) == s->multicast)
			return a;
		second = a;
	}
	return s->multicast ? (struct ip_addr){0} : second;
}

static bool has_address(const struct model_node *n, const struct ip_addr *a)
{
	for (unsigned i = 0; i < model_node_n_paths(n); i++) {
		const struct ip_addr path = model_node_path(n, i);

		if (ip_addr_equal(&path, a))
			return true;
	}
	for (unsigned i = 0; i < n->n_more; i++)
		if (ip_addr_equal(&n->more[i], a))
			return true;
	return false;
}

int model_find_node_address(const struct model *m, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (has_address(model_node(m, i), a))
			return (int)i;
	return MODEL_NONE;
}

void model_strv_fill(const struct model *m, struct model_strv v, char **argv)
{
	const char *s = (const char *)m + v.off;

	for (uint32_t i = 0; i < v.count; i++, s += strlen(s) + 1)
		argv[i] = (char *)(uintptr_t)s;
	argv[v.count] = NULL;
}

/* ---- verification ---------------------------------------------------------------------------- */

/*
 * The block comes from a child that read a file: its rows are trusted no further than their
 * bounds.  A bool or an enum with another bit pattern is undefined behaviour to read, so they are
 * looked at as bytes and numbers.
 */
struct block {
	const char *start;
	uint32_t size;
};

static bool bool_ok(const bool *b)
{
	unsigned char byte;

	memcpy(&byte, b, 1);
	return byte <= 1;
}

static bool str_ok(const struct block *b, struct model_str s)
{
	if (s.off == 0)
		return true;
	return s.off >= sizeof(struct model) && s.off < b->size &&
	       memchr(b->start + s.off, '\0', b->size - s.off) != NULL;
}

static bool strv_ok(const struct block *b, struct model_strv v)
{
	uint32_t off = v.off;

	if (v.count == 0)
		return true;
	if (off < sizeof(struct model))
		return false;
	for (uint32_t i = 0; i < v.count; i++) {
		const char *end;

		if (off >= b->size)
			return false;
		end = memchr(b->start + off, '\0', b->size - off);
		if (end == NULL)
			return false;
		off = (uint32_t)(end - b->start) + 1;
	}
	return true;
}

static bool array_ok(const struct block *b, uint32_t off, uint32_t count, uint32_t max, size_t row)
{
	if (count > max)
		return false;
	if (count == 0)
		return true;
	return off >= sizeof(struct model) && off % _Alignof(max_align_t) == 0 && off <= b->size &&
	       count <= (b->size - off) / row;
}

static bool row_ok(int row, uint32_t count)
{
	return row == MODEL_NONE || (row >= 0 && (uint32_t)row < count);
}

static bool supd_ok(const struct block *b, const struct model_supd *s)
{
	return str_ok(b, s->cluster) && str_ok(b, s->run_dir) && str_ok(b, s->state_dir) &&
	       str_ok(b, s->log_dir) && str_ok(b, s->config_path) && bool_ok(&s->log_to_stderr) &&
	       s->engine_timeout > 0;
}

static bool node_ok(const struct block *b, const struct model_node *n)
{
	return str_ok(b, n->name) && n->priority > 0 && bool_ok(&n->peer_link) &&
	       n->n_further < MODEL_PATHS_MAX && n->n_more < MODEL_ADDRESSES_MAX &&
	       n->release_delay >= 0;
}

static bool service_ok(const struct block *b, const struct model_service *s)
{
	return str_ok(b, s->name) && str_ok(b, s->interface) && s->n_vips <= MODEL_VIPS_MAX &&
	       s->n_targets <= MODEL_TARGETS_MAX && s->vrrp_version <= 3 &&
	       (unsigned)s->transport <= MODEL_TRANSPORT_UDP && bool_ok(&s->multicast) &&
	       (unsigned)s->auth_type <= VRRP_AUTH_PASS &&
	       (unsigned)s->checksum <= VRRP_CHECKSUM_RFC9568 &&
	       (unsigned)s->isolation <= MODEL_ISOLATION_LIST && s->vrid > 0 && s->advert_int > 0 &&
	       s->vip_lease >= 0 && s->garp_refresh >= 0 &&
	       (unsigned)s->vip_backend <= MODEL_VIP_NONE && strv_ok(b, s->vip_argv) &&
	       (s->vip_backend != MODEL_VIP_COMMAND || s->vip_argv.count > 0) &&
	       bool_ok(&s->conflict_probe) && s->fence_timeout >= 0 && strv_ok(b, s->fence_argv) &&
	       s->fence_command_timeout > 0 && s->vip_command_timeout > 0 && bool_ok(&s->pid_namespace);
}

static bool probe_ok(const struct block *b, const struct model_probe *p)
{
	return (unsigned)p->kind <= MODEL_PROBE_EXEC && str_ok(b, p->host) && str_ok(b, p->path) &&
	       strv_ok(b, p->argv) && (p->kind == MODEL_PROBE_EXEC) == (p->argv.count > 0);
}

static bool limits_ok(const struct model_program *p)
{
	for (size_t i = 0; i < MODEL_RLIMITS; i++)
		if (!bool_ok(&p->rlimits[i].set))
			return false;
	return true;
}

static bool requires_ok(const struct model *m, const struct model_program *p)
{
	if (p->n_requires > MODEL_REQUIRES_MAX)
		return false;
	for (uint32_t i = 0; i < p->n_requires; i++)
		if (p->requires[i] < 0 || (uint32_t)p->requires[i] >= m->n_programs)
			return false;
	return true;
}

static bool program_ok(const struct model *m, const struct block *b, const struct model_program *p)
{
	return str_ok(b, p->name) && row_ok(p->service, m->n_services) && p->argv.count > 0 &&
	       strv_ok(b, p->argv) && strv_ok(b, p->env) && str_ok(b, p->directory) &&
	       str_ok(b, p->user_name) && p->n_groups <= MODEL_GROUPS_MAX &&
	       bool_ok(&p->autostart) && (unsigned)p->autorestart <= MODEL_RESTART_NEVER &&
	       strv_ok(b, p->pre_start) && strv_ok(b, p->post_stop) && probe_ok(b, &p->ready) &&
	       probe_ok(b, &p->health) && requires_ok(m, p) && limits_ok(p) && bool_ok(&p->forking) && str_ok(b, p->pidfile) && bool_ok(&p->redirect_stderr) && str_ok(b, p->stdout_logfile) &&
	       str_ok(b, p->stderr_logfile);
}

static bool rows_ok(const struct model *m, const struct block *b)
{
	if (!array_ok(b, m->nodes_off, m->n_nodes, MODEL_NODES_MAX, sizeof(struct model_node)) ||
	    !array_ok(b, m->services_off, m->n_services, MODEL_SERVICES_MAX,
		      sizeof(struct model_service)) ||
	    !array_ok(b, m->programs_off, m->n_programs, MODEL_PROGRAMS_MAX,
		      sizeof(struct model_program)))
		return false;
	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (!node_ok(b, model_node(m, i)))
			return false;
	for (uint32_t i = 0; i < m->n_services; i++)
		if (!service_ok(b, model_service(m, i)))
			return false;
	for (uint32_t i = 0; i < m->n_programs; i++)
		if (!program_ok(m, b, model_program(m, i)))
			return false;
	return true;
}

int model_verify(const void *buf, uint32_t size)
{
	const struct block b = {.start = buf, .size = size};
	const struct model *m = buf;

	if (buf == NULL || size < sizeof(*m) || (uintptr_t)buf % _Alignof(struct model) != 0)
		return -EINVAL;
	if (m->magic != MODEL_MAGIC || m->format != MODEL_FORMAT || m->size != size)
		return -EINVAL;
	return row_ok(m->self, m->n_nodes) && supd_ok(&b, &m->supd) && rows_ok(m, &b) ? 0 : -EINVAL;
}
