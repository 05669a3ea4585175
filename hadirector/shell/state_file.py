"""One file of the state directory, written by a thread of its own.

A disk that hangs holds up that thread and nothing else: a write is waited for a little and then
told; what is wanted meanwhile is written once the disk answers again, the newest of it alone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hadirector.shell.owned import replace_file

PATIENCE = 1.0  # seconds


class StateFile:
    """Needs a running loop. `trouble`: why it is not as it should be, or empty."""

    def __init__(self, path: str) -> None:
        self.trouble = ""
        self._path = path
        self._wanted: Callable[[], bytes] | None = None
        self._writing: asyncio.Task[None] | None = None
        # Not the loop's threads: there are few, and a disk that hangs would have them one by one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")

    async def keep(self, encode: Callable[[], bytes]) -> str:
        """Have this there, encoded as it is written; why it is not yet, or nothing."""
        self._wanted = encode
        await self.retry()
        return self.trouble

    async def retry(self) -> None:
        """Write what could not be written before; not waited for where the disk hangs."""
        if self._wanted is None or self._writing is not None:
            return
        self._writing = asyncio.create_task(self._write())
        await asyncio.wait({self._writing}, timeout=PATIENCE)
        if self._writing is not None:
            self.trouble = f"{self._path}: the disk does not answer"

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._wanted is not None:
                encode, self._wanted = self._wanted, None
                try:
                    await loop.run_in_executor(self._thread, replace_file, self._path, encode())
                except OSError as error:
                    self._wanted = self._wanted or encode
                    self.trouble = f"{self._path}: {error.strerror or error}"
                    return
                self.trouble = ""
        finally:
            self._writing = None
