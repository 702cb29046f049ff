# SPDX-License-Identifier: MIT
"""Processes that stop for a while, die half-way through a takeover or a release, or lack something."""
import contextlib
import os
import signal
import socket
import subprocess
import time

from case import case
from lab import Failed, Lab, active_down_ms, alive, now_ns, pick, stays, wait_until

ADVERT_MS = 100
ACTIVE_DOWN = active_down_ms(ADVERT_MS) / 1000
ROLES = {"keeper", "engine", "net", "scribe"}


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", f"{ADVERT_MS}ms")
    settings.setdefault("service", "vip_lease = 1s\n")
    return Lab(bin_dir, **settings).settle()


def whole(lab, timeout=15):
    """(active, standby): supd runs on both (started again where it ended), the standby is fit."""
    def look():
        for node in lab.nodes.values():
            if not node.running():
                node.start()
            if not ROLES <= set(node.roles()):
                return None
        for active, standby in ((lab.a, lab.b), (lab.b, lab.a)):
            row = pick(active.status(), "nodes", standby.name)
            if active.is_active() and standby.state() == "backup" and row["reachable"] \
                    and row["services"]["sched"]["fit"]:
                return active, standby
        return None
    return wait_until(look, timeout, "one active, one fit standby", 0.02)


# ---- SIGSTOP ---------------------------------------------------------------------------------------


def stop_for(node, role, seconds):
    pid = node.role(role)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)  # the fault itself
    if alive(pid):
        os.kill(pid, signal.SIGCONT)


def stop_each(lab, roles, factors, active_down):
    for role in roles:
        for factor in factors:
            active, standby = whole(lab)
            stop_for(active, role, factor * active_down)
            whole(lab)
            if factor == factors[-1] and role in ("keeper", "engine"):
                active, standby = whole(lab)
                instances = len(lab.instances())
                stop_for(standby, role, factor * active_down)
                whole(lab)
                assert active.is_active() and len(lab.instances()) == instances, \
                    f"a stopped {role} of the standby moved something"


@case
def each_process_stopped_for_any_time_short_interval(bin_dir):
    """0.5 to 5 times Active_Down, on the active host; the keeper and the engine on the standby too."""
    with settled(bin_dir) as lab:
        stop_each(lab, ("keeper", "engine", "net", "scribe", "guard"), (0.5, 1, 2, 5), ACTIVE_DOWN)


@case
def each_process_stopped_for_active_down_default_interval(bin_dir):
    with settled(bin_dir, advert_int="1s") as lab:
        stop_each(lab, ("keeper", "engine", "net"), (1,), active_down_ms(1000) / 1000)


@case
def supd_that_hung_whole_ends_its_program_the_moment_it_wakes(bin_dir):
    """What tier 0 leaves open: the program runs on while all of supd is stopped.  Not for longer."""
    lab = settled(bin_dir)
    try:
        pids, stopped = lab.a.program_pids(), list(lab.a.roles().values())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        lab.wait_active("b", 15)
        assert not lab.a.has_vip(), "two hosts have the address"
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        woken = now_ns()
        wait_until(lambda: not any(alive(p) for p in pids), 2, "death of the older one")
        last = max(i.last for i in lab.instances() if i.node == "a")
        print(f"the last tick came {(last - woken) / 1e6:.1f} ms after the end of the stall")
        assert last - woken < 100e6
        assert whole(lab)[0] is lab.b
    except Failed:
        lab.keep_evidence()
        raise
    finally:
        lab.clean_up()


# ---- a crash at each step ----------------------------------------------------------------------------


CRASHES = {
    "engine": lambda node: node.kill("engine"),
    "keeper": lambda node: node.kill("keeper"),
    "all": lambda node: node.kill_all(),
}


def failover(node):
    return subprocess.Popen(
        [node.lab.supctl, "-c", node.lab.config, "--prefix", node.prefix, "--timeout", "5s",
         "failover"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)


def in_step(node, state, programs):
    """In that state, with or without a process of the program."""
    return node.state() == state and bool(node.program_pids()) == programs


def crash_in(lab, hold, reached, crash):
    """hold(active, standby) returns who will crash; reached(who): it is in the step."""
    active, standby = whole(lab)
    victim = hold(active, standby)
    command = failover(active)
    try:
        wait_until(lambda: reached(victim), 5, "the step", 0.001)
        pid = CRASHES[crash](victim)
        wait_until(lambda: pid is None or not alive(pid), 5, "its death", 0.001)
    finally:
        command.kill()
        command.wait()
    for node in lab.nodes.values():
        with contextlib.suppress(OSError):
            for pid in node.roles().values() if node.running() else ():
                os.kill(pid, signal.SIGCONT)
    whole(lab)


def hold_role(role, whose):
    def hold(active, standby):
        victim = active if whose == "active" else standby
        victim.kill(role, signal.SIGSTOP)
        return victim
    return hold


# What holds it there for long enough to be hit: a slow program, a net or a keeper that is stopped.
STEPS = {
    "release: the program stops": (lambda active, standby: active,
                                   lambda n: in_step(n, "releasing", True)),
    "release: the address is removed": (hold_role("net", "active"),
                                        lambda n: in_step(n, "releasing", False)),
    "takeover: the address is added": (hold_role("net", "standby"),
                                       lambda n: in_step(n, "taking_over", False)),
}


def crashes_at(bin_dir, step):
    hold, reached = STEPS[step]
    with settled(bin_dir, fakesvc="--hang 200") as lab:
        for crash in CRASHES:
            crash_in(lab, hold, reached, crash)


@case
def crash_while_the_program_stops_for_a_release(bin_dir):
    crashes_at(bin_dir, "release: the program stops")


@case
def crash_while_the_address_is_removed_for_a_release(bin_dir):
    crashes_at(bin_dir, "release: the address is removed")


@case
def crash_while_the_address_is_added_for_a_takeover(bin_dir):
    crashes_at(bin_dir, "takeover: the address is added")


@case
def crash_at_any_moment_of_a_handover(bin_dir):
    """The steps that last for less than can be seen from outside: by time, on both sides."""
    with settled(bin_dir) as lab:
        for i in range(32):
            active, standby = whole(lab)
            victim, role = ((active, "engine"), (standby, "engine"), (active, "keeper"),
                            (standby, "keeper"))[i % 4]
            pid = victim.role(role)
            command = failover(active)
            time.sleep(0.001 * i)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda p=pid: not alive(p), 5, f"death of the {role}", 0.001)
            command.wait(10)
            whole(lab)


