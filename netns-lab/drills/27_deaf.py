"""The switch between the director and all of its servers forwards nothing for three seconds.

No cable loses its carrier, as when a switch's port is blocked or an access list is wrong: to the
director it looks as if every server died at once. The servers are well, and so are the clients'
connections: they are to go on when the switch does. A server that is taken out whole loses them,
and what nobody can serve for three seconds is no reason to lose anything.

`kept_in`: servers that still had weight at the end of the cut, of four.
"""

import time

from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.setup import Check, Setup

CUT = 3.0  # seconds
CHECK = Check(interval=1.0, timeout=0.5, rise=2, fall=2, fast_interval=0.2)
GOALS = {
    "kept_in": at_least(4),
    "idle_survive_pc": at_least(100),
    "active_survive_pc": at_least(100),
    "outage_after_ms": at_most(1500),
}


def run(lab: Lab) -> Figures:
    lab.start(Setup(check=CHECK, pair=False))
    with lab.hold(idle=20, active=20) as held, lab.load() as load:
        time.sleep(1.5)
        lab.note("the switch forwards nothing to and from lb1")
        _port(lab, "disabled")
        time.sleep(CUT)
        kept = sum(weight > 0 for weight in lab.lb1.weights().values())
        healed = lab.note("it forwards again")
        _port(lab, "forwarding")
        time.sleep(3)
        survivors = held.survivors()
        opened = {kind: sum(found.values()) for kind, found in held.opened.items()}
    return {
        "kept_in": kept,
        "outage_after_ms": 1000 * load.outage(healed),
        **{
            f"{kind}_survive_pc": 100 * survivors[kind] / opened[kind]
            for kind in ("idle", "active")
        },
    }


def _port(lab: Lab, state: str) -> None:
    """Of the switch, towards the director; its carrier stays."""
    number = {"disabled": "0", "forwarding": "3"}[state]
    lab.network.switch.run("bridge", "link", "set", "dev", "lb1-back", "state", number)
