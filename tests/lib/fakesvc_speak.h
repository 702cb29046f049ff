/* SPDX-License-Identifier: MIT */
#ifndef SUPD_TESTS_FAKESVC_SPEAK_H
#define SUPD_TESTS_FAKESVC_SPEAK_H

#include <stdbool.h>
#include <stdint.h>

/* How fakesvc tells that it is ready and well: sd_notify(3), and a small HTTP server. */
struct speaker {
	int64_t ready_at;	/* READY=1 then; < 0: never */
	int64_t watchdog;	/* WATCHDOG=1 this often; 0: never */
	int64_t watchdog_at;	/* the next one */
	int http_fd;		/* answers GET with 200, or 503 where it is sick; -1 */
	const char *sick_if;	/* FILE: sick where FILE-$SUPD_NODE exists */
	bool hangs;		/* sick means that it accepts and says nothing */
};

/* Send to NOTIFY_SOCKET; without one, nothing. */
void speak(const char *text);
bool speaker_is_sick(const struct speaker *s, const char *node);
/* What is due; returns when it wants to be called again (INT64_MAX: not). */
int64_t speaker_run(struct speaker *s, const char *node, int64_t now);
/* Whoever is connecting is answered, one after the other. */
void speaker_serve(struct speaker *s, const char *node);

#endif
