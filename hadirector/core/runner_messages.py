"""What the runner process tells the director, and what it is to watch; to run: `messages.Run`."""

from dataclasses import dataclass
from enum import Enum


class RunEnd(Enum):
    """How a program ended."""

    EXITED = "exited"  # by itself
    KILLED = "killed"  # by somebody's signal
    LATE = "late"  # its time was up
    REFUSED = "refused"  # it could not be executed
    VOID = "void"  # this host could not start it, which says nothing of the program


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, after `took` seconds, with the exit status `status` if by itself.
    `reason` says it for an operator, with the last line it printed.

    `gone` False comes first when its time is up, before it is dead: a process that waits for a
    disk cannot be killed. The same ticket comes again when it is.
    """

    ticket: str
    end: RunEnd
    status: int
    reason: str
    took: float
    gone: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """All files and processes that are to be looked at, again and again."""

    files: tuple[str, ...]
    processes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileSeen:
    """The number in a file; None: there is none, `reason` says why."""

    path: str
    number: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """One look at every watched file. `silent`: whose disk does not answer, nothing is known."""

    files: tuple[FileSeen, ...]
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """How many living processes have this name."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class ProcessesSeen:
    """One look at the table of processes; `trouble`: it could not be read, and nothing is known."""

    processes: tuple[ProcessSeen, ...]
    trouble: str = ""
