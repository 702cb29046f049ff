/* SPDX-License-Identifier: MIT */
#include "common/control_proto.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK    16384
#define BUFFER_SMALL  1024

const char *control_code_text(int code)
{
	switch (code) {
#define X(name, number, text)                                                                      \
	case number:                                                                               \
		return text;
		CONTROL_CODES(X)
#undef X
	}
	return "failed";
}

bool control_command_is_later(const char *name)
{
	static const char *const later[] = {
		"events", "kill",  "reload",
		"wait",  "is-ready", "is-failed", "check", "metrics",
	};

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(later[i], name) == 0)
			return true;
	return false;
}

/* ---- bytes -------------------------------------------------------------------------------------- */

void control_buffer_init(struct control_buffer *b, size_t max)
{
	*b = (struct control_buffer){ .max = max };
}

void control_buffer_fini(struct control_buffer *b)
{
	free(b->data);
	control_buffer_init(b, b->max);
}

/* Room for `more` bytes behind what it holds. */
static int buffer_reserve(struct control_buffer *b, size_t more)
{
	size_t size = b->size > 0 ? b->size : BUFFER_SMALL;
	char *data;

	if (more > b->max - b->len)
		return -EMSGSIZE;
	while (size < b->len + more)
		size *= 2;
	if (size == b->size)
		return 0;
	data = realloc(b->data, size);
	if (data == NULL)
		return -ENOMEM;
	b->data = data;
	b->size = size;
	return 0;
}

int control_buffer_append(struct control_buffer *b, const void *data, size_t len)
{
	int r = buffer_reserve(b, len);

	if (r < 0)
		return r;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static int append_chunk(const char *data, size_t len, void *buffer)
{
	return control_buffer_append(buffer, data, len) < 0 ? -1 : 0;
}

int control_buffer_append_json(struct control_buffer *b, const json_t *json)
{
	/* Else a load of 0.1 goes out as 0.10000000000000001. */
	size_t before = b->len, flags = JSON_COMPACT | JSON_REAL_PRECISION(6);

	if (json == NULL)
		return -ENOMEM;
	if (json_dump_callback(json, append_chunk, b, flags) == 0 &&
	    control_buffer_append(b, "\n", 1) == 0)
		return 0;
	b->len = before;
	return -EMSGSIZE;
}

ssize_t control_buffer_read(struct control_buffer *b, int fd)
{
	size_t room = b->max - b->len;
	ssize_t n;
	int r;

	if (room == 0)
		return -EMSGSIZE;
	if (room > READ_CHUNK)
		room = READ_CHUNK;
	r = buffer_reserve(b, room);
	if (r < 0)
		return r;
	do
		n = read(fd, b->data + b->len, room);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	b->len += (size_t)n;
	return n;
}

int control_buffer_flush(struct control_buffer *b, int fd)
{
	size_t sent = 0;
	int r = 0;

	while (sent < b->len && r == 0) {
		ssize_t n = send(fd, b->data + sent, b->len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	control_buffer_drop(b, sent);
	return r;
}

char *control_buffer_line(struct control_buffer *b, size_t *ret_len)
{
	char *end;

	if (b->len == b->scanned)
		return NULL;
	end = memchr(b->data + b->scanned, '\n', b->len - b->scanned);
	if (end == NULL) {
		b->scanned = b->len;
		return NULL;
	}
	/* Looked at again by the next call, unless the caller drops the line first. */
	b->scanned = (size_t)(end - b->data);
	*ret_len = b->scanned;
	return b->data;
}

void control_buffer_drop(struct control_buffer *b, size_t n)
{
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->scanned = 0;
	/* One large reply is no reason to hold its memory for the connection's life. */
	if (b->len == 0 && b->size > READ_CHUNK)
		control_buffer_fini(b);
}

/* ---- objects ------------------------------------------------------------------------------------ */

json_t *control_request_new(const char *command, json_t *args)
{
	return json_pack("{s:s, s:o}", "command", command, "args", args);
}

json_t *control_reply_new(void)
{
	return json_pack("{s:i}", "schema", CONTROL_SCHEMA);
}

json_t *control_error_new(int code, const char *fmt, ...)
{
	char message[512];
	json_t *text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	text = json_string(message);
	if (text == NULL) { /* a character was cut in two */
		for (char *c = message; *c != '\0'; c++)
			if ((unsigned char)*c > 0x7e)
				*c = '?';
		text = json_string(message);
	}
	return json_pack("{s:i, s:{s:i, s:o}}", "schema", CONTROL_SCHEMA, "error", "code", code,
			 "message", text);
}

int control_parse(const char *line, size_t len, json_t **ret)
{
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(json)) {
		json_decref(json);
		return -EBADMSG;
	}
	*ret = json;
	return 0;
}

int control_reply_code(const json_t *reply, const char **ret_message)
{
	const json_t *error = json_object_get(reply, "error");
	const json_t *code = json_object_get(error, "code");
	const char *message = json_string_value(json_object_get(error, "message"));

	*ret_message = "";
	if (json_integer_value(json_object_get(reply, "schema")) != CONTROL_SCHEMA) {
		*ret_message = "the answer is not one of this version of supd";
		return CONTROL_FAILED;
	}
	if (error == NULL)
		return CONTROL_OK;
	if (message != NULL)
		*ret_message = message;
	if (json_integer_value(code) < CONTROL_FAILED || json_integer_value(code) > CONTROL_REFUSED)
		return CONTROL_FAILED;
	return (int)json_integer_value(code);
}

/* ---- names -------------------------------------------------------------------------------------- */

#define NAME_LEN_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance: insertions, deletions and replacements. */
static unsigned edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[NAME_LEN_MAX + 1];

	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1,
				      diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

int control_name_distance(const char *name, const char *candidate)
{
	size_t a = strlen(name), b = strlen(candidate);
	unsigned d;

	if (a == 0 || b == 0 || a > NAME_LEN_MAX || b > NAME_LEN_MAX)
		return -1;
	if (strncmp(name, candidate, a) == 0)
		return 1;
	d = edits(name, a, candidate, b);
	return d <= 2 && d < a ? (int)d : -1;
}
