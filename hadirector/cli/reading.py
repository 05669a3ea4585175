"""What `hadirector run` starts with: the file, or the last good one where the file is bad.

A restart with a half-edited file would take the node out of service for what a reload only
refuses. Where the same file was accepted since this host booted, what it said then is still in
the runtime directory: the daemon starts with that, and says so until the file is mended. At a
boot there is nothing of the kind, and a bad file ends with its errors.
"""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hadirector.config import apart, handover, problem
from hadirector.core.settings.cluster import Config
from hadirector.shell import last_good

_RUNTIME_DIR = re.compile(r"^runtime_dir:[ \t]*['\"]?(/[^\s'\"#]+)", re.MULTILINE)
_DEFAULT = "/run/hadirector"
_LOOKED_AT = 1 << 20  # bytes of a bad file


@dataclass(frozen=True, slots=True)
class Read:
    """`trouble` says what is wrong with the file, where the last good one stands in for it."""

    config: Config
    blob: bytes
    trouble: str = ""


def read(path: str, node: str | None, doing: str = "starting with") -> Read | str:
    """What to start with, every mistake printed; or why nothing can be, empty if that was told.
    `doing` says what is done with the last good one.

    Read in a child process: what YAML and validation leave in memory would stay with the
    supervisor for good.
    """
    done = subprocess.run(apart.command(path, node), stdout=subprocess.PIPE, check=False)
    try:
        loaded = handover.decode(done.stdout)
    except ValueError:
        return f"{path}: not read: the process that reads it ended {_how(done.returncode)}"
    for each in loaded.problems:
        print(each, file=sys.stderr)
    if loaded.config is not None:
        return Read(loaded.config, done.stdout)
    return _stand_in(path, node, problem.brief(loaded.problems), doing) or ""


def _stand_in(path: str, node: str | None, brief: str, doing: str) -> Read | None:
    """The last good configuration that came from this file for this node."""
    for directory in _directories(path):
        blob = last_good.of_this_boot(directory)
        if blob is None:
            continue
        try:
            config = handover.decode(blob).config
        except ValueError:  # of another version
            continue
        if config is None or (config.path, config.runtime_dir) != (
            os.path.abspath(path),
            directory,
        ):
            continue
        if node not in (None, config.node):
            continue
        print(f"hadirector: {path} is bad: {doing} the last good one", file=sys.stderr)
        return Read(config, blob, apart.trouble(path, brief))
    return None


def _directories(path: str) -> list[str]:
    """Where the runtime directory may be: as the bad file says, as systemd does, as is usual."""
    told = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            told = _RUNTIME_DIR.findall(file.read(_LOOKED_AT))
    except OSError:
        pass
    by_systemd = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[:1]
    every = [*told, *by_systemd, _DEFAULT]
    return list(dict.fromkeys(each for each in every if each and Path(each).is_absolute()))


def _how(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
