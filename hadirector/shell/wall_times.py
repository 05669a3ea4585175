"""When events happened by the wall clock of then: a clock that is set later re-dates nothing.

Events carry CLOCK_BOOTTIME, and the distance to Unix time is no constant: at a boot without a
battery the clock is years late until NTP sets it.
"""

from collections import OrderedDict
from collections.abc import Iterable

from hadirector.core.journal import KEPT
from hadirector.core.messages import Event


class WallTimes:
    """Unix time minus CLOCK_BOOTTIME for each event of the journal, by number."""

    def __init__(self, past: Iterable[Event], offset: float) -> None:
        self._offsets = OrderedDict((event.number, offset) for event in past)
        self._newest = offset

    def note(self, event: Event, offset: float) -> float:
        """Keep the offset of a new event; the same again."""
        self._offsets[event.number] = self._newest = offset
        if len(self._offsets) > KEPT:
            self._offsets.popitem(last=False)
        return offset

    def of(self, event: Event) -> float:
        """The offset when it happened."""
        return self._offsets.get(event.number, self._newest)
