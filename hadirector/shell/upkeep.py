"""The runtime directory while the daemon runs: somebody may remove it, and it is made again.

What lies there is for others: the control socket for the command line, the last good configuration
for a director to come. Neither is worth this director's life.
"""

import asyncio
import os
from collections.abc import Callable

from hadirector.shell import last_good
from hadirector.shell.child import now
from hadirector.shell.control import Control

RECENT = 60.0  # seconds what was mended stays a trouble: who looks a moment later still sees it


class Upkeep:
    """Looks after one runtime directory; `blob` gives the running configuration's bytes."""

    def __init__(
        self, runtime_dir: str, control: Control, socket_path: str, blob: Callable[[], bytes]
    ) -> None:
        self._directory = runtime_dir
        self._control = control
        self._socket_path = socket_path
        self._blob = blob
        self._mended = ""
        self._mended_at = 0.0

    async def look(self) -> str:
        """Mend what is gone; what somebody must know of it, or nothing. Raises SocketInUse."""
        lost = await asyncio.to_thread(self._lost)
        if lost:
            try:
                await self._mend()
            except OSError as error:
                where, why = error.filename or self._directory, error.strerror or error
                return f"{lost} gone, and not to be made again: {where}: {why}"
            self._mended, self._mended_at = f"{lost} was removed while running; made again", now()
        recent = self._mended and now() - self._mended_at < RECENT
        return self._mended if recent else ""

    async def open(self) -> None:
        """At the start: listen if that is possible, else `look` will. Raises SocketInUse."""
        if await asyncio.to_thread(self._lost):
            try:
                await self._mend()
            except OSError:
                return

    def _lost(self) -> str:
        """What is gone, the greatest thing first."""
        if not os.path.isdir(self._directory):
            return self._directory
        if not self._control.is_open():
            return self._socket_path
        return "" if last_good.is_whole(self._directory) else f"{self._directory}/{last_good.BLOB}"

    async def _mend(self) -> None:
        await asyncio.to_thread(os.makedirs, self._directory, 0o750, exist_ok=True)
        if not await asyncio.to_thread(self._control.is_open):
            await self._control.close_socket()
            await self._control.open_socket(self._socket_path)
        if not await asyncio.to_thread(last_good.is_whole, self._directory):
            await asyncio.to_thread(last_good.keep, self._directory, self._blob())
