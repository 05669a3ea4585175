"""What hooks have still to be told, noted for a next director of this daemon.

A file in the runtime directory, replaced whole, with the boot's identity: instants and states mean
nothing after a reboot.
"""

import asyncio
import logging
import os
from pathlib import Path

import msgspec

from hadirector.core.hooks import Pending
from hadirector.shell import owned

log = logging.getLogger(__name__)

NAME = "hooks.json"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def load(runtime_dir: str) -> tuple[Pending, ...]:
    """What was noted in this boot; nothing when there is no note or it cannot be read."""
    path = f"{runtime_dir}/{NAME}"
    try:
        raw = Path(path).read_bytes()
        boot, pending = msgspec.json.decode(raw, type=tuple[str, tuple[Pending, ...]])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.warning("file=%s unreadable, what hooks were still to be told is lost: %s", path, error)
        return ()
    return pending if boot == _boot_id() else ()


class Keeper:
    """Keeps the note in step by a thread: the newest is written when the last one is."""

    def __init__(self, runtime_dir: str) -> None:
        self._path = f"{runtime_dir}/{NAME}"
        self._wanted: tuple[Pending, ...] | None = None
        self._writing: asyncio.Task[None] | None = None

    def keep(self, pending: tuple[Pending, ...]) -> None:
        """Have these noted soon; no file when there are none."""
        self._wanted = pending
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="hook note")

    async def close(self) -> None:
        """Wait for the writing under way."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        """A note that cannot be written is lost only if this director dies as well."""
        while self._wanted is not None:
            pending, self._wanted = self._wanted, None
            try:
                await asyncio.to_thread(_save, self._path, pending)
            except OSError as error:
                log.warning("file=%s not written: %s", self._path, error.strerror)


def _save(path: str, pending: tuple[Pending, ...]) -> None:
    if pending:
        owned.replace_file(path, msgspec.json.encode((_boot_id(), pending)))
    elif os.path.exists(path):
        os.unlink(path)


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
