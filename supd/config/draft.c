/* SPDX-License-Identifier: MIT */
#include "supd/config/draft.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int pool_add(struct pool *p, const char *data, size_t len, uint32_t *ret_off)
{
	size_t cap = p->cap == 0 ? 4096 : p->cap;
	char *buf;

	while (cap - p->len < len)
		cap *= 2;
	/* Half of what an offset can name: the rows come behind it. */
	if (cap > INT32_MAX)
		return -ENOMEM;
	if (cap > p->cap) {
		buf = realloc(p->buf, cap);
		if (buf == NULL)
			return -ENOMEM;
		p->buf = buf;
		p->cap = cap;
	}
	if (len > 0)
		memcpy(p->buf + p->len, data, len);
	*ret_off = p->base + (uint32_t)p->len;
	p->len += len;
	return 0;
}

int pool_add_str(struct pool *p, const char *s, uint32_t *ret_off)
{
	return pool_add(p, s, strlen(s) + 1, ret_off);
}

const char *pool_at(const struct pool *p, uint32_t off)
{
	return p->buf + (off - p->base);
}

int draft_init(struct draft *d, struct problems *problems)
{
	*d = (struct draft){.problems = problems, .self = MODEL_NONE};
	crypto_hash_sha256_init(&d->text);
	d->strings.base = DRAFT_STRINGS_OFFSET;
	d->scratch.base = 1; /* 0 is "not given" */
	d->services = calloc(MODEL_SERVICES_MAX, sizeof(*d->services));
	d->programs = calloc(MODEL_PROGRAMS_MAX, sizeof(*d->programs));
	return d->services != NULL && d->programs != NULL ? 0 : -ENOMEM;
}

void draft_fini(struct draft *d)
{
	sodium_memzero(d->supd.m.key, sizeof(d->supd.m.key));
	free(d->strings.buf);
	free(d->scratch.buf);
	free(d->services);
	free(d->programs);
}
