#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Numbered lines through a scribe that is killed with -9 every second: each in the logs once, whole
and in order.  The smaller version is killed_scribes_lose_and_repeat_no_line in tests/netns.

    log_kills.py --bin BUILD_DIR [--megabytes 200] [--rate 10]
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from cases_logs import through_kills  # pylint: disable=wrong-import-position
from lab import Lab  # pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rate", type=int, default=10, help="MB a second")
    args = parser.parse_args()
    began = time.monotonic()
    with Lab(os.path.abspath(args.bin), nodes=("a",)) as lab:
        lines, kills, logs = through_kills(lab, args.megabytes, args.rate, 1.0, 4096)
    print(f"{args.megabytes} MB: {lines} lines in {logs} logs through {kills} kills, "
          f"{time.monotonic() - began:.0f} s: all there, once each, in order")


if __name__ == "__main__":
    main()
