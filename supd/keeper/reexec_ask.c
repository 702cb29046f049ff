/* SPDX-License-Identifier: MIT */
#include "supd/keeper/reexec_ask.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supd/config/loader.h"
#include "supd/config/model.h"
#include "supd/core/service_fsm.h"
#include "supd/keeper/handover.h"

#define FINGERPRINT_HEX (2 * crypto_auth_hmacsha256_BYTES + 1)

/* Of configuration and key; it tells neither. */
static const char *fingerprint(const struct model *m, char buf[FINGERPRINT_HEX])
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];

	crypto_auth_hmacsha256(mac, m->supd.text_hash, sizeof(m->supd.text_hash), m->supd.key);
	return sodium_bin2hex(buf, FINGERPRINT_HEX, mac, sizeof(mac));
}

int reexec_ask_write(const struct model *m, int fd)
{
	char hex[FINGERPRINT_HEX];
	json_t *doc = json_pack("{s:i, s:i, s:s}", "handover", HANDOVER_VERSION, "baton",
				SERVICE_BATON_FORMAT, "config", fingerprint(m, hex));
	int r = doc ? json_dumpfd(doc, fd, JSON_COMPACT) : -1;

	json_decref(doc);
	return r < 0 ? -ENOSPC : 0;
}

/* What is asked for, if it can be given: NULL; else the reason. */
static const char *check(json_t *doc, char ret_config[FINGERPRINT_HEX])
{
	const char *config;
	int handover, baton;

	if (json_unpack(doc, "{s:i, s:i, s:s}", "handover", &handover, "baton", &baton, "config",
			&config) < 0 || strlen(config) >= FINGERPRINT_HEX)
		return "it is asked in a way that it does not know: restart supd instead";
	if (handover != HANDOVER_VERSION || baton != SERVICE_BATON_FORMAT)
		return "its form of what is left is another one: restart supd instead";
	strcpy(ret_config, config);
	return NULL;
}

static int complain(const char *what)
{
	fprintf(stderr, "%s\n", what);
	return 1;
}

int reexec_ask_answer(const struct loader_options *o, int fd)
{
	char asked[FINGERPRINT_HEX], found[FINGERPRINT_HEX];
	struct model *m = NULL;
	const char *why;
	json_t *doc;
	int r;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return complain("--prepare is for supd itself");
	doc = json_loadfd(fd, 0, NULL);
	why = check(doc, asked);
	json_decref(doc);
	if (why)
		return complain(why);
	r = loader_load(o, stderr, &m);
	if (r < 0)
		return r == -EINVAL ? 6 : complain(strerror(-r));
	if (strcmp(fingerprint(m, found), asked) != 0)
		r = complain("the configuration or the key has changed since supd was started");
	else if (loader_seal(m, fd) < 0)
		r = complain("its model cannot be written");
	free(m);
	return r;
}
