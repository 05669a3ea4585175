"""Operators' orders about real servers, on disk: for the next process and the next boot. Instants
are Unix time there: CLOCK_BOOTTIME means nothing after a reboot."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec

from hadirector.core.overrides import Override
from hadirector.shell import child
from hadirector.shell.owned import replace_file

log = logging.getLogger(__name__)

NAME = "overrides.json"


def load(state_dir: str) -> tuple[Override, ...]:
    """What was written last. A file that cannot be read is said and forgotten: better a server
    that serves although it was drained than a director that does not start."""
    path = Path(state_dir, NAME)
    try:
        orders = msgspec.json.decode(path.read_bytes(), type=tuple[Override, ...])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.error("file=%s unreadable, orders about servers are forgotten: %s", path, error)
        return ()
    offset = child.now() - time.time()
    return tuple(order.shifted(offset) for order in orders)


class OverridesFile:
    """The file, written by a thread. `trouble`: why it is not as it should be, or empty."""

    def __init__(self, state_dir: str) -> None:
        self.trouble = ""
        self._path = f"{state_dir}/{NAME}"
        self._unwritten: tuple[Override, ...] | None = None

    async def save(self, orders: tuple[Override, ...]) -> str:
        """Write these; why not, or nothing."""
        self._unwritten = orders
        await self.retry()
        return self.trouble

    async def retry(self) -> None:
        """Write what could not be written before."""
        if self._unwritten is None:
            return
        offset = time.time() - child.now()
        content = msgspec.json.encode([order.shifted(offset) for order in self._unwritten])
        try:
            await asyncio.to_thread(replace_file, self._path, content)
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror or error}"
        else:
            self.trouble, self._unwritten = "", None
