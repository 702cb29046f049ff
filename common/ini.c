/* SPDX-License-Identifier: MIT */
#include "common/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The text is cut into lines here; each line is judged before inih sees it, and inih is given only
 * lines of the form `key = value`.  Sections stay here, since inih cuts their names at 49
 * characters.
 *
 * Debian's inih has run-time switches for its line length and for inline comments; upstream's has
 * them compiled in.  Where they cannot be set, a value that would not survive (too long, or with a
 * semicolon) is replaced by a stand-in on its way through inih, and put back in take_pair().
 */
#define KEY_MAX     63
#define SECTION_MAX 127
#define STAND_IN    "-"

struct seen {
	const char *name;
	unsigned line;
};

struct reader {
	const struct ini_callbacks *cb;
	void *user;
	char *at, *end;
	unsigned line;
	bool bad, too_many;

	const char *section; /* NULL: none yet, or one whose keys are not worth reading */
	bool skip;           /* the latter */
	struct seen *sections;
	size_t n_sections;
	struct seen keys[INI_KEYS_MAX];
	size_t n_keys;

	const char *key, *value; /* the line that inih has now */
	bool stand_in;
};

static void __attribute__((format(printf, 2, 3))) problem(struct reader *r, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->bad = true;
	r->cb->problem(r->user, r->line, text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	for (n = strlen(s); n > 0 && is_blank(s[n - 1]); n--)
		;
	s[n] = '\0';
	return s;
}

static unsigned find_seen(const struct seen *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].name, name) == 0)
			return v[i].line;
	return 0;
}

/* ---- one line -------------------------------------------------------------------------------- */

/* The next line, NUL-terminated in place, with its length; NULL at the end of the text. */
static char *next_line(struct reader *r, size_t *ret_len)
{
	char *line = r->at, *eol;

	if (r->at == r->end)
		return NULL;
	eol = memchr(line, '\n', (size_t)(r->end - line));
	r->at = eol != NULL ? eol + 1 : r->end;
	if (eol == NULL)
		eol = r->end; /* there is a spare byte behind the text */
	*eol = '\0';
	*ret_len = (size_t)(eol - line);
	r->line++;
	return line;
}

static bool is_clean(struct reader *r, const char *line, size_t len)
{
	if (len > INI_LINE_MAX) {
		problem(r, "line of %zu characters, expected at most %d", len, INI_LINE_MAX);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c >= ' ' && c != 0x7f) || c == '\t')
			continue;
		if (c == '\0')
			problem(r, "NUL character, expected text");
		else if (c == '\r')
			problem(r, "carriage return, expected lines that end with a newline alone");
		else
			problem(r, "control character 0x%02x, expected text", c);
		return false;
	}
	return true;
}

/* A byte order mark is told, and then passed over: the line behind it may be a section. */
static char *skip_mark(struct reader *r, char *line)
{
	if (r->line != 1 || strncmp(line, "\xef\xbb\xbf", 3) != 0)
		return line;
	problem(r, "byte order mark, expected text without one");
	return line + 3;
}

/* Remember the section; keys that follow one that is no good are not delivered. */
static void open_section(struct reader *r, const char *name)
{
	unsigned first = find_seen(r->sections, r->n_sections, name);

	if (first != 0) {
		problem(r, "section [%s] again, first in line %u, expected once", name, first);
		return;
	}
	if (r->n_sections == INI_SECTIONS_MAX) {
		if (!r->too_many)
			problem(r, "more than %d sections", INI_SECTIONS_MAX);
		r->too_many = true;
		return;
	}
	r->sections[r->n_sections++] = (struct seen){name, r->line};
	r->section = name;
	r->skip = false;
	if (r->cb->section != NULL)
		r->cb->section(r->user, name, r->line);
}

static void take_section(struct reader *r, char *line)
{
	char *name = line + 1, *close = strchr(line, ']');

	r->section = NULL;
	r->skip = true;
	r->n_keys = 0;
	if (close == NULL) {
		problem(r, "no ] behind the section's name, expected [section]");
		name = trim(name);
	} else {
		*close = '\0';
		if (*trim(close + 1) != '\0')
			problem(r, "text after ], expected nothing there");
	}
	if (*trim(name) == '\0')
		problem(r, "empty section name, expected [section]");
	else if (strlen(name) > SECTION_MAX)
		problem(r, "section name of %zu characters, expected at most %d", strlen(name),
			SECTION_MAX);
	else
		open_section(r, name);
}

/* Cut `key = value` in two; NULL when it is not that. */
static char *split_pair(struct reader *r, char *line)
{
	char *sep = line + strcspn(line, "=:");

	if (*sep == ':') {
		problem(r, "\":\" behind \"%.*s\", expected key = value",
			(int)(sep - line > 40 ? 40 : sep - line), line);
		return NULL;
	}
	if (*sep == '\0') {
		problem(r, "no \"=\" in \"%.40s\", expected key = value", line);
		return NULL;
	}
	*sep = '\0';
	return sep + 1;
}

static bool is_key(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n <= KEY_MAX && s[n] == '\0';
}

