# SPDX-License-Identifier: MIT
"""What a person wants: hold, pause, failback, a barred node, no namespace."""
import os
import signal
import subprocess
import time

from case import case
from lab import Lab, active_down_ms, alive, stays, wait_until

ADVERT = "200ms"
ACTIVE_DOWN = active_down_ms(200) / 1000
LEASE_END = 3 + 1.5  # a silent host's address holds a takeover that long, and no longer


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", ADVERT)
    return Lab(bin_dir, **settings).settle()


def idle(lab, *names):
    return not any(lab.nodes[n].program_pids() for n in names)


# ---- on_peer_silence = hold --------------------------------------------------------------------


@case(sanitized=True)
def hold_a_silent_peer_is_taken_over_from_by_a_person_only(bin_dir):
    with settled(bin_dir, service="on_peer_silence = hold\n") as lab:
        lab.a.kill_all()
        wait_until(lambda: "held" in lab.b.alarms(), LEASE_END + ACTIVE_DOWN, "the alarm")
        stays(lambda: idle(lab, "b") and lab.b.state() == "backup",
              2 * ACTIVE_DOWN + LEASE_END, "b waits for a person")
        assert "held" in lab.b.alarms()
        assert lab.b.supctl("failover")[0] == 9, "without --force"
        lab.b.supctl_ok("failover", "--force")
        lab.wait_active("b", 5)
        lab.a.start()
        lab.wait_standby("a")
        assert "held" not in lab.a.alarms() + lab.b.alarms()


@case
def hold_a_planned_handover_still_works(bin_dir):
    with settled(bin_dir, service="on_peer_silence = hold\n") as lab:
        lab.a.supctl_ok("failover")
        lab.wait_active("b", 5)
        lab.wait_standby("a")
        assert lab.b.stop() == 0
        lab.wait_active("a", 5)


@case
def hold_a_host_that_is_cut_off_stops_its_program_and_nobody_starts_it(bin_dir):
    with settled(bin_dir, service="on_peer_silence = hold\n") as lab:
        lab.cut("a")
        wait_until(lambda: idle(lab, "a"), ACTIVE_DOWN + 1, "the isolated program killed")
        stays(lambda: idle(lab, "b"), 2 * ACTIVE_DOWN, "b waits")
        lab.heal()
        wait_until(lambda: lab.a.state() == "backup" and lab.b.state() == "backup", 10,
                   "two in contact that wait for a person")
        lab.a.supctl_ok("failover", "--force")
        wait_until(lab.active_node, 10, "one active")


# ---- pause -------------------------------------------------------------------------------------


def paused(lab, value, *names):
    return all((lab.nodes[n].status() or {}).get("paused") is value for n in names)


@case(sanitized=True)
def paused_service_is_not_restarted_before_resume(bin_dir):
    with settled(bin_dir) as lab:
        lab.b.supctl_ok("pause")
        wait_until(lambda: paused(lab, True, "a", "b"), 5, "paused on both")
        assert lab.a.is_active(), "pause ended something"
        pid = lab.a.kill_program()
        wait_until(lambda: not alive(pid), 2, "its death")
        stays(lambda: idle(lab, "a", "b"), 2 * ACTIVE_DOWN + 1, "nothing restarts it")
        lab.a.supctl_ok("resume")
        wait_until(lambda: paused(lab, False, "a", "b"), 5, "paused on none")
        wait_until(lab.active_node, 10, "active again")


@case
def paused_standby_does_not_take_over_before_resume(bin_dir):
    with settled(bin_dir) as lab:
        lab.a.supctl_ok("pause")
        wait_until(lambda: paused(lab, True, "a", "b"), 5, "paused on both")
        lab.a.kill_all()
        stays(lambda: idle(lab, "b"), 2 * ACTIVE_DOWN + LEASE_END, "no takeover")
        lab.b.supctl("resume")  # its exit status tells that a could not be told
        lab.wait_active("b", 10)
        lab.a.start()
        wait_until(lambda: paused(lab, False, "a", "b"), 10, "a has learned of the resume")
        lab.wait_standby("a")


@case
def pause_survives_an_engine_and_a_restart_of_supd(bin_dir):
    with settled(bin_dir) as lab:
        lab.a.supctl_ok("pause")
        wait_until(lambda: paused(lab, True, "a", "b"), 5, "paused on both")
        for node in (lab.a, lab.b):
            old = node.kill("engine")
            wait_until(lambda n=node, o=old: n.roles().get("engine") not in (None, o), 5, "another")
            wait_until(lambda n=node: paused(lab, True, n.name), 5, f"{node.name} still paused")
        assert lab.a.is_active(), "the active one went on"
        assert lab.b.stop() == 0
        lab.b.start()
        wait_until(lambda: paused(lab, True, "b"), 10, "still paused after a restart of supd")
        lab.b.supctl_ok("resume")
        wait_until(lambda: paused(lab, False, "a", "b"), 5, "paused on none")
        lab.wait_standby("b")
        lab.a.supctl_ok("failover")
        lab.wait_active("b", 5)


