"""When to announce virtual addresses (gratuitous ARP, unsolicited NA).

A new master announces at once and once more after `Garp.delay`, each time `repeat` times, then one
by one each `refresh` seconds. After a duel the rival may have announced as well, and may do so
until it has heard us and dropped its addresses; so the burst is repeated soon, and soon again:

    duel heard   +0.1 s   +1 s   +delay        refresh ...

A rival that does not give up is answered without end, but never more than one burst in 0.1 s.

A master that a peer contests on the peer channel, while neither hears the other's adverts, cannot
know whether its clients see both. Where they do, the better of the two is to be the one they
know: it announces every few seconds, and the other one only at its takeover (`Contest`). Nobody
gives up for that: where the segment is in two, each half still has its master.
"""

import math

from hadirector.core.priority import Contest
from hadirector.core.settings.instances import Garp

DUEL_SPACING = 0.1  # longer than a rival's burst takes, shorter than a client notices
DUEL_ECHOES = (0.1, 1.0)  # a rival on a starved CPU was seen to go on for up to a second
CONTESTED_REFRESH = 5.0  # seconds: a client that learned the other one has it right again so soon


class Announcer:
    """The bursts still to come for one virtual router, soonest first: (instant, count)."""

    def __init__(self, garp: Garp) -> None:
        self.garp = garp
        self._bursts: list[tuple[float, int]] = []
        self._sent_at = -math.inf
        self._contest = Contest.NONE

    @property
    def deadline(self) -> float | None:
        """When `take` has something to give."""
        return self._bursts[0][0] if self._bursts else None

    def start(self, now: float) -> None:
        """Became master."""
        self._plan(now, ())

    def duel(self, now: float) -> None:
        """Another one spoke as master, and it will have to go."""
        self._plan(max(now, self._sent_at + DUEL_SPACING), DUEL_ECHOES)

    def stop(self) -> None:
        """No master any more: nothing is announced."""
        self._bursts.clear()

    def take(self, now: float) -> int:
        """How often each address is to be announced now; 0: not now."""
        due = [count for at, count in self._bursts if at <= now]
        if not due:
            return 0
        del self._bursts[: len(due)]
        self._sent_at = now
        if not self._bursts:
            self._refresh(now)
        return max(due)

    def contest(self, contest: Contest, now: float) -> None:
        """A peer claims mastership, or does so no more: refresh at another pace from now on."""
        if contest is self._contest:
            return
        self._contest = contest
        refreshes = self._sent_at > -math.inf and [count for _, count in self._bursts] in ([], [1])
        if refreshes:
            self._bursts.clear()
            self._refresh(now)

    def _refresh(self, now: float) -> None:
        every = {
            Contest.NONE: self.garp.refresh,
            Contest.WINS: min(self.garp.refresh or math.inf, CONTESTED_REFRESH),
            Contest.LOSES: 0.0,
        }[self._contest]
        if every > 0:
            self._bursts.append((now + every, 1))

    def _plan(self, first: float, echoes: tuple[float, ...]) -> None:
        offsets = sorted({0.0, *echoes, self.garp.delay})
        self._bursts = [(first + offset, self.garp.repeat) for offset in offsets]
