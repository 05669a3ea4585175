"""What happened in one run of a drill, for its figures and its picture."""

import time
from dataclasses import dataclass, field

from labkit.load import Load


@dataclass
class Story:
    """What happened in one run, for the picture: instants are monotonic seconds."""

    began: float = field(default_factory=time.monotonic)
    notes: list[tuple[float, str]] = field(default_factory=list)
    owned: list[tuple[float, str, bool]] = field(default_factory=list)  # virtual address: at, node
    loads: list[Load] = field(default_factory=list)

    def note(self, text: str) -> float:
        """Something happens now."""
        now = time.monotonic()
        self.notes.append((now, text))
        return now

    def owner(self, node: str, *, held: bool) -> None:
        """From now on `node` has (or has not) the virtual address, as its network sees it."""
        self.owned.append((time.monotonic(), node, held))


def overlap(changes: list[tuple[float, str, bool]], since: float, until: float) -> float:
    """Seconds in [since, until] with more than one owner."""
    owners: set[str] = set()
    total, last = 0.0, since
    for at, node, held in [*sorted(changes), (until, "", False)]:
        if len(owners) > 1 and at > since:
            total += at - max(last, since)
        last = at
        owners.add(node) if held else owners.discard(node)
    return total
