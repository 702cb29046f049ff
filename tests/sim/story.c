/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What happened, one line an event: "  12.034 s  a  engine killed".  The newest lines are kept, so
 * that a failure can be told from shortly before its cause.
 */

#define STORY_LINES 512
#define STORY_WIDTH 144
#define STORY_LOOK_BACK 4 /* what was said within so many lines is counted, not said again */

struct story_entry {
	mtime at, until;
	unsigned again;
	char host;
	char text[STORY_WIDTH];
};

struct story {
	uint64_t n; /* told so far */
	struct story_entry entry[STORY_LINES];
};

struct story *story_new(void)
{
	return calloc(1, sizeof(struct story));
}

void story_free(struct story *s)
{
	free(s);
}

char story_name(unsigned row)
{
	return (char)('a' + row);
}

static void print_entry(const struct story_entry *e)
{
	long long us = e->at / 1000;

	printf("%5lld.%06lld s  %c  %s", us / 1000000, us % 1000000, e->host, e->text);
	if (e->again)
		printf(" (and %u times more until %lld.%03lld s)", e->again,
		       (long long)(e->until / MTIME_SEC(1)),
		       (long long)(e->until / MTIME_MS(1) % 1000));
	putchar('\n');
}

static bool said_again(struct story *s, const struct story_entry *e)
{
	for (uint64_t i = s->n; i > 0 && i + STORY_LOOK_BACK > s->n; i--) {
		struct story_entry *old = &s->entry[(i - 1) % STORY_LINES];

		if (old->host != e->host || strcmp(old->text, e->text) != 0)
			continue;
		old->again++;
		old->until = e->at;
		return true;
	}
	return false;
}

void story_line(struct world *w, const struct host *h, const char *fmt, ...)
{
	struct story *s = w->story;
	struct story_entry e = { .at = w->now, .host = h ? story_name(h->row) : ' ' };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	if (w->print)
		print_entry(&e);
	else if (said_again(s, &e))
		return;
	s->entry[s->n++ % STORY_LINES] = e;
}

void story_print(const struct story *s, unsigned lines)
{
	uint64_t first = s->n > lines ? s->n - lines : 0;

	if (first > 0)
		printf("  ... %llu earlier lines\n", (unsigned long long)first);
	for (uint64_t i = first; i < s->n; i++)
		print_entry(&s->entry[i % STORY_LINES]);
}
