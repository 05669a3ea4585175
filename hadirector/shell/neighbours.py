"""Programs beside us that would fight us: keepalived, ldirectord or another hadirector in the same
network namespace would move the same addresses and program the same IPVS table.

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
    "hadirector": ("the same addresses and services", "systemctl stop hadirector"),
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
        name = f"another {self.program}" if self.program == "hadirector" else self.program
        if not self.certain:
            return (
                f"{name} runs as process {self.pid}, and its network namespace cannot be read: "
                f"if it is this one, both will fight over {over}"
            )
        return (
            f"{name} runs in this network namespace as process {self.pid}: both would fight over "
            f"{over}; stop it first ({stop})"
        )


def look(supervisor: int, proc: str = PROC) -> list[Neighbour]:
    """One for each program that runs beside us, that of the lowest process number; those that are
    certain first. `supervisor` is the process whose children are ours. Blocks for some
    milliseconds: one small file for each process of the host."""
    found: dict[str, Neighbour] = {}
    for neighbour in sorted(_all(supervisor, proc), key=lambda n: (not n.certain, n.pid)):
        found.setdefault(neighbour.program, neighbour)
    return list(found.values())


def _all(supervisor: int, proc: str) -> Iterator[Neighbour]:
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        words = _command(f"{proc}/{name}")
        program = _program(words)
        pid = int(name)
        if program == "hadirector":
            pid = _parent(words)
            if pid in (supervisor, 0):
                continue
        here = None if program is None else _is_here(f"{proc}/{name}", proc)
        if program is not None and here is not False:
            yield Neighbour(pid, program, certain=here is True)


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
    if any(name.rstrip(":") == "ldirectord" for name in names):
        return "ldirectord"
    # What holds addresses is the election; it names its supervisor.
    return "hadirector" if "hadirector.election" in words[:4] else None


def _parent(words: list[str]) -> int:
    """The supervisor an election was started by; 0 when it does not say."""
    told = [word.partition("=")[2] for word in words if word.startswith("--parent=")]
    return int(told[0]) if told and told[0].isdigit() else 0


def _is_here(process: str, proc: str) -> bool | None:
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
