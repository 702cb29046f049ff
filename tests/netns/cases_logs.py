# SPDX-License-Identifier: MIT
"""Logs of programs: complete through kills and rotations, shown by supctl, and harmless when they
cannot be written."""
import json
import os
import socket
import subprocess
import time

from case import case
from lab import Failed, Lab, die_with_parent, run, wait_until

WRITER = """import os, sys, time
total, rate = int(sys.argv[1]), int(sys.argv[2])
began, n, size, batch = time.monotonic(), 0, 0, []
while size < total:
    batch = [b"%09d %s\\n" % (i, b"x" * (i % 120)) for i in range(n, n + 500)]
    data = b"".join(batch)
    while data:
        data = data[os.write(1, data):]
    n, size = n + 500, size + sum(map(len, batch))
    ahead = size / rate - (time.monotonic() - began)
    if ahead > 0:
        time.sleep(ahead)
print("end", n, flush=True)
for path in sys.argv[3:]:
    open(path, "w").close()
while True:
    time.sleep(1000)
"""


def script(lab, name, text):
    path = os.path.join(lab.dir, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return f"/usr/bin/python3 {path}"


def add_programs(lab, programs):
    """{name: (command, further keys)}: programs that run on every node."""
    with open(lab.config, "a", encoding="utf-8") as f:
        for name, (command, keys) in programs.items():
            f.write(f"\n[program:{name}]\nuser = nobody\ncommand = {command}\n{keys}\n")


def log_path(node, name):
    return os.path.join(node.prefix, "var/log/supd", name)


def all_logs(path):
    """The text of a log and its older ones, the oldest first."""
    texts, number = [], 0
    while True:
        name = f"{path}.{number}" if number else path
        if not os.path.exists(name):
            return b"".join(reversed(texts)), number
        with open(name, "rb") as f:
            texts.append(f.read())
        number += 1


def check_numbered(text):
    """Every line of WRITER once, whole and in order; how many."""
    lines = text.split(b"\n")
    assert lines[-1] == b"" and lines[-2].startswith(b"end "), lines[-2:]
    for i, line in enumerate(lines[:-2]):
        if line != b"%09d %s" % (i, b"x" * (i % 120)):
            raise Failed(f"line {i} is {line[:60]}, after {lines[i - 1][:60]}")
    assert len(lines) - 2 == int(lines[-2].split()[1]), (len(lines), lines[-2])
    return len(lines) - 2


def is_up(node, name):
    status = node.status()
    return status and any(p["name"] == name and p["state"] == "running" for p in status["programs"])


def through_kills(lab, megabytes, rate_mb, period, log_kb=256):
    """Numbered lines through a scribe that is killed every `period` s: (lines, kills, logs)."""
    writer = script(lab, "writer.py", WRITER)
    keys = f"logfile_maxbytes = {log_kb}KB\nlogfile_backups = 1000"
    add_programs(lab, {"writer": (f"{writer} {megabytes << 20} {rate_mb << 20}", keys)})
    lab.a.start()
    wait_until(lambda: lab.a.status() is not None, 10, "supd answers")
    kills, path = 0, log_path(lab.a, "writer.log")

    def ended():
        if not os.path.exists(path):
            return False
        with open(path, "rb") as f:
            f.seek(max(0, os.path.getsize(path) - 30))
            return b"\nend " in f.read()
    limit = time.monotonic() + 60 + 3 * megabytes / rate_mb
    while not ended():
        if time.monotonic() > limit:
            raise Failed(f"no end after {kills} kills")
        time.sleep(period)
        lab.a.kill("scribe")
        kills += 1
    text, logs = all_logs(path)
    assert os.path.getsize(f"{path}.1") <= (log_kb << 10) + 200
    return check_numbered(text), kills, logs


@case(sanitized=True)
def killed_scribes_lose_and_repeat_no_line(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        lines, kills, logs = through_kills(lab, 6, 4, 0.2)
        print(f"{lines} lines in {logs} logs through {kills} kills")
        assert logs >= 20 and kills >= 5
        assert lab.a.program("writer")["restarts"]["total"] == 0


class Follower:
    """supctl logs -f"""

    def __init__(self, node, *words):
        self.process = subprocess.Popen(
            [node.lab.supctl, "-c", node.lab.config, "--prefix", node.prefix, "logs", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=die_with_parent)

    def read(self, size, timeout=20):
        os.set_blocking(self.process.stdout.fileno(), False)
        text = b""

        def enough():
            nonlocal text
            text += self.process.stdout.read() or b""
            return len(text) >= size
        wait_until(enough, timeout, f"{size} bytes of supctl logs -f: {text[-60:]}")
        return text

    def stop(self):
        self.process.kill()
        return self.process.communicate()


@case(sanitized=True)
def logs_are_shown_and_followed(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        go = os.path.join(lab.dir, "go")
        talker = script(lab, "talker.py", f"""import os, sys, time
print("hello\\nworld", flush=True)
os.write(2, b"an error\\n")
while not os.path.exists({go!r}):
    time.sleep(0.01)
for i in range(3000):
    print("%05d" % i, flush=True)
os.write(1, b"prompt> ")
while True:
    time.sleep(1000)
""")
        burst = script(lab, "burst.py", "import os\nos.write(1, b'y' * (1 << 20) + b'!')\n")
        add_programs(lab, {
            "talker": (talker, "redirect_stderr = no\nlogfile_maxbytes = 1KB\nlogfile_backups = 50"),
            "burst": (burst, "autorestart = never")})
        lab.a.start()
        wait_until(lambda: is_up(lab.a, "talker"), 10, "talker runs")
        wait_until(lambda: lab.a.supctl("logs", "talker") == (0, "hello\nworld\n"), 10, "its output")
        assert lab.a.supctl("logs", "-n", "1", "talker") == (0, "world\n")
        assert lab.a.supctl("logs", "--stderr", "talker") == (0, "an error\n")
        follower, idle = Follower(lab.a, "-f", "-n1", "talker"), Follower(lab.a, "-f", "talker")
        assert follower.read(6) == b"world\n"
        with open(go, "w", encoding="ascii"):
            pass
        wanted = b"".join(b"%05d\n" % i for i in range(3000)) + b"prompt> "
        assert follower.read(len(wanted)) == wanted
        assert follower.process.poll() is None
        code, text = lab.a.supctl("logs", "-n", "300", "talker")
        assert code == 0 and text == wanted[-299 * 6 - 8:].decode(), (code, text[:80])
        code, text = lab.a.supctl("--json", "logs", "-n", "2", "talker")
        objects = [json.loads(line) for line in text.splitlines()]
        assert objects == [
            {"schema": 1, "log": log_path(lab.a, "talker.log")},
            {"schema": 1, "line": "02999"}, {"schema": 1, "line": "prompt> ", "more": True},
            {"schema": 1, "result": {"lines": 2}}], objects
        # The last bytes before an exit, without the end of a line.
        wait_until(lambda: os.path.getsize(log_path(lab.a, "burst.log")) == (1 << 20) + 1, 10,
                   "all that a program wrote before it ended")
        # Who does not read holds nobody up; who asked is told when supd's part in it ends.
        lab.a.kill("scribe")
        _, errors = follower.process.communicate(timeout=10)
        assert follower.process.returncode == 1 and b"connection was lost" in errors, errors
        idle.stop()
        wait_until(lambda: lab.a.supctl("logs", "-n", "1", "talker") == (0, "prompt> "), 10,
                   "another scribe shows it")
        for words, code, part in ((["talkr"], 4, "is it talker?"), (["sched"], 0, ""),
                                  (["-n", "x", "talker"], 2, "-n needs"),
                                  (["--stderr", "burst"], 2, "redirect_stderr"), ([], 2, "name")):
            got = lab.a.supctl("logs", *words)
            assert got[0] == code or code == 0, (words, got)
            assert part in got[1], (words, got)


@case
def logs_that_cannot_be_written_harm_no_program(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        where = os.path.join(lab.dir, "logs")
        os.mkdir(where, 0o755)
        os.mkdir(os.path.join(where, "private"), 0o700)
        os.mkdir(os.path.join(where, "directory"))
        os.mkfifo(os.path.join(where, "fifo"), 0o666)
        done = os.path.join(lab.dir, "done")
        os.mkdir(done)
        os.chmod(done, 0o777)
        writer = script(lab, "writer.py", WRITER)
        paths = {"missing": f"{where}/none/x.log", "denied": f"{where}/private/x.log",
                 "directory": f"{where}/directory", "fifo": f"{where}/fifo", "full": "/dev/full",
                 "null": "/dev/null"}
        add_programs(lab, {name: (f"{writer} 1000000 100000000 {done}/{name}",
                                  f"stdout_logfile = {path}\nlogfile_maxbytes = 10KB")
                           for name, path in paths.items()})
        add_programs(lab, {"good": (f"{writer} 1000000 100000000", "logfile_maxbytes = 0")})
        lab.a.start()
        for name in [*paths, "good"]:
            wait_until(lambda n=name: is_up(lab.a, n), 15, f"{name} runs")
        wait_until(lambda: b"\nend " in all_logs(log_path(lab.a, "good.log"))[0], 20, "the good log")
        check_numbered(all_logs(log_path(lab.a, "good.log"))[0])

        def told():
            with open(lab.a.log, encoding="utf-8") as f:
                text = f.read()
            return all(f"log of {name}: {path}: " in text for name, path in paths.items()
                       if name != "null") and "log of null" not in text
        wait_until(told, 10, "each is named in supd's log")
        # Each has written its megabyte into nothing: nobody waits for a log.
        for name in paths:
            wait_until(lambda n=name: os.path.exists(f"{done}/{n}"), 20, f"{name} is not held up")
            assert lab.a.program(name)["restarts"]["total"] == 0
        code, text = lab.a.supctl("logs", "missing")
        assert code == 1 and "No such file" in text, (code, text)
        code, text = lab.a.supctl("logs", "fifo")
        assert code == 1 and "not a regular file" in text, (code, text)
        os.mkdir(f"{where}/none")
        os.chmod(f"{where}/none", 0o777)
        wait_until(lambda: b"dropped here: No such file" in all_logs(paths["missing"])[0], 10,
                   "the directory is back: what fitted is there, and how much is missing")
        lab.wait_active("a", 15)
        assert not lab.a.alarms() or "state_file" not in lab.a.alarms(), lab.a.alarms()


def private_dev(lab):
    """supd with a /dev of its own, so that /dev/log is ours: the listening socket."""
    dev = os.path.join(lab.dir, "dev")
    os.mkdir(dev)
    script_path = os.path.join(lab.dir, "supd-with-dev")
    nodes = "null zero full random urandom tty"
    with open(script_path, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\nset -e\nif [ $# -gt 0 ] && [ \"$1\" != inside ]; then\n"
                f"\texec unshare --mount \"$0\" inside \"$@\"\nfi\nshift\n"
                f"for n in {nodes}; do\n\t: >{dev}/$n\n\tmount --bind /dev/$n {dev}/$n\ndone\n"
                f"mount --rbind {dev} /dev\nexec {lab.supd} \"$@\"\n")
    os.chmod(script_path, 0o755)
    lab.supd = script_path
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.path.join(dev, "log"))
    os.chmod(os.path.join(dev, "log"), 0o666)
    listener.settimeout(20)
    return listener


@case
def output_goes_to_syslog_under_the_programs_name(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab, private_dev(lab) as syslog:
        talker = script(lab, "talker.py", """import os, time
for i in range(3000):
    print("line %d" % i, flush=True)
os.write(1, b"prompt> ")
while True:
    time.sleep(1000)
""")
        add_programs(lab, {"talker": (talker, "stdout_logfile = syslog")})
        lab.a.start()
        for i in range(3000):
            message = syslog.recv(10000).decode()
            if i == 1000:  # syslog stands still, and a scribe dies: at most one line comes twice
                time.sleep(0.1)
                lab.a.kill("scribe")
            if i > 1000 and message.endswith(f" talker: line {i - 1}"):
                message = syslog.recv(10000).decode()
            assert message.startswith("<30>") and message.endswith(f" talker: line {i}"), message
        assert syslog.recv(10000).decode().endswith(" talker: prompt> ")
        code, text = lab.a.supctl("logs", "talker")
        assert code == 1 and "syslog" in text, (code, text)


@case
def full_disk_costs_lines_that_are_counted(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        small, done = os.path.join(lab.dir, "small"), os.path.join(lab.dir, "done")
        os.mkdir(small)
        os.mkdir(done)
        os.chmod(done, 0o777)
        run("mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "none", small)
        try:
            path = os.path.join(small, "x.log")
            writer = script(lab, "writer.py", WRITER)
            add_programs(lab, {"writer": (f"{writer} 1000000 100000000 {done}/writer",
                                          f"stdout_logfile = {path}\nlogfile_maxbytes = 0")})
            lab.a.start()
            wait_until(lambda: os.path.exists(f"{done}/writer"), 20, "the program is not held up")
            run("mount", "-o", "remount,size=8m", small)

            def told():
                with open(path, "rb") as f:
                    return b"bytes of output dropped here: No space left on device\n" in f.read()
            wait_until(told, 10, "the gap is told")
            text, _ = all_logs(path)
            check_gap(text)
        finally:
            run("umount", "-l", small)


def check_gap(text):
    """Whole lines before and after one notice, which counts what is missing between; of one line,
    at the cut, the begin may be there."""
    before, notice, after = text.partition(b"\nsupd: ")
    dropped, _, after = after.partition(b"\n")
    lines = before.split(b"\n")
    begun = lines.pop()
    for i, line in enumerate(lines):
        assert line == b"%09d %s" % (i, b"x" * (i % 120)), (i, line)
    number = len(lines)
    assert (b"%09d %s" % (number, b"x" * (number % 120))).startswith(begun), (number, begun)
    missing = len(begun) + int(dropped.split()[0])
    while missing > 0 and missing != len(b"end %d\n" % number):
        missing -= 11 + number % 120
        number += 1
    assert missing in (0, len(b"end %d\n" % number)) and notice, (missing, number, dropped)
    for line in after.split(b"\n")[:-1]:
        assert line.startswith(b"end ") or line == b"%09d %s" % (number, b"x" * (number % 120)), line
        number += 1
