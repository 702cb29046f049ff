# SPDX-License-Identifier: MIT
"""Two networks between the nodes (peer_address): one that dies is an alarm and nothing else."""
import oracle
from case import case
from lab import ADDRESS, PRIORITY, SECOND, Failed, Lab, active_down_ms, now_ns, pick, stays, wait_until

ADVERT_MS = 300  # what is shown here is no matter of milliseconds


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", f"{ADVERT_MS}ms")
    lab = Lab(bin_dir, second_network=True, **settings).settle()
    wait_until(lambda: both_ways(lab), 5, "both paths heard on both nodes")
    return lab


def path_alarms(node):
    """{address}: the peer's ends of the paths that are lost."""
    status = node.status()
    return {a["address"] for a in status["alarms"] if a["code"] == "path_lost"} if status else None


def heard_ms(node, peer):
    """{address: age or None}"""
    row = pick(node.status(), "nodes", peer)
    return {p["address"]: p["heard_ms"] for p in row["paths"]} if row else {}


def both_ways(lab):
    limit = active_down_ms(ADVERT_MS)
    ages = [*heard_ms(lab.a, "b").values(), *heard_ms(lab.b, "a").values()]
    return len(ages) == 4 and all(age is not None and age < limit for age in ages)


class Unmoved:
    """Over the block: a active, the same process, the same term, b backup, and b starts nothing."""

    def __init__(self, lab):
        self.lab = lab

    def facts(self):
        lab = self.lab
        return (lab.a.state(), lab.a.program()["pid"], lab.a.service()["term"], lab.b.state(),
                lab.b.has_vip(), {i.node for i in lab.instances()})

    def __enter__(self):
        self.before = self.facts()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None and self.facts() != self.before:
            raise Failed(f"{self.before} became {self.facts()}")


def roles_stay(lab, seconds):
    stays(lambda: lab.a.state() == "active" and lab.b.state() == "backup", seconds, "the roles")


def kill_path(lab, cut, addresses):
    """The path's end is an alarm on both nodes, soon, and over after the repair."""
    since = now_ns()
    cut()
    expected = ({addresses["b"]}, {addresses["a"]})
    wait_until(lambda: (path_alarms(lab.a), path_alarms(lab.b)) == expected, 5, "path_lost, twice")
    print(f"path_lost on both after {(now_ns() - since) / 1e6:.0f} ms")
    roles_stay(lab, 2)
    assert (path_alarms(lab.a), path_alarms(lab.b)) == expected
    lab.heal()
    wait_until(lambda: not path_alarms(lab.a) and not path_alarms(lab.b), 5, "the alarms' end")
    roles_stay(lab, 1)


@case(sanitized=True)
def one_dead_network_is_an_alarm_and_no_event(bin_dir):
    """Either one, for good or only for the peer link, on either node."""
    with settled(bin_dir) as lab, Unmoved(lab):
        kill_path(lab, lambda: lab.cut("a2"), SECOND)
        kill_path(lab, lambda: lab.cut("b2"), SECOND)
        kill_path(lab, lambda: lab.drop('iifname { "a", "b" } udp dport 7112'), ADDRESS)


@case
def the_first_network_cut_at_the_switch_moves_nothing(bin_dir):
    """No adverts, no gateway; the other path says who is active: an alarm, not a takeover."""
    with settled(bin_dir) as lab, Unmoved(lab):
        for host in ("a", "b"):
            kill_path(lab, lambda h=host: lab.cut(h), ADDRESS)
        lab.cut("a")
        wait_until(lambda: "vrrp_path" in lab.b.alarms(), 3, "the alarm of the VRRP path")
        roles_stay(lab, 1)
        lab.heal()
        wait_until(lambda: "vrrp_path" not in lab.b.alarms(), 5, "its end")


@case
def with_all_of_vrrp_and_one_peer_path_cut_a_handover_still_works(bin_dir):
    with settled(bin_dir) as lab:
        lab.drop('iifname { "a", "b" } ip protocol 112', 'iifname { "a", "b" } udp dport 7112')
        wait_until(lambda: {"vrrp_path", "path_lost"} <= set(lab.b.alarms()), 5, "both alarms")
        roles_stay(lab, 2)
        probe = lab.probe()
        probe.wait_answer("a")
        lab.a.supctl_ok("failover")
        probe.wait_answer("b", 5)
        lab.wait_active("b", 5)
        stays(lambda: lab.b.is_active() and lab.a.state() == "backup", 1.5, "the new roles")
        lab.heal()
        wait_until(lambda: not lab.a.alarms() and not lab.b.alarms(), 5, "no alarm is left")


