# SPDX-License-Identifier: MIT
"""The judge: reads what fakesvc left behind and says whether two instances ever ran at once.

An instance is one start of the program (node, term, pid, start time) with all that it forked; it
was alive from its first tick to its last.  Over all instances of a service:
  - no two intervals overlap;
  - terms do not go back, and a change of node has a higher term.
"""
import os
from dataclasses import dataclass, field


@dataclass
class Instance:
    node: str
    term: int
    pid: int
    first: int
    last: int
    ticks: int = 0
    processes: set = field(default_factory=set)

    def __str__(self):
        return (f"{self.node} term {self.term} pid {self.pid} "
                f"[{self.first / 1e6:.1f} .. {self.last / 1e6:.1f} ms, {self.ticks} ticks]")


def read_instances(directory):
    """All instances, by first tick."""
    found = {}
    for name in os.listdir(directory):
        base = name.split(".")[0]
        with open(os.path.join(directory, name), encoding="utf-8") as f:
            for line in f:
                words = line.split()
                if len(words) != 4 or not line.endswith("\n"):
                    continue  # the reader was faster than the writer
                node, term, at, pid = words[0], int(words[1]), int(words[2]), int(words[3])
                i = found.get(base)
                if i is None:
                    i = found[base] = Instance(node, term, int(base.split("-")[-2]), at, at)
                i.first, i.last = min(i.first, at), max(i.last, at)
                i.ticks += 1
                i.processes.add(pid)
    return sorted(found.values(), key=lambda i: i.first)


def violations(instances):
    """Every broken promise, as a sentence."""
    bad = []
    latest = None  # the instance that has lived longest so far
    for i in instances:
        if latest is not None:
            if i.first <= latest.last:
                bad.append(f"two at once for {(min(latest.last, i.last) - i.first) / 1e6:.1f} ms: "
                           f"{latest} and {i}")
            if i.term < latest.term:
                bad.append(f"the term went back: {latest}, then {i}")
            if i.node != latest.node and i.term <= latest.term:
                bad.append(f"another node without a higher term: {latest}, then {i}")
        if latest is None or i.last > latest.last:
            latest = i
    return bad


def margins_ms(instances):
    """Between the last tick of one instance and the first of the next, where the node changed."""
    return [(b.first - a.last) / 1e6 for a, b in zip(instances, instances[1:]) if a.node != b.node]
