"""The master's daemon hangs and comes back: clients end on one node, at once.

All processes are stopped (SIGSTOP) for longer than the standby waits, then go on where they
were. The standby has taken over; the old master must notice before it does harm.
"""

import time

from labkit.drills import Figures, at_most
from labkit.failover import SURVIVAL, blow
from labkit.lab import Lab
from labkit.setup import Setup

VARIANTS = {"100ms": (0.1, 0.5), "10ms": (0.01, 0.1)}
GOALS = {key: {"outage_ms": at_most(40), "failed": at_most(1), **SURVIVAL} for key in VARIANTS}


def run(lab: Lab, variant: tuple[float, float]) -> Figures:
    advert_int, hang = variant
    lab.start(Setup(advert_int=advert_int))

    def strike() -> None:
        lab.lb1.freeze()
        time.sleep(hang)
        lab.note("lb1 wakes")
        lab.lb1.resume()

    return blow(lab, "lb1 hangs", strike, settle=4)
