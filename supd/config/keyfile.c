/* SPDX-License-Identifier: MIT */
#include "supd/config/draft_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supd/config/keys.h"

#define KEY_DIGITS 64

/* What is wrong with the file as a file, or NULL. */
static const char *file_fault(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	if (st.st_uid != 0)
		return "does not belong to root";
	if ((st.st_mode & 077) != 0)
		return "is open to its group or to others";
	return NULL;
}

/* 64 hex digits, and a newline or none. */
static const char *read_digits(int fd, uint8_t ret_key[32])
{
	char text[KEY_DIGITS + 2];
	const char *fault = NULL;
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0)
		fault = strerror(errno);
	else if (!(n == KEY_DIGITS || (n == KEY_DIGITS + 1 && text[KEY_DIGITS] == '\n')) ||
		 sodium_hex2bin(ret_key, 32, text, KEY_DIGITS, NULL, NULL, NULL) != 0)
		fault = "does not hold a key";
	sodium_memzero(text, sizeof(text));
	return fault;
}

void draft_read_key(struct draft *d)
{
	struct draft_supd *s = &d->supd;
	const char *path = draft_text(d, s->key_file);
	const char *fault;
	int fd;

	if (s->key_file == 0)
		return; /* already told */
	/* O_NONBLOCK: a FIFO must not make us wait. */
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		fault = errno == ELOOP ? "is a symbolic link" : strerror(errno);
	} else {
		fault = file_fault(fd);
		if (fault == NULL)
			fault = read_digits(fd, s->m.key);
		close(fd);
	}
	if (fault != NULL)
		problems_add(d->problems, key_line(KEY_SUPD, &s->h, "key_file"),
			     "key_file = \"%.200s\": %s, expected a file of root, mode 0600, with "
			     "%d hex "
			     "digits",
			     path, fault, KEY_DIGITS);
}
