#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From kill -9 of a program to the first instruction of the next one, for supd and its peers, all in
one run and one after the other in each round.

    restart.py BUILD [ROUNDS] [PEERS]     PEERS: where Debian's packages are unpacked (a temporary
                                          directory)
"""
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time

from peers import Bare, Runit, S6, Supd, Supervisord, now_ns, unpack


def one(contender):
    """ms from the kill to the next stamp."""
    stamps = contender.stamps()
    pid = stamps[-1][1]
    if isinstance(contender, Supd):  # in a PID namespace: its number there says nothing
        pid = contender.lab.a.status()["programs"][0]["pid"]
    began = now_ns()
    os.kill(pid, signal.SIGKILL)
    return (contender.wait_stamps(len(stamps) + 1, 10)[-1][0] - began) / 1e6


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    work = tempfile.mkdtemp(prefix="supd-bench-")
    peers = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else os.path.join(work, "peers")
    os.chmod(work, 0o755)
    kinds = [Bare, Supd]
    if unpack(peers):
        kinds += [Runit, S6, Supervisord]
    else:
        print("runit, s6 and supervisord cannot be fetched: without them")
    contenders = [kind(bin_dir, peers, work, 1) for kind in kinds]
    for c in contenders:
        c.start()
    try:
        for c in contenders:
            c.wait_stamps(1)
        values = {c.name: [] for c in contenders}
        for _ in range(rounds):
            time.sleep(1.3)  # ready for longer than the window: supd's count begins anew
            for c in contenders:
                values[c.name].append(one(c))
    finally:
        for c in contenders:
            c.stop()
        shutil.rmtree(work, ignore_errors=True)
    bare = values[Bare.name]
    print(f"{'kill -9 to the next first instruction':40} {'min':>8} {'median':>8} {'max':>8} ms   "
          f"{'min':>6} {'median':>6} x bare")
    for name, v in values.items():
        print(f"{name:40} {min(v):8.2f} {statistics.median(v):8.2f} {max(v):8.2f}      "
              f"{min(v) / min(bare):6.2f} {statistics.median(v) / statistics.median(bare):6.2f}")


if __name__ == "__main__":
    main()
