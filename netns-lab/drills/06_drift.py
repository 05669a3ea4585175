"""Somebody clears the IPVS table by hand: it is repaired within a second.

`ipvsadm -C` on the director under load. Measured: until every server has its weight again, and
the client's longest silence. A service of somebody else, added by hand, is left alone.
"""

import time

from labkit import topology
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.setup import Setup

PRODUCTS = ("hadirector",)
GOALS = {"repaired_ms": at_most(1000), "outage_ms": at_most(1000), "foreign_kept": at_least(1)}
FOREIGN = f"{topology.VIP}:9999"


def run(lab: Lab) -> Figures:
    lab.start(Setup(pair=False))
    wanted = lab.lb1.weights()
    with lab.load() as load:
        time.sleep(1)
        began = lab.note("ipvsadm -C")
        lab.lb1.node.run("ipvsadm", "-C")
        lab.wait(lambda: lab.lb1.weights() == wanted, "repaired table")
        repaired = lab.note("repaired") - began
        lab.lb1.node.run("ipvsadm", "-A", "-t", FOREIGN, "-s", "rr")
        time.sleep(2)
    kept = FOREIGN in lab.lb1.node.run("ipvsadm", "-Ln")
    return {
        "repaired_ms": 1000 * repaired,
        "outage_ms": 1000 * load.outage(began),
        "failed": load.failed(),
        "foreign_kept": float(kept),
    }
