"""Virtual time: a heap of things to come. Nothing here waits; time jumps to the next of them."""

import heapq
from collections.abc import Callable
from itertools import count


class Agenda:
    """What happens when. Of two things due at one instant the one entered first comes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Do it at `when`, or next if that is past."""
        heapq.heappush(self._heap, (max(when, self.now), next(self._numbers), call))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Do it `delay` seconds from now."""
        self.at(self.now + delay, call)

    def step(self, until: float) -> bool:
        """Do the next thing, if it is due by `until`; else let time pass until then."""
        if not self._heap or self._heap[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, call = heapq.heappop(self._heap)
        self.steps += 1
        call()
        return True
