/* SPDX-License-Identifier: MIT */
#include "common/parse.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void durations(void **state)
{
	static const struct {
		const char *text;
		int result;
		mtime value;
		const char *why;
	} cases[] = {
		{"5", 0, MTIME_SEC(5), "a bare number is seconds"},
		{"500ms", 0, MTIME_MS(500), "milliseconds"},
		{"1s", 0, MTIME_SEC(1), "seconds"},
		{"5min", 0, MTIME_SEC(300), "minutes"},
		{"1h", 0, MTIME_SEC(3600), "hours"},
		{"0", 0, 0, "zero is a duration"},
		{"007s", 0, MTIME_SEC(7), "decimal, not octal"},
		{"", -EINVAL, 0, "nothing"},
		{"s", -EINVAL, 0, "a unit alone"},
		{"5m", -EINVAL, 0, "m could be minutes or milliseconds"},
		{"5 s", -EINVAL, 0, "a blank"},
		{" 5s", -EINVAL, 0, "a blank in front"},
		{"5s ", -EINVAL, 0, "a blank behind"},
		{"-5s", -EINVAL, 0, "no time goes backwards"},
		{"+5s", -EINVAL, 0, "no sign at all"},
		{"1.5s", -EINVAL, 0, "no fractions"},
		{"1h30min", -EINVAL, 0, "one unit"},
		{"1S", -EINVAL, 0, "lower case"},
		{"0x10", -EINVAL, 0, "no hex"},
		{"99999999999999999999", -ERANGE, 0, "above 64 bits"},
		{"9223372036855s", -ERANGE, 0, "above mtime when multiplied"},
		{"2562047788015216h", -ERANGE, 0, "wraps around to a small number if unchecked"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		mtime d = 42;
		int r = parse_duration(cases[i].text, &d);

		if (r != cases[i].result || d != (r == 0 ? cases[i].value : 42))
			fail_msg("\"%s\" (%s): %d, %lld", cases[i].text, cases[i].why, r,
				 (long long)d);
	}
}

static void numbers_keep_to_their_range(void **state)
{
	uint64_t n = 42;

	assert_int_equal(parse_uint("0", 0, 10, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(parse_uint("10", 0, 10, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(parse_uint("11", 0, 10, &n), -ERANGE);
	assert_int_equal(parse_uint("0", 1, 10, &n), -ERANGE);
	assert_int_equal(parse_uint("18446744073709551615", 0, UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(parse_uint("18446744073709551616", 0, UINT64_MAX, &n), -ERANGE);
	assert_int_equal(parse_uint("", 0, 10, &n), -EINVAL);
	assert_int_equal(parse_uint("-1", 0, 10, &n), -EINVAL);
	assert_int_equal(parse_uint("1x", 0, 10, &n), -EINVAL);
	assert_int_equal(parse_uint("1 ", 0, 10, &n), -EINVAL);
	assert_true(n == UINT64_MAX);
}

static void sizes_are_powers_of_1024(void **state)
{
	uint64_t n = 42;

	assert_int_equal(parse_size("0", &n), 0);
	assert_true(n == 0);
	assert_int_equal(parse_size("4097", &n), 0);
	assert_true(n == 4097);
	assert_int_equal(parse_size("3KB", &n), 0);
	assert_true(n == 3 << 10);
	assert_int_equal(parse_size("50MB", &n), 0);
	assert_true(n == 50 << 20);
	assert_int_equal(parse_size("17179869183GB", &n), 0);
	assert_true(n == UINT64_C(17179869183) << 30);
	assert_int_equal(parse_size("17179869184GB", &n), -ERANGE);
	assert_int_equal(parse_size("18446744073709551616", &n), -ERANGE);
	assert_int_equal(parse_size("", &n), -EINVAL);
	assert_int_equal(parse_size("MB", &n), -EINVAL);
	assert_int_equal(parse_size("1.5MB", &n), -EINVAL);
	assert_int_equal(parse_size("1 MB", &n), -EINVAL);
	assert_int_equal(parse_size("1mb", &n), -EINVAL);
	assert_int_equal(parse_size("-1", &n), -EINVAL);
	assert_true(n == UINT64_C(17179869183) << 30);
}

static void modes_are_octal(void **state)
{
	unsigned n = 42;

	assert_int_equal(parse_octal("022", 0777, &n), 0);
	assert_int_equal(n, 022);
	assert_int_equal(parse_octal("660", 0777, &n), 0);
	assert_int_equal(n, 0660);
	assert_int_equal(parse_octal("1000", 0777, &n), -ERANGE);
	assert_int_equal(parse_octal("7777777777777777", 0777, &n), -ERANGE);
	assert_int_equal(parse_octal("8", 0777, &n), -EINVAL);
	assert_int_equal(parse_octal("", 0777, &n), -EINVAL);
	assert_int_equal(parse_octal("0o22", 0777, &n), -EINVAL);
	assert_int_equal(n, 0660);
}

static void switches_are_yes_or_no(void **state)
{
	bool b = false;

	assert_int_equal(parse_bool("yes", &b), 0);
	assert_true(b);
	assert_int_equal(parse_bool("no", &b), 0);
	assert_false(b);
	assert_int_equal(parse_bool("true", &b), -EINVAL);
	assert_int_equal(parse_bool("Yes", &b), -EINVAL);
	assert_int_equal(parse_bool("", &b), -EINVAL);
}

static void names(void **state)
{
	char longest[PARSE_NAME_MAX + 2];

	memset(longest, 'x', sizeof(longest));
	longest[PARSE_NAME_MAX] = '\0';
	assert_true(parse_is_name(longest));
	longest[PARSE_NAME_MAX] = 'x';
	longest[PARSE_NAME_MAX + 1] = '\0';
	assert_false(parse_is_name(longest));
	assert_true(parse_is_name("a"));
	assert_true(parse_is_name("Retry_failed-2"));
	assert_true(parse_is_name("-"));
	assert_false(parse_is_name(""));
	assert_false(parse_is_name("a b"));
	assert_false(parse_is_name("a.b"));
	assert_false(parse_is_name("a/b"));
	assert_false(parse_is_name("\xc3\xa4"));
}

static void signals(void **state)
{
	static const struct {
		const char *text;
		int result, signo;
	} cases[] = {
		{"TERM", 0, SIGTERM},   {"SIGTERM", 0, SIGTERM}, {"15", 0, 15},
		{"HUP", 0, SIGHUP},     {"USR1", 0, SIGUSR1},    {"64", 0, 64},
		{"WINCH", 0, SIGWINCH}, {"0", -ERANGE, 0},       {"32", -ERANGE, 0},
		{"33", -ERANGE, 0},     {"65", -ERANGE, 0},      {"term", -EINVAL, 0},
		{"SIG", -EINVAL, 0},    {"", -EINVAL, 0},        {"SIGSIGTERM", -EINVAL, 0},
		{"15x", -EINVAL, 0},    {"TERM ", -EINVAL, 0},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int signo = -1, r = parse_signal(cases[i].text, &signo);

		if (r != cases[i].result || signo != (r == 0 ? cases[i].signo : -1))
			fail_msg("\"%s\": %d, %d", cases[i].text, r, signo);
	}
}

static bool has_code(const uint8_t bits[32], unsigned c)
{
	return (bits[c / 8] >> (c % 8) & 1) != 0;
}

static void exit_codes_are_a_set(void **state)
{
	uint8_t bits[32];
	unsigned n = 0;

	assert_int_equal(parse_exitcodes("0, 7 143,255", bits), 0);
	for (unsigned c = 0; c < 256; c++)
		n += has_code(bits, c);
	assert_int_equal(n, 4);
	assert_true(has_code(bits, 0) && has_code(bits, 7) && has_code(bits, 143) &&
		    has_code(bits, 255));
	assert_int_equal(parse_exitcodes("256", bits), -ERANGE);
	assert_int_equal(parse_exitcodes("-1", bits), -EINVAL);
	assert_int_equal(parse_exitcodes("", bits), -EINVAL);
	assert_int_equal(parse_exitcodes("1,,2", bits), -EINVAL);
	assert_int_equal(parse_exitcodes("1,", bits), -EINVAL);
	assert_true(has_code(bits, 143));
}

/* ---- splitting ------------------------------------------------------------------------------- */

struct split_case {
	const char *text;
	int result;
	const char *joined; /* the parts, each in <> */
	const char *why;
};

static void check_split(int (*split)(const char *, char *, size_t, struct parse_strv *),
			const struct split_case *c)
{
	char buf[128], joined[256] = "";
	struct parse_strv v = {.count = 42};
	/* The promise of the header: this is always enough. */
	int r = split(c->text, buf, strlen(c->text) + 1, &v);
	const char *s = buf;

	if (r != c->result)
		fail_msg("\"%s\" (%s): %d", c->text, c->why, r);
	if (r < 0) {
		assert_int_equal(v.count, 42);
		return;
	}
	for (uint32_t i = 0; i < v.count; i++, s = parse_strv_next(s)) {
		strcat(joined, "<");
		strcat(joined, s);
		strcat(joined, ">");
	}
	assert_int_equal(s - buf, v.len);
	if (strcmp(joined, c->joined) != 0)
		fail_msg("\"%s\" (%s): %s", c->text, c->why, joined);
}

static void lists_split_at_commas_or_blanks(void **state)
{
	static const struct split_case cases[] = {
		{"", 0, "", "nothing"},
		{"  ", 0, "", "blanks"},
		{"a", 0, "<a>", "one"},
		{"a,b", 0, "<a><b>", "a comma"},
		{"a b\tc", 0, "<a><b><c>", "blanks"},
		{" a , b ,c ", 0, "<a><b><c>", "both"},
		{"a,,b", -EINVAL, "", "nothing between"},
		{",a", -EINVAL, "", "nothing in front"},
		{"a,", -EINVAL, "", "nothing behind"},
		{",", -EINVAL, "", "a comma alone"},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		check_split(parse_list, &cases[i]);
}

static void words_split_as_a_shell_does(void **state)
{
	static const struct split_case cases[] = {
		{"", 0, "", "nothing"},
		{"  /bin/a  -b\t-c ", 0, "</bin/a><-b><-c>", "blanks"},
		{"'a b' \"c d\"", 0, "<a b><c d>", "quotes"},
		{"a'b'\"c\"d", 0, "<abcd>", "quotes within a word"},
		{"'' \"\"", 0, "<><>", "empty words"},
		{"a\\ b", 0, "<a b>", "a backslash before a blank"},
		{"\\'a\\\"", 0, "<'a\">", "a backslash before a quote"},
		{"'a\\b'", 0, "<a\\b>", "a backslash in single quotes is itself"},
		{"\"a\\\"b\\\\c\\$d\\`\"", 0, "<a\"b\\c$d`>", "what it escapes in double quotes"},
		{"\"a\\nb\"", 0, "<a\\nb>", "and what it does not"},
		{"$HOME ~ * `x`", 0, "<$HOME><~><*><`x`>", "no expansion"},
		{"a;b | c > d # e", 0, "<a;b><|><c><>><d><#><e>", "no shell"},
		{"a,b", 0, "<a,b>", "a comma is text"},
		{"'a", -EINVAL, "", "an unbalanced single quote"},
		{"a\"b", -EINVAL, "", "an unbalanced double quote"},
		{"\"a\\\"", -EINVAL, "", "the closing quote is escaped"},
		{"a\\", -EINVAL, "", "a backslash at the end"},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		check_split(parse_words, &cases[i]);
}

static void a_small_buffer_is_refused(void **state)
{
	char buf[8] = "???????";
	struct parse_strv v = {0};

	assert_int_equal(parse_words("abc def", buf, 7, &v), -ENOBUFS);
	assert_int_equal(buf[7], '\0');
	assert_int_equal(parse_list("abc def", buf, 7, &v), -ENOBUFS);
	assert_int_equal(v.count, 0);
	assert_int_equal(parse_words("abc def", buf, 8, &v), 0);
	assert_int_equal(v.count, 2);
	assert_int_equal(v.len, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(numbers_keep_to_their_range),
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(modes_are_octal),
		cmocka_unit_test(switches_are_yes_or_no),
		cmocka_unit_test(names),
		cmocka_unit_test(signals),
		cmocka_unit_test(exit_codes_are_a_set),
		cmocka_unit_test(lists_split_at_commas_or_blanks),
		cmocka_unit_test(words_split_as_a_shell_does),
		cmocka_unit_test(a_small_buffer_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
