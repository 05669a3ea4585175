"""What is left on servers that are drained, for whoever waits for it.

Counters come with every read of IPVS. Ages and expiries are in the connection table only, which
is read while somebody waits, beside the loop, at a bounded share of a core, and not at all where
it is too large for this kernel; then they are told as unknown.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from hadirector.core import draining, ipvs_connections
from hadirector.core.address import Address, Endpoint, family, packed
from hadirector.core.director import Director
from hadirector.core.draining import Left, Seen
from hadirector.core.overrides import Subject
from hadirector.shell import child, connection_table

log = logging.getLogger(__name__)

MOST = 20_000  # connections of a table that is read where reading is quadratic: 0.7 s
MOST_LINEAR = 1_000_000
SHARE = 0.2  # of a core
EVERY = 2.0  # seconds between two readings, and at least
PAUSE = 5  # times what one took
REMEMBERED = 20_000  # connections whose first sight is known
SERVERS = 64  # that are looked for in one reading


class DrainWatch:
    """`director` is the core whose counters are told."""

    def __init__(self, director: Callable[[], Director]) -> None:
        self._director = director
        self._samples: dict[str, deque[tuple[float, int]]] = {}
        self._seen: dict[Endpoint, Seen] = {}
        self._first: dict[tuple[str, str, int, str, int], float] = {}
        self._next_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    def look(self, about: Subject) -> list[Left]:
        """What is left now; a reading of the table is begun where it is time."""
        now, director = child.now(), self._director()
        found = []
        for left in draining.survey(director, about, self._seen, now):
            service = director.services.settings[left.name.rpartition("/")[0]]
            samples = self._samples.setdefault(left.name, deque(maxlen=draining.SAMPLES))
            samples.append((now, draining.holding(left, service.protocol)))
            found.append(replace(left, eta=draining.eta(samples, now)))
        if len(self._samples) > 4 * SERVERS:
            self._samples = {left.name: self._samples[left.name] for left in found}
        self._read(about, now)
        return found

    @property
    def exact(self) -> bool:
        """Whether the connection table can be read."""
        most = MOST_LINEAR if connection_table.is_linear() else MOST
        uses = self._director().kernel.usage.destinations.values()
        return sum(use.active + use.inactive + use.persistent for use in uses) <= most

    def _read(self, about: Subject, now: float) -> None:
        under_way = self._reading is not None and not self._reading.done()
        if under_way or now < self._next_at or not self.exact:
            return
        services = self._director().services.settings
        servers = {
            server.endpoint: at
            for name, service in services.items()
            for server in service.real_servers
            if about.concerns(name, server.endpoint)
            and (at := draining.ordered_at(self._director(), name, server.endpoint, now))
        }
        if servers:
            some = dict(list(servers.items())[:SERVERS])
            self._reading = asyncio.create_task(self._table(some), name="drained connections")

    async def _table(self, servers: dict[Endpoint, float]) -> None:
        began = child.now()
        longest: dict[Endpoint, float] = {}
        first: dict[Endpoint, float] = {}
        known, self._first = self._first, {}
        wanted = {_hexadecimal(server): server for server in servers}
        try:
            async for lines in connection_table.rows(SHARE):
                for line in lines:
                    if not any(text in line for text in wanted):
                        continue
                    one = ipvs_connections.parse(line.decode("ascii", "replace"))
                    if one is None or not one.client_port:
                        continue
                    server = Endpoint(Address(one.server), one.server_port)
                    if server not in servers:
                        continue
                    name = (
                        one.protocol,
                        one.client,
                        one.client_port,
                        one.virtual,
                        one.virtual_port,
                    )
                    at = known.get(name, began if known else servers[server])
                    if len(self._first) < REMEMBERED:
                        self._first[name] = at
                    longest[server] = max(longest.get(server, 0.0), float(one.expires))
                    first[server] = min(first.get(server, at), at)
        except OSError as error:
            log.debug("connection table not read: %s", error)
        now = child.now()
        self._next_at = now + max(EVERY, PAUSE * (now - began))
        self._seen = {
            server: Seen(longest.get(server, 0.0), first.get(server)) for server in servers
        }


def _hexadecimal(server: Endpoint) -> bytes:
    """How the table writes it."""
    if family(server.address) == 4:
        return f"{packed(server.address).hex().upper()} {server.port:04X}".encode()
    return f" {server.port:04X} ".encode()
