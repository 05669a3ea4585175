"""The master's front cable is pulled, and later put back.

The master still sees its real servers but no client reaches it: it must step back, and the
standby take the address and the servers' gateway together.
"""

import time

from labkit.drills import Figures, at_most
from labkit.failover import SURVIVAL, blow
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
GOALS = {
    "outage_ms": at_most(331, beside=10),
    **SURVIVAL,
    "back_outage_ms": at_most(40),
}


def run(lab: Lab) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    figures = blow(lab, "lb1's front cable is pulled", lambda: lab.lb1.pull("front"), settle=3)
    with lab.load() as load:
        time.sleep(1)
        lab.note("the cable is put back")
        lab.lb1.plug("front")
        time.sleep(5)
    return {**figures, "back_outage_ms": 1000 * load.outage(), "back_failed": load.failed()}
