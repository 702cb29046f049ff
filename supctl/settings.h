/* SPDX-License-Identifier: MIT */
#ifndef SUPCTL_SETTINGS_H
#define SUPCTL_SETTINGS_H

struct invocation;

/*
 * Where supd's socket is: -s, else run_dir of the configuration (below --prefix), else of the
 * default.  malloc'ed; NULL after a line on stderr: the configuration cannot be read.
 *
 * Only [supd] run_dir is looked at; the rest of the file is supd's business, and what is wrong
 * with it keeps nobody from asking a supd that runs.
 */
char *settings_socket(const struct invocation *in);

#endif
