/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/keys.h"

/* What programs require of each other: of one service, started by themselves, in no circle. */

static unsigned line_of(const struct draft_program *p)
{
	return key_line(KEY_PROGRAM, &p->h, "requires");
}

static const char *place_of(const struct draft *d, const struct draft_program *p)
{
	return p->m.service == MODEL_NONE ? "no service" : d->services[p->m.service].h.name;
}

static void check_one(struct draft *d, const struct draft_program *p,
		      const struct draft_program *other)
{
	if (other == p)
		problems_add(d->problems, line_of(p), "requires \"%s\", itself, expected others",
			     p->h.name);
	else if (other->m.service != p->m.service)
		problems_add(d->problems, line_of(p),
			     "requires \"%s\", which belongs to %s, expected a program of %s",
			     other->h.name, place_of(d, other), place_of(d, p));
	else if (!other->m.autostart && key_is_set(KEY_PROGRAM, &other->h, "autostart"))
		problems_add(d->problems, line_of(p),
			     "requires \"%s\", which has autostart = no, expected one that is "
			     "started",
			     other->h.name);
}

static void check_twice(struct draft *d, const struct draft_program *p, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (p->m.requires[j] == p->m.requires[i]) {
			problems_add(d->problems, line_of(p),
				     "requires \"%s\" twice, expected it once",
				     d->programs[p->m.requires[i]].h.name);
			return;
		}
}

/* ---- circles --------------------------------------------------------------------------------- */

enum mark { UNSEEN, ON_PATH, DONE };

struct walk {
	struct draft *d;
	enum mark *marks;
	int *path;
	uint32_t depth;
};

static void tell_circle(const struct walk *w, int from)
{
	char text[200] = "";
	size_t n = 0;
	uint32_t i = w->depth;

	while (i > 0 && w->path[i - 1] != from)
		i--;
	for (i = i > 0 ? i - 1 : 0; i < w->depth && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s requires ",
				      w->d->programs[w->path[i]].h.name);
	problems_add(w->d->problems, line_of(&w->d->programs[from]),
		     "requires goes round in a circle: %s%s, expected an order", text,
		     w->d->programs[from].h.name);
}

/* Depth: at most the number of programs. */
static void visit(struct walk *w, int row)
{
	const struct draft_program *p = &w->d->programs[row];

	w->marks[row] = ON_PATH;
	w->path[w->depth++] = row;
	for (uint32_t i = 0; i < p->m.n_requires; i++) {
		int next = p->m.requires[i];

		if (w->marks[next] == ON_PATH && next != row)
			tell_circle(w, next);
		else if (w->marks[next] == UNSEEN)
			visit(w, next);
	}
	w->depth--;
	w->marks[row] = DONE;
}

static void check_circles(struct draft *d)
{
	struct walk w = {.d = d};

	w.marks = calloc(d->n_programs + 1, sizeof(*w.marks));
	w.path = calloc(d->n_programs + 1, sizeof(*w.path));
	for (uint32_t i = 0; w.marks != NULL && w.path != NULL && i < d->n_programs; i++)
		if (w.marks[i] == UNSEEN)
			visit(&w, (int)i);
	if (w.marks == NULL || w.path == NULL)
		d->problems->error = -ENOMEM;
	free(w.marks);
	free(w.path);
}

void draft_validate_requires(struct draft *d)
{
	for (uint32_t i = 0; i < d->n_programs; i++) {
		const struct draft_program *p = &d->programs[i];

		for (uint32_t j = 0; j < p->m.n_requires; j++) {
			check_one(d, p, &d->programs[p->m.requires[j]]);
			check_twice(d, p, j);
		}
	}
	check_circles(d);
}
