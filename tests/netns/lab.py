# SPDX-License-Identifier: MIT
"""A laboratory of network namespaces: two or three hosts, a gateway and a client on one switch.

          gw 10.77.0.1      cl 10.77.0.50
                 \\          /
                  [ br0, sw ]
                 /          \\
         a 10.77.0.11      b 10.77.0.12          virtual address 10.77.0.100, port 8000

With second_network=True the nodes alone have another one, 10.78.0.0/24 on eth1, switch br1, where
their cables are called a2 and b2.

Everything is named after this process, so that any number of labs may run side by side, and a Lab
touches nothing that it did not make.  Namespaces are entered with nsenter: `ip netns exec` would
remount /sys and hide the cgroups.
"""
import atexit
import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

import oracle

HERE = os.path.dirname(os.path.abspath(__file__))
NET = "10.77.0."
ADDRESS = {"gw": NET + "1", "a": NET + "11", "b": NET + "12", "c": NET + "13", "cl": NET + "50"}
SECOND = {name: address.replace(NET, "10.78.0.") for name, address in ADDRESS.items()}
SIX = {name: address.replace(NET, "fd77::") for name, address in ADDRESS.items()}
VIP = NET + "100"
PORT = 8000
PRIORITY = {"a": 150, "b": 100, "c": 50}
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """The machine lacks something that this test needs."""


class Failed(AssertionError):
    """A promise was broken, or a time-out passed."""


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def run(*argv, text=None, check=True):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done


def wait_until(condition, timeout, what, step=0.01):
    """The first true value of condition(); Failed after `timeout` seconds."""
    limit = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= limit:
            raise Failed(f"not within {timeout} s: {what}")
        time.sleep(step)


def stays(condition, seconds, what, step=0.02):
    """condition() holds now and for that long."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if not condition():
            raise Failed(f"did not last {seconds} s: {what}")
        time.sleep(step)


def active_down_ms(advert_ms, priority=PRIORITY["b"]):
    return advert_ms * (3 + (256 - priority) / 256)


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def alive(pid):
    """Running code: a zombie is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def cgroup2_root():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            before, _, after = line.partition(" - ")
            if after.split()[0] == "cgroup2":
                return before.split()[4]
    return None


def require_root():
    if os.geteuid() != 0:
        raise Skip("needs root")
    for tool in ("ip", "nft", "nsenter"):
        if shutil.which(tool) is None:
            raise Skip(f"needs {tool}")


