"""What others do to the belongings of a master, and what the kernel refuses: how it is told.

Whatever of ours is removed comes back at once; that is the shell's work. Here is decided how much
is said about it:

    gone and back           told, with how often; at most FIGHT - 1 times in WINDOW
    FIGHT times in WINDOW   somebody fights us: told once, with what to do; it goes on in silence
    quiet for WINDOW        told once more, with the count

A fight costs no mastership: the addresses are back within milliseconds each time, and the peer
would be fought as well. Neither does a route that the kernel refuses (its gateway is not on the
network just then, say): the node that has the addresses still serves what does not need it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from hadirector.core.election_types import PlacedAddress
from hadirector.core.routing import Belonging, Route

FIGHT = 5
WINDOW = 60.0  # seconds
ANNOUNCE_SPACING = 1.0  # seconds between announcements of addresses that are removed in a loop

_NAMED = 3  # of many things at once


class Kind(Enum):
    """What was removed; the value begins the kind of the event."""

    ADDRESS = "vip"
    ROUTE = "route"
    RULE = "rule"


_WHO = {
    Kind.ADDRESS: (
        "systemd-networkd: KeepConfiguration=yes in the interface's .network file; "
        "NetworkManager: leave the interface unmanaged"
    ),
    Kind.ROUTE: "systemd-networkd: ManageForeignRoutes=no in networkd.conf",
    Kind.RULE: "systemd-networkd: ManageForeignRoutingPolicyRules=no in networkd.conf",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A line of the journal."""

    kind: str
    reason: str
    inputs: dict[str, str]


class Upkeep:
    """For one virtual router."""

    def __init__(self) -> None:
        self._removals: dict[Kind, deque[float]] = {}  # the last FIGHT of each kind
        self._counts: dict[Kind, int] = {}
        self._fights: dict[Kind, str] = {}  # what the fight is about
        self._refused: dict[Belonging, str] = {}
        self._announced_at = -WINDOW

    @property
    def deadline(self) -> float | None:
        """When a fight may be over."""
        return min((self._removals[kind][-1] + WINDOW for kind in self._fights), default=None)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What somebody must look at, one sentence each."""
        fights = (f"another program keeps removing {w}" for w in self._fights.values())
        refused = (f"{what}: {reason}" for what, reason in self._refused.items())
        return (*fights, *refused)

    def restored(self, things: Iterable[PlacedAddress | Belonging], now: float) -> list[Told]:
        """These were gone and are back."""
        kinds: dict[Kind, list[PlacedAddress | Belonging]] = {}
        for thing in things:
            kinds.setdefault(_kind(thing), []).append(thing)
        return [line for kind, some in kinds.items() for line in self._restored(kind, some, now)]

    def may_announce(self, now: float) -> bool:
        """Whether restored addresses are to be announced now."""
        if now < self._announced_at + ANNOUNCE_SPACING:
            return False
        self._announced_at = now
        return True

    def calm(self, now: float) -> list[Told]:
        """The fights that are over."""
        told = []
        for kind in list(self._fights):
            if now >= self._removals[kind][-1] + WINDOW:
                what, count = self._fights.pop(kind), self._counts.pop(kind)
                del self._removals[kind]
                reason = f"{what} undisturbed for {WINDOW:g} s, after {count} removals"
                told.append(Told(f"{kind.value}_undisturbed", reason, {"times": str(count)}))
        return told

    def refuse(self, refused: Mapping[Belonging, str], held: Iterable[Belonging]) -> list[Told]:
        """A level: all the kernel refuses just now; those of this router's count."""
        before = self._refused
        self._refused = {one: refused[one] for one in held if one in refused}
        told = [
            Told(f"{_kind(one).value}_refused", f"{one}: {reason}", {})
            for one, reason in self._refused.items()
            if before.get(one) != reason
        ]
        mended = [one for one in held if one in before and one not in refused]
        return told + [
            Told(f"{_kind(one).value}_accepted", f"{one}: the kernel took it after all", {})
            for one in mended
        ]

    def _restored(
        self, kind: Kind, things: list[PlacedAddress | Belonging], now: float
    ) -> list[Told]:
        removals = self._removals.setdefault(kind, deque(maxlen=FIGHT))
        if not removals or now > removals[-1] + WINDOW:
            self._counts[kind] = 0
        removals.append(now)
        self._counts[kind] += 1
        if kind in self._fights:
            return []
        what = _listed(things)
        inputs = {"times": str(self._counts[kind])}
        if len(removals) == FIGHT and now - removals[0] <= WINDOW:
            self._fights[kind] = what
            reason = (
                f"another program keeps removing {what}: {FIGHT} times in "
                f"{now - removals[0]:.0f} s, put back each time ({_WHO[kind]})"
            )
            return [Told(f"{kind.value}_contested", reason, inputs)]
        was, is_ = ("was", "is") if len(things) == 1 else ("were", "are")
        reason = f"{what} {was} gone and {is_} back"
        return [Told(f"{kind.value}_restored", reason, inputs)]


def _kind(thing: PlacedAddress | Belonging) -> Kind:
    if isinstance(thing, PlacedAddress):
        return Kind.ADDRESS
    return Kind.ROUTE if isinstance(thing, Route) else Kind.RULE


def _listed(things: list[PlacedAddress | Belonging]) -> str:
    """The first few by name; addresses with where they are."""
    names = [one.address if isinstance(one, PlacedAddress) else str(one) for one in things]
    text = ", ".join(names[:_NAMED])
    if len(names) > _NAMED:
        text += f" and {len(names) - _NAMED} more"
    where = sorted({one.interface for one in things if isinstance(one, PlacedAddress)})
    return f"{text} on {', '.join(where)}" if where else text
