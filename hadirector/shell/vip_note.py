"""Which addresses a former process put there, for kernels that cannot mark them (before 5.18).

A file in the state directory, replaced whole. It carries the boot's identity: addresses do not
outlive the kernel, and after a reboot the same address may be the operator's.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from hadirector.core.address import Address
from hadirector.core.placement import Key
from hadirector.shell import boot, realtime
from hadirector.shell.owned import replace_file

log = logging.getLogger(__name__)

_MARKS_SINCE = (5, 18)  # IFA_PROTO


def kernel_keeps_marks(release: str | None = None) -> bool:
    """Whether addresses carry IFA_PROTO; by version, for there is no other way to ask."""
    numbers = (release or os.uname().release).replace("-", ".").split(".")[:2]
    return all(n.isdecimal() for n in numbers) and tuple(map(int, numbers)) >= _MARKS_SINCE


def load(path: str) -> frozenset[Key]:
    """The addresses noted since this boot; none when there is no note or it cannot be read."""
    try:
        noted, keys = msgspec.json.decode(
            Path(path).read_bytes(), type=tuple[str, frozenset[tuple[str, str, int]]]
        )
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.warning("file=%s unreadable, addresses left over are not known: %s", path, error)
        return frozenset()
    if noted != boot.identity():
        return frozenset()
    return frozenset((name, Address(text), prefix) for name, text, prefix in keys)


def save(path: str, keys: frozenset[Key]) -> None:
    """Note these. Blocks: call it in a thread. OSError when the directory refuses."""
    replace_file(path, msgspec.json.encode((boot.identity(), sorted(keys))))


class Keeper:
    """Keeps the note in step, by a thread: the newest state is written when the last one is.

    Does nothing where the kernel keeps marks. `saved` is called on the loop after each writing.
    """

    def __init__(self, marks: bool, saved: Callable[[], None]) -> None:
        self._saved = saved
        self._marks = marks
        self._thread = ThreadPoolExecutor(1, "disk", initializer=realtime.follow)
        self._written: frozenset[Key] = frozenset()
        self._busy = False

    def load(self, path: str) -> frozenset[Key]:
        """What a former process noted, as far as it has to be known."""
        return frozenset() if self._marks else load(path)

    def keep(self, path: str, keys: frozenset[Key]) -> None:
        """Have these noted, now or when the thread is free and this is called again."""
        if self._marks or self._busy or keys == self._written:
            return
        self._busy, self._written = True, keys
        writing = asyncio.get_running_loop().run_in_executor(self._thread, save, path, keys)
        writing.add_done_callback(self._done)

    def close(self) -> None:
        """Wait for the writing under way."""
        self._thread.shutdown()

    def _done(self, writing: asyncio.Future[None]) -> None:
        self._busy = False
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.error("addresses not noted: %s", error)
        self._saved()
