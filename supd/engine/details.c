/* SPDX-License-Identifier: MIT */
#include "supd/engine/details.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the configuration ------------------------------------------------------------------------ */

static void add_str(crypto_generichash_state *h, const struct model *m, struct model_str s)
{
	const char *text = model_str(m, s);

	crypto_generichash_update(h, (const unsigned char *)text, strlen(text) + 1);
}

static void add_num(crypto_generichash_state *h, uint64_t n)
{
	crypto_generichash_update(h, (const unsigned char *)&n, sizeof(n));
}

static void add_strv(crypto_generichash_state *h, const struct model *m, struct model_strv v)
{
	uint32_t off = v.off;

	add_num(h, v.count);
	for (uint32_t i = 0; i < v.count; i++) {
		struct model_str s = {off};

		add_str(h, m, s);
		off += (uint32_t)strlen(model_str(m, s)) + 1;
	}
}

static void add_program(crypto_generichash_state *h, const struct model *m, uint32_t i)
{
	const struct model_program *p = model_program(m, i);

	add_str(h, m, p->name);
	add_num(h, (uint64_t)(int64_t)p->service);
	add_strv(h, m, p->argv);
	add_strv(h, m, p->env);
	add_str(h, m, p->directory);
	add_str(h, m, p->user_name);
	add_num(h, p->autostart);
	add_num(h, p->autorestart);
	crypto_generichash_update(h, p->exitcodes, sizeof(p->exitcodes));
	add_num(h, (uint64_t)p->restart_delay_max);
	add_num(h, (uint64_t)p->startsecs);
	add_num(h, (uint64_t)p->stopsignal);
	add_num(h, (uint64_t)p->stopwaitsecs);
}

static void add_paths(crypto_generichash_state *h, const struct model_node *n)
{
	add_num(h, n->n_further);
	for (unsigned i = 0; i < n->n_further; i++)
		crypto_generichash_update(h, n->further[i].bytes, ip_addr_len(n->further[i].family));
}

/*
 * Of what the file says, not of what this host made of it: no paths with a --prefix, no user ids.
 * The safety digest of each service covers nodes, addresses and intervals.
 */
uint64_t details_config_digest(const struct model *m)
{
	unsigned char out[crypto_generichash_BYTES_MIN];
	crypto_generichash_state h;
	uint64_t digest;

	crypto_generichash_init(&h, NULL, 0, sizeof(out));
	add_str(&h, m, m->supd.cluster);
	for (uint32_t i = 0; i < m->n_nodes; i++)
		add_paths(&h, model_node(m, i));
	for (uint32_t i = 0; i < m->n_services; i++) {
		const struct model_service *s = model_service(m, i);

		add_str(&h, m, s->name);
		add_num(&h, s->digest);
		add_num(&h, s->restart_limit);
		add_num(&h, (uint64_t)s->restart_window);
		add_num(&h, (uint64_t)s->failure_reset);
		add_num(&h, (uint64_t)s->wait_for_peer);
		add_num(&h, (uint64_t)s->kill_wait);
		add_num(&h, (uint64_t)s->failback);
		add_num(&h, s->hold_on_silence);
		add_num(&h, s->isolation);
		add_strv(&h, m, s->fence_argv);
	}
	for (uint32_t i = 0; i < m->n_programs; i++)
		add_program(&h, m, i);
	crypto_generichash_final(&h, out, sizeof(out));
	memcpy(&digest, out, sizeof(digest));
	return digest;
}

/* ---- the host --------------------------------------------------------------------------------- */

static int open_proc(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

void details_init(struct details_source *d, const struct model *m)
{
	memset(d, 0, sizeof(*d));
	d->loadavg_fd = open_proc("/proc/loadavg");
	d->meminfo_fd = open_proc("/proc/meminfo");
	d->stat_fd = open_proc("/proc/stat");
	d->config_digest = details_config_digest(m);
}

/* The beginning of the file as a string; false where there is none. */
static bool read_text(int fd, char *buf, size_t size)
{
	ssize_t n = fd >= 0 ? pread(fd, buf, size - 1, 0) : -1;

	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

static void read_load(const struct details_source *d, struct peer_details *ret)
{
	char buf[128];
	unsigned whole[3], part[3];

	if (!read_text(d->loadavg_fd, buf, sizeof(buf)))
		return;
	if (sscanf(buf, "%u.%2u %u.%2u %u.%2u", &whole[0], &part[0], &whole[1], &part[1], &whole[2],
		   &part[2]) != 6)
		return;
	for (unsigned i = 0; i < 3; i++)
		ret->load100[i] = whole[i] * 100 + part[i];
}

static void read_memory(const struct details_source *d, struct peer_details *ret)
{
	static const char key[] = "MemAvailable:";
	char buf[512];
	const char *at;

	if (!read_text(d->meminfo_fd, buf, sizeof(buf)))
		return;
	at = strstr(buf, key);
	if (at)
		ret->memory_available = strtoull(at + sizeof(key) - 1, NULL, 10) * 1024;
}

/* "cpu user nice system idle iowait irq softirq steal ...": busy is all but idle and iowait. */
static void read_cpu(struct details_source *d, struct peer_details *ret)
{
	char buf[256];
	uint64_t v[8] = {0}, total = 0, busy;

	if (!read_text(d->stat_fd, buf, sizeof(buf)))
		return;
	if (sscanf(buf,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64 " %" SCNu64,
		   &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4)
		return;
	for (unsigned i = 0; i < 8; i++)
		total += v[i];
	busy = total - v[3] - v[4];
	if (d->total != 0 && total > d->total && busy >= d->busy)
		ret->cpu_pct = (uint8_t)((busy - d->busy) * 100 / (total - d->total));
	d->busy = busy;
	d->total = total;
}

void details_read(struct details_source *d, struct peer_details *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->config_digest = d->config_digest;
	read_load(d, ret);
	read_memory(d, ret);
	read_cpu(d, ret);
}
