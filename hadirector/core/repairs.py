"""What is told of settings that somebody changed and we set back: the first time at once, then
once a minute how often, so that two programs that fight over one fill no journal."""

from collections import Counter
from collections.abc import Iterable

EVERY = 60.0  # seconds between lines about one setting

Line = tuple[str, str]
"""(subject, reason)."""


class Repairs:
    """`tell` takes what was set back just now, and gives the lines to write."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def tell(self, repaired: Iterable[Line], now: float) -> list[Line]:
        """Lines about these, and about those counted in a minute that is over."""
        lines = []
        for subject, reason in repaired:
            if subject in self._told_at:
                self._since[subject] += 1
            else:
                self._told_at[subject] = now
                lines.append((subject, reason))
        for subject in [s for s, at in self._told_at.items() if now - at >= EVERY]:
            count = self._since.pop(subject, 0)
            if count:
                times = "once" if count == 1 else f"{count} times"
                lines.append((subject, f"changed and set back {times} more within a minute"))
                self._told_at[subject] = now
            else:
                del self._told_at[subject]
        return lines