static bool key_is_new(struct reader *r, const char *key)
{
	unsigned first = find_seen(r->keys, r->n_keys, key);

	if (first != 0)
		problem(r, "%s again, first in line %u, expected once", key, first);
	else if (r->n_keys == INI_KEYS_MAX)
		problem(r, "more than %d keys in section [%s]", INI_KEYS_MAX, r->section);
	else {
		r->keys[r->n_keys++] = (struct seen){key, r->line};
		return true;
	}
	return false;
}

/* Whether the line is a pair that inih shall see: r->key and r->value. */
static bool take_key(struct reader *r, char *line)
{
	char *value = split_pair(r, line), *key;

	if (value == NULL)
		return false;
	key = trim(line);
	value = trim(value);
	if (*key == '\0')
		problem(r, "no key before \"=\", expected key = value");
	else if (!is_key(key))
		problem(r, "\"%.40s\" is not a key, expected letters, digits and \"_\"", key);
	else if (strlen(value) > INI_VALUE_MAX)
		problem(r, "%s: value of %zu characters, expected at most %d", key, strlen(value),
			INI_VALUE_MAX);
	else if (r->section == NULL && !r->skip)
		problem(r, "%s before any section, expected [section] first", key);
	else if (r->section != NULL && key_is_new(r, key)) {
		r->key = key;
		r->value = value;
		return true;
	}
	return false;
}

/* On to the next good pair. */
static bool next_pair(struct reader *r)
{
	char *line;
	size_t len;

	while ((line = next_line(r, &len)) != NULL) {
		if (!is_clean(r, line, len))
			continue;
		line = skip_mark(r, line);
		if (line[strspn(line, " \t")] == '\0' || *line == ';' || *line == '#')
			continue;
		if (is_blank(*line))
			problem(r, "indented line, expected text from the first column");
		else if (*line == '[')
			take_section(r, line);
		else if (take_key(r, line))
			return true;
	}
	return false;
}

/* ---- through inih ---------------------------------------------------------------------------- */

#if defined(SUPD_INIH_SWITCHES)
#define KEEPS_SEMICOLONS true

static void set_switches(void)
{
	ini_max_line = INI_LINE_MAX + KEY_MAX;
	ini_allow_multiline = false;
	ini_allow_inline_comments = false;
}
#else
#define KEEPS_SEMICOLONS false

static void set_switches(void)
{
}
#endif

static char *feed(char *str, int num, void *stream)
{
	struct reader *r = stream;
	size_t need;

	if (!next_pair(r))
		return NULL;
	need = strlen(r->key) + strlen(r->value) + sizeof(" = \r\n");
	r->stand_in = need > (size_t)num || (!KEEPS_SEMICOLONS && strchr(r->value, ';') != NULL);
	snprintf(str, (size_t)num, "%s = %s\n", r->key, r->stand_in ? STAND_IN : r->value);
	return str;
}

static int take_pair(void *user, const char *section, const char *name, const char *value)
{
	struct reader *r = user;

	r->cb->key(r->user, r->section, name, r->stand_in ? r->value : value, r->line);
	return 1;
}

/* `text` has len bytes and one to spare, and is cut up. */
static int read_in_place(char *text, size_t len, const struct ini_callbacks *cb, void *user)
{
	struct reader *r = calloc(1, sizeof(*r));
	int ret;

	if (r == NULL)
		return -ENOMEM;
	*r = (struct reader){.cb = cb, .user = user, .at = text, .end = text + len};
	r->sections = calloc(INI_SECTIONS_MAX, sizeof(*r->sections));
	if (r->sections == NULL) {
		free(r);
		return -ENOMEM;
	}
	set_switches();
	ret = ini_parse_stream(feed, r, take_pair, r);
	if (ret == -2)
		ret = -ENOMEM;
	else if (ret != 0 || r->bad)
		ret = -EINVAL;
	free(r->sections);
	free(r);
	return ret;
}

int ini_read_text(const char *text, size_t len, const struct ini_callbacks *cb, void *user)
{
	char *copy = malloc(len + 1);
	int r;

	if (copy == NULL)
		return -ENOMEM;
	if (len > 0)
		memcpy(copy, text, len);
	r = read_in_place(copy, len, cb, user);
	free(copy);
	return r;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int not_a_file(const struct ini_callbacks *cb, void *user, const char *what)
{
	cb->problem(user, 0, what);
	return -EINVAL;
}

/* As much as there is, up to size. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, buf + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int read_open_file(int fd, const struct ini_callbacks *cb, void *user)
{
	struct stat st;
	char *text;
	ssize_t n;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return not_a_file(cb, user, "not a regular file, expected one");
	if (st.st_size > INI_FILE_MAX)
		return not_a_file(cb, user, "larger than 8 MiB, expected a configuration");
	/* One byte more than expected, so that a file that grows meanwhile is not cut unseen. */
	text = malloc((size_t)st.st_size + 2);
	if (text == NULL)
		return -ENOMEM;
	n = read_all(fd, text, (size_t)st.st_size + 1);
	if (n < 0)
		r = (int)n;
	else if (n > st.st_size)
		r = not_a_file(cb, user, "grew while it was read, expected it at rest");
	else
		r = read_in_place(text, (size_t)n, cb, user);
	free(text);
	return r;
}

int ini_read_file(const char *path, const struct ini_callbacks *cb, void *user)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return -errno;
	r = read_open_file(fd, cb, user);
	close(fd);
	return r;
}
