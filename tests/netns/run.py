#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests of this directory: run.py --bin BUILD_DIR [--sanitized] [-j N] [NAME…]

Each test is a function marked @case in a cases_*.py and runs in a process of its own.  Output is
TAP: `ok N name # seconds`, `not ok N name` with the test's output as comments, `ok N name # SKIP
why`.  --json FILE writes {"name": "pass" | "fail" | "skip"}.  --sanitized runs the subset that is
meant for binaries with sanitizers, whose limits of time are not those of the product.

A machine that stands still for a tenth of a second moves services whose adverts come that often,
and says nothing about supd. A test that failed while this process itself was late by STALL_MS is
run again at the end, alone, and counts as that goes; what the oracle saw is never excused.
"""
import argparse
import concurrent.futures
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import oracle  # noqa: E402  pylint: disable=wrong-import-position
from lab import Skip, sweep  # noqa: E402  pylint: disable=wrong-import-position

SKIPPED = 77
STALL_MS = 60
LIMIT = 150  # seconds for one test: what hangs has failed
MODULES = sorted(f[:-3] for f in os.listdir(HERE) if f.startswith("cases_") and f.endswith(".py"))


def all_cases():
    """{name: function}, in the order of the source."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        functions = [f for _, f in inspect.getmembers(module, inspect.isfunction)
                     if getattr(f, "is_case", False) and f.__module__ == module.__name__]
        for f in sorted(functions, key=lambda f: f.__code__.co_firstlineno):
            found[f.__name__] = f
    return found


def run_here(name, bin_dir):
    """Child side: the exit status says how it went."""
    # A signal unwinds like an exception, so that the lab's clean-up runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        all_cases()[name](bin_dir)
        return 0
    except Skip as e:
        print(e)
        return SKIPPED
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stdout)
        return 1


class Stalls(threading.Thread):
    """How late a thread of this process wakes up: the machine stood still, or had no processor."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen = []  # (end, ms)
        self.start()

    def run(self):
        while True:
            due = time.monotonic() + 0.01
            time.sleep(0.01)
            now = time.monotonic()
            if now - due > STALL_MS / 1000:
                self.seen.append((now, (now - due) * 1000))

    def longest_since(self, began):
        return max((ms for end, ms in self.seen if end >= began), default=0)


def run_child(name, bin_dir):
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), "--bin", bin_dir, "--only", name],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    try:
        output, _ = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        output = end_child(child) + f"\nstopped after {LIMIT} s\n"
    verdict = {0: "pass", SKIPPED: "skip"}.get(child.returncode, "fail")
    return verdict, output, time.monotonic() - began


def end_child(child):
    """Time for its own clean-up, then by force, and what it left behind is taken away here."""
    child.terminate()
    try:
        return child.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        child.kill()
    output = child.communicate()[0]
    sweep(child.pid)
    return output


def report(number, name, verdict, output, seconds):
    if verdict == "skip":
        print(f"ok {number} {name} # SKIP {output.strip()}")
        return
    print(f"{'ok' if verdict == 'pass' else 'not ok'} {number} {name} # {seconds:.1f} s")
    if output and verdict == "fail":
        for line in output.rstrip().splitlines():
            print("#   " + line)
    elif output:
        for line in output.rstrip().splitlines():
            print("#   " + line[:200])


def excused(verdict, output, stall):
    return verdict == "fail" and stall > 0 and oracle.MARK not in output


def run_all(names, jobs, bin_dir, results, stalls=None):
    """Returns the names of those that failed in a stall."""
    again = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        running = {pool.submit(run_child, name, bin_dir): name for name in names}
        for future in concurrent.futures.as_completed(running):
            name = running[future]
            verdict, output, seconds = future.result()
            stall = stalls.longest_since(time.monotonic() - seconds) if stalls else 0
            if excused(verdict, output, stall):
                print(f"# {name}: failed while the machine stood still for {stall:.0f} ms")
                again.append(name)
                continue
            results[name] = verdict
            report(len(results), name, verdict, output, seconds)
            sys.stdout.flush()
    return again


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the build directory")
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("-j", type=int, default=2)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    bin_dir = os.path.abspath(args.bin)
    if args.only:
        return run_here(args.only, bin_dir)
    cases = all_cases()
    unknown = [n for n in args.names if n not in cases]
    if unknown:
        parser.error(f"no such test: {', '.join(unknown)}")
    names = args.names or [n for n, f in cases.items() if f.sanitized or not args.sanitized]
    if args.list:
        print("\n".join(names))
        return 0
    print(f"1..{len(names)}", flush=True)
    results, again, stalls = {}, [], Stalls()
    for quiet, jobs in ((True, 1), (False, args.j)):
        again += run_all([n for n in names if cases[n].quiet == quiet], jobs, bin_dir, results,
                         stalls)
    run_all(again, 1, bin_dir, results)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(results, f)
    return 1 if "fail" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
