"""Which modules this kernel has: loaded or built in, and on disk."""

import os
import re
from pathlib import Path

from hadirector.core.doctor.facts import Modules
from hadirector.core.ipvs import Scheduler

_SCHEDULER = re.compile(r"ip_vs_(\w+)")


def read(root: Path = Path("/"), release: str = "") -> Modules:
    """OSError where the kernel's own list cannot be read. Blocks a little."""
    loaded = {entry.name for entry in (root / "sys/module").iterdir()}
    folder = root / "lib/modules" / (release or os.uname().release)
    built_in = {_name(line) for line in _lines(folder / "modules.builtin")}
    loadable = {_name(line.partition(":")[0]) for line in _lines(folder / "modules.dep")}
    if (root / "proc/net/ip_vs").exists():  # built in, where no list of these is installed
        loaded.add("ip_vs")
    return Modules(frozenset(loaded | built_in), frozenset(loadable))


def schedulers(root: Path = Path("/"), release: str = "") -> tuple[str, ...]:
    """Their names in the order of `Scheduler`; empty where that cannot be told. Blocks a little."""
    try:
        found = read(root, release)
    except OSError:
        return ()
    names = found.loaded | found.loadable
    known = {match[1] for name in names if (match := _SCHEDULER.fullmatch(name))}
    return tuple(each.value for each in Scheduler if each.value in known)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
