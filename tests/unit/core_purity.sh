#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The cores are pure: no I/O, clock, heap or logging.  What the archive takes from outside of itself
# is held against this list of what neither waits, allocates nor asks for the time.
#
# usage: core_purity.sh NM ARCHIVE
set -eu

nm=$1
archive=$2

allowed='memcpy|memcmp|bcmp|memset|memmove|memchr|strlen|strcmp'
allowed="$allowed|snprintf|vsnprintf|__snprintf_chk|__vsnprintf_chk|__mem(cpy|set|move)_chk"
allowed="$allowed|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_"
allowed="$allowed|__(asan|ubsan|sanitizer|tsan|msan)_.*|__gcov_.*|__llvm_.*"
# Soft arithmetic and the like of the compiler's own runtime.
allowed="$allowed|__(u?divti3|u?modti3|muloti4|mulodi4|popcountdi2)"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$nm" --defined-only --format=posix "$archive" 2>/dev/null |
	awk 'NF >= 2 { print $1 }' | sort -u >"$tmp/defined"
"$nm" -u --format=posix "$archive" 2>/dev/null |
	awk 'NF >= 2 && $2 ~ /^[Uvw]$/ { print $1 }' | sort -u >"$tmp/wanted"

if ! [ -s "$tmp/defined" ]; then
	echo "core_purity: $archive defines nothing: not the archive of the cores?" >&2
	exit 1
fi

comm -23 "$tmp/wanted" "$tmp/defined" | grep -Evx "$allowed" >"$tmp/impure" || true
if [ -s "$tmp/impure" ]; then
	echo "core_purity: the cores use what they must not:" >&2
	while read -r symbol; do
		"$nm" -u -A "$archive" 2>/dev/null | grep -E "[Uvw] $symbol\$" >&2 || true
	done <"$tmp/impure"
	exit 1
fi
echo "core_purity: $(wc -l <"$tmp/defined") symbols defined, nothing impure used"
