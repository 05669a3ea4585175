"""The journal on disk: one JSON line an event, so that a new director tells what the old one did.

Lines are appended by a thread, in batches; a file that grew past ROTATE is replaced by its newest
lines, half as many bytes. Events carry Unix time there: CLOCK_BOOTTIME means nothing after a
reboot.
"""

import asyncio
import os
from collections import deque
from dataclasses import replace

import msgspec

from hadirector.core.journal import KEPT
from hadirector.core.messages import Event
from hadirector.shell import owned

NAME = "journal.jsonl"
ROTATE = 4 << 20  # bytes: some 20,000 events
WAITING = 4096  # events; a disk this slow loses lines, never the director's time

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def load(state_dir: str, unix_offset: float) -> tuple[Event, ...]:
    """The newest events of former lives, oldest first; what is no event is passed over."""
    found: deque[Event] = deque(maxlen=KEPT)
    try:
        with open(f"{state_dir}/{NAME}", "rb") as file:
            for line in file:
                try:
                    event = _decoder.decode(line)
                except msgspec.MsgspecError:
                    continue
                found.append(replace(event, at=event.at - unix_offset))
    except OSError:
        return ()
    return tuple(found)


class JournalFile:
    """Events on their way to the disk. `trouble` is the last failure, empty when all is well."""

    def __init__(self, state_dir: str) -> None:
        self.trouble = ""
        self.lost = 0
        self._path = f"{state_dir}/{NAME}"
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING)

    def add(self, event: Event, unix_offset: float) -> None:
        """Write this event soon."""
        line = _encoder.encode(replace(event, at=event.at + unix_offset)) + b"\n"
        try:
            self._waiting.put_nowait(line)
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Write for ever: one of the tasks of the process."""
        while True:
            await self._write([await self._waiting.get()])

    async def flush(self) -> None:
        """Write what waits, before leaving."""
        await self._write([])

    async def _write(self, lines: list[bytes]) -> None:
        while not self._waiting.empty():
            lines.append(self._waiting.get_nowait())
        try:
            await asyncio.to_thread(_append, self._path, b"".join(lines))
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror or error}"
            self.lost += len(lines)


def _append(path: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    with os.fdopen(descriptor, "ab") as file:
        file.write(content)
        size = file.tell()
    if size > ROTATE:
        with open(path, "rb") as whole:
            whole.seek(size - ROTATE // 2)
            newest = whole.read()
        owned.replace_file(path, newest[newest.find(b"\n") + 1 :])
