"""The directors stop hearing each other, on every network, and later hear each other again.

Everybody else hears both. Two masters are then unavoidable; what counts is what clients see while
it lasts, that one node gives way when it heals, and that clients end on the one that stays.
"""

import time

from labkit.drills import Figures, at_most
from labkit.failover import HELD, SURVIVAL, SYNC_DELAY, survival_of
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
GOALS = {
    "heal_outage_ms": at_most(100),
    "failed_after_heal": at_most(5),
    "overlap_after_heal_ms": at_most(500),
    **SURVIVAL,
}


def run(lab: Lab) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    names = ("lb1", "lb2")
    with lab.hold(**HELD) as held, lab.load() as load:
        time.sleep(SYNC_DELAY)
        cut = lab.note("lb1 and lb2 are cut off from each other")
        lab.network.partition(names, on=True)
        time.sleep(4)
        healed = lab.note("the cut heals")
        lab.network.partition(names, on=False)
        time.sleep(5)
        overlap_after_heal = lab.overlap(healed)
        survival = survival_of(held)
    return {
        "cut_outage_ms": 1000 * load.outage(cut, healed),
        "failed_while_cut": load.failed(cut, healed),
        "heal_outage_ms": 1000 * load.outage(healed - 0.2),
        "failed_after_heal": load.failed(healed),
        "overlap_after_heal_ms": 1000 * overlap_after_heal,
        **survival,
    }
