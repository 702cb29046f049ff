# SPDX-License-Identifier: MIT
"""Three hosts: two of them could take over, and one does."""
import oracle
from case import case
from lab import Lab, active_down_ms, now_ns, stays, wait_until

NAMES = ("a", "b", "c")
ADVERT_MS = 200
ACTIVE_DOWN = active_down_ms(ADVERT_MS, 50) / 1000


def settled(bin_dir, **settings):
    settings.setdefault("advert_int", f"{ADVERT_MS}ms")
    return Lab(bin_dir, nodes=NAMES, **settings).settle()


def one_of(lab, *names, timeout=15):
    """Exactly one of them becomes active and the others stay backup."""
    active = wait_until(lambda: next((n for n in names if lab.nodes[n].is_active()), None), timeout,
                        f"one of {', '.join(names)} active")
    stays(lambda: all(lab.nodes[n].state() == ("active" if n == active else "backup")
                      for n in names), 1.5, f"{active} alone")
    return lab.nodes[active]


@case(sanitized=True)
def three_boot_together_the_highest_priority_becomes_active(bin_dir):
    with settled(bin_dir) as lab:
        stays(lab.a.is_active, 2, "the decision")
        assert {i.node for i in lab.instances()} == {"a"}
        text = lab.c.supctl("status")[1].splitlines()[0]
        assert text.startswith("sched: active on a"), text


@case
def two_of_three_boot_and_wait_for_the_third(bin_dir):
    with Lab(bin_dir, nodes=NAMES, advert_int="200ms", wait_for_peer="3s") as lab:
        lab.b.start()
        lab.c.start()
        wait_until(lambda: lab.b.status() and lab.c.status(), 10, "answers of supd")
        stays(lambda: not lab.instances(), 2, "waiting for the third")
        one_of(lab, "b", "c")
        lab.a.start()
        wait_until(lambda: lab.a.state() == "backup", 10, "the late one backup")


@case(sanitized=True)
def active_of_three_cut_off_one_takes_over(bin_dir):
    with settled(bin_dir) as lab:
        lab.cut("a")
        one_of(lab, "b", "c")
        assert not lab.a.program_pids()
        lab.heal()
        wait_until(lambda: lab.a.state() == "backup", 10, "a backup after the repair")
        stays(lambda: lab.a.state() == "backup", 1.5, "no way back by itself")


@case
def active_of_three_killed_one_takes_over_time_after_time(bin_dir):
    with settled(bin_dir) as lab:
        active = lab.a
        for _ in range(4):
            active.kill_all()
            others = [n for n in NAMES if n != active.name]
            dead, active = active, one_of(lab, *others)
            dead.start()
            lab.wait_standby(dead.name)
        assert len({i.term for i in lab.instances()}) == 5, lab.instances()


@case
def program_of_one_of_three_fails_everywhere_until_a_person_comes(bin_dir):
    with settled(bin_dir, restart_limit="2/60s") as lab:
        for node in lab.nodes.values():
            node.crash_loop()
        lab.a.kill_program()
        wait_until(lambda: all(n.state() == "failed" for n in lab.nodes.values()), 40,
                   "latched on all three", 0.05)
        count = len(lab.instances())
        stays(lambda: len(lab.instances()) == count, 2, "nobody restarts")
        assert "person_needed" in lab.c.alarms(), lab.c.alarms()
        for node in lab.nodes.values():
            node.crash_loop(False)
        lab.c.supctl_ok("reset", "--all")
        one_of(lab, *NAMES)


@case
def release_names_the_successor(bin_dir):
    with settled(bin_dir) as lab:
        for active, target in (("a", "b"), ("b", "a")):
            since, began = now_ns(), len(lab.instances())
            lab.nodes[active].supctl_ok("failover")
            lab.wait_active(target, 5)
            wait_until(lambda n=active: lab.nodes[n].state() == "backup", 5, f"{active} backup")
            new = wait_until(lambda n=began: lab.instances()[n:], 5, "its first tick")
            assert [i.node for i in new] == [target], new
            print(f"{target} began {(new[0].first - since) / 1e6:.0f} ms after the command")
            lab.wait_standby(active)


@case
def third_that_hears_both_keeps_two_apart_that_hear_nothing_of_each_other(bin_dir):
    """Active a and standby c on two segments; both reach the gateway and b."""
    with settled(bin_dir) as lab:
        program = lab.a.program()["pid"]
        lab.drop('iifname "a" oifname "c"', 'iifname "c" oifname "a"')
        stays(lambda: not lab.c.program_pids(), 4 * ACTIVE_DOWN + 2, "c starts nothing")
        assert lab.a.program()["pid"] == program
        # ... and once a is gone for b too, c or b takes over
        lab.cut("a")
        one_of(lab, "b", "c")
        lab.heal()
        lab.wait_standby("a")


@case
def release_names_the_third_where_the_second_failed(bin_dir):
    with settled(bin_dir, restart_limit="1/60s") as lab:
        lab.a.kill_program()
        lab.wait_active("b", 10)
        lab.b.kill_program()
        lab.wait_active("c", 10)
        assert lab.a.state() == lab.b.state() == "failed"
        assert [i.node for i in lab.instances()] == ["a", "b", "c"]


@case
def one_of_three_alone_behind_the_switch(bin_dir):
    """Each host in turn cannot reach the other two nor the gateway, and the gateway goes too."""
    with settled(bin_dir) as lab:
        for gone in ("c", "b", "a"):
            lab.cut(gone)
            if gone == "b":
                lab.cut("gw")
            rest = [n for n in NAMES if n != gone]
            stays(lambda: not oracle.violations(lab.instances()), 2 * ACTIVE_DOWN, "one at most")
            active = one_of(lab, *rest)
            assert not lab.nodes[gone].program_pids()
            assert active is lab.a or gone == "a"
            lab.heal()
            lab.wait_standby(gone)


@case
def standby_that_hears_nobody_but_sees_the_address_answered_holds(bin_dir):
    """IP between c and the others is cut, ARP passes, the gateway answers everybody."""
    with settled(bin_dir) as lab:
        for other in ("a", "b"):
            lab.drop(f'iifname "c" oifname "{other}" ether type ip',
                     f'iifname "{other}" oifname "c" ether type ip')
        stays(lambda: not lab.c.program_pids() and lab.a.is_active(), 3 * ACTIVE_DOWN, "c holds")
        lab.heal()
        lab.wait_standby("c")
        stays(lab.a.is_active, 1, "a goes on")
        assert {i.node for i in lab.instances()} == {"a"}
