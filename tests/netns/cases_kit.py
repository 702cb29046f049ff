# SPDX-License-Identifier: MIT
"""The kit itself, with stand-ins for supd: a judge that cannot say no is worth nothing."""
import os
import subprocess
import time

import oracle
from case import case
from lab import VIP, PORT, Failed, Lab, die_with_parent, now_ns, stays, wait_until


def stand_in(lab, host, term, *options):
    """fakesvc in a node's namespace without supd."""
    return subprocess.Popen(
        ["nsenter", f"--net={lab.ns_path(host)}", lab.fakesvc, "--log", lab.ticks, "--tick", "2",
         "--listen", f"{VIP}:{PORT}", *options], preexec_fn=die_with_parent,
        env={"SUPD_NODE": host, "SUPD_TERM": str(term)})


def end(process):
    process.terminate()
    process.wait(5)


@case
def oracle_sees_two_instances_at_once(bin_dir):
    lab = Lab(bin_dir)
    try:
        first, second = stand_in(lab, "a", 1), stand_in(lab, "b", 2)
        wait_until(lambda: len(lab.instances()) == 2, 5, "two instances")
        time.sleep(0.05)
        end(first)
        end(second)
        assert any("two at once" in v for v in oracle.violations(lab.instances()))
    finally:
        lab.clean_up()


@case
def oracle_sees_a_grandchild_that_outlives_its_instance(bin_dir):
    lab = Lab(bin_dir)
    tree = stand_in(lab, "a", 1, "--tree", "1", "--escape")
    try:
        wait_until(lambda: lab.instances() and len(lab.instances()[0].processes) == 4, 5, "a tree")
        end(tree)
        time.sleep(0.05)
        second = stand_in(lab, "b", 2)
        wait_until(lambda: len(lab.instances()) == 2, 5, "the second")
        time.sleep(0.05)
        end(second)
        assert any("two at once" in v for v in oracle.violations(lab.instances()))
    finally:
        for i in lab.instances():
            for pid in i.processes - {tree.pid}:
                try:
                    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                        ours = lab.ticks in f.read()
                    if ours:
                        os.kill(pid, 9)
                except OSError:
                    pass
        lab.clean_up()


@case
def oracle_sees_a_term_that_went_back(bin_dir):
    lab = Lab(bin_dir)
    try:
        for host, term in (("a", 2), ("b", 1)):
            process = stand_in(lab, host, term)
            wait_until(lambda h=host: any(i.node == h for i in lab.instances()), 5, host)
            end(process)
        assert any("went back" in v for v in oracle.violations(lab.instances()))
    finally:
        lab.clean_up()


@case
def prober_measures_a_cut_at_the_switch(bin_dir):
    with Lab(bin_dir) as lab:
        lab.ip("a", "addr", "add", f"{VIP}/32", "dev", "eth0")
        service, probe = stand_in(lab, "a", 1), lab.probe()
        probe.wait_answer("a")
        since = now_ns()
        lab.cut("a")
        time.sleep(0.3)
        carrier = lab.ip("a", "link", "show", "eth0").stdout
        lab.heal()
        probe.wait_answer("a")
        gap = probe.gap_ms(since)
        if not 290 < gap < 600 or "NO-CARRIER" in carrier:
            raise Failed(f"cut for 300 ms, seen as {gap:.0f} ms; link {carrier}")
        lab.pull_cable("a")
        wait_until(lambda: "NO-CARRIER" in lab.ip("a", "link", "show", "eth0").stdout, 2, "no carrier")
        end(service)


@case
def held_connection_survives_only_where_its_address_stays(bin_dir):
    with Lab(bin_dir) as lab:
        lab.ip("a", "addr", "add", f"{VIP}/32", "dev", "eth0")
        service, held = stand_in(lab, "a", 1), lab.probe(hold=True)
        wait_until(lambda: len(held.records("echo")) > 10, 5, "echoes")
        stays(lambda: not held.records("lost"), 0.2, "the connection")
        end(service)
        wait_until(lambda: held.records("lost"), 5, "a dead connection noticed")
