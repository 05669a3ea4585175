"""What an operator wants of this node, on disk: standby, holds and a pause, for the next process
and the next boot. Instants are Unix time there: CLOCK_BOOTTIME means nothing after a reboot."""

import logging
import time
from pathlib import Path

import msgspec

from hadirector.core.stance import Pause, Since, Stance
from hadirector.shell import child
from hadirector.shell.state_file import StateFile

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


class StanceFile(StateFile):
    """The file."""

    def __init__(self, state_dir: str) -> None:
        super().__init__(f"{state_dir}/{NAME}")

    async def save(self, stance: Stance) -> str:
        """Write this; why not yet, or nothing."""
        return await self.keep(
            lambda: msgspec.json.encode(_shifted(stance, time.time() - child.now()))
        )


def _shifted(stance: Stance, by: float) -> Stance:
    def shift(since: Since) -> Since:
        return Since(since.at + by, since.reason)

    standby = None if stance.standby is None else shift(stance.standby)
    holds = {name: shift(since) for name, since in stance.holds.items()}
    pause = stance.pause and Pause(stance.pause.until + by, stance.pause.reason)
    return Stance(standby, holds, pause)
