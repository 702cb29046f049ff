/* SPDX-License-Identifier: MIT */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DROP_NOTICE_MAX 128

/* The only mutable global of the program (see log.h). */
static struct {
	int fd;
	const char *role;
	enum log_level max_level;
	bool framed;
	unsigned long dropped;
} sink = {.fd = STDERR_FILENO, .role = "supd", .max_level = LOG_LEVEL_INFO};

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN},	{"notice", LOG_LEVEL_NOTICE},
	{"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
};

void log_init(int fd, const char *role, enum log_level max_level, bool framed)
{
	sink.fd = fd;
	sink.role = role;
	sink.max_level = max_level;
	sink.framed = framed;
	sink.dropped = 0;
}

void log_set_level(enum log_level max_level)
{
	sink.max_level = max_level;
}

/* "<digit>role: " or "role: "; the length written. */
static size_t put_prefix(char *buf, size_t size, enum log_level level)
{
	int n;

	if (sink.framed)
		n = snprintf(buf, size, "%d%s: ", (int)level, sink.role);
	else
		n = snprintf(buf, size, "%s: ", sink.role);
	return n < 0 ? 0 : (size_t)n >= size ? size - 1 : (size_t)n;
}

/* A text is one line: a control character in it would forge a second one. */
static void flatten(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
}

/* One whole line with its newline in at most `size` bytes, cut where it does not fit. */
__attribute__((format(printf, 4, 0))) static size_t format_line(char *buf, size_t size,
								enum log_level level,
								const char *fmt, va_list ap)
{
	size_t len = put_prefix(buf, size - 1, level);
	int n = vsnprintf(buf + len, size - len, fmt, ap);
	size_t text = n < 0 ? 0 : (size_t)n >= size - len ? size - len - 1 : (size_t)n;

	flatten(buf + len, text);
	len += text;
	buf[len++] = '\n';
	return len;
}

static size_t format_drop_notice(char *buf, size_t size)
{
	size_t len = put_prefix(buf, size, LOG_LEVEL_WARN);
	int n = snprintf(buf + len, size - len, "%lu log lines dropped\n", sink.dropped);

	if (n < 0 || (size_t)n >= size - len)
		return 0;
	return len + (size_t)n;
}

/* Notice and line go out in one write: both together are below PIPE_BUF, so never torn. */
__attribute__((format(printf, 2, 0))) static void log_v(enum log_level level, const char *fmt,
							va_list ap)
{
	char buf[DROP_NOTICE_MAX + LOG_LINE_MAX];
	int saved_errno = errno;
	size_t len = 0;
	ssize_t n;

	if (level > sink.max_level || sink.fd < 0)
		return;
	if (sink.dropped > 0)
		len = format_drop_notice(buf, DROP_NOTICE_MAX);
	len += format_line(buf + len, LOG_LINE_MAX, level, fmt, ap);
	do
		n = write(sink.fd, buf, len);
	while (n < 0 && errno == EINTR);
	sink.dropped = n < 0 ? sink.dropped + 1 : 0;
	errno = saved_errno;
}

#define LOG_FUNCTION(function, level)                                                              \
	void function(const char *fmt, ...)                                                        \
	{                                                                                          \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, fmt);                                                                 \
		log_v(level, fmt, ap);                                                             \
		va_end(ap);                                                                        \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_notice, LOG_LEVEL_NOTICE)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", sink.role);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	if (sink.framed) {
		va_start(ap, fmt);
		log_v(LOG_LEVEL_ERROR, fmt, ap);
		va_end(ap);
	}
	_exit(1);
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i].name) == 0) {
			*ret_level = level_names[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (level_names[i].level == level)
			return level_names[i].name;
	return "unknown";
}
