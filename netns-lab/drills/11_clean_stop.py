"""The master is stopped in order: clients hardly notice.

SIGTERM to the master's daemon. It says goodbye (priority 0) and goes on forwarding until the
successor is heard; keepalived drops its addresses at once and makes its clients wait 630 ms at
1 s adverts. `to-keepalived`: the successor is a keepalived.
"""

from labkit.drills import Figures, at_most
from labkit.failover import SURVIVAL, blow
from labkit.lab import Lab
from labkit.setup import Setup

VARIANTS = {"1s": (1.0, ""), "100ms": (0.1, ""), "to-keepalived": (1.0, "keepalived")}
# Dropping the addresses at once costs 630 ms: on no machine may that pass.
GOALS = {key: {"outage_ms": at_most(40, busy=120), **SURVIVAL} for key in VARIANTS}


def run(lab: Lab, variant: tuple[float, str]) -> Figures:
    advert_int, successor = variant
    if successor:
        lab.swap("lb2", successor)
    lab.start(Setup(advert_int=advert_int))
    return blow(lab, "lb1 is told to stop", lab.lb1.terminate, 2 + advert_int)
