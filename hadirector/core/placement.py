"""Where virtual addresses go, and which of the kernel's addresses are ours: a plan.

Pure: what should be, what is, and what this process did itself go in; what to write comes out.

- An address goes on as /32 (/128) without a prefix route where its interface has a lasting address
  of the system's that covers it. Then it can come and go, also by the kernel's own hand when its
  lease ends, and nothing else changes: a first /24 that expires takes the other addresses of its
  net along, and an IPv6 /64 made finite takes the node's own /64 route (both measured).
- A device with a virtual MAC has no address of the system's: its parent's count for it.
- Without such an address it goes on with its own prefix, for the route to its net. Then the
  interface must have promote_secondaries.
- An address found at start that a former process of ours left is removed and added, never changed
  in place: it may be permanent, with somebody's route hanging on it.
- What the system configured is never touched, and a virtual address among it is an obstacle.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hadirector.core import address
from hadirector.core.address import Address, Family
from hadirector.core.election_types import Obstacle, PlacedAddress
from hadirector.core.node_view import is_link_local
from hadirector.core.settings.instances import VirtualAddress

MARK = 112  # IFA_PROTO of our addresses: VRRP's number, which no other program claims

Key = tuple[str, Address, int]
"""Interface, address, prefix: what the kernel tells addresses apart by."""


@dataclass(frozen=True, slots=True)
class Held:
    """An address the kernel has. `bare`: it has no prefix route (IFA_F_NOPREFIXROUTE)."""

    interface: str
    address: Address
    prefix: int
    bare: bool
    finite: bool
    protocol: int = 0
    loopback: bool = False

    @property
    def key(self) -> Key:
        return (self.interface, self.address, self.prefix)

    @property
    def width(self) -> int:
        """Bits of an address of this family."""
        return _width(address.family(self.address))


@dataclass(frozen=True, slots=True)
class Put:
    """Add this address, marked as ours. `lifetime` in whole seconds, None: for ever."""

    interface: str
    address: Address
    prefix: int
    bare: bool
    lifetime: int | None

    @property
    def key(self) -> Key:
        return (self.interface, self.address, self.prefix)


@dataclass(frozen=True, slots=True)
class Relet:
    """Give this address, which is ours and there, another lifetime in place."""

    put: Put


@dataclass(frozen=True, slots=True)
class Take:
    """Remove this address."""

    key: Key


Step = Put | Relet | Take


@dataclass(frozen=True, slots=True)
class Ownership:
    """`own`: put there by this process. `noted`: by a former one, as far as its note says."""

    own: frozenset[Key] = frozenset()
    noted: frozenset[Key] = frozenset()

    def has(self, held: Held) -> bool:
        """Whether an address is ours to change and remove."""
        return held.protocol == MARK or held.key in self.own or held.key in self.noted


def place(
    wanted: Iterable[PlacedAddress], held: Iterable[Held], ownership: Ownership
) -> list[Step]:
    """What to write so that each wanted address is there in its right form; nothing where the
    system has it."""
    there = tuple(held)
    named = _by_name(there)
    lasting = [h for h in there if not h.finite and h.prefix < h.width and not ownership.has(h)]
    steps: list[Step] = []
    for each in wanted:
        put = _form(each, lasting)
        found = named.get((put.interface, put.address), [])
        if all(ownership.has(h) for h in found):
            steps += _settle(put, found, ownership)
    return steps


def drop(
    unwanted: Iterable[PlacedAddress], held: Iterable[Held], ownership: Ownership
) -> list[Step]:
    """What to remove so that none of these is there as ours; the last placed goes first."""
    named = _by_name(held)
    return [
        Take(h.key)
        for each in reversed(tuple(unwanted))
        for h in named.get((each.interface, each.address), [])
        if ownership.has(h)
    ]


def reconcile(
    wanted: tuple[PlacedAddress, ...], held: Iterable[Held], ownership: Ownership
) -> list[Step]:
    """`place`, and everything else of ours goes."""
    there = tuple(held)
    names = {(each.interface, each.address) for each in wanted}
    left_over: list[Step] = [
        Take(h.key)
        for h in there
        if (h.interface, h.address) not in names and ownership.has(h) and not h.loopback
    ]
    return left_over + place(wanted, there, ownership)


def obstacles(
    virtual: Iterable[VirtualAddress], held: Iterable[Held], ownership: Ownership
) -> tuple[Obstacle, ...]:
    """Virtual addresses the system has configured itself. One that we hold as well is none: it
    works here, and giving it up would leave it on two nodes. Loopback is the place where a
    director that is also a real server keeps it."""
    foreign: dict[Address, Held] = {}
    ours = set()
    for h in held:
        if ownership.has(h):
            ours.add(h.address)
        elif not h.loopback:
            foreign.setdefault(h.address, h)
    return tuple(
        Obstacle(v.address, v.interface, _complaint(foreign[v.address]))
        for v in virtual
        if v.address in foreign and v.address not in ours
    )


def needs_promotion(put: Put) -> bool:
    """Whether the interface's promote_secondaries must be set before this one goes on."""
    return not put.bare and address.family(put.address) == 4


def _by_name(held: Iterable[Held]) -> dict[tuple[str, Address], list[Held]]:
    """By interface and address: one may be there with several prefixes."""
    named: dict[tuple[str, Address], list[Held]] = {}
    for h in held:
        named.setdefault((h.interface, h.address), []).append(h)
    return named


def _form(wanted: PlacedAddress, lasting: list[Held]) -> Put:
    full = _width(address.family(wanted.address))
    # A link-local one answers by its own interface only, so it needs the route there.
    beside = "" if is_link_local(wanted.address) else wanted.beside
    homes = {wanted.interface, beside}
    bare = wanted.prefix == full or any(
        h.interface in homes and _covers(h, wanted.address) for h in lasting
    )
    prefix = full if bare else wanted.prefix
    return Put(wanted.interface, wanted.address, prefix, bare, wanted.lifetime)


def _settle(put: Put, found: list[Held], ownership: Ownership) -> list[Step]:
    """From what is there to `put`; an address in its right form is left alone."""
    right = [h for h in found if h.key in ownership.own and (h.prefix, h.bare) == _shape(put)]
    steps: list[Step] = [Take(h.key) for h in found if h not in right]
    if not right:
        return [*steps, put]
    if right[0].finite == (put.lifetime is not None):
        return steps
    if address.family(put.address) == 6 and not put.bare:
        # In place the prefix route would change its lifetime too, whoever else needs it.
        return [*steps, Take(put.key), put]
    return [*steps, Relet(put)]


def _shape(put: Put) -> tuple[int, bool]:
    return (put.prefix, put.bare)


def _covers(held: Held, what: Address) -> bool:
    if address.family(held.address) != address.family(what):
        return False
    shift = held.width - held.prefix
    return _number(held.address) >> shift == _number(what) >> shift


def _width(family: Family) -> int:
    return 128 if family == 6 else 32


def _number(what: Address) -> int:
    return int.from_bytes(address.packed(what), "big")


def _complaint(held: Held) -> str:
    return (
        f"{held.address}/{held.prefix} is configured on {held.interface} by the system; "
        "a virtual address must be left to hadirector: remove it there"
    )
