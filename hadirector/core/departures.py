"""What leaves the configuration leaves the kernel when its connections have ended.

A server that is configured no more, or a whole service, keeps weight 0: what there is goes on, and
nothing new comes. It is removed as soon as the kernel counts no connection to it, and after
`linger` seconds whatever it counts; what becomes of the rest is expire_nodest_conn's matter.

Not so where a weight of 0 would hurt: mh and sh without their `fallback` flag refuse the clients
whose server has weight 0. There it is removed at once. A server that its checks or an operator took
out of a service is no matter of this either: it is out at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Entry, Service, ServiceFlags, ServiceKey, Table, Usage
from hadirector.core.settings.services import VirtualService

Place = tuple[ServiceKey, Endpoint]
_REFUSING = ("mh", "sh")


class Departures:
    """Of one node; `usage` gives what the kernel counted last."""

    def __init__(self, usage: Callable[[], Usage]) -> None:
        self._usage = usage
        self._leaving: dict[Place, float] = {}  # until when

    def copy(self) -> "Departures":
        """Another one that knows the same, to try a configuration with."""
        twin = Departures(self._usage)
        twin._leaving = dict(self._leaving)
        return twin

    def configure(
        self,
        before: Iterable[VirtualService],
        after: Iterable[VirtualService],
        linger: float,
        now: float,
    ) -> None:
        """Another configuration: who is in it no more has until `now + linger`."""
        homes = {key: service for service in after for key in service.keys}
        same = {service.name: service for service in homes.values()}
        changed = [service for service in before if same.get(service.name) != service]
        concerned = {key for service in changed for key in service.keys}
        concerned |= {key for key, _ in self._leaving}
        near = {homes[key].name: homes[key] for key in concerned if key in homes}
        here = set(_places(near.values()))
        gone = [place for place in _places(changed) if place not in here]
        staying = {p: at for p, at in self._leaving.items() if p not in here}
        self._leaving = dict.fromkeys(gone, now + linger) | staying

    def extend(self, wanted: Table, actual: Table, now: float) -> Table:
        """The table wanted, with those that may stay a while at weight 0."""
        places = [
            place for place, at in self._leaving.items() if self._stays(place, at, actual, now)
        ]
        if not places:
            return wanted
        extended = dict(wanted)
        for key, endpoint in places:
            there = actual[key]
            entry = extended.get(key, Entry(there.service, {}))
            if endpoint in entry.destinations:
                continue
            kept = replace(there.destinations[endpoint], weight=0)
            extended[key] = Entry(entry.service, {**entry.destinations, endpoint: kept})
        return extended

    def end(self, actual: Table, now: float) -> list[tuple[Place, str]]:
        """Who is to go now, with the reason; they are asked of no more."""
        ended = {
            place: self._reason(place)
            for place, at in self._leaving.items()
            if not self._stays(place, at, actual, now)
        }
        self._leaving = {p: at for p, at in self._leaving.items() if p not in ended}
        return [(place, reason) for place, reason in ended.items() if _is_there(place, actual)]

    @property
    def leaving(self) -> Mapping[Place, float]:
        """Who is on the way out, and until when at most."""
        return self._leaving

    def _stays(self, place: Place, until: float, actual: Table, now: float) -> bool:
        if now >= until or not _is_there(place, actual) or not self._connections(place):
            return False
        return lets_linger(actual[place[0]].service)

    def _connections(self, place: Place) -> int:
        use = self._usage().destinations.get(place)
        return 0 if use is None else use.active + use.inactive

    def _reason(self, place: Place) -> str:
        count = self._connections(place)
        if not count:
            return "no longer configured, and its connections have ended"
        return f"no longer configured; {count} connections had not ended in time"


def lets_linger(service: Service) -> bool:
    """Whether a weight of 0 hurts nobody there."""
    return service.scheduler not in _REFUSING or ServiceFlags.SCHED1 in service.flags


def _places(services: Iterable[VirtualService]) -> Iterable[Place]:
    for service in services:
        spare = () if service.fallback is None else (service.fallback,)
        for key in service.keys:
            for server in (*service.real_servers, *spare):
                yield key, server.endpoint


def _is_there(place: Place, actual: Table) -> bool:
    return place[0] in actual and place[1] in actual[place[0]].destinations
