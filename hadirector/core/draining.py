"""How far a server is from being safe to reboot: what is left on it, how old, for how long yet.

Safe is a server that gets no new connections and has none that a reboot would hurt:

- its weight in the kernel is 0, or it is absent, as it was ordered, and that was read back;
- no connection is active. What IPVS calls inactive is over, or never began, for TCP and SCTP; a
  UDP "connection" is always inactive, so of a UDP or fwmark service none of these may be left
  either;
- this node forwards the service: only the master counts connections, a backup holds copies.

Templates of persistent clients do not hold a server: weight 0 ends them at the client's next
connection (net.ipv4.vs.expire_quiescent_template, which hadirector sets).

IPVS knows no connection's age. As a drained server gets no new ones, each that is left is at
least as old as the order; one that came by a template later is as old as it was first seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hadirector.core import ipvs, messages
from hadirector.core.address import Endpoint
from hadirector.core.admin import Admin
from hadirector.core.director import Director
from hadirector.core.overrides import Override, Subject
from hadirector.core.weight import ServerWeight

SETTLES = 1.0  # seconds after the order: connections that were being made are counted by then
TREND = 60.0  # seconds of samples that tell how fast connections end
SAMPLES = 128


@dataclass(frozen=True, slots=True)
class Left:
    """What is left on one server of one service. `oldest` is an age, `longest` when the last
    connection ends if no client says anything more, both in seconds and None where not measured;
    `eta` when none is left at the pace they go, None: not in sight. `elsewhere`: another node
    knows, not this one."""

    name: str
    weight: int | None
    active: int
    inactive: int
    templates: int
    why_not: str
    oldest: float | None = None
    longest: float | None = None
    eta: float | None = None
    elsewhere: bool = False

    @property
    def safe(self) -> bool:
        """Whether it may be rebooted, as far as this service goes."""
        return not self.why_not


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reading of the connection table told of a server: its longest expiry, and when each
    of its connections was seen first, at the earliest."""

    longest: float
    first: float | None


Samples = Sequence[tuple[float, int]]
"""(instant, connections that hold a server), oldest first."""


def survey(
    director: Director,
    about: Subject,
    seen: Mapping[Endpoint, Seen],
    now: float,
) -> list[Left]:
    """Every server that a subject is about, without `eta`, which takes samples of several."""
    found = []
    for name, weights in director.services.weights.items():
        for server in weights.servers:
            if about.concerns(name, server.server.endpoint):
                found.append(_left(director, name, server, seen, now))
    return found


def holding(left: Left, protocol: str) -> int:
    """The connections that a reboot would hurt."""
    counts_all = protocol in ("udp", "fwmark")
    return left.active + (left.inactive if counts_all else 0)


def eta(samples: Samples, now: float) -> float | None:
    """Seconds until none is left, by how many ended lately."""
    recent = [(at, count) for at, count in samples if at >= now - TREND]
    if len(recent) < 2 or recent[-1][1] == 0:
        return 0.0 if recent and recent[-1][1] == 0 else None
    (began, before), (ended, left) = recent[0], recent[-1]
    if before <= left or ended <= began:
        return None
    return left * (ended - began) / (before - left)


def ordered_at(director: Director, name: str, server: Endpoint, now: float) -> float | None:
    """Since when it is out by order; None: by none."""
    orders = [
        order
        for order in director.orders.overrides
        if order.holds(now) and order.subject.concerns(name, server) and order.admin is not None
    ]
    newest: Override | None = max(orders, key=lambda order: order.stamp, default=None)
    return None if newest is None or newest.neutral else newest.at


def _left(
    director: Director,
    name: str,
    server: ServerWeight,
    seen: Mapping[Endpoint, Seen],
    now: float,
) -> Left:
    service = director.services.settings[name]
    endpoint = server.server.endpoint
    table = director.kernel.actual or {}
    there = [table[key].destinations.get(endpoint) for key in service.keys if key in table]
    weights = [destination.weight for destination in there if destination is not None]
    uses = [director.kernel.usage.destinations.get((key, endpoint)) for key in service.keys]
    at = ordered_at(director, name, endpoint, now)
    what = seen.get(endpoint)
    first = min((x for x in (at, what.first if what else None) if x is not None), default=None)
    left = Left(
        name=f"{name}/{endpoint}",
        weight=max(weights, default=None),
        active=sum(use.active for use in uses if use),
        inactive=sum(use.inactive for use in uses if use),
        templates=sum(use.persistent for use in uses if use),
        why_not="",
    )
    held = holding(left, service.protocol)
    elsewhere = away(director, service.keys)
    why = elsewhere or _why_not(director, server, left, held, at, now)
    oldest = now - first if first is not None and held else None
    longest = what.longest if what and held else None
    return replace(left, why_not=why, oldest=oldest, longest=longest, elsewhere=bool(elsewhere))


def _why_not(
    director: Director,
    server: ServerWeight,
    left: Left,
    held: int,
    at: float | None,
    now: float,
) -> str:
    """What speaks against a reboot; empty when nothing does."""
    if server.admin is Admin.ENABLED:
        return "it is not drained"
    if left.weight:
        return f"its weight in the kernel is still {left.weight}"
    seen_at = director.kernel.seen_at
    if seen_at is None or seen_at < (at or 0.0) + SETTLES:
        return "its connections are being counted"
    if held:
        return f"{held} connections are left" if held > 1 else "1 connection is left"
    return ""


def away(director: Director, keys: Iterable[ipvs.ServiceKey]) -> str:
    """Why this node does not know of a service's connections: another one forwards them."""
    if not director.routers:
        return ""
    addresses = {key.address for key in keys}
    owners = [
        router
        for router in director.routers
        if any(text.partition("/")[0] in addresses for text in router.addresses)
    ] or list(director.routers)
    for router in owners:
        if router.state is not messages.RouterStateName.MASTER:
            where = f": ask its master, {router.master}" if router.master else ""
            return f"this node is {router.state.value} of {router.instance}{where}"
    return ""
