"""Operators' orders about real servers, on disk: for the next process and the next boot. Instants
are Unix time there: CLOCK_BOOTTIME means nothing after a reboot."""

import logging
import time
from pathlib import Path

import msgspec

from hadirector.core.overrides import Override
from hadirector.shell import child
from hadirector.shell.state_file import StateFile

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


class OverridesFile(StateFile):
    """The file."""

    def __init__(self, state_dir: str) -> None:
        super().__init__(f"{state_dir}/{NAME}")

    async def save(self, orders: tuple[Override, ...]) -> str:
        """Write these; why not yet, or nothing."""

        def encode() -> bytes:
            offset = time.time() - child.now()
            return msgspec.json.encode([order.shifted(offset) for order in orders])

        return await self.keep(encode)
