"""What is wrong with whose packets: told once, shown as long as it goes on.

Anybody on the link can send anything from any address. So what is kept is bounded, and so is what
is told: each sender's fault once, until it has been absent for a while, goes on for another hour or
becomes another one, and not more than LINES of them in a row however many senders are made up.
"""

from collections import OrderedDict
from dataclasses import replace

from hadirector.core.address import Address
from hadirector.core.messages import Complaint

KEPT = 16  # senders and kinds; the one that was absent longest goes first
FORGET_AFTER = 600.0  # seconds: longer than two adverts may be apart, so what goes on is told once
AGAIN = 3600.0  # seconds after which the same is told again while it goes on
CHANGE = 60.0  # seconds after which what became of it is told, when it became another thing
LINES = 10  # told at once, if it must be
LINE_EVERY = 60.0  # seconds between two more


class Complaints:
    """Those about the packets of one virtual router."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Address, str], Complaint] = OrderedDict()
        self._told: dict[tuple[Address, str], tuple[float, str]] = {}  # when, and what
        self._lines = float(LINES)
        self._lines_at: float | None = None

    def add(self, source: Address, kind: str, reason: str, now: float) -> bool:
        """Count one more; whether it is to be told."""
        key = (source, kind)
        known = self._kept.pop(key, None)
        if known is not None and now - known.at <= FORGET_AFTER:
            self._kept[key] = replace(known, reason=reason, count=known.count + 1, at=now)
            told_at, told = self._told[key]
            since = now - told_at
            news = since >= AGAIN or (reason != told and since >= CHANGE)
        else:
            if len(self._kept) >= KEPT:
                forgotten, _ = self._kept.popitem(last=False)
                del self._told[forgotten]
            self._kept[key] = Complaint(source, kind, reason, 1, now)
            news = True
        if news:
            self._told[key] = (now, reason)
        return news and self._may_tell(now)

    def since(self, instant: float) -> tuple[Complaint, ...]:
        """Those that there was reason for since then, the latest last."""
        return tuple(complaint for complaint in self._kept.values() if complaint.at >= instant)

    def _may_tell(self, now: float) -> bool:
        if self._lines_at is not None:
            self._lines = min(LINES, self._lines + (now - self._lines_at) / LINE_EVERY)
        self._lines_at = now
        if self._lines < 1:
            return False
        self._lines -= 1
        return True
