"""Programs beside us that would fight us: a keepalived or ldirectord of the same network namespace
would move the same addresses and program the same IPVS table. (Another hadirector: shell/alone.)

They are found by their names in /proc. Whether a process shares our network namespace is told by
/proc/PID/ns/net, which only a privileged reader may look at; for others there is /proc/PID/net,
whose files have numbers of their own in each namespace.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = "/proc"
_MOST = 4096  # bytes of a command line
_COMM = 15  # bytes of a name that the kernel keeps
_INTERPRETERS = ("perl", "python", "ruby", "sh", "bash", "dash")

_FIGHTS_OVER = {
    "keepalived": ("the same addresses and services", "systemctl disable --now keepalived"),
    "ldirectord": ("the same services", "systemctl disable --now ldirectord"),
}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A process that does what we do. `certain`: it is known to be in our network namespace; else
    that could not be found out."""

    pid: int
    program: str
    certain: bool

    def __str__(self) -> str:
        over, stop = _FIGHTS_OVER[self.program]
        if not self.certain:
            return (
                f"{self.program} runs as process {self.pid}, and its network namespace cannot be "
                f"read: if it is this one, both will fight over {over}"
            )
        return (
            f"{self.program} runs in this network namespace as process {self.pid}: both would "
            f"fight over {over}; stop it first ({stop})"
        )


def look(proc: str = PROC) -> list[Neighbour]:
    """One for each program that runs beside us, that of the lowest process number; those that are
    certain first. Blocks for some milliseconds: two small files for each process of the host."""
    found: dict[str, Neighbour] = {}
    beside = (Neighbour(*each) for each in find(_FIGHTS_OVER, proc))
    for neighbour in sorted(beside, key=lambda n: (not n.certain, n.pid)):
        found.setdefault(neighbour.program, neighbour)
    return list(found.values())


def find(names: Collection[str], proc: str = PROC) -> Iterator[tuple[int, str, bool]]:
    """Processes of this network namespace that are called like one of `names`: process number and
    name, and whether it is certain to be of this namespace (else that cannot be read)."""
    short = {name[:_COMM]: name for name in names}
    for entry in os.listdir(proc):
        process = f"{proc}/{entry}"
        name = _called(process, short) if entry.isdigit() else ""
        here = is_here(process, proc) if name else False
        if here is not False:
            yield int(entry), name, here is True


def _called(process: str, short: Mapping[str, str]) -> str:
    """Its name among those, or that of the script it interprets; empty when it has none of them,
    and of kernel threads, zombies and what is gone."""
    words = _read(f"{process}/cmdline").split("\0")
    if not words[0]:
        return ""
    candidates = [short.get(_read(f"{process}/comm").strip(), ""), _program(words[0])]
    if candidates[1].startswith(_INTERPRETERS):
        candidates += [_program(word) for word in words[1:4] if not word.startswith("-")][:1]
    return next((name for name in candidates if name in short.values()), "")


def _program(word: str) -> str:
    """`/usr/sbin/x` and `x: worker` are x."""
    return os.path.basename(word.partition(" ")[0]).rstrip(":")


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""


def is_here(process: str, proc: str = PROC) -> bool | None:
    """Whether it shares our network namespace; None: that cannot be found out."""
    for file in ("ns/net", "net/dev"):
        try:
            theirs, ours = os.stat(f"{process}/{file}"), os.stat(f"{proc}/self/{file}")
        except FileNotFoundError:
            if not Path(process).exists():
                return False  # it has ended meanwhile
        except OSError:
            continue
        else:
            return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return None