class Node:
    """One host: a namespace, a prefix directory, and supd in it."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.prefix = os.path.join(lab.dir, name)
        self.log = os.path.join(lab.dir, f"supd-{name}.log")
        self.process = None
        self.prepare = None  # commands of sh, run as root in a mount namespace of supd's own
        self.environment = {}
        os.mkdir(self.prefix, 0o755)

    # ---- running supd ----

    def start(self):
        """Start supd in the foreground; does not wait for anything but the fork."""
        for binary in (self.lab.supd, self.lab.supctl):
            if not os.path.exists(binary):
                raise Skip(f"{binary} is not built")
        argv = ["nsenter", f"--net={self.lab.ns_path(self.name)}", self.lab.supd, "-n",
                "-c", self.lab.config, "--prefix", self.prefix]
        if self.prepare:
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                    f'{self.prepare}\nexec "$@"', "sh", *argv]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment}, preexec_fn=die_with_parent)

    def mount(self, *words):
        """mount(8) in this node's own mount namespace (prepare made it)."""
        return run("nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "mount", *words)

    def stop(self, timeout=30):
        """SIGTERM: hands over and ends.  Returns the exit status."""
        self.process.terminate()
        return self.wait_exit(timeout)

    def wait_exit(self, timeout):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"supd of {self.name} did not end within {timeout} s") from None

    def running(self):
        return self.process is not None and self.process.poll() is None

    # ---- its processes ----

    def roles(self):
        """{'keeper': pid, 'engine': pid, 'net': …, 'scribe': …, 'guard': …} of what is alive."""
        found = {}
        keeper = self.process.pid
        for pid in [keeper] + children_of(keeper):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                    comm = f.read().strip()
                if comm.startswith("supd: ") and alive(pid):
                    # A child about to become a program still bears the keeper's name.
                    found.setdefault(comm[6:], pid)
        return found

    def role(self, name):
        def look():
            return self.roles().get(name)
        return wait_until(look, 5, f"a {name} of supd on {self.name}")

    def kill(self, name, signo=signal.SIGKILL):
        pid = self.role(name)
        os.kill(pid, signo)
        return pid

    def kill_all(self):
        """kill -9 of every process of supd's own at once (the programs are not ours to kill)."""
        pids = list(self.roles().values())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # nobody reacts in between: this is a crash of all
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def program_pids(self):
        """Every process of the service's programs, by cgroup."""
        pids = []
        for path in self.lab.cgroups(self.name):
            for where, _, files in os.walk(path):
                leaf = os.path.basename(where).split(".")[0]
                if leaf in ("self", "roles", "guard", "fence", "vip") or "cgroup.procs" not in files:
                    continue
                with contextlib.suppress(OSError):
                    with open(os.path.join(where, "cgroup.procs"), encoding="utf-8") as f:
                        pids += [int(p) for p in f.read().split()]
        return [p for p in pids if p > 0]

    # ---- supctl ----

    def supctl(self, *words, timeout=70):
        """(exit status, output)"""
        done = subprocess.run(
            [self.lab.supctl, "-c", self.lab.config, "--prefix", self.prefix, *words],
            capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def supctl_ok(self, *words):
        code, text = self.supctl(*words)
        if code != 0:
            raise Failed(f"supctl {' '.join(words)} on {self.name}: exit {code}: {text.strip()}")
        return text

    def status(self):
        """`supctl status --json`, or None where supd does not answer (yet)."""
        code, text = self.supctl("--json", "status")
        return json.loads(text) if code == 0 else None

    def service(self, name="sched"):
        return pick(self.status(), "services", name)

    def program(self, name="master"):
        return pick(self.status(), "programs", name)

    def state(self):
        service = self.service()
        return service["state"] if service else None

    def is_active(self):
        """Active, and its program runs."""
        status = self.status()
        service, program = pick(status, "services", "sched"), pick(status, "programs", "master")
        return bool(service and program and service["state"] == "active"
                    and program["state"] == "running" and program["pid"])

    def runs_after_restarts(self, count):
        """The program runs, and has been restarted that often: one look at both."""
        program = self.program()
        return bool(program and program["pid"] and program["restarts"]["total"] == count)

    def runs_as_another_than(self, *pids):
        program = self.program()
        return bool(program and program["pid"] and program["pid"] not in pids)

    def target_answered(self, service="sched"):
        """The gateway has answered a probe: from now on this node can tell its own isolation."""
        code, text = self.supctl("--json", "explain", service)
        if code != 0:
            return False
        rows = json.loads(text)["services"][0]["evidence"]
        isolation = next(e for e in rows if e["kind"] == "isolation")
        return isolation["age_ms"] is not None

    def alarms(self):
        status = self.status()
        return [a["code"] for a in status["alarms"]] if status else []

    # ---- its network ----

    def has_vip(self, address=VIP):
        return self.lab.ip(self.name, "-o", "addr", "show").stdout.find(f" {address}/") >= 0

    def flag(self, name):
        """A file that fakesvc of this node looks for (--crash-if)."""
        return os.path.join(self.lab.dir, f"{name}-{self.name}")

    def crash_loop(self, on=True):
        if on:
            with open(self.flag("crash"), "w", encoding="utf-8"):
                pass
        else:
            os.unlink(self.flag("crash"))

    def kill_program(self):
        pid = self.program()["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid


def pick(status, table, name):
    if status is None:
        return None
    return next((row for row in status[table] if row["name"] == name), None)


def children_of(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            return [int(p) for p in f.read().split()]
    return []


class Probe:
    """A client of the virtual address, running beside the test; see prober.py."""

    def __init__(self, lab, number, hold=False, address=VIP):
        self.path = os.path.join(lab.dir, f"probe-{number}")
        argv = ["nsenter", f"--net={lab.ns_path('cl')}", "/usr/bin/python3",
                os.path.join(HERE, "prober.py")]
        argv += (["--hold"] if hold else []) + [address, str(PORT), self.path]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def records(self, kind):
        with contextlib.suppress(OSError):
            with open(self.path, encoding="utf-8") as f:
                lines = [line.split() for line in f if line.endswith("\n")]
            return [line[1:] for line in lines if line and line[0] == kind]
        return []

    def answers(self, since=0):
        """[(time_ns, node)]"""
        return [(int(r[0]), r[1]) for r in self.records("answer") if int(r[0]) >= since]

    def last_node(self):
        answers = self.answers()
        return answers[-1][1] if answers else None

    def wait_answer(self, node, timeout=10, since=None):
        since = now_ns() if since is None else since
        wait_until(lambda: any(n == node for _, n in self.answers(since)), timeout,
                   f"an answer of {node} at the virtual address")

    def gap_ms(self, since=0):
        """The longest time without any answer, from the last one before `since` on."""
        times = [t for t, _ in self.answers()]
        before = [t for t in times if t < since]
        times = before[-1:] + times[len(before):]
        return max((b - a) / 1e6 for a, b in zip(times, times[1:])) if len(times) > 1 else None

    def stop(self):
        self.process.kill()
        self.process.wait()


class Lab:
    _number = 0

    def __init__(self, bin_dir, nodes=("a", "b"), second_network=False, **settings):
        require_root()
        Lab._number += 1
        self.id = f"lab{os.getpid()}x{Lab._number}"
        self.supd = os.path.join(bin_dir, "supd", "supd")
        self.supctl = os.path.join(bin_dir, "supctl", "supctl")
        self.node_names = nodes
        self.hosts = ["gw", *nodes, "cl"]
        self.probes, self.helpers, self.nodes = [], [], {}
        self.dir = tempfile.mkdtemp(prefix=f"supd-{self.id}-", dir="/tmp")
        atexit.register(self.clean_up)
        os.chmod(self.dir, 0o755)
        self.ticks = os.path.join(self.dir, "ticks")
        os.mkdir(self.ticks)
        os.chmod(self.ticks, 0o1777)
        # A copy: the programs' user need not be able to reach the build directory.
        self.fakesvc = shutil.copy(os.path.join(bin_dir, "tests", "lib", "fakesvc"), self.dir)
        self.second_network = second_network
        self.make_network()
        if second_network:
            self.make_second_network()
        self.nodes = {name: Node(self, name) for name in nodes}
        self.config = os.path.join(self.dir, "supd.ini")
        self.write_config(**settings)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.judge()
            elif kind is not Skip:
                self.keep_evidence()
        finally:
            self.clean_up()

    def __getattr__(self, name):
        """lab.a, lab.b"""
        nodes = self.__dict__.get("nodes", {})
        if name in nodes:
            return nodes[name]
        raise AttributeError(name)

    # ---- the network ----

    def ns(self, host):
        return f"{self.id}-{host}"

    def ns_path(self, host):
        return f"/run/netns/{self.ns(host)}"

    def ip(self, host, *words):
        return run("ip", "-n", self.ns(host), *words)

    def batch(self, host, lines):
        run("ip", "-n", self.ns(host), "-batch", "-", text="\n".join(lines) + "\n")

    def make_network(self):
        for host in ["sw", *self.hosts]:
            run("ip", "netns", "add", self.ns(host))
        self.batch("sw", ["link set dev lo up", "link add name br0 type bridge forward_delay 0",
                          "link set dev br0 up"])
        for host in self.hosts:
            self.connect(host)
        run("nsenter", f"--net={self.ns_path('sw')}", "nft", "-f", "-", text="""
            table bridge lab {
                chain cut { type filter hook forward priority 0; }
            }""")

    def connect(self, host):
        """A new eth0 with its address, and its cable to the switch."""
        self.batch("sw", [
            f"link add name {host} type veth peer name eth0 netns {self.ns(host)}",
            f"link set dev {host} master br0", f"link set dev {host} up"])
        lines = ["link set dev lo up", f"addr add {ADDRESS[host]}/24 dev eth0", "link set dev eth0 up"]
        if host != "gw":
            lines.append(f"route add default via {ADDRESS['gw']}")
        self.batch(host, lines)

    def add_six(self):
        """Beside IPv4: fd77::11 for a, and so on; the gateway is one of IPv6, too."""
        for host in self.hosts:
            lines = [f"addr add {SIX[host]}/64 dev eth0 nodad"]
            if host != "gw":
                lines.append(f"route add default via {SIX['gw']} dev eth0")
            self.batch(host, lines)

    def make_second_network(self):
        self.batch("sw", ["link add name br1 type bridge forward_delay 0", "link set dev br1 up"])
        for host in self.node_names:
            self.batch("sw", [
                f"link add name {host}2 type veth peer name eth1 netns {self.ns(host)}",
                f"link set dev {host}2 master br1", f"link set dev {host}2 up"])
            self.batch(host, [f"addr add {SECOND[host]}/24 dev eth1", "link set dev eth1 up"])

    def drop(self, *rules):
        """nft matches in the switch, as in 'iifname "a"'; they stay until heal()."""
        text = "".join(f"add rule bridge lab cut {rule} drop\n" for rule in rules)
        run("nsenter", f"--net={self.ns_path('sw')}", "nft", "-f", "-", text=text)

    def cut(self, host):
        """At the switch: the carrier stays, nothing passes in either direction."""
        self.drop(f'iifname "{host}"', f'oifname "{host}"')

    def heal(self):
        run("nsenter", f"--net={self.ns_path('sw')}", "nft", "flush", "chain", "bridge", "lab", "cut")

    def pull_cable(self, host):
        self.ip("sw", "link", "set", "dev", host, "down")

    def plug_cable(self, host):
        self.ip("sw", "link", "set", "dev", host, "up")

    def unruly_cable(self, host, delay_ms, duplicates_percent):
        """From now on each frame takes its own time, up to delay_ms, and some come twice."""
        inner = f"{host}-in"
        self.batch("sw", [f"link add name {inner} type veth peer name {host}-br",
                          f"link set dev {inner} up promisc on", f"link set dev {host}-br up",
                          f"link set dev {host} nomaster", f"link set dev {host} promisc on",
                          f"link set dev {host}-br master br0"])
        relay = subprocess.Popen(
            ["nsenter", f"--net={self.ns_path('sw')}", "/usr/bin/python3",
             os.path.join(HERE, "relay.py"), host, inner, str(delay_ms), str(duplicates_percent)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.helpers.append(relay)
        if relay.stdout.readline() != b"ready\n":
            raise Failed("no relay")

    def probe(self, hold=False, address=VIP):
        probe = Probe(self, len(self.probes), hold, address)
        self.probes.append(probe)
        return probe

    # ---- the configuration ----

    def write_config(self, supd="", service="", program="", extra="", fakesvc="", advert_int="1s",
                     wait_for_peer="60s", restart_limit="3/60s", priorities=None, vips=VIP,
                     listen=f"{VIP}:{PORT}"):
        """The file of all nodes; the texts are appended to their sections."""
        self.key = os.path.join(self.dir, "key")
        if not os.path.exists(self.key):
            with open(os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600), "w",
                      encoding="ascii") as f:
                f.write(secrets.token_hex(32) + "\n")
        priorities = priorities or PRIORITY
        sections = [f"[supd]\ncluster = {self.id}\nkey_file = {self.key}\nuser = nobody\n"
                    f"socket_group = nogroup\nlog_target = stderr\nlog_level = debug\n{supd}"]
        for name in self.node_names:
            path = f"peer_address = {SECOND[name]}\n" if self.second_network else ""
            sections.append(f"[node:{name}]\naddress = {ADDRESS[name]}\n"
                            f"priority = {priorities[name]}\n{path}")
        sections.append(
            f"[service:sched]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = {vips}\n"
            f"advert_int = {advert_int}\nwait_for_peer = {wait_for_peer}\n"
            f"restart_limit = {restart_limit}\n{service}")
        sections.append(
            f"[program:master]\nservice = sched\nuser = nobody\n"
            f"command = {self.fakesvc} --log {self.ticks} --tick 2 --listen {listen} "
            f"--crash-if {self.dir}/crash {fakesvc}\n{program}")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("\n".join(sections + [extra]))

    # ---- the usual beginning, and questions to the whole ----

    def start_all(self):
        for node in self.nodes.values():
            node.start()

    def wait_active(self, name, timeout=15):
        """`name` is active with its program running, every other started node is backup."""
        wait_until(self.nodes[name].is_active, timeout, f"{name} active", 0.02)
        return self.nodes[name]

    def wait_settled(self, active="a", timeout=15):
        """Start all: the election makes `active` active, by its priority, and the others backup."""
        self.start_all()
        first = wait_until(self.active_node, timeout, "one active", 0.02)
        if first.name != active:
            raise Failed(f"{first.name} won the election against {active}, of higher priority")
        for name, node in self.nodes.items():
            if name != active:
                wait_until(lambda n=node: n.state() == "backup", timeout, f"{name} backup", 0.02)
        self.wait_active(active, timeout)

    def active_node(self):
        return next((n for n in self.nodes.values() if n.is_active()), None)

    def settle(self):
        """Start all; a active, every other a fit standby. Returns the lab."""
        try:
            self.wait_settled()
            for name in self.node_names:
                wait_until(self.nodes[name].target_answered, 10, f"{name}: the gateway answered")
            for name in self.node_names[1:]:
                self.wait_standby(name)
        except Failed:
            self.keep_evidence()
            raise
        return self

    def wait_standby(self, name, timeout=15):
        """`name` is a backup that the active node sees and could hand over to."""
        node = self.nodes[name]
        peers = [n for n in self.nodes.values() if n is not node]

        def ready():
            if node.state() != "backup":
                return False
            status = peers[0].status()
            row = pick(status, "nodes", name)
            seen = row and row["reachable"] and row["services"]["sched"]
            return bool(seen and seen["fit"] and seen["state"] == "backup")
        wait_until(ready, timeout, f"{name} a fit standby", 0.02)

    def instances(self):
        return oracle.read_instances(self.ticks)

    def cgroups(self, node):
        root = cgroup2_root()
        if root is None:
            return []
        return [os.path.join(root, d) for d in os.listdir(root)
                if d.startswith(f"supd-{self.id}-{node}-")]

    # ---- the end ----

    def sanitizer_reports(self):
        found = []
        for node in self.nodes.values():
            with contextlib.suppress(OSError):
                with open(node.log, encoding="utf-8", errors="replace") as f:
                    found += [line.strip() for line in f
                              if re.search(r"ERROR: \w+Sanitizer|runtime error:", line)]
        return found

    def violations(self):
        return oracle.violations(self.instances())

    def judge(self):
        """Every test ends here: the oracle, and the sanitizers."""
        bad = self.violations() + self.sanitizer_reports()
        if bad:
            self.keep_evidence()
            raise Failed("; ".join(bad))

    def keep_evidence(self):
        """What a person needs to understand a failure, on stdout (the runner shows it)."""
        for broken in self.violations() + self.sanitizer_reports():
            print(oracle.MARK, broken)
        for name, node in self.nodes.items():
            if node.running():
                for words in (["status"], ["explain"]):
                    with contextlib.suppress(Exception):
                        print(f"---- supctl {words[0]} on {name}\n{node.supctl(*words, timeout=5)[1]}")
            with contextlib.suppress(OSError):
                with open(node.log, encoding="utf-8", errors="replace") as f:
                    print(f"---- log of {name}\n" + "".join(f.readlines()[-120:]))
        print("---- instances")
        for i in self.instances():
            print(i)

    def clean_up(self):
        atexit.unregister(self.clean_up)
        for probe in self.probes:
            probe.stop()
        for helper in self.helpers:
            helper.kill()
            helper.communicate()
        for node in self.nodes.values():
            self.end_node(node)
        for host in ["sw", *self.hosts]:
            run("ip", "netns", "del", self.ns(host), check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def end_node(self, node):
        if node.running():
            with contextlib.suppress(ProcessLookupError):
                for pid in node.roles().values():
                    os.kill(pid, signal.SIGCONT)
            node.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.process.wait(3)
        for path in self.cgroups(node.name):
            remove_cgroup(path)
        if node.running():
            node.process.kill()
            node.process.wait()


def remove_cgroup(path):
    """Kill what is left in one of our cgroups, and take it away."""
    with contextlib.suppress(OSError):
        with open(os.path.join(path, "cgroup.kill"), "w", encoding="ascii") as f:
            f.write("1")
    for where, _, _ in os.walk(path, topdown=False):
        for _ in range(100):
            try:
                os.rmdir(where)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)


def sweep(pid):
    """Remove what the labs of a process left behind that was killed before it could clean up."""
    mark = f"lab{pid}x"
    root = cgroup2_root()
    for name in os.listdir(root) if root else []:
        if name.startswith(f"supd-{mark}"):
            remove_cgroup(os.path.join(root, name))
    for name in os.listdir("/run/netns"):
        if name.startswith(mark):
            run("ip", "netns", "del", name, check=False)
    for name in os.listdir("/tmp"):
        if name.startswith(f"supd-{mark}"):
            shutil.rmtree(os.path.join("/tmp", name), ignore_errors=True)
