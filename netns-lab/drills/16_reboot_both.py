"""Both directors lose power and come back together: service returns by itself.

Measured from the start of both daemons to the first answer, and that exactly one node has the
address afterwards.
"""

import time

from labkit import topology
from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
GOALS = {"owners": at_most(1), "failed_at_the_end": at_most(0), "service_after_ms": at_most(15000)}


def run(lab: Lab) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    for director in lab.directors:
        director.power_off()
    for director in lab.directors:
        director.power_on()
    with lab.load(every=0.02, timeout=0.5) as load:
        started = lab.note("both daemons start")
        for director in lab.directors:
            director.start()
        lab.wait(lambda: any(not r.error for r in load.poll()), "answer", within=40)
        answered = lab.note("first answer")
        time.sleep(8)
    settled = time.monotonic() - 4
    return {
        "service_after_ms": 1000 * (answered - started),
        "failed_at_the_end": load.failed(settled),
        "owners": sum(director.holds(topology.VIP) for director in lab.directors),
    }
