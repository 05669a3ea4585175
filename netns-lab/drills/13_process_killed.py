"""One process of the master's daemon dies, hangs or is restarted: nobody fails over for it.

`director`: kill -9 of the process with the services. `director-hang`: it is stopped (SIGSTOP);
the supervisor replaces it after five silent seconds. `checker`: kill -9; weights stay as they are.
`restart`: `hadirector restart-director`. For these nothing may happen at all.
`election`: kill -9 of the process that sends adverts. Its successor resumes if its last advert is
younger than the peers' master-down interval, else it listens first: at most one master-down
interval of doubt for clients, besides the time a process needs to start. A standby that took over
meanwhile and the dead process's address overlap until the address's lease ends at the latest.
`supervisor`: kill -9; its children leave in order, so the standby takes over as at a clean stop.
"""

import os
import signal
import time
from functools import partial

from labkit.director import Hadirector
from labkit.drills import Figures, at_least, at_most
from labkit.failover import SURVIVAL, blow
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.1
MASTER_DOWN_MS = 361
PROCESS_START_MS = 1000  # Python, in the lab kernel
LEASE_MS = 2000
SILENCE = 5.0  # seconds until the supervisor takes a director for dead
PRODUCTS = ("hadirector",)
VARIANTS = {
    name: name
    for name in ("director", "director-hang", "checker", "restart", "election", "supervisor")
}
_NOTHING = {
    "failed": at_most(0),
    "takeovers": at_most(0),
    "overlap_ms": at_most(0),
    **SURVIVAL,
}
GOALS = {
    "director": _NOTHING,
    "director-hang": {**_NOTHING, "replaced": at_least(1)},
    "checker": {**_NOTHING, "weights_changed": at_most(0), "replaced": at_least(1)},
    "restart": _NOTHING,
    "election": {
        "outage_ms": at_most(MASTER_DOWN_MS + PROCESS_START_MS),
        "overlap_ms": at_most(LEASE_MS + 1000),
        **SURVIVAL,
    },
    "supervisor": {"outage_ms": at_most(100), "overlap_ms": at_most(100), **SURVIVAL},
}


def run(lab: Lab, variant: str) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    director = lab.lb1
    assert isinstance(director, Hadirector)
    if variant in ("director-hang", "checker"):
        return replacement(lab, director, variant)
    return blow(lab, f"{variant} on lb1", partial(strike, director, variant), settle=5)


def strike(director: Hadirector, variant: str) -> None:
    """What is over at once."""
    if variant == "restart":
        director.cli("restart-director")
    else:
        director.kill(variant)


def replacement(lab: Lab, director: Hadirector, variant: str) -> Figures:
    """The process is killed or stopped, and watched until it has a successor."""
    process = variant.removesuffix("-hang")
    wanted, pid = director.weights(), director.pid_of(process)
    changed = 0

    def strike_and_watch() -> None:
        nonlocal changed
        os.kill(pid, signal.SIGSTOP if process != variant else signal.SIGKILL)
        until = time.monotonic() + (SILENCE + 3 if process != variant else 3)
        while time.monotonic() < until:
            changed += director.weights() != wanted
            time.sleep(0.05)

    figures = blow(lab, f"{variant} on lb1", strike_and_watch, settle=4)
    replaced = director.pid_of(process) != pid
    return {**figures, "weights_changed": changed, "replaced": float(replaced)}