@case
def paused_active_that_is_cut_off_still_stops(bin_dir):
    """Pause is for restarts and takeovers; never for what keeps two from running."""
    with settled(bin_dir) as lab:
        lab.a.supctl_ok("pause")
        wait_until(lambda: paused(lab, True, "a", "b"), 5, "paused on both")
        lab.cut("a")
        wait_until(lambda: idle(lab, "a"), ACTIVE_DOWN + 1, "the isolated program killed")
        stays(lambda: idle(lab, "b"), 2 * ACTIVE_DOWN, "no takeover")
        lab.heal()
        lab.b.supctl_ok("resume")
        wait_until(lab.active_node, 10, "one active")


# ---- failback ----------------------------------------------------------------------------------


@case(sanitized=True)
def failback_returns_the_service_after_its_time(bin_dir):
    with settled(bin_dir, service="failback = 3s\n") as lab:
        lab.a.kill_all()
        lab.wait_active("b", 15)
        lab.a.start()
        lab.wait_standby("a")
        stays(lab.b.is_active, 2, "not before its time")
        lab.wait_active("a", 10)
        assert lab.b.state() == "backup"
        stays(lab.a.is_active, 4, "and there it stays")


@case
def failback_waits_for_a_node_that_failed(bin_dir):
    with settled(bin_dir, service="failback = 1s\n", restart_limit="1/60s") as lab:
        lab.a.kill_program()
        lab.wait_active("b", 10)
        assert lab.a.state() == "failed"
        stays(lab.b.is_active, 3, "a failed node gets nothing back")
        lab.a.supctl_ok("reset")
        lab.wait_active("a", 10)


# ---- one node barred ---------------------------------------------------------------------------


@case(sanitized=True)
def stop_here_bars_one_node_until_start(bin_dir):
    with settled(bin_dir) as lab:
        lab.a.supctl_ok("stop", "--here", "sched")
        lab.wait_active("b", 5)
        assert lab.a.state() == "stopped"
        assert lab.b.supctl("failover")[0] == 9, "handed to a node that a person had barred"
        assert lab.a.stop() == 0
        lab.a.start()
        wait_until(lambda: lab.a.state() == "stopped", 10, "barred after a restart of supd")
        stays(lab.b.is_active, 1, "b goes on")
        lab.a.supctl_ok("start", "sched")
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a", 5)


# ---- without a PID namespace -------------------------------------------------------------------


@case
def without_a_pid_namespace_direct_children_die_with_the_keeper(bin_dir):
    with settled(bin_dir, service="pid_namespace = no\n") as lab:
        assert "guard" not in lab.a.roles()
        pid = lab.a.program()["pid"]
        lab.a.kill("keeper")
        wait_until(lambda: not alive(pid), 2, "death of the program")
        lab.wait_active("b", 15)
        lab.a.wait_exit(10)
        lab.a.start()
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a", 5)


@case
def without_a_pid_namespace_an_engine_is_replaced_and_a_tree_is_stopped(bin_dir):
    with settled(bin_dir, service="pid_namespace = no\n", fakesvc="--tree 1 --escape") as lab:
        pids = lab.a.program_pids()
        assert len(pids) == 4, pids
        lab.a.kill("engine", signal.SIGKILL)
        wait_until(lab.a.is_active, 5, "active under another engine")
        assert lab.a.program_pids() == pids
        lab.a.supctl_ok("failover")
        assert not any(alive(p) for p in pids)
        lab.wait_active("b", 5)


# ---- another configuration file ----------------------------------------------------------------


def other_file(lab, seconds):
    """From now on who starts reads a file that differs in what safety does not depend on."""
    lab.write_config(advert_int=ADVERT, wait_for_peer="2s",
                     program=f"stopwaitsecs = {seconds}s\n")


def unfit_codes(node):
    service = node.service()
    return service and [r["code"] for r in service["unfit_because"]]


