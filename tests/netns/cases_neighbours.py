# SPDX-License-Identifier: MIT
"""Beside other VRRP routers (peer_link = no): handover in both directions by each way of it."""
import os
import time

from case import case
from lab import now_ns, pick, stays, wait_until
from neighbours import NeighbourLab, Way, all_ways


@case
def keepalived_and_supd_hand_over_to_each_other(bin_dir):
    """supd a, keepalived b: by preemption, by priority 0 and by kill, in both directions."""
    priorities = {"a": 100, "b": 100}
    with NeighbourLab(bin_dir, all_ways(), plain=("b",), node="release_delay = 500ms\n",
                      priorities=priorities) as lab:
        lab.capture("a")
        lab.a.start()
        lab.wait_services("a", "active", 10)

        # It preempts; we step down.
        better = lab.keepalived("b", 150).start()
        better.wait_all("MASTER", 10)
        lab.wait_services("a", "backup", 2)
        lab.wait_addresses("a", 2, set())
        lab.wait_addresses("b", 2)

        # Its priority 0.
        better.stop()
        lab.wait_services("a", "active", 3)
        lab.wait_addresses("a", 2)
        lab.expect_no_refusal("a")

        # Our priority 0: to a lesser one that has only listened so far.
        lesser = lab.keepalived("b", 50).start()
        wait_until(lambda: lesser.all_in("BACKUP"), 5, "keepalived a Backup")
        assert lab.a.stop() == 0
        lesser.wait_all("MASTER", 2)

        # We preempt, where failback says so.
        lab.write_config(node="release_delay = 500ms\n", priorities=priorities,
                         service="failback = 1s\n")
        lab.a.start()
        lesser.wait_all("BACKUP", 10)
        lab.wait_services("a", "active", 4)
        lab.wait_addresses("b", 1, set())

        # kill -9 of all of supd: Active_Down.
        lab.a.kill_all()
        lesser.wait_all("MASTER", 6)
        lab.wait_addresses("a", 5, set())

        # kill -9 of all of keepalived: it leaves its addresses behind, which holds us up, but not
        # for ever.
        lab.a.start()
        lab.wait_services("a", "backup", 5)
        lesser.kill()
        lab.wait_services("a", "active", 12)
        lab.wait_addresses("a", 2)
        lab.expect_no_refusal("a")


MANY = 255


def many_ways():
    return [Way(f"s{i}", i, [f"10.77.1.{i}" if i < 255 else "10.77.2.1"]) for i in range(1, MANY + 1)]


