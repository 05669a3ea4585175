"""Notices when the lab itself stands still: a lab kernel is a process of a host with other work.

What happens in such a moment says nothing about anybody's protocol. A backup that wakes before the
master does has not heard an advert for too long, and is right to take over.
"""

import threading
import time

_BEAT = 0.02


class Metronome:
    """A thread that wants to run each 20 ms; `worst` is the longest it could not, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._running = True
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """From now on."""
        self.worst = 0.0

    def stop(self) -> None:
        self._running = False
        self._thread.join(1)

    def _beat(self) -> None:
        last = time.monotonic()
        while self._running:
            time.sleep(_BEAT)
            now = time.monotonic()
            self.worst = max(self.worst, now - last - _BEAT)
            last = now
