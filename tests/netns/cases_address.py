# SPDX-License-Identifier: MIT
"""The addresses: IPv6, several at a time, taken off by somebody, interfaces that come and go."""
import os
import subprocess

from case import case
from lab import PORT, SIX, VIP, Failed, Lab, die_with_parent, now_ns, stays, wait_until

VIP6, OTHER, OTHER6 = "fd77::100", "10.77.0.101", "fd77::101"
ANYWHERE = f"[::]:{PORT}"
LEASE = 3  # seconds
STRANGER = r"""
import socket, struct, sys, time, fcntl
address, interval = sys.argv[1], float(sys.argv[2])
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind(("eth0", 0))
mac = bytes.fromhex("020000006666")
if ":" in address:
    vip = socket.inet_pton(socket.AF_INET6, address)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1")
    body = bytes([136, 0, 0, 0, 0x20, 0, 0, 0]) + vip + bytes([2, 1]) + mac
    whole = vip + group + struct.pack(">IBBBB", len(body), 0, 0, 0, 58) + body
    total = sum(struct.unpack(f">{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack(">H", ~total & 0xffff) + body[4:]
    frame = (bytes.fromhex("333300000001") + mac + b"\x86\xdd" +
             struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + vip + group + body)
else:
    vip = socket.inet_aton(address)
    frame = (b"\xff" * 6 + mac + bytes.fromhex("0806" "0001" "0800" "06" "04" "0001") +
             mac + vip + bytes(6) + vip)
while True:
    sock.send(frame)
    time.sleep(interval)
"""


def lab_of(bin_dir, vips, **settings):
    settings.setdefault("advert_int", "100ms")
    lab = Lab(bin_dir, vips=vips, listen=ANYWHERE, **settings)
    lab.add_six()
    return lab.settle()