def processor_seconds(node):
    """User and system time of supd's own processes so far."""
    ticks = 0
    for pid in node.roles().values():
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            ticks += sum(int(word) for word in f.read().rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def settled_apart(lab):
    """Every service is active on one host, which alone has its address, and backup on the other:
    on a, by its priority, unless a's disk was too slow for the election."""
    here, there = lab.service_states("a"), lab.service_states("b")
    active = {name for name, state in here.items() if state == "active"}
    return (len(here) == len(there) == len(lab.ways)
            and all({here[n], there[n]} == {"active", "backup"} for n in here)
            and lab.addresses("a") == active and lab.addresses("b") == lab.all_names() - active)


@case
def services_255_settle_and_all_move_when_a_host_is_cut(bin_dir):
    with NeighbourLab(bin_dir, many_ways()) as lab:
        since = time.monotonic()
        lab.start_all()
        wait_until(lambda: settled_apart(lab), 30, "each service active on one host", 0.1)
        print(f"settled after {time.monotonic() - since:.1f} s")
        for way in (lab.ways[0], lab.ways[-1]):
            wait_until(lambda w=way: lab.a.target_answered(w.name), 10, "the gateway answered")
        before, since = processor_seconds(lab.a) + processor_seconds(lab.b), time.monotonic()
        stays(lambda: settled_apart(lab), 3, "each where it is", 0.5)
        used = processor_seconds(lab.a) + processor_seconds(lab.b) - before
        print(f"at rest {100 * used / (time.monotonic() - since):.1f} % of a core, both hosts")
        lab.cut("a")
        since = time.monotonic()
        lab.wait_services("b", "active", 15)
        lab.wait_addresses("b", 3)
        print(f"all moved after {time.monotonic() - since:.1f} s")
        lab.wait_addresses("a", 6, set())
        lab.heal()
        wait_until(lambda: set(lab.service_states("a").values()) == {"backup"}, 10, "a all backup")
        lab.wait_services("b", "active", 1)
        for node in (lab.a, lab.b):
            assert node.status()["supd"]["engine_restarts"] == 0, f"{node.name}: engine replaced"


def running_on(lab):
    """The hosts where an instance has ticked within the last 100 ms."""
    return {i.node for i in lab.instances() if now_ns() - i.last < 100e6}


def wait_running(lab, host, timeout):
    wait_until(lambda: running_on(lab) == {host}, timeout, f"the job on {host} alone", 0.02)


@case(sanitized=True)
def one_keepalived_host_after_the_other_is_replaced(bin_dir):
    """README, "Replacing keepalived, one host at a time"; the job never runs twice."""
    way = next(w for w in all_ways() if w.name == "v2mp")  # as keepalived is usually configured
    with NeighbourLab(bin_dir, [way], plain=("a",), program=True) as lab:
        old_a = lab.keepalived("a", 150, job=True).start()
        old_b = lab.keepalived("b", 100, job=True).start()
        old_a.wait_all("MASTER", 10)
        wait_running(lab, "a", 2)
        old_b.wait_all("BACKUP", 1)

        # b: supd in its place; nothing moves.
        old_b.stop()
        lab.b.start()
        lab.wait_services("b", "backup", 10)
        wait_until(lambda: "active on a" in lab.b.supctl("status")[1], 3, "a seen from b")
        assert running_on(lab) == {"a"}

        # keepalived on a ends; and the way back, in case of second thoughts.
        old_a.stop()
        wait_running(lab, "b", 5)
        back = lab.keepalived("a", 150, nopreempt=True, job=True).start()
        wait_until(lambda: back.all_in("BACKUP"), 5, "keepalived a Backup again")
        lab.b.supctl_ok("stop", "--here", way.name)
        wait_running(lab, "a", 5)
        lab.b.supctl_ok("start", way.name)
        lab.wait_services("b", "backup", 5)
        back.stop()
        wait_running(lab, "b", 5)

        # a: supd with the final file, in which both have a peer link; then b gets that file too.
        lab.plain = ()
        lab.write_config(program=True)
        lab.a.start()
        lab.wait_services("a", "backup", 5)
        assert lab.b.stop() == 0
        lab.b.start()
        wait_running(lab, "a", 10)
        wait_until(lambda: "standby b ready" in lab.a.supctl("status")[1], 10, "b a standby")
        lab.a.supctl_ok("failover", way.name)
        wait_running(lab, "b", 2)
        assert not {"peer_link", "config_differs"} & set(lab.b.alarms()), lab.b.alarms()


def mistaken_ways():
    """What people get wrong between two hosts: (way, what the log must name, or None: it works)."""
    two, password = "vrrp_version = 2\n", "auth_type = pass\nauth_pass = secret12\n"
    told = "version 2\n  authentication {\n    auth_type PASS\n    auth_pass %s\n  }\n"
    return [
        (Way("version", 61, ["10.77.0.61"], "", "version 2\n"), "it is VRRPv2"),
        (Way("password", 62, ["10.77.0.62"], two + password, told % "secret13"), "password"),
        (Way("nopass", 63, ["10.77.0.63"], two, told % "secret12"), "auth_type"),
        (Way("interval", 64, ["10.77.0.64"], two, "version 2\n", advert_int=2), "interval"),
        (Way("slower", 65, ["10.77.0.65"], "", "version 3\n", advert_int=2), None),
        (Way("list", 66, ["10.77.0.66"], "", "version 3\n", told=["10.77.0.66", "10.77.0.67"]), None),
    ]


@case
def a_mistake_beside_keepalived_is_named_and_makes_nobody_active(bin_dir):
    mistakes = mistaken_ways()
    with NeighbourLab(bin_dir, [way for way, _ in mistakes], plain=("b",)) as lab:
        lab.keepalived("b", 50).start().wait_all("MASTER", 12)
        lab.a.start()
        wait_until(lambda: "vrrp_refused" in lab.a.alarms(), 10, "the alarm")
        stays(lambda: "active" not in lab.service_states("a").values(), 6, "nothing active on a", 0.2)
        assert "conflict" not in lab.a.alarms()
        for way, words in mistakes:
            row = pick(lab.a.status(), "services", way.name)
            refused = sum(row["counters"]["rejects"].values())
            differs = sum(row["counters"]["differs"].values())
            assert (refused > 0) == (words is not None), f"{way.name}: {row['counters']}"
            assert (differs > 0) == (words is None), f"{way.name}: {row['counters']}"
            with open(lab.a.log, encoding="utf-8") as f:
                lines = [line for line in f if f"service {way.name}:" in line and "10.77.0.12" in line]
            assert any((words or way.name) in line for line in lines), f"{way.name}: {lines}"


@case
def frr_and_supd_hand_over_to_each_other(bin_dir):
    """Version 3, to the group: all that FRR's vrrpd speaks. Not installed by run.sh: the package
    would start its daemons."""
    priorities = {"a": 100, "b": 100}
    way = next(w for w in all_ways() if w.name == "v3m")
    with NeighbourLab(bin_dir, [way], plain=("b",), priorities=priorities) as lab:
        better, lesser = lab.frr("b", 150), lab.frr("b", 50)
        lab.capture("a")
        lab.a.start()
        lab.wait_services("a", "active", 10)
        better.start().wait_state("Master", 10)  # it preempts
        lab.wait_services("a", "backup", 2)
        better.stop()  # its priority 0
        lab.wait_services("a", "active", 4)
        lab.expect_no_refusal("a")
        lesser.start()
        wait_until(lambda: "vrrp_refused" not in lab.a.alarms(), 2, "no alarm")
        lesser.wait_state("Backup", 5)
        assert lab.a.stop() == 0  # our priority 0
        lesser.wait_state("Master", 3)
        lab.write_config(priorities=priorities, service="failback = 1s\n")
        lab.a.start()  # we preempt
        lesser.wait_state("Backup", 10)
        lab.wait_services("a", "active", 5)
        lab.a.kill_all()  # Active_Down
        lesser.wait_state("Master", 6)
