"""How far the time of day is from CLOCK_BOOTTIME: signed adverts carry the time of day."""

import time

STEP = 0.005  # seconds; two clocks read one after the other differ by less on any host not starved


class WallClock:
    """Looked at again and again, since nothing tells when somebody sets the clock."""

    def __init__(self) -> None:
        self._told: float | None = None

    def moved(self) -> float | None:
        """Unix time less CLOCK_BOOTTIME, seconds, if it is another than was told last."""
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        unix = time.time()
        after = time.clock_gettime(time.CLOCK_BOOTTIME)
        offset = unix - (before + after) / 2
        if self._told is not None and abs(offset - self._told) < STEP + (after - before):
            return None
        self._told = offset
        return offset
