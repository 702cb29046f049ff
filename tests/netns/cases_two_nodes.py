# SPDX-License-Identifier: MIT
"""Two hosts: the ladder, handover, boot, and what ends one of them."""
import signal
import time

from case import case
from lab import (Lab, alive, now_ns, pick, stays, wait_until)


def settled(bin_dir, **settings):
    return Lab(bin_dir, **settings).settle()


# ---- boot --------------------------------------------------------------------------------------


@case(sanitized=True)
def both_hosts_boot_at_once_the_higher_priority_becomes_active(bin_dir):
    with Lab(bin_dir) as lab:
        began = time.monotonic()
        lab.b.start()  # the lower one is not punished for being first, nor does it win by it
        lab.a.start()
        wait_until(lab.active_node, 15, "one active")
        print(f"active {time.monotonic() - began:.2f} s after both began")
        assert lab.a.is_active(), "b won the election"
        wait_until(lambda: lab.b.state() == "backup", 5, "the other backup")
        stays(lambda: lab.a.is_active() and not lab.b.program_pids(), 2, "the decision")
        assert lab.a.has_vip() and not lab.b.has_vip()
        assert {i.node for i in lab.instances()} == {"a"}


@case
def host_that_boots_alone_waits_then_starts(bin_dir):
    with Lab(bin_dir, wait_for_peer="3s") as lab:
        lab.b.start()
        wait_until(lambda: lab.b.status(), 10, "an answer of supd")
        stays(lambda: not lab.instances(), 2.0, "waiting for the peer")
        lab.wait_active("b", 10)
        lab.a.start()
        wait_until(lambda: lab.a.state() == "backup", 10, "the late one backup")
        stays(lambda: lab.b.is_active(), 2.0, "no fall-back to the higher priority")


@case
def host_that_boots_isolated_does_not_start(bin_dir):
    with Lab(bin_dir, wait_for_peer="1s", advert_int="200ms") as lab:
        lab.cut("b")
        lab.b.start()
        wait_until(lambda: lab.b.status(), 10, "an answer of supd")
        stays(lambda: not lab.instances(), 4.0, "nothing starts behind a cut")
        lab.heal()
        lab.wait_active("b", 10)


# ---- the ladder -----------------------------------------------------------------------------------


@case(sanitized=True)
def ladder_restart_then_handover_then_person(bin_dir):
    with settled(bin_dir, restart_limit="3/60s") as lab:
        lab.a.kill_program()
        wait_until(lambda: lab.a.runs_after_restarts(1), 5, "a restart")
        lab.a.crash_loop()
        lab.a.kill_program()
        lab.wait_active("b", 15)
        wait_until(lambda: lab.a.state() == "failed", 5, "a latched")
        assert not lab.a.has_vip() and not lab.a.program_pids()
        wait_until(lambda: "no_standby" in lab.b.alarms(), 5, "the alarm for the missing standby")

        lab.a.stop()  # the latch is on disk
        lab.a.start()
        wait_until(lambda: lab.a.state() == "failed", 10, "still latched after a restart of supd")

        lab.b.crash_loop()
        lab.b.kill_program()
        wait_until(lambda: lab.b.state() == "failed", 15, "b latched too")
        count = len(lab.instances())
        stays(lambda: len(lab.instances()) == count, 3, "nobody restarts")
        assert "person_needed" in lab.b.alarms(), lab.b.alarms()
        assert lab.b.supctl("is-active", "sched")[0] == 3
        assert "person" in lab.b.supctl("status")[1]

        lab.a.crash_loop(False)
        lab.b.crash_loop(False)
        lab.b.supctl_ok("reset", "--all")
        wait_until(lambda: lab.a.is_active() or lab.b.is_active(), 15, "active after reset")
        wait_until(lambda: "failed" not in (lab.a.state(), lab.b.state()), 5, "no latch left")


@case
def reset_makes_the_failed_node_a_standby(bin_dir):
    with settled(bin_dir) as lab:
        lab.a.crash_loop()
        lab.a.kill_program()
        lab.wait_active("b", 15)
        wait_until(lambda: lab.a.state() == "failed", 5, "a latched")
        code, text = lab.b.supctl("failover")
        assert code == 9, f"a failed peer was accepted: {code} {text}"
        lab.a.crash_loop(False)
        lab.a.supctl_ok("reset")
        lab.wait_standby("a")
        lab.b.supctl_ok("failover")
        lab.wait_active("a", 10)


@case
def failed_alone_keeps_trying(bin_dir):
    """The peer is unreachable, so giving up would help nobody."""
    with settled(bin_dir, advert_int="200ms", program="restart_delay_max = 1s\n") as lab:
        lab.b.stop()
        lab.a.crash_loop()
        lab.a.kill_program()
        wait_until(lambda: lab.a.program()["restarts"]["total"] >= 4, 15, "still trying")
        lab.a.crash_loop(False)
        lab.wait_active("a", 10)


# ---- planned handover --------------------------------------------------------------------------------


@case(quiet=True)
def planned_handover_takes_less_than_50_ms(bin_dir):
    with settled(bin_dir) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        gaps = []
        for caller, target in (("a", "b"), ("a", "a"), ("b", "b"), ("b", "a")):
            since = now_ns()
            lab.nodes[caller].supctl_ok("failover")
            probe.wait_answer(target, 5)
            wait_until(lambda t=target: lab.nodes[t].is_active(), 5, f"{target} active")
            lab.wait_standby("b" if target == "a" else "a")
            gaps.append(probe.gap_ms(since))
        print("a client saw gaps of " + ", ".join(f"{g:.1f}" for g in gaps) + " ms")
        assert max(gaps) < 50, gaps


