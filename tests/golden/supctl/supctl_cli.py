#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""supctl against a supd that says what the test wants: exit codes, what is asked, what is printed.

usage: supctl_cli.py PATH-OF-SUPCTL STATUS.json
"""
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

SUPCTL, STATUS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SUPCTL_TIMEOUT = 20


class FakeSupd:
    """Answers each request with the next of `replies`; None: closes without an answer; "": never."""

    def __init__(self, path, replies):
        self.requests, self.replies = [], list(replies)
        self.asked = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        held = []
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                break
            held.append(conn)
            with conn.makefile("rb") as f:
                line = f.readline()
            if not line:
                conn.close()
                continue
            self.requests.append(json.loads(line))
            reply = self.replies.pop(0) if self.replies else None
            self.asked.set()
            if reply is None:
                conn.shutdown(socket.SHUT_RDWR)
                conn.close()
            elif reply != "":
                conn.sendall(reply.encode() + b"\n")
        for conn in held:
            conn.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.listener.close()


def error(code, message="because"):
    return json.dumps({"schema": 1, "error": {"code": code, "message": message}})


def result(**keys):
    return json.dumps({"schema": 1, "result": keys})


class Cli(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="supctl-cli-%d-" % os.getpid())
        os.chmod(self.dir, 0o755)
        self.socket = os.path.join(self.dir, "supd.sock")
        self.supd = None

    def tearDown(self):
        if self.supd:
            self.supd.close()
        shutil.rmtree(self.dir)

    def answer(self, *replies):
        self.supd = FakeSupd(self.socket, replies)

    def run_supctl(self, *args, sock=True, **kw):
        cmd = [SUPCTL] + (["-s", self.socket] if sock else []) + list(args)
        return subprocess.run(cmd, capture_output=True, text=True, timeout=SUPCTL_TIMEOUT, **kw)

    def check(self, code, *args, err=None, **kw):
        """The exit code, and one line on stderr that says why where it is not 0."""
        p = self.run_supctl(*args, **kw)
        self.assertEqual(p.returncode, code, (args, p.stdout, p.stderr))
        if code == 0:
            self.assertEqual(p.stderr, "")
        else:
            self.assertEqual(p.stderr.count("\n"), 1, p.stderr)
            self.assertTrue(p.stderr.startswith("supctl: "), p.stderr)
        if err is not None:
            self.assertIn(err, p.stderr)
        return p.stdout

    # ---- without supd

    def test_usage(self):
        for args in ([], ["frobnicate"], ["--bogus"], ["start"], ["start", "a", "b"],
                     ["status", "--force"], ["start", "a", "--here"], ["keygen", "x"],
                     ["failover", "--timeout", "soon"], ["failover", "--timeout", "0"],
                     ["version", "x"], ["stop"], ["is-active"], ["logs"], ["status", "-f"],
                     ["logs", "-n", "x", "w"], ["logs", "-n", "-1", "w"], ["logs", "w", "-n"]):
            self.check(2, *args)

    def test_commands_of_a_later_version(self):
        for name in "events kill reload wait is-ready is-failed check metrics".split():
            self.check(2, name, err="known, not supported yet")
        self.check(2, "events", "-f", "-n", "5", err="known, not supported yet")

    def test_unreachable_is_4(self):
        self.check(4, "status", err="supd is unreachable")
        self.check(4, "start", "worker", err="supd is unreachable")
        self.assertIn("supctl", self.check(4, "version"))
        s = socket.socket(socket.AF_UNIX)  # nobody listens any more
        s.bind(self.socket)
        s.close()
        self.check(4, "status", err="Connection refused")

    @unittest.skipIf(os.geteuid() != 0, "needs root to become somebody else")
    def test_not_permitted_is_5(self):
        self.answer(error(5, "no"))
        os.chmod(self.socket, 0o600)
        binary = shutil.copy(SUPCTL, self.dir)
        p = subprocess.run([binary, "-s", self.socket, "status"], capture_output=True, text=True,
                           user=65534, group=65534, extra_groups=[], timeout=SUPCTL_TIMEOUT)
        self.assertEqual((p.returncode, p.stdout), (5, ""), p.stderr)
        self.check(5, "status", err="supctl: no")  # and where supd itself says so

    def test_help_and_version_need_no_supd(self):
        self.assertIn("failover", self.check(0, "--help"))
        self.assertIn("supctl", self.check(0, "--version"))

    def test_keygen(self):
        keys = [self.check(0, "keygen") for _ in range(3)]
        for k in keys:
            self.assertRegex(k, r"\A[0-9a-f]{64}\n\Z")
        self.assertEqual(len(set(keys)), 3)

    # ---- where the socket is

    def test_run_dir_of_the_configuration(self):
        self.answer(result(version="9"))
        conf = os.path.join(self.dir, "supd.ini")
        with open(conf, "w") as f:
            f.write("[node:a]\naddress = x\n[supd]\nrun_dir = %s\nnonsense = 1\n" % self.dir)
        self.check(0, "-c", conf, "version", sock=False)

    def test_prefix_is_put_before_it(self):
        self.answer(result(version="9"))
        conf = os.path.join(self.dir, "supd.ini")
        with open(conf, "w") as f:
            f.write("[supd]\nrun_dir = /%s\n" % os.path.basename(self.dir))
        self.check(0, "-c", conf, "--prefix", os.path.dirname(self.dir), "version", sock=False)

    def test_no_such_configuration_is_6(self):
        self.check(6, "-c", self.dir + "/none.ini", "status", sock=False, err="none.ini")

    # ---- what is asked

    def asked(self, reply, *args):
        self.answer(reply)
        self.run_supctl(*args)
        self.supd.close()
        os.unlink(self.socket)
        request, self.supd = self.supd.requests[0], None
        return request

    def test_requests(self):
        cases = [
            (("start", "worker"), {"name": "worker"}),
            (("stop", "--here", "s"), {"name": "s", "here": True}),
            (("stop", "s", "--here"), {"name": "s", "here": True}),
            (("restart", "w", "--timeout", "1500ms"), {"name": "w", "timeout_ms": 1500}),
            (("failover",), {}),
            (("failover", "--force", "s"), {"name": "s", "force": True}),
            (("reset", "--all"), {"all": True}),
            (("explain", "s"), {"name": "s"}),
            (("is-active", "w"), {"name": "w"}),
            (("status", "w"), {}),
            (("--json", "--timeout", "2", "status"), {}),
            (("logs", "w"), {"name": "w"}),
            (("logs", "-fn5", "w", "--stderr"), {"name": "w", "follow": True, "lines": 5,
                                                 "stderr": True}),
        ]
        for args, expected in cases:
            request = self.asked(error(1), *args)
            verb = next(a for a in args if a in ("start", "stop", "restart", "failover", "reset",
                                                 "explain", "is-active", "status", "logs"))
            self.assertEqual(request, {"command": verb, "args": expected}, args)

    # ---- what is answered

    def test_codes_of_supd_are_exit_codes(self):
        for code in range(1, 10):
            self.answer(error(code, "reason %d" % code))
            self.check(code, "failover", err="supctl: reason %d" % code)
            self.supd.close()
            os.unlink(self.socket)
        self.supd = None

    def test_what_is_not_understood_is_1(self):
        for line in ("nonsense", "[]", "{}", '{"schema":2}', '{"schema":1,"error":{}}'):
            self.answer(line)
            self.check(1, "failover")
            self.supd.close()
            os.unlink(self.socket)
        self.supd = None

    def test_json_is_printed_as_it_came(self):
        line = '{ "schema":1,  "result":{"x":[1,null]} }'
        self.answer(line, error(9))
        self.assertEqual(self.check(0, "start", "x", "--json"), line + "\n")
        self.assertEqual(self.check(9, "start", "x", "--json"), error(9) + "\n")

    def test_results_as_text(self):
        self.answer(result(name="worker", state="running", pid=7),
                    result(name="s", state="active", active_node="b"),
                    result(active_node="b", ms=123), result(active_node=None, ms=5),
                    result(reset=["a", "b"]))
        self.assertEqual(self.check(0, "start", "worker"), "worker: running (pid 7)\n")
        self.assertEqual(self.check(0, "start", "s"), "s: active on b\n")
        self.assertEqual(self.check(0, "failover"), "active on b after 123 ms\n")
        self.assertIn("no fit node", self.check(0, "failover", "--force"))
        self.assertEqual(self.check(0, "reset", "--all"), "reset on a, b\n")

    def test_logs(self):
        pieces = ['{"schema":1,"log":"/x"}', '{"schema":1,"line":"one"}',
                  '{"schema":1,"line":"tw","more":true}', '{"schema":1,"line":"o \\u20ac"}',
                  '{"schema":1,"line":"end","more":true}', result(lines=3)]
        self.answer("\n".join(pieces), "\n".join(pieces), "\n".join(pieces[:2] + [error(1, "gone")]),
                    None, "\n".join(pieces), pieces[0])
        self.assertEqual(self.check(0, "logs", "w"), "one\ntwo €\nend")
        self.assertEqual(self.check(0, "--json", "logs", "w"), "\n".join(pieces) + "\n")
        self.assertEqual(self.check(1, "logs", "w", err="gone"), "one\n")
        # The engine was replaced before it answered: asked anew, as every query.
        self.assertEqual(self.check(0, "logs", "-f", "w"), "one\ntwo €\nend")
        self.check(4, "logs", "w", "--timeout", "300ms", err="does not answer")

    def test_is_active(self):
        self.answer(result(name="w", state="running", active=True),
                    result(name="w", state="backoff", active=False), error(4))
        self.assertEqual(self.check(0, "is-active", "w"), "running\n")
        self.assertEqual(self.check(3, "is-active", "w", err="w is backoff"), "backoff\n")
        self.check(4, "is-active", "w")

    def test_status_of_a_name(self):
        with open(STATUS) as f:
            line = json.dumps(json.load(f))
        self.answer(*[line] * 8)
        self.assertIn("active on a", self.check(0, "status"))
        self.check(0, "status", "scheduler")
        self.check(0, "status", "worker")
        self.check(3, "status", "poller", err="poller is backoff on this node")
        self.check(4, "status", "work", err="is it worker?")
        self.check(4, "status", "workers", err="is it worker?")
        self.check(4, "status", "xyz", err="called xyz")
        self.assertEqual(self.check(3, "status", "poller", "--json"), line + "\n")

    # ---- what goes wrong on the way

    def test_a_query_outlives_the_replacement_of_the_engine(self):
        self.answer(None, None, result(version="9"))
        self.assertIn("supd 9", self.check(0, "version"))
        self.assertEqual(len(self.supd.requests), 3)

    def test_an_action_is_never_sent_twice(self):
        self.answer(None, result(active_node="b", ms=1))
        self.check(1, "failover", err="the failover may go on")
        self.assertEqual(len(self.supd.requests), 1)

    def test_a_supd_that_hangs(self):
        self.answer("", "")
        self.check(4, "status", "--timeout", "100ms", err="does not answer")

    def test_an_action_that_is_not_answered_times_out(self):
        self.answer("")
        self.check(8, "failover", "--timeout", "1ms", err="the failover goes on")

    def test_interrupt_leaves_the_action_going_on(self):
        self.answer("")
        p = subprocess.Popen([SUPCTL, "-s", self.socket, "failover"], stderr=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.assertTrue(self.supd.asked.wait(10))
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=SUPCTL_TIMEOUT)
        self.assertEqual((p.returncode, out), (1, ""))
        self.assertEqual(err, "supctl: interrupted; the failover goes on: see supctl status\n")

    def test_on_a_terminal_it_says_what_it_waits_for(self):
        self.answer("")
        master, slave = pty.openpty()
        p = subprocess.Popen([SUPCTL, "-s", self.socket, "failover"], stderr=slave,
                             stdout=subprocess.DEVNULL)
        os.close(slave)
        ready, _, _ = select.select([master], [], [], 10)
        self.assertTrue(ready)
        self.assertIn(b"waiting for the failover", os.read(master, 4096))
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(SUPCTL_TIMEOUT), 1)
        os.close(master)

    def test_a_large_answer(self):
        status = {"schema": 1, "node": "a", "alarms": [], "services": [], "nodes": [],
                  "programs": [{"name": "p%d" % i, "state": "running", "pad": "x" * 500}
                               for i in range(4000)]}
        self.answer(json.dumps(status))
        self.assertIn("p3999", self.check(0, "status"))

    def test_a_full_disk_is_noticed(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            p = subprocess.run([SUPCTL, "keygen"], stdout=full, stderr=subprocess.PIPE,
                               timeout=SUPCTL_TIMEOUT)
        self.assertEqual(p.returncode, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
