"""What comes from one peer's relay: each datagram once, in the order in which it was sent.

Order matters to the kernel: it takes a record's state and timeout as they stand, so a record that
was lost and came again must not follow a newer one of the same connection. So what comes after a
gap is held until the gap is filled, or given up.

A missing datagram is asked for `ASK_AFTER` seconds after its successor came (the network may only
have changed their order), then each `ASK_EVERY`, and given up after `GIVE_UP`: with three of ten
datagrams lost in each direction one in a million is. What was given up is lost, is counted, and
is refused should it come after all: so nobody can hold a record up for longer than that.
"""

from collections.abc import Iterator

from hadirector.core.relay_wire import RANGES

ASK_AFTER = 0.01  # seconds: longer than datagrams overtake each other on a cluster's wire
ASK_EVERY = 0.05  # seconds: longer than an answer takes
GIVE_UP = 1.0  # seconds: twenty requests
WINDOW = 8192  # sequences between the first one missing and the newest one
REQUESTS = 8  # datagrams of them at once
_LONGEST = 0xFFFF  # of a range


class Inbox:
    """One peer's datagrams of one epoch, from the one after `since` on."""

    def __init__(self, epoch: int, since: int) -> None:
        self.epoch = epoch
        self.lost = 0  # datagrams that were given up
        self.again = 0  # that came because they were asked for
        self._next = since + 1  # the first that was neither handed on nor given up
        self._newest = since
        self._held: dict[int, bytes] = {}
        self._missing: dict[int, float] = {}  # since when; in the order of their sequences
        self._asked: dict[int, float] = {}  # until when; also of those that came since
        self._ask_at: float | None = None

    def missing_since(self) -> float | None:
        """When the first one that is missing should have come."""
        return next(iter(self._missing.values()), None)

    def take(self, sequence: int, payload: bytes, now: float) -> list[bytes] | None:
        """A genuine datagram came: what to hand on now; None when it is not new."""
        if sequence < self._next or sequence in self._held:
            return None if self._asked.pop(sequence, None) is None else []
        if self._missing.pop(sequence, None) is not None and sequence in self._asked:
            self.again += 1
        self._held[sequence] = payload
        self._expect(sequence, now)
        self._missing.pop(sequence, None)
        return [*self._slide(sequence), *self._ready()]

    def learn(self, sent: int, oldest: int, now: float) -> list[bytes]:
        """Its sender has sent up to `sent`, and keeps what it sent since `oldest`; what that lets
        us hand on."""
        if sent > self._newest:
            self._expect(sent, now)
        return [*self._slide(sent), *self._skip_to(min(oldest, sent + 1))]

    def due(self, now: float) -> list[bytes]:
        """What to hand on because what is missing before it was given up."""
        first = self._next
        for sequence, since in self._missing.items():
            if now - since < GIVE_UP:
                break
            first = sequence + 1
        return self._skip_to(first)

    def asks(self, now: float) -> Iterator[tuple[tuple[int, int], ...]]:
        """The ranges to ask for now, in as many portions as requests."""
        due = [
            sequence
            for sequence, since in self._missing.items()
            if now >= since + ASK_AFTER and now >= self._asked.get(sequence, now)
        ]
        ranges = list(_ranges(due))[: RANGES * REQUESTS]
        for first, count in ranges:
            self._asked.update(dict.fromkeys(range(first, first + count), now + ASK_EVERY))
        self._ask_at = now + ASK_EVERY if self._missing else None
        for start in range(0, len(ranges), RANGES):
            yield tuple(ranges[start : start + RANGES])

    def end(self) -> list[bytes]:
        """Its sender is gone: all that is held, in its order."""
        return self._skip_to(self._newest + 1)

    def deadline(self) -> float | None:
        """When `due` or `asks` have something to do."""
        return self._ask_at if self._missing else None

    def _expect(self, newest: int, now: float) -> None:
        """All up to this one should have come."""
        first = max(self._newest + 1, newest - WINDOW)
        self.lost += max(0, first - self._newest - 1)
        for sequence in range(first, newest + 1):
            self._missing[sequence] = now
        if self._missing and self._ask_at is None:
            self._ask_at = now + ASK_AFTER
        self._newest = max(self._newest, newest)

    def _slide(self, newest: int) -> list[bytes]:
        """The window is bounded: what falls out of it is given up."""
        return self._skip_to(newest - WINDOW + 1) if newest - self._next >= WINDOW else []

    def _skip_to(self, sequence: int) -> list[bytes]:
        """Everything before this one is handed on or given up, and what then is ready as well."""
        if sequence <= self._next:
            return self._ready()
        passed = sorted(s for s in self._held if s < sequence)
        handed = [self._held.pop(s) for s in passed]
        for missing in [s for s in self._missing if s < sequence]:
            del self._missing[missing]
            self.lost += 1
        self._next = sequence
        self._newest = max(self._newest, sequence - 1)
        self._forget()
        return handed + self._ready()

    def _ready(self) -> list[bytes]:
        handed = []
        while (payload := self._held.pop(self._next, None)) is not None:
            handed.append(payload)
            self._next += 1
        if not self._missing:
            self._ask_at = None
            self._forget()
        return handed

    def _forget(self) -> None:
        """What was asked for so long ago that no answer to that can come."""
        if len(self._asked) > WINDOW:
            self._asked = {s: at for s, at in self._asked.items() if s >= self._next - WINDOW // 2}


def _ranges(sequences: list[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges of neighbours."""
    first = count = 0
    for sequence in sequences:
        if count and sequence == first + count and count < _LONGEST:
            count += 1
            continue
        if count:
            yield first, count
        first, count = sequence, 1
    if count:
        yield first, count
