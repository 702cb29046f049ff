# SPDX-License-Identifier: MIT
"""The host under supd: its clock steps, its power fails, its CPUs are busy, it has no cgroup v2."""
import contextlib
import mmap
import os
import struct
import subprocess
import time

from case import case
from lab import Lab, active_down_ms, alive, cgroup2_root, die_with_parent, stays, wait_until

HOUR, YEAR = 3600, 366 * 86400


# ---- the wall clock ------------------------------------------------------------------------------


class WallClocks:
    """Of each node: tests/lib/clockstep.c, preloaded, adds what stands in a file."""

    def __init__(self, lab, bin_dir):
        library = os.path.join(bin_dir, "tests", "lib", "clockstep.so")
        self.maps = {}
        for name, node in lab.nodes.items():
            path = os.path.join(lab.dir, f"clock-{name}")
            with open(path, "wb+") as f:
                f.write(bytes(8))
                f.flush()
                self.maps[name] = mmap.mmap(f.fileno(), 8)
            node.environment = {"LD_PRELOAD": library, "CLOCKSTEP": path}

    def step(self, seconds, *names):
        for name in names or self.maps:
            self.maps[name][:] = struct.pack("q", seconds)


@case
def wall_clock_steps_change_nothing(bin_dir):
    """By an hour and by a year, forth and back, on one host and on both."""
    with Lab(bin_dir, advert_int="100ms") as lab:
        clocks = WallClocks(lab, bin_dir)
        lab.settle()
        pid, term = lab.a.program()["pid"], lab.a.service()["term"]
        for seconds, names in ((HOUR, "a"), (-HOUR, "b"), (YEAR, "ab"), (-YEAR, "a"), (0, "ab")):
            clocks.step(seconds, *names)
            stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", 0.8,
                  f"the roles after {seconds} s on {names}")
        assert lab.a.program()["pid"] == pid and lab.a.service()["term"] == term
        clocks.step(YEAR)
        lab.a.supctl_ok("failover")
        lab.wait_active("b")
        year = int(lab.b.service()["last_change"]["at"][:4])
        assert year > time.gmtime().tm_year, f"the clock was not stepped: {year}"
        clocks.step(-HOUR)
        lab.wait_standby("a")
        lab.cut("b")
        lab.wait_active("a", 5)
        clocks.step(0)
        old = lab.a.kill_program()  # restart delays and windows, too
        wait_until(lambda: lab.a.runs_as_another_than(old), 3, "a restart")


# ---- power, CPUs, boot -----------------------------------------------------------------------------


def power_off(lab, name):
    """The cable, and every process of supd and of its programs, at once."""
    lab.pull_cable(name)
    for group in lab.cgroups(name):
        with open(os.path.join(group, "cgroup.kill"), "w", encoding="ascii") as f:
            f.write("1")
    lab.nodes[name].wait_exit(5)


@case
def power_fails_and_comes_back(bin_dir):
    for advert_ms in (1000, 100):
        with Lab(bin_dir, advert_int=f"{advert_ms}ms") as lab:
            lab.settle()
            probe = lab.probe()
            probe.wait_answer("a")
            power_off(lab, "a")
            lab.wait_active("b", active_down_ms(advert_ms) / 1000 + 2)
            probe.wait_answer("b")
            print(f"at {advert_ms} ms a client saw a gap of {probe.gap_ms():.0f} ms")
            assert probe.gap_ms() < active_down_ms(advert_ms) + 500
            lab.plug_cable("a")
            lab.a.start()
            lab.wait_standby("a")
            assert lab.b.is_active() and {i.node for i in lab.instances()} == {"a", "b"}


