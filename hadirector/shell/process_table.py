"""Which of some programs run, by their names in /proc: `track_processes`.

A process has the name `ps -o comm=` shows: that of the file executed, cut to 15 bytes. A longer
name, and one that is a path, must also be what the process was executed as (the first word of its
command line, or the second where the first is an interpreter). Zombies do not count.

Cost. Reading thousands of names takes tens of milliseconds, so a look reads only those it has to:
processes that had one of the names, and ones that are new (a program has its parent's name until
its execve, so they are new for a few looks). Once in a while all are read: a process may rename
itself at any time.
"""

import os
import time
from collections.abc import Iterable

from hadirector.core.runner_messages import ProcessesSeen, ProcessSeen

LOOK = 1.0  # seconds between looks, if these are cheap
SHARE = 0.01  # of a core that looks may take
WHOLE_SHARE = 0.003  # of a core that looks at everybody may take
YOUNG = 3  # looks for which a process is new
COMM = 15  # bytes of a name that the kernel keeps
COMMAND = 4096  # bytes of a command line that are read


class ProcessTable:
    """Looks for these names. `proc` is where the table is mounted."""

    def __init__(self, names: Iterable[str], proc: str = "/proc") -> None:
        self.names = tuple(names)
        self._proc = proc
        self._wanted: dict[bytes, list[str]] = {}
        for name in self.names:
            self._wanted.setdefault(_comm(name), []).append(name)
        self._known: set[int] = set()
        self._young: dict[int, int] = {}  # process ID -> looks left
        self._matching: set[int] = set()
        self._whole_at = 0.0  # CLOCK_MONOTONIC

    def look(self) -> tuple[ProcessesSeen, float]:
        """What runs now, and for how many seconds nobody should look again. Blocks; for one thread
        at a time."""
        started, cpu = time.monotonic(), time.thread_time()
        whole = started >= self._whole_at
        try:
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        except OSError as error:
            return ProcessesSeen((), f"{self._proc}: {os.strerror(error.errno or 0)}"), LOOK
        if 1 not in pids:
            return ProcessesSeen((), f"{self._proc} hides other users' processes (hidepid)"), LOOK
        counts = self._count(pids, whole)
        took = time.thread_time() - cpu
        if whole:
            self._whole_at = started + took / WHOLE_SHARE
        seen = tuple(ProcessSeen(name, count) for name, count in counts.items())
        return ProcessesSeen(seen), max(LOOK, took / SHARE)

    def _count(self, pids: set[int], whole: bool) -> dict[str, int]:
        new = pids - self._known
        young = {pid: left - 1 for pid, left in self._young.items() if pid in pids and left > 1}
        self._young = young | dict.fromkeys(new, YOUNG)
        self._known = pids
        counts = dict.fromkeys(self.names, 0)
        matching = set()
        for pid in pids if whole else (self._matching & pids) | self._young.keys():
            for name in self._names_of(pid):
                counts[name] += 1
                matching.add(pid)
        self._matching = matching
        return counts

    def _names_of(self, pid: int) -> list[str]:
        """Which of the names a process has."""
        comm = self._read(pid, "comm").removesuffix(b"\n")
        wanted = self._wanted.get(comm)
        if not wanted or not self._lives(pid):
            return []
        return [name for name in wanted if _is_exact(name) or self._was_executed_as(pid, name)]

    def _lives(self, pid: int) -> bool:
        """Whether it is no zombie: proc(5), the word after the name in parentheses."""
        _, _, rest = self._read(pid, "stat").rpartition(b") ")
        return rest[:1] not in (b"Z", b"X", b"")

    def _was_executed_as(self, pid: int, name: str) -> bool:
        arguments = self._read(pid, "cmdline").split(b"\0")[:2]
        if name.startswith("/"):
            return os.fsencode(name) in arguments
        return os.fsencode(name) in [os.path.basename(argument) for argument in arguments]

    def _read(self, pid: int, file: str) -> bytes:
        """What a process says of itself; nothing when it is gone."""
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, COMMAND)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _comm(name: str) -> bytes:
    """What the kernel keeps of a name."""
    return os.fsencode(os.path.basename(name))[:COMM]


def _is_exact(name: str) -> bool:
    """Whether the kernel's name says it all."""
    return not name.startswith("/") and len(os.fsencode(name)) <= COMM
