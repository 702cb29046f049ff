# SPDX-License-Identifier: MIT
"""The network breaks: cables, switches, one direction, one path, the gateway."""
import subprocess
import time

import oracle
from case import case
from lab import ADDRESS, Failed, Lab, active_down_ms, now_ns, stays, wait_until

ADVERT_MS = 100


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", f"{ADVERT_MS}ms")
    return Lab(bin_dir, **settings).settle()


def takeover_after(bin_dir, cut, limit_ms, **settings):
    """a is cut off: its program is dead before b's starts, and b answers within the limit."""
    with settled(bin_dir, **settings) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        since = now_ns()
        cut(lab)
        probe.wait_answer("b", 15)
        gap = probe.gap_ms(since)
        lab.wait_active("b", 5)
        wait_until(lambda: not lab.a.program_pids(), 5, "the isolated host's program killed")
        margin = oracle.margins_ms(lab.instances())
        print(f"a client saw a gap of {gap:.0f} ms (limit {limit_ms:.0f}); "
              f"dead before start by {margin[0]:.0f} ms")
        if gap > limit_ms:
            raise Failed(f"{gap:.0f} ms > {limit_ms:.0f} ms")
        lab.heal()
        lab.plug_cable("a")
        wait_until(lambda: lab.a.state() == "backup", 10, "a backup after the repair")
        stays(lambda: lab.b.is_active() and not lab.a.program_pids(), 2, "b active after the repair")


@case(quiet=True)
def cut_at_the_switch_peer_answers_within_active_down_plus_100_ms(bin_dir):
    takeover_after(bin_dir, lambda lab: lab.cut("a"), active_down_ms(ADVERT_MS) + 100)


@case(quiet=True)
def pulled_cable_peer_answers_within_active_down_plus_100_ms(bin_dir):
    takeover_after(bin_dir, lambda lab: lab.pull_cable("a"), active_down_ms(ADVERT_MS) + 100)


@case(sanitized=True)
def cut_at_the_switch_with_the_default_interval(bin_dir):
    takeover_after(bin_dir, lambda lab: lab.cut("a"), active_down_ms(1000) + 1000,
                   advert_int="1s")


@case
def cut_right_after_the_boot_with_the_default_interval(bin_dir):
    cut_right_after_the_boot(bin_dir, "1s")


@case
def cut_right_after_the_boot_with_a_short_interval(bin_dir):
    cut_right_after_the_boot(bin_dir, "100ms")


def cut_right_after_the_boot(bin_dir, advert_int):
    """Nobody has waited for anything: the first tick of the program is the moment of the cut."""
    with Lab(bin_dir, advert_int=advert_int) as lab:
        lab.start_all()
        first = wait_until(lab.instances, 20, "a first instance", 0.001)[0]
        lab.cut(first.node)
        other = lab.b if first.node == "a" else lab.a
        lab.wait_active(other.name, 20)
        assert not lab.nodes[first.node].program_pids(), "the host that was cut off still runs it"
        lab.heal()
        wait_until(lambda: lab.nodes[first.node].state() == "backup", 10, "a backup again")


@case(sanitized=True)
def isolated_standby_never_starts(bin_dir):
    with settled(bin_dir) as lab:
        lab.cut("b")
        stays(lambda: not any(i.node == "b" for i in lab.instances()) and not lab.b.has_vip(), 3,
              "the isolated standby does nothing")
        assert lab.a.is_active()
        lab.heal()
        lab.wait_standby("b")
        stays(lambda: lab.a.is_active() and lab.b.state() == "backup", 1.5, "after the repair")
        assert {i.node for i in lab.instances()} == {"a"}


@case
def standby_with_a_pulled_cable_never_starts(bin_dir):
    with settled(bin_dir) as lab:
        for _ in range(3):
            lab.pull_cable("b")
            time.sleep(0.7)
            lab.plug_cable("b")
            stays(lab.a.is_active, 1, "a while b's cable is restored")
        lab.wait_standby("b")
        assert {i.node for i in lab.instances()} == {"a"}


@case
def gateway_reboot_changes_nothing(bin_dir):
    with settled(bin_dir) as lab:
        program, term = lab.a.program()["pid"], lab.a.service()["term"]
        lab.cut("gw")
        stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", 3, "roles")
        lab.heal()
        stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", 1.5, "roles after")
        assert lab.a.program()["pid"] == program and lab.a.service()["term"] == term


@case
def active_that_hears_nobody_is_fenced_or_dead_before_the_next(bin_dir):
    with settled(bin_dir) as lab:
        lab.drop('oifname "a"')
        one_way(lab)


