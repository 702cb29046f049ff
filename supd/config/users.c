/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "supd/config/keys.h"

/*
 * Users and groups are looked up here and nowhere else: a look-up may ask a directory server, for
 * which neither the keeper nor the engine can wait.
 */

/* kind: "user" or "group"; error 0: there is none. */
static void missing(struct draft *d, unsigned line, const char *key, const char *name,
		    const char *kind, int error)
{
	if (error == 0)
		problems_add(d->problems, line,
			     "%s = \"%.60s\" does not exist, expected a %s of this "
			     "host",
			     key, name, kind);
	else
		problems_add(d->problems, line,
			     "%s = \"%.60s\" cannot be looked up: %s, expected a %s "
			     "of this host",
			     key, name, strerror(error), kind);
}

/* getpwnam(3) and getgrnam(3) have several ways to say "not found". */
static int lookup_error(int error)
{
	return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM ? 0 : error;
}

static const struct passwd *find_user(struct draft *d, unsigned line, const char *key,
				      const char *name)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL)
		missing(d, line, key, name, "user", lookup_error(errno));
	return pw;
}

static bool find_group(struct draft *d, unsigned line, const char *key, const char *name,
		       gid_t *ret_gid)
{
	const struct group *gr;

	errno = 0;
	gr = getgrnam(name);
	if (gr == NULL)
		missing(d, line, key, name, "group", lookup_error(errno));
	else
		*ret_gid = gr->gr_gid;
	return gr != NULL;
}

static void resolve_supd(struct draft *d)
{
	struct draft_supd *s = &d->supd;
	const struct passwd *pw;

	if (s->user != 0) {
		pw = find_user(d, key_line(KEY_SUPD, &s->h, "user"), "user",
			       draft_text(d, s->user));
		if (pw != NULL) {
			s->m.uid = pw->pw_uid;
			s->m.gid = pw->pw_gid;
		}
	}
	if (s->socket_group != 0)
		find_group(d, key_line(KEY_SUPD, &s->h, "socket_group"), "socket_group",
			   draft_text(d, s->socket_group), &s->m.socket_gid);
}

/* ---- the environment of a program ------------------------------------------------------------ */

/* Of a word NAME=VALUE, or of the name alone. */
static bool list_has(const struct draft *d, struct model_strv list, const char *name)
{
	const char *word = list.count > 0 ? pool_at(&d->scratch, list.off) : NULL;
	size_t n = strcspn(name, "=");

	for (uint32_t i = 0; i < list.count; i++, word = parse_strv_next(word))
		if (strncmp(word, name, n) == 0 && word[n] == '=')
			return true;
	return false;
}

static bool is_set(const struct draft *d, const struct draft_program *p, const char *name)
{
	return list_has(d, p->environment, name) || list_has(d, p->file_environment, name);
}

/* The words of a list that `over` does not have. */
static int add_list(struct draft *d, struct draft_program *p, struct model_strv list,
		    struct model_strv over)
{
	const char *word = list.count > 0 ? pool_at(&d->scratch, list.off) : NULL;
	uint32_t off;
	int r = 0;

	for (uint32_t i = 0; i < list.count && r == 0; i++, word = parse_strv_next(word)) {
		if (list_has(d, over, word))
			continue;
		r = pool_add_str(&d->strings, word, &off);
		p->m.env.count++;
	}
	return r;
}

static int add_variable(struct draft *d, struct draft_program *p, const char *name,
			const char *value)
{
	char word[4096];
	uint32_t off;

	if (is_set(d, p, name))
		return 0;
	snprintf(word, sizeof(word), "%s=%s", name, value);
	p->m.env.count++;
	return pool_add_str(&d->strings, word, &off);
}

/* PATH and what a login would set, over it environment_file, over that environment. */
static int add_environment(struct draft *d, struct draft_program *p, const struct passwd *pw)
{
	const struct {
		const char *name, *value;
	} defaults[] = {
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		{"HOME", *pw->pw_dir != '\0' ? pw->pw_dir : "/"},
		{"USER", pw->pw_name},
		{"LOGNAME", pw->pw_name},
		{"SHELL", *pw->pw_shell != '\0' ? pw->pw_shell : "/bin/sh"},
	};
	static const struct model_strv nothing = {0};
	int r = draft_read_environment_file(d, p);

	p->m.env.off = d->strings.base + (uint32_t)d->strings.len;
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]) && r == 0; i++)
		r = add_variable(d, p, defaults[i].name, defaults[i].value);
	if (r == 0)
		r = add_list(d, p, p->file_environment, p->environment);
	return r < 0 ? r : add_list(d, p, p->environment, nothing);
}

/* ---- a program's user ------------------------------------------------------------------------ */

static void add_groups(struct draft *d, struct draft_program *p, const char *user)
{
	int n = MODEL_GROUPS_MAX;

	if (getgrouplist(user, p->m.gid, p->m.groups, &n) < 0) {
		problems_add(d->problems, key_line(KEY_PROGRAM, &p->h, "user"),
			     "user = \"%.60s\" is in %d groups, expected at most %d", user, n,
			     MODEL_GROUPS_MAX);
		return;
	}
	p->m.n_groups = (uint32_t)n;
}

static int resolve_program(struct draft *d, struct draft_program *p)
{
	const char *user = draft_text(d, p->user);
	const struct passwd *pw;
	int r;

	if (p->user == 0)
		return 0; /* a bad word, already told */
	pw = find_user(d, key_line(KEY_PROGRAM, &p->h, "user"), "user", user);
	if (pw == NULL)
		return 0;
	p->m.uid = pw->pw_uid;
	p->m.gid = pw->pw_gid;
	r = pool_add_str(&d->strings, user, &p->m.user_name.off);
	if (r == 0)
		r = add_environment(d, p, pw);
	if (r < 0)
		return r;
	/* pw is the library's: not used below, since the next look-ups overwrite it. */
	if (p->group != 0)
		find_group(d, key_line(KEY_PROGRAM, &p->h, "group"), "group",
			   draft_text(d, p->group), &p->m.gid);
	add_groups(d, p, user);
	return 0;
}

int draft_resolve_users(struct draft *d)
{
	int r = 0;

	resolve_supd(d);
	for (uint32_t i = 0; i < d->n_programs && r == 0; i++)
		r = resolve_program(d, &d->programs[i]);
	endpwent();
	endgrent();
	return r;
}
