# SPDX-License-Identifier: MIT
"""Beside other VRRP routers (peer_link = no): handover in both directions by each way of it."""
from case import case
from lab import wait_until
from neighbours import NeighbourLab, way_v3


def ways():
    return [way_v3()]


@case
def keepalived_and_supd_hand_over_to_each_other(bin_dir):
    """supd a, keepalived b: by preemption, by priority 0 and by kill, in both directions."""
    priorities = {"a": 100, "b": 100}
    with NeighbourLab(bin_dir, ways(), plain=("b",), node="release_delay = 500ms\n",
                      priorities=priorities) as lab:
        lab.capture("a")
        lab.a.start()
        lab.wait_services("a", "active", 10)

        # It preempts; we step down.
        better = lab.keepalived("b", 150).start()
        better.wait_all("MASTER", 10)
        lab.wait_services("a", "backup", 2)
        lab.wait_addresses("a", 2, set())
        lab.wait_addresses("b", 2)

        # Its priority 0.
        better.stop()
        lab.wait_services("a", "active", 3)
        lab.wait_addresses("a", 2)

        # Our priority 0: to a lesser one that has only listened so far.
        lesser = lab.keepalived("b", 50).start()
        wait_until(lambda: lesser.all_in("BACKUP"), 5, "keepalived a Backup")
        assert lab.a.stop() == 0
        lesser.wait_all("MASTER", 2)

        # We preempt, where failback says so.
        lab.write_config(node="release_delay = 500ms\n", priorities=priorities,
                         service="failback = 1s\n")
        lab.a.start()
        lesser.wait_all("BACKUP", 10)
        lab.wait_services("a", "active", 4)
        lab.wait_addresses("b", 1, set())

        # kill -9 of all of supd: Active_Down.
        lab.a.kill_all()
        lesser.wait_all("MASTER", 6)
        lab.wait_addresses("a", 5, set())

        # kill -9 of all of keepalived: it leaves its addresses behind, which holds us up, but not
        # for ever.
        lab.a.start()
        lab.wait_services("a", "backup", 5)
        lesser.kill()
        lab.wait_services("a", "active", 12)
        lab.wait_addresses("a", 2)