@case
def active_that_nobody_hears_is_fenced_or_dead_before_the_next(bin_dir):
    with settled(bin_dir) as lab:
        lab.drop('iifname "a"')
        one_way(lab)


def deaf_standby_starts_anew(lab):
    """b heard a as active, hears nothing of it any more, and has no session with it."""
    assert lab.b.stop() == 0
    lab.b.start()


@case
def deaf_standby_that_starts_anew_does_not_start_the_service(bin_dir):
    with settled(bin_dir, wait_for_peer="1s") as lab:
        lab.drop('oifname "b"')
        deaf_standby_starts_anew(lab)
        wait_until(lambda: "wait_for_peer" in lab.b.alarms(), 10, "b waits for a person")
        stays(lambda: not lab.b.program_pids() and lab.a.is_active(), 2, "nothing starts on b")
        lab.heal()
        lab.wait_standby("b")
        assert lab.a.is_active() and {i.node for i in lab.instances()} == {"a"}


@case
def standby_deaf_to_the_active_alone_that_starts_anew_fences_it_first(bin_dir):
    with settled(bin_dir, wait_for_peer="1s") as lab:
        lab.drop('iifname "a" oifname "b"')
        deaf_standby_starts_anew(lab)
        lab.wait_active("b", 10)
        assert not lab.a.program_pids()
        stays(lambda: lab.b.is_active() and not lab.a.program_pids(), 2, "a hears that b is active")
        lab.heal()
        lab.wait_standby("a")
        assert lab.b.is_active()


def one_way(lab):
    """Whatever is decided, it is one instance at most (the oracle), and one in the end."""
    wait_until(lambda: lab.a.is_active() != lab.b.is_active(), 10, "exactly one")
    stays(lambda: not oracle.violations(lab.instances()), 3, "never both")
    lab.heal()
    wait_until(lambda: lab.a.is_active() != lab.b.is_active() and "backup" in
               (lab.a.state(), lab.b.state()), 15, "one active, one backup")


@case
def vrrp_blocked_alone_is_an_alarm_not_a_takeover(bin_dir):
    with settled(bin_dir) as lab:
        program = lab.a.program()["pid"]
        lab.drop('iifname "a" ip protocol 112', 'iifname "b" ip protocol 112')
        stays(lambda: lab.b.state() == "backup", 3, "b keeps still")
        assert lab.a.program()["pid"] == program
        wait_until(lambda: "vrrp_path" in lab.b.alarms(), 3, "the alarm")
        lab.heal()
        wait_until(lambda: "vrrp_path" not in lab.b.alarms(), 5, "the alarm's end")


@case
def peer_link_blocked_alone_is_an_alarm_not_a_takeover(bin_dir):
    with settled(bin_dir) as lab:
        program = lab.a.program()["pid"]
        lab.drop('iifname "a" udp dport 7112', 'iifname "b" udp dport 7112')
        # Longer than adverts are believed where nobody answers for the address.
        stays(lambda: lab.b.state() == "backup", 4, "b keeps still")
        assert lab.a.program()["pid"] == program
        wait_until(lambda: "peer_link" in lab.b.alarms(), 3, "the alarm")


@case
def dead_supd_on_a_living_host_does_not_block_for_ever(bin_dir):
    """kill -9 of all on the active: its kernel answers for the address until the lease ends."""
    with settled(bin_dir) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        since = now_ns()
        lab.a.kill_all()
        probe.wait_answer("b", 10, since)
        print(f"a client saw a gap of {probe.gap_ms(since):.0f} ms")


@case
def forged_and_foreign_packets_change_nothing(bin_dir):
    """Noise at both doors from a host that is no peer: priority 255 adverts, garbage datagrams."""
    with settled(bin_dir) as lab:
        program = lab.a.program()["pid"]
        noise = (
            "import socket,os,time\n"
            "raw=socket.socket(socket.AF_INET,socket.SOCK_RAW,112)\n"
            "raw.setsockopt(socket.IPPROTO_IP,socket.IP_TTL,255)\n"
            "udp=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "pdu=bytes.fromhex('3133ff01000a5fb60a4d0064')\n"
            "end=time.monotonic()+2\n"
            "while time.monotonic()<end:\n"
            f" for to in ('{ADDRESS['a']}','{ADDRESS['b']}'):\n"
            "  raw.sendto(pdu,(to,0)); udp.sendto(os.urandom(200),(to,7112))\n"
            " time.sleep(0.005)\n")
        child = subprocess.Popen(["nsenter", f"--net={lab.ns_path('cl')}", "/usr/bin/python3", "-c",
                                  noise])
        stays(lambda: lab.a.is_active() and lab.b.state() == "backup", 2.2, "roles under noise")
        assert child.wait(5) == 0
        assert lab.a.program()["pid"] == program
