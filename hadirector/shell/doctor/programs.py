"""Which programs of some names run in this network namespace, and what the daemon's processes may.

All of it is read from /proc.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hadirector.core.doctor.facts import ProcessFacts, Program
from hadirector.shell import neighbours

_COMM = 15  # bytes of a name that the kernel keeps
_REALTIME = (os.SCHED_FIFO, os.SCHED_RR, 6)  # 6: SCHED_DEADLINE


def look(names: Collection[str], proc: str = neighbours.PROC) -> tuple[Program, ...]:
    """Processes called like one of `names`, or scripts of that name. PermissionError when it
    cannot be told whether one of them is of this network namespace."""
    short = {name[:_COMM]: name for name in names}
    found = []
    for entry in os.listdir(proc):
        name = _called(f"{proc}/{entry}", short) if entry.isdigit() else ""
        if not name:
            continue
        here = neighbours.is_here(f"{proc}/{entry}", proc)
        if here is None:
            raise PermissionError(f"whose network process {entry} ({name}) is in cannot be read")
        if here:
            found.append(Program(int(entry), name))
    return tuple(sorted(found, key=lambda program: program.pid))


def _called(process: str, short: Mapping[str, str]) -> str:
    """Its name among those; empty when it has none of them, and of kernel threads and zombies."""
    try:
        comm = Path(f"{process}/comm").read_text(errors="replace").strip()
        words = Path(f"{process}/cmdline").read_bytes()[:4096].decode(errors="replace").split("\0")
    except OSError:
        return ""
    if not words[0]:
        return ""
    shown = [os.path.basename(word.partition(" ")[0]).rstrip(":") for word in words[:2]]
    candidates = [short.get(comm, ""), *shown]
    return next((name for name in candidates if name in short.values()), "")


def processes(pids: Mapping[str, int], proc: str = neighbours.PROC) -> tuple[ProcessFacts, ...]:
    """The daemon's, by name; one that has ended meanwhile is left out."""
    return tuple(fact for name, pid in pids.items() if pid for fact in _process(name, pid, proc))


def _process(name: str, pid: int, proc: str) -> Iterator[ProcessFacts]:
    try:
        status = dict(
            line.split(":", 1)
            for line in Path(f"{proc}/{pid}/status").read_text().splitlines()
            if ":" in line
        )
        limits = Path(f"{proc}/{pid}/limits").read_text()
        policy = os.sched_getscheduler(pid)
    except OSError:
        return
    locked = status.get("VmLck", "").split()[:1]
    yield ProcessFacts(
        name=name,
        pid=pid,
        memory_limit=_memory_limit(limits),
        locked=int(locked[0]) > 0 if locked else None,
        realtime=policy & ~os.SCHED_RESET_ON_FORK in _REALTIME,
    )


def _memory_limit(limits: str) -> int | None:
    for line in limits.splitlines():
        if line.startswith("Max locked memory"):
            word = line[len("Max locked memory") :].split()[0]
            return int(word) if word.isdecimal() else None
    return None
