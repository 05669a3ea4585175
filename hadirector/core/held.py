"""Held connections: one idle TCP connection to each endpoint, whose end is news of its server.

A process that dies has its connections closed by its kernel, within a millisecond. So the end of
a held connection asks for a probe at once (core/pacing.py), and one refused then is a verdict.

Most servers also close clients that stay idle, and such an end is no news at all. How long a server
lets us idle is learned from the lives of two connections that it closed and then went on to answer:
after that we renew the connection before its time. A server that closes too soon for this to pay is
left alone for a while.

    not held -- a good probe --> opening -- stands --> held
       ^                            |                    |
       `--- failed, given up -------'---- ended, renewed-'

Bounds: `room` connections, OPENINGS opened a second (in a burst of as many), one life at a time per
endpoint, growing pauses for those that end early.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Address, Endpoint
from hadirector.core.deadlines import Deadlines
from hadirector.core.duration import spell

OPENINGS = 500  # a second: what 10,000 servers cost when they all return at once stays small
ALIKE = 0.75  # two lives are alike from this ratio on: the server's limit, not chance
RENEW = 0.8  # of the learned limit
EXPECTED = 0.7  # of the learned limit: an end after that long is the server's habit
TOO_SHORT = 3.0  # seconds: holding such a connection costs more than it tells
SHORT = 20.0  # seconds: whose connection ends sooner waits for the next one
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds, doubled at each early end
LEFT_ALONE = 600.0  # seconds


class End(Enum):
    """How a held connection ended."""

    CLOSED = "closed"  # in order
    RESET = "reset"  # or no answer to a keep-alive
    FAILED = "failed"  # it never stood
    CHATTY = "chatty"  # the server sends and sends: this is no idle connection
    OURS = "ours"  # no descriptor, no port: nothing of the server's


@dataclass(frozen=True, slots=True)
class Hold:
    """Open a connection and keep it; `Stands` and `Ended` come back with the same number."""

    number: int
    endpoint: Endpoint
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Close this connection; nothing comes back."""

    number: int


