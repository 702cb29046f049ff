/* SPDX-License-Identifier: MIT */
#include "supd/config/values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/ini.h"
#include "common/parse.h"

/* The values that only programs have: what they require, how they are asked, what they may use. */

/* ---- requires -------------------------------------------------------------------------------- */

int value_requires(struct value *v)
{
	char buf[INI_VALUE_MAX + 1];
	const char *item = buf;
	struct parse_strv list;
	struct model_strv s;
	int r;

	if (parse_list(v->text, buf, sizeof(buf), &list) < 0 || list.count == 0)
		return value_reject(v, "is not a list, expected names of programs with commas or "
				       "blanks between them");
	if (list.count > MODEL_REQUIRES_MAX)
		return value_reject(v, "has %u names, expected at most %d", list.count,
				    MODEL_REQUIRES_MAX);
	for (uint32_t i = 0; i < list.count; i++, item = parse_strv_next(item))
		if (!parse_is_name(item))
			return value_reject(v, "has \"%.40s\", expected names of programs", item);
	s.count = list.count;
	r = pool_add(&v->draft->scratch, buf, list.len, &s.off);
	if (r == 0)
		memcpy(v->to, &s, sizeof(s));
	return r;
}

/* ---- ready and health ------------------------------------------------------------------------ */

static const char probe_forms[] = "expected none, notify, tcp:PORT, http://HOST:PORT/PATH or "
				  "exec:COMMAND";

/* Where it is: "PORT" (this host), "ADDRESS:PORT", "[ADDRESS]:PORT", "localhost:PORT". */
static int read_endpoint(struct value *v, char *text, const char *def_port,
			 struct model_probe *ret)
{
	char *colon = strrchr(text, ':'), *host = text;
	size_t n;
	uint64_t port;

	if (colon != NULL && strchr(colon, ']') != NULL)
		colon = NULL;
	if (colon == NULL && def_port == NULL) { /* the port alone */
		colon = text;
		host = NULL;
	} else if (colon != NULL) {
		*colon++ = '\0';
	}
	if (parse_uint(colon != NULL ? colon : def_port, 1, 65535, &port) < 0)
		return value_reject(v, "has no port, expected a number from 1 to 65535");
	ret->port = (uint16_t)port;
	if (host == NULL || strcmp(host, "localhost") == 0) {
		ret->address = ip_addr_v4(htonl(INADDR_LOOPBACK));
		return 0;
	}
	n = strlen(host);
	if (*host == '[' && n > 1 && host[n - 1] == ']') {
		host[n - 1] = '\0';
		host++;
	}
	if (ip_addr_parse(host, &ret->address) < 0)
		return value_reject(v, "has the host \"%.40s\", expected an address or localhost: "
				       "names are not looked up while a program runs",
				    host);
	return 0;
}

static int read_tcp(struct value *v, const char *text, struct model_probe *ret)
{
	char buf[80];

	if (strlen(text) >= sizeof(buf))
		return value_reject(v, "is too long, expected tcp:PORT or tcp:ADDRESS:PORT");
	strcpy(buf, text);
	ret->kind = MODEL_PROBE_TCP;
	return read_endpoint(v, buf, NULL, ret);
}

/* "//HOST[:PORT][/PATH]" */
static int read_http(struct value *v, const char *text, struct model_probe *ret)
{
	char host[80], end[80];
	const char *path;
	size_t n;
	int r;

	if (strncmp(text, "//", 2) != 0)
		return value_reject(v, "is not a URL, %s", probe_forms);
	text += 2;
	n = strcspn(text, "/?#");
	path = text[n] == '/' ? text + n : "/";
	if (n == 0 || n >= sizeof(host) || strpbrk(text, " \t\"<>\\^`{|}#@") != NULL)
		return value_reject(v, "is not a plain URL, expected http://HOST:PORT/PATH");
	memcpy(host, text, n);
	host[n] = '\0';
	memcpy(end, host, n + 1);
	ret->kind = MODEL_PROBE_HTTP;
	r = read_endpoint(v, end, "80", ret);
	if (r == 0)
		r = pool_add_str(&v->draft->strings, host, &ret->host.off);
	if (r == 0)
		r = pool_add_str(&v->draft->strings, path, &ret->path.off);
	return r;
}

static int read_exec(struct value *v, const char *text, struct model_probe *ret)
{
	char buf[INI_VALUE_MAX + 1];
	struct parse_strv words;
	int r = value_split_command(v, text, buf, sizeof(buf), &words);

	if (r < 0)
		return r;
	ret->kind = MODEL_PROBE_EXEC;
	ret->argv.count = words.count;
	return pool_add(&v->draft->strings, buf, words.len, &ret->argv.off);
}

static bool begins(const char *text, const char *with, const char **ret_rest)
{
	size_t n = strlen(with);

	if (strncmp(text, with, n) != 0)
		return false;
	*ret_rest = text + n;
	return true;
}

int value_probe(struct value *v)
{
	struct model_probe p;
	const char *rest;
	int r = 0;

	memset(&p, 0, sizeof(p));
	if (strcmp(v->text, "none") == 0)
		p.kind = MODEL_PROBE_NONE;
	else if (strcmp(v->text, "notify") == 0)
		p.kind = MODEL_PROBE_NOTIFY;
	else if (begins(v->text, "tcp:", &rest))
		r = read_tcp(v, rest, &p);
	else if (begins(v->text, "http:http:", &rest) || begins(v->text, "http:", &rest))
		r = read_http(v, rest, &p);
	else if (begins(v->text, "exec:", &rest))
		r = read_exec(v, rest + strspn(rest, " \t"), &p);
	else
		return value_reject(v, "is no way to ask, %s", probe_forms);
	if (r == 0)
		memcpy(v->to, &p, sizeof(p));
	return r;
}
