"""How long our own event loop stood still: what a probe lost then says nothing of a server."""


class Stalls:
    """How long our own loop did not turn, told by a tick that should come each TICK seconds."""

    TICK = 0.05
    JITTER = 0.005  # a tick this late is no stall
    KEPT = 256  # under constant overload this is 14 s or more, longer than any sane timeout

    def __init__(self, now: float) -> None:
        self._due_at = now + self.TICK
        self._stalls: list[tuple[float, float]] = []

    def tick(self, now: float) -> None:
        """The tick came."""
        if now - self._due_at > self.JITTER:
            self._stalls.append((self._due_at, now))
            del self._stalls[: -self.KEPT]
        self._due_at = now + self.TICK

    def within(self, start: float, now: float) -> float:
        """Seconds from `start` to `now` that were lost; the stall going on is counted too."""
        lost = max(0.0, now - max(start, self._due_at))
        lost = lost if lost > self.JITTER else 0.0
        for begin, end in reversed(self._stalls):
            if end <= start:
                break
            lost += end - max(begin, start)
        return lost
