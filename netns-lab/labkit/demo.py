"""`lab demo`: what a client sees, second by second, while things break."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from labkit import topology
from labkit.lab import Lab
from labkit.load import Load, Request
from labkit.setup import Check, Setup, nat

EVERY = 0.01


@dataclass(frozen=True, slots=True)
class Act:
    """At this second, this is done."""

    second: int
    text: str
    do: Callable[[], object]


def run(arguments: list[str], *, color: bool) -> int:
    """A real server dies under load and returns. The exit status is 0 if the service went on."""
    product = "keepalived" if "keepalived" in arguments else "hadirector"
    check = Check(interval=0.5, timeout=0.5, rise=2, fall=2, fast_interval=0.2)
    with Lab(product) as lab:
        print(topology.describe(), flush=True)
        lab.start(Setup(services=(nat(),), check=check, pair=False))
        print(f"\nThe client asks {topology.VIP}:80 a hundred times a second ({product} on lb1).\n")
        acts = [
            Act(3, "rs2 is killed (kill -9)", lab.servers["rs2"].kill),
            Act(9, "rs2 is started again", lab.servers["rs2"].start),
        ]
        with lab.load(every=EVERY) as load:
            _play(lab, load, acts, seconds=15, color=color)
        _sum_up(load)
        return 0 if load.requests[-1].server else 1


def _play(lab: Lab, load: Load, acts: list[Act], seconds: int, *, color: bool) -> None:
    servers = "".join(f"{name:>6}" for name in topology.SERVERS)
    print(f"{'second':>6}{servers}{'failed':>8}{'slowest':>10}   IPVS weights on lb1")
    begin = time.monotonic()
    for second in range(seconds):
        for act in acts:
            if act.second == second:
                act.do()
                lab.note(act.text)
                print(_paint(f"       > {act.text}", "1", color=color))
        time.sleep(max(0.0, begin + second + 1 - time.monotonic()))
        print(_row(second, load.poll(), _weights(lab), color=color), flush=True)


def _row(second: int, requests: list[Request], weights: str, *, color: bool) -> str:
    counts = [sum(r.server == name for r in requests) for name in topology.SERVERS]
    failed = sum(1 for r in requests if r.error)
    slowest = max((r.end - r.start for r in requests if not r.error), default=0.0)
    text = f"{second:>6}" + "".join(f"{count:>6}" for count in counts)
    text += _paint(f"{failed:>8}", "31;1" if failed else "0", color=color)
    return f"{text}{slowest * 1000:>7.0f} ms   {weights}"


def _weights(lab: Lab) -> str:
    found = {lab.name_of(server): weight for server, weight in lab.lb1.weights().items()}
    return " ".join(f"{name}={found.get(name, 'out')}" for name in topology.SERVERS)


def _sum_up(load: Load) -> None:
    total, failed = len(load.requests), load.failed()
    print(f"\n{total} requests, {failed} failed, longest silence {load.outage() * 1000:.0f} ms")


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if color else text
