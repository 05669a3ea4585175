"""One process of the master's daemon dies, or is restarted: nobody fails over.

`director`: kill -9 of the process with the services. `election`: kill -9 of the one that sends
adverts; at most one master-down interval of doubt. `restart`: `hadirector restart-director`.
"""

from collections.abc import Callable

from labkit.director import Hadirector
from labkit.drills import Figures, at_least, at_most
from labkit.failover import blow
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
MASTER_DOWN_MS = 361
PRODUCTS = ("hadirector",)
VARIANTS = {"director": "director", "election": "election", "restart": "restart"}
_NOTHING = {
    "failed": at_most(0),
    "takeovers": at_most(0),
    "overlap_ms": at_most(0),
    "idle_survive_pc": at_least(100),
    "active_survive_pc": at_least(100),
}
GOALS = {
    "director": _NOTHING,
    "election": {
        "outage_ms": at_most(MASTER_DOWN_MS),
        "overlap_ms": at_most(MASTER_DOWN_MS),
        "idle_survive_pc": at_least(100),
        "active_survive_pc": at_least(100),
    },
    "restart": _NOTHING,
}


def run(lab: Lab, variant: str) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    return blow(lab, f"{variant} on lb1", blow_of(lab, variant), settle=6)


def blow_of(lab: Lab, variant: str) -> Callable[[], object]:
    assert isinstance(lab.lb1, Hadirector)
    director = lab.lb1
    if variant == "restart":
        return lambda: director.cli("restart-director")
    return lambda: director.kill(variant)
