# SPDX-License-Identifier: MIT
"""The LAN misbehaves: flaps, doubles, reorders, splits where tier 0 looks and where it cannot."""
import socket
import struct
import subprocess
import time

import oracle
from case import case
from lab import ADDRESS, VIP, Failed, Lab, active_down_ms, now_ns, stays, wait_until

ADVERT_MS = 100
LEASE_END = 3 + 1.5


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", f"{ADVERT_MS}ms")
    return Lab(bin_dir, **settings).settle()


def one_active_one_backup(lab):
    return sorted(map(str, (lab.a.state(), lab.b.state()))) == ["active", "backup"] \
        and lab.active_node()


@case
def flapping_cable_of_the_active_moves_the_service_at_most_once_a_flap(bin_dir):
    """Down for 20 ms to 0.6 s, up for as long: who has the service keeps or hands it over, once."""
    with settled(bin_dir) as lab:
        for seconds in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6):
            before = len(lab.instances())
            lab.pull_cable("a")
            time.sleep(seconds)
            lab.plug_cable("a")
            time.sleep(seconds)
            wait_until(lambda: one_active_one_backup(lab), 10, f"whole after {seconds} s")
            moved = len(lab.instances()) - before
            assert moved <= 2, f"{moved} starts after one flap of {seconds} s"
        time.sleep(1)
        lab.wait_standby("a" if lab.b.is_active() else "b")


@case
def short_cuts_of_either_host_are_no_event(bin_dir):
    """Shorter than the budget: nothing moves."""
    with settled(bin_dir, advert_int="1s") as lab:
        pid, term = lab.a.program()["pid"], lab.a.service()["term"]
        for host in ("a", "b", "gw", "a", "b"):
            lab.cut(host)
            time.sleep(0.8)
            lab.heal()
            time.sleep(0.6)
        assert lab.a.is_active() and lab.b.state() == "backup"
        assert lab.a.program()["pid"] == pid and lab.a.service()["term"] == term


@case
def doubled_and_reordered_frames_move_nothing(bin_dir):
    """Up to 60 ms late, each for itself, and one in four twice; a handover works all the same."""
    with Lab(bin_dir, advert_int="300ms") as lab:
        lab.unruly_cable("a", 60, 25)
        lab.settle()
        pid, term = lab.a.program()["pid"], lab.a.service()["term"]
        stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", 5, "the roles")
        assert lab.a.program()["pid"] == pid and lab.a.service()["term"] == term
        alarms = set(lab.a.alarms() + lab.b.alarms())
        assert not alarms, alarms
        for active, other in (("a", "b"), ("b", "a")):
            lab.nodes[active].supctl_ok("failover")
            lab.wait_active(other, 5)
            lab.wait_standby(active)


@case
def interface_that_is_renamed_or_made_anew_hands_over_and_serves_again(bin_dir):
    with settled(bin_dir) as lab:
        for gone, back in (
                (lambda: lab.batch("a", ["link set dev eth0 down", "link set dev eth0 name lan0",
                                         "link set dev lan0 up"]),
                 lambda: lab.batch("a", ["link set dev lan0 down", "link set dev lan0 name eth0",
                                         "link set dev eth0 up",
                                         f"route replace default via {ADDRESS['gw']}"])),
                (lambda: lab.ip("a", "link", "del", "eth0"), lambda: lab.connect("a"))):
            gone()
            lab.wait_active("b", 10)
            wait_until(lambda: not lab.a.program_pids() and not lab.a.has_vip(), 5, "a clean")
            back()
            lab.wait_standby("a")
            lab.b.supctl_ok("failover")
            lab.wait_active("a", 5)
            lab.wait_standby("b")


def announce(lab, host, address):
    """A gratuitous ARP of a host that has the address too."""
    code = (f"import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
            f"s.bind(('eth0', 0))\nmac = s.getsockname()[4]\nip = {socket.inet_aton(address)!r}\n"
            f"s.send(b'\\xff' * 6 + mac + {struct.pack('!HHHBBH', 0x806, 1, 0x800, 6, 4, 1)!r}"
            f" + mac + ip + bytes(6) + ip)\n")
    subprocess.run(["nsenter", f"--net={lab.ns_path(host)}", "/usr/bin/python3", "-c", code],
                   check=True, timeout=10)


@case
def third_host_with_the_address_is_an_alarm_and_delays_a_takeover_at_most(bin_dir):
    with settled(bin_dir) as lab:
        pid = lab.a.program()["pid"]
        lab.ip("cl", "addr", "add", f"{VIP}/32", "dev", "eth0")
        announce(lab, "cl", VIP)
        wait_until(lambda: "conflict" in lab.a.alarms(), 2, "the alarm")
        stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", 1, "the roles")
        assert lab.a.program()["pid"] == pid
        wait_until(lambda: "conflict" not in lab.a.alarms(), 3, "its end")
        since = time.monotonic()
        lab.cut("a")
        lab.wait_active("b", active_down_ms(ADVERT_MS) / 1000 + LEASE_END + 2)
        print(f"taken over {time.monotonic() - since:.1f} s after the cut")
        assert "conflict" in lab.b.alarms(), lab.b.alarms()


