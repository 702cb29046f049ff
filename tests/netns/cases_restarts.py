# SPDX-License-Identifier: MIT
"""A thousand restarts leave nothing behind in any process of supd."""
import json
import os
import signal
import socket

from case import case
from lab import Lab, pick, wait_until

WARM, COUNT = 100, 1000


def descriptors(roles):
    return {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in roles.items()}


def private_kb(roles):
    """Memory that is a process's own."""
    found = {}
    for role, pid in roles.items():
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            found[role] = sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty"))
    return found


class Control:
    """The control socket, without a process for each question."""

    def __init__(self, node):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(os.path.join(node.prefix, "run/supd/supd.sock"))
        self.lines = self.socket.makefile("r", encoding="utf-8")

    def ask(self, command, **args):
        request = {"command": command, "args": args}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(self.lines.readline())
        assert "error" not in reply, reply
        return reply

    def running_pid(self):
        program = pick(self.ask("status"), "programs", "master")
        return program["state"] == "running" and program["pid"]


@case
def a_thousand_restarts_leave_nothing_behind(bin_dir):
    """By command, and by kill -9: after a person's restart a death is the first one again."""
    with Lab(bin_dir, nodes=("a",)) as lab:
        with open(lab.config, encoding="utf-8") as f:
            text = f.read().replace("log_level = debug", "log_level = warn")
        with open(lab.config, "w", encoding="utf-8") as f:
            f.write(text)
        lab.start_all()
        lab.wait_active("a")
        control = Control(lab.a)

        def restart(times):
            for i in range(times):
                pid = control.ask("restart", name="master")["result"]["pid"]
                if i % 20 > 0:  # a death before startsecs costs 100 ms
                    continue
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda p=pid: control.running_pid() not in (False, p), 5,
                           "another run", 0.0005)
        restart(WARM)
        roles = lab.a.roles()
        fds, memory = descriptors(roles), private_kb(roles)
        restart(COUNT)
        assert lab.a.is_active() and lab.a.roles() == roles, "a process of supd was replaced"
        wait_until(lambda: all(descriptors(roles)[r] <= fds[r] + 2 for r in roles), 5,
                   f"as few descriptors as before: {fds}")
        after = private_kb(roles)
        grown = {role: after[role] - memory[role] for role in roles if after[role] - memory[role] > 64}
        assert not grown, f"memory in kB: {memory}, then {after}"
