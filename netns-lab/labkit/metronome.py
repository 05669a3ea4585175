"""How late a process is that goes before all others: what the machine does, and no daemon can help.

Beside the lateness of a daemon's own loop this tells whose fault it is. Needs root.
"""

import os
import signal
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path

BEAT = 0.005  # seconds
_FIRST = 90  # priority, of SCHED_FIFO
_TOLD = 0.002  # seconds: less is not written down
_RECORD = struct.Struct("=dd")


class Metronome:
    """A context manager; `worst` is for after the block."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []  # when, by how much; monotonic seconds
        self._path = Path(tempfile.mkstemp(prefix="metronome-")[1])
        self._pid = 0

    def __enter__(self) -> "Metronome":
        self._pid = os.fork()
        if not self._pid:
            with suppress(BaseException):
                self._live()
            os._exit(1)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._late = list(_RECORD.iter_unpack(self._path.read_bytes()))
        self._path.unlink()

    def worst(self, since: float, until: float) -> float:
        """The longest lateness of a beat in [since, until], monotonic; ms."""
        late = max((late for at, late in self._late if since <= at <= until), default=0.0)
        return round(1000 * late, 1)

    def _live(self) -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIRST))
        with self._path.open("wb", buffering=0) as out:
            before = time.monotonic()
            while True:
                time.sleep(BEAT)
                at = time.monotonic()
                if (late := at - before - BEAT) > _TOLD:
                    out.write(_RECORD.pack(at, late))
                before = at