@case
def default_interval_blocked_paths_and_a_gateway_reboot_are_no_events(bin_dir):
    """Each for longer than Active_Down, one after the other."""
    with settled(bin_dir, advert_int="1s") as lab:
        pid, term = lab.a.program()["pid"], lab.a.service()["term"]
        for what, alarm in (('iifname { "a", "b" } ip protocol 112', "vrrp_path"),
                            ('iifname { "a", "b" } udp dport 7112', "peer_link"),
                            ('iifname "gw"', None)):
            lab.drop(what)
            if alarm:
                wait_until(lambda a=alarm: a in lab.b.alarms(), 8, alarm)
            else:
                time.sleep(4.5)
            assert lab.a.is_active() and lab.b.state() == "backup", what
            lab.heal()
            wait_until(lambda a=alarm: a not in lab.b.alarms(), 5, f"the end of {alarm}")
        assert lab.a.program()["pid"] == pid and lab.a.service()["term"] == term
        assert {i.node for i in lab.instances()} == {"a"}


@case
def default_interval_one_direction_dead_on_either_side(bin_dir):
    """FENCE arrives or the budget kills: the oracle, and one active in the end."""
    with settled(bin_dir, advert_int="1s") as lab:
        for rule in ('iifname "{}"', 'oifname "{}"'):
            active = lab.active_node().name
            lab.drop(rule.format(active))
            wait_until(lambda: lab.a.is_active() != lab.b.is_active(), 10, "exactly one")
            stays(lambda: not oracle.violations(lab.instances()), 5, f"never both: {rule}")
            lab.heal()
            wait_until(lambda: one_active_one_backup(lab), 15, "one active, one backup")
            lab.wait_standby("a" if lab.b.is_active() else "b")


def one_direction_between_the_hosts(bin_dir, advert_int):
    """Both reach the gateway.  What covers this is FENCE arriving, not time."""
    with settled(bin_dir, advert_int=advert_int) as lab:
        lab.drop('iifname "b" oifname "a"')  # the active one does not hear the standby
        time.sleep(2.5 * active_down_ms(ADVERT_MS) / 1000)
        stays(lambda: lab.a.is_active() and not lab.b.program_pids(), 1, "nothing moves")
        lab.heal()
        lab.wait_standby("b")
        lab.drop('iifname "a" oifname "b"')  # the standby does not hear the active one
        lab.wait_active("b", 10)
        wait_until(lambda: lab.a.state() == "backup" and not lab.a.program_pids(), 2, "a fenced")
        print(f"dead before start by {oracle.margins_ms(lab.instances())[0]:.1f} ms")
        stays(lambda: lab.b.is_active() and not lab.a.program_pids(), 2, "b alone")
        lab.heal()
        lab.wait_standby("a")


@case
def default_interval_one_direction_between_the_hosts_is_fenced(bin_dir):
    one_direction_between_the_hosts(bin_dir, "1s")


@case
def short_interval_one_direction_between_the_hosts_is_fenced(bin_dir):
    one_direction_between_the_hosts(bin_dir, f"{ADVERT_MS}ms")


@case
def ip_cut_between_two_hosts_on_one_lan_is_held_and_said(bin_dir):
    """ARP passes and the gateway answers both: the answer for the address says that a lives."""
    with settled(bin_dir) as lab:
        pid = lab.a.program()["pid"]
        lab.drop('iifname "a" oifname "b" ether type ip', 'iifname "b" oifname "a" ether type ip')
        wait_until(lambda: "active_behind_filter" in lab.b.alarms(), LEASE_END + 4, "the alarm")
        assert not lab.b.program_pids() and lab.b.state() == "backup"
        assert lab.a.is_active() and lab.a.program()["pid"] == pid
        assert {i.node for i in lab.instances()} == {"a"}
        lab.a.kill_all()  # its end ends the hold, without a person
        lab.wait_active("b", LEASE_END + 4)


@case
def two_segments_with_a_gateway_each_are_one_again_after_the_repair(bin_dir):
    """What the guarantee table leaves open at tier 0: both run; the repair ends it at once.

    The higher term stays, is announced anew, and the other one's program dies by itself.
    """
    lab = settled(bin_dir)
    try:
        lab.drop('iifname "a" oifname "b"', 'iifname "b" oifname "a"')
        wait_until(lambda: lab.a.is_active() and lab.b.is_active(), 10, "both active")
        probe = lab.probe()

        def client_asks_a():  # again and again: b announces itself, too
            announce(lab, "a", VIP)
            return probe.last_node() == "a"
        wait_until(client_asks_a, 10, "the client's ARP entry is a's")
        since = now_ns()
        lab.heal()
        wait_until(lambda: lab.a.state() == "backup" and not lab.a.program_pids(), 3,
                   "the older one stops")
        print(f"one again {(now_ns() - since) / 1e6:.0f} ms after the repair")
        assert lab.b.is_active() and not lab.a.has_vip()
        probe.wait_answer("b", 2, since)
        print(f"a client saw a gap of {probe.gap_ms(since):.0f} ms")
        stays(lambda: lab.b.is_active() and lab.a.state() == "backup", 1, "the decision")
        assert probe.last_node() == "b"
    except Failed:
        lab.keep_evidence()
        raise
    finally:
        lab.clean_up()
