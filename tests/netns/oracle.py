# SPDX-License-Identifier: MIT
"""The judge: reads what fakesvc left behind and says whether two instances ever ran at once.

An instance is one start of the program (node, term, pid, start time) with all that it forked; it
was alive from its first tick to its last.  Over all instances of a service:
  - no two intervals overlap;
  - terms do not go back, and a change of node has a higher term.
"""
import os
from dataclasses import dataclass, field

MARK = "BROKEN PROMISE:"  # before each, in what a failed test prints
TAIL = 400  # bytes that hold the last whole line of a file


@dataclass
class Instance:
    node: str
    term: int
    pid: int
    first: int
    last: int
    processes: set = field(default_factory=set)

    def __str__(self):
        return (f"{self.node} term {self.term} pid {self.pid} "
                f"[{self.first / 1e6:.1f} .. {self.last / 1e6:.1f} ms]")


def read_instances(directory):
    """All instances, by first tick.  Of each file the first and the last line say it all."""
    found = {}
    for name in os.listdir(directory):
        ends = first_and_last_line(os.path.join(directory, name))
        if ends is None:
            continue  # the reader was faster than the writer
        base = name.split(".")[0]
        (node, term, first, pid), (_, _, last, _) = ends
        i = found.setdefault(base, Instance(node, int(term), int(base.split("-")[-2]), int(first),
                                            int(last)))
        i.first, i.last = min(i.first, int(first)), max(i.last, int(last))
        i.processes.add(int(pid))
    return sorted(found.values(), key=lambda i: i.first)


def first_and_last_line(path):
    """The words of both, of the lines that are complete."""
    with open(path, "rb") as f:
        first = f.readline()
        f.seek(max(0, os.fstat(f.fileno()).st_size - TAIL))
        tail = f.read()
    lines = tail[:tail.rfind(b"\n") + 1].splitlines()
    ends = [line.decode().split() for line in (first, lines[-1] if lines else b"")]
    return ends if all(len(words) == 4 for words in ends) else None


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
