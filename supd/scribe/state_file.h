/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_STATE_FILE_H
#define SUPD_SCRIBE_STATE_FILE_H

#include <stddef.h>

/*
 * state_dir/NODE.state: replaced whole.  After a crash at any moment it holds the old text or the
 * new one; after state_file_save() has returned 0, the new one, also through a power cut.
 */

/* 0, or -errno: then it holds the old text, or (after a failed sync) perhaps the new one. */
int state_file_save(const char *dir, const char *node, const char *text, size_t len);

/* 0 and the length, -ENOENT: there is none, -EFBIG: longer than size,
 * -ENOTDIR: no such directory, or -errno. */
int state_file_load(const char *dir, const char *node, char *buf, size_t size, size_t *ret_len);

#endif
