/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_KEYS_H
#define SUPD_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/draft.h"

/*
 * The key table: one row a key, and all that is known of it.  A key that is not in it does not
 * exist; one that is marked `later` is known, and refused as not supported yet.
 */
#define KEY_SECTIONS(X)                                                                            \
	X(SUPD, "supd", false) X(NODE, "node", false) X(SERVICE, "service", false)                 \
	X(PROGRAM, "program", false) X(TASK, "task", true) X(CHECK, "check", true)                 \
	X(WITNESS, "witness", true)

enum key_section {
#define X(name, text, later) KEY_##name,
	KEY_SECTIONS(X)
#undef X
	KEY_SECTIONS_END
};

/* What a changed value asks for on reload. */
enum key_reload {
	KEY_RELOAD_LIVE,    /* nothing: used from then on */
	KEY_RELOAD_PROGRAM, /* the program is started anew */
	KEY_RELOAD_SERVICE, /* the service is released and taken up again */
	KEY_RELOAD_SUPD,    /* supd is started anew */
};

/* A word that stands for a number. */
struct key_choice {
	const char *word; /* NULL: end */
	int64_t value;
};

struct value;

struct key {
	enum key_section section;
	const char *name;
	int (*parse)(struct value *v); /* NULL: later */
	size_t offset, width;	       /* of the member in the section's draft */
	int64_t min, max, step;	       /* in the unit of the parser; step 0: any */
	const struct key_choice *choices;
	const char *def; /* as it would stand in the file; NULL: none */
	bool required;
	enum key_reload reload;
	const char *help;
};

const char *key_section_name(enum key_section s);
/* KEY_SECTIONS_END when there is no such section. */
enum key_section key_section_find(const char *name);
/* A section that a later version brings. */
bool key_section_is_later(enum key_section s);

/* The rows of a section: the first, and their number. */
const struct key *keys_of(enum key_section s, size_t *ret_count);
const struct key *key_find(enum key_section s, const char *name);
/* The key of this section whose name is nearest to `name`, or NULL when none is near. */
const struct key *key_suggest(enum key_section s, const char *name);
/* A section that has a key of that name, or KEY_SECTIONS_END. */
enum key_section key_elsewhere(const char *name);
/* Likewise for the section's name; NULL when none is near. */
const char *key_section_suggest(const char *name);

/* Line of a key in a section of the file: its own, or the section's when it is not there. */
unsigned key_line(enum key_section s, const struct draft_head *h, const char *name);
/* Whether the row holds a good value of the key. */
bool key_is_set(enum key_section s, const struct draft_head *h, const char *name);

#endif
