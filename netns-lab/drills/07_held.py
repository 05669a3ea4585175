"""A server's process is killed, or its cable is pulled: how long clients are still sent to it.

Five servers die one after the other while a client makes 250 new requests a second. A killed
process is known by the end of the connection held to it, confirmed by one probe; a pulled cable
only by probes that time out. Measured: when the last failed request began, after the blow.

Variants: http at its defaults, tcp with `held: true`, http each 250 ms. keepalived gets the same
interval as delay_loop, and as many tries; it holds no connections.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.setup import Check, Setup

EVERY = 0.004
DEATHS = ("rs2", "rs3", "rs4", "rs1", "rs2")
PULLS = ("rs3", "rs4", "rs1", "rs2")
_HTTP = Check(interval=1.0, timeout=0.5, rise=2, fall=2, fast_interval=0.2)
VARIANTS = {
    "http": _HTTP,
    "tcp": replace(_HTTP, kind="tcp", held=True),
    "http-250ms": replace(_HTTP, interval=0.25),
}
RUNS = 2
_ALWAYS = {"killed_last_failed_ms": at_most(50), "lost_of_others": at_most(0)}
GOALS = {
    "http": _ALWAYS | {"unplugged_last_failed_ms": at_most(2100)},
    "tcp": _ALWAYS | {"unplugged_last_failed_ms": at_most(2100)},
    "http-250ms": _ALWAYS | {"unplugged_last_failed_ms": at_most(1300)},
}


@dataclass(frozen=True, slots=True)
class Blow:
    """Milliseconds from the blow to the start of the last request that failed, and until the
    server was out; requests that failed after that."""

    last_failed: float
    out: float
    after: int


def run(lab: Lab, variant: Check) -> Figures:
    lab.start(Setup(check=variant, pair=False))
    time.sleep(2 * variant.interval)  # every server was probed, and is held
    killed = [
        _blow(lab, name, lab.servers[name].kill, lab.servers[name].start, 0.5) for name in DEATHS
    ]
    pulled = [
        # At another phase between two probes each time.
        _blow(
            lab,
            name,
            _pull(lab, name, up=False),
            _pull(lab, name, up=True),
            0.5 + variant.interval * i / len(PULLS),
        )
        for i, name in enumerate(PULLS)
    ]
    return {
        "killed_last_failed_ms": statistics.median(blow.last_failed for blow in killed),
        "killed_worst_ms": max(blow.last_failed for blow in killed),
        "killed_out_ms": statistics.median(blow.out for blow in killed),
        "unplugged_last_failed_ms": max(blow.last_failed for blow in pulled),
        "unplugged_out_ms": max(blow.out for blow in pulled),
        "lost_of_others": sum(blow.after for blow in (*killed, *pulled)),
    }


def _pull(lab: Lab, name: str, *, up: bool) -> Callable[[], object]:
    return lambda: lab.network.plug(name, ("back",), up=up)


def _blow(
    lab: Lab, name: str, strike: Callable[[], object], mend: Callable[[], object], phase: float
) -> Blow:
    with lab.load(every=EVERY) as load:
        time.sleep(phase)
        began = lab.note(f"{name} is struck")
        strike()
        out = lab.wait(lambda: name not in _serving(lab), f"end of {name}", within=90)
        lab.note(f"{name} is out")
        time.sleep(0.3)
    # The end of the load may catch its last request half begun.
    failed = [r.start - began for r in load.requests if r.error and r.start - began < out + 0.25]
    mend()
    lab.wait(lambda: name in _serving(lab), f"return of {name}", within=90)
    time.sleep(1.2)  # it is probed, and held, again
    return Blow(
        1000 * max(failed, default=0.0), 1000 * out, sum(1 for at in failed if at > out + 0.05)
    )


def _serving(lab: Lab) -> set[str]:
    return {lab.name_of(server) for server, weight in lab.lb1.weights().items() if weight}