@case
def a_standby_with_another_file_gets_the_service_by_force_or_when_nobody_else_is_left(bin_dir):
    with settled(bin_dir, wait_for_peer="2s") as lab:
        assert lab.b.stop() == 0
        other_file(lab, 11)
        lab.b.start()
        wait_until(lambda: unfit_codes(lab.b) == ["config_file"], 10, "b softly unfit")
        wait_until(lambda: "config_file" in lab.a.alarms(), 5, "the alarm on a")
        assert lab.a.service()["fit"], "the active node's file is the measure"
        assert "another one on: a)" in lab.b.service()["unfit_because"][0]["text"]
        code, err = lab.a.supctl("failover")
        assert code == 9 and "b has another configuration file" in err, (code, err)
        lab.cut("a")
        lab.wait_active("b", 2 * ACTIVE_DOWN + LEASE_END + 5)
        assert "active_unfit" in lab.b.alarms()
        # Alone, and the file edited once more: there is nobody to be unlike.
        assert lab.b.stop() == 0
        other_file(lab, 12)
        lab.b.start()
        lab.wait_active("b", 2 + 2 * ACTIVE_DOWN + 10)
        lab.heal()
        wait_until(lambda: unfit_codes(lab.a) == ["config_file"], 10, "a softly unfit")
        assert lab.b.supctl("failover")[0] == 9
        lab.b.supctl_ok("failover", "--force")
        wait_until(lambda: "active_unfit" in lab.a.alarms(), 5, "the alarm on a")

# ---- at the same time -----------------------------------------------------------------------------


def at_once(*commands):
    """(node, words) each; started together.  Their exit statuses."""
    running = [subprocess.Popen(
        [node.lab.supctl, "-c", node.lab.config, "--prefix", node.prefix, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for node, words in commands]
    return [process.wait(70) for process in running]


@case
def failover_from_both_hosts_at_once_moves_it_and_loses_nothing(bin_dir):
    with settled(bin_dir, advert_int="100ms") as lab:
        for _ in range(4):
            codes = at_once((lab.a, ["failover"]), (lab.b, ["failover"]))
            assert set(codes) <= {0, 9} and 0 in codes, codes
            active = wait_until(lab.active_node, 5, "one active")
            lab.wait_standby("b" if active is lab.a else "a")


@case
def failover_with_the_peer_down_is_refused_and_changes_nothing(bin_dir):
    with settled(bin_dir) as lab:
        pid = lab.a.program()["pid"]
        lab.b.stop()
        code, text = lab.a.supctl("failover")
        assert code == 9, (code, text)
        assert lab.a.is_active() and lab.a.program()["pid"] == pid


@case
def stop_during_start_and_start_during_stop_end_as_the_last_word_says(bin_dir):
    with settled(bin_dir, fakesvc="--hang 300") as lab:
        for last in ("stop", "start", "stop", "start"):
            first = "start" if last == "stop" else "stop"
            process = subprocess.Popen(
                [lab.supctl, "-c", lab.config, "--prefix", lab.a.prefix, first, "master"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.03)
            lab.a.supctl_ok(last, "master")
            process.wait(30)
            wanted = "stopped" if last == "stop" else "running"
            wait_until(lambda w=wanted: lab.a.program()["state"] == w, 5, f"{wanted} after {last}")
            assert bool(lab.a.program_pids()) == (last == "start")


@case
def program_that_commands_its_own_restart_or_failover_gets_it(bin_dir):
    """supctl dies with the program that called it; what it asked for is done all the same."""
    lab = Lab(bin_dir)
    order = os.path.join(lab.dir, "order")
    script = os.path.join(lab.dir, "program")
    with open(script, "w", encoding="ascii") as f:
        f.write('#!/bin/sh\n"$@" &\nwhile [ ! -e ' + order + '-$SUPD_NODE ]; do sleep 0.02; done\n'
                f'words=$(cat {order}-$SUPD_NODE)\nrm {order}-$SUPD_NODE\n'
                f'{lab.supctl} -c {lab.config} --prefix {lab.dir}/$SUPD_NODE $words\nwait\n')
    os.chmod(script, 0o755)
    os.chmod(lab.dir, 0o777)
    lab.write_config(advert_int=ADVERT)
    with open(lab.config, encoding="ascii") as f:
        text = f.read().replace(f"command = {lab.fakesvc}", f"command = {script} {lab.fakesvc}")
    with open(lab.config, "w", encoding="ascii") as f:
        f.write(text)

    def tell(name, words):
        path = f"{order}-{name}"
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(words)
        os.rename(path + ".new", path)
    with lab:
        lab.settle()
        pids = lab.a.program_pids()
        tell("a", "restart master")
        wait_until(lambda: lab.a.runs_as_another_than(*pids), 10, "restarted")
        assert not any(alive(p) for p in pids), "something of the first run lives"
        lab.wait_standby("b")
        tell("a", "failover sched")
        lab.wait_active("b", 10)
        tell("b", "stop sched")
        wait_until(lambda: lab.a.state() == lab.b.state() == "stopped", 10, "stopped on both")
        assert idle(lab, "a", "b")
