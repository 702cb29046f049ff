#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts for tests/run.sh.

    tally.py FILE --one pass|fail|skip NAME
    tally.py FILE --meson TESTLOG_JSON     cmocka's cases one by one, other tests as one each;
                                           prints the output of what failed
    tally.py FILE --netns RESULTS_JSON
    tally.py FILE --total                  the last line; exit 1 on a failure or where nothing ran
"""
import json
import os
import re
import sys

CASE = re.compile(r"^\[\s+(OK|FAILED|SKIPPED)\s+\] (?!\d+ test)(\S+)", re.M)
MESON = {"OK": "pass", "EXPECTEDFAIL": "pass", "SKIP": "skip"}
CMOCKA = {"OK": "pass", "FAILED": "fail", "SKIPPED": "skip"}


def meson_results(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            test = json.loads(line)
            verdict = MESON.get(test["result"], "fail")
            text = (test.get("stdout") or "") + (test.get("stderr") or "")
            name = test["name"]
            cases = {case: CMOCKA[word] for word, case in CASE.findall(text)}
            if verdict == "fail":
                print(f"---- {name}: {test['result']}\n{text.rstrip()}")
                if "fail" not in cases.values():
                    cases["itself"] = "fail"
            if not cases:
                cases = {"": verdict}
            for case, what in cases.items():
                yield what, f"{name}: {case}" if case else name


def main(argv):
    tally, mode, *rest = argv
    if mode == "--total":
        return total(tally)
    if mode == "--one":
        results = [(rest[0], rest[1])]
    elif mode == "--meson":
        results = list(meson_results(rest[0]))
    else:
        with open(rest[0], encoding="utf-8") as f:
            results = [(what, name) for name, what in json.load(f).items()]
    with open(tally, "a", encoding="utf-8") as f:
        f.writelines(f"{what}\t{name}\n" for what, name in results)
    if mode == "--meson":
        counts = {w: sum(1 for what, _ in results if what == w) for w in ("pass", "fail", "skip")}
        print("   {pass} passed, {fail} failed, {skip} skipped".format(**counts))
    return 0


def total(tally):
    counts, failed = {"pass": 0, "fail": 0, "skip": 0}, []
    if not os.path.exists(tally):
        print("0 passed, 0 failed, 0 skipped")
        return 1
    with open(tally, encoding="utf-8") as f:
        for line in f:
            what, name = line.rstrip("\n").split("\t", 1)
            counts[what] += 1
            if what == "fail":
                failed.append(name)
    for name in failed:
        print(f"FAILED {name}")
    print("{pass} passed, {fail} failed, {skip} skipped".format(**counts))
    return 1 if failed or counts["pass"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
