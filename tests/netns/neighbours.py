# SPDX-License-Identifier: MIT
"""Other VRRP routers in a lab: keepalived or FRR in the namespace of one host, and what they say on
the wire as tshark reads it.

A NeighbourLab has several services beside each other, one for each way of speaking VRRP, each with
a VRID of its own: keepalived gets a vrrp_instance for each of them, so that one course of events
tries them all at once.
"""
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

import oracle
from lab import ADDRESS, PORT, VIP, Failed, Lab, Skip, die_with_parent, pick, run, wait_until

# What keepalived says about adverts that it does not like, or about itself.
COMPLAINT = re.compile(
    r"nvalid|mismatch|ncorrect|[Ee]rror|expected|[Dd]ropp|[Dd]uplicate|nknown|too (short|long)|"
    r"not (found|available|supported)|[Ff]ail|[Ww]arning|[Cc]annot|[Uu]nable|[Ii]gnor")


def require(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            raise Skip(f"needs {tool}")


@dataclass
class Way:
    """One way of speaking VRRP: a service of supd and an instance of keepalived."""
    name: str
    vrid: int
    vips: list
    service: str = ""  # supd's keys
    instance: str = ""  # keepalived's
    unicast: bool = True
    advert_int: int = 1  # keepalived's
    told: list = None  # keepalived's addresses, where they are others

    @property
    def six(self):
        return ":" in self.vips[0]


SIX = {"a": ("fd77::11", "fe80::11"), "b": ("fd77::12", "fe80::12")}


def way_v3():
    return Way("v3", 51, [VIP], instance="version 3\n")


def all_ways():
    """Versions, passwords, families, and to each node or to the group."""
    multicast = "multicast = yes\n"
    two = "vrrp_version = 2\n"
    password = "auth_type = pass\nauth_pass = secret12\n"
    three = "version 3\n"
    told = "version 2\n  authentication {\n    auth_type PASS\n    auth_pass secret12\n  }\n"
    ways = [way_v3()]
    for name, vrid, service, instance, unicast in (
            ("v3m", 52, multicast, three, False), ("v2u", 53, two, "version 2\n", True),
            ("v2m", 54, two + multicast, "version 2\n", False),
            ("v2up", 55, two + password, told, True),
            ("v2mp", 56, two + password + multicast, told, False)):
        ways.append(Way(name, vrid, [f"10.77.0.{vrid}"], service, instance, unicast))
    for name, vrid, service, unicast in (("v6u", 57, "", True), ("v6m", 58, multicast, False)):
        ways.append(Way(name, vrid, [f"fe80::{vrid}", f"fd77::{vrid}"], service, three, unicast))
    return ways


class Keepalived:
    """keepalived on one host, with an instance for each way."""

    def __init__(self, lab, host, priority, nopreempt=False, job=False):
        require("keepalived")
        self.lab, self.host = lab, host
        self.process, self.master = None, -1
        self.config = os.path.join(lab.dir, f"keepalived-{host}.conf")
        self.log = os.path.join(lab.dir, f"keepalived-{host}.log")
        self.peer = next(n for n in lab.node_names if n != host)
        self.priority, self.nopreempt, self.job = priority, nopreempt, job

    def write_job(self):
        """A notify script as many have one: starts the job on MASTER, ends it on anything else."""
        pid, script = f"{self.lab.dir}/job-{self.host}.pid", f"{self.lab.dir}/job-{self.host}"
        with open(os.open(script, os.O_WRONLY | os.O_CREAT, 0o755), "w", encoding="ascii") as f:
            f.write(f'''#!/bin/sh
if [ "$3" = MASTER ]; then
	SUPD_NODE={self.host} SUPD_TERM=0 setsid {self.lab.fakesvc} --log {self.lab.ticks} --tick 2 &
	echo $! >{pid}
elif [ -f {pid} ]; then
	kill "$(cat {pid})"
	rm {pid}
fi
''')
        return f"  notify {script}\n"

    def end_job(self):
        try:
            with open(f"{self.lab.dir}/job-{self.host}.pid", encoding="ascii") as f:
                os.kill(int(f.read()), signal.SIGKILL)
        except (OSError, ValueError):
            pass

    def write_config(self):
        text = "global_defs {\n  script_user root\n  vrrp_garp_master_delay 0\n}\n"
        for way in self.lab.ways:
            own, peer = ((SIX[self.host][0], SIX[self.peer][0]) if way.six
                         else (ADDRESS[self.host], ADDRESS[self.peer]))
            unicast = (f"  unicast_src_ip {own}\n  unicast_peer {{\n    {peer}\n  }}\n"
                       if way.unicast else "")
            if way.unicast and way.six:
                unicast += "  unicast_ttl 255\n"  # else 64, which the RFC forbids
            addresses = "\n    ".join(way.told or way.vips)
            text += (f"vrrp_instance {way.name} {{\n  interface eth0\n  state BACKUP\n"
                     f"  virtual_router_id {way.vrid}\n  priority {self.priority}\n"
                     f"  advert_int {way.advert_int}\n  {way.instance}{unicast}"
                     + ("  nopreempt\n" if self.nopreempt else "")
                     + (self.write_job() if self.job else "") +
                     f"  virtual_ipaddress {{\n    {addresses}\n  }}\n}}\n")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def start(self):
        self.write_config()
        files = [f"{option}={self.lab.dir}/keepalived-{self.host}{end}"
                 for option, end in (("--pid", ".pid"), ("--vrrp_pid", ".vrrp"))]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net={self.lab.ns_path(self.host)}", "keepalived", "--dont-fork",
                 "--log-console", "--log-detail", "--vrrp", f"--use-file={self.config}", *files],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        return self

    def stop(self):
        """SIGTERM: priority 0 first, then the addresses go."""
        self.process.terminate()
        self.process.wait(10)

    def kill(self):
        """kill -9 of both its processes: the addresses stay."""
        with open(f"{self.lab.dir}/keepalived-{self.host}.vrrp", encoding="ascii") as f:
            child = int(f.read())
        for pid in (self.process.pid, child):
            os.kill(pid, signal.SIGSTOP)
        for pid in (self.process.pid, child):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def states(self):
        """{way: newest state}"""
        return dict(re.findall(r"\((\S+)\) Entering (\w+) STATE", self.text()))

    def all_in(self, state):
        return all(self.states().get(way.name) == state for way in self.lab.ways)

    def wait_all(self, state, timeout):
        wait_until(lambda: self.all_in(state), timeout, f"keepalived all {state}", 0.05)

    def complaints(self):
        return [line for line in self.text().splitlines() if COMPLAINT.search(line)]

    def clean_up(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.end_job()


class Frr:
    """FRR's zebra and vrrpd on one host, with the macvlan that they want: version 3, to the group."""
    BIN = "/usr/lib/frr"

    def __init__(self, lab, host, priority):
        require(f"{self.BIN}/vrrpd")
        self.lab, self.host, self.priority = lab, host, priority
        self.way = lab.ways[0]
        self.dir = os.path.join(lab.dir, f"frr-{host}-{priority}")
        self.log = os.path.join(self.dir, "vrrpd.log")
        self.daemons = {}
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o777)  # it gives its privileges up

    def start(self):
        link, vrid, vip = f"vrrp{self.priority}", self.way.vrid, self.way.vips[0]
        self.lab.ip(self.host, "link", "add", "name", link, "link", "eth0", "address",
                    f"00:00:5e:00:01:{vrid:02x}", "type", "macvlan", "mode", "bridge")
        self.lab.ip(self.host, "addr", "add", f"{vip}/24", "dev", link)
        self.lab.ip(self.host, "link", "set", link, "up")
        # As its manual wants it: else the host goes on to answer for the address as a Backup.
        run("nsenter", f"--net={self.lab.ns_path(self.host)}", "sh", "-c",
            "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        with open(f"{self.dir}/zebra.conf", "w", encoding="ascii"):
            pass
        with open(f"{self.dir}/vrrpd.conf", "w", encoding="ascii") as f:
            f.write(f"interface eth0\n vrrp {vrid} version 3\n vrrp {vrid} priority {self.priority}\n"
                    f" vrrp {vrid} advertisement-interval 1000\n vrrp {vrid} ip {vip}\n")
        self.run("zebra")
        wait_until(lambda: os.path.exists(f"{self.dir}/zserv.api"), 5, "zebra")
        self.run("vrrpd")
        return self

    def run(self, name):
        with open(f"{self.dir}/{name}.log", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                ["nsenter", f"--net={self.lab.ns_path(self.host)}", f"{self.BIN}/{name}",
                 "--vty_socket", self.dir, "-i", f"{self.dir}/{name}.pid", "-z",
                 f"{self.dir}/zserv.api", "-f", f"{self.dir}/{name}.conf", "--log", "stdout"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_state(self, state, timeout):
        """Its newest: Master or Backup."""
        def newest():
            found = re.findall(rf"\[VRID {self.way.vrid}\] \[IPv4\] \w+ -> (\w+)", self.text())
            return bool(found) and found[-1] == state
        wait_until(newest, timeout, f"FRR {state}", 0.05)

    def stop(self):
        self.daemons["vrrpd"].terminate()
        self.daemons["vrrpd"].wait(5)
        self.clean_up()
        self.lab.ip(self.host, "link", "del", f"vrrp{self.priority}")

    def complaints(self):
        return [line for line in self.text().splitlines()
                if COMPLAINT.search(line) and "IPv6" not in line and "Refusing to start" not in line]

    def clean_up(self):
        for daemon in self.daemons.values():
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()


class Capture:
    """All VRRP, ARP and neighbour discovery at one host's port of the switch."""

    def __init__(self, lab, host):
        require("dumpcap", "tshark")
        self.path = os.path.join(lab.dir, f"{host}.pcap")
        self.process = subprocess.Popen(
            ["nsenter", f"--net={lab.ns_path('sw')}", "dumpcap", "-q", "-P", "-i", host, "-f",
             "proto 112 or ip6 proto 112 or arp or icmp6 or port 112", "-w", self.path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        wait_until(lambda: os.path.exists(self.path), 5, "a capture")

    def read(self, where, *fields):
        """A row of the fields of each packet that the filter passes."""
        options = [word for name in fields for word in ("-e", name)]
        done = run("tshark", "-n", "-r", self.path, "-Y", where, "-T", "fields", *options)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)

    def judge(self, lab):
        """Adverts of every way and from both hosts, and nothing in them that tshark marks."""
        self.stop()
        seen = {(int(vrid), source) for vrid, source in
                self.read("vrrp", "vrrp.virt_rtr_id", "eth.src")}
        for way in lab.ways:
            if len([1 for vrid, _ in seen if vrid == way.vrid]) != 2:
                raise Failed(f"{way.name}: adverts not seen of two hosts: {sorted(seen)}")
        # An address that moves is a duplicate to tshark; severity from 0x600000 on is a warning.
        bad = self.read("_ws.malformed || (vrrp && !(vrrp.checksum.status == 1)) || "
                        "(_ws.expert.severity >= 6291456 && !arp.duplicate-address-detected)",
                        "frame.number", "_ws.col.Protocol", "_ws.col.Info", "_ws.expert.message",
                        "vrrp.checksum.status")
        if bad:
            raise Failed(f"tshark marks {len(bad)} packets: {bad[:3]}")


class NeighbourLab(Lab):
    """Two hosts, supd or a plain router on either, a service for each way."""

    def __init__(self, bin_dir, ways, plain=(), **settings):
        self.ways, self.plain = ways, plain
        self.others = []
        super().__init__(bin_dir, **settings)
        for name in self.node_names:
            for address in SIX[name]:
                self.ip(name, "addr", "add", f"{address}/64", "dev", "eth0", "nodad")

    def write_config(self, supd="", service="", node="", priorities=None, program=None, extra=""):
        super().write_config(supd=supd, priorities=priorities)
        with open(self.config, encoding="utf-8") as f:
            text = f.read().split("[service:")[0]
        for name, addresses in SIX.items():
            text = text.replace(f"address = {ADDRESS[name]}\n",
                                f"address = {ADDRESS[name]}, {', '.join(addresses)}\n")
        for name in self.plain:
            text = text.replace(f"[node:{name}]\n", f"[node:{name}]\npeer_link = no\n{node}")
        for way in self.ways:
            text += (f"[service:{way.name}]\ninterface = eth0\nvirtual_router_id = {way.vrid}\n"
                     f"virtual_ipaddress = {', '.join(way.vips)}\n{way.service}{service}")
        if program:
            text += (f"[program:master]\nservice = {self.ways[0].name}\nuser = nobody\n"
                     f"command = {self.fakesvc} --log {self.ticks} --tick 2 "
                     f"--listen {VIP}:{PORT}\n")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text + extra)

    def keepalived(self, host, priority, **more):
        other = Keepalived(self, host, priority, **more)
        self.others.append(other)
        return other

    def frr(self, host, priority):
        other = Frr(self, host, priority)
        self.others.append(other)
        return other

    def capture(self, host):
        capture = Capture(self, host)
        self.others.append(capture)
        return capture

    def service_states(self, name):
        """{way: state} of supd on a host."""
        status = self.nodes[name].status()
        return {w.name: pick(status, "services", w.name)["state"] for w in self.ways} if status else {}

    def wait_services(self, name, state, timeout):
        def look():
            states = self.service_states(name)
            return states and all(s == state for s in states.values())
        wait_until(look, timeout, f"all services {state} on {name}", 0.05)

    def expect_no_refusal(self, name):
        """supd refused no advert, and finds nothing in them that differs."""
        for row in self.nodes[name].status()["services"]:
            said = {k: n for table in ("rejects", "differs")
                    for k, n in row["counters"][table].items() if n}
            assert not said, f"{row['name']} on {name}: {said}"

    def addresses(self, host):
        """The virtual addresses that a host has."""
        text = self.ip(host, "-o", "addr", "show", "dev", "eth0").stdout
        return {way.name for way in self.ways if all(f" {vip}/" in text for vip in way.vips)}

    def all_names(self):
        return {way.name for way in self.ways}

    def wait_addresses(self, host, timeout, names=None):
        names = self.all_names() if names is None else names
        wait_until(lambda: self.addresses(host) == names, timeout, f"addresses {names} on {host}",
                   0.05)

    def violations(self):
        """What keepalived's script starts has no term, but counts as an instance."""
        found = self.instances()
        return ([v for v in oracle.violations(found) if "two at once" in v]
                + oracle.violations([i for i in found if i.term]))

    def judge(self):
        super().judge()
        for other in self.others:
            if isinstance(other, Capture):
                other.judge(self)
            elif other.complaints():
                raise Failed(f"{type(other).__name__} complains: {other.complaints()[:3]}")

    def keep_evidence(self):
        super().keep_evidence()
        for other in self.others:
            if not isinstance(other, Capture):
                print(f"---- {type(other).__name__} on {other.host}\n" + other.text()[-8000:])

    def clean_up(self):
        for other in self.others:
            if isinstance(other, Capture):
                other.stop()
            else:
                other.clean_up()
        super().clean_up()