@case(quiet=True)
def one_network_then_both_is_a_takeover_after_the_second(bin_dir):
    with settled(bin_dir) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        with Unmoved(lab):
            lab.cut("a2")
            wait_until(lambda: path_alarms(lab.b) == {SECOND["a"]}, 5, "path_lost")
            roles_stay(lab, 1)
        since = now_ns()
        lab.cut("a")
        probe.wait_answer("b", 10)
        lab.wait_active("b", 5)
        wait_until(lambda: not lab.a.program_pids(), 5, "the isolated host's program killed")
        gap, limit = probe.gap_ms(since), active_down_ms(ADVERT_MS, PRIORITY["b"]) + 100
        margin = oracle.margins_ms(lab.instances())
        print(f"a client saw a gap of {gap:.0f} ms (limit {limit:.0f} ms); "
              f"dead before start by {margin[0]:.0f} ms")
        if gap > limit:
            raise Failed(f"{gap:.0f} ms > {limit:.0f} ms")
        lab.heal()
        wait_until(lambda: lab.a.state() == "backup", 10, "a backup after the repair")
        wait_until(lambda: not path_alarms(lab.a) and not path_alarms(lab.b), 5, "no path lost")
        stays(lambda: lab.b.is_active() and not lab.a.program_pids(), 2, "b active after it")


@case
def a_pulled_cable_hands_over_by_the_other_path(bin_dir):
    """The service's link is down: its host kills, and can still say so."""
    with settled(bin_dir) as lab:
        probe = lab.probe()
        probe.wait_answer("a")
        since = now_ns()
        lab.pull_cable("a")
        probe.wait_answer("b", 10)
        lab.wait_active("b", 5)
        margin = oracle.margins_ms(lab.instances())
        print(f"a client saw a gap of {probe.gap_ms(since):.0f} ms; "
              f"dead before start by {margin[0]:.0f} ms")
        lab.plug_cable("a")
        wait_until(lambda: lab.a.state() == "backup", 10, "a backup after the repair")


@case
def a_path_whose_address_comes_late_works_as_soon_as_it_does(bin_dir):
    """eth1 of b has no address at boot; it gets one, loses it, and gets it again."""
    with Lab(bin_dir, second_network=True, advert_int=f"{ADVERT_MS}ms") as lab:
        lab.ip("b", "addr", "del", f"{SECOND['b']}/24", "dev", "eth1")
        lab.settle()
        with Unmoved(lab):
            for _ in range(2):
                wait_until(lambda: path_alarms(lab.a) == {SECOND["b"]}, 5, "path_lost on a")
                lab.ip("b", "addr", "add", f"{SECOND['b']}/24", "dev", "eth1")
                wait_until(lambda: both_ways(lab) and not path_alarms(lab.a), 5, "both paths")
                lab.ip("b", "addr", "del", f"{SECOND['b']}/24", "dev", "eth1")


@case
def new_engine_and_new_net_have_both_paths(bin_dir):
    with settled(bin_dir) as lab, Unmoved(lab):
        for role in ("engine", "net", "engine"):
            old = lab.a.kill(role)
            wait_until(lambda p=old, r=role: lab.a.roles().get(r) not in (None, p), 5, f"a new {role}")
            wait_until(lambda: both_ways(lab), 5, f"both paths after the end of {role}")
            roles_stay(lab, 1)


@case
def on_the_second_path_alone_a_dead_host_is_noticed(bin_dir):
    """Nothing relies on a path that was lost before the host died."""
    with settled(bin_dir) as lab:
        lab.cut("b2")
        wait_until(lambda: path_alarms(lab.b) == {SECOND["a"]}, 5, "path_lost")
        lab.a.kill_all()
        lab.wait_active("b", 10)
        assert path_alarms(lab.b) <= {SECOND["a"]}
