"""Log lines written by a thread: a full pipe to the journal must not hold up the loop."""

import contextlib
import logging
import os
import queue
import threading

from hadirector.shell import realtime

_WAITING = 1024  # lines; more are dropped and counted
_STDERR = 2


class LogWriter(logging.Handler):
    """Formats at once, writes later, in order. `hurry`: the thread may not fall behind the loop."""

    def __init__(self, *, hurry: bool = False) -> None:
        super().__init__()
        self._hurry = hurry
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def take_over(self) -> None:
        """Become the only handler of the root logger, with the format in use; nothing happens
        where another writer is that already."""
        root = logging.getLogger()
        if any(isinstance(handler, LogWriter) for handler in root.handlers):
            return
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
        logging.getLogger().removeHandler(self)
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=0.5)
                self._thread.join(0.5)
        super().close()

    def _write(self) -> None:
        if self._hurry:
            realtime.follow()
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            lost = f"WARNING {dropped} log lines were dropped here\n" if dropped else ""
            try:
                _put(f"{lost}{line}\n".encode(errors="backslashreplace"))
            except OSError:
                continue  # nobody reads: there is nowhere to say so


def _put(text: bytes) -> None:
    """Write all of it, past sys.stderr: whoever waits here would hold that one's lock, and the
    interpreter needs it to end."""
    while text:
        text = text[os.write(_STDERR, text) :]
