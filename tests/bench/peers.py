# SPDX-License-Identifier: MIT
"""The supervisors beside which supd is measured: Debian's runit, s6 and supervisord, unpacked into a
directory of their own, so that nothing is installed and no daemon starts; and supd itself.

Each contender runs `count` copies of stamp, all of which write into one file.
"""
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../netns"))
from lab import Lab, wait_until  # noqa: E402

PACKAGES = ("runit", "s6", "libs6-2.11", "libexecline2.9", "libskarnet2.13", "supervisor",
            "python3-pkg-resources")


def unpack(directory):
    """Debian's packages below `directory`; False where they cannot be had."""
    if os.path.exists(os.path.join(directory, "usr")):
        return True
    os.makedirs(directory, exist_ok=True)
    done = subprocess.run(["apt-get", "download", *PACKAGES], cwd=directory, check=False,
                          capture_output=True)
    if done.returncode != 0:
        return False
    for name in os.listdir(directory):
        if name.endswith(".deb"):
            subprocess.run(["dpkg-deb", "-x", name, "."], cwd=directory, check=True)
    return True


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Contender:
    name = ""

    def __init__(self, bin_dir, peers, work, count):
        self.bin_dir, self.peers, self.count = bin_dir, peers, count
        self.dir = os.path.join(work, type(self).__name__)
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o777)
        self.file = os.path.join(self.dir, "stamps")
        self.stamp = os.path.join(bin_dir, "tests", "bench", "stamp")
        self.process = None

    def popen(self, *argv, **environment):
        self.began = now_ns()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True,
                                        env={**os.environ, **environment})

    def stamps(self):
        """[(ns, pid)]"""
        try:
            with open(self.file, encoding="ascii") as f:
                return [tuple(map(int, line.split())) for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def wait_stamps(self, count, timeout=60):
        def look():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended, exit {self.process.returncode}")
            stamps = self.stamps()
            return len(stamps) >= count and stamps
        return wait_until(look, timeout, f"{self.name}: {count} starts", 0.001)

    def processes(self):
        """Pids of the supervisor's own processes."""
        pids, found = [self.process.pid], []
        while pids:
            pid = pids.pop()
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                    own = f.read().strip() != "stamp"
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                    pids += map(int, f.read().split())
            except OSError:
                continue
            if own:
                found.append(pid)
        return found

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for _, pid in self.stamps():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    mine = self.file.encode() in f.read()
                if mine:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


class Bare(Contender):
    name = "waitpid + posix_spawn"

    def start(self):
        assert self.count == 1
        self.popen(os.path.join(self.bin_dir, "tests", "bench", "respawn"), self.stamp, self.file)


def write_script(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, 0o755)


class Runit(Contender):
    name = "runit"

    def start(self):
        for i in range(self.count):
            os.makedirs(f"{self.dir}/service/{i}")
            write_script(f"{self.dir}/service/{i}/run",
                         f"#!/bin/sh\nexec {self.stamp} {self.file}\n")
        self.popen(f"{self.peers}/usr/bin/runsvdir", f"{self.dir}/service",
                   PATH=f"{self.peers}/usr/bin:{os.environ['PATH']}")

    def stop(self):
        self.process.send_signal(signal.SIGHUP)  # to runsvdir: end every runsv
        super().stop()


class S6(Contender):
    name = "s6"

    def start(self):
        for i in range(self.count):
            os.makedirs(f"{self.dir}/service/{i}")
            write_script(f"{self.dir}/service/{i}/run",
                         f"#!/bin/sh\nexec {self.stamp} {self.file}\n")
        # It looks for its parts in /usr/bin alone: they lie over that, in its own mount namespace.
        self.popen("unshare", "-m", "sh", "-c",
                   f"mount -t overlay -o lowerdir={self.peers}/usr/bin:/usr/bin overlay /usr/bin && "
                   f"exec s6-svscan -c 4000 {self.dir}/service",
                   LD_LIBRARY_PATH=f"{self.peers}/usr/lib/x86_64-linux-gnu")


class Supervisord(Contender):
    name = "supervisord"

    def start(self):
        config = os.path.join(self.dir, "supervisord.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
                    f"pidfile={self.dir}/pid\nminfds=8192\n")
            for i in range(self.count):
                f.write(f"[program:p{i}]\ncommand={self.stamp} {self.file}\nstartsecs=0\n"
                        "autorestart=true\nredirect_stderr=true\nstdout_logfile=NONE\n")
        self.popen("/usr/bin/python3", f"{self.peers}/usr/bin/supervisord", "-c", config,
                   PYTHONPATH=f"{self.peers}/usr/lib/python3/dist-packages")


class Supd(Contender):
    """Programs in a service, in PID namespace and cgroups, their output captured; or without one."""
    name = "supd"
    service = "service = sched\n"

    def start(self):
        user = "user = nobody\n"
        self.lab = Lab(self.bin_dir, nodes=("a",), restart_limit="100/1s", supd="")
        with open(self.lab.config, encoding="utf-8") as f:
            text = f.read()
        text = text[:text.index("[program:master]")].replace("log_level = debug", "log_level = warn")
        for i in range(self.count):
            text += (f"[program:p{i}]\n{self.service}{user}startsecs = 100ms\n"
                     f"command = {self.stamp} {self.file}\n")
        with open(self.lab.config, "w", encoding="utf-8") as f:
            f.write(text)
        self.began = now_ns()
        self.lab.a.start()
        self.process = self.lab.a.process

    def stop(self):
        self.lab.a.stop()
        self.lab.clean_up()


class SupdNode(Supd):
    name = "supd, no service"
    service = ""
