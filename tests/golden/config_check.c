/* SPDX-License-Identifier: MIT */
/*
 * The loader by itself: problems on stderr, the budget on stdout, exit 6 or 0.
 *   config_check [--node NAME] [--prefix DIR] [--key] [--host] FILE
 * --key reads the key file too; --host adds what only this host can tell.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supd/config/loader.h"
#include "supd/config/model.h"

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"node", required_argument, NULL, 'n'},
		{"prefix", required_argument, NULL, 'p'},
		{"key", no_argument, NULL, 'k'},
		{"host", no_argument, NULL, 'h'},
		{0},
	};
	struct loader_options o = {0};
	struct model *m;
	bool host = false;
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			o.node = optarg;
		else if (c == 'p')
			o.prefix = optarg;
		else if (c == 'k')
			o.read_key = true;
		else if (c == 'h')
			host = true;
		else
			return 2;
	}
	if (optind != argc - 1)
		return 2;
	o.path = argv[optind];
	r = loader_load(&o, stderr, &m);
	if (r == -EINVAL)
		return 6;
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", o.path, strerror(-r));
		return 1;
	}
	r = model_verify(m, m->size) < 0 ? 1 : 0;
	loader_print_budget(m, stdout);
	if (host)
		loader_warn_host(m, stderr);
	free(m);
	return r;
}
