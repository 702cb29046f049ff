/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <string.h>

#include "common/ini.h"
#include "common/parse.h"
#include "supd/config/keys.h"
#include "supd/config/values.h"

/* Where in the file we are: the kind of the section, and its row (NULL: not one to be filled). */
struct reading {
	struct draft *d;
	enum key_section kind;
	struct draft_head *row;
	bool no_file; /* there is no text to speak of */
};

/* With its NUL, so that no two texts run into one. */
static void add_to_hash(struct draft *d, const char *text)
{
	crypto_hash_sha256_update(&d->text, (const unsigned char *)text, strlen(text) + 1);
}

/* ---- sections -------------------------------------------------------------------------------- */

static struct draft_head *no_room(struct draft *d, unsigned line, enum key_section kind,
				  unsigned max)
{
	problems_add(d->problems, line, "more than %u sections [%s:NAME], expected at most that",
		     max, key_section_name(kind));
	return NULL;
}

/* A new row for a section of that kind; NULL where there is none. */
static struct draft_head *new_row(struct draft *d, enum key_section kind, unsigned line)
{
	switch (kind) {
	case KEY_SUPD:
		d->has_supd = true;
		return &d->supd.h;
	case KEY_NODE:
		if (d->n_nodes == MODEL_NODES_MAX)
			return no_room(d, line, kind, MODEL_NODES_MAX);
		return &d->nodes[d->n_nodes++].h;
	case KEY_SERVICE:
		if (d->n_services == MODEL_SERVICES_MAX)
			return no_room(d, line, kind, MODEL_SERVICES_MAX);
		return &d->services[d->n_services++].h;
	case KEY_PROGRAM:
		if (d->n_programs == MODEL_PROGRAMS_MAX)
			return no_room(d, line, kind, MODEL_PROGRAMS_MAX);
		return &d->programs[d->n_programs++].h;
	case KEY_TASK:
	case KEY_CHECK:
	case KEY_WITNESS:
	case KEY_SECTIONS_END:
		break;
	}
	return NULL;
}

static void unknown_section(struct draft *d, const char *section, const char *kind, unsigned line)
{
	const char *near = key_section_suggest(kind);

	if (near != NULL)
		problems_add(d->problems, line, "unknown section [%s], did you mean [%s%s]?",
			     section, near, strcmp(near, "supd") == 0 ? "" : ":NAME");
	else
		problems_add(
			d->problems, line,
			"unknown section [%s], expected [supd], [node:NAME], [service:NAME] or "
			"[program:NAME]",
			section);
}

/* Whether the section's name (NULL: none) is as its kind wants it. */
static bool name_ok(struct draft *d, enum key_section kind, const char *section, const char *name,
		    unsigned line)
{
	const char *text = key_section_name(kind);

	if (kind == KEY_SUPD && name != NULL)
		problems_add(d->problems, line, "section [%s] has a name, expected [supd]",
			     section);
	else if (kind != KEY_SUPD && name == NULL)
		problems_add(d->problems, line, "section [%s] has no name, expected [%s:NAME]",
			     text, text);
	else if (name != NULL && !parse_is_name(name))
		problems_add(
			d->problems, line,
			"section [%s]: \"%s\" is not a name, expected 1 to %d of A-Z a-z 0-9 _ "
			"-",
			section, name, PARSE_NAME_MAX);
	else
		return true;
	return false;
}

