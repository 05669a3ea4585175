"""Virtual routes and rules: what a master's should be in the kernel, and how to get there: a plan.

Pure: what should be and what there is of ours go in; what to write comes out.

- Ours carry protocol 112, as our addresses do, and only such are ever removed or replaced. An
  equal route of somebody else's stays, and ours is refused.
- A route left by a former process is adopted if it is the wanted one; else it goes first.
- The kernel takes IPv4 routes away without a word when their source address or their link goes,
  and IPv6 routes lose their source. When that may have happened (`doubtful`) all are written again:
  one that is there refuses an IPv4 route and does no harm; an IPv6 route with a source is replaced.
- Rules without a priority get keepalived's: a number of the kernel's choice would make it another
  rule each time it is written.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from hadirector.core import address
from hadirector.core.address import Address, Family
from hadirector.core.settings.instances import VirtualRoute, VirtualRule

MARK = 112  # RTPROT and FRA_PROTOCOL of ours: VRRP's number; keepalived's own are 18
DEFAULT_PRIORITY = 16384  # of rules; well before main (32766), where keepalived begins
IP6_METRIC = 1024  # what the kernel makes of none

_STATIC_TABLES = {255: "local", 254: "main", 253: "default"}
_EVERYTHING: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Route:
    """A route to the prefix `to`. `table` 0: that of the VRF `home` is in, else main."""

    family: Family
    to: str
    via: Address | None
    interface: str | None
    source: Address | None
    table: int
    metric: int
    onlink: bool = False
    home: str = ""

    @property
    def key(self) -> tuple[Family, str, int, int]:
        """What the kernel tells routes apart by."""
        return (self.family, self.to, self.table, self.metric)

    def __str__(self) -> str:
        parts = [f"route {_shown(self.to)}"]
        parts += [f"via {self.via}"] if self.via else []
        parts += [f"dev {self.interface}"] if self.interface else []
        parts += [f"src {self.source}"] if self.source else []
        parts += [f"table {_STATIC_TABLES.get(self.table, self.table)}"] if self.table else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that sends what matches both prefixes to `table`."""

    family: Family
    from_: str | None
    to: str | None
    table: int
    priority: int

    def __str__(self) -> str:
        parts = [f"rule {self.priority}:"]
        parts += [f"from {_shown(self.from_)}"] if self.from_ else []
        parts += [f"to {_shown(self.to)}"] if self.to else []
        return " ".join((*parts, f"lookup {_STATIC_TABLES.get(self.table, self.table)}"))


Belonging = Route | Rule
Key = tuple[Family, str, int, int] | Rule
"""What the kernel tells routes, or rules, apart by."""


@dataclass(frozen=True, slots=True)
class Put:
    """Add this one; `replace`: it is there and ours, and may have lost its source."""

    what: Belonging
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Remove this one of ours."""

    what: Belonging


Step = Put | Take


def key_of(what: Belonging) -> Key:
    """Its name within the kernel."""
    return what.key if isinstance(what, Route) else what


def route_of(settings: VirtualRoute, family: Family, home: str) -> Route:
    """A route of a virtual router of this family on the interface `home`."""
    metric = settings.metric or (IP6_METRIC if family == 6 else 0)
    return Route(
        family,
        _EVERYTHING[family] if settings.to == "default" else settings.to,
        settings.via,
        settings.interface,
        settings.source,
        settings.table or 0,
        metric,
        settings.onlink,
        home,
    )


def rule_of(settings: VirtualRule, family: Family) -> Rule:
    """A rule of a virtual router of this family; `default` matches everything, as if not there."""
    from_, to = (None if p == "default" else p for p in (settings.from_, settings.to))
    return Rule(family, from_, to, settings.table, settings.priority or DEFAULT_PRIORITY)


def place(
    wanted: Iterable[Belonging], held: Mapping[Key, Belonging], doubtful: bool = False
) -> list[Step]:
    """What to write so that these are there. Routes want their table resolved."""
    steps: list[Step] = []
    for one in wanted:
        found = held.get(key_of(one))
        if found is None:
            steps.append(Put(one))
        elif isinstance(one, Route) and not _serves(found, one):
            steps += [Take(found), Put(one)]
        elif doubtful:
            sourced = isinstance(one, Route) and one.family == 6 and one.source is not None
            steps.append(Put(one, replace=sourced))
    return steps


def drop(unwanted: Iterable[Belonging], held: Mapping[Key, Belonging]) -> list[Step]:
    """What to remove so that none of these is there as ours; the last placed goes first."""
    names = [key_of(one) for one in unwanted]
    return [Take(held[name]) for name in reversed(names) if name in held]


def reconcile(
    wanted: Collection[Belonging], held: Mapping[Key, Belonging], doubtful: bool = False
) -> list[Step]:
    """`place`, and everything else of ours goes."""
    names = {key_of(one) for one in wanted}
    left_over: list[Step] = [Take(one) for name, one in held.items() if name not in names]
    return left_over + place(wanted, held, doubtful)


def family_of(texts: Iterable[str | None], first: Family) -> Family:
    """The family these prefixes and addresses say; `first` where they say none."""
    named = [text for text in texts if text and (":" in text or "." in text)]
    families: set[Family] = {6 if ":" in text else 4 for text in named}
    return next(iter(families), first)


def _serves(found: Belonging, wanted: Route) -> bool:
    """Whether it is the wanted one; the kernel fills in an interface where none was asked for."""
    return isinstance(found, Route) and found == replace(
        wanted, interface=wanted.interface or found.interface, home=found.home
    )


def _shown(prefix: str) -> str:
    """As ip-route(8) prints it."""
    if prefix in _EVERYTHING.values():
        return "default"
    network = ipaddress.ip_network(prefix)
    return str(network[0]) if network.num_addresses == 1 else prefix


def prefix_of(raw: bytes, length: int, family: Family) -> str:
    """A prefix from a message's bytes; none means everything."""
    return f"{address.from_packed(raw)}/{length}" if raw else _EVERYTHING[family]
