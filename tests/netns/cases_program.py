# SPDX-License-Identifier: MIT
"""Programs as a supervisor sees them: order, readiness, health, hooks.

Most run on every node, without a service: then there is no election to wait for."""
import os
import signal
import time

from case import case
from lab import Failed, Lab, Skip, alive, cgroup2_root, pick, wait_until

HEALTH = "127.0.0.1:8001"


def local(name, command, keys=""):
    return f"[program:{name}]\ncommand = {command}\n{keys}\n"


def lab_of(bin_dir, *programs, nodes=("a",), **settings):
    """A lab whose node a is started; {fakesvc} and {dir} stand for those in the programs' texts."""
    lab = Lab(bin_dir, nodes=nodes, **settings)
    text = "".join(programs).replace("{fakesvc}", lab.fakesvc).replace("{dir}", lab.dir)
    lab.write_config(extra=text, **settings)
    lab.a.start()
    return lab


def read(lab, name):
    try:
        with open(os.path.join(lab.dir, name), encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def log_of(node):
    with open(node.log, encoding="utf-8", errors="replace") as f:
        return f.read()


def wait_state(node, name, state, timeout=10):
    wait_until(lambda: (node.program(name) or {}).get("state") == state, timeout, f"{name} {state}")
    return node.program(name)


def after_deaths(node, name, count=1, timeout=8):
    """The program's status once it has died that often."""
    def look():
        row = node.program(name)
        return row if row and row["restarts"]["total"] >= count else None
    return wait_until(look, timeout, f"{count} deaths of {name}")


def cgroup(pid):
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
            return f.read()
    except OSError:
        return ""


def in_order(text, *parts):
    at = -1
    for part in parts:
        found = text.find(part, at + 1)
        if found < 0:
            raise Failed(f"no {part!r} after the part before it")
        at = found


# ---- order --------------------------------------------------------------------------------------


@case(sanitized=True)
def programs_start_as_they_require_each_other_and_stop_in_reverse(bin_dir):
    slow = "ready = notify\n"
    with lab_of(bin_dir,
                local("web", "{fakesvc}", "requires = app\n"),
                local("app", "{fakesvc} --ready 300", slow + "requires = db, cache\n"),
                local("db", "{fakesvc} --ready 300", slow),
                local("cache", "{fakesvc}")) as lab:
        wait_state(lab.a, "web", "running")
        rows = {p["name"]: p for p in lab.a.status()["programs"]}
        assert rows["db"]["uptime_ms"] - rows["app"]["uptime_ms"] >= 290, rows
        assert rows["app"]["uptime_ms"] - rows["web"]["uptime_ms"] >= 290, rows
        assert rows["app"]["ready"] and rows["db"]["ready"]
        assert lab.a.stop() == 0
        in_order(log_of(lab.a), "web: stopping -> stopped", "app: running -> stopping",
                 "app: stopping -> stopped", "db: running -> stopping")


# ---- ready --------------------------------------------------------------------------------------


@case(sanitized=True)
def what_is_not_ready_in_time_is_stopped_and_counted(bin_dir):
    with lab_of(bin_dir,
                local("mute", "{fakesvc}", "ready = notify\nready_timeout = 300ms\n"),
                local("tcp", "{fakesvc} --listen 127.0.0.1:8010", "ready = tcp:8010\n"),
                local("http", f"{{fakesvc}} --http {HEALTH}", f"ready = http://{HEALTH}/x\n"),
                local("exec", "{fakesvc}", "ready = exec:/bin/sh -c 'test -e {dir}/go'\n"),
                local("shut", "{fakesvc}", "ready = tcp:8011\nready_timeout = 400ms\n")) as lab:
        wait_state(lab.a, "tcp", "running")
        wait_state(lab.a, "http", "running")
        assert lab.a.program("exec")["state"] == "starting"
        with open(os.path.join(lab.dir, "go"), "w", encoding="utf-8"):
            pass
        wait_state(lab.a, "exec", "running")
        for name in ("mute", "shut"):
            row = after_deaths(lab.a, name)
            assert row["last_exit"]["reason"] == "not_ready", row
        assert "Connection refused" in log_of(lab.a), "why it was not ready"


@case
def stop_interrupts_a_start_that_is_not_ready(bin_dir):
    with lab_of(bin_dir, local("slow", "{fakesvc} --ready 60000", "ready = notify\n"),
                local("prep", "{fakesvc}", "pre_start = /bin/sleep 1000\n")) as lab:
        for name in ("slow", "prep"):
            wait_state(lab.a, name, "starting")
            began = time.monotonic()
            lab.a.supctl_ok("stop", name)
            assert time.monotonic() - began < 5, f"stop of {name} waited"
            assert lab.a.program(name)["state"] == "stopped"
            assert lab.a.program(name)["restarts"]["total"] == 0


# ---- health -------------------------------------------------------------------------------------


QUICK = "health_interval = 100ms\nhealth_timeout = 500ms\nhealth_fall = 2\n"


@case(sanitized=True)
def an_unhealthy_program_is_restarted_and_it_counts(bin_dir):
    sick = "--sick-if {dir}/sick"
    with lab_of(bin_dir,
                local("web", f"{{fakesvc}} --http {HEALTH} {sick}", f"health = http://{HEALTH}\n" + QUICK),
                local("dog", f"{{fakesvc}} --watchdog 40 {sick}", "health = notify\n" + QUICK),
                local("cmd", "{fakesvc}", "health = exec:/bin/sh -c 'test ! -e {dir}/sick-a'\n" + QUICK),
                local("hang", f"{{fakesvc}} --http 127.0.0.1:8002 --sick-hangs {sick}",
                      "health = http://127.0.0.1:8002\n" + QUICK)) as lab:
        reasons = {"web": "unhealthy", "dog": "watchdog", "cmd": "unhealthy", "hang": "unhealthy"}
        for name in reasons:
            wait_state(lab.a, name, "running")
        time.sleep(0.6)  # several rounds: health costs nothing where all is well
        assert not [p for p in lab.a.status()["programs"] if p["restarts"]["total"]]
        open(lab.a.flag("sick"), "w", encoding="utf-8").close()
        for name, reason in reasons.items():
            row = after_deaths(lab.a, name)
            assert row["last_exit"]["reason"] == reason, row
        os.unlink(lab.a.flag("sick"))
        for name in reasons:
            wait_state(lab.a, name, "running", 15)


@case(sanitized=True)
def an_unhealthy_service_climbs_the_ladder(bin_dir):
    sick = "ready = notify\nhealth = notify\n" + QUICK
    with Lab(bin_dir, advert_int="300ms", restart_limit="2/60s", program=sick) as lab:
        lab.write_config(advert_int="300ms", restart_limit="2/60s", program=sick,
                         fakesvc=f"--ready 20 --watchdog 40 --sick-if {lab.dir}/sick")
        lab.settle()
        open(lab.a.flag("sick"), "w", encoding="utf-8").close()
        wait_until(lab.b.is_active, 20, "b active")
        assert lab.a.service()["latched"], "a is not latched"
        assert lab.b.program()["ready"]


# ---- hooks --------------------------------------------------------------------------------------


@case(sanitized=True)
def hooks_run_as_the_program_before_and_after(bin_dir):
    note = "/bin/sh -c 'echo {} $(id -un) $SUPD_PROGRAM $PWD $X >> {{dir}}/notes'"
    with lab_of(bin_dir,
                local("p", "{fakesvc}", "user = nobody\ndirectory = /tmp\nenvironment = X=y\n"
                      f"pre_start = {note.format('pre')}\npost_stop = {note.format('post')}\n")) as lab:
        os.chmod(lab.dir, 0o777)
        row = wait_state(lab.a, "p", "running")
        assert read(lab, "notes") == "pre nobody p /tmp y\n"
        os.kill(row["pid"], signal.SIGKILL)
        wait_until(lambda: lab.a.program("p")["pid"] not in (None, row["pid"]), 5, "a restart")
        assert read(lab, "notes") == "pre nobody p /tmp y\npost nobody p /tmp y\npre nobody p /tmp y\n"
        lab.a.supctl_ok("stop", "p")
        assert read(lab, "notes").endswith("post nobody p /tmp y\n")
        assert len(read(lab, "notes").split("\n")) == 5


@case
def pre_start_that_fails_or_hangs_means_no_start(bin_dir):
    with lab_of(bin_dir,
                local("no", "{fakesvc} --report {dir}/ran", "pre_start = /bin/false\n"
                      "post_stop = /bin/sh -c 'echo post >> {dir}/notes'\n"),
                local("late", "{fakesvc} --report {dir}/ran", "hook_timeout = 200ms\n"
                      "pre_start = /bin/sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000'\n")) as lab:
        for name, error in (("no", None), ("late", "ETIMEDOUT")):
            row = after_deaths(lab.a, name, 2)
            assert row["last_error"] == {"stage": "pre_start", "errno": error}, row
            assert row["pid"] is None
        assert not read(lab, "ran"), "it was started"
        assert "post\n" in read(lab, "notes"), "post_stop did not run"
        lab.a.supctl_ok("stop", "late")
        wait_until(lambda: not [p for p in lab.a.program_pids() if alive(p) and "/late." in cgroup(p)],
                   5, "no process left")


@case
def hooks_of_a_service_die_with_it(bin_dir):
    """A post_stop that hangs is of the service too: fenced, nothing of it lives."""
    hook = "post_stop = /bin/sleep 1000\nhook_timeout = 100s\n"
    with Lab(bin_dir, advert_int="300ms", program=hook) as lab:
        lab.settle()
        assert lab.a.supctl("stop", "master", "--timeout", "1")[0] == 8
        pids = wait_until(lambda: [p for p in lab.a.program_pids() if alive(p)], 5, "the hook")
        assert lab.a.program()["state"] == "stopping"
        lab.pull_cable("a")
        wait_until(lambda: not any(alive(p) for p in pids), 5, "the hook's death")
        wait_until(lab.b.is_active, 10, "b active")
        lab.plug_cable("a")


@case
def an_engine_that_is_replaced_knows_who_was_ready(bin_dir):
    with lab_of(bin_dir, local("p", "{fakesvc} --ready 50", "ready = notify\n"),
                local("q", "{fakesvc} --ready 3000", "ready = notify\n")) as lab:
        row = wait_state(lab.a, "p", "running")
        lab.a.kill("engine")
        wait_until(lambda: pick(lab.a.status(), "programs", "p"), 5, "a new engine")
        assert lab.a.program("p")["pid"] == row["pid"] and lab.a.program("p")["ready"]
        assert lab.a.program("q")["state"] == "starting"
        wait_state(lab.a, "q", "running")
        assert lab.a.program("q")["restarts"]["total"] == 0


# ---- environment, limits, resources ---------------------------------------------------------------


@case(sanitized=True)
def environment_and_limits_are_as_the_file_says(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        with open(os.path.join(lab.dir, "vars"), "w", encoding="utf-8") as f:
            f.write("# comment\n\nA=from file\nB='quoted # ; '\nHOME=/elsewhere\nPATH=/bin\n")
        keys = (f"user = nobody\nenvironment = A=over\nenvironment_file = {lab.dir}/vars\n"
                "nice = 7\noom_score_adj = 300\nrlimit_nofile = 123:456\nrlimit_core = 0\n"
                "rlimit_stack = 4MB:unlimited\nrlimit_nproc = 77\nmemory_max = 64MB\n")
        lab.write_config(extra=local("p", f"{lab.fakesvc} --report {lab.dir}/report", keys))
        os.chmod(lab.dir, 0o777)
        lab.a.start()
        lines = wait_until(lambda: read(lab, "report").split("\n")[:-1], 5, "a report")
        for line in ("nice=7", "nofile=123", "core=0:0", f"stack={4 << 20}:-1", "nproc=77:77",
                     "env:A=over", "env:B=quoted # ; ", "env:HOME=/elsewhere", "env:USER=nobody",
                     "env:PATH=/bin", "env:SUPD_PROGRAM=p", "scheduler=0", "umask=022"):
            assert line in lines, f"no {line} in {lines}"
        # Set by the keeper once the program has begun, so the report may have been before it.
        pid = wait_state(lab.a, "p", "running")["pid"]
        wait_until(lambda: file_of(pid, "oom_score_adj") == "300\n", 5, "oom_score_adj")
        if not has_controller("memory"):
            assert "memory_max is not enforced" in log_of(lab.a)


def file_of(pid, name):
    with open(f"/proc/{pid}/{name}", encoding="utf-8") as f:
        return f.read()


def has_controller(name):
    with open(os.path.join(cgroup2_root(), "cgroup.controllers"), encoding="utf-8") as f:
        return name in f.read().split()


@case
def memory_max_holds_where_the_controller_is(bin_dir):
    if not has_controller("memory"):
        raise Skip("cgroup v2 has no memory controller here")
    with lab_of(bin_dir, local("p", "/usr/bin/python3 -c 'x = bytearray(100 << 20); input()'",
                               "memory_max = 20MB\nstopsignal = KILL\n")) as lab:
        row = after_deaths(lab.a, "p")
        assert row["last_exit"]["signal"] == "KILL", row


@case
def status_says_what_a_program_uses(bin_dir):
    with lab_of(bin_dir, local("p", "{fakesvc} --tree 3 --tick 1"),
                local("busy", "/bin/sh -c 'while :; do :; done'"),
                local("off", "{fakesvc}", "autostart = no\n")) as lab:
        wait_state(lab.a, "busy", "running")
        row = wait_until(lambda: (p := lab.a.program("p")) and p["processes"] == 7 and p, 5,
                         "7 processes")
        assert 1 << 20 < row["memory_bytes"] < 1 << 30, row
        busy = wait_until(lambda: (p := lab.a.program("busy")) and (p["cpu_ms"] or 0) >= 100 and p, 10,
                          "cpu time")
        assert busy["processes"] == 1, busy
        off = lab.a.program("off")
        assert [off[k] for k in ("processes", "memory_bytes", "cpu_ms")] == [None] * 3, off
        lab.a.supctl_ok("stop", "busy")
        assert lab.a.program("busy")["last_exit"] == {"code": None, "signal": "TERM",
                                                      "reason": "asked"}


# ---- type = forking ---------------------------------------------------------------------------------


@case(sanitized=True)
def a_forking_daemon_is_followed_by_its_pidfile(bin_dir):
    keys = "type = forking\npidfile = {dir}/%s.pid\nready_timeout = 2s\n"
    with lab_of(bin_dir,
                local("d", "{fakesvc} --daemon {dir}/d.pid", keys % "d"),
                local("liar", "/bin/sh -c 'echo 1 > {dir}/liar.pid; sleep 1000 & exit 0'", keys % "liar"),
                local("fails", "/bin/sh -c 'exit 3'", keys % "fails")) as lab:
        row = wait_state(lab.a, "d", "running")
        assert row["pid"] == int(read(lab, "d.pid")), (row, read(lab, "d.pid"))
        lab.a.kill("engine")
        wait_until(lambda: lab.a.program("d"), 5, "a new engine")
        assert lab.a.program("d")["pid"] == row["pid"]
        os.kill(row["pid"], signal.SIGKILL)
        wait_until(lambda: (lab.a.program("d") or {}).get("pid") not in (None, row["pid"]), 10,
                   "another daemon")
        wait_state(lab.a, "d", "running")
        assert lab.a.program("d")["restarts"]["total"] == 1
        assert after_deaths(lab.a, "fails")["last_exit"]["code"] == 3
        lab.a.supctl_ok("stop", "d")
        assert lab.a.program("d")["last_exit"]["reason"] == "asked"
        # Its pidfile names init: not believed, and its tree is killed when its time is over.
        after_deaths(lab.a, "liar")
        assert lab.a.program("liar")["last_exit"]["reason"] == "not_ready"


@case
def a_forking_service_in_its_namespace(bin_dir):
    """Its pid is a small number there, and its end is seen although it is not our child."""
    with Lab(bin_dir, nodes=("a",)) as lab:
        keys = f"type = forking\npidfile = {lab.dir}/m.pid\n"
        lab.write_config(program=keys, fakesvc=f"--daemon {lab.dir}/m.pid")
        os.chmod(lab.dir, 0o777)
        lab.settle()
        pid = lab.a.program()["pid"]
        assert int(read(lab, "m.pid")) < 20 < pid, "a pid of the namespace"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: lab.a.runs_as_another_than(pid) and lab.a.is_active(), 10, "a restart")
        assert lab.a.program()["restarts"]["total"] == 1


@case
def supd_replaced_in_place_knows_who_was_ready_and_refuses_daemons(bin_dir):
    with lab_of(bin_dir, local("p", "{fakesvc} --ready 50 --watchdog 40",
                               "ready = notify\nhealth = notify\n" + QUICK)) as lab:
        pid = wait_state(lab.a, "p", "running")["pid"]
        lab.a.supctl_ok("reexec")
        row = wait_state(lab.a, "p", "running")
        assert row["pid"] == pid and row["restarts"]["total"] == 0, row
        time.sleep(0.5)  # its watchdog is fed through the same socket
        assert lab.a.program("p")["pid"] == pid
    with lab_of(bin_dir, local("d", "{fakesvc} --daemon {dir}/d.pid",
                               "type = forking\npidfile = {dir}/d.pid\n")) as lab:
        pid = wait_state(lab.a, "d", "running")["pid"]
        code, text = lab.a.supctl("reexec")
        assert code == 1 and "forking" in text, f"exit {code}: {text}"
        assert lab.a.program("d")["pid"] == pid
