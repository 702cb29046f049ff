/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "supctl/render.h"

/*
 * render_check status|explain REPLY.json [NAME]: the text that supctl prints for a reply, at 80
 * columns, on stdout.
 * render_check status|explain REPLY.json EXPECTED.txt NAME|"": compare with the golden text; where
 * it differs, both are printed and the exit status is 1.
 */
#define WIDTH 80

static char *render(const char *kind, const json_t *reply, const char *name)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	if (strcmp(kind, "explain") == 0)
		render_explain(out, WIDTH, reply);
	else
		render_status(out, WIDTH, reply, name);
	fclose(out);
	return text;
}

static char *read_file(const char *path)
{
	static char buf[65536];
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL) {
		perror(path);
		return NULL;
	}
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	return buf;
}

/* The first line of a service may be longer: it is never broken. */
static bool fits(const char *text)
{
	const char *line = strstr(text, "\n\n");

	while (line != NULL && *line != '\0') {
		size_t len = strcspn(line, "\n");

		if (len > WIDTH) {
			fprintf(stderr, "longer than %d columns: %.*s\n", WIDTH, (int)len, line);
			return false;
		}
		line += len + (line[len] == '\n');
	}
	return true;
}

static int compare(const char *text, const char *path)
{
	const char *expected = read_file(path);

	if (expected != NULL && strcmp(text, expected) == 0 && fits(text))
		return 0;
	fprintf(stderr, "--- expected\n%s--- got\n%s", expected != NULL ? expected : "", text);
	return 1;
}

int main(int argc, char **argv)
{
	json_t *reply;
	char *text;
	int status = 0;

	if (argc < 3 || argc > 5)
		return 2;
	reply = json_load_file(argv[2], 0, NULL);
	if (reply == NULL)
		return 2;
	text = render(argv[1], reply, argc == 4	  ? argv[3]
				      : argc == 5 && argv[4][0] != '\0' ? argv[4]
									: NULL);
	if (argc == 5)
		status = compare(text, argv[3]);
	else
		fputs(text, stdout);
	free(text);
	json_decref(reply);
	return status;
}
