#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sudo sh etc/quickstart.sh [--keep]
#
# Builds supd, makes two hosts, a gateway and a client out of network namespaces, runs a small demo
# scheduler under supd on both hosts, and breaks things: each time it prints what a client of the
# virtual address saw, and at the end the proof that the scheduler never ran twice.
#
# Nothing is installed but Debian packages; no traffic leaves this machine; everything is removed
# again at the end.  --keep leaves it running and says what to type; --stop DIR ends that.
set -eu
cd "$(dirname "$0")/.."
TOP=$PWD
KEEP=no
VIP=10.78.0.100
PORT=8000
PACKAGES='gcc libc6-dev meson ninja-build pkg-config python3 libev-dev libinih-dev libnl-3-dev
libnl-route-3-dev libjansson-dev libsodium-dev libcap-ng-dev libseccomp-dev iproute2 nftables
util-linux'

if [ -t 1 ]; then
	BOLD=$(printf '\033[1m') PLAIN=$(printf '\033[0m')
else
	BOLD='' PLAIN=''
fi

die() {
	echo "quickstart: $*" >&2
	exit 1
}

say() {
	printf '   %s\n' "$*"
}

title() {
	printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"
}

# ---- what is made, and how it goes away --------------------------------------------------------

# When a process was started: with its pid, the identity of a process. Nothing: it is gone.
birth() {
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'
}

# Needs WORK and ID. Touches only what this script made: its own pids, names and directory.
clean_up() {
	[ -f "$WORK/pids" ] || : >"$WORK/pids"
	while read -r pid born; do
		[ "$(birth "$pid")" != "$born" ] || kill "$pid" 2>/dev/null || :
	done <"$WORK/pids"
	tries=0
	while read -r pid born; do
		while [ "$(birth "$pid")" = "$born" ] && [ $tries -lt 100 ]; do
			tries=$((tries + 1))
			sleep 0.1
		done
		[ "$(birth "$pid")" != "$born" ] || kill -9 "$pid" 2>/dev/null || :
	done <"$WORK/pids"
	for host in switch gateway a b client; do
		ip netns del "$ID-$host" 2>/dev/null || :
	done
	cgroups=$(awk '$(NF-2) == "cgroup2" { print $5; exit }' /proc/self/mountinfo)
	[ -z "$cgroups" ] || find "$cgroups" -depth -path "$cgroups/supd-$ID-*" -type d \
		-exec rmdir {} + 2>/dev/null || :
	rm -rf "$WORK"
}

case ${1:-} in
'') ;;
--keep) KEEP=yes ;;
--stop)
	WORK=${2:-}
	[ -f "$WORK/id" ] || die "no demo in '$WORK'"
	ID=$(cat "$WORK/id")
	clean_up
	echo "removed $WORK"
	exit 0
	;;
*) die "usage: quickstart.sh [--keep | --stop DIR]" ;;
esac

[ "$(id -u)" -eq 0 ] || die "it makes network namespaces: run it as root (sudo sh etc/quickstart.sh)"

# ---- packages, build -------------------------------------------------------------------------

missing=
for package in $PACKAGES; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)" = installed ] ||
		missing="$missing $package"
done
if [ -n "$missing" ]; then
	title "Installing packages:$missing"
	apt-get update -qq
	# shellcheck disable=SC2086  # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

WORK=$(mktemp -d /tmp/supd-demo.XXXXXX)
ID=demo$$
echo $ID >"$WORK/id"
chmod 755 "$WORK"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title "Building supd"
if ! { meson setup "$WORK/build" "$TOP" -Dtests=disabled && ninja -C "$WORK/build"; } \
	>"$WORK/build.log" 2>&1; then
	tail -n 40 "$WORK/build.log"
	die "the build failed"
fi
SUPD=$WORK/build/supd/supd
SUPCTL=$WORK/build/supctl/supctl
say "$($SUPD --version)"

# ---- two hosts, a gateway and a client on one switch ------------------------------------------------

title "Two hosts (a, b), a gateway and a client on one switch, in network namespaces"
in_ns() {
	host=$1
	shift
	nsenter --net="/run/netns/$ID-$host" "$@"
}

for host in switch gateway a b client; do
	ip netns add "$ID-$host"
done
ip -n "$ID-switch" -batch - <<-END
	link add name br0 type bridge forward_delay 0
	link set dev br0 up
