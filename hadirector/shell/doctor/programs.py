"""Which programs of some names run in this network namespace, and what the daemon's processes may.

All of it is read from /proc.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hadirector.core.doctor.facts import ProcessFacts, Program
from hadirector.shell import neighbours

_REALTIME = (os.SCHED_FIFO, os.SCHED_RR, 6)  # 6: SCHED_DEADLINE


def look(names: Collection[str], proc: str = neighbours.PROC) -> tuple[Program, ...]:
    """Processes called like one of `names`, or scripts of that name. PermissionError when it
    cannot be told whether one of them is of this network namespace."""
    found = []
    for pid, name, certain in neighbours.find(names, proc):
        if not certain:
            raise PermissionError(f"whose network process {pid} ({name}) is in cannot be read")
        found.append(Program(pid, name))
    return tuple(sorted(found, key=lambda program: program.pid))


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
