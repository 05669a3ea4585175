"""A real server dies under load and returns; the others notice nothing.

Three deaths, one after the other, while a client makes 125 new requests a second: rs2's process is
killed, rs3's cable is pulled, rs4 answers its health check with 503. For each: how long until the
kernel sends it nothing more (weight 0 or gone), how many client requests failed, how long until
it is back after it recovered. Connections held to the others while rs2 dies must all survive.

Bounds: out within interval x fall + timeout, back within interval x rise + timeout.
"""

import time
from collections.abc import Callable

from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.server import FAILING, SERVING
from labkit.setup import Check, Setup

CHECK = Check(interval=1.0, timeout=0.5, rise=2, fall=2, fast_interval=0.2)
OUT_MS = 1000 * (CHECK.interval * CHECK.fall + CHECK.timeout)
BACK_MS = 1000 * (CHECK.interval * CHECK.rise + CHECK.timeout)
GOALS = {
    "killed_out_ms": at_most(OUT_MS),
    "killed_back_ms": at_most(BACK_MS),
    "unplugged_out_ms": at_most(OUT_MS),
    "unplugged_back_ms": at_most(BACK_MS),
    "failing_out_ms": at_most(OUT_MS),
    "failing_back_ms": at_most(BACK_MS),
    "failed_after_out": at_most(0),
    "others_connections_lost": at_most(0),
}


def run(lab: Lab) -> Figures:
    lab.start(Setup(check=CHECK, pair=False))
    servers, network = lab.servers, lab.network
    figures: Figures = {}
    with lab.load() as load:
        time.sleep(1)
        with lab.hold(idle=20, active=20) as held:
            killed = fault(lab, "rs2", "killed", servers["rs2"].kill, servers["rs2"].start)
            answered = held.survivors_by_server()
        unplugged = fault(
            lab,
            "rs3",
            "unplugged",
            lambda: network.plug("rs3", ("back",), up=False),
            lambda: network.plug("rs3", ("back",), up=True),
        )
        failing = fault(
            lab,
            "rs4",
            "failing",
            lambda: servers["rs4"].behave(FAILING),
            lambda: servers["rs4"].behave(SERVING),
        )
    after_out = 0
    for name, (began, out, back) in {
        "killed": killed,
        "unplugged": unplugged,
        "failing": failing,
    }.items():
        figures[f"{name}_out_ms"] = 1000 * (out - began)
        figures[f"{name}_failed"] = load.failed(began - load.target.timeout, out)
        figures[f"{name}_back_ms"] = 1000 * back
        after_out += load.failed(out + load.target.every, out + 2)
    others = [rs for rs in servers if rs != "rs2"]
    lost = sum(held.opened[kind][rs] - answered[kind][rs] for kind in answered for rs in others)
    return {**figures, "failed_after_out": after_out, "others_connections_lost": lost}


def fault(
    lab: Lab, name: str, what: str, strike: Callable[[], object], mend: Callable[[], object]
) -> tuple[float, float, float]:
    """Strikes, waits until the server is out, mends, waits until it is back.

    Returns (instant of the fault, instant it was out, seconds from mending to back).
    """

    def weight() -> int:
        weights = {lab.name_of(server): n for server, n in lab.lb1.weights().items()}
        return weights.get(name, 0)

    began = lab.note(f"{name} {what}")
    strike()
    lab.wait(lambda: weight() == 0, f"end of {name}")
    out = lab.note(f"{name} is out")
    time.sleep(2)
    lab.note(f"{name} recovers")
    mend()
    back = lab.wait(lambda: weight() > 0, f"return of {name}")
    lab.note(f"{name} is back")
    time.sleep(1)
    return began, out, back