END
number=0
for host in gateway:1 a:11 b:12 client:50; do
	name=${host%:*} number=${host#*:}
	ip -n "$ID-switch" -batch - <<-END
		link add name $name type veth peer name eth0 netns $ID-$name
		link set dev $name master br0
		link set dev $name up
	END
	ip -n "$ID-$name" -batch - <<-END
		link set dev lo up
		addr add 10.78.0.$number/24 dev eth0
		link set dev eth0 up
	END
	[ "$name" = gateway ] || ip -n "$ID-$name" route add default via 10.78.0.1
done
in_ns switch nft 'add table bridge demo; add chain bridge demo cut { type filter hook forward priority 0; }'

# The demo scheduler: a job every 10 ms, one line each to the job log; and a web server of sorts
# that answers "host pid term start", so that a client sees who serves it.
cat >"$WORK/scheduler" <<'END'
#!/usr/bin/python3 -ISs
import os, select, socket, sys, time

def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

start, node, term = now(), os.environ["SUPD_NODE"], os.environ["SUPD_TERM"]
log = os.open(sys.argv[1] + "/jobs.log", os.O_WRONLY | os.O_APPEND)

def job():
    os.write(log, f"{now()} host={node} term={term} pid={os.getpid()} start={start}\n".encode())

job()
if os.path.exists(f"{sys.argv[1]}/broken-{node}"):
    sys.exit("this host is broken")
web = socket.socket()
web.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
web.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
web.bind((sys.argv[2], int(sys.argv[3])))
web.listen(512)
print(f"scheduler up on {node}", flush=True)
due = now()
while True:
    if now() >= due:
        job()
        due = now() + 10_000_000
    if select.select([web], [], [], max(0, due - now()) / 1e9)[0]:
        client, _ = web.accept()
        with client:
            try:
                client.sendall(f"{node} {os.getpid()} {term} {start}\n".encode())
            except OSError:
                pass
END
chmod 755 "$WORK/scheduler"
: >"$WORK/jobs.log"
chmod 666 "$WORK/jobs.log"

(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/key" && echo >>"$WORK/key")
cat >"$WORK/supd.ini" <<-END
	[supd]
	cluster = $ID
	key_file = $WORK/key
	user = nobody
	socket_group = nogroup
	log_target = stderr

	[node:a]
	address = 10.78.0.11
	priority = 150
	[node:b]
	address = 10.78.0.12
	priority = 100

	[service:scheduler]
	interface = eth0
	virtual_router_id = 51
	virtual_ipaddress = $VIP
	advert_int = 1s
	restart_limit = 3/60s

	[program:master]
	service = scheduler
	command = $WORK/scheduler $WORK $VIP $PORT
	user = nobody
END
say "one configuration file for both hosts, $WORK/supd.ini:"
sed 's/^/      /' "$WORK/supd.ini"

# ---- talking to it ---------------------------------------------------------------------------------

# on HOST COMMAND...: supctl on that host
on() {
	host=$1
	shift
	"$SUPCTL" -c "$WORK/supd.ini" --prefix "$WORK/$host" "$@"
}

show() {
	host=$1
	shift
	printf '   %s$ supctl %s%s\n' "$host" "$*" ''
	on "$host" "$@" 2>&1 | sed 's/^/      /' || :
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
	tries=$(($1 * 20)) what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ $tries -le 0 ]; then
			tail -n 20 "$WORK/a.log" "$WORK/b.log" >&2
			die "not within the time allowed: $what"
		fi
		sleep 0.05
	done
}

now() {
	python3 -ISs -c 'import time; print(time.clock_gettime_ns(time.CLOCK_BOOTTIME))'
}

served_by() {
	tail -n 1 "$WORK/client" | grep -q "^answer [0-9]* $1 "
}

state_is() {
	on "$1" --json status | grep -Eq "\"state\": ?\"$2\""
}

# The longest time without an answer since $1, as the client recorded it.
gap() {
	sleep 0.3
	python3 -ISs - "$WORK/client" "$1" <<-'END'
		import sys
		since = int(sys.argv[2])
		answers = [l.split() for l in open(sys.argv[1]) if l.startswith("answer") and l.endswith("\n")]
		seen = [(int(a[1]), a[2]) for a in answers]
		seen = [s for s in seen if s[0] < since][-1:] + [s for s in seen if s[0] >= since]
		t = [a[0] for a in seen]
		hosts = [h for i, (_, h) in enumerate(seen) if i == 0 or seen[i - 1][1] != h]
		worst = max((b - a) / 1e6 for a, b in zip(t, t[1:]))
		print(f"   -> the client was served by {', then '.join(hosts)}; "
		      f"the longest gap was {worst:.0f} ms")
	END
}

program_pid() {
	on "$1" --json status | python3 -ISs -c '
import json, sys
print([p["pid"] for p in json.load(sys.stdin)["programs"] if p["name"] == "master"][0])'
}

# start HOST LOG COMMAND...: in the background.
start() {
	host=$1 log=$2
	shift 2
	(exec setsid nsenter --net="/run/netns/$ID-$host" "$@" >>"$log" 2>&1) &
	echo "$! $(birth $!)" >>"$WORK/pids"
}

start_supd() {
	mkdir -p "$WORK/$1"
	start "$1" "$WORK/$1.log" "$SUPD" -n -c "$WORK/supd.ini" --prefix "$WORK/$1"
}

# ---- the walk ------------------------------------------------------------------------------------------

title "1. supd starts on both hosts: one becomes active, the other stands by"
start_supd a
start_supd b
start client /dev/null /usr/bin/python3 "$TOP/tests/netns/prober.py" $VIP $PORT "$WORK/client"
wait_for 20 "a active" on a is-active scheduler
wait_for 20 "an answer" served_by a
wait_for 20 "b ready" sh -c "'$SUPCTL' -c '$WORK/supd.ini' --prefix '$WORK/a' status | grep -q 'standby b ready'"
show a status
show b status

title "2. kill -9 of the scheduler: restarted at once, on the same host"
t=$(now)
old=$(program_pid a)
say "kill -9 $old"
kill -9 "$old"
wait_for 10 "a new scheduler" sh -c "'$SUPCTL' -c '$WORK/supd.ini' --prefix '$WORK/a' is-active master"
wait_for 10 "an answer" served_by a
gap "$t"

title "3. A crash loop on a: after the third death within a minute the service moves to b"
t=$(now)
: >"$WORK/broken-a"
kill -9 "$(program_pid a)"
wait_for 20 "b active" on b is-active scheduler
wait_for 20 "an answer of b" served_by b
gap "$t"
show b status
say "a is latched as failed: it does not take part until a person has looked at it"

title "4. Repaired: supctl reset, then a planned handover back to a"
rm "$WORK/broken-a"
show a reset
wait_for 20 "a ready" sh -c "'$SUPCTL' -c '$WORK/supd.ini' --prefix '$WORK/b' status | grep -q 'standby a ready'"
t=$(now)
show a failover
wait_for 20 "an answer of a" served_by a
gap "$t"

title "5. Host a is cut off at the switch, its cable still has a carrier"
wait_for 20 "b ready" sh -c "'$SUPCTL' -c '$WORK/supd.ini' --prefix '$WORK/a' status | grep -q 'standby b ready'"
t=$(now)
in_ns switch nft 'add rule bridge demo cut iifname "a" drop; add rule bridge demo cut oifname "a" drop'
wait_for 20 "b active" on b is-active scheduler
wait_for 20 "an answer of b" served_by b
gap "$t"
say "nobody could tell a to stop: it noticed by itself, and killed its scheduler before b started one"
show b explain
in_ns switch nft 'flush chain bridge demo cut'
wait_for 20 "a back as the standby" state_is a backup
wait_for 20 "a ready" sh -c "'$SUPCTL' -c '$WORK/supd.ini' --prefix '$WORK/b' status | grep -q 'standby a ready'"
say "connected again, a is the standby now:"
show b status

title "The proof: the job log"
python3 -ISs - "$WORK/jobs.log" <<'END'
import sys
runs = {}
for line in open(sys.argv[1]):
    if not line.endswith("\n"):
        continue
    at, host, term, pid, start = line.split()
    run = runs.setdefault((host, term, pid, start), [int(at), int(at), 0])
    run[1], run[2] = int(at), run[2] + 1
runs = sorted(runs.items(), key=lambda r: r[1][0])
zero, twice, latest = runs[0][1][0], 0, -1
print("   instance                        first job     last job    jobs")
for (host, term, pid, _), (first, last, jobs) in runs:
    note = ""
    if first <= latest:
        twice, note = twice + 1, "   <- BEFORE THE LAST ONE ENDED"
    latest = max(latest, last)
    print(f"   {host} {term:10} {pid:10}   {(first - zero) / 1e9:12.3f} s {(last - zero) / 1e9:10.3f} s "
          f"{jobs:7}{note}")
if twice:
    sys.exit("   TWO INSTANCES OVERLAPPED")
print(f"   {len(runs)} instances, one after the other: no two of them overlapped.")
END

if [ $KEEP = yes ]; then
	trap - EXIT
	title "It goes on running. Try:"
	for host in a b; do
		say "$SUPCTL -c $WORK/supd.ini --prefix $WORK/$host status      # on $host; also: explain, failover"
	done
	say "nsenter --net=/run/netns/$ID-client python3 -c \"import socket; print(socket.create_connection(('$VIP', $PORT)).recv(99))\""
	say "tail -f $WORK/jobs.log"
	say "sh $TOP/etc/quickstart.sh --stop $WORK      # ends it and removes everything"
fi
