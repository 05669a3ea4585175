"""What this relay sent last, for whoever lost some of it.

Bounded by number and by age: a standby that asks for what is not kept any more, or that asks for
more than `RATE` allows, is made whole by the comparison of tables, not by the relay.
"""

from collections import deque
from collections.abc import Iterator, Sequence

KEPT = 8192  # datagrams, at most 10 MB: more than two seconds of the fastest whole-table resync
AGE = 5.0  # seconds: who has not asked by then has given up
RATE = 5000.0  # datagrams a second that one peer gets again
BURST = 2048  # of them at once


class Allowance:
    """How many datagrams a peer may have again: a bucket that fills with time."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether there is one left; then there is one less."""
        self._left = min(float(BURST), self._left + max(0.0, now - self._at) * RATE)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Outbox:
    """Numbers what is sent from 1 on, and keeps it for a while."""

    def __init__(self) -> None:
        self.sent = 0
        self._kept: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def oldest(self) -> int:
        """The first sequence that is kept; one more than the last when none is."""
        return self.sent - len(self._kept) + 1

    def add(self, payload: bytes, now: float) -> int:
        """The sequence of a datagram that is sent now."""
        self.sent += 1
        self._kept.append((now, payload))
        if len(self._kept) > KEPT:
            self._kept.popleft()
        return self.sent

    def forget(self, now: float) -> None:
        """Let go of what nobody waits for any more."""
        while self._kept and self._kept[0][0] < now - AGE:
            self._kept.popleft()

    def again(
        self, ranges: Sequence[tuple[int, int]], allowance: Allowance, now: float
    ) -> Iterator[tuple[int, bytes]]:
        """Those of the ranges that are kept and allowed, with their sequences."""
        oldest = self.oldest
        for first, count in ranges:
            for sequence in range(max(first, oldest), min(first + count, self.sent + 1)):
                if not allowance.take(now):
                    return
                yield sequence, self._kept[sequence - oldest][1]
