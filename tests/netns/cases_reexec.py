# SPDX-License-Identifier: MIT
"""supctl reexec: supd is replaced in place, whatever it is doing; the programs notice nothing."""
import fcntl
import json
import os
import shutil
import signal

from case import case
from lab import Lab, alive, stays, wait_until

ROLES = ("engine", "net", "scribe")
WORKER = """
[program:worker]
user = nobody
command = /bin/sh -c 'n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.02; done'
"""


def main_pids(node):
    return {p["name"]: p["pid"] for p in node.status()["programs"]}


def reexec(node):
    """supctl reexec: everything is as it was, but for the processes of supd."""
    before, programs = node.roles(), main_pids(node)
    service = node.service()
    text = node.supctl_ok("reexec")
    after = node.roles()
    assert "took over" in text, text
    assert after["keeper"] == before["keeper"], "the keeper has another pid"
    for role in ROLES:
        assert after[role] != before[role], f"the {role} is the old one"
    assert main_pids(node) == programs, "other programs run"
    now = node.service()
    assert (now["state"], now["term"]) == (service["state"], service["term"]), "another state"
    assert now["since_ms"] > service["since_ms"], "the role has changed"


def image(node):
    return json.loads(node.supctl_ok("--json", "version"))["result"]["image"]


def locked(path):
    with open(path, "r+b") as f:
        try:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def numbers(path):
    with open(path, encoding="utf-8") as f:
        return [int(line.split()[1]) for line in f if line.startswith("line ")]


@case(sanitized=True)
def replaced_in_place_active_and_standby(bin_dir):
    with Lab(bin_dir, extra=WORKER) as lab:
        lab.settle()
        held = lab.probe(hold=True)
        wait_until(lambda: held.records("echo"), 5, "an echo")
        standby = lab.b.service()
        for count in (1, 2, 3):
            reexec(lab.a)
            assert image(lab.a) == count
        reexec(lab.b)
        assert lab.b.service()["since_ms"] > standby["since_ms"], "the standby has changed its role"
        assert not held.records("lost"), "a connected client noticed"
        assert lab.a.program("worker")["restarts"]["total"] == 0
        log = os.path.join(lab.a.prefix, "var/log/supd/worker.log")
        seen = numbers(log)[-1]
        wait_until(lambda: numbers(log)[-1] > seen, 5, "more lines")
        lines = numbers(log)
        assert lines == list(range(1, len(lines) + 1)), "lines were lost or repeated"
        lab.a.kill_program()
        wait_until(lambda: lab.a.runs_after_restarts(1), 5, "a restart, counted")
        assert lab.a.program()["last_exit"]["signal"] == "KILL", "the exit status was lost"
        assert "conflict" not in lab.b.alarms()


@case
def a_replaced_supd_ends_and_dies_as_any(bin_dir):
    with Lab(bin_dir, extra=WORKER) as lab:
        lab.settle()
        reexec(lab.a)
        for name in ("run/supd/supd.pid", "var/lib/supd/a.lock"):
            assert locked(os.path.join(lab.a.prefix, name)), f"{name} is free"
        pids = lab.a.program_pids()
        lab.a.supctl_ok("failover")
        lab.wait_active("b")
        assert lab.a.stop() == 0
        assert not lab.cgroups("a") and not any(map(alive, pids))
        reexec(lab.b)
        pids = lab.b.program_pids()
        os.kill(lab.b.role("keeper"), signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), 5, "every program dead with the keeper")


@case
def what_cannot_take_over_changes_nothing(bin_dir):
    with Lab(bin_dir) as lab:
        copy = os.path.join(lab.dir, "supd")
        shutil.copy(lab.supd, copy)
        lab.supd = copy
        lab.settle()

        def refused(why):
            before, programs = lab.a.roles(), main_pids(lab.a)
            code, text = lab.a.supctl("reexec")
            assert code == 1 and why in text, f"exit {code}: {text}"
            assert lab.a.roles() == before and main_pids(lab.a) == programs, "it has changed"
            assert lab.a.is_active() and image(lab.a) == 0

        with open(lab.config, "a", encoding="utf-8") as f:
            f.write("stopwaitsecs = 11s\n")
        refused("has changed")
        with open(lab.config, "a", encoding="utf-8") as f:
            f.write("no_such_key = 1\n")
        refused("unknown key")
        lab.write_config()
        os.rename(copy, copy + ".old")
        refused("No such file")
        with open(copy, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\nexit 3\n")
        os.chmod(copy, 0o755)
        refused("did not say why")
        os.unlink(copy)
        shutil.copy(copy + ".old", copy)
        reexec(lab.a)
        assert lab.b.state() == "backup"


@case
def what_the_next_image_would_not_know_is_refused(bin_dir):
    with Lab(bin_dir, nodes=("a",), extra=WORKER) as lab:
        lab.start_all()
        lab.wait_active("a")
        lab.a.supctl_ok("stop", "worker")
        code, text = lab.a.supctl("reexec")
        assert code == 9 and "worker is stopped" in text, f"exit {code}: {text}"
        lab.a.supctl_ok("start", "worker")
        reexec(lab.a)


@case(quiet=True)
def replaced_in_place_at_100ms(bin_dir):
    with Lab(bin_dir, advert_int="100ms") as lab:
        lab.settle()
        pid = lab.a.program()["pid"]
        for _ in range(3):
            reexec(lab.a)
            stays(lambda: alive(pid) and lab.b.state() == "backup", 0.5, "the role")
