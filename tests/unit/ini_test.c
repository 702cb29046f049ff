/* SPDX-License-Identifier: MIT */
/*
 * Built twice: with the run-time switches of Debian's inih, and as if it had none, so that its
 * compiled-in behaviour (lines of 200 characters, inline comments, continuation lines) is what the
 * reader has to live with.
 */
#include "common/ini.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* What the callbacks were told, as text: "line[section]", "line section.key=value", "line!problem".
 */
struct story {
	char text[16384];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) tell(struct story *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(s->text) - s->len);
	s->len += (size_t)n;
}

static void on_section(void *user, const char *section, unsigned line)
{
	tell(user, "%u[%s]\n", line, section);
}

static void on_key(void *user, const char *section, const char *key, const char *value,
		   unsigned line)
{
	tell(user, "%u %s.%s=%s\n", line, section, key, value);
}

static void on_problem(void *user, unsigned line, const char *text)
{
	tell(user, "%u!%s\n", line, text);
}

static const struct ini_callbacks callbacks = {
	.section = on_section, .key = on_key, .problem = on_problem};

static void check(const char *text, size_t len, int result, const char *expected)
{
	struct story s = {.len = 0};
	int r = ini_read_text(text, len, &callbacks, &s);

	assert_string_equal(s.text, expected);
	assert_int_equal(r, result);
}

static void check_text(const char *text, int result, const char *expected)
{
	check(text, strlen(text), result, expected);
}

static void sections_and_keys_with_their_lines(void **state)
{
	check_text("# note\n[a]\n\nx = 1\n;y = 2\nz=3", 0, "2[a]\n4 a.x=1\n6 a.z=3\n");
	check_text("", 0, "");
	check_text("\n\n", 0, "");
	check_text("[a]\n[b:c]\nk = v\n", 0, "1[a]\n2[b:c]\n3 b:c.k=v\n");
}

static void values_are_literal(void **state)
{
	check_text("[a]\nx = a ; b # c\n", 0, "1[a]\n2 a.x=a ; b # c\n");
	check_text("[a]\nx = \"q\" 'r'\n", 0, "1[a]\n2 a.x=\"q\" 'r'\n");
	check_text("[a]\nx = ;\n", 0, "1[a]\n2 a.x=;\n");
	check_text("[a]\nx = a = b : c\n", 0, "1[a]\n2 a.x=a = b : c\n");
	check_text("[a]\nx   =   a  b  \n", 0, "1[a]\n2 a.x=a  b\n");
	check_text("[a]\nx =\ny = 1\n", 0, "1[a]\n2 a.x=\n3 a.y=1\n");
	check_text("[a]\nx = [b]\n", 0, "1[a]\n2 a.x=[b]\n");
}

static void a_long_value_is_whole(void **state)
{
	static const size_t lengths[] = {180, 199, 200, 201, 1024, INI_VALUE_MAX};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char value[INI_VALUE_MAX + 1], text[INI_VALUE_MAX + 64];
		char expected[INI_VALUE_MAX + 64];

		memset(value, 'v', lengths[i]);
		value[lengths[i]] = '\0';
		snprintf(text, sizeof(text), "[a]\nx = %s\ny = 1\n", value);
		snprintf(expected, sizeof(expected), "1[a]\n2 a.x=%s\n3 a.y=1\n", value);
		check_text(text, 0, expected);
	}
}

/* inih alone would read the tail as a line of its own. */
static void the_tail_of_a_long_line_is_not_a_line(void **state)
{
	char text[INI_LINE_MAX + 128] = "[a]\n# ";
	size_t len = strlen(text);

	memset(text + len, 'x', INI_LINE_MAX);
	strcpy(text + len + INI_LINE_MAX, "\nevil=1\n");
	check_text(text, -EINVAL,
		   "1[a]\n2!line of 4202 characters, expected at most 4200\n3 a.evil=1\n");

	/* The same within the length of a line, above that of inih's own buffer. */
	memset(text + len, 'x', 197);
	strcpy(text + len + 197, " evil=1\n");
	check_text(text, 0, "1[a]\n");
}

static void a_value_has_its_limit(void **state)
{
	char text[INI_VALUE_MAX + 64] = "[a]\nx = ";
	size_t len = strlen(text);

	memset(text + len, 'v', INI_VALUE_MAX + 1);
	strcpy(text + len + INI_VALUE_MAX + 1, "\n");
	check_text(text, -EINVAL, "1[a]\n2!x: value of 4001 characters, expected at most 4000\n");
}

static void an_indented_line_is_no_continuation(void **state)
{
	check_text("[a]\nx = 1\n  y = 2\n\n\tz\n", -EINVAL,
		   "1[a]\n2 a.x=1\n3!indented line, expected text from the first column\n"
		   "5!indented line, expected text from the first column\n");
}

