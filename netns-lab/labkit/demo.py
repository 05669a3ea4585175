"""`lab demo`: what a client sees, second by second, while the master dies and returns."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from labkit import topology
from labkit.lab import Lab
from labkit.load import Load, Request
from labkit.setup import Check, Setup

EVERY = 0.01
HELD = {"idle": 20, "active": 20}


@dataclass(frozen=True, slots=True)
class Act:
    """At this second, this is done."""

    second: int
    text: str
    do: Callable[[], object]


def run(arguments: list[str], *, color: bool) -> int:
    """Plays the story. The exit status is 0 if the service was there at its end.

    `keepalived` among the arguments plays it with the rival.
    """
    product = "keepalived" if "keepalived" in arguments else "hadirector"
    check = Check(interval=0.5, timeout=0.5, rise=2, fall=2, fast_interval=0.2)
    with Lab(product) as lab:
        print(topology.describe(), flush=True)
        lab.start(Setup(check=check, advert_int=0.1))
        print(f"\nA pair of {product}s, adverts each 0.1 s.")
        print(f"The client asks {topology.VIP}:80 a hundred times a second, each time anew.\n")
        with lab.load(every=EVERY) as load:
            _play(lab, load, _death_of_a_server(lab), range(9), color=color)
            held = lab.hold(**HELD)
            print(_paint(f"       > the client opens {held.total} connections", "1", color=color))
            _play(lab, load, _death_of_the_master(lab), range(9, 18), color=color)
            survivors = held.survivors()
        _sum_up(load, sum(survivors.values()), held.total)
        return 0 if load.requests[-1].server else 1


def _death_of_a_server(lab: Lab) -> list[Act]:
    return [
        Act(2, "real server rs2 is killed (kill -9)", lab.servers["rs2"].kill),
        Act(6, "rs2 is started again", lab.servers["rs2"].start),
    ]


def _death_of_the_master(lab: Lab) -> list[Act]:
    return [Act(13, "the master lb1 loses power", lab.lb1.power_off)]


def _play(lab: Lab, load: Load, acts: list[Act], seconds: range, *, color: bool) -> None:
    if not seconds.start:
        servers = "".join(f"{name:>6}" for name in topology.SERVERS)
        print(f"second{servers}  failed   slowest   VIP on     IPVS weights there")
    begin = time.monotonic() - seconds.start
    for second in seconds:
        for act in acts:
            if act.second == second:
                lab.note(act.text)
                print(_paint(f"       > {act.text}", "1", color=color), flush=True)
                act.do()
        time.sleep(max(0.0, begin + second + 1 - time.monotonic()))
        print(_row(lab, second, load.poll(), color=color), flush=True)


def _row(lab: Lab, second: int, requests: list[Request], *, color: bool) -> str:
    counts = [sum(r.server == name for r in requests) for name in topology.SERVERS]
    failed = sum(1 for r in requests if r.error)
    slowest = max((r.end - r.start for r in requests if not r.error), default=0.0)
    text = f"{second:>6}" + "".join(f"{count:>6}" for count in counts)
    text += _paint(f"{failed:>8}", "31;1" if failed else "0", color=color)
    holders = [d for d in lab.directors if lab.reachable(d) and d.holds(topology.VIP)]
    where = "+".join(d.name for d in holders) or "nobody"
    found = {lab.name_of(s): w for d in holders[:1] for s, w in d.weights().items()}
    weights = " ".join(f"{name}={found.get(name, '-')}" for name in topology.SERVERS)
    return f"{text}{slowest * 1000:>7.0f} ms   {where:<8}   {weights}"


def _sum_up(load: Load, survivors: int, opened: int) -> None:
    total, failed = len(load.requests), load.failed()
    print(f"\n{total} requests, {failed} failed, longest silence {load.outage() * 1000:.0f} ms")
    print(f"{survivors} of {opened} held connections live")


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if color else text
