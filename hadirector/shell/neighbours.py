"""Programs beside us that would fight us: a keepalived or ldirectord of the same network namespace
would move the same addresses and program the same IPVS table. (Another hadirector: shell/alone.)

They are found by their names in /proc. Whether a process shares our network namespace is told by
/proc/PID/ns/net, which only a privileged reader may look at; for others there is /proc/PID/net,
whose files have numbers of their own in each namespace.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = "/proc"
_MOST = 4096  # bytes of a command line

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
    certain first. Blocks for some milliseconds: one small file for each process of the host."""
    found: dict[str, Neighbour] = {}
    for neighbour in sorted(_all(proc), key=lambda n: (not n.certain, n.pid)):
        found.setdefault(neighbour.program, neighbour)
    return list(found.values())


def _all(proc: str) -> Iterator[Neighbour]:
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        program = _program(_command(f"{proc}/{name}"))
        here = None if program is None else is_here(f"{proc}/{name}", proc)
        if program is not None and here is not False:
            yield Neighbour(int(name), program, certain=here is True)


def _command(process: str) -> list[str]:
    """Its arguments; none of a kernel thread, a zombie or one that is gone."""
    try:
        with open(f"{process}/cmdline", "rb") as file:
            raw = file.read(_MOST)
    except OSError:
        return []
    return raw.decode(errors="replace").split("\0")


def _program(words: list[str]) -> str | None:
    """Which of those we look for; an interpreter's script is its program."""
    names = [os.path.basename(word.partition(" ")[0]) for word in words[:3]]
    if names and names[0].rstrip(":") == "keepalived":
        return "keepalived"
    return "ldirectord" if any(name.rstrip(":") == "ldirectord" for name in names) else None


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
