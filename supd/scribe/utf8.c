/* SPDX-License-Identifier: MIT */
#include "supd/scribe/utf8.h"

#include <string.h>

/* Bytes that follow a first byte, and the range of the one after it (RFC 3629, section 4). */
struct lead {
	unsigned char from, to, more, low, high;
};

static const struct lead leads[] = {
	{0x01, 0x7f, 0, 0, 0},	     {0xc2, 0xdf, 1, 0x80, 0xbf}, {0xe0, 0xe0, 2, 0xa0, 0xbf},
	{0xe1, 0xec, 2, 0x80, 0xbf}, {0xed, 0xed, 2, 0x80, 0x9f}, {0xee, 0xef, 2, 0x80, 0xbf},
	{0xf0, 0xf0, 3, 0x90, 0xbf}, {0xf1, 0xf3, 3, 0x80, 0xbf}, {0xf4, 0xf4, 3, 0x80, 0x8f},
};

static const struct lead *find_lead(unsigned char c)
{
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		if (c >= leads[i].from && c <= leads[i].to)
			return &leads[i];
	return NULL;
}

/* Length of the character at s; 0: none; len + 1: it is cut. */
static size_t character(const unsigned char *s, size_t len)
{
	const struct lead *l = find_lead(s[0]);

	if (!l)
		return 0;
	for (size_t i = 1; i <= l->more; i++) {
		if (i == len)
			return len + 1;
		if (i == 1 ? s[i] < l->low || s[i] > l->high : (s[i] & 0xc0) != 0x80)
			return 0;
	}
	return 1u + l->more;
}

size_t utf8_clean(const char *in, size_t len, bool final, char *out, size_t *ret_used)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t used = 0, n = 0;

	while (used < len) {
		size_t c = character((const unsigned char *)in + used, len - used);

		if (c > len - used && !final)
			break;
		if (c == 0 || c > len - used) {
			memcpy(out + n, replacement, 3);
			n += 3;
			used++;
			continue;
		}
		memcpy(out + n, in + used, c);
		n += c;
		used += c;
	}
	*ret_used = used;
	return n;
}
