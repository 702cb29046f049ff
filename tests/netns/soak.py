#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random faults for three hosts, and what is owed under them: soak.py --bin DIR MINUTES SEED

Time goes in rounds.  Each applies one to three faults, each for a while; then everything is
repaired, as an operator would (network, dead supd's, latch, stop, pause).

  safety    the oracle, after each round: never two instances, terms grow
  liveness  within OWED seconds of the repair one host is active with the address and its program,
            and the others are backup; and under a fault that leaves a healthy, connected, fit
            majority alone (`bearable`), within OWED seconds of its beginning somebody is active

OWED = wait_for_peer (5 s: all may have restarted) + 2 x vip_lease (the address of a host whose
supd died answers that long) + 4 x Active_Down + 2 s for the processes to start.

What tier 0 does not cover is not done: all of supd stopped by SIGSTOP while its program runs.  A
network that is broken for one pair or in one direction only is a round of its own.

The exit status is 1 after a violation; each is kept, with the logs of its round, below /tmp.
"""
import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import oracle  # noqa: E402  pylint: disable=wrong-import-position
from lab import (Failed, Lab, VIP, active_down_ms, alive, now_ns,  # noqa: E402  pylint: disable=wrong-import-position
                 wait_until)

NAMES = ("a", "b", "c")
ADVERT_MS = 300
ACTIVE_DOWN = active_down_ms(ADVERT_MS, 50) / 1000
WAIT_FOR_PEER = 5
OWED = WAIT_FOR_PEER + 2 * 3 + 4 * ACTIVE_DOWN + 2
ROLES = ("keeper", "engine", "net", "scribe", "guard")


class Soak:
    def __init__(self, lab, seed):
        self.lab, self.random = lab, random.Random(seed)
        self.started = now_ns()
        self.faults = {}  # kind: how often
        self.rounds, self.events, self.violations, self.excused = 0, [], [], []
        self.children, self.stopped, self.due = [], {}, []
        self.judged = 0

    # ---- what is done is written down ----

    def say(self, text):
        self.events.append(f"{now_ns() / 1e6:.1f} {text}")

    def violation(self, text):
        kept = f"/tmp/{self.lab.id}-violation-{len(self.violations) + 1}"
        self.violations.append(f"round {self.rounds}: {text}")
        print(f"VIOLATION in round {self.rounds}: {text}\n  kept in {kept}", flush=True)
        os.mkdir(kept)
        for node in self.lab.nodes.values():
            shutil.copy(node.log, kept)
        with open(os.path.join(kept, "events"), "w", encoding="utf-8") as f:
            f.write("\n".join([text, *self.events, "", *map(str, self.lab.instances()), ""]))

    # ---- helpers of the faults ----

    def node(self):
        return self.lab.nodes[self.random.choice(NAMES)]

    def active_or_any(self):
        """Faults of the active are the interesting ones."""
        last = max(self.lab.instances(), key=lambda i: i.last, default=None)
        return self.lab.nodes[last.node] if last and self.random.random() < 0.6 else self.node()

    def later(self, seconds, function, *args):
        self.due.append((time.monotonic() + seconds, function, args))

    def command(self, node, *words):
        self.say(f"supctl {' '.join(words)} on {node.name}")
        self.children.append(subprocess.Popen(
            [self.lab.supctl, "-c", self.lab.config, "--prefix", node.prefix, "--timeout", "15s",
             *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL))

    def kill_role(self, node, role, signo):
        pid = node.roles().get(role)
        if pid is not None and pid not in self.stopped:
            self.say(f"signal {signo.name} to {role} of {node.name} (pid {pid})")
            os.kill(pid, signo)
        return pid

    def resume_process(self, pid):
        self.stopped.pop(pid, None)
        if alive(pid):
            self.say(f"SIGCONT to {pid}")
            os.kill(pid, signal.SIGCONT)

    # ---- the faults: each begins here, and says whether it is bearable ----

    def fault_kill_a_process(self):
        self.kill_role(self.active_or_any(), self.random.choice(ROLES), signal.SIGKILL)
        return True

    def fault_stop_a_process(self):
        node, role = self.active_or_any(), self.random.choice(ROLES)
        if node.name in self.stopped.values():
            return True  # two at once could be the whole of supd
        pid = self.kill_role(node, role, signal.SIGSTOP)
        if pid is not None:
            self.stopped[pid] = node.name
            self.later(self.random.choice((0.5, 1, 2, 5)) * ACTIVE_DOWN, self.resume_process, pid)
        return True

    def fault_kill_all_of_supd(self):
        node = self.active_or_any()
        if node.running() and node.name not in self.stopped.values():
            self.say(f"kill -9 of all of supd on {node.name}")
            node.kill_all()
        return True

    def fault_end_supd(self):
        node = self.active_or_any()
        self.say(f"SIGTERM to supd on {node.name}")
        node.process.terminate()
        return True

    def fault_kill_the_program(self):
        node = self.active_or_any()
        for pid in node.program_pids()[:1]:
            self.say(f"kill -9 of the program on {node.name} (pid {pid})")
            os.kill(pid, signal.SIGKILL)
        return True

    def fault_program_crashes_on_one_node(self):
        node = self.active_or_any()
        self.say(f"crash loop on {node.name}")
        node.crash_loop()
        for pid in node.program_pids()[:1]:
            os.kill(pid, signal.SIGKILL)
        return True

    def fault_cut_a_host(self):
        self.cut(self.active_or_any().name)
        return True

    def fault_cut_and_back_soon(self):
        self.cut(self.active_or_any().name)
        self.later(self.random.uniform(0.1, 1.5) * ACTIVE_DOWN, self.heal)
        return True

    def fault_pull_a_cable(self):
        name = self.active_or_any().name
        self.say(f"cable of {name} pulled")
        self.lab.pull_cable(name)
        return True

    def fault_gateway_away(self):
        self.cut("gw")
        return True

    def fault_vrrp_blocked(self):
        self.drop(f'iifname "{self.active_or_any().name}" ip protocol 112')
        return True

    def fault_peer_link_blocked(self):
        self.drop(f'iifname "{self.active_or_any().name}" udp dport 7112')
        return True

    def fault_address_removed(self):
        node = self.active_or_any()
        self.say(f"address removed on {node.name}")
        subprocess.run(["ip", "-n", self.lab.ns(node.name), "addr", "del", f"{VIP}/32", "dev",
                        "eth0"], capture_output=True, check=False)
        return True

    def fault_failover(self):
        self.command(self.node(), "failover")
        return True

    def fault_failover_from_two(self):
        for name in self.random.sample(NAMES, 2):
            self.command(self.lab.nodes[name], "failover")
        return True

    def fault_restart_of_the_program(self):
        self.command(self.active_or_any(), "restart", "master")
        return True

    def fault_reset(self):
        self.command(self.node(), "reset", "--all")
        return True

    def fault_stop_here(self):
        self.command(self.active_or_any(), "stop", "--here", "sched")
        return True

    def fault_stop_and_start(self):
        self.command(self.node(), "stop", "sched")
        self.later(self.random.uniform(0, 2), self.command, self.node(), "start", "sched")
        return False

    def fault_pause_and_resume(self):
        self.command(self.node(), "pause")
        self.later(self.random.uniform(0, 3), self.command, self.node(), "resume")
        return False

    # ---- networks that are broken in part: alone in their round ----

    def partial_nobody_hears_one(self):
        self.drop(f'iifname "{self.active_or_any().name}"')
        return False

    def partial_one_hears_nobody(self):
        self.drop(f'oifname "{self.active_or_any().name}"')
        return False

    def partial_one_direction_of_a_pair(self):
        one, other = self.random.sample(NAMES, 2)
        self.drop(f'iifname "{one}" oifname "{other}"')
        return False

    def partial_ip_of_a_pair(self):
        one, other = self.random.sample(NAMES, 2)
        self.drop(f'iifname "{one}" oifname "{other}" ether type ip',
                  f'iifname "{other}" oifname "{one}" ether type ip')
        return False

    def cut(self, host):
        self.say(f"{host} cut off")
        self.lab.cut(host)

    def drop(self, *rules):
        self.say(f"dropped: {'; '.join(rules)}")
        self.lab.drop(*rules)

    def heal(self):
        self.say("network healed")
        self.lab.heal()

    # ---- a round ----

    def kinds(self, prefix):
        return [getattr(self, name) for name in sorted(dir(self)) if name.startswith(prefix)]

    def choose(self):
        if self.random.random() < 0.15:
            return [self.random.choice(self.kinds("partial_"))]
        return self.random.choices(self.kinds("fault_"), k=self.random.choice((1, 1, 1, 2, 2, 3)))

    def round(self):
        self.rounds += 1
        self.say(f"---- round {self.rounds}")
        chosen, began, bearable = self.choose(), now_ns(), True
        for fault in chosen:
            kind = fault.__name__.partition("_")[2]
            self.faults[kind] = self.faults.get(kind, 0) + 1
            bearable = fault() and bearable
            self.pass_time(self.random.uniform(0, 0.8) if len(chosen) > 1 else 0)
        self.pass_time(self.random.uniform(0.2, 3))
        if bearable and len(chosen) == 1:
            self.expect(self.somebody_runs, f"{chosen[0].__name__} alone: nobody active")
        else:
            self.excused.append([began, 0])
        self.repair()
        if not (bearable and len(chosen) == 1):
            self.excused[-1][1] = now_ns()
        self.judge()

    def pass_time(self, seconds):
        limit = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [e for e in self.due if e[0] <= now]:
                self.due.remove(entry)
                entry[1](*entry[2])
            self.children = [c for c in self.children if c.poll() is None]
            if now >= limit:
                return
            time.sleep(0.01)

    def expect(self, condition, what):
        """condition() within OWED seconds, or it is a violation."""
        limit = time.monotonic() + OWED
        while not condition():
            if time.monotonic() >= limit:
                self.violation(f"{what} within {OWED:.1f} s: {self.states()}")
                return
            self.pass_time(0.1)

    def somebody_runs(self):
        return any(i.last > now_ns() - 200_000_000 for i in self.lab.instances())

    def states(self):
        return ", ".join(f"{n.name} {n.state()}" for n in self.lab.nodes.values())

    # ---- repair ----

    def repair(self):
        while self.due or self.children:
            self.pass_time(0.05)
        self.heal()
        for node in self.lab.nodes.values():
            self.lab.plug_cable(node.name)
            if os.path.exists(node.flag("crash")):
                node.crash_loop(False)
        self.pass_time(0.3)  # who is about to end ends
        self.expect(lambda: not any(self.ending(n) for n in self.lab.nodes.values()),
                    "supd did not end")
        for node in self.lab.nodes.values():
            if not node.running():
                self.say(f"supd started on {node.name}")
                node.start()
        self.expect(self.whole, "not whole after the repair")

    def ending(self, node):
        """Told to end, or its keeper is dead and the rest is about to follow."""
        return node.running() and "engine" not in node.roles() and not self.whole_node(node)

    def whole_node(self, node):
        status = node.status()
        if status is None:
            return False
        state = status["services"][0]["state"]
        if status["paused"]:
            self.command(node, "resume")
        elif state == "failed":
            self.command(node, "reset", "--all")
        elif state == "stopped":
            self.command(node, "start", "sched")
        else:
            return state in ("active", "backup")
        self.pass_time(0.2)
        return False

    def whole(self):
        nodes = self.lab.nodes.values()
        for node in nodes:
            if not node.running():
                self.say(f"supd started on {node.name}")
                node.start()
        if not all([self.whole_node(n) for n in nodes]):
            return False
        active = [n for n in nodes if n.is_active()]
        return len(active) == 1 and active[0].has_vip() and \
            not any(n.has_vip() for n in nodes if n is not active[0])

    # ---- the judge, and figures ----

    def judge(self):
        bad = oracle.violations(self.lab.instances())
        for text in bad[self.judged:]:
            self.violation(text)
        self.judged = len(bad)

    def figures(self):
        instances = self.lab.instances()
        moves, outages, excused, latest = 0, [], [], None
        for i in instances:
            if latest is not None and i.first > latest.last:
                moves += i.node != latest.node
                ms = (i.first - latest.last) / 1e6
                other = any(b <= i.first and latest.last <= e for b, e in self.excused)
                (excused if other else outages).append(ms)
            if latest is None or i.last > latest.last:
                latest = i
        return instances, moves, outages, excused

    def report(self):
        instances, moves, outages, excused = self.figures()
        minutes = (now_ns() - self.started) / 60e9
        total = sum(self.faults.values())
        print(f"{minutes:.1f} minutes, {self.rounds} rounds, {total} faults, {len(instances)} "
              f"instances, {moves} moves, {len(self.violations)} violations")
        for name, values in (("one bearable fault at a time", outages),
                             ("several at once, partial networks, stop, pause", excused)):
            if values:
                print(f"outages, {name}: {len(values)}, median {statistics.median(values):.0f} ms, "
                      f"max {max(values):.0f} ms (owed within {OWED * 1000:.0f} ms)")
        for kind, count in sorted(self.faults.items(), key=lambda row: -row[1]):
            print(f"  {count:4d} {kind.replace('_', ' ')}")
        for text in self.violations:
            print(f"VIOLATION {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the build directory")
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(os.path.abspath(args.bin), nodes=NAMES, advert_int=f"{ADVERT_MS}ms",
              wait_for_peer=f"{WAIT_FOR_PEER}s", restart_limit="4/10s",
              fakesvc="--tree 1 --escape", program="restart_delay_max = 1s\n")
    try:
        lab.settle()
        soak = Soak(lab, args.seed)
        print(f"seed {args.seed}, {args.minutes:g} minutes, Active_Down {ACTIVE_DOWN:.2f} s, "
              f"owed within {OWED:.1f} s", flush=True)
        end = time.monotonic() + args.minutes * 60
        try:
            while time.monotonic() < end:
                soak.round()
        finally:
            soak.report()
        return 1 if soak.violations else 0
    finally:
        lab.clean_up()


if __name__ == "__main__":
    sys.exit(main())
