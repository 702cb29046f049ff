/* SPDX-License-Identifier: MIT */
#include "supd/config/loader.h"

#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supd/config/model.h"

static bool is_executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* ---- a program's command and directory, seen with its user's eyes ---------------------------- */

enum fault { FAULT_NONE, FAULT_USER, FAULT_DIRECTORY, FAULT_COMMAND };

static int become(const struct model_program *p)
{
	if (geteuid() != 0)
		return 0; /* our own eyes will have to do */
	if (setgroups(p->n_groups, p->groups) < 0 || setresgid(p->gid, p->gid, p->gid) < 0 ||
	    setresuid(p->uid, p->uid, p->uid) < 0)
		return -errno;
	return 0;
}

/* In a child: its exit status is what would go wrong at the start. */
static enum fault look(const struct model *m, const struct model_program *p)
{
	const char *command = (const char *)m + p->argv.off;

	if (become(p) < 0)
		return FAULT_USER;
	if (chdir(model_str(m, p->directory)) < 0)
		return FAULT_DIRECTORY;
	if (!is_executable(command))
		return FAULT_COMMAND;
	return FAULT_NONE;
}

static enum fault look_as_user(const struct model *m, const struct model_program *p)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit((int)look(m, p));
	if (pid < 0)
		return FAULT_USER;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return FAULT_USER;
	return WIFEXITED(status) && WEXITSTATUS(status) <= FAULT_COMMAND
		       ? (enum fault)WEXITSTATUS(status)
		       : FAULT_USER;
}

static int warn_program(const struct model *m, const struct model_program *p, FILE *out)
{
	const char *name = model_str(m, p->name), *user = model_str(m, p->user_name);

	switch (look_as_user(m, p)) {
	case FAULT_NONE:
		return 0;
	case FAULT_USER:
		fprintf(out, "warning: [program:%s]: cannot try what %s may do\n", name, user);
		return 1;
	case FAULT_DIRECTORY:
		fprintf(out,
			"warning: [program:%s]: directory %s is missing, or out of %s's reach\n",
			name, model_str(m, p->directory), user);
		return 1;
	case FAULT_COMMAND:
		fprintf(out,
			"warning: [program:%s]: command %s is missing, or not executable by %s\n",
			name, (const char *)m + p->argv.off, user);
		return 1;
	}
	return 0;
}

/* ---- the host -------------------------------------------------------------------------------- */

/* Whether a line of a small file of /proc has the text. */
static bool has_line(const char *path, bool (*match)(const char *line))
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = match(line);
	free(line);
	fclose(f);
	return found;
}

static bool is_cgroup2(const char *line)
{
	return strstr(line, " - cgroup2 ") != NULL;
}

/* /proc/net/route: interface, destination, gateway, flags, …, the numbers in hex. */
static bool is_default_route(const char *line)
{
	char name[IFNAMSIZ];
	unsigned destination, gateway;

	return sscanf(line, "%15s %x %x", name, &destination, &gateway) == 3 && destination == 0 &&
	       gateway != 0;
}

static int warn_service(const struct model *m, const struct model_service *s, FILE *out)
{
	const char *interface = model_str(m, s->interface);
	const char *fence = (const char *)m + s->fence_argv.off;
	const char *vip = (const char *)m + s->vip_argv.off;
	int n = 0;

	if (if_nametoindex(interface) == 0) {
		fprintf(out, "warning: [service:%s]: no interface %s on this host\n",
			model_str(m, s->name), interface);
		n++;
	}
	if (s->isolation == MODEL_ISOLATION_AUTO &&
	    !has_line("/proc/net/route", is_default_route)) {
		fprintf(out,
			"warning: [service:%s]: isolation_probe = auto, but this host has no "
			"default gateway: an isolated host is not covered\n",
			model_str(m, s->name));
		n++;
	}
	if (s->fence_argv.count > 0 && !is_executable(fence)) {
		fprintf(out,
			"warning: [service:%s]: fence_command %s is missing, or not executable: "
			"this host takes over from no silent node\n",
			model_str(m, s->name), fence);
		n++;
	}
	if (s->vip_argv.count > 0 && !is_executable(vip)) {
		fprintf(out,
			"warning: [service:%s]: vip_command %s is missing, or not executable: this "
			"host cannot acquire the address\n",
			model_str(m, s->name), vip);
		n++;
	}
	return n;
}

int loader_warn_host(const struct model *m, FILE *out)
{
	int n = 0;

	fflush(out);
	if (!has_line("/proc/self/mountinfo", is_cgroup2)) {
		fprintf(out,
			"warning: no cgroup v2 on this host: a program that leaves its process "
			"group may outlive its stop, and tier 0 covers direct children only\n");
		n++;
	}
	for (uint32_t i = 0; i < m->n_services; i++)
		n += warn_service(m, model_service(m, i), out);
	for (uint32_t i = 0; i < m->n_programs; i++)
		n += warn_program(m, model_program(m, i), out);
	return n;
}
