"""The last good configuration, and what is wrong with the file it came from.

Three files of the runtime directory: `config.good` (bytes of config/handover) is what processes
start with; `config.boot` says in which boot it was accepted, for a runtime directory that is on a
disk; `config.refused` says that the file is no longer as good, and what that means for a restart.
All block: call them in a thread.
"""

import contextlib
import os
from pathlib import Path

from hadirector.shell import boot
from hadirector.shell.owned import replace_file

BLOB = "config.good"
_BOOT = "config.boot"
_REFUSED = "config.refused"


def keep(runtime_dir: str, blob: bytes) -> None:
    """The file was accepted and says this; OSError when the directory refuses."""
    replace_file(f"{runtime_dir}/{BLOB}", blob)
    replace_file(f"{runtime_dir}/{_BOOT}", boot.identity().encode())
    Path(runtime_dir, _REFUSED).unlink(missing_ok=True)


def of_this_boot(runtime_dir: str) -> bytes | None:
    """What was accepted last since this host started, or None."""
    try:
        if Path(runtime_dir, _BOOT).read_text() == boot.identity():
            return Path(runtime_dir, BLOB).read_bytes()
    except (OSError, ValueError):
        pass
    return None


def refuse(runtime_dir: str, trouble: str) -> None:
    """The file was refused: note it for directors to come. A directory that takes no note changes
    nothing: the one that runs knows."""
    with contextlib.suppress(OSError):
        replace_file(f"{runtime_dir}/{_REFUSED}", trouble.encode())


def refused(runtime_dir: str) -> str:
    """What was noted of the file, empty when it is as good as what runs."""
    try:
        return Path(runtime_dir, _REFUSED).read_text(errors="replace")
    except OSError:
        return ""


def is_whole(runtime_dir: str) -> bool:
    """Whether a process that starts finds its configuration."""
    return os.path.exists(f"{runtime_dir}/{BLOB}")
