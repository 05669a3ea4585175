"""How a master brings one standby up to date, and when it believes that it has.

A round is: compare, judge, send what is missing. The first one of a standby that has nothing sends
the whole table. Rounds follow each other at once until one is complete, then every `PERIOD`
seconds (or when somebody asks, or datagrams were lost).

    complete    nothing is missing that the master knew for longer than `YOUNG`, or before the
                standby listened. Others are on their way: the kernel's sync thread keeps a buffer
                for up to two seconds.
    or          twice in a row less than `NOISE` of the table is missing, and not the same: the
                reading of a changing table leaves some rows out, others each time.

What was sent and is missing all the same was lost; the share of it says how often the next round
sends each datagram, so that a network that drops a third of them is done in the second round. A
kernel that could not keep up is another matter: its drops slow the sender down (core/pace).

Keys come by the mirror's buckets: no million of them is ever put together in one piece, which would
hold the loop up for a second.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hadirector.core.syncer_messages import Measure, Standby

YOUNG = 5.0  # seconds
PERIOD = 60.0  # seconds between comparisons of a standby that is complete
NOISE = 0.001  # of the table
AGAIN = 0.3  # seconds between rounds that are not complete
PATIENCE = 10  # rounds at once; then every `PERIOD` seconds, and it is told
UNSEEN = 0.01  # of the table: so many more in the kernel are told of
MOST_COPIES = 10  # of a datagram
_PER_DATAGRAM = 40  # connections
_RESIDUE = 0.05  # datagrams that may still be lost


Keys = Mapping[int, Sequence[bytes]]
"""Of a mirror's entries, by the numbers of their buckets."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison showed. `missing` counts those known for longer than `YOUNG`, `stubborn`
    those of them that were sent before; `lost` what the standby's kernel has dropped since its
    thread began. Where the kernels' counters are looked at, the master's counts `active` active
    ones, and the standby's are `short` of so many (core/counters)."""

    total: int
    missing: int
    stubborn: int
    exact: bool
    lost: int
    active: int = 0
    short: int = 0


class Campaign:
    """For one standby; instants are seconds of CLOCK_BOOTTIME."""

    def __init__(self, node: str, unable: str = "not compared yet") -> None:
        self.standing = Standby(node, False, unable)
        self.copies = 1
        self._sent: Keys = {}  # after the last round
        self._rounds = 0  # since the last one that found nothing missing
        self._unseen = False  # whether its master has more than was compared
        self._tries = 0  # since it was ready, or something changed

    @property
    def pause(self) -> float:
        """Seconds until the next round: longer and longer ones while its master has yet to see much
        of its own table. That takes a minute, and a standby may read all of its own each time."""
        if self.done:
            return PERIOD
        return min(PERIOD, AGAIN * 2 ** (self._tries - 1)) if self._unseen else AGAIN

    @property
    def done(self) -> bool:
        """Whether the next round can wait for `PERIOD`."""
        return self.standing.ready or self._tries >= PATIENCE

    def begin_anew(self) -> None:
        """Something changed, or somebody asks: rounds may follow each other again."""
        self._tries = 0

    def stubborn(self, bucket: int, missing: Collection[bytes]) -> int:
        """How many of these, which are missing from a bucket, were sent after the last round."""
        sent = self._sent.get(bucket)
        return len(set(sent).intersection(missing)) if sent else 0

    def judge(self, compared: Compared, now: float) -> Standby:
        """A round's comparison. Where the standby's kernel counts fewer connections, so many are
        missing at least, whatever the mirrors say."""
        before, missing, stubborn = self.standing, compared.missing, compared.stubborn
        self._count_losses(stubborn)
        noise = missing <= NOISE * compared.total and not stubborn and self._rounds > 1
        absent = 0 if noise else missing
        if not missing:
            self._sent = {}
        self._rounds = 0 if not absent else self._rounds + 1
        ready = not absent and not compared.short
        self._tries = 0 if ready else self._tries + 1
        self._unseen = _has_unseen(compared)
        self.standing = replace(
            before,
            ready=ready,
            reason=_words(compared, absent),
            total=compared.total,
            missing=max(absent, compared.short),
            measure=Measure.EXACT if compared.exact else Measure.ESTIMATED,
            compared_at=now,
            equal_at=now if ready else before.equal_at,
            lost=compared.lost,
            rounds=before.rounds + 1,
        )
        return self.standing

    def sent(self, keys: Keys, most: bool, now: float) -> None:
        """These were sent after a round; `most`: to a standby that had next to nothing."""
        self._sent = keys
        at, count = self.standing, sum(map(len, keys.values()))
        self.standing = replace(at, sent=at.sent + count, resync_at=now if most else at.resync_at)

    def unable(self, reason: str) -> None:
        """It cannot be compared just now; until then it is not ready."""
        self.standing = replace(self.standing, ready=False, reason=reason)

    def _count_losses(self, stubborn: int) -> None:
        """How often each datagram is to be sent next, by what became of the last ones."""
        if not stubborn:
            self.copies = 1
            return
        share = min(0.9, stubborn / sum(map(len, self._sent.values())))
        if self.copies > 1:  # each of them was sent that often
            share = share ** (1 / self.copies)
        datagrams = max(1, stubborn // _PER_DATAGRAM)
        wanted = math.ceil(math.log(_RESIDUE / datagrams) / math.log(share))
        self.copies = max(1, min(MOST_COPIES, wanted))


def _has_unseen(compared: Compared) -> bool:
    return compared.active - compared.total > UNSEEN * compared.active


def _words(compared: Compared, missing: int) -> str:
    total, active = compared.total, compared.active
    if compared.short:
        return f"of {active} active connections the standby's kernel lacks {compared.short}"
    if missing:
        return f"{missing} of {total} connections are missing"
    if _has_unseen(compared):
        seen = f"all {total} connections that its master has seen so far are there"
        return f"{seen}, and of {active} active ones the kernels count as many"
    return f"all {total} connections are there"
