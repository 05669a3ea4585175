"""Files with a number in them, read again and again: `track_files`.

Each look reads a file anew by its path (an editor replaces files), in a thread of its own: a disk
that hangs keeps that thread and nothing else.
"""

import asyncio
import os
import re
import stat
import threading
from collections.abc import Iterable

from hadirector.core.runner_messages import FileSeen, FilesSeen

LOOK = 0.5  # seconds between looks
PATIENCE = 0.4  # seconds for an answer; a look is over then
SIZE = 64  # bytes: a number, its sign and some space
LARGEST = 2**31 - 1

_NUMBER = re.compile(rb"\s*([+-]?[0-9]{1,10})\s*")


class TrackedFiles:
    """The files of one `Watch`. Needs a running loop."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        self._loop = asyncio.get_running_loop()
        self._asked: dict[str, asyncio.Future[FileSeen]] = {}

    async def look(self) -> FilesSeen:
        """One look; a file whose last one has not come back yet is not read twice at once."""
        for path in self.paths:
            if path not in self._asked:
                self._asked[path] = self._ask(path)
        if self._asked:
            await asyncio.wait(self._asked.values(), timeout=PATIENCE)
        seen = [self._asked.pop(p).result() for p in self.paths if self._asked[p].done()]
        return FilesSeen(tuple(seen), tuple(self._asked))

    def _ask(self, path: str) -> "asyncio.Future[FileSeen]":
        answer: asyncio.Future[FileSeen] = self._loop.create_future()

        def tell(seen: FileSeen) -> None:
            if not answer.done():
                answer.set_result(seen)

        def ask() -> None:
            seen = read(path)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(tell, seen)

        threading.Thread(target=ask, name="tracked file", daemon=True).start()
        return answer


def read(path: str) -> FileSeen:
    """The number in a file now, or why there is none. Blocks as long as its disk does."""
    try:
        # Opening a FIFO or a device must not wait for anybody.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return FileSeen(path, None, os.strerror(error.errno or 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return FileSeen(path, None, "not a regular file")
        content = os.read(descriptor, SIZE + 1)
    except OSError as error:
        return FileSeen(path, None, os.strerror(error.errno or 0))
    finally:
        os.close(descriptor)
    return _parsed(path, content)


def _parsed(path: str, content: bytes) -> FileSeen:
    found = _NUMBER.fullmatch(content)
    if found is None:
        shown = content[:20].decode("ascii", "backslashreplace").strip()
        return FileSeen(path, None, f"no whole number in it: {shown!r}" if shown else "empty")
    number = int(found[1])
    if abs(number) > LARGEST:
        return FileSeen(path, None, f"{number} is out of range")
    return FileSeen(path, number)
