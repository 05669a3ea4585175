"""kill -9 of everything on the master: its address must not stay behind.

The kernel keeps addresses and IPVS of a killed daemon. The standby takes over, and from then on
two nodes answer ARP for the virtual address: as soon as clients and real servers ask anew and
learn different nodes, requests go in here and come back there. So after the takeover the drill
makes everybody ask again, with each side's answer arriving first on one network.

`pair`: the dead node's addresses end with their lease, afterwards nothing fails.
`alone`: without a live peer the address stays and traffic flows.
"""

import time

from labkit import topology
from labkit.drills import Figures, at_most
from labkit.failover import HELD, SURVIVAL, SYNC_DELAY, survival_of
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
LEASE_MS = 2000  # at least 2 s, the peers' master-down interval being shorter
WATCHED = 5.0
VARIANTS = {"pair": True, "alone": False}
GOALS = {
    "pair": {"vip_gone_ms": at_most(LEASE_MS + 1000), "failed_after_pc": at_most(0), **SURVIVAL},
    "alone": {"vip_gone_ms": at_most(0), "failed_after_pc": at_most(0), **SURVIVAL},
}


def run(lab: Lab, variant: bool) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    if not variant:
        lab.lb2.stop()
        time.sleep(5)  # until lb1 knows that it is alone
    with lab.hold(**HELD) as held, lab.load() as load:
        time.sleep(SYNC_DELAY)
        struck = lab.note("kill -9 of all on lb1")
        lab.lb1.kill_all()
        time.sleep(WATCHED)
        gone = [at for at, node, held in lab.story.owned if node == "lb1" and not held]
        lab.note("ARP is split")
        split_arp(lab)
        asked = time.monotonic()
        time.sleep(3)
        survival = survival_of(held)
    after = [r for r in load.requests if r.start > asked]
    return {
        "outage_ms": 1000 * load.outage(struck - 0.5, asked - 1),
        "failed_before": load.failed(until=asked - 1),
        "vip_gone_ms": 1000 * (gone[-1] - struck if gone and gone[-1] > struck else 0.0)
        if not lab.lb1.holds(topology.VIP)
        else (1000 * WATCHED if variant else 0.0),
        "failed_after_pc": 100 * sum(1 for r in after if r.error) / len(after),
        **survival,
    }


def split_arp(lab: Lab) -> None:
    """Clients learn the node that answers faster in front, servers the one faster at the back."""
    lab.network.slow_down("lb2", "front", 3)
    lab.network.slow_down("lb1", "back", 3)
    lab.forget_arp()
    time.sleep(0.2)
    lab.network.slow_down("lb2", "front", 0)
    lab.network.slow_down("lb1", "back", 0)
