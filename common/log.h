/* SPDX-License-Identifier: MIT */
#ifndef SUPD_COMMON_LOG_H
#define SUPD_COMMON_LOG_H

#include <stdbool.h>

/*
 * The log sink of a process: the only mutable global of the program.
 *
 * A line is written with one write(2) of at most LOG_LINE_MAX bytes to `fd`, which is non-blocking
 * in every role (a pipe that the scribe reads): a full pipe drops the line and counts it, and the
 * next line that fits is preceded by "N log lines dropped".  Nothing here blocks.
 *
 * Form on a pipe to the scribe: "<level digit><role>: <text>\n"; on a terminal (before the roles
 * exist, or supd -n with log_target = stderr read by the scribe): "<role>: <text>\n".
 */
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_NOTICE = 5,
		 LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

#define LOG_LINE_MAX 1024

/* role: a static string such as "keeper"; framed: level digits first (fd is the scribe's pipe). */
void log_init(int fd, const char *role, enum log_level max_level, bool framed);
void log_set_level(enum log_level max_level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Print to stderr, and to the log where that is the scribe's pipe (a daemon has no stderr), and
 * _exit(1).  Legal only before a loop starts.
 */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Lower-case name of a level ("info"), or -EINVAL; and back. */
int log_level_parse(const char *name, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

#endif
