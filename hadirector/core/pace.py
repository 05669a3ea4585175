"""How fast connections are sent to a standby's kernel: as fast as it takes them.

The standby tells what its backup thread's socket has dropped, and what waits there. Without either
the pace grows, with drops it is halved. The queue is kept short for another reason as well: the
thread works through all of it without giving its CPU to anybody (ip_vs_sync.c, sync_thread_backup;
with 8 MB waiting adverts of that CPU were a second late). The first pace is what the smallest
default buffer of a kernel takes; with 8 MB 100,000 a second were taken without loss (measured).
"""

FIRST = 40_000.0  # connections a second
SLOWEST, FASTEST = 2_000.0, 150_000.0
GROWTH = 1.25  # with each report without a drop
SHRINKAGE = 0.7  # with more waiting than LONG
LONG = 128 << 10  # bytes of buffer: some 55 datagrams, which take 15 ms
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

    def report(self, drops: int, waiting: int) -> None:
        """The standby's count of dropped datagrams, and the bytes that wait there."""
        if drops > self._drops:
            self.rate = max(SLOWEST, self.rate / 2)
        elif waiting > LONG:
            self.rate = max(SLOWEST, self.rate * SHRINKAGE)
        else:
            self.rate = min(FASTEST, self.rate * GROWTH)
        self._drops = drops
