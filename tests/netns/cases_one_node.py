# SPDX-License-Identifier: MIT
"""One host: each of supd's processes dies or hangs, the program lives or dies as promised."""
import os
import signal
import time

from case import case
from lab import Failed, Lab, alive, run, stays, wait_until


def one_node(bin_dir, **settings):
    return Lab(bin_dir, nodes=("a",), **settings).settle()


def survives(lab, name, signo, seconds=3.0):
    """A role is killed or stopped: the program keeps its pid, the service its state."""
    node = lab.a
    program, began = node.program()["pid"], node.service()["since_ms"]
    pid = node.kill(name, signo)
    if name != "guard":
        wait_until(lambda: node.roles().get(name) not in (None, pid) or alive(pid) and signo ==
                   signal.SIGSTOP and name in ("net", "scribe"), 5, f"another {name}")
    stays(lambda: alive(program), seconds, f"the program while {name} got signal {signo}")
    if alive(pid):
        os.kill(pid, signal.SIGCONT)
    wait_until(node.is_active, 5, "active again in supctl's eyes")
    assert node.program()["pid"] == program, "another program runs"
    assert node.program()["restarts"]["total"] == 0, "a restart was counted"
    assert node.service()["since_ms"] > began, "the role has changed"
    wait_until(node.has_vip, 5, "the address")


@case(sanitized=True)
def engine_killed_program_keeps_running(bin_dir):
    with one_node(bin_dir) as lab:
        held = lab.probe(hold=True)
        wait_until(lambda: held.records("echo"), 5, "an echo")
        for _ in range(3):
            survives(lab, "engine", signal.SIGKILL, 1.0)
        assert not held.records("lost"), "a connected client noticed"


@case(sanitized=True)
def engine_stopped_is_replaced(bin_dir):
    with one_node(bin_dir) as lab:
        survives(lab, "engine", signal.SIGSTOP)


@case(sanitized=True)
def net_killed_program_and_address_stay(bin_dir):
    with one_node(bin_dir) as lab:
        survives(lab, "net", signal.SIGKILL, 4.0)


@case
def net_stopped_for_a_second_changes_nothing(bin_dir):
    with one_node(bin_dir) as lab:
        survives(lab, "net", signal.SIGSTOP, 1.0)
        stays(lambda: lab.a.has_vip(), 2, "the address afterwards")


@case
def net_stopped_for_longer_than_the_lease_is_overcome(bin_dir):
    """Whatever supd does about it: one instance at most, and in the end one that is served."""
    with one_node(bin_dir) as lab:
        pid = lab.a.kill("net", signal.SIGSTOP)
        time.sleep(6)
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: lab.a.running() and lab.a.is_active() and lab.a.has_vip(), 10,
                   "active with its address")


@case(sanitized=True)
def scribe_killed_no_line_is_lost(bin_dir):
    with one_node(bin_dir, fakesvc="--lines 1000") as lab:
        log = os.path.join(lab.a.prefix, "var/log/supd/master.log")
        wait_until(lambda: os.path.exists(log) and line_count(log) == 1000, 5, "1000 lines")
        survives(lab, "scribe", signal.SIGKILL, 1.0)
        lab.a.kill_program()
        wait_until(lambda: line_count(log) == 2000, 10, "the lines of the next instance")


@case
def scribe_stopped_program_keeps_running(bin_dir):
    with one_node(bin_dir) as lab:
        survives(lab, "scribe", signal.SIGSTOP, 2.0)


def line_count(path):
    with open(path, encoding="utf-8") as f:
        return sum(1 for line in f if line.endswith("\n"))


def all_dead_then_clean_start(lab, pids):
    """Nothing of the program lives; a supd started again begins anew."""
    node = lab.a
    assert pids, "nothing ran"
    node.wait_exit(5)
    wait_until(lambda: not any(alive(p) for p in pids), 3, f"death of all of {pids}")
    node.start()
    wait_until(node.is_active, 15, "active again")
    assert node.program()["pid"] not in pids