static void control_characters_are_refused(void **state)
{
	check("[a]\nx = 1\0y\nz = 2\n", 17, -EINVAL,
	      "1[a]\n2!NUL character, expected text\n3 a.z=2\n");
	check_text("[a]\r\nx = 1\n", -EINVAL,
		   "1!carriage return, expected lines that end with a newline alone\n"
		   "2!x before any section, expected [section] first\n");
	check_text("[a]\nx = \x1b[2J\n", -EINVAL,
		   "1[a]\n2!control character 0x1b, expected text\n");
	check_text("[a]\nx = 1\t2\n", 0, "1[a]\n2 a.x=1\t2\n");
}

static void brackets(void **state)
{
	check_text("[a] x\ny = 1\n", -EINVAL,
		   "1!text after ], expected nothing there\n1[a]\n2 a.y=1\n");
	check_text("[a\ny = 1\n", -EINVAL,
		   "1!no ] behind the section's name, expected [section]\n1[a]\n2 a.y=1\n");
	check_text("[]\ny = 1\n", -EINVAL, "1!empty section name, expected [section]\n");
	check_text("[a] \t\ny = 1\n", 0, "1[a]\n2 a.y=1\n");
}

static void separators(void **state)
{
	check_text("[a]\nx: 1\nx:y = 1\nx\n= 1\n", -EINVAL,
		   "1[a]\n2!\":\" behind \"x\", expected key = value\n"
		   "3!\":\" behind \"x\", expected key = value\n"
		   "4!no \"=\" in \"x\", expected key = value\n"
		   "5!no key before \"=\", expected key = value\n");
	check_text("x = 1\n", -EINVAL, "1!x before any section, expected [section] first\n");
	check_text("[a]\nx y = 1\n", -EINVAL,
		   "1[a]\n2!\"x y\" is not a key, expected letters, digits and \"_\"\n");
}

static void duplicates_name_both_lines(void **state)
{
	check_text("[a]\nx = 1\nx = 2\n", -EINVAL,
		   "1[a]\n2 a.x=1\n3!x again, first in line 2, expected once\n");
	check_text("[a]\n[b]\nx = 1\n[a]\ny = 1\n", -EINVAL,
		   "1[a]\n2[b]\n3 b.x=1\n4!section [a] again, first in line 1, expected once\n");
	check_text("[a]\nx = 1\n[b]\nx = 1\n", 0, "1[a]\n2 a.x=1\n3[b]\n4 b.x=1\n");
}

static void a_section_name_is_not_cut(void **state)
{
	check_text(
		"[program:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nx = "
		"1\n",
		0,
		"1[program:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n"
		"2 program:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.x=1\n");
}

static void too_many_keys_are_refused(void **state)
{
	char text[INI_KEYS_MAX * 12 + 64] = "[a]\n", *at = text + 4;
	struct story s = {.len = 0};

	for (int i = 0; i <= INI_KEYS_MAX; i++)
		at += sprintf(at, "k%d = 1\n", i);
	assert_int_equal(ini_read_text(text, strlen(text), &callbacks, &s), -EINVAL);
	assert_non_null(strstr(s.text, "257 a.k255=1\n258!more than 256 keys in section [a]\n"));
}

static void a_mark_in_front_is_told_once(void **state)
{
	check_text("\xef\xbb\xbf[a]\nx = 1\n", -EINVAL,
		   "1!byte order mark, expected text without one\n1[a]\n2 a.x=1\n");
}

/* ---- files ----------------------------------------------------------------------------------- */

static char dir[] = "/tmp/supd-ini-XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/fifo", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/file", dir);
	unlink(path);
	return rmdir(dir);
}

static void only_a_regular_file_is_read(void **state)
{
	struct story s = {.len = 0};
	char path[64];

	assert_int_equal(ini_read_file(dir, &callbacks, &s), -EINVAL);
	assert_string_equal(s.text, "0!not a regular file, expected one\n");
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	s = (struct story){.len = 0};
	assert_int_equal(ini_read_file(path, &callbacks, &s), -EINVAL);
	assert_string_equal(s.text, "0!not a regular file, expected one\n");
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(ini_read_file(path, &callbacks, &s), -ENOENT);
}

static void a_file_is_read(void **state)
{
	struct story s = {.len = 0};
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/file", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("[a]\nx = 1", f);
	fclose(f);
	assert_int_equal(ini_read_file(path, &callbacks, &s), 0);
	assert_string_equal(s.text, "1[a]\n2 a.x=1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_and_keys_with_their_lines),
		cmocka_unit_test(values_are_literal),
		cmocka_unit_test(a_long_value_is_whole),
		cmocka_unit_test(the_tail_of_a_long_line_is_not_a_line),
		cmocka_unit_test(a_value_has_its_limit),
		cmocka_unit_test(an_indented_line_is_no_continuation),
		cmocka_unit_test(control_characters_are_refused),
		cmocka_unit_test(brackets),
		cmocka_unit_test(separators),
		cmocka_unit_test(duplicates_name_both_lines),
		cmocka_unit_test(a_section_name_is_not_cut),
		cmocka_unit_test(too_many_keys_are_refused),
		cmocka_unit_test(a_mark_in_front_is_told_once),
		cmocka_unit_test(only_a_regular_file_is_read),
		cmocka_unit_test(a_file_is_read),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
