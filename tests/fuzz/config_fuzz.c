/* SPDX-License-Identifier: MIT */
/*
 * The configuration against arbitrary text: whatever comes in, the loader ends, and what it hands
 * over passes model_verify().  Then the block itself is damaged, and model_verify() must stand it.
 *
 *   config_fuzz [-n ROUNDS] [-s SEED] FILE|DIRECTORY ...
 *
 * replays each file (of a directory: those that end in .ini) and ROUNDS mutations of them; the
 * seed is printed, so that a failure can be had again.  Built with -fsanitize=fuzzer and
 * -DSUPD_LIBFUZZER, LLVMFuzzerTestOneInput is driven by libFuzzer instead.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/loader.h"
#include "supd/config/model.h"

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void damage(const struct model *m)
{
	char *copy = malloc(m->size);
	uint32_t seed = m->size;

	if (copy == NULL)
		abort();
	for (int i = 0; i < 64; i++) {
		memcpy(copy, m, m->size);
		copy[next_random(&seed) % m->size] ^= (char)(1u << (next_random(&seed) % 8));
		(void)model_verify(copy, m->size);
		/* Cut short, as well. */
		((struct model *)(void *)copy)->size = next_random(&seed) % m->size;
		(void)model_verify(copy, ((struct model *)(void *)copy)->size);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct loader_options o = {.path = "fuzz.ini"};
	struct model *m = NULL;
	char *text = NULL;
	size_t text_size = 0;
	FILE *out = open_memstream(&text, &text_size);
	int r;

	if (out == NULL)
		abort();
	r = loader_load_text(&o, (const char *)data, size, out, &m);
	if (r == 0) {
		if (model_verify(m, m->size) < 0)
			abort();
		loader_print_budget(m, out);
		damage(m);
	}
	free(m);
	fclose(out);
	/* A refusal says why. */
	if (r < 0 && text_size == 0)
		abort();
	free(text);
	return 0;
}

#ifndef SUPD_LIBFUZZER
struct corpus {
	struct {
		uint8_t *data;
		size_t size;
	} v[1024];
	unsigned n;
};

static void add_file(struct corpus *c, const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

	if (f == NULL || c->n == sizeof(c->v) / sizeof(c->v[0]))
		exit(2);
	c->v[c->n].data = calloc(1, INPUT_MAX);
	if (c->v[c->n].data == NULL)
		exit(2);
	c->v[c->n].size = fread(c->v[c->n].data, 1, INPUT_MAX, f);
	c->n++;
	if (f != stdin)
		fclose(f);
}

static void add(struct corpus *c, const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	char file[4096];

	if (d == NULL) {
		add_file(c, path);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n < 4 || strcmp(e->d_name + n - 4, ".ini") != 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		add_file(c, file);
	}
	closedir(d);
}

/* Replace, remove or insert a few bytes, or splice in a piece of another input. */
static size_t mutate_once(const struct corpus *c, uint8_t *buf, size_t size, uint32_t *seed)
{
	static const char pieces[][16] = {"=", "\n", "[", "]", ";",           " ",      "\n[", "\"",
					  "'", "\\", "/", ",", "99999999999", "\n\n\n", "$",   ":"};
	const char *piece = pieces[next_random(seed) % 16];
	size_t at = size == 0 ? 0 : next_random(seed) % size, n;

	switch (next_random(seed) % 5) {
	case 0:
		if (size > 0)
			buf[at] = (uint8_t)next_random(seed);
		return size;
	case 1:
		n = next_random(seed) % (size - at + 1);
		memmove(buf + at, buf + at + n, size - at - n);
		return size - n;
	case 2:
		n = strlen(piece);
		break;
	default:
		piece = (const char *)c->v[next_random(seed) % c->n].data;
		n = next_random(seed) % 64;
		break;
	}
	if (size + n > INPUT_MAX)
		return size;
	memmove(buf + at + n, buf + at, size - at);
	memcpy(buf + at, piece, n);
	return size + n;
}

static void mutate(const struct corpus *c, uint32_t *seed, uint8_t *buf)
{
	unsigned i = next_random(seed) % c->n, times = 1 + next_random(seed) % 6;
	size_t size = c->v[i].size;

	memcpy(buf, c->v[i].data, size);
	while (times-- > 0)
		size = mutate_once(c, buf, size, seed);
	LLVMFuzzerTestOneInput(buf, size);
}

int main(int argc, char **argv)
{
	static struct corpus c;
	uint8_t *buf = malloc(INPUT_MAX);
	uint32_t rounds = 0, seed = 1;

	if (buf == NULL)
		return 2;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
			rounds = (uint32_t)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
			seed = (uint32_t)strtoul(argv[++i], NULL, 10);
		else
			add(&c, argv[i]);
	}
	if (c.n == 0)
		add(&c, "-");
	seed += seed == 0; /* xorshift stays at 0 */
	printf("%u files, %u mutations, seed %u\n", c.n, rounds, seed);
	fflush(stdout);
	for (unsigned i = 0; i < c.n; i++)
		LLVMFuzzerTestOneInput(c.v[i].data, c.v[i].size);
	for (uint32_t i = 0; i < rounds; i++)
		mutate(&c, &seed, buf);
	for (unsigned i = 0; i < c.n; i++)
		free(c.v[i].data);
	free(buf);
	return 0;
}
#endif