# ---- descriptors ----------------------------------------------------------------------------------------



def limit_fds(pid, number):
    """Those that are open stay valid; a new one must be below it."""
    uid = os.stat(f"/proc/{pid}").st_uid  # as its owner: root may lack CAP_SYS_RESOURCE
    subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "prlimit",
                    "--pid", str(pid), f"--nofile={number}:"], check=True)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


@contextlib.contextmanager
def crowd(node, count):
    """That many who connect to the control socket and say nothing."""
    path = os.path.join(node.prefix, "run/supd/supd.sock")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(path)
        yield


@case
def engine_out_of_descriptors_or_crowded_goes_on(bin_dir):
    """Neither spins nor misses an advert; and it answers as soon as it can again."""
    with settled(bin_dir) as lab:
        pid, engine = lab.a.program()["pid"], lab.a.role("engine")
        limit_fds(engine, 3)
        with crowd(lab.a, 80):
            used = cpu_seconds(engine)
            stays(lambda: alive(pid) and lab.b.state() == "backup", 2, "the roles")
            used = cpu_seconds(engine) - used
        assert used < 0.5, f"the engine used {used:.2f} s of CPU in two seconds"
        limit_fds(engine, 1024)
        wait_until(lab.a.is_active, 5, "an answer")
        with crowd(lab.a, 300):
            stays(lambda: alive(pid) and lab.b.state() == "backup", 1.5, "the roles in a crowd")
        wait_until(lab.a.is_active, 5, "an answer after the crowd")
        assert lab.a.program()["pid"] == pid and lab.a.role("engine") == engine


@case
def keeper_out_of_descriptors_says_so_and_hands_over(bin_dir):
    with settled(bin_dir, restart_limit="3/60s") as lab:
        keeper = lab.a.role("keeper")
        limit_fds(keeper, 3)
        lab.a.kill_program()
        wait_until(lambda: lab.a.program()["last_error"], 5, "the reason")
        error = lab.a.program()["last_error"]
        assert error["errno"] == "EMFILE", error
        lab.wait_active("b", 15)
        limit_fds(keeper, 1024)
        lab.a.supctl_ok("reset")
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a", 5)


# ---- the state directory ----------------------------------------------------------------------------------


@case
def state_directory_full_or_read_only(bin_dir):
    """The standby is unfit until it can write; an active one goes on, says so, and hands over."""
    with Lab(bin_dir, advert_int=f"{ADVERT_MS}ms") as lab:
        where = {}
        for name, node in lab.nodes.items():
            where[name] = os.path.join(node.prefix, "var/lib/supd")
            os.makedirs(where[name])
            node.prepare = f"mount -t tmpfs -o size=16k,nr_inodes=8 tmpfs {where[name]}\n" \
                           f"chown nobody:nogroup {where[name]}"
        lab.settle()

        def inside(name, command):
            keeper = lab.nodes[name].process.pid
            done = subprocess.run(["nsenter", f"--mount=/proc/{keeper}/ns/mnt", "sh", "-c",
                                   command], check=False,
                                  capture_output=True)
            return done.returncode == 0

        def something_to_write_down():
            lab.b.supctl("pause")
            lab.b.supctl("resume")

        def unwritable(name, value):
            wait_until(lambda: ("state_file" in lab.nodes[name].alarms()) == value, 10,
                       f"state_file on {name}: {value}")

        def read_only(name):  # over it: the lock that lies there is open for writing
            path = where[name]
            assert inside(name, f"mount --bind {path} {path} && mount -o remount,bind,ro {path}")

        for harm, mend in ((lambda: inside("b", f"dd if=/dev/zero of={where['b']}/fill bs=1k"),
                            lambda: inside("b", f"rm {where['b']}/fill")),
                           (lambda: read_only("b"), lambda: inside("b", f"umount {where['b']}"))):
            harm()
            something_to_write_down()
            unwritable("b", True)
            assert lab.a.supctl("failover")[0] == 9, "handed to a node that cannot write"
            mend()
            unwritable("b", False)
            lab.wait_standby("b")
        read_only("a")
        something_to_write_down()
        unwritable("a", True)
        assert lab.a.is_active()
        lab.b.supctl_ok("failover")
        lab.wait_active("b", 5)
