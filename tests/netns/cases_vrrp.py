# SPDX-License-Identifier: MIT
"""Adverts between two nodes: each version, family, way of casting and transport, a service each in
one lab, so that all of them share the time of one."""
import contextlib
import os
import subprocess
import sys
import time

from case import case
from lab import ADDRESS, VIP, Lab, active_down_ms, die_with_parent, pick, wait_until

SIX = {"a": ("fd77::11", "fe80::11"), "b": ("fd77::12", "fe80::12")}

# name: the service's own lines
KINDS = {
    "v2u": "vrrp_version = 2\nauth_type = pass\nauth_pass = secret12\n",
    "v2m": "vrrp_version = 2\nmulticast = yes\n",
    "v3u": "vrrp_checksum = rfc9568\n",
    "v3m": "multicast = yes\n",
    "v6u": "",
    "v6m": "multicast = yes\n",
    "udp": "transport = udp\n",
    "v6udp": "transport = udp\n",
}


def services():
    text = ""
    for number, (name, lines) in enumerate(KINDS.items(), 60):
        six = f"fe80::{number}, fd77::{number}" if name.startswith("v6") else f"10.77.0.{number}"
        text += (f"[service:{name}]\ninterface = eth0\nvirtual_router_id = {number}\n"
                 f"virtual_ipaddress = {six}\nadvert_int = 1s\n{lines}"
                 f"[program:p{name}]\nservice = {name}\nuser = nobody\n"
                 f"command = /bin/sleep 10000\n")
    return text


def lab_of_kinds(bin_dir, extra):
    lab = Lab(bin_dir, advert_int="1s", extra=extra)
    for name, addresses in SIX.items():
        for address in addresses:
            lab.ip(name, "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    with open(lab.config, encoding="utf-8") as f:
        text = f.read()
    for name, addresses in SIX.items():
        text = text.replace(f"address = {ADDRESS[name]}\n",
                            f"address = {ADDRESS[name]}, {', '.join(addresses)}\n")
    with open(lab.config, "w", encoding="utf-8") as f:
        f.write(text)
    return lab


def counters(node, service):
    return pick(node.status(), "services", service)["counters"]


def is_heard(lab, name):
    """The standby has heard several adverts, none was refused, nothing in them differs."""
    seen = counters(lab.b, name)
    refused = {k: n for k, n in seen["rejects"].items() if n}
    differing = {k: n for k, n in seen["differs"].items() if n}
    assert not refused and not differing, f"{name}: {refused} {differing}"
    return seen["adverts_received"] >= 2


def all_states(node, names):
    status = node.status()
    return [pick(status, "services", n)["state"] for n in names] if status else []


@case(sanitized=True)
def every_version_family_and_cast_between_two_nodes(bin_dir):
    names = list(KINDS)
    with lab_of_kinds(bin_dir, services()) as lab:
        lab.wait_settled()
        for name in names:
            wait_until(lambda n=name: is_heard(lab, n), 10, f"{name}: adverts heard")
        wait_until(lambda: not lab.b.alarms(), 10, f"no alarm: {lab.b.alarms()}")
        # A release is an advert too, and what ends here goes on there.
        lab.a.stop()
        wait_until(lambda: set(all_states(lab.b, names)) == {"active"}, 15, "all active on b")
        for name in names:
            assert not any(counters(lab.b, name)["rejects"].values()), name


@contextlib.contextmanager
def forger(lab, of, to, *priorities):
    """Adverts of node `of`, sent to node `to` by the client's host, ten in each advert_int."""
    process = subprocess.Popen(
        ["nsenter", f"--net={lab.ns_path('cl')}", sys.executable,
         os.path.join(os.path.dirname(os.path.abspath(__file__)), "forger.py"),
         ADDRESS[of], ADDRESS[to], "51", VIP, "30", *[str(p) for p in priorities]],
        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        yield
        assert process.poll() is None, "the forger has ended"
    finally:
        process.kill()
        process.wait()


@case
def forged_adverts_end_nothing_and_hold_a_takeover_off_for_a_bounded_time(bin_dir):
    advert_ms = 300
    with Lab(bin_dir, advert_int=f"{advert_ms}ms") as lab:
        lab.settle()
        pid = lab.a.program()["pid"]
        with forger(lab, "b", "a", 255, 0, 254), forger(lab, "a", "b", 255, 0, 1):
            before = counters(lab.a, "sched")["adverts_received"]
            wait_until(lambda: counters(lab.a, "sched")["adverts_received"] > before + 30, 10,
                       "thirty forged adverts heard")
            assert lab.a.program()["pid"] == pid and lab.b.state() == "backup"
            # The worst case for the standby: the kernel of the dead one answers until the lease ends.
            down = active_down_ms(advert_ms) / 1000
            lab.a.kill_all()
            killed = time.monotonic()
            wait_until(lab.b.is_active, 3 + 1.5 + 3 * down + 3, "b active in spite of the forger")
            took = time.monotonic() - killed
            assert took > down, f"{took:.1f} s: nothing was forged"
        print(f"# held off for {took:.1f} s, Active_Down is {down:.1f} s")
