# SPDX-License-Identifier: MIT
"""supd as a daemon: its command line, bad configuration, the init script."""
import grp
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile

from case import case
from lab import Lab, Skip, alive, run, wait_until

INIT_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../etc/init.d/supd")


def supd(lab, *words):
    if not os.path.exists(lab.supd):
        raise Skip(f"{lab.supd} is not built")
    return subprocess.run(["nsenter", f"--net={lab.ns_path('a')}", lab.supd, "-c", lab.config,
                           "--prefix", lab.a.prefix, *words], capture_output=True, text=True,
                          timeout=10, check=False)


@case(sanitized=True)
def bad_configuration_is_refused_with_file_and_line(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        with open(lab.config, encoding="utf-8") as f:
            good = f.read()
        for wrong, why in ((good + "\nstopsignal = NOSUCH\n", "bad value"),
                           (good + "\nno_such_key = 1\n", "unknown key"),
                           (good + "\n[nonsense]\n", "unknown section"),
                           (good.replace("virtual_router_id = 51", "virtual_router_id = 999"),
                            "out of range"),
                           (good + "\n[task:t]\nservice = sched\n", "not supported yet")):
            with open(lab.config, "w", encoding="utf-8") as f:
                f.write(wrong)
            for words in (["--check-config"], ["-n"], []):
                done = supd(lab, *words)
                assert done.returncode == 6, f"{why}, supd {words}: exit {done.returncode}"
                assert re.search(rf"^{re.escape(lab.config)}:\d+: ", done.stderr, re.M), \
                    f"{why}, supd {words}: {done.stderr!r}"
        assert not lab.cgroups("a") and not lab.instances()


@case
def missing_configuration_and_key_are_refused(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        os.chmod(lab.key, 0o644)
        assert supd(lab, "--check-config").returncode == 6, "a key that others can read"
        os.unlink(lab.key)
        assert supd(lab, "-n").returncode == 6, "no key"
        os.unlink(lab.config)
        assert supd(lab, "-n").returncode == 6, "no file"
        os.mkdir(lab.config)
        assert supd(lab, "-n").returncode == 6, "a directory"


@case(sanitized=True)
def check_config_prints_the_budget(bin_dir):
    with Lab(bin_dir) as lab:
        done = supd(lab, "--check-config")
        assert done.returncode == 0, done.stderr
        assert "tier" in done.stdout, done.stdout
        assert supd(lab, "--version").stdout.strip()
        assert supd(lab, "--no-such-option").returncode == 2


@case
def second_supd_of_the_same_node_is_refused(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        lab.start_all()
        lab.wait_active("a")
        pid = lab.a.program()["pid"]
        done = supd(lab, "-n")
        assert done.returncode not in (0, 6) and done.stderr.strip(), done
        assert alive(pid) and lab.a.is_active()


@case
def supd_waits_for_its_address(bin_dir):
    """Started before the network: the node is found when its address comes."""
    with Lab(bin_dir, nodes=("a",)) as lab:
        lab.ip("a", "addr", "flush", "dev", "eth0")
        lab.a.start()
        wait_until(lambda: not lab.a.running() or os.path.getsize(lab.a.log) > 0, 5, "a word")
        assert lab.a.running(), "it gave up"
        lab.ip("a", "addr", "add", "10.77.0.11/24", "dev", "eth0")
        lab.ip("a", "route", "add", "default", "via", "10.77.0.1")
        lab.wait_active("a", 15)


@case
def files_have_the_modes_and_owners_of_the_contract(bin_dir):
    with Lab(bin_dir, nodes=("a",), wait_for_peer="1s", supd="socket_mode = 0620\n") as lab:
        lab.a.start()
        lab.wait_active("a")
        for path, mode, user, group in (
                ("run/supd", 0o755, "nobody", "nogroup"),
                ("run/supd/supd.pid", 0o644, "root", "root"),
                ("run/supd/supd.sock", 0o620, "root", "nogroup"),
                ("var/lib/supd", 0o750, "nobody", "nogroup"),
                ("var/log/supd", 0o755, "nobody", "nogroup"),
                ("var/log/supd/master.log", 0o640, "nobody", "nogroup")):
            st = os.lstat(os.path.join(lab.a.prefix, path))
            got = (stat.S_IMODE(st.st_mode), pwd.getpwuid(st.st_uid).pw_name,
                   grp.getgrgid(st.st_gid).gr_name)
            assert got == (mode, user, group), f"{path}: {oct(got[0])} {got[1]}:{got[2]}"
        with open(os.path.join(lab.a.prefix, "run/supd/supd.pid"), encoding="ascii") as f:
            assert int(f.read()) == lab.a.role("keeper")


@case
def supd_that_waits_for_its_address_is_there_and_can_be_ended(bin_dir):
    """It has let go of who started it, a second one is refused, and SIGTERM leaves nothing."""
    with Lab(bin_dir, nodes=("a",)) as lab:
        lab.ip("a", "addr", "flush", "dev", "eth0")
        words = ["nsenter", f"--net={lab.ns_path('a')}", lab.supd, "-c", lab.config,
                 "--prefix", lab.a.prefix]
        pidfile = os.path.join(lab.a.prefix, "run/supd/supd.pid")
        # Captured: returns only once the daemon has let go of the pipe.
        begun = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        assert begun.returncode == 0 and "waiting" in begun.stderr, begun
        with open(pidfile, encoding="ascii") as f:
            pid = int(f.read())
        try:
            assert alive(pid)
            again = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
            assert again.returncode == 1 and str(pid) in again.stderr, again
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), 5, "the waiting supd ended")
        assert not os.path.exists(pidfile)


# ---- the init script -----------------------------------------------------------------------------


class Init:
    def __init__(self, lab):
        self.lab = lab
        self.pidfile = os.path.join(lab.a.prefix, "run/supd/supd.pid")
        self.defaults = os.path.join(lab.dir, "default")
        self.set()

    def set(self, **more):
        values = {"DAEMON": self.lab.supd, "CONFIG": self.lab.config, "PREFIX": self.lab.a.prefix,
                  **more}
        with open(self.defaults, "w", encoding="utf-8") as f:
            f.write("".join(f"{k}={v}\n" for k, v in values.items()))

    def __call__(self, *words):
        if not os.path.exists(self.lab.supd):
            raise Skip(f"{self.lab.supd} is not built")
        with open(os.path.join(self.lab.dir, "init.out"), "w+", encoding="utf-8") as out:
            done = subprocess.run(
                ["nsenter", f"--net={self.lab.ns_path('a')}", "sh", INIT_SCRIPT, *words],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=60, check=False,
                env={"SUPD_DEFAULTS": self.defaults, "PATH": os.environ["PATH"]})
            out.seek(0)
            self.output = out.read()
        return done.returncode

    def pid(self):
        with open(self.pidfile, encoding="ascii") as f:
            return int(f.read())

    def expect(self, code, *words):
        got = self(*words)
        assert got == code, f"{' '.join(words)}: exit {got}, not {code}: {self.output}"


@case
def init_script_start_status_restart_stop(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        init = Init(lab)
        try:
            init.expect(3, "status")
            init.expect(0, "stop")
            init.expect(0, "start")
            init.expect(0, "status")
            wait_until(lab.a.is_active, 15, "active")
            first = init.pid()
            init.expect(0, "start")
            assert init.pid() == first, "started twice"
            init.expect(0, "restart")
            assert init.pid() != first and not alive(first)
            wait_until(lab.a.is_active, 15, "active again")
            init.expect(0, "force-reload")
            init.expect(0, "try-restart")
            wait_until(lab.a.is_active, 15, "active again")
            last = init.pid()
            init.expect(0, "stop")
            assert not alive(last) and not lab.a.program_pids() and not lab.a.has_vip()
            init.expect(3, "status")
            init.expect(0, "try-restart")
            init.expect(3, "status")
            init.expect(2, "nonsense")
            init.expect(2)
        finally:
            init("stop")


@case
def init_script_tells_dead_from_stopped(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        init = Init(lab)
        try:
            init.expect(0, "start")
            wait_until(lab.a.is_active, 15, "active")
            pids = lab.a.program_pids()
            os.kill(init.pid(), signal.SIGKILL)
            wait_until(lambda: not any(alive(p) for p in pids), 2, "death of the program")
            init.expect(1, "status")
            init.expect(0, "start")
            init.expect(0, "status")
        finally:
            init("stop")


@case
def init_script_reports_what_is_missing(bin_dir):
    with Lab(bin_dir, nodes=("a",)) as lab:
        init = Init(lab)
        init.set(DAEMON="/nonexistent/supd")
        init.expect(5, "start")
        init.set(CONFIG="/nonexistent/supd.ini")
        init.expect(6, "start")
        init.set()
        with open(lab.config, "a", encoding="utf-8") as f:
            f.write("\nno_such_key = 1\n")
        init.expect(6, "start")
        init.expect(3, "status")


@case
def init_script_is_clean_sh(bin_dir):
    if shutil.which("shellcheck") is None:
        raise Skip("needs shellcheck")
    top = os.path.join(os.path.dirname(INIT_SCRIPT), "../..")
    run("shellcheck", INIT_SCRIPT, os.path.join(top, "etc/quickstart.sh"),
        os.path.join(top, "tests/run.sh"))


@case
def install_puts_everything_in_place(bin_dir):
    if shutil.which("meson") is None:
        raise Skip("needs meson")
    if not os.path.exists(os.path.join(bin_dir, "supd", "supd")):
        raise Skip("supd is not built")
    with tempfile.TemporaryDirectory(prefix="supd-install-") as top:
        run("meson", "install", "-C", bin_dir, "--no-rebuild", "--destdir", top)
        found = {os.path.relpath(os.path.join(where, f), top)
                 for where, _, files in os.walk(top) for f in files}
        for path in ("usr/local/sbin/supd", "usr/local/bin/supctl", "etc/init.d/supd",
                     "usr/local/lib/systemd/system/supd.service", "usr/local/etc/supd/supd.ini"):
            assert path in found, f"{path} is not installed: {sorted(found)}"
        assert os.access(os.path.join(top, "etc/init.d/supd"), os.X_OK)
        config = os.path.join(top, "usr/local/etc/supd/supd.ini")
        with open(config, "w", encoding="utf-8") as f:
            f.write("mine\n")
        run("meson", "install", "-C", bin_dir, "--no-rebuild", "--destdir", top)
        with open(config, encoding="utf-8") as f:
            assert f.read() == "mine\n", "an edited configuration was overwritten"
