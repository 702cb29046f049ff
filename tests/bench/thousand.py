#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A thousand programs on one node: until all run, memory of the supervisor, processor time at rest;
supd beside its peers, one after the other in one run.

    thousand.py BUILD [COUNT] [PEERS]
"""
import os
import shutil
import sys
import tempfile
import time

from peers import Runit, S6, SupdNode, Supervisord, unpack

REST = 10  # s


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


def cpu_s(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(contender):
    contender.start()
    try:
        last = max(ns for ns, _ in contender.wait_stamps(contender.count, 120))
        time.sleep(2)  # what is done afterwards
        pids = contender.processes()
        memory = sum(map(pss_mb, pids))
        before = sum(map(cpu_s, pids))
        time.sleep(REST)
        used = (sum(map(cpu_s, pids)) - before) / REST * 100
    finally:
        contender.stop()
    return (last - contender.began) / 1e9, len(pids), memory, used


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    work = tempfile.mkdtemp(prefix="supd-bench-")
    peers = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else os.path.join(work, "peers")
    os.chmod(work, 0o755)
    kinds = [SupdNode] + ([Runit, S6, Supervisord] if unpack(peers) else [])
    print(f"{count} programs{'':24} {'all run':>9} {'processes':>10} {'PSS':>9} {'at rest':>9}")
    try:
        for kind in kinds:
            contender = kind(bin_dir, peers, work, count)
            seconds, processes, memory, used = measure(contender)
            print(f"{contender.name:34} {seconds:7.2f} s {processes:10} {memory:6.1f} MB "
                  f"{used:7.2f} %", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
