"""The standby reboots, then the master dies: every connection goes on, the idle ones too.

While the standby is away clients have opened connections: some that never sent anything, some idle
since one request, some busy. The kernel's own sync tells a standby that comes back only of those
that send packets, and of those only now and then. Once the standby says that it is ready (or, with
keepalived, after 10 s) the master loses power.

`slow`: connections that say something each 4 s under a TCP timeout of 12 s, which age out of a
standby that is told every 50th packet only. At the end the dead master comes back, with the higher
priority: it must not take over before it has all connections.
"""

import resource
import time
from dataclasses import replace

from labkit.director import Director, Hadirector
from labkit.drills import Figures, Goal, at_least, at_most
from labkit.lab import Lab
from labkit.server import DIRECT_PORT
from labkit.setup import Setup, direct, nat

MANY = 500
DESCRIPTORS = 8192
WAIT = 10.0  # seconds for a rival that does not tell when it is ready
VARIANTS = {
    "nat": (80, {"fresh": MANY, "idle": MANY, "active": MANY}, ""),
    "dr": (DIRECT_PORT, {"fresh": MANY, "idle": MANY, "active": MANY}, ""),
    "slow": (80, {"slow": MANY}, "timeouts: {tcp: 12s}\n"),
}
RUNS = 3


def _goals(kinds: dict[str, int]) -> dict[str, Goal]:
    survive: dict[str, Goal] = {f"{kind}_survive": at_least(count) for kind, count in kinds.items()}
    return {**survive, "ready_s": at_most(10), "early_takeover": at_most(0)}


GOALS = {name: _goals(kinds) for name, (_, kinds, _) in VARIANTS.items()}


def run(lab: Lab, variant: tuple[int, dict[str, int], str]) -> Figures:
    port, kinds, extra = variant
    slow = "slow" in kinds
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    setup = Setup(services=(nat(), direct()), advert_int=0.5, preempt="when-synced", extra=extra)
    lab.start(setup if lab.product == "hadirector" else replace(setup, preempt="always"))
    asked = {"active": kinds["slow"]} if slow else kinds
    with lab.hold(port=port, period=4.0 if slow else 2.0, **asked) as held:
        lab.note("lb2 reboots")
        lab.lb2.power_off()
        time.sleep(1.0)
        lab.lb2.power_on()
        lab.lb2.configure(lab.lb1.setup)
        lab.lb2.start()
        took = _wait_ready(lab.lb2)
        if slow:
            time.sleep(25.0)  # twice the timeout: who is not repeated is gone
        lab.note("lb1 loses power")
        lab.lb1.power_off()
        lab.lb2.wait_master()
        time.sleep(1.0)
        lab.note("connections are asked")
        survivors = held.survivors()
        early = _comes_back_too_early(lab)
    told = {f"{kind}_survive": survivors["active" if slow else kind] for kind in kinds}
    return {**told, "ready_s": took, "early_takeover": early}


def _wait_ready(standby: Director) -> float:
    """Until it says that it has everything; seconds since it was started."""
    begun = time.monotonic()
    standby.wait_serving()
    if not isinstance(standby, Hadirector):
        time.sleep(WAIT)
        return WAIT
    standby.wait(lambda: _is_ready(standby), "readiness", within=60.0)
    return time.monotonic() - begun


def _is_ready(director: Hadirector) -> bool:
    status = director.status()
    return bool(status["ready"] and status["sync"]["completeness"] == 100)


def _comes_back_too_early(lab: Lab) -> int:
    """The former master, of the higher priority, comes back: whether it takes over before it has
    the connections."""
    lab.note("lb1 comes back")
    lab.lb1.power_on()
    lab.lb1.configure(lab.lb1.setup)
    lab.lb1.start()
    if not isinstance(lab.lb1, Hadirector):
        return 0
    returning = lab.lb1
    returning.wait_serving()
    ready = False
    for _ in range(4000):
        holds = returning.holds("192.0.2.10")
        ready = ready or _is_ready(returning)
        if holds:
            return int(not ready)
        time.sleep(0.01)
    raise RuntimeError("the former master never took over again")
