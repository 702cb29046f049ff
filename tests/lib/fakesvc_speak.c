/* SPDX-License-Identifier: MIT */
#include "fakesvc_speak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void speak(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd;

	if (path == NULL || strlen(path) >= sizeof(sa.sun_path))
		return;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sa,
		   sizeof(sa)) < 0)
		perror("fakesvc: notify");
	close(fd);
}

bool speaker_is_sick(const struct speaker *s, const char *node)
{
	char path[4096];

	if (s->sick_if == NULL)
		return false;
	snprintf(path, sizeof(path), "%s-%s", s->sick_if, node);
	return access(path, F_OK) == 0;
}

int64_t speaker_run(struct speaker *s, const char *node, int64_t now)
{
	int64_t next = INT64_MAX;

	if (s->ready_at >= 0 && now >= s->ready_at) {
		speak("READY=1\nSTATUS=serving");
		s->ready_at = -1;
	}
	if (s->watchdog > 0 && now >= s->watchdog_at) {
		if (!speaker_is_sick(s, node))
			speak("WATCHDOG=1");
		s->watchdog_at = now + s->watchdog;
	}
	if (s->ready_at >= 0)
		next = s->ready_at;
	if (s->watchdog > 0 && s->watchdog_at < next)
		next = s->watchdog_at;
	return next;
}

void speaker_serve(struct speaker *s, const char *node)
{
	const char *reply = speaker_is_sick(s, node) ? "HTTP/1.0 503 sick\r\n\r\n"
						     : "HTTP/1.0 200 fine\r\n\r\n";
	char request[1024];
	int fd = accept4(s->http_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (s->hangs && speaker_is_sick(s, node))
		return; /* the descriptor is left open on purpose */
	if (recv(fd, request, sizeof(request), 0) > 0)
		(void)!send(fd, reply, strlen(reply), MSG_NOSIGNAL);
	close(fd);
}