@case(sanitized=True)
def keeper_killed_everything_dies(bin_dir):
    with one_node(bin_dir, fakesvc="--tree 2 --escape --ignore-term") as lab:
        pids = wait_until(lambda: len(lab.a.program_pids()) >= 6 and lab.a.program_pids(), 5, "tree")
        lab.a.kill("keeper")
        wait_until(lambda: not any(alive(p) for p in pids), 1, "death of every grandchild")
        all_dead_then_clean_start(lab, pids)


@case
def keeper_stopped_everything_dies(bin_dir):
    with one_node(bin_dir, fakesvc="--tree 2 --escape --ignore-term") as lab:
        pids = wait_until(lambda: len(lab.a.program_pids()) >= 6 and lab.a.program_pids(), 5, "tree")
        lab.a.kill("keeper", signal.SIGSTOP)
        all_dead_then_clean_start(lab, pids)


@case(sanitized=True)
def all_of_supd_killed_everything_dies(bin_dir):
    with one_node(bin_dir, fakesvc="--tree 2 --escape --ignore-term") as lab:
        pids = wait_until(lambda: len(lab.a.program_pids()) >= 6 and lab.a.program_pids(), 5, "tree")
        lab.a.kill_all()
        wait_until(lambda: not any(alive(p) for p in pids), 1, "death of every grandchild")
        all_dead_then_clean_start(lab, pids)


@case
def guard_killed_program_is_started_anew(bin_dir):
    with one_node(bin_dir, fakesvc="--tree 2 --escape") as lab:
        old = lab.a.program_pids()
        lab.a.kill("guard")
        wait_until(lambda: not any(alive(p) for p in old), 2, "death of all its members")
        wait_until(lambda: lab.a.runs_as_another_than(*old), 10, "a new one")
        assert lab.a.program()["restarts"]["total"] >= 1


@case
def guard_stopped_program_keeps_running(bin_dir):
    with one_node(bin_dir) as lab:
        survives(lab, "guard", signal.SIGSTOP, 1.0)


@case(sanitized=True)
def program_killed_is_restarted_at_once(bin_dir):
    with one_node(bin_dir, fakesvc="--tree 1 --escape") as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        old = lab.a.kill_program()
        wait_until(lambda: lab.a.runs_as_another_than(old), 5, "a restart")
        row = lab.a.program()
        assert row["restarts"]["total"] == 1 and row["last_exit"]["signal"] == "KILL", row
        probe.wait_answer("a")
        print(f"a client saw a gap of {probe.gap_ms():.0f} ms")
        assert probe.gap_ms() < 500


@case
def program_stopped_by_a_signal_is_left_alone(bin_dir):
    with one_node(bin_dir) as lab:
        pid = lab.a.program()["pid"]
        os.kill(pid, signal.SIGSTOP)
        stays(lambda: lab.a.program()["pid"] == pid and lab.a.state() == "active", 1, "the program")
        os.kill(pid, signal.SIGCONT)


@case
def program_gets_what_the_file_says(bin_dir):
    lab = Lab(bin_dir, nodes=("a",))
    report = os.path.join(lab.ticks, "report")
    lab.write_config(fakesvc=f"--report {report}",
                     program="group = nogroup\ndirectory = /tmp\numask = 027\n"
                             "environment = COLOUR=\"deep blue\" EMPTY=\n")
    with lab:
        # The report must not be read as ticks: it is moved away as soon as it is there.
        lab.start_all()
        lab.wait_active("a")
        wait_until(lambda: os.path.exists(report), 5, "the report")
        kept = os.path.join(lab.dir, "report")
        os.rename(report, kept)
        with open(kept, encoding="utf-8") as f:
            lines = f.read().splitlines()
        for line in ("uid=65534", "euid=65534", "gid=65534", "groups=65534", "umask=027", "cwd=/tmp",
                     "blocked=", "env:SUPD_NODE=a", "env:SUPD_SERVICE=sched",
                     "env:SUPD_PROGRAM=master", "env:COLOUR=deep blue", "env:EMPTY=",
                     "env:USER=nobody", "env:LOGNAME=nobody"):
            assert line in lines, f"{line} is not in the report: {lines}"
        open_fds = next(x for x in lines if x.startswith("open="))[5:].split()
        assert open_fds in (["0", "1", "2"], ["0", "1", "2", "3"]), f"descriptors leak: {open_fds}"
        assert not any(x.startswith("env:NOTIFY_SOCKET") for x in lines)


