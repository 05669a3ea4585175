"""The syncer process: what connections this node has, and whether its standby has them too.

It keeps the mirror (core/mirror) of the kernel's connection table: from the sync stream, which it
hears on the sync interface, and from readings of the table where those are cheap. From the mirror
a master brings its standbys up to date (resyncing) and says how complete they are; a standby
learns when it is. Nothing of this is in the way of packets or of the election.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from functools import partial

from hadirector.core import ipvs_sync, messages
from hadirector.core.ipvs_sync import SyncError
from hadirector.core.messages import Process
from hadirector.core.mirror import Mirror
from hadirector.core.record_watch import EVERY, RecordWatch, WatchRecords
from hadirector.core.settings.cluster import ConnectionSync, SyncTransport
from hadirector.core.syncer_messages import (
    Resync,
    Source,
    Synced,
    SyncNews,
    SyncRoles,
    SyncSettings,
)
from hadirector.shell import (
    backup_socket,
    channel,
    child,
    confine,
    connection_table,
    private_tap,
)
from hadirector.shell.relay import RelayLink
from hadirector.shell.sync_wire import SyncWire

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between looks at sockets, drops and records whose time is up
OUTLIVE = 190.0  # seconds: the director leaves after the election, which may take 165
TURN = 0.01  # seconds of work on the mirror before others have their turn


class Syncer:
    """One node's. Needs a running loop."""

    def __init__(self, process: child.Child) -> None:
        self._child = process
        self.mirror = Mirror()
        self.settings: SyncSettings | None = None
        self.roles: SyncRoles | None = None
        self.refused: dict[str, int] = {}
        self.backup: backup_socket.BackupSocket | None = None
        self.wire: SyncWire | RelayLink | None = None
        self._watch = RecordWatch()
        self._trouble = ""
        self._linear = connection_table.is_linear()

    # What the director says

    def receive(self, message: messages.Message) -> None:
        """A message of the director."""
        match message:
            case SyncSettings():
                self._follow(message)
            case SyncRoles():
                self.roles = message
            case Resync():
                pass
            case _:
                pass  # not for us

    def _follow(self, settings: SyncSettings) -> None:
        before = self.settings.sync if self.settings else None
        self.settings = settings
        if settings.sync != before:
            self._close_wire()
            self.mirror.clear()
        self._open_wire()
        if isinstance(self.wire, RelayLink):
            self._relay(self.wire)
        self.tell()

    def watch(self, wanted: WatchRecords, until: float) -> None:
        """Somebody wants to see records, until then."""
        self._watch.follow(wanted, until)

    # The sync interface

    def _open_wire(self) -> None:
        sync = self.settings.sync if self.settings else None
        if sync is None or self.wire is not None:
            return
        if sync.transport is SyncTransport.AUTHENTICATED:
            self.wire = RelayLink(time.time_ns(), self.heard, self.notice)
            self._trouble = ""
            self._relay(self.wire)
            return
        try:
            self.wire = SyncWire(sync.interface, sync.group, sync.port, self.heard)
            self._trouble = ""
        except OSError as error:
            self._trouble = f"sync interface {sync.interface}: {os.strerror(error.errno or 0)}"

    def _relay(self, link: RelayLink) -> None:
        """Have it carry what the settings say, with the keys they have now."""
        settings = self.settings
        assert settings is not None
        assert settings.sync is not None
        node = settings.node
        peers = tuple(one.name for one in settings.nodes if one.name != node)
        link.follow(settings.cluster, node, settings.sync, peers, settings.keys)

    def _close_wire(self) -> None:
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def heard(self, payload: bytes, outgoing: bool) -> None:
        """A datagram of the stream: our own kernel's (`outgoing`), or one it was sent."""
        sync = self.settings.sync if self.settings else None
        if sync is not None:
            self._watch.hear(payload, sync.sync_id, outgoing, child.now())
        if sync is None or not (outgoing or self.backup):
            return  # what no backup thread hears is not in the table
        try:
            records = ipvs_sync.split(payload, sync.sync_id)
        except SyncError as error:
            flaw = error.flaw.value
            self.refused[flaw] = self.refused.get(flaw, 0) + 1
            return
        self.mirror.hear(records, child.now())

    # By time

    async def look(self) -> None:
        """For ever: sockets, drops, what is over."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._open_wire()
            if isinstance(self.wire, RelayLink):
                self.wire.look()
            self.backup = _backup(self.settings.sync if self.settings else None)
            await self._in_turns(self.mirror.expire(child.now()))
            self.tell()

    async def show(self) -> None:
        """For ever: what passes, to whoever watches."""
        while True:
            await asyncio.sleep(EVERY)
            told = self._watch.take()
            if told is not None:
                self._child.send(Process.DIRECTOR, told)

    @staticmethod
    async def _in_turns(steps: Iterator[int]) -> int:
        """Work through the buckets, and let others have their turn; the sum."""
        total, until = 0, child.now() + TURN
        for step in steps:
            total += step
            if child.now() > until:
                await asyncio.sleep(0)
                until = child.now() + TURN
        return total

    def tell(self) -> None:
        """The director, how it stands."""
        told = Synced(
            ready=True,
            reason="",
            source=Source.TABLE,
            known=len(self.mirror),
            listening=self.backup is not None,
            refused=self.refused,
            trouble=self._trouble,
            relay=self.wire.state() if isinstance(self.wire, RelayLink) else None,
        )
        self._child.send(Process.DIRECTOR, told)

    def notice(self, kind: str, subject: str, reason: str) -> None:
        """A line for the journal."""
        log.info("%s subject=%s reason=%r", kind, subject, reason)
        self._child.send(Process.DIRECTOR, SyncNews(kind, subject, reason))

    def close(self) -> None:
        """Give everything back."""
        self._close_wire()


def _backup(sync: ConnectionSync | None) -> backup_socket.BackupSocket | None:
    """The backup thread's socket: where the kernels speak to each other, or to the relay."""
    if sync is None:
        return None
    if sync.transport is SyncTransport.AUTHENTICATED:
        return backup_socket.find(private_tap.GROUP, private_tap.PORT)
    return backup_socket.find(sync.group, sync.port)


async def body(process: child.Child) -> None:
    """Run until told to stop; without a supervisor, until the director has no more use for it."""
    syncer = Syncer(process)
    process.start(partial(_receive, process, syncer))
    process.ready = True
    process.tell()
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(syncer.look(), name="look"),
                tasks.create_task(syncer.show(), name="show"),
            ]
            await process.stopping.wait()
            if process.orphaned() and not process.fault:
                await process.outlive(Process.DIRECTOR, OUTLIVE)
            for task in running:
                task.cancel()
    finally:
        syncer.close()


def _receive(
    process: child.Child, syncer: Syncer, sender: Process, received: channel.Received
) -> None:
    if process.obeys(received) or sender is not Process.DIRECTOR:
        return
    if isinstance(received.message, WatchRecords):
        syncer.watch(received.message, received.valid_until)
    else:
        syncer.receive(received.message)


def _confine() -> str:
    """The sync interface and IPVS ask for these, root or not."""
    confine.keep({confine.NET_ADMIN, confine.NET_RAW})
    return ""


def main() -> int:
    """The process; the supervisor's command line."""
    return child.main(Process.SYNCER, body, _confine)


if __name__ == "__main__":
    sys.exit(main())