@case
def hosts_boot_with_every_delay_between_them(bin_dir):
    """Side by side: a second host that comes 0.1 to 5 s after the first changes nothing."""
    delays = (0.1, 0.4, 1.0, 2.0, 3.5, 5.0)
    with contextlib.ExitStack() as stack:
        labs = [stack.enter_context(Lab(bin_dir, wait_for_peer="2s"))
                for _ in delays]
        for lab in labs:
            lab.b.start()
        began = time.monotonic()
        for delay, lab in zip(delays, labs):
            time.sleep(max(0, began + delay - time.monotonic()))
            lab.a.start()
        for delay, lab in zip(delays, labs):
            wait_until(lab.active_node, 15, f"one active (a began {delay} s after b)")
        stays(lambda: all(len({i.node for i in lab.instances()}) == 1 for lab in labs), 1.5,
              "only one ever ran")
        for delay, lab in zip(delays, labs):
            wait_until(lambda l=lab: sorted([l.a.state(), l.b.state()]) == ["active", "backup"], 10,
                       f"one active, one backup ({delay})")


@case
def busy_cpus_move_nothing(bin_dir):
    with Lab(bin_dir) as lab:
        lab.settle()
        pid, term = lab.a.program()["pid"], lab.a.service()["term"]
        busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"], preexec_fn=die_with_parent)
                for _ in range(4 * os.cpu_count())]
        try:
            time.sleep(4)
        finally:
            for process in busy:
                process.kill()
                process.wait()
        assert lab.a.is_active() and lab.b.state() == "backup"
        assert lab.a.program()["pid"] == pid and lab.a.service()["term"] == term


# ---- without cgroup v2 --------------------------------------------------------------------------------


def without_cgroup2(bin_dir, **settings):
    root = cgroup2_root()
    lab = Lab(bin_dir, advert_int="200ms", **settings)
    for node in lab.nodes.values():
        node.prepare = f"umount -l {root}" if root else None
    return lab




@case
def without_cgroup_v2_the_guard_still_takes_everybody_along(bin_dir):
    """Killed keepers, handovers, restarts: as with cgroups, for the namespace is what kills."""
    with without_cgroup2(bin_dir, fakesvc="--tree 1 --escape --ignore-term",
                         program="stopwaitsecs = 300ms\n") as lab:
        lab.settle()
        assert not lab.cgroups("a"), "supd found a cgroup v2 all the same"
        pids = wait_until(lambda: len(ticking(lab)) == 4 and ticking(lab), 5, "the tree")
        lab.a.supctl_ok("failover")
        lab.wait_active("b", 5)
        assert not any(alive(p) for p in pids), "somebody outlived the handover"
        lab.wait_standby("a")
        pids = ticking(lab)
        lab.b.kill("keeper")
        wait_until(lambda: not any(alive(p) for p in pids), 3, "death of every grandchild")
        lab.wait_active("a", 15)
        old = lab.a.kill_program()
        wait_until(lambda: lab.a.runs_as_another_than(old), 5, "a restart")
        old = lab.a.kill("engine")
        wait_until(lambda: lab.a.roles().get("engine") not in (None, old), 5, "another engine")
        wait_until(lab.a.is_active, 5, "active under another engine")
        assert lab.a.stop() == 0
        assert not ticking(lab)


@case
def without_cgroup_v2_and_namespace_direct_children_die(bin_dir):
    """What is left is the process group and PDEATHSIG; --check-config says so."""
    with without_cgroup2(bin_dir, service="pid_namespace = no\n", fakesvc="--tree 1") as lab:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             (lab.a.prepare or ":") + '\nexec "$@"', "sh", "nsenter",
             f"--net={lab.ns_path('a')}", lab.supd, "-c", lab.config, "--prefix", lab.a.prefix,
             "--check-config"], capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0 and "no cgroup v2" in done.stderr, done
        lab.settle()
        pids = wait_until(lambda: len(ticking(lab)) == 3 and ticking(lab), 5, "the tree")
        lab.a.supctl_ok("failover")
        lab.wait_active("b", 5)
        assert not any(alive(p) for p in pids), "somebody outlived the handover"
    with without_cgroup2(bin_dir, service="pid_namespace = no\n") as lab:
        lab.settle()
        pid = lab.a.program()["pid"]
        lab.a.kill("keeper")
        wait_until(lambda: not alive(pid), 3, "death of the direct child")
        lab.wait_active("b", 15)


def ticking(lab):
    """Every process of this lab's programs, wherever it is."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            if words[0] == lab.fakesvc.encode() and alive(int(name)):
                found.append(int(name))
    return found
