"""Which schedulers this kernel has: loaded, as a module on disk, or built in."""

import os
import re
from pathlib import Path

from hadirector.core.ipvs import Scheduler

_MODULE = re.compile(r"ip_vs_(\w+)(?:\.ko(?:\.\w+)?)?")


def schedulers(root: Path = Path("/"), release: str = "") -> tuple[str, ...]:
    """Their names in the order of `Scheduler`; empty where that cannot be told. Blocks a little."""
    modules = root / "lib/modules" / (release or os.uname().release)
    names = [entry.name for entry in _entries(root / "sys/module")]
    names += [entry.name for entry in _entries(modules / "kernel/net/netfilter/ipvs")]
    try:
        lines = (modules / "modules.builtin").read_text().splitlines()
        names += [line.rpartition("/")[2] for line in lines]
    except OSError:
        pass
    found = {match[1] for name in names if (match := _MODULE.fullmatch(name))}
    return tuple(each.value for each in Scheduler if each.value in found)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
