"""When each of many is due: a heap whose outdated entries are dropped as they come up."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Who = TypeVar("Who", bound=Hashable)


class Deadlines(Generic[Who]):
    """Instants by owner. Setting, and taking what is due, cost log n; asking costs nothing."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Who]] = []
        self._current: dict[Who, tuple[float, int]] = {}
        self._number = 0  # of two due at once the one set first goes first

    def set(self, who: Who, at: float | None) -> None:
        """`who` is due at `at`; None: no more."""
        known = self._current.get(who)
        if at is None:
            self._current.pop(who, None)
        elif known is None or known[0] != at:
            self._number += 1
            self._current[who] = (at, self._number)
            heapq.heappush(self._heap, (at, self._number, who))

    def soonest(self) -> float | None:
        """The next instant at which anybody is due."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[Who]:
        """All that are due, by time; each has to be set again."""
        due: list[Who] = []
        while (at := self.soonest()) is not None and at <= now:
            who = heapq.heappop(self._heap)[2]
            del self._current[who]
            due.append(who)
        return due

    def _counts(self, entry: tuple[float, int, Who]) -> bool:
        at, number, who = entry
        return self._current.get(who) == (at, number)