@dataclass(frozen=True, slots=True)
class Stands:
    """A connection is open."""

    number: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A connection ended, and not by us."""

    number: int
    end: End


@dataclass(frozen=True, slots=True)
class News:
    """A held connection ended: probe `targets` at once. `verdict`: one that is refused then is
    down; else the end was to be expected, and the probe is like any other."""

    targets: tuple[str, ...]
    verdict: bool
    sentence: str


@dataclass(slots=True)
class _Life:
    """What is known of one endpoint."""

    endpoint: Endpoint
    source: Address | None
    targets: list[str] = field(default_factory=list)
    number: int = 0  # of its connection; 0: none
    stands_since: float | None = None
    ended_after: float | None = None  # seconds; not known yet whether the server lives
    closed_after: float | None = None  # seconds: the last life that the living server ended
    limit: float | None = None  # seconds it lets us idle
    pause: float = 0.0
    not_before: float = 0.0

    def give_up(self, now: float) -> None:
        """Leave it alone; whoever changed its limit meanwhile is learned anew."""
        self.closed_after = self.limit = self.ended_after = None
        self.pause, self.not_before = 0.0, now + LEFT_ALONE


Action = Hold | Release
Event = Stands | Broken


class Holds:
    """The held connections of a checker, at most `room` of them."""

    def __init__(self, room: int) -> None:
        self.refused = 0  # endpoints that found no room when last asked for
        self._room = room
        self._lives: dict[Endpoint, _Life] = {}
        self._numbers: dict[int, _Life] = {}
        self._number = 0
        self._renewals = Deadlines[Endpoint]()
        self._openings = float(OPENINGS)  # a bucket that fills by OPENINGS a second
        self._filled_at = 0.0

    def __len__(self) -> int:
        return len(self._numbers)

    def follow(self, wanted: Iterable[tuple[str, Endpoint, Address | None]]) -> list[Action]:
        """All targets whose endpoint is to be held, and from which address: of several, the first.
        The connections of others are let go."""
        before, self._lives = self._lives, {}
        for target, endpoint, source in wanted:
            life = self._lives.get(endpoint)
            if life is None:
                known = before.get(endpoint)
                kept = known is not None and known.source == source
                life = known if known is not None and kept else _Life(endpoint, source)
                self._lives[endpoint] = life
                life.targets = []
            life.targets.append(target)
        self.refused = 0
        gone = [life for at, life in before.items() if self._lives.get(at) is not life]
        return [action for life in gone for action in self._release(life)]

    def good(self, endpoint: Endpoint, now: float) -> list[Action]:
        """A probe of it was good and its server counts as up: hold a connection to it."""
        life = self._lives.get(endpoint)
        if life is None or life.number:
            return []
        if life.ended_after is not None:
            self._learn(life, life.ended_after, now)
        if now < life.not_before or not self._may_open(now):
            return []
        if len(self._numbers) >= self._room:
            self.refused += 1
            return []
        self._number += 1
        life.number, life.stands_since = self._number, None
        self._numbers[self._number] = life
        return [Hold(self._number, endpoint, life.source)]

    def down(self, endpoint: Endpoint, silent: bool) -> list[Action]:
        """Its server is out: how it ended a connection says nothing about its habits. What stands
        to a `silent` one is let go."""
        life = self._lives.get(endpoint)
        if life is None:
            return []
        life.ended_after, life.pause = None, 0.0
        return self._release(life) if silent else []

    def handle(self, event: Event, now: float) -> News | None:
        """What became of a connection; whom to probe now."""
        life = self._numbers.get(event.number)
        if life is None:
            return None  # let go meanwhile
        match event:
            case Stands():
                life.stands_since = now
                if life.limit is not None:
                    self._renewals.set(life.endpoint, now + self._renewed_after(life))
                return None
            case Broken(end=end):
                return self._broken(life, end, now)

    def due(self, now: float) -> list[Action]:
        """Connections that are renewed now, before the server ends them."""
        actions: list[Action] = []
        for endpoint in self._renewals.take_due(now):
            life = self._lives.get(endpoint)
            if life is not None and life.number:
                actions += [*self._release(life), *self.good(endpoint, now)]
        return actions

    def next_at(self) -> float | None:
        """When `due` has something to do."""
        return self._renewals.soonest()

    def _broken(self, life: _Life, end: End, now: float) -> News | None:
        since = life.stands_since
        self._forget(life)
        if end is End.CHATTY:
            life.give_up(now)
            return None
        if end is End.OURS:
            self._pause(life, now)
            return None
        if since is None:
            self._pause(life, now)
            return News(tuple(life.targets), False, "no connection to it could be held")
        lived = life.ended_after = now - since
        expected = life.limit is not None and lived >= EXPECTED * life.limit
        how = "closed" if end is End.CLOSED else "reset"
        sentence = f"its held connection was {how} after {spell(_rounded(lived))}"
        return News(tuple(life.targets), not expected, sentence)

    def _learn(self, life: _Life, lived: float, now: float) -> None:
        """The server ended a connection and answers all the same."""
        life.ended_after = None
        before, life.closed_after = life.closed_after, lived
        known = life.limit if life.limit is not None else before
        if known is not None and (life.limit is not None or _alike(known, lived)):
            life.limit = min(known, lived)
            if life.limit < TOO_SHORT:
                life.give_up(now)
                return
        if lived >= SHORT or life.limit is not None:
            life.pause = 0.0
        else:
            self._pause(life, now)

    def _pause(self, life: _Life, now: float) -> None:
        life.pause = min(LONGEST_PAUSE, 2 * life.pause or FIRST_PAUSE)
        life.not_before = now + life.pause

    def _renewed_after(self, life: _Life) -> float:
        """Not all at once: each endpoint has its place in the last tenth before."""
        assert life.limit is not None
        digest = hashlib.blake2b(str(life.endpoint).encode(), digest_size=2).digest()
        return life.limit * (RENEW - 0.1 * int.from_bytes(digest) / 2**16)

    def _may_open(self, now: float) -> bool:
        filled = self._openings + (now - self._filled_at) * OPENINGS
        self._openings, self._filled_at = min(float(OPENINGS), filled), now
        if self._openings < 1:
            return False
        self._openings -= 1
        return True

    def _release(self, life: _Life) -> list[Action]:
        if not life.number:
            return []
        number = life.number
        self._forget(life)
        return [Release(number)]

    def _forget(self, life: _Life) -> None:
        del self._numbers[life.number]
        life.number, life.stands_since = 0, None
        self._renewals.set(life.endpoint, None)


def _alike(one: float, other: float) -> bool:
    return min(one, other) >= ALIKE * max(one, other)


def _rounded(seconds: float) -> float:
    """As exact as anybody wants to read: `40ms`, `3.2s`, `75s`."""
    return round(seconds, 3 if seconds < 1 else 1 if seconds < 10 else 0)
