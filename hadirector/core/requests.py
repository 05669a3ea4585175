"""What an operator asks of a running director, and what comes of it."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give mastership of `subject` to a peer and hold back: an instance, a sync group, or all this
    node is master of (""). `force`: whatever the peer's readiness."""

    subject: str = ""
    force: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Stop holding back: an instance, a sync group, or all ("")."""

    subject: str = ""


@dataclass(frozen=True, slots=True)
class StandBy:
    """Maintenance of the whole node begins or ends."""

    on: bool
    force: bool = False
    reason: str = ""


Request = HandOver | Release | StandBy


class Verdict(Enum):
    """How it ended. Refused: nothing was changed."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict, and in sentences what it rests on; warnings apart."""

    verdict: Verdict
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()
