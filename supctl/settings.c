/* SPDX-License-Identifier: MIT */
#include "supctl/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/control_proto.h"
#include "common/ini.h"
#include "supctl/client.h"
#include "supctl/commands.h"

#define DEFAULT_RUN_DIR "/run/supd"

struct found {
	char run_dir[INI_VALUE_MAX + 1];
};

static void on_section(void *user, const char *section, unsigned line)
{
}

static void on_key(void *user, const char *section, const char *key, const char *value,
		   unsigned line)
{
	struct found *f = user;

	if (section != NULL && strcmp(section, "supd") == 0 && strcmp(key, "run_dir") == 0)
		snprintf(f->run_dir, sizeof(f->run_dir), "%s", value);
}

static void on_problem(void *user, unsigned line, const char *text)
{
}

char *settings_socket(const struct invocation *in)
{
	static const struct ini_callbacks callbacks = { on_section, on_key, on_problem };
	const char *path = in->config != NULL ? in->config : SUPD_DEFAULT_CONFIG;
	const char *prefix = in->prefix != NULL ? in->prefix : "";
	struct found f = { DEFAULT_RUN_DIR };
	char *socket = NULL;
	int r;

	if (in->socket != NULL)
		return strdup(in->socket);
	r = ini_read_file(path, &callbacks, &f);
	/* Without -c, somebody who may not read the file still finds a supd in the usual place. */
	if (r < 0 && r != -EINVAL && in->config != NULL) {
		client_complain(CONTROL_CONFIG, "%s: %s", path, strerror(-r));
		return NULL;
	}
	if (asprintf(&socket, "%s%s/%s", prefix, f.run_dir, CONTROL_SOCKET_NAME) < 0)
		abort();
	return socket;
}
