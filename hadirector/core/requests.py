"""What an operator asks of a running director, and what comes of it."""

from dataclasses import dataclass
from enum import Enum

REASON = 500  # characters of one that are kept


def one_line(text: str, most: int = REASON) -> str:
    """What somebody wrote, in one line, with nothing in it that a terminal would obey."""
    return "".join(one for one in " ".join(text.split()) if one.isprintable())[:most]


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


class OrderKind(Enum):
    """What can be ordered of a real server."""

    DRAIN = "drain"  # weight 0, connections stay
    DISABLE = "disable"  # removed, connections expired
    ENABLE = "enable"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class OrderServer:
    """An order about `server`, as core/overrides.subject reads it. `weight` None: as configured.
    `by` gives it, at `unix` seconds; it ends by itself after `expires` seconds."""

    kind: OrderKind
    server: str
    by: str
    unix: float
    weight: int | None = None
    reason: str = ""
    expires: float | None = None


Operation = HandOver | Release | StandBy
"""What core/operations carries out."""

Request = Operation | OrderServer


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
