#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The ladder with net, scribe and engine of two hosts under valgrind: ladder.py BUILD_DIR

Start, a crash and its restart, kill -9 of the engine, the limit, handover, reset, failover, kill -9
of scribe and net, a host cut off, kill -9 of the keeper, stop, start, end.  Any error or definite
leak that valgrind reports fails it.  Exit 77: cannot run here.
"""
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "netns"))

from lab import Failed, Lab, Skip, wait_until  # noqa: E402  pylint: disable=wrong-import-position

SKIPPED = 77
SLOW = 60  # seconds; what takes milliseconds takes seconds there
OPTIONS = "-q --vgdb=no --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect"


def climb(lab):
    a, b = lab.a, lab.b
    lab.start_all()
    wait_until(a.is_active, SLOW, "a active")
    wait_until(lambda: b.state() == "backup", SLOW, "b backup")
    for node in (a, b):
        wait_until(node.target_answered, SLOW, "the gateway answered")
    lab.wait_standby("b", SLOW)

    a.kill_program()
    wait_until(lambda: a.is_active() and a.program()["restarts"]["total"] == 1, SLOW, "a restart")

    pid = a.program()["pid"]
    old = a.kill("engine")
    wait_until(lambda: a.roles().get("engine", old) != old and a.is_active(), SLOW, "a new engine")
    if a.program()["pid"] != pid:
        raise Failed("the program did not survive the engine")
    lab.wait_standby("b", SLOW)

    a.crash_loop()
    a.kill_program()
    wait_until(b.is_active, SLOW, "b active")
    wait_until(lambda: a.state() == "failed", SLOW, "a latched")

    a.crash_loop(False)
    a.supctl_ok("reset")
    await_standby(b, "a")
    b.supctl_ok("failover")
    wait_until(a.is_active, SLOW, "a active again")
    for node in (a, b):
        node.supctl_ok("status")
        node.supctl_ok("explain")

    a.kill("scribe")
    a.kill("net")
    await_standby(a, "b")

    lab.cut("a")
    wait_until(b.is_active, SLOW, "b active, a cut off")
    lab.heal()
    await_standby(b, "a")

    b.kill("keeper")  # the engine undoes everything by itself
    b.wait_exit(SLOW)
    wait_until(a.is_active, SLOW, "a active after b's keeper died")
    b.start()
    await_standby(a, "b")
    a.supctl_ok("stop", "sched")
    wait_until(lambda: a.state() == b.state() == "stopped", SLOW, "both stopped")
    a.supctl_ok("start", "sched")
    wait_until(lab.active_node, SLOW, "one active")
    for node in (a, b):
        if node.stop(SLOW) != 0:
            raise Failed(f"supd of {node.name} did not end well")


def await_standby(active, other):
    """`active` sees the other one as a fit standby."""
    def ready():
        status = active.status()
        row = next((n for n in status["nodes"] if n["name"] == other), None) if status else None
        return bool(row and row["reachable"] and row["services"]["sched"]["fit"])
    wait_until(ready, SLOW, f"{other} a fit standby")


def reports(directory):
    """What valgrind wrote, by file; its own warnings about system calls are no errors."""
    found, known = {}, ("WARNING: unhandled", "You may be able to write", "Read the file README",
                        "Nevertheless we consider", "it at http", "Use --log-fd")
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as f:
            lines = [line.rstrip() for line in f]
        bad = [line for line in lines if line.strip() and not any(k in line for k in known)]
        if bad:
            found[name] = bad
    return found


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    if shutil.which("valgrind") is None:
        print("valgrind is not installed")
        return SKIPPED
    logs = tempfile.mkdtemp(prefix="supd-valgrind-", dir="/tmp")
    os.environ["SUPD_VALGRIND"] = (f"valgrind {OPTIONS} --log-file={logs}/%p "
                                   f"{bin_dir}/tests/valgrind/role")
    try:
        with Lab(bin_dir, advert_int="3s", supd="engine_timeout = 20s\n") as lab:
            lab.supd = os.path.join(bin_dir, "tests", "valgrind", "supd-valgrind")
            climb(lab)
        found, total = reports(logs), len(os.listdir(logs))
        for name, lines in found.items():
            print(f"---- process {name}")
            print("\n".join(lines[:200]))
        print(f"{total} processes under valgrind, {len(found)} with errors")
        return 1 if found or total < 8 else 0
    except Skip as e:
        print(e)
        return SKIPPED
    finally:
        shutil.rmtree(logs, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
