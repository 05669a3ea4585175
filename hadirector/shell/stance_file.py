"""What an operator wants of this node, on disk: standby, holds and a pause, for the next process
and the next boot. Instants are Unix time there: CLOCK_BOOTTIME means nothing after a reboot."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec

from hadirector.core.stance import Pause, Since, Stance
from hadirector.shell import child
from hadirector.shell.owned import replace_file

log = logging.getLogger(__name__)

NAME = "stance.json"


def load(state_dir: str) -> Stance:
    """What was written last; on duty and holding nothing when there is no file. One that cannot
    be read is the same, and said: better a node that serves than one that waits for ever."""
    path = Path(state_dir, NAME)
    try:
        stance = msgspec.json.decode(path.read_bytes(), type=Stance)
    except FileNotFoundError:
        return Stance()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.error("file=%s unreadable, standby, holds and pause are forgotten: %s", path, error)
        return Stance()
    return _shifted(stance, child.now() - time.time())


class StanceFile:
    """The file, written by a thread. `trouble`: why it is not as it should be, or empty."""

    def __init__(self, state_dir: str) -> None:
        self.trouble = ""
        self._path = f"{state_dir}/{NAME}"
        self._unwritten: Stance | None = None

    async def save(self, stance: Stance) -> str:
        """Write this; why not, or nothing."""
        self._unwritten = stance
        await self.retry()
        return self.trouble

    async def retry(self) -> None:
        """Write what could not be written before."""
        if self._unwritten is None:
            return
        content = msgspec.json.encode(_shifted(self._unwritten, time.time() - child.now()))
        try:
            await asyncio.to_thread(replace_file, self._path, content)
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror or error}"
        else:
            self.trouble, self._unwritten = "", None


def _shifted(stance: Stance, by: float) -> Stance:
    def shift(since: Since) -> Since:
        return Since(since.at + by, since.reason)

    standby = None if stance.standby is None else shift(stance.standby)
    holds = {name: shift(since) for name, since in stance.holds.items()}
    pause = stance.pause and Pause(stance.pause.until + by, stance.pause.reason)
    return Stance(standby, holds, pause)
