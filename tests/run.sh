#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tests/run.sh [SUITE...]: build with gcc, and with clang and its sanitizers, and run the suites
# unit sim golden fuzz netns (or only those named) on both. On a fresh Debian 12, as root, it
# installs what it needs. The last line is `N passed, N failed, N skipped`.
#
#   SIM_SEEDS        seeds of the simulator in the gcc build (its own default, unless set)
#   JOBS             netns tests at a time (2)
set -u
cd "$(dirname "$0")/.." || exit 1
TOP=$PWD
SUITES=${*:-unit sim golden fuzz netns}
PACKAGES='gcc libc6-dev clang libclang-rt-dev meson ninja-build pkg-config python3 libev-dev
libinih-dev libnl-3-dev libnl-route-3-dev libjansson-dev libsodium-dev libcap-ng-dev
libseccomp-dev libcmocka-dev iproute2 nftables util-linux keepalived tshark'

die() {
	echo "tests/run.sh: $*" >&2
	exit 1
}

for suite in $SUITES; do
	case $suite in
	unit | sim | golden | fuzz | netns) ;;
	*) die "no such suite: $suite (unit sim golden fuzz netns)" ;;
	esac
done

install_packages() {
	missing=
	for package in $PACKAGES; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" -eq 0 ] || die "not installed, and only root can:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086  # a list of words
	if ! { apt-get update -qq &&
		apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
		die "cannot install:$missing"
	fi
}

# A directory of our own, so that two runs at once do not meet. Others may walk through it: the
# supervised programs of the tests run as another user.
WORK=$(mktemp -d "${TMPDIR:-/tmp}/supd-tests.XXXXXX") || exit 1
chmod 755 "$WORK"
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build NAME COMPILER MESON_OPTION...
build() {
	name=$1 compiler=$2
	shift 2
	echo "== building with $compiler ($name)"
	if CC=$compiler meson setup "$WORK/$name" "$TOP" --werror "$@" >"$WORK/$name.log" 2>&1 &&
		ninja -C "$WORK/$name" >>"$WORK/$name.log" 2>&1; then
		return 0
	fi
	tail -n 60 "$WORK/$name.log"
	python3 tests/tally.py "$WORK/tally" --one fail "build $name"
	return 1
}

# run_meson NAME SUITE: tests registered with Meson
run_meson() {
	echo "== $2 ($1)"
	rm -f "$WORK/$1/meson-logs/testlog.json"
	meson test -C "$WORK/$1" --no-rebuild --suite "$2" --timeout-multiplier 4 \
		>"$WORK/$1-$2.out" 2>&1
	code=$?
	if [ -f "$WORK/$1/meson-logs/testlog.json" ]; then
		python3 tests/tally.py "$WORK/tally" --meson "$WORK/$1/meson-logs/testlog.json"
	elif [ $code -ne 0 ]; then
		cat "$WORK/$1-$2.out"
		python3 tests/tally.py "$WORK/tally" --one fail "$2 ($1)"
	fi
}

# run_netns NAME OPTION...
run_netns() {
	name=$1
	shift
	echo "== netns ($name)"
	python3 tests/netns/run.py --bin "$WORK/$name" -j "${JOBS:-2}" --json "$WORK/netns.json" "$@"
	code=$?
	if [ -f "$WORK/netns.json" ]; then
		python3 tests/tally.py "$WORK/tally" --netns "$WORK/netns.json"
		rm -f "$WORK/netns.json"
	else
		python3 tests/tally.py "$WORK/tally" --one fail "netns ($name): exit $code"
	fi
}

install_packages
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

if build gcc gcc; then
	for suite in $SUITES; do
		case $suite in
		netns) run_netns gcc ;;
		*) run_meson gcc "$suite" ;;
		esac
	done
fi

if build clang clang -Db_sanitize=address,undefined -Db_lundef=false; then
	SIM_SEEDS=1000
	export SIM_SEEDS
	for suite in $SUITES; do
		case $suite in
		# Processes that give up their privileges cannot be searched for leaks.
		netns) ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" run_netns clang --sanitized ;;
		*) run_meson clang "$suite" ;;
		esac
	done
fi

python3 tests/tally.py "$WORK/tally" --total
