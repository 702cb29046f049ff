/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supd/config/keys.h"
#include "supd/config/values.h"

/*
 * environment_file: NAME=VALUE lines, values literal but for one pair of quotes around them; empty
 * lines and those that begin with # or ; are passed over.  Read when the configuration is, by the
 * loader, which may wait for a disk; not at each start, by the keeper, which may not.
 */
#define ENVFILE_MAX (64u << 10)

static void complain(struct draft *d, const struct draft_program *p, const char *what)
{
	problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "environment_file"),
		     "environment_file %.200s %s", draft_text(d, p->environment_file), what);
}

/* The whole file, with a NUL behind it; NULL: told. */
static char *read_whole(struct draft *d, const struct draft_program *p)
{
	int fd = open(draft_text(d, p->environment_file),
		      O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = malloc(ENVFILE_MAX + 2), why[160];
	size_t n = 0;
	ssize_t r = -1;
	struct stat st;

	if (text == NULL)
		d->problems->error = -ENOMEM;
	else if (fd < 0 || fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) ? 0 : (errno = EINVAL)))
		snprintf(why, sizeof(why), "cannot be read: %s, expected a regular file",
			 strerror(errno));
	else
		while ((r = read(fd, text + n, ENVFILE_MAX + 1 - n)) > 0)
			n += (size_t)r;
	if (fd >= 0)
		close(fd);
	if (text != NULL && r == 0 && n <= ENVFILE_MAX && memchr(text, '\0', n) == NULL) {
		text[n] = '\0';
		return text;
	}
	if (text != NULL && r == 0)
		snprintf(why, sizeof(why), "is no text of at most %u bytes", ENVFILE_MAX);
	if (text != NULL)
		complain(d, p, why);
	free(text);
	return NULL;
}

/* One pair of quotes around the value is taken off. */
static void unquote(char *line)
{
	char *value = strchr(line, '=') + 1;
	size_t n = strlen(value);

	if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
		memmove(value, value + 1, n - 2);
		value[n - 2] = '\0';
	}
}

/* What went before is in the scratch pool, one string after the other, from *off on. */
static int take_line(struct draft *d, struct draft_program *p, char *line, unsigned number)
{
	struct value v = { .draft = d };
	uint32_t off;
	char why[320];
	int r;

	line[strcspn(line, "\r")] = '\0';
	if (*line == '\0' || *line == '#' || *line == ';')
		return 0;
	r = value_check_variable(&v, line, line);
	if (r < 0) {
		snprintf(why, sizeof(why), "line %u %s", number, v.why);
		complain(d, p, why);
		return 0;
	}
	unquote(line);
	r = pool_add_str(&d->scratch, line, &off);
	if (r == 0 && p->file_environment.count++ == 0)
		p->file_environment.off = off;
	return r;
}

int draft_read_environment_file(struct draft *d, struct draft_program *p)
{
	char *text, *line, *rest;
	unsigned number = 0;
	int r = 0;

	if (p->environment_file == 0)
		return 0;
	text = read_whole(d, p);
	if (text == NULL)
		return d->problems->error;
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n")) != NULL)
		r = take_line(d, p, line, ++number);
	free(text);
	return r;
}
