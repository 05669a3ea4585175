"""`lab demo`: what a client sees, second by second, while servers and directors die and return."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from labkit import topology
from labkit.director import Director, Hadirector
from labkit.lab import Lab
from labkit.load import Held, Load, Request
from labkit.setup import Check, Setup

EVERY = 0.01
PATIENCE = 0.5  # of the client: a request that failed shows up in its own second, or the next
NOTABLE = 0.1  # seconds the client was late
HELD = {"idle": 20, "active": 20}


@dataclass(frozen=True, slots=True)
class Act:
    """At the beginning of this second, this is done."""

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
        lab.start(Setup(check=check, advert_int=0.1, preempt="when-synced"))
        print(f"\nA pair of {product}s, adverts each 0.1 s, health checks each 0.5 s.")
        print(f"The client asks {topology.VIP}:80 a hundred times a second, each time anew.")
        with lab.load(every=EVERY, timeout=PATIENCE) as load:
            stage = _Stage(lab, load, color=color)
            stage.scene("1. A real server dies and comes back.", _server(lab), 8)
            held = lab.hold(**HELD)
            stage.say(f"the client opens {held.total} connections and keeps them")
            stage.scene("2. The master loses power.", _master(lab, stage, held), 9)
            stage.scene("3. It comes back, as a standby first.", _return(lab), 12)
        total, failed = len(load.requests), load.failed()
        print(
            f"\n{total} requests, {failed} failed, and {stage.survived} held connections survived"
        )
        return 0 if not load.failed(load.requests[-1].start - 1) else 1


def _server(lab: Lab) -> list[Act]:
    return [
        Act(2, "real server rs2 is killed (kill -9)", lab.servers["rs2"].kill),
        Act(5, "rs2 is started again", lab.servers["rs2"].start),
    ]


def _master(lab: Lab, stage: "_Stage", held: Held) -> list[Act]:
    return [
        Act(3, "lb1, the master, loses power", lab.lb1.power_off),
        Act(7, "the client uses each connection it kept once more", lambda: stage.count(held)),
    ]


def _return(lab: Lab) -> list[Act]:
    def boot() -> None:
        lab.lb1.power_on()
        lab.lb1.start()

    return [
        Act(1, "lb1 has power again and boots: no address, no connections, no verdicts", boot),
        Act(2, "lb1 takes the address back once its checks are settled, not before", lambda: None),
    ]


class _Stage:
    """Prints what is done, what the client saw of it, and who has the address."""

    def __init__(self, lab: Lab, load: Load, *, color: bool) -> None:
        self._lab = lab
        self._load = load
        self._color = color
        self._second = 0
        self._last_answer = self._last_start = 0.0
        self._owners = self._who()
        self.survived = ""

    def scene(self, title: str, acts: list[Act], seconds: int) -> None:
        """Plays `acts` within so many seconds, a row each."""
        print(f"\n{self._paint(title, '1')}")
        servers = "".join(f"{name:>6}" for name in topology.SERVERS)
        print(f"second{servers}  failed  longest silence   VIP on   IPVS weights there")
        begin = time.monotonic()
        for second in range(seconds):
            for act in (act for act in acts if act.second == second):
                self.say(act.text)
                act.do()
            time.sleep(max(0.0, begin + second + 1 - time.monotonic()))
            self._row(self._load.poll())

    def say(self, text: str) -> None:
        """Something is done now."""
        self._lab.note(text)
        print(self._paint(f"     > {text}", "1"), flush=True)

    def count(self, held: Held) -> None:
        """Says how many of the held connections answer."""
        answered = sum(held.survivors().values())
        self.survived = f"{answered} of {held.total}"
        print(f"       {self.survived} answer", flush=True)

    def _row(self, requests: list[Request]) -> None:
        counts = [sum(r.server == name for r in requests) for name in topology.SERVERS]
        failed = sum(1 for r in requests if r.error)
        text = f"{self._second:>6}" + "".join(f"{count:>6}" for count in counts)
        text += self._paint(f"{failed:>8}", "31;1" if failed else "0")
        silence = f"{1000 * self._silence(requests):>14.0f} ms"
        owners = self._who()
        where = "+".join(owners) or "nobody"
        moved = self._paint(f"{where:<6}", "33;1" if owners != self._owners else "0")
        weights = " ".join(f"{name}={weight}" for name, weight in self._weights(owners).items())
        print(f"{text}{silence}   {moved}   {weights}", flush=True)
        late = self._late(requests)
        if late > NOTABLE:
            remark = "the lab's one CPU was busy: the client itself stood still for"
            print(f"       ({remark} {1000 * late:.0f} ms)", flush=True)
        for director in (d for d in self._lab.directors if d.name in owners):
            if director.name not in self._owners and (why := _reason(director)):
                print(f"       {director.name} is master now: {why}", flush=True)
        self._owners = owners
        self._second += 1

    def _silence(self, requests: list[Request]) -> float:
        """Seconds without an answer, the longest that ended in these."""
        longest = 0.0
        for end in sorted(r.end for r in requests if not r.error):
            longest = max(longest, end - (self._last_answer or end))
            self._last_answer = max(self._last_answer, end)
        return longest

    def _late(self, requests: list[Request]) -> float:
        """Seconds the client itself was late at worst."""
        starts = sorted(r.start for r in requests if r.start >= self._last_start)
        gaps = [b - a for a, b in pairwise([self._last_start, *starts] if self._second else starts)]
        self._last_start = max(starts, default=self._last_start)
        return max(gaps, default=0.0) - EVERY

    def _who(self) -> list[str]:
        """The nodes with the virtual address, as their networks see it."""
        lab = self._lab
        return [d.name for d in lab.directors if lab.reachable(d) and d.holds(topology.VIP)]

    def _weights(self, owners: list[str]) -> dict[str, object]:
        lab = self._lab
        masters = [d for d in lab.directors if d.name in owners[:1]]
        found = {lab.name_of(s): w for d in masters for s, w in d.weights().items()}
        return {name: found.get(name, "-") for name in topology.SERVERS}

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color else text


def _reason(director: Director) -> str:
    """What it says itself of why it is master; a rival says nothing."""
    if not isinstance(director, Hadirector):
        return ""
    try:
        return str(director.status()["instances"]["front"]["routers"]["ipv4"]["reason"])
    except (OSError, KeyError, ValueError):  # it was switched off meanwhile
        return ""
