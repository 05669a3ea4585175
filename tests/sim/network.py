"""The network between the nodes: what is lost, late, doubled, overtaken or cut off.

Three planes: the segments `eth0` and `eth1` carry adverts and announcements, `peer` carries
presences. A cut has a direction, so that one side may hear what the other does not. What a firewall
drops is protocol 112 alone: a plane of its own on each segment.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.agenda import Agenda

PLANES = ("eth0", "eth1", "peer")
VRRP = {"eth0": "112 on eth0", "eth1": "112 on eth1"}  # what only adverts need
Way = tuple[str, str, str]  # plane, from, to
STORM = 40  # copies of one packet at most
APART = 1e-7  # seconds between two packets of one way
FLIGHT = (0.00005, 0.0003)  # seconds a packet takes on a switched segment


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities per packet, and the most it may be late (seconds). `echo`: a loop in the
    segment brings a packet back to its sender as well."""

    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    late_by: float = 0.0
    echo: float = 0.0


FAIR = Weather()


class Network:
    """Carries packets between nodes named by strings."""

    def __init__(self, agenda: Agenda, rng: random.Random) -> None:
        self.weather = dict.fromkeys(PLANES, FAIR)
        self._cut_until: dict[Way, float] = {}
        self._arrived_last: dict[Way, float] = {}
        self.last_late = 0.0  # when the last of the packets that were made late arrives
        self._agenda = agenda
        self._rng = rng

    def carry(self, plane: str, source: str, target: str, deliver: Callable[[], None]) -> None:
        """Call `deliver` when the packet arrives: never, once, or more than once."""
        if self._is_cut((plane, source, target)):
            return
        weather, rng = self.weather[plane], self._rng
        if weather.loss and rng.random() < weather.loss:
            return
        copies = 1
        while weather.duplicate and copies < STORM and rng.random() < weather.duplicate:
            copies += 1
        for _ in range(copies):
            flight = rng.uniform(*FLIGHT)
            if weather.late and rng.random() < weather.late:
                flight += rng.uniform(0.0, weather.late_by)
                self.last_late = max(self.last_late, self._agenda.now + flight)
            else:  # a switch keeps the order
                way, now = (plane, source, target), self._agenda.now
                flight = max(flight, self._arrived_last.get(way, 0.0) + APART - now)
                self._arrived_last[way] = now + flight
            self._agenda.after(flight, deliver)

    def carry_advert(
        self, segment: str, source: str, target: str, deliver: Callable[[], None]
    ) -> None:
        """The same for an advert on a segment."""
        if not self._is_cut((VRRP[segment], source, target)):
            self.carry(segment, source, target, deliver)

    def echoes(self, plane: str) -> bool:
        """Whether this packet comes back to its sender."""
        echo = self.weather[plane].echo
        return bool(echo) and self._rng.random() < echo

    def heal(self) -> None:
        """Fair weather, no cuts. What is in flight still arrives."""
        self.weather = dict.fromkeys(PLANES, FAIR)
        self._cut_until.clear()

    def cut(self, ways: list[Way], until: float) -> None:
        """No packet passes on these; where one is cut already, until the later of both."""
        for way in ways:
            self._cut_until[way] = max(until, self._cut_until.get(way, 0.0))

    def _is_cut(self, way: Way) -> bool:
        return self._agenda.now < self._cut_until.get(way, 0.0)
