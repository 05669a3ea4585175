"""What is told of a server that comes and goes: a few changes in full, the rest as a number.

A server or a service may tell TOLD changes within WINDOW seconds; of what comes on top only the
number is told at the end of the window, and the last of it where that leaves another impression
than what was told. Weights follow each verdict all the same: this is about words.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hadirector.core.services import Change

WINDOW = 60.0  # seconds
TOLD = 6  # changes of one subject: three times away and back


@dataclass(slots=True)
class _Window:
    """A subject's minute; `allowed` changes of it are still told."""

    until: float
    allowed: int
    held_back: list[Change] = field(default_factory=list)
    count: int = 0
    last_told: dict[str, str] = field(default_factory=dict)


class Flaps:
    """`tell` gives what of these changes is written now, `due` what the end of a window brings."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def tell(self, changes: Iterable[Change], now: float) -> list[Change]:
        """Those that are told at once."""
        told = []
        for change in changes:
            window = self._windows.setdefault(change.subject, _Window(now + WINDOW, TOLD))
            if window.allowed > 0:
                window.allowed -= 1
                window.last_told[_topic(change)] = change.kind + change.reason
                told.append(change)
            else:
                window.count += 1
                window.held_back = [c for c in window.held_back if _topic(c) != _topic(change)]
                window.held_back.append(change)
        return told

    def due(self, now: float) -> list[Change]:
        """What is told of windows that are over; one that flaps on gets only a number."""
        told = []
        for subject in [s for s, w in self._windows.items() if now >= w.until]:
            window = self._windows.pop(subject)
            if not window.count:
                continue
            reason = f"{window.count} more changes within {WINDOW:.0f} s: it comes and goes"
            told.append(Change("flapping", subject, reason))
            last = [
                c for c in window.held_back if window.last_told.get(_topic(c)) != c.kind + c.reason
            ]
            told += last
            kept = window.last_told | {_topic(c): c.kind + c.reason for c in last}
            self._windows[subject] = _Window(now + WINDOW, 0, last_told=kept)
        return told


def _topic(change: Change) -> str:
    """`server`, `quorum`, `service`: each has a last word of its own."""
    return change.kind.partition("_")[0]
