/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CONFIG_VALUES_H
#define SUPD_CONFIG_VALUES_H

#include "common/parse.h"
#include "supd/config/draft.h"
#include "supd/config/keys.h"

/*
 * The parsers of the key table: from a value's text into a member of a draft's row.
 * 0; -EINVAL with `why` ("is not a duration, expected …"), nothing stored; or -ENOMEM.
 */
#define VALUE_PATH_MAX 1000

struct value {
	struct draft *draft;
	const struct key *key;
	const char *text;
	void *to;
	char why[256];
};

/* Set why, and -EINVAL. */
int value_reject(struct value *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The words of a command, in buf: an absolute path first.  As above. */
int value_split_command(struct value *v, const char *text, char *buf, size_t size,
			struct parse_strv *ret);

int value_name(struct value *v);      /* model_str */
int value_text(struct value *v);      /* uint32_t in scratch: a word that is looked up later */
int value_path(struct value *v);      /* uint32_t in scratch: absolute */
int value_path_str(struct value *v);  /* model_str: absolute */
int value_logfile(struct value *v);   /* uint32_t in scratch: absolute, or MODEL_LOG_SYSLOG */
int value_interface(struct value *v); /* model_str */
int value_uint(struct value *v);      /* uint8_t, uint16_t, uint32_t by width */
int value_octal(struct value *v);     /* mode_t */
int value_bool(struct value *v);
int value_choice(struct value *v);        /* int-sized, or bool, by width */
int value_duration(struct value *v);      /* mtime; a choice's word stands for its value */
int value_size(struct value *v);          /* uint64_t, bytes; a choice's word stands for its value */
int value_signal(struct value *v);        /* int */
int value_exitcodes(struct value *v);     /* 32 bytes */
int value_addresses(struct value *v);     /* draft_node: address, more, n_more */
int value_password(struct value *v);      /* VRRP_PASSWORD_LEN bytes */
int value_paths(struct value *v);         /* draft_node: further, n_further */
int value_vips(struct value *v);          /* draft_service: vips, n_vips */
int value_isolation(struct value *v);     /* draft_service: isolation, targets, n_targets */
int value_restart_limit(struct value *v); /* draft_service: restart_limit, restart_window */
int value_command(struct value *v);       /* model_strv */
int value_environment(struct value *v);   /* model_strv in scratch */
int value_requires(struct value *v);      /* model_strv in scratch */
int value_probe(struct value *v);         /* model_probe */
int value_int(struct value *v);           /* int; a choice's word stands for its value */
int value_rlimit(struct value *v);        /* model_rlimit: a number, or SOFT:HARD */
int value_rlimit_size(struct value *v);   /* model_rlimit: sizes */
int value_percent(struct value *v);       /* uint32_t; a choice's word stands for its value */
/* NAME=VALUE that a program may be given, the first of the list `words` or a later one. */
int value_check_variable(struct value *v, const char *words, const char *word);

#endif
