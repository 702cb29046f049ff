# SPDX-License-Identifier: MIT
"""fence_command: nothing starts before a silent node is confirmed off (tier 3)."""
import json
import os
import signal
import time

from case import case
from lab import ADDRESS, Lab, alive, stays, wait_until

# One line for each begin and end: what, when (CLOCK_BOOTTIME, in seconds), pid, and for whom.
SCRIPT = """#!/bin/sh
line() {{
	read -r up _ < /proc/uptime
	echo "$1 $up $$ $SUPD_FENCE_NODE $SUPD_FENCE_ADDRESS $SUPD_NODE $SUPD_SERVICE $SUPD_TERM" \\
		"$SUPD_CAUSE" >> {log}
}}
line begin
{body}
line end
"""
# The power switch of the laboratory: every process of the node's supd and programs at once.
POWER_OFF = """for group in {root}/supd-{lab}-$SUPD_FENCE_NODE-*; do
	echo 1 > "$group/cgroup.kill"
done"""


class Fence:
    """The fence_command of a lab: a script that keeps a record, and does what a test tells it."""

    def __init__(self, lab):
        self.lab = lab
        self.path = os.path.join(lab.dir, "fence")
        self.log = os.path.join(lab.dir, "fenced")
        self.does("sleep 1")

    def does(self, body):
        """From the next run on: replaced, not rewritten, for a shell reads as it goes."""
        new = self.path + ".new"
        with open(new, "w", encoding="ascii") as f:
            f.write(SCRIPT.format(log=self.log, body=body))
        os.chmod(new, 0o755)
        os.rename(new, self.path)

    def powers_off(self):
        root = os.path.dirname(self.lab.cgroups("a")[0])
        self.does(POWER_OFF.format(root=root, lab=self.lab.id))

    def records(self, what):
        """[(seconds, pid, node, address, self, service, term, cause)]"""
        try:
            with open(self.log, encoding="ascii") as f:
                rows = [line.split() for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [(float(r[1]), int(r[2]), *r[3:]) for r in rows if r[0] == what]

    def wait(self, what, count=1, timeout=20):
        return wait_until(lambda: self.records(what)[count - 1:], timeout, f"{what} of the command")


def settled(bin_dir, **settings):
    lab = Lab(bin_dir)
    path = os.path.join(lab.dir, "fence")
    lab.write_config(service=f"fence_command = {path}\n", **settings)
    fence = Fence(lab)
    return lab.settle(), fence


def dies(lab, name):
    """The whole host: its cable, and every process of its supd and programs at once."""
    for group in lab.cgroups(name):
        with open(os.path.join(group, "cgroup.kill"), "w", encoding="ascii") as f:
            f.write("1")
    lab.pull_cable(name)
    lab.nodes[name].wait_exit(5)


def evidence(node, kind):
    rows = json.loads(node.supctl_ok("--json", "explain"))["services"][0]["evidence"]
    return next(e for e in rows if e["kind"] == kind)


def first_tick(lab, name):
    """Seconds, as in the record, or None."""
    return next((i.first / 1e9 for i in lab.instances() if i.node == name), None)


@case(sanitized=True)
def dead_host_is_fenced_once_and_only_then_taken_over_from(bin_dir):
    lab, fence = settled(bin_dir)
    with lab:
        dies(lab, "a")
        fence.wait("begin")
        assert evidence(lab.b, "fence")["detail"].startswith("fence_command is running")
        assert not lab.b.has_vip()
        lab.wait_active("b", 15)
        begins, ends = fence.records("begin"), fence.records("end")
        assert len(begins) == len(ends) == 1, (begins, ends)
        _, _, node, address, self_name, service, term, cause = begins[0]
        assert (node, address, self_name, service, cause) == (
            "a", ADDRESS["a"], "b", "sched", "takeover"), begins
        assert int(term) == lab.b.service()["term"]
        began = wait_until(lambda: first_tick(lab, "b"), 5, "a tick of b")
        assert began >= ends[0][0] - 0.02, "started before the command had ended"
        assert evidence(lab.b, "fence")["detail"].startswith("fence_command has succeeded")
        assert "fence_failed" not in lab.b.alarms()


@case
def planned_handover_and_an_ended_supd_need_no_command(bin_dir):
    lab, fence = settled(bin_dir)
    with lab:
        lab.a.supctl_ok("failover")
        lab.wait_active("b", 10)
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a", 10)
        lab.wait_standby("b")
        lab.a.stop()
        lab.wait_active("b", 10)
        lab.b.kill_program()  # a restart here is no takeover
        wait_until(lambda: lab.b.is_active() and lab.b.program()["restarts"]["total"] == 1, 10,
                   "a restart beside an ended peer")
        assert not fence.records("begin"), fence.records("begin")


@case
def failed_command_starts_nothing_and_is_tried_again(bin_dir):
    lab, fence = settled(bin_dir, advert_int="200ms")
    with lab:
        fence.does("exit 1")
        dies(lab, "a")
        wait_until(lambda: "fence_failed" in lab.b.alarms(), 10, "the alarm")
        fence.wait("begin", 3)
        assert first_tick(lab, "b") is None and not lab.b.has_vip()
        assert evidence(lab.b, "fence")["ok"] is False
        begins = fence.records("begin")
        assert all(later[0] - first[0] > 0.7 for first, later in zip(begins, begins[1:])), begins
        fence.does("exit 0")
        lab.wait_active("b", 10)
        wait_until(lambda: "fence_failed" not in lab.b.alarms(), 5, "the end of the alarm")


@case
def hanging_command_is_killed_after_its_time_out(bin_dir):
    lab, fence = settled(bin_dir)
    with lab:
        fence.does("trap '' TERM; setsid sleep 1000 & sleep 1000")
        dies(lab, "a")
        began, pid, *_ = fence.wait("begin")[0]
        fence.does("exit 0")
        stays(lambda: first_tick(lab, "b") is None and alive(pid), 25, "it waits")
        wait_until(lambda: not alive(pid), 10, "the command killed")
        with open("/proc/uptime", encoding="ascii") as f:
            took = float(f.read().split()[0]) - began
        assert 29.9 < took < 31.5, took
        wait_until(lambda: "fence_failed" in lab.b.alarms(), 5, "the alarm")
        assert first_tick(lab, "b") is None
        lab.wait_active("b", 15)
        assert len(fence.records("begin")) == 2 and not fence.records("end")


@case
def person_with_force_need_not_wait_for_it(bin_dir):
    lab, fence = settled(bin_dir)
    with lab:
        fence.does("exec sleep 1000")
        dies(lab, "a")
        fence.wait("begin")
        lab.b.supctl_ok("failover", "--force")
        lab.wait_active("b", 5)
        assert len(fence.records("begin")) == 1


@case
def engine_that_dies_takes_its_command_along(bin_dir):
    lab, fence = settled(bin_dir)
    with lab:
        fence.does("exec sleep 1000")
        dies(lab, "a")
        _, pid, *_ = fence.wait("begin")[0]
        fence.does("exit 0")
        lab.b.kill("engine")
        wait_until(lambda: not alive(pid), 5, "the command of the dead engine killed")
        lab.wait_active("b", 20)


@case
def two_that_cannot_hear_each_other_and_both_reach_the_gateway(bin_dir):
    """Not covered at tier 0, where both would run: here the one that starts has shot the other."""
    lab, fence = settled(bin_dir)
    with lab:
        fence.powers_off()
        lab.drop('iifname "a" oifname "b"', 'iifname "b" oifname "a"')
        lab.wait_active("b", 20)
        assert len(fence.records("end")) == 1
        lab.a.wait_exit(5)
        lab.heal()
        lab.a.start()
        wait_until(lambda: lab.a.state() == "backup", 15, "a backup once it is back")
        time.sleep(1)
        assert lab.b.is_active()


@case
def supd_that_hangs_whole_while_its_program_runs_is_shot(bin_dir):
    """Tier 0 leaves this open: nobody is awake to kill the program when its deadline comes."""
    lab, fence = settled(bin_dir)
    with lab:
        fence.powers_off()
        for pid in lab.a.roles().values():
            os.kill(pid, signal.SIGSTOP)
        lab.wait_active("b", 30)
        assert len(fence.records("end")) == 1


@case
def host_that_boots_alone_fences_the_other_first(bin_dir):
    lab = Lab(bin_dir)
    with lab:
        lab.write_config(service=f"fence_command = {lab.dir}/fence\n", wait_for_peer="1s",
                         advert_int="200ms")
        fence = Fence(lab)
        lab.b.start()
        fence.wait("begin")
        lab.wait_active("b", 10)
        assert fence.records("begin")[0][2] == "a"
        began = wait_until(lambda: first_tick(lab, "b"), 5, "a tick of b")
        assert began >= fence.records("end")[0][0] - 0.02
