/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_TINY_MODEL_H
#define TESTS_UNIT_TINY_MODEL_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/model.h"

/*
 * A model block built by hand: no file, no loader.  Fill what the test needs, free() at the end.
 */
#define TINY_MODEL_STRINGS 65536

struct tiny_model {
	struct model *m;
	uint32_t next; /* where the next string goes */
};

static inline struct model_str tiny_str(struct tiny_model *t, const char *text)
{
	struct model_str s = {t->next};
	size_t len = strlen(text) + 1;

	assert(t->next + len <= t->m->size);
	memcpy((char *)t->m + t->next, text, len);
	t->next += (uint32_t)len;
	return s;
}

static inline struct model_node *tiny_node(struct tiny_model *t, uint32_t i)
{
	return (struct model_node *)(uintptr_t)model_node(t->m, i);
}

static inline struct model_service *tiny_service(struct tiny_model *t, uint32_t i)
{
	return (struct model_service *)(uintptr_t)model_service(t->m, i);
}

static inline struct model_program *tiny_program(struct tiny_model *t, uint32_t i)
{
	return (struct model_program *)(uintptr_t)model_program(t->m, i);
}

static inline uint32_t tiny_align(size_t n)
{
	return (uint32_t)((n + 15) & ~(size_t)15);
}

static inline struct tiny_model tiny_model_new(uint32_t nodes, uint32_t services, uint32_t programs)
{
	struct tiny_model t;
	uint32_t nodes_off = tiny_align(sizeof(struct model));
	uint32_t services_off = nodes_off + tiny_align(nodes * sizeof(struct model_node));
	uint32_t programs_off = services_off + tiny_align(services * sizeof(struct model_service));

	t.next = programs_off + tiny_align(programs * sizeof(struct model_program));
	t.m = calloc(1, t.next + TINY_MODEL_STRINGS);
	assert(t.m);
	t.m->magic = MODEL_MAGIC;
	t.m->format = MODEL_FORMAT;
	t.m->size = t.next + TINY_MODEL_STRINGS;
	t.m->n_nodes = nodes;
	t.m->n_services = services;
	t.m->n_programs = programs;
	t.m->nodes_off = nodes_off;
	t.m->services_off = services_off;
	t.m->programs_off = programs_off;
	return t;
}

#endif
