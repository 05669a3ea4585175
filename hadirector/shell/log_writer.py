"""Log lines written by a thread: a full pipe to the journal must not hold up the loop."""

import logging
import queue
import sys
import threading

from hadirector.shell import realtime

_WAITING = 1024  # lines; more are dropped and counted


class LogWriter(logging.Handler):
    """Formats at once, writes later, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def take_over(self) -> None:
        """Become the only handler of the root logger, with the format in use."""
        root = logging.getLogger()
        for handler in root.handlers[:]:
            self.setFormatter(handler.formatter)
            root.removeHandler(handler)
        root.addHandler(self)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is waiting, for a second at most."""
        if self._thread.is_alive():
            try:
                self._lines.put(None, timeout=0.5)
            except queue.Full:
                return
            self._thread.join(0.5)
        super().close()

    def _write(self) -> None:
        realtime.follow()
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            lost = f"WARNING {dropped} log lines were dropped here\n" if dropped else ""
            try:
                sys.stderr.write(f"{lost}{line}\n")
                sys.stderr.flush()
            except OSError:
                continue  # nobody reads: there is nowhere to say so
