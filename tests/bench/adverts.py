#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Short adverts on a loaded machine: does the service stay where it is?

    adverts.py BUILD [MINUTES] [ADVERT_MS] [BUSY]    10 minutes, 100 ms, one busy process for each CPU

Two hosts in network namespaces.  Told at the end: every change of the active host and every restart,
beside the stalls that the engines themselves noticed and the longest one that this script saw at the
scheduler's hands, which is what explains them.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "netns"))

from lab import Lab, active_down_ms, die_with_parent  # noqa: E402  pylint: disable=wrong-import-position

STEP = 0.01


class Watch(threading.Thread):
    """How late this process is woken, in ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.late = []
        self.start()

    def run(self):
        while True:
            before = time.monotonic()
            time.sleep(STEP)
            late = (time.monotonic() - before - STEP) * 1000
            if late > 20:
                self.late.append(late)


def lines_with(lab, what):
    found = []
    for name in lab.node_names:
        with open(lab.nodes[name].log, encoding="utf-8", errors="replace") as f:
            found += [f"{name}: {line.strip()}" for line in f if re.search(what, line)]
    return found


def sample(lab):
    """(active node, restarts of the program there)"""
    for name in lab.node_names:
        status = lab.nodes[name].status()
        if status and status["services"][0]["state"] == "active":
            return name, status["programs"][0]["restarts"]["total"]
    return None, 0


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    minutes, advert, busy = [float(a) for a in (sys.argv[2:] + ["10", "100", "0"][len(sys.argv) - 2:])]
    busy = int(busy) or os.cpu_count()
    with Lab(bin_dir, advert_int=f"{int(advert)}ms") as lab:
        lab.settle()
        load = [subprocess.Popen(["sh", "-c", "while :; do :; done"], preexec_fn=die_with_parent)
                for _ in range(busy)]
        watch, end = Watch(), time.monotonic() + 60 * minutes
        seen = [sample(lab)]
        while time.monotonic() < end:
            time.sleep(0.5)
            now = sample(lab)
            if now != seen[-1]:
                seen.append(now)
                print(f"{time.strftime('%H:%M:%S')} active and restarts: {now}", flush=True)
        for process in load:
            process.send_signal(signal.SIGKILL)
        status = [lab.nodes[n].status() for n in lab.node_names]
        counters = [s["services"][0]["counters"] if s else {} for s in status]
        anew = [s["supd"]["engine_restarts"] if s else 0 for s in status]
        print(f"hosts whose supd has ended: {status.count(None)}")
        print(f"{minutes:g} min, advert_int {advert:g} ms, {busy} busy processes, "
              f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; "
              f"Active_Down {active_down_ms(advert):.0f} ms")
        print(f"changes: {len(seen) - 1}; engines replaced: {sum(anew)}; by the present ones: adverts "
              f"sent {counters[0].get('adverts_sent')}, heard {counters[1].get('adverts_received')}")
        print(f"stalls seen here: {len(watch.late)} above 20 ms, longest "
              f"{max(watch.late, default=0):.0f} ms")
        for line in lines_with(lab, r"stood still|silent for|deadline|cause (takeover|step_down)"):
            print(line)


if __name__ == "__main__":
    main()
