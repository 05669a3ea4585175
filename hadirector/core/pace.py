"""How fast connections are sent to a standby's kernel: as fast as it takes them.

The standby tells what its backup thread's socket has dropped. Without drops the pace grows, with
some it is halved. The first pace is what the smallest default buffer of a kernel takes; with 8 MB
100,000 a second were taken without loss (measured).
"""

FIRST = 40_000.0  # connections a second
SLOWEST, FASTEST = 2_000.0, 150_000.0
GROWTH = 1.25  # with each report without a drop
BURST = 0.02  # seconds' worth that may go at once


class Pace:
    """Of one sending."""

    def __init__(self, now: float, drops: int) -> None:
        self.rate = FIRST
        self._drops = drops
        self._free_at = now  # when all that was sent so far is due

    def wait(self, connections: int, now: float) -> float:
        """Seconds to wait before so many more are sent; 0 while a burst is not full."""
        self._free_at = max(self._free_at, now - BURST) + connections / self.rate
        ahead = self._free_at - now
        return ahead if ahead > BURST else 0.0

    def report(self, drops: int) -> None:
        """The standby's count of dropped datagrams, told again and again."""
        if drops > self._drops:
            self.rate = max(SLOWEST, self.rate / 2)
        else:
            self.rate = min(FASTEST, self.rate * GROWTH)
        self._drops = drops
