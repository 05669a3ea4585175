"""Adverts each 30 ms and no CPU to speak of: a false takeover, if any, heals at once.

`busy`: endless loops at normal priority compete with everything for the CPUs.
`stalls`: both daemons stand still for longer than a master-down interval and go on, the standby
first, as where a host does not run its guest: here false takeovers are provoked. With keepalived
one was seen to black-hole clients for 1.0-1.6 s: the healed master did not announce itself soon.
With LAB_UNPINNED=1 in the environment the lab kernel too is at the mercy of the host.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from labkit import topology
from labkit.drills import Figures, at_most
from labkit.failover import HELD, SURVIVAL, SYNC_DELAY, survival_of
from labkit.lab import Lab
from labkit.setup import Setup

ADVERT_INT = 0.03
SECONDS = 15.0
LOOPS = 4
STALL, EACH = 0.12, 1.5  # a master-down interval is 108 ms


def run(lab: Lab, variant: Callable[[Lab], None]) -> Figures:
    lab.start(Setup(advert_int=ADVERT_INT))
    with lab.hold(**HELD) as held, lab.load() as load, lab.sniff() as sniffer:
        time.sleep(SYNC_DELAY)
        began = lab.note("the CPU gets scarce")
        variant(lab)
        ended = lab.note("there is enough of it again")
        time.sleep(3)
        survival = survival_of(held)
    gap = sniffer.worst_gap(topology.front(1), began, ended)
    return {
        "takeovers": lab.takeovers(began),
        "outage_ms": 1000 * load.outage(began, ended + 2),
        "failed": load.failed(),
        "failed_after": load.failed(ended + 1),
        "owners_after": sum(director.holds(topology.VIP) for director in lab.directors),
        "worst_gap_ms": 1000 * gap,
        **survival,
    }


def busy(lab: Lab) -> None:
    """The loops end by themselves, whatever happens to the drill."""
    pids = [lab.client.fork(loop) for _ in range(LOOPS)]
    for pid in pids:
        os.waitpid(pid, 0)


def loop() -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        sum(range(20000))


def stalls(lab: Lab) -> None:
    """All processes of both daemons at once; they are looked up once, for that takes time."""
    daemons = [director.node.processes() for director in (lab.lb2, lab.lb1)]
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in (pid for daemon in daemons for pid in daemon):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(STALL if number == signal.SIGSTOP else EACH)


VARIANTS = {"busy": busy, "stalls": stalls}
_GOALS = {
    "outage_ms": at_most(1000),
    "failed_after": at_most(0),
    "owners_after": at_most(1),
    **SURVIVAL,
}
GOALS = dict.fromkeys(VARIANTS, _GOALS)
