"""What operators ordered of real servers beyond the configuration, and which order is in force.

An order is about one service's server (`web/10.0.1.12:80`, or any port of it: `web/10.0.1.12`) or
about a host everywhere (`10.0.1.12`), and about one of two things: its admin state, or its weight.
Of all orders that are about a server, unexpired ones, the newest is in force: `drain 10.0.1.12`
and then `enable web/10.0.1.12` leaves it drained everywhere but there. An order that ends
another one (`enable`, `weight ... configured`) is an order, too, and is kept: a node that was away
is to learn of it.

Every node of a cluster has all of them. Which of two is newer must be the same everywhere, whatever
the clocks: an order is stamped with its node's wall clock, but always later than every order that
this node knows; the node's name settles a tie. So what was ordered in knowledge of another order
is newer than that; and where two nodes could not hear each other, the wall clocks decide.

`digest` is the same on two nodes that know the same orders. An order to which nothing is owed any
more (it ends another, or has expired, FORGET seconds ago) is forgotten.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from ipaddress import ip_address

from hadirector.core.address import Address, Endpoint, canonical, family
from hadirector.core.admin import FREE, Admin, Ruling
from hadirector.core.ipvs import HEAVIEST
from hadirector.core.settings.services import VirtualService

MOST = 5000  # orders kept
FORGET = 90 * 86400.0  # seconds: a node that was away for longer has forgotten its own, too
LONGEST = 200  # characters of a reason
LONGEST_NAME = 64  # of who gave an order, a node, a service


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """`service` "" is every service, `port` 0 every port; `str()` is how operators write it."""

    service: str
    address: Address
    port: int = 0

    def __str__(self) -> str:
        host = str(Endpoint(self.address, self.port)) if self.port else str(self.address)
        return f"{self.service}/{host}" if self.service else host

    def concerns(self, service: str, server: Endpoint) -> bool:
        """Whether an order about this is about that server of that service."""
        return (
            self.service in ("", service)
            and self.address == server.address
            and self.port in (0, server.port)
        )


def subject(text: str) -> Subject:
    """`web/10.0.1.12:80`, `10.0.1.12`, `[2001:db8::1]:80`; ValueError when it is none of these."""
    service, slash, host = text.rpartition("/")
    if slash and not service:
        raise ValueError(f"{text!r}: write SERVICE/ADDRESS, or the address alone")
    try:
        return Subject(service, Address(str(ip_address(host.strip("[]")))))
    except ValueError:
        pass
    address, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} names no server: write an address, with or without a port")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    found = canonical(bare)
    if family(found) == 6 and bare == address:
        raise ValueError(f"{text!r}: write an IPv6 address with a port as [ADDRESS]:PORT")
    return Subject(service, found, int(port))


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """Milliseconds of Unix time, or later; and the node where it was ordered."""

    ms: int
    node: str


@dataclass(frozen=True, slots=True)
class Override:
    """One order: `admin`, or where that is None, `weight` (None: as configured). `by` gave it, on
    the node of its stamp. `at` and `expires_at` are CLOCK_BOOTTIME seconds; None: until revoked."""

    subject: Subject
    admin: Admin | None
    weight: int | None
    reason: str
    by: str
    stamp: Stamp
    at: float
    expires_at: float | None = None

    @property
    def slot(self) -> tuple[Subject, bool]:
        """What it is about; one order is kept for each."""
        return self.subject, self.admin is None

    @property
    def neutral(self) -> bool:
        """It only ends another one."""
        return self.admin is Admin.ENABLED or (self.admin is None and self.weight is None)

    @property
    def what(self) -> str:
        """`drained`, `weight 3`."""
        if self.admin is not None:
            return self.admin.value
        return "configured weight" if self.weight is None else f"weight {self.weight}"

    @property
    def why(self) -> str:
        """`by root on lb1 (kernel update), for 2h`."""
        told = f"by {self.by} on {self.stamp.node}"
        told += f" ({self.reason})" if self.reason else ""
        if self.expires_at is not None:
            told += f", for {_spell(self.expires_at - self.at)}"
        return told

    def holds(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at

    def shifted(self, by: float) -> "Override":
        """With its instants by another clock."""
        expires = None if self.expires_at is None else self.expires_at + by
        return replace(self, at=self.at + by, expires_at=expires)


class Overrides:
    """All orders that a node knows."""

    def __init__(self, known: Iterable[Override] = ()) -> None:
        self._orders: dict[tuple[Subject, bool], Override] = {}
        for order in known:
            self.take(order)

    def __iter__(self) -> Iterator[Override]:
        return iter(self._orders.values())

    def take(self, order: Override) -> bool:
        """Keep it where it is newer than what is known; whether it is."""
        known = self._orders.get(order.slot)
        if known is not None and known.stamp >= order.stamp:
            return False
        if known is None and len(self._orders) >= MOST:
            return False
        self._orders[order.slot] = order
        return True

    def stamp(self, node: str, unix: float) -> Stamp:
        """For an order that is given now."""
        newest = max((order.stamp.ms for order in self), default=0)
        return Stamp(max(int(unix * 1000), newest + 1), node)

    def in_force(self, now: float) -> list[Override]:
        """Those that hold and change something, the newest first."""
        found = [order for order in self if order.holds(now) and not order.neutral]
        return sorted(found, key=lambda order: order.stamp, reverse=True)

    def ruling(self, service: str, server: Endpoint, now: float) -> Ruling:
        """What holds for a server."""
        return _ruling(o for o in self if o.holds(now) and o.subject.concerns(service, server))

    def rulings(
        self, services: Iterable[VirtualService], now: float
    ) -> dict[str, dict[Endpoint, Ruling]]:
        """What holds for each server that an order is about."""
        by_address: dict[Address, list[Override]] = {}
        for order in self:
            if order.holds(now):
                by_address.setdefault(order.subject.address, []).append(order)
        found: dict[str, dict[Endpoint, Ruling]] = {}
        for service in services if by_address else ():
            for server in service.real_servers:
                some = by_address.get(server.endpoint.address)
                if some is None:
                    continue
                ruling = _ruling(
                    order for order in some if order.subject.concerns(service.name, server.endpoint)
                )
                if ruling != FREE:
                    found.setdefault(service.name, {})[server.endpoint] = ruling
        return found

    def expired(self, before: float, now: float) -> list[Override]:
        """Those that ended since then."""
        return [
            order
            for order in self
            if order.expires_at is not None
            and before < order.expires_at <= now
            and not order.neutral
        ]

    def next_expiry(self, now: float) -> float | None:
        """When the next one ends."""
        ends = (order.expires_at for order in self if order.expires_at is not None)
        return min((at for at in ends if at > now), default=None)

    def forget(self, now: float) -> bool:
        """Drop those to which nothing is owed any more; whether there were any."""
        gone = [order.slot for order in self if _over_since(order) < now - FORGET]
        for slot in gone:
            del self._orders[slot]
        return bool(gone)

    def effect(self, now: float) -> str:
        """The same where the same is ordered of the same servers, by whomever; empty: nothing."""
        found = sorted(f"{order.subject} {order.what}" for order in self.in_force(now))
        return blake2b(repr(found).encode(), digest_size=8).hexdigest() if found else ""

    def digest(self) -> str:
        """The same where the same orders are known."""
        stamps = sorted((str(o.subject), o.admin is None, o.stamp.ms, o.stamp.node) for o in self)
        return blake2b(repr(stamps).encode(), digest_size=8).hexdigest()


def _ruling(orders: Iterable[Override]) -> Ruling:
    """What these orders about one server come to."""
    about = list(orders)
    if not about:
        return FREE
    admins = [order for order in about if order.admin is not None]
    weights = [order for order in about if order.admin is None]
    admin = max(admins, key=lambda order: order.stamp, default=None)
    weight = max(weights, key=lambda order: order.stamp, default=None)
    return Ruling(
        Admin.ENABLED if admin is None or admin.admin is None else admin.admin,
        "" if admin is None or admin.neutral else admin.why,
        None if weight is None else weight.weight,
        "" if weight is None or weight.neutral else weight.why,
    )


def _over_since(order: Override) -> float:
    if order.neutral:
        return order.at
    return float("inf") if order.expires_at is None else order.expires_at


def lawful(order: Override) -> bool:
    """Whether another node's order is one that an operator could have given."""
    texts = (order.subject.service, order.by, order.stamp.node)
    return (
        all(len(text) <= LONGEST_NAME and text.isprintable() for text in texts)
        and len(order.reason) <= LONGEST
        and order.reason.isprintable()
        and 0 <= order.subject.port < 65536
        and (order.weight is None or 0 <= order.weight <= HEAVIEST)
        and 0 <= order.stamp.ms < 2**53
    )


def _spell(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and round(seconds) % size == 0:
            return f"{round(seconds) // size}{unit}"
    return f"{seconds:.0f}s"
