#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tests/netns/soak.sh MINUTES SEED [BUILD_DIR]: three hosts under random faults, and the oracle's
# verdict; see soak.py. Builds into a directory of its own unless it is given one. Needs root.
set -eu
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || {
	echo "usage: $0 MINUTES SEED [BUILD_DIR]" >&2
	exit 2
}
MINUTES=$1 SEED=$2 BUILD=${3:-}
if [ -z "$BUILD" ]; then
	BUILD=$(mktemp -d /tmp/supd-soak.XXXXXX)
	trap 'rm -rf "$BUILD"' EXIT
	chmod 755 "$BUILD"
	meson setup "$BUILD" . >"$BUILD.log" 2>&1 && ninja -C "$BUILD" >>"$BUILD.log" 2>&1 || {
		tail -n 40 "$BUILD.log"
		exit 1
	}
	rm -f "$BUILD.log"
fi
python3 tests/netns/soak.py --bin "$BUILD" "$MINUTES" "$SEED"