static void on_section(void *user, const char *section, unsigned line)
{
	struct reading *r = user;
	char kind[128] = "";
	const char *colon = strchr(section, ':');
	size_t len = colon != NULL ? (size_t)(colon - section) : strlen(section);

	if (len < sizeof(kind))
		memcpy(kind, section, len);
	r->row = NULL;
	add_to_hash(r->d, section);
	r->kind = key_section_find(kind);
	if (r->kind == KEY_SECTIONS_END) {
		unknown_section(r->d, section, kind, line);
		return;
	}
	if (!name_ok(r->d, r->kind, section, colon != NULL ? colon + 1 : NULL, line)) {
		r->kind = KEY_SECTIONS_END;
		return;
	}
	if (key_section_is_later(r->kind)) {
		problems_add(r->d->problems, line, "section [%s]: known, not supported yet",
			     section);
		return;
	}
	r->row = new_row(r->d, r->kind, line);
	if (r->row == NULL)
		return;
	r->row->line = line;
	if (colon != NULL)
		memcpy(r->row->name, colon + 1, strlen(colon + 1) + 1);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Parse a value into its member; line 0: a default. */
static void set_value(struct draft *d, struct draft_head *row, const struct key *k,
		      const char *text, unsigned line)
{
	struct value v = {.draft = d, .key = k, .text = text, .to = (char *)row + k->offset};
	size_t n;
	size_t index = (size_t)(k - keys_of(k->section, &n));
	int r = k->parse(&v);

	row->key_line[index] = line;
	row->key_ok[index] = r == 0;
	if (r == -EINVAL)
		problems_add(d->problems, line > 0 ? line : row->line, "%s = \"%.60s%s\" %s",
			     k->name, text, strlen(text) > 60 ? "..." : "", v.why);
	else if (r < 0)
		d->problems->error = r;
}

static void unknown_key(struct draft *d, enum key_section kind, const char *name, unsigned line)
{
	const struct key *near = key_suggest(kind, name);
	enum key_section elsewhere = key_elsewhere(name);
	const char *section = key_section_name(kind);

	if (near != NULL)
		problems_add(d->problems, line, "unknown key %s, did you mean %s?", name,
			     near->name);
	else if (elsewhere != KEY_SECTIONS_END)
		problems_add(d->problems, line,
			     "unknown key %s in a section [%s], expected it in a section [%s%s]",
			     name, section, key_section_name(elsewhere),
			     elsewhere == KEY_SUPD ? "" : ":NAME");
	else
		problems_add(d->problems, line, "unknown key %s, expected one of a section [%s]",
			     name, section);
}

static void on_key(void *user, const char *section, const char *name, const char *text,
		   unsigned line)
{
	struct reading *r = user;
	const struct key *k;

	if (r->kind == KEY_SECTIONS_END)
		return;
	add_to_hash(r->d, name);
	add_to_hash(r->d, text);
	k = key_find(r->kind, name);
	if (k == NULL)
		unknown_key(r->d, r->kind, name, line);
	else if (r->row == NULL)
		return; /* the section as a whole was refused */
	else if (k->parse == NULL)
		problems_add(r->d->problems, line, "%s: known, not supported yet", name);
	else
		set_value(r->d, r->row, k, text, line);
}

static void on_problem(void *user, unsigned line, const char *text)
{
	struct reading *r = user;

	r->no_file |= line == 0;
	problems_add(r->d->problems, line, "%s", text);
}

/* ---- what is not there ----------------------------------------------------------------------- */

static void complete_row(struct draft *d, enum key_section kind, struct draft_head *row)
{
	size_t n;
	const struct key *k = keys_of(kind, &n);

	for (size_t i = 0; i < n; i++) {
		if (row->key_line[i] != 0)
			continue;
		if (k[i].def != NULL)
			set_value(d, row, &k[i], k[i].def, 0);
		else if (k[i].required)
			problems_add(d->problems, row->line,
				     "[%s%s%s] has no %s, expected one (%s)",
				     key_section_name(kind), *row->name != '\0' ? ":" : "",
				     row->name, k[i].name, k[i].help);
	}
}

static int complete(struct draft *d)
{
	crypto_hash_sha256_final(&d->text, d->supd.m.text_hash);
	if (d->has_supd)
		complete_row(d, KEY_SUPD, &d->supd.h);
	else
		problems_add(d->problems, 0, "no section [supd], expected one");
	if (d->n_nodes == 0)
		problems_add(d->problems, 0, "no section [node:NAME], expected at least one");
	for (uint32_t i = 0; i < d->n_nodes; i++)
		complete_row(d, KEY_NODE, &d->nodes[i].h);
	for (uint32_t i = 0; i < d->n_services; i++)
		complete_row(d, KEY_SERVICE, &d->services[i].h);
	for (uint32_t i = 0; i < d->n_programs; i++)
		complete_row(d, KEY_PROGRAM, &d->programs[i].h);
	return d->problems->error;
}

static const struct ini_callbacks callbacks = {
	.section = on_section, .key = on_key, .problem = on_problem};

int draft_read_file(struct draft *d, const char *path)
{
	struct reading reading = {.d = d, .kind = KEY_SECTIONS_END};
	int r = ini_read_file(path, &callbacks, &reading);

	if (r == -ENOMEM)
		return r;
	if (r < 0 && r != -EINVAL) {
		problems_add(d->problems, 0, "cannot be read: %s, expected a regular file",
			     strerror(-r));
		return d->problems->error;
	}
	return reading.no_file ? d->problems->error : complete(d);
}

int draft_read_text(struct draft *d, const char *text, size_t len)
{
	struct reading reading = {.d = d, .kind = KEY_SECTIONS_END};
	int r = ini_read_text(text, len, &callbacks, &reading);

	return r == -ENOMEM ? r : complete(d);
}