@case
def spawn_that_fails_says_where_and_why(bin_dir):
    lab = Lab(bin_dir, nodes=("a",))
    with open(lab.config, encoding="utf-8") as f:
        text = f.read().replace(f"command = {lab.fakesvc}", "command = /nonexistent/program")
    with open(lab.config, "w", encoding="utf-8") as f:
        f.write(text)
    with lab:
        lab.start_all()
        wait_until(lambda: lab.a.program() and lab.a.program()["last_error"], 10, "the error")
        assert lab.a.program()["last_error"] == {"stage": "exec", "errno": "ENOENT"}


@case(sanitized=True)
def stop_start_and_restart_of_a_program(bin_dir):
    with one_node(bin_dir) as lab:
        first = lab.a.program()["pid"]
        lab.a.supctl_ok("restart", "master")
        wait_until(lambda: lab.a.runs_as_another_than(first), 5, "a restart")
        assert lab.a.supctl("is-active", "master")[0] == 0
        lab.a.supctl_ok("stop", "master")
        wait_until(lambda: lab.a.program()["state"] == "stopped", 5, "stopped")
        assert lab.a.supctl("is-active", "master")[0] == 3
        stays(lambda: not lab.a.program_pids(), 1, "a stopped program")
        lab.a.supctl_ok("start", "master")
        wait_until(lambda: lab.a.program()["state"] == "running", 5, "running")


@case
def stop_takes_its_time_then_kills(bin_dir):
    with one_node(bin_dir, fakesvc="--ignore-term", program="stopwaitsecs = 500ms\n") as lab:
        began = time.monotonic()
        lab.a.supctl_ok("stop", "master")
        wait_until(lambda: lab.a.program()["state"] == "stopped", 5, "stopped")
        took = time.monotonic() - began
        assert 0.4 < took < 2.5, took


@case
def worker_without_a_service_runs_and_survives_the_engine(bin_dir):
    lab = Lab(bin_dir, nodes=("a",))
    lab.write_config(extra=f"[program:worker]\ncommand = {lab.fakesvc} --tick 50\nuser = nobody\n")
    with lab:
        lab.start_all()
        lab.wait_active("a")
        pid = wait_until(lambda: lab.a.program("worker")["pid"], 5, "a worker")
        lab.a.kill("engine")
        wait_until(lab.a.is_active, 5, "a new engine")
        assert lab.a.program("worker")["pid"] == pid
        for _ in range(4):
            pid = lab.a.program("worker")["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda p=pid: lab.a.program("worker")["pid"] not in (None, p), 10, "again")


@case
def exit_codes_of_supctl(bin_dir):
    with one_node(bin_dir) as lab:
        for words, code in ((["status"], 0), (["status", "sched"], 0), (["status", "master"], 0),
                            (["status", "mast"], 4), (["is-active", "sched"], 0),
                            (["is-active", "nothing"], 4), (["nonsense"], 2),
                            (["failover"], 9), (["version"], 0), (["explain"], 0)):
            got, text = lab.a.supctl(*words)
            if got != code:
                raise Failed(f"supctl {' '.join(words)}: exit {got}, not {code}: {text}")
            assert text.strip(), f"supctl {words} said nothing"
        lab.a.stop()
        code, text = lab.a.supctl("status")
        assert code == 4 and len(text.strip().splitlines()) == 1, (code, text)


@case
def a_stranger_may_not_command(bin_dir):
    with one_node(bin_dir) as lab:
        sock = os.path.join(lab.a.prefix, "run/supd/supd.sock")
        done = run("setpriv", "--reuid", "1", "--regid", "1", "--clear-groups", lab.supctl,
                   "-s", sock, "stop", "master", check=False)
        assert done.returncode in (4, 5), (done.returncode, done.stderr)
        stays(lambda: lab.a.is_active(), 0.5, "the service")


@case(sanitized=True)
def ended_by_sigterm_leaves_nothing(bin_dir):
    with one_node(bin_dir) as lab:
        pids = lab.a.program_pids() + list(lab.a.roles().values())
        assert lab.a.stop() == 0
        assert not any(alive(p) for p in pids)
        assert not lab.a.has_vip()
