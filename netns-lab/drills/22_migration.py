"""A keepalived pair becomes a hadirector pair, one node after the other, under traffic.

Version 2, a password, a NAT service, kernel connection sync; the hadirectors get the same. First
the standby is replaced: nobody notices. Then mastership goes to it, which is the first planned
handover, and the old master is replaced: nobody notices. Then it takes its place again, the second
one. Connections opened at the beginning and in between are used once more after each handover.

`stop`: mastership goes over as keepalived is stopped; it drops its addresses at once, so clients
wait for the standby's skew time, 0.6 s in version 2. `raise`: the standby's priority is raised
above the master's first; it takes over while the master still serves, and clients wait for nothing.
"""

import time
from dataclasses import replace

from labkit.director import Director, Hadirector
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.load import Held, Load
from labkit.setup import PRIORITIES, Setup

RUNS = 3
PRODUCTS = ("hadirector",)
VARIANTS = {"stop": 609, "raise": 0}  # ms a client waits by the rule at the first handover
SETUP = Setup(version=2, advert_int=1.0, password="old-pair", preempt="when-synced")
RAISED = {"lb1": 150, "lb2": 200}
SYNC_DELAY = 3.0  # a connection is on the standby after it
HELD = {"idle": 30, "active": 30}
_ALL = at_least(100)
_SURVIVAL = {f"{kind}_after_{n}_pc": _ALL for kind in HELD for n in ("first", "second")}


def _goals(waiting: int) -> dict[str, object]:
    return {
        "standby_replaced_failed": at_most(0),
        "first_handover_ms": at_most(waiting + 60),
        "master_replaced_failed": at_most(0),
        "second_handover_ms": at_most(60),
        "takeovers": at_most(2),
        **_SURVIVAL,
    }


GOALS = {name: _goals(waiting) for name, waiting in VARIANTS.items()}


def run(lab: Lab, variant: int) -> Figures:
    for name in PRIORITIES:
        lab.swap(name, "keepalived")
    lab.start(SETUP)
    began = time.monotonic()
    with lab.load() as load:
        first, second = lab.hold(**HELD), lab.hold(**HELD)
        time.sleep(SYNC_DELAY)

        replaced = lab.note("lb2, the standby, is replaced by hadirector")
        lab.lb2.stop()
        lb2 = start(lab, "lb2", SETUP)
        ready(lab, lb2)
        between = lab.hold(**HELD)
        time.sleep(SYNC_DELAY)

        handover = lab.note("mastership goes to it")
        if variant:
            lab.lb1.stop()
        else:
            lb2.configure(replace(SETUP, priorities=RAISED))
            lb2.cli("reload")
        lb2.wait_master()
        time.sleep(2)
        after_first = share(first)

        master_replaced = lab.note("lb1, now without a part in it, is replaced by hadirector")
        if not variant:
            lab.lb1.stop()
        lb1 = start(lab, "lb1", SETUP if variant else replace(SETUP, priorities=RAISED))
        ready_at = ready(lab, lb1)
        back = lab.note("and takes its place again")
        if not variant:
            for director in (lb1, lb2):
                director.configure(SETUP)
                director.cli("reload")
        lb1.wait_master()
        time.sleep(3)
        after_second = share(second, between)
        ended = lab.note("all connections have been used again")
    return {
        "standby_replaced_failed": load.failed(replaced, handover - 0.5),
        "standby_replaced_ms": gap(load, replaced, handover - 0.5),
        "first_handover_ms": gap(load, handover - 0.5, master_replaced),
        "first_handover_failed": load.failed(handover - 0.5, master_replaced),
        "master_replaced_failed": load.failed(master_replaced, ready_at),
        "second_handover_ms": gap(load, back - 0.5, ended),
        "second_handover_failed": load.failed(back - 0.5, ended),
        "takeovers": lab.takeovers(began),
        "overlap_ms": 1000 * lab.overlap(began),
        **{f"{kind}_after_first_pc": value for kind, value in after_first.items()},
        **{f"{kind}_after_second_pc": value for kind, value in after_second.items()},
    }


def start(lab: Lab, name: str, setup: Setup) -> Hadirector:
    """hadirector in keepalived's place."""
    director: Director = lab.swap(name, "hadirector")
    director.configure(setup)
    director.start()
    assert isinstance(director, Hadirector)
    return director


def ready(lab: Lab, director: Hadirector) -> float:
    """Waits until it stands by and says that it could take over; when that was."""

    def stands_by() -> bool:
        try:
            status = director.status()
        except (OSError, ValueError):
            return False  # it is only just starting
        routers = status.get("instances", {}).get("front", {}).get("routers", {})
        return bool(status.get("ready") and routers and routers["ipv4"]["state"] != "init")

    director.wait_serving()
    lab.wait(stands_by, f"readiness of {director.name}", within=30)
    return lab.note(f"{director.name} is ready")


def share(*held: Held) -> dict[str, float]:
    """Percent of these connections that answer once more, by kind."""
    found = [one.survivors() for one in held]
    return {
        kind: 100 * sum(each[kind] for each in found) / (count * len(held))
        for kind, count in HELD.items()
    }


def gap(load: Load, since: float, until: float) -> float:
    """The longest time without an answer, in ms."""
    load.poll()
    return 1000 * load.outage(since, until)