def stranger(lab, host, address, interval=0.05):
    """A host that is no node announces an address, until it is ended."""
    process = subprocess.Popen(
        ["nsenter", f"--net={lab.ns_path(host)}", "/usr/bin/python3", "-c", STRANGER, address,
         str(interval)], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    lab.helpers.append(process)
    return process


FAKE_MAC = "02:00:00:00:66:66"


def misled(lab, host, address):
    """The host has an entry for the address with the stranger's MAC, which it does not use: nothing
    but an announcement changes it."""
    lab.ip(host, "neigh", "replace", address, "lladdr", FAKE_MAC, "dev", "eth0", "nud", "stale")


def mac_of(lab, host):
    return lab.ip(host, "-o", "link", "show", "eth0").stdout.split("link/ether ")[1].split()[0]


def neighbour_is(lab, host, address, mac):
    return mac in lab.ip(host, "neigh", "show", address).stdout


def end(process):
    process.kill()
    process.wait()


@case
def a_service_of_ipv6_moves_is_defended_and_is_held_while_its_old_host_answers(bin_dir):
    with lab_of(bin_dir, VIP6, service="vip_lease = 2s\n") as lab:
        probe = lab.probe(address=VIP6)
        probe.wait_answer("a")
        shown = lab.ip("a", "-6", "addr", "show", "dev", "eth0").stdout
        row = next(line for line in shown.splitlines() if VIP6 in line)
        assert "/128" in row and "deprecated" in row and "tentative" not in row, row

        since = now_ns()
        lab.a.supctl_ok("failover")
        probe.wait_answer("b")
        gap = probe.gap_ms(since)
        print(f"planned handover over IPv6: {gap:.0f} ms without an answer")
        assert gap < 500, f"{gap:.0f} ms: the neighbours were not told"
        lab.wait_standby("a")

        # A third host claims the address: an alarm, and the client stays with b.
        misled(lab, "gw", VIP6)
        thief = stranger(lab, "cl", VIP6)
        wait_until(lambda: "conflict" in lab.b.alarms(), 5, "the alarm")
        end(thief)
        wait_until(lambda: neighbour_is(lab, "gw", VIP6, mac_of(lab, "b")), 5, "b's MAC at the gateway")
        wait_until(lambda: "conflict" not in lab.b.alarms(), 5, "the end of the alarm")
        assert lab.b.is_active()

        # All of supd dies on b: its kernel answers for the address until the lease has ended. ARP is
        # dropped: that a is not cut off itself, without which it takes nothing, only ND can tell.
        lab.drop("ether type arp")
        since = now_ns()
        lab.b.kill_all()
        probe.wait_answer("a", 15, since)
        lab.wait_active("a")
        log = open(lab.a.log, encoding="utf-8").read()
        assert f"{VIP6} is claimed by" in log, "the kernel of the dead host was not heard"
        assert not lab.b.has_vip(VIP6)


@case
def addresses_of_both_families_move_together(bin_dir):
    vips = (VIP, OTHER, VIP6, OTHER6)
    with lab_of(bin_dir, ", ".join(vips)) as lab:
        probes = [lab.probe(address=address) for address in (OTHER, OTHER6)]
        for probe in probes:
            probe.wait_answer("a")
        shown = {row["address"]: row["present"] for row in lab.a.service()["addresses"]}
        assert shown == {address: True for address in vips}, shown
        lab.a.supctl_ok("failover")
        for probe in probes:
            probe.wait_answer("b", 5)
        assert all(lab.b.has_vip(v) for v in vips) and not any(lab.a.has_vip(v) for v in vips)
        lab.cut("b")
        for probe in probes:
            probe.wait_answer("a", 10)


def take_off(node, address=VIP):
    node.lab.ip(node.name, "addr", "del", f"{address}/{128 if ':' in address else 32}", "dev",
                "eth0")


@case
def an_address_that_somebody_takes_off_is_put_back_and_in_the_end_handed_over(bin_dir):
    with lab_of(bin_dir, f"{VIP}, {VIP6}", service="vip_lease = off\n") as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        pid = lab.a.program()["pid"]
        for count, address in enumerate((VIP6, VIP, VIP6, VIP)):
            take_off(lab.a, address)
            wait_until(lambda v=address: lab.a.has_vip(v), 3, f"{address} put back")
            assert lab.a.program()["pid"] == pid, "the program has nothing to do with it"
            if count == 1:
                probe.wait_answer("a", 3, now_ns())
        wait_until(lambda: lab.a.has_vip(VIP), 3, "put back")
        take_off(lab.a)
        lab.wait_active("b")
        probe.wait_answer("b", 5, now_ns())
        assert lab.a.state() == "failed"
        assert not lab.a.has_vip(VIP) and not lab.a.has_vip(VIP6)
        assert "address" in lab.a.alarms(), lab.a.alarms()
        # Nobody fit is left: b puts it back for as long as it takes.
        for _ in range(2):
            take_off(lab.b, VIP6)
            wait_until(lambda: lab.b.has_vip(VIP6), 3, "put back on b")
        assert lab.b.is_active()


def interface_is(lab, host, *words):
    lab.ip(host, "link", "set", "dev", *words)


def new_interface(lab, host):
    """Deleted, and made anew under the same name, with the addresses of its host."""
    lab.ip("sw", "link", "del", "dev", host)
    lab.batch("sw", [f"link add name {host} type veth peer name eth0 netns {lab.ns(host)}",
                     f"link set dev {host} master br0", f"link set dev {host} up"])
    lab.batch(host, [f"addr add 10.77.0.{11 + 'abc'.index(host)}/24 dev eth0",
                     f"addr add {SIX[host]}/64 dev eth0 nodad", "link set dev eth0 up",
                     "route add default via 10.77.0.1"])


def is_unfit(node, code):
    service = node.service()
    return bool(service) and code in [u["code"] for u in service["unfit_because"]]


@case
def interfaces_that_go_are_followed_on_either_node(bin_dir):
    with lab_of(bin_dir, f"{VIP}, {VIP6}") as lab:
        probe = lab.probe()
        probe.wait_answer("a")

        # Under the standby: renamed and back, deleted and made anew. The service does not notice.
        interface_is(lab, "b", "eth0", "down")
        interface_is(lab, "b", "eth0", "name", "lan7")
        wait_until(lambda: is_unfit(lab.b, "link"), 5, "b without its interface")
        interface_is(lab, "b", "lan7", "name", "eth0")
        interface_is(lab, "b", "eth0", "up")
        lab.batch("b", [f"route add default via {'10.77.0.1'}"])
        lab.wait_standby("b")
        new_interface(lab, "b")
        lab.wait_standby("b")
        assert lab.a.is_active()

        # Another MAC under the active: the neighbours are told at once.
        interface_is(lab, "a", "eth0", "address", "02:00:00:00:77:01")
        since = now_ns()
        probe.wait_answer("a", 5, since + 100_000_000)
        assert lab.a.is_active()

        # The active's own: it hands over, and leaves no address behind under the new name.
        interface_is(lab, "a", "eth0", "down")
        interface_is(lab, "a", "eth0", "name", "lan7")
        interface_is(lab, "a", "lan7", "up")
        lab.wait_active("b")
        probe.wait_answer("b", 5)
        wait_until(lambda: not lab.a.has_vip(VIP) and not lab.a.has_vip(VIP6), 5,
                   "no address on the renamed interface")
        new_interface(lab, "a")
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        probe.wait_answer("a", 5)


VIP_COMMAND = """#!/bin/sh
# acquire|release|check ADDRESS INTERFACE; what it is to do stands in a file.
dir=$(dirname "$0")
mode=$(cat "$dir/mode-$SUPD_NODE-$1" 2>/dev/null)
echo "$SUPD_NODE $1 $2 $3 $mode" >>"$dir/calls"
case $mode in
fail) exit 3 ;;
hang) sleep 1000 & wait ;;
esac
case $1 in
acquire) ip addr replace "$2/32" dev "$3" ;;
release) ip addr del "$2/32" dev "$3" 2>/dev/null; exit 0 ;;
check) ip -o addr show dev "$3" | grep -q " $2/" ;;
esac
"""


class Cloud:
    def __init__(self, lab):
        self.dir = os.path.join(lab.dir, "cloud")
        os.mkdir(self.dir)
        self.script = os.path.join(self.dir, "move")
        with open(self.script, "w", encoding="ascii") as f:
            f.write(VIP_COMMAND)
        os.chmod(self.script, 0o755)

    def mode(self, node, verb, what):
        with open(os.path.join(self.dir, f"mode-{node}-{verb}"), "w", encoding="ascii") as f:
            f.write(what)

    def calls(self, *words):
        """How often it was called with these words in front."""
        try:
            with open(os.path.join(self.dir, "calls"), encoding="ascii") as f:
                return sum(line.split()[:len(words)] == list(words) for line in f)
        except FileNotFoundError:
            return 0


@case
def vip_command_succeeds_fails_and_hangs(bin_dir):
    lab = Lab(bin_dir)
    with lab:
        cloud = Cloud(lab)
        lab.write_config(advert_int="100ms", service=(
            f"vip_backend = command\nvip_command = {cloud.script}\ngarp_refresh = 1s\n"))
        lab.settle()
        wait_until(lambda: lab.a.has_vip(), 5, "acquired")
        assert cloud.calls("a", "acquire", VIP, "eth0") == 1

        # What a check finds missing is acquired again.
        take_off(lab.a)
        wait_until(lambda: cloud.calls("a", "acquire") == 2 and lab.a.has_vip(), 5, "acquired again")
        # A cloud that cannot tell says nothing.
        cloud.mode("a", "check", "fail")
        seen = cloud.calls("a", "check")
        wait_until(lambda: cloud.calls("a", "check") >= seen + 2, 5, "two more checks")
        assert cloud.calls("a", "acquire") == 2 and lab.a.is_active()

        # A release that hangs holds the handover up for a second, and ends when b acts.
        cloud.mode("a", "release", "hang")
        since = now_ns()
        lab.a.supctl_ok("failover")
        lab.wait_active("b")
        took = (now_ns() - since) / 1e6
        print(f"a handover whose release hangs: {took:.0f} ms")
        assert took < 4000, took
        wait_until(lambda: lab.b.has_vip(), 3, "acquired by b")
        wait_until(lambda: not running(cloud), 5, "the release that hung is killed")

        # An acquire that fails: an alarm, the job runs, and it is tried again until it succeeds.
        cloud.mode("a", "release", "")
        cloud.mode("a", "acquire", "fail")
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a")
        wait_until(lambda: "address" in lab.a.alarms(), 5, "the alarm")
        assert not lab.b.has_vip()
        failed = cloud.calls("a", "acquire")
        wait_until(lambda: cloud.calls("a", "acquire") >= failed + 2, 6, "tried again")
        cloud.mode("a", "acquire", "")
        wait_until(lambda: lab.a.has_vip() and "address" not in lab.a.alarms(), 5, "acquired")
        assert lab.a.is_active()


def running(cloud):
    """Something of the script is alive."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if cloud.script.encode() in f.read():
                    return True
        except OSError:
            pass
    return False


@case
def a_stranger_that_claims_the_address_is_answered_and_does_not_win(bin_dir):
    with lab_of(bin_dir, VIP) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        misled(lab, "gw", VIP)
        thief = stranger(lab, "cl", VIP, interval=0.3)
        wait_until(lambda: "conflict" in lab.a.alarms(), 5, "the alarm")
        wait_until(lambda: neighbour_is(lab, "gw", VIP, mac_of(lab, "a")), 15, "a defended it")
        misled(lab, "gw", VIP)
        end(thief)
        # Nobody contradicts any more: a has the last word.
        wait_until(lambda: neighbour_is(lab, "gw", VIP, mac_of(lab, "a")), 10, "a's MAC at the gateway")
        wait_until(lambda: "conflict" not in lab.a.alarms(), 5, "the end of the alarm")
        log = open(lab.a.log, encoding="utf-8").read()
        if f"{VIP} is claimed by" not in log:
            raise Failed("not logged")
        assert lab.a.is_active() and lab.b.state() == "backup"
