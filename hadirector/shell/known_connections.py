"""The connections of this node as far as they are known: the mirror, and what fills it.

    table    the whole table is read for each comparison: exact. Where the kernel reads it in one
             go (Linux 6.14 and later), or where it has at most `SMALL` rows.
    stream   what the kernel's sync threads said, and since when: estimated. One slow reading at
             `REFILL_SHARE` of a core fills in what was said before this process began.

Work on a large mirror is done bucket by bucket, and others have their turn in between.
"""

import asyncio
from collections.abc import Iterator

from hadirector.core import comparison, counters, ipvs_sync, sync_table
from hadirector.core.address import packed
from hadirector.core.comparison import Scope
from hadirector.core.counters import Counters
from hadirector.core.ipvs import Table, Usage
from hadirector.core.ipvs_sync import SyncError
from hadirector.core.mirror import BUCKETS, Mirror
from hadirector.core.syncer_messages import Source
from hadirector.shell import child, connection_table
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.netlink import KernelError

SMALL = 50_000  # rows: read in 1.7 s where reading is quadratic
SMALL_AGAIN = 40_000
REFILL_SHARE = 0.2  # of a core
TEND_WITHIN = 16  # seconds for all of a million connections: 5 % of a core
_PART = BUCKETS // TEND_WITHIN
TURN = 0.01  # seconds of work before others have their turn
COUNTS_FOR = 5.0  # seconds the kernel's counters are good for: 10,000 servers take 0.15 s


class KnownConnections:
    """Of one node; `sync_id` is the cluster's. Needs a running loop."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.source = Source.TABLE
        self.refused: dict[str, int] = {}
        self.trouble = ""
        self.sync_id = 0
        self._linear = connection_table.is_linear()
        self._ipvs = Ipvs()
        self._table: Table = {}
        self._usage = Usage()
        self._counted_at = float("-inf")
        self._read_at: float | None = None  # when the last reading that came to its end began
        self._busy = asyncio.Lock()
        self._refilled = False
        self._forgotten = 0  # how often
        self.kept_out = 0  # connections that no standby can be given
        self._kept_out_so_far = self._tended = 0

    def hear(self, payload: bytes, own: bool) -> None:
        """A datagram of the stream that our kernel said (`own`), or takes in."""
        try:
            records = ipvs_sync.split(payload, self.sync_id)
        except SyncError as error:
            flaw = error.flaw.value
            self.refused[flaw] = self.refused.get(flaw, 0) + 1
        else:
            self.mirror.hear(records, child.now(), own)

    def forget(self) -> None:
        """Another sync interface or cluster: nothing is known."""
        self.mirror.clear()
        self._read_at, self._refilled = None, False
        self._forgotten += 1

    def close(self) -> None:
        """Give the socket back."""
        self._ipvs.close()

    # What the kernel counts

    async def count(self) -> int:
        """Connections by the kernel's own counters, of those that have a server."""
        await self._look()
        uses = self._usage.destinations.values()
        return sum(use.active + use.inactive + use.persistent for use in uses)

    async def active(self, scope: Scope) -> Counters:
        """Active ones of these virtual addresses, by the kernel's counters of this moment."""
        await self._look(0.0)
        return counters.grouped(
            (key, endpoint, use.active)
            for (key, endpoint), use in self._usage.destinations.items()
            if scope is None or not key.address or packed(key.address) in scope
        )

    async def _look(self, good_for: float = COUNTS_FOR) -> None:
        if child.now() - self._counted_at < good_for:
            return
        self._counted_at = child.now()
        try:
            self._table, self._usage = await self._ipvs.read()
            self.trouble = ""
        except KernelError as error:
            self.trouble = str(error)

    async def choose(self) -> int:
        """Where to know the connections from, by how many there are; that number."""
        count = max(await self.count(), len(self.mirror))
        limit = SMALL if self.source is Source.TABLE else SMALL_AGAIN
        self.source = Source.TABLE if self._linear or count <= limit else Source.STREAM
        return count

    # What is known

    async def refresh(self) -> bool:
        """Know the connections as they are now, where that is cheap; whether it was."""
        await self.choose()
        if self.source is Source.STREAM:
            return False
        async with self._busy:
            return await self._read(1.0, whole=True)

    async def refill(self) -> bool:
        """Once, and slowly: what the stream told before we listened. Whether it was done now."""
        if self.source is Source.TABLE or self._refilled:
            return False
        async with self._busy:
            self._refilled = await self._read(REFILL_SHARE, whole=False)
            return self._refilled

    async def _read(self, share: float, whole: bool) -> bool:
        """Whether all of the table is known now; not where something was forgotten meanwhile."""
        await self._look(0.0)
        services = sync_table.Services(self._table)
        begun, forgotten = child.now(), self._forgotten
        self.mirror.begin_reading(begun, self._read_at)
        try:
            async for rows in connection_table.rows(share):
                for at in range(0, len(rows), 500):
                    found = sync_table.records(rows[at : at + 500], services)
                    self.mirror.read(found, child.now())
                    await asyncio.sleep(0)
        except (OSError, ValueError) as error:
            self.trouble = f"{connection_table.PATH}: {error}"
            return False
        if whole:
            await in_turns(self.mirror.end_reading())
        if forgotten != self._forgotten:
            return False
        self._read_at = begun
        return True

    async def tend(self) -> None:
        """A part of it, each second in turn: forget whose time is up, and count those that cannot
        be kept."""
        first = self._tended * _PART
        part = slice(first, first + _PART)
        await in_turns(self.mirror.expire(child.now(), part))

        def steps() -> Iterator[int]:
            for bucket in self.mirror.buckets[part]:
                yield sum(map(comparison.is_kept_out, bucket.values()))

        self._kept_out_so_far += await in_turns(steps())
        self._tended += 1
        if first + _PART >= BUCKETS:
            self.kept_out, self._kept_out_so_far, self._tended = self._kept_out_so_far, 0, 0

    async def doubt(self, since: float, until: float) -> int:
        """The kernel dropped datagrams meanwhile; how many connections are not known any more."""
        if self.source is Source.TABLE:
            return 0  # the next reading tells
        return await in_turns(self.mirror.doubt(since, until))

    async def digests(self, scope: Scope, salt: bytes) -> tuple[bytes, int]:
        """Of all buckets, one after the other, and how many connections that covers."""
        found = bytearray()

        def steps() -> Iterator[int]:
            for bucket in self.mirror.buckets:
                digest, covered = comparison.digest(bucket.values(), scope, salt)
                found.extend(digest)
                yield covered

        total = await in_turns(steps())
        return bytes(found), total


class Turns:
    """Of work that is done step by step, on a loop that has other things to do as well."""

    def __init__(self) -> None:
        self._until = child.now() + TURN

    async def give(self) -> None:
        """Between two steps: the others' turn, if this one was long enough."""
        if child.now() > self._until:
            await asyncio.sleep(0)
            self._until = child.now() + TURN


async def in_turns(steps: Iterator[int]) -> int:
    """Work step by step, and let others have their turn; the sum."""
    total, turns = 0, Turns()
    for step in steps:
        total += step
        await turns.give()
    return total
