"""The standby's side of a resync: answers its master's comparisons, and tells what it has lost.

It keeps nothing of what it is told but its own standing: connections come to its kernel by the
sync interface, and are heard there like any others.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from hadirector.core import comparison
from hadirector.core import resync_messages as said
from hadirector.core.syncer_messages import Standby
from hadirector.shell import child
from hadirector.shell.backup_socket import BackupSocket
from hadirector.shell.known_connections import KnownConnections, Turns
from hadirector.shell.resync_link import Link, LinkError, until_one_ends

log = logging.getLogger(__name__)

TELL_EVERY = 1.0  # seconds
TELL_WHILE_SENDING = 0.05
BEHIND = 0.1  # seconds that we ourselves may be behind what comes
SLOW = 1 << 20  # bytes: a queue that slows the master down
SILENCE = 120.0  # seconds: it compares each minute
DIGEST_AFTER = 10.0  # seconds at most that what has come is waited for before it is compared
PART = 256 << 10  # bytes of a listing, and so many buckets
PART_BUCKETS = 64
PART_ROWS = 16_384  # of a bucket that somebody made large


@dataclass(frozen=True, slots=True)
class Place:
    """What a follower needs of the syncer around it."""

    known: KnownConnections
    backup: Callable[[], BackupSocket | None]  # looked up anew at each call
    waits: Callable[[], str]  # what keeps this node from being compared
    behind: Callable[[], float]  # for how many seconds what came was not heard to its end
    judged: Callable[[Standby], None]


class Follower:
    """Of one master, over one link."""

    def __init__(self, link: Link, place: Place) -> None:
        self.receiving = False  # whether connections are on their way to us
        self._link = link
        self._place = place
        self._wake = asyncio.Event()

    async def ask(self, reason: str) -> None:
        """Have the master compare now; LinkError."""
        await self._link.send(said.Ask(reason))

    def hurry(self) -> None:
        """Something changed that the master is to know."""
        self._wake.set()

    async def run(self) -> None:
        """Until the link breaks: LinkError."""
        await until_one_ends(self._tell(), self._listen())

    async def _tell(self) -> None:
        while True:
            backup = self._place.backup()
            waits = self._place.waits() if backup else "its backup thread does not listen"
            thread, drops, queue = (0, 0, 0)
            if backup is not None:
                thread, drops, queue = backup.inode, backup.drops, backup.waiting
            if self._place.behind() > BEHIND:
                queue = max(queue, SLOW)
            await self._link.send(said.State(waits, thread, drops, queue))
            self._wake.clear()
            try:
                async with asyncio.timeout(TELL_WHILE_SENDING if self.receiving else TELL_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _listen(self) -> None:
        compare: said.Compare | None = None
        while True:
            message = await self._link.receive(SILENCE)
            match message:
                case said.Compare():
                    compare = message
                    await self._digest(message)
                case said.List() if compare is not None and message.round == compare.round:
                    await self._list(message, compare)
                case said.Sending(on):
                    self.receiving = on
                    self._wake.set()
                case Standby():
                    self._place.judged(message)
                case _:
                    raise LinkError(f"{self._link.node} says what is not a master's to say")

    async def _digest(self, compare: said.Compare) -> None:
        """Once all that was sent is in the table, and heard."""
        until = child.now() + DIGEST_AFTER
        while child.now() < until:
            await asyncio.sleep(0.02)
            backup = self._place.backup()
            if backup is None or (not backup.waiting and not self._place.behind()):
                break
        known, scope = self._place.known, _scope(compare)
        exact = await known.refresh()
        digests, held = await known.digests(scope, compare.salt)
        drops = backup.drops if backup else 0
        groups = await known.active(scope)  # its master's kernel may be one that cannot be read
        active = sum(groups)
        await self._link.send(
            said.Digests(compare.round, held, digests, exact, drops, active, groups)
        )

    async def _list(self, wanted: said.List, compare: said.Compare) -> None:
        known, scope = self._place.known, _scope(compare)
        parts: list[bytes] = []
        size, turns = 0, Turns()
        for number in wanted.buckets:
            bucket = list(known.mirror.buckets[number].items())
            for at in range(0, max(1, len(bucket)), PART_ROWS):
                found = comparison.hashes(bucket[at : at + PART_ROWS], scope, compare.salt)
                parts.append(b"".join(hashed for hashed, _ in found))
                size += len(parts[-1])
                more = at + PART_ROWS < len(bucket)
                if more or size > PART or len(parts) >= PART_BUCKETS:
                    await self._link.send(said.Listing(wanted.round, tuple(parts), more))
                    parts.clear()
                    size = 0
                await turns.give()
        if parts:
            await self._link.send(said.Listing(wanted.round, tuple(parts)))


def _scope(compare: said.Compare) -> comparison.Scope:
    return None if compare.scope is None else frozenset(compare.scope)
