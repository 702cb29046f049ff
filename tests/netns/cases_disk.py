# SPDX-License-Identifier: MIT
"""Disks that hang, are full, cannot be written, or hold what they should not."""
import os
import stat
import subprocess

from case import case
from lab import Lab, Failed, die_with_parent, stays, wait_until


def state_dir(node):
    return os.path.join(node.prefix, "var/lib/supd")


def unfit_because(node):
    service = node.service()
    return [u["code"] for u in service["unfit_because"]] if service else []


def refuses_and_serves(lab):
    """b cannot keep its state: a goes on, hands nothing over to b, and b takes nothing."""
    wait_until(lambda: "state_file" in unfit_because(lab.b), 10, "b unfit: state_file")
    code, text = lab.a.supctl("failover", "sched")
    if code != 9:
        raise Failed(f"failover to a node without a state file: exit {code}: {text}")
    assert lab.a.is_active()
    lab.a.kill_all()
    stays(lambda: not lab.b.program_pids() and lab.b.status(), 4, "b takes nothing over")


def hang(node):
    """An open that does not come back: a FIFO without a reader in place of the temporary file."""
    os.makedirs(state_dir(node), exist_ok=True)
    fifo = os.path.join(state_dir(node), f"{node.name}.state.tmp")
    os.mkfifo(fifo, 0o666)
    os.chmod(fifo, 0o666)
    return fifo


@case
def state_on_a_hanging_disk_keeps_a_standby_from_taking_over(bin_dir):
    with Lab(bin_dir, advert_int="200ms") as lab:
        fifo = hang(lab.b)
        lab.start_all()
        lab.wait_active("a", 15)
        refuses_and_serves(lab)
        assert stat.S_ISFIFO(os.stat(fifo).st_mode)
        fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # the disk answers: with an error
        wait_until(lambda: not os.path.exists(fifo), 10, "the scribe goes on")
        os.close(fd)
        lab.wait_active("b", 15)


@case
def active_on_a_hanging_disk_goes_on_and_hands_over(bin_dir):
    with Lab(bin_dir, advert_int="200ms") as lab:
        lab.settle()
        pid = lab.a.program()["pid"]
        hang(lab.a)
        lab.b.supctl_ok("pause")  # something that a must write down
        lab.b.supctl_ok("resume")
        wait_until(lambda: "state_file" in lab.a.alarms(), 10, "the alarm for the state file")
        stays(lambda: lab.a.is_active() and lab.a.program()["pid"] == pid, 2, "a active")
        lab.b.supctl_ok("failover", "sched")
        assert lab.b.is_active() and not lab.a.program_pids()


@case
def state_that_cannot_be_written_makes_unfit_until_it_can(bin_dir):
    with Lab(bin_dir, advert_int="200ms") as lab:
        lab.settle()
        os.chown(state_dir(lab.b), 0, 0)
        lab.a.supctl_ok("pause")  # something that b must write down
        lab.a.supctl_ok("resume")
        refuses_and_serves(lab)
        assert "state_file" in lab.b.alarms(), lab.b.alarms()
        os.chown(state_dir(lab.b), 65534, 65534)
        lab.wait_active("b", 15)


@case
def damaged_state_is_not_taken_for_none(bin_dir):
    with Lab(bin_dir, advert_int="200ms", wait_for_peer="2s") as lab:
        lab.settle()
        lab.b.stop()
        path = os.path.join(state_dir(lab.b), "b.state")
        with open(path, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write(text.replace("term_seen=", "term_seen=1"))
        lab.b.start()
        refuses_and_serves(lab)
        assert "state_file" in lab.b.alarms(), lab.b.alarms()
        with open(lab.b.log, encoding="utf-8") as f:
            assert f"{path}:" in f.read(), "the log names the file and the line"
        with open(path, encoding="ascii") as f:
            assert "term_seen=1" in f.read(), "the evidence is not overwritten"
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        lab.wait_active("b", 15)


@case
def logs_on_a_full_disk_cost_lines_and_nothing_else(bin_dir):
    with Lab(bin_dir, program="stdout_logfile = /dev/full\n",
             fakesvc="--lines 100000") as lab:
        lab.start_all()
        lab.wait_active("a", 15)
        pid = lab.a.program()["pid"]
        stays(lambda: lab.a.program()["pid"] == pid, 3, "the program runs on")


def another_supd(lab, where, *words):
    """A second supd for node a, on the same host: (process, file of its log)."""
    log = os.path.join(lab.dir, f"another-{where}.log")
    with open(log, "ab") as out:
        process = subprocess.Popen(
            ["nsenter", f"--net={lab.ns_path('a')}", lab.supd, "-n", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_parent)
    return process, log


@case
def another_supd_for_the_same_node_starts_nothing(bin_dir):
    """One with another run_dir, and one with another prefix: neither finds the first one's lock."""
    with Lab(bin_dir, nodes=("a",), advert_int="200ms", wait_for_peer="1s") as lab:
        lab.settle()
        elsewhere = lab.config + ".elsewhere"
        with open(lab.config, encoding="utf-8") as f:
            text = f.read()
        with open(elsewhere, "w", encoding="utf-8") as f:
            f.write(text.replace("[supd]\n", "[supd]\nrun_dir = /run/elsewhere\n"))
        process, log = another_supd(lab, "run_dir", "-c", elsewhere, "--prefix", lab.a.prefix)
        try:
            assert process.wait(10) != 0
            with open(log, encoding="utf-8") as f:
                text = f.read()
            assert "var/lib/supd" in text and "another supd" in text, text
        finally:
            process.kill()
            process.wait()
        process, log = another_supd(lab, "prefix", "-c", lab.config, "--prefix",
                                    os.path.join(lab.dir, "prefix"))
        try:
            def says_why():
                with open(log, encoding="utf-8") as f:
                    return "is another supd running" in f.read()
            wait_until(says_why, 10, "the second one says why it does nothing")
            stays(lambda: len(lab.instances()) == 1 and lab.a.is_active(), 4, "one instance")
        finally:
            process.terminate()
            process.wait(20)
