/* SPDX-License-Identifier: MIT */
#include "supd/config/build.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* ---- hashes: the same on every node, whatever its byte order --------------------------------- */

#define HASH_SIZE 16

static void hash_number(crypto_generichash_state *h, uint64_t n)
{
	uint8_t b[8];

	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(n >> (56 - 8 * i));
	crypto_generichash_update(h, b, sizeof(b));
}

/* With its length in front: "ab", "c" is not "a", "bc". */
static void hash_text(crypto_generichash_state *h, const char *s)
{
	hash_number(h, strlen(s));
	crypto_generichash_update(h, (const uint8_t *)s, strlen(s));
}

static uint64_t hash_end(crypto_generichash_state *h)
{
	uint8_t b[HASH_SIZE];
	uint64_t n = 0;

	crypto_generichash_final(h, b, sizeof(b));
	for (int i = 0; i < 8; i++)
		n = n << 8 | b[i];
	return n;
}

static uint64_t name_hash(const char *name)
{
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, HASH_SIZE);
	hash_text(&h, name);
	return hash_end(&h);
}

static void hash_address(crypto_generichash_state *h, const struct ip_addr *a)
{
	hash_number(h, ip_addr_len(a->family));
	crypto_generichash_update(h, a->bytes, ip_addr_len(a->family));
}

/* All that nodes must agree on before one may take over from another. */
static uint64_t safety_digest(const struct model *m, const struct model_service *s)
{
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, HASH_SIZE);
	hash_text(&h, model_str(m, m->supd.cluster));
	hash_number(&h, m->n_nodes);
	for (uint32_t i = 0; i < m->n_nodes; i++) {
		const struct model_node *n = model_node(m, i);

		hash_text(&h, model_str(m, n->name));
		hash_address(&h, &n->address);
		hash_number(&h, n->n_more);
		for (unsigned k = 0; k < n->n_more; k++)
			hash_address(&h, &n->more[k]);
		hash_number(&h, n->priority);
		hash_number(&h, n->peer_link);
	}
	hash_number(&h, s->vrid);
	hash_number(&h, s->n_vips);
	for (unsigned i = 0; i < s->n_vips; i++)
		hash_address(&h, &s->vips[i]);
	hash_number(&h, s->vip_backend);
	hash_number(&h, s->vrrp_version);
	hash_number(&h, s->transport);
	hash_number(&h, s->multicast);
	hash_number(&h, s->auth_type);
	crypto_generichash_update(&h, s->auth_pass, sizeof(s->auth_pass));
	hash_number(&h, (uint64_t)s->advert_int);
	hash_number(&h, (uint64_t)s->vip_lease);
	hash_number(&h, (uint64_t)s->fence_timeout);
	return hash_end(&h);
}

/* ---- layout: header, strings, rows ----------------------------------------------------------- */

static size_t aligned(size_t n)
{
	return (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
}

/* Room for `count` rows at the end of the block so far. */
static uint32_t lay(size_t *size, uint32_t count, size_t row)
{
	size_t off = aligned(*size);

	*size = off + count * row;
	return (uint32_t)off;
}

static void copy_rows(struct model *m, const struct draft *d)
{
	struct model_node *nodes = (void *)((char *)m + m->nodes_off);
	struct model_service *services = (void *)((char *)m + m->services_off);
	struct model_program *programs = (void *)((char *)m + m->programs_off);

	for (uint32_t i = 0; i < d->n_nodes; i++)
		nodes[i] = d->nodes[i].m;
	for (uint32_t i = 0; i < d->n_services; i++)
		services[i] = d->services[i].m;
	for (uint32_t i = 0; i < d->n_programs; i++)
		programs[i] = d->programs[i].m;
}

void build_budget(const struct model *m, uint32_t service, int self, struct budget *ret)
{
	uint8_t priorities[MODEL_NODES_MAX];
	struct budget_input in = {.advert_int = model_service(m, service)->advert_int,
				  .peer_priorities = priorities};

	for (uint32_t i = 0; i < m->n_nodes; i++)
		if ((int)i != self)
			priorities[in.n_peers++] = model_node(m, i)->priority;
	budget_compute(&in, ret);
}

/* Adverts about one family need an address of that family on each node; without, see report.c. */
static bool adverts_need_peer_link(const struct model *m, const struct model_service *s)
{
	for (uint32_t i = 0; i < m->n_nodes; i++)
		if (model_vrrp_address(s, model_node(m, i)).family == AF_UNSPEC)
			return m->n_nodes > 1;
	return false;
}

/* What `auto` and the hashes stand for. */
static void derive(struct model *m)
{
	struct model_service *s = (void *)((char *)m + m->services_off);
	mtime engine_timeout = MTIME_SEC(1);
	struct budget b;

	for (uint32_t i = 0; i < m->n_services; i++) {
		build_budget(m, i, m->self, &b);
		engine_timeout = mtime_min(engine_timeout, b.engine_timeout);
		if (s[i].fence_timeout == DRAFT_FENCE_AUTO)
			s[i].fence_timeout = b.fence_timeout;
		s[i].fence_command_timeout = MODEL_FENCE_COMMAND_TIMEOUT;
		if (adverts_need_peer_link(m, &s[i]))
			s[i].transport = MODEL_TRANSPORT_UDP;
		s[i].vip_command_timeout = MODEL_VIP_COMMAND_TIMEOUT;
		s[i].hash = name_hash(model_str(m, s[i].name));
		s[i].digest = safety_digest(m, &s[i]);
	}
	if (m->supd.engine_timeout == DRAFT_ENGINE_AUTO)
		m->supd.engine_timeout = engine_timeout;
}

/* The path by which a later reload finds the file, wherever the process stands then. */
static size_t absolute_path(const char *path, char *buf)
{
	if (realpath(path, buf) == NULL)
		strcpy(buf, "");
	return strlen(buf) + 1;
}

int build_model(const struct draft *d, const char *config_path, struct model **ret)
{
	char path[PATH_MAX];
	size_t path_len = absolute_path(config_path, path);
	size_t size = sizeof(struct model) + d->strings.len + path_len;
	uint32_t nodes_off = lay(&size, d->n_nodes, sizeof(struct model_node));
	uint32_t services_off = lay(&size, d->n_services, sizeof(struct model_service));
	uint32_t programs_off = lay(&size, d->n_programs, sizeof(struct model_program));
	struct model *m = calloc(1, size);

	if (m == NULL)
		return -ENOMEM;
	*m = (struct model){.magic = MODEL_MAGIC,
			    .format = MODEL_FORMAT,
			    .size = (uint32_t)size,
			    .self = d->self,
			    .supd = d->supd.m,
			    .n_nodes = d->n_nodes,
			    .n_services = d->n_services,
			    .n_programs = d->n_programs,
			    .nodes_off = nodes_off,
			    .services_off = services_off,
			    .programs_off = programs_off};
	m->supd.config_path.off = (uint32_t)(sizeof(*m) + d->strings.len);
	if (d->strings.len > 0)
		memcpy((char *)m + sizeof(*m), d->strings.buf, d->strings.len);
	memcpy((char *)m + m->supd.config_path.off, path, path_len);
	copy_rows(m, d);
	derive(m);
	*ret = m;
	return 0;
}