@case(sanitized=True)
def handover_waits_for_a_slow_stop(bin_dir):
    with settled(bin_dir, fakesvc="--hang 2000 --tree 1 --escape") as lab:
        began = time.monotonic()
        lab.a.supctl_ok("failover")
        assert time.monotonic() - began > 1.5, "it did not wait"
        lab.wait_active("b", 5)


@case(sanitized=True)
def ending_supd_hands_over(bin_dir):
    with settled(bin_dir) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        since = now_ns()
        assert lab.a.stop() == 0
        probe.wait_answer("b", 10)
        lab.wait_active("b", 5)
        print(f"a client saw a gap of {probe.gap_ms(since):.1f} ms")
        assert probe.gap_ms(since) < 500
        assert not lab.a.has_vip()


@case(sanitized=True)
def stop_of_the_service_stops_it_everywhere(bin_dir):
    with settled(bin_dir, advert_int="300ms") as lab:
        lab.b.supctl_ok("stop", "sched")
        wait_until(lambda: lab.a.state() == lab.b.state() == "stopped", 10, "stopped on both")
        assert not lab.a.program_pids() and not lab.a.has_vip()
        count = len(lab.instances())
        stays(lambda: len(lab.instances()) == count, 2, "nothing starts")
        lab.a.supctl_ok("start", "sched")
        wait_until(lambda: lab.a.is_active() or lab.b.is_active(), 10, "one active again")


# ---- crashes of supd --------------------------------------------------------------------------------------


@case(sanitized=True)
def active_loses_each_process_in_turn(bin_dir):
    with settled(bin_dir) as lab:
        program = lab.a.program()["pid"]
        term = lab.a.service()["term"]
        for name in ("engine", "net", "scribe"):
            lab.a.kill(name)
            stays(lambda: alive(program) and not lab.b.program_pids(), 2.5, f"a after its {name} died")
            wait_until(lab.a.is_active, 5, f"a active after its {name} died")
        assert lab.a.program()["pid"] == program and lab.a.service()["term"] == term
        assert lab.b.state() == "backup"


@case
def engine_of_the_active_stopped_nobody_notices(bin_dir):
    with settled(bin_dir) as lab:
        held, probe = lab.probe(hold=True), lab.probe()
        wait_until(lambda: held.records("echo"), 5, "an echo")
        program, term = lab.a.program()["pid"], lab.a.service()["term"]
        old = lab.a.kill("engine", signal.SIGSTOP)
        wait_until(lambda: lab.a.roles().get("engine") not in (None, old), 5, "another engine")
        stays(lambda: alive(program) and lab.b.state() == "backup", 3, "no role change")
        assert lab.a.is_active() and lab.a.program()["pid"] == program
        assert lab.a.service()["term"] == term
        assert not held.records("lost"), held.records("lost")
        assert {n for _, n in probe.answers()} == {"a"}


@case(sanitized=True)
def keeper_of_the_active_killed_peer_takes_over(bin_dir):
    crash_and_takeover(bin_dir, lambda node: node.kill("keeper"))


@case
def keeper_of_the_active_stopped_peer_takes_over(bin_dir):
    crash_and_takeover(bin_dir, lambda node: node.kill("keeper", signal.SIGSTOP))


@case(sanitized=True)
def all_of_supd_on_the_active_killed_peer_takes_over(bin_dir):
    crash_and_takeover(bin_dir, lambda node: node.kill_all())


def crash_and_takeover(bin_dir, crash):
    with settled(bin_dir, fakesvc="--tree 2 --escape --ignore-term") as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        pids = lab.a.program_pids()
        assert len(pids) >= 6, pids
        since = now_ns()
        crash(lab.a)
        wait_until(lambda: not any(alive(p) for p in pids), 4, "death of every grandchild")
        wait_until(lambda: not lab.a.has_vip(), 5, "the kernel took the address away")
        lab.wait_active("b", 15)
        probe.wait_answer("b", 10)
        print(f"a client saw a gap of {probe.gap_ms(since):.0f} ms")
        lab.a.wait_exit(10)
        lab.a.start()
        wait_until(lambda: lab.a.state() == "backup", 15, "a backup after its restart")
        stays(lambda: lab.b.is_active(), 1.5, "no way back by itself")


# ---- the operator's view ---------------------------------------------------------------------------------------


@case
def status_and_explain_say_who_and_why(bin_dir):
    with settled(bin_dir) as lab:
        for node in (lab.a, lab.b):
            status = node.status()
            assert status["schema"] == 1 and status["node"] == node.name
            assert status["cluster"] == lab.id
            service = pick(status, "services", "sched")
            assert service["active_node"] == "a", service
            assert service["vrrp"] == ("active" if node is lab.a else "backup"), service
            assert service["fit"], service
            code, text = node.supctl("status")
            assert code == 0 and text.splitlines()[0] == "sched: active on a; standby b ready", text
            code, text = node.supctl("explain")
            assert code == 0 and text.strip()
        code, text = lab.b.supctl("--json", "explain")
        assert code == 0 and '"verdict"' in text
        assert lab.b.supctl("start", "master")[0] == 9
        assert lab.b.supctl("is-active", "sched")[0] == 3
        assert lab.a.service()["term"] > 0
