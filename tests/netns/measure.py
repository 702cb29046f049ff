#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The figures of the README, measured here: measure.py --bin DIR [-n TIMES]

What a client of the virtual address sees (a new connection every 2 ms), and what supd costs.
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import (Lab, active_down_ms, now_ns, wait_until)  # noqa: E402  pylint: disable=wrong-import-position

REST = 60  # seconds for the CPU at rest


def print_row(what, values, more=""):
    print(f"| {what} | {statistics.median(values):.0f} ms | {max(values):.0f} ms | {len(values)} | "
          f"{more} |", flush=True)


def gap_of(lab, probe, act, target, limit=20):
    """The longest time without an answer around act(), after which `target` answers."""
    probe.wait_answer(lab.active_node().name)
    since = now_ns()
    act()
    probe.wait_answer(target, limit, now_ns())
    wait_until(lambda: lab.nodes[target].is_active(), limit, f"{target} active")
    return probe.gap_ms(since)


def planned(lab, probe, times):
    gaps = []
    for i in range(times):
        active, target = (lab.a, "b") if i % 2 == 0 else (lab.b, "a")
        lab.wait_standby(target)
        gaps.append(gap_of(lab, probe, lambda n=active: n.supctl_ok("failover"), target))
    return gaps


def program_killed(lab, probe, times):
    """A pause between two keeps the first restart, which has no delay, from being counted on."""
    gaps = []
    for _ in range(times):
        lab.a.supctl_ok("restart", "master")  # a person's: the count begins anew
        time.sleep(1.5)
        gaps.append(gap_of(lab, probe, lab.a.kill_program, "a"))
    return gaps


def crash(lab, probe, act, mend):
    """One fault that moves the service from a to b, and back to the beginning."""
    gap = gap_of(lab, probe, act, "b")
    mend()
    lab.wait_standby("a")
    lab.b.supctl_ok("failover")
    lab.wait_active("a")
    lab.wait_standby("b")
    return gap


def restart_supd(lab):
    lab.a.wait_exit(10)
    lab.a.start()


def crashes(bin_dir, advert_int, cases, times):
    with Lab(bin_dir, advert_int=advert_int) as lab:
        lab.settle()
        probe = lab.probe()
        down = active_down_ms(1000 if advert_int == "1s" else 100)
        for what, act, mend in cases:
            gaps = [crash(lab, probe, lambda a=act: a(lab), lambda m=mend: m(lab))
                    for _ in range(times)]
            print_row(f"{what}, `advert_int = {advert_int}`", gaps, f"Active_Down {down:.0f} ms")


def cost(lab):
    """At rest: both hosts, then the memory of one that shares no page with the other's supd."""
    nodes = lab.nodes.values()
    pids = {node: list(node.roles().values()) for node in nodes}
    began = {node: sum(map(cpu_seconds, pids[node])) for node in nodes}
    time.sleep(REST)
    for node in nodes:
        used = (sum(map(cpu_seconds, pids[node])) - began[node]) / REST
        print(f"{node.name} ({node.state()}): CPU at rest {used * 100:.2f} % of one", flush=True)
    lab.b.stop()
    pss = {role: pss_kb(pid) for role, pid in lab.a.roles().items()}
    print(f"a alone: PSS {sum(pss.values())} kB {pss}", flush=True)


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


CUT = ("host cut off at the switch", lambda lab: lab.cut("a"), lambda lab: lab.heal())
KEEPER = ("keeper killed", lambda lab: lab.a.kill("keeper"), restart_supd)
ALL = ("all of supd killed", lambda lab: lab.a.kill_all(), restart_supd)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the build directory")
    parser.add_argument("-n", type=int, default=10, help="how often; crashes, which take longer, less often")
    args = parser.parse_args()
    bin_dir = os.path.abspath(args.bin)
    with Lab(bin_dir) as lab:
        lab.settle()
        probe = lab.probe()
        print_row("planned handover", planned(lab, probe, args.n))
        print_row("program killed", program_killed(lab, probe, args.n))
        probe.stop()
        cost(lab)
    crashes(bin_dir, "100ms", (CUT, KEEPER, ALL), (args.n + 1) // 2)
    crashes(bin_dir, "1s", (CUT, KEEPER), (args.n + 3) // 4)


if __name__ == "__main__":
    main()
