"""The syncer process: what connections this node has, and whether its standby has them too.

It knows them (shell/known_connections) from the kernel's sync stream, which it hears on the sync
interface or carries itself (shell/relay), and from readings of the table where those are cheap. As
master it brings its standbys up to date (resyncing) and says how complete they are; as standby it
answers its masters (following) and learns when it is. Nothing of this is in the way of packets or
of the election.
"""

import asyncio
import logging
import os
import sys
import time
from functools import partial

from hadirector.core import messages, sync_readiness
from hadirector.core.campaign import UNSEEN
from hadirector.core.messages import Process
from hadirector.core.record_watch import EVERY, RecordWatch, WatchRecords
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport
from hadirector.core.syncer_messages import (
    Resync,
    Synced,
    SyncNews,
    SyncRole,
    SyncRoles,
    SyncSettings,
)
from hadirector.shell import (
    backup_socket,
    channel,
    child,
    confine,
    private_tap,
    sync_interface,
)
from hadirector.shell.backup_socket import BackupSocket
from hadirector.shell.known_connections import KnownConnections
from hadirector.shell.relay import RelayLink
from hadirector.shell.sync_interface import SyncInterface
from hadirector.shell.sync_wire import SyncWire
from hadirector.sync_links import Host, Links

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25  # seconds between looks at the sockets
TELL_EVERY = 1.0  # seconds between accounts to the director
COUNT_EVERY = 5.0  # seconds between looks at the kernel's counters
OUTLIVE = 190.0  # seconds: the director leaves after the election, which may take 165


class Syncer:
    """One node's. Needs a running loop."""

    def __init__(self, process: child.Child, tasks: asyncio.TaskGroup) -> None:
        self._child = process
        self._known = KnownConnections()
        self._links = Links(
            tasks,
            Host(
                self._known,
                self._stream,
                self._look_at_backup,
                self._behind,
                self.tell,
                self.notice,
            ),
        )
        self._settings: SyncSettings | None = None
        self._roles: SyncRoles | None = None
        self._roles_at = child.now()
        self._wire: SyncWire | RelayLink | None = None
        self._backup: BackupSocket | None = None
        self._watch = RecordWatch()
        self._unseen = 0
        self._doubt = sync_readiness.Doubt()
        self._trouble = ""
        self._interface = SyncInterface(0, 0, "")
        self._asked = ""
        self._ready: bool | None = None

    # What the director says

    def receive(self, message: messages.Message) -> None:
        """A message of the director."""
        match message:
            case SyncSettings() if message != self._settings:
                self._follow(message)
            case SyncRoles():
                self._roles_at = child.now() if self._roles is None else self._roles_at
                self._roles = message
                self._links.follow_roles(message)
            case Resync(token) if token != self._asked:
                self._asked = token
                self._links.compare("an operator asks")
            case _:
                pass  # not for us

    def _follow(self, settings: SyncSettings) -> None:
        before, self._settings = self._settings, settings
        if before is None or before.sync != settings.sync:
            self._close_wire()
            self._known.forget()
        sync = settings.sync
        self._known.sync_id = sync.sync_id if sync else 0
        self._known.mirror.belong_to(settings.cluster)
        resyncs = sync is not None and sync.resync is ResyncPolicy.ON_JOIN
        self._links.follow(settings if resyncs else None)
        if self._roles is not None:
            self._links.follow_roles(self._roles)
        if isinstance(self._wire, RelayLink):
            self._relay(self._wire)
        self.tell()

    def watch(self, until: float) -> None:
        """Somebody wants to see records, until then."""
        self._watch.follow(until)

    @property
    def _sync(self) -> ConnectionSync | None:
        return self._settings.sync if self._settings else None

    # The stream of records

    def _look_at_interface(self) -> None:
        """Whether anything passes there. One that was made anew is another one: nothing is heard
        of it by what listened before."""
        sync = self._sync
        if sync is None:
            return
        self._interface = sync_interface.look(sync.interface)
        if isinstance(self._wire, SyncWire) and self._wire.index != self._interface.index:
            self._close_wire()

    def _open_wire(self) -> None:
        """What is to be open and is not."""
        sync = self._sync
        self._trouble = self._interface.trouble
        if sync is None or self._wire is not None:
            return
        if sync.transport is SyncTransport.AUTHENTICATED:
            self._wire = RelayLink(time.time_ns(), self._heard, self.notice)
            self._relay(self._wire)
            return
        try:
            self._wire = SyncWire(sync.interface, sync.group, sync.port, self._heard)
        except OSError as error:
            why = f"sync interface {sync.interface}: {os.strerror(error.errno or 0)}"
            self._trouble = self._trouble or why

    def _relay(self, link: RelayLink) -> None:
        """Have it carry what the settings say, with the keys they have now."""
        settings = self._settings
        assert settings is not None
        assert settings.sync is not None
        node = settings.node
        peers = tuple(one.name for one in settings.nodes if one.name != node)
        link.follow(settings.cluster, node, settings.sync, peers, settings.keys)

    def _close_wire(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _stream(self) -> SyncWire | RelayLink | None:
        """Where records can be sent just now."""
        wire = self._wire
        return None if isinstance(wire, RelayLink) and not wire.speaks else wire

    def _heard(self, payload: bytes, outgoing: bool) -> None:
        """A datagram of our own kernel (`outgoing`), or one that goes to it: what no backup thread
        hears is not in the table."""
        sync = self._sync
        if sync is None:
            return
        self._watch.hear(payload, sync.sync_id, outgoing, child.now())
        if outgoing or self._backup is not None:
            self._known.hear(payload, outgoing)

    def _behind(self) -> float:
        """For how many seconds what came was not read to its end."""
        wire = self._wire
        return 0.0 if not isinstance(wire, SyncWire) or wire.idle else child.now() - wire.idle_at

    def _look_at_backup(self) -> BackupSocket | None:
        """The backup thread's socket: where the kernels speak to each other, or to the relay."""
        sync, self._backup = self._sync, None
        if sync is not None and sync.transport is SyncTransport.AUTHENTICATED:
            self._backup = backup_socket.find(private_tap.GROUP, private_tap.PORT)
        elif sync is not None:
            self._backup = backup_socket.find(sync.group, sync.port)
        return self._backup

    # By time

    async def look(self) -> None:
        """For ever: sockets, and what the kernel dropped."""
        before, since = self._look_at_backup(), child.now()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._look_at_interface()
            self._open_wire()
            await self._links.open()
            now, at = self._look_at_backup(), child.now()
            if before is None or now is None or before.inode != now.inode:
                if before or now:  # another thread, or none: its master is to know
                    self._links.hurry()
            elif now.drops > before.drops:
                log.info("the backup thread dropped %d datagrams", now.drops - before.drops)
                await self._known.doubt(since - LOOK_EVERY, at)
                self._links.dropped(now.drops - before.drops)
            before, since = now, at

    async def account(self) -> None:
        """For ever: what is over is forgotten, and the director is told."""
        counted = float("-inf")
        while True:
            await asyncio.sleep(TELL_EVERY)
            if self._sync is None:
                continue
            if isinstance(self._wire, RelayLink):
                self._wire.look()
            await self._known.tend()
            if child.now() - counted > COUNT_EVERY:
                counted = child.now()
                count = await self._known.choose()
                self._unseen = max(0, count - len(self._known.mirror))
                await self._look_for_doubt()
            self.tell()

    async def _look_for_doubt(self) -> None:
        """A standby whose kernel does not take what is sent is to be found out soon."""
        heard, counted = len(self._known.mirror), await self._known.count()
        refused = sum(self._known.refused.values())
        doubt = self._doubt.look(refused, heard, counted, child.now())
        if doubt and self._roles is not None and self._roles.role is not SyncRole.MASTER:
            self._links.doubt(doubt)

    async def refill(self) -> None:
        """For ever: a mirror that began too late is filled, slowly, where it is needed."""
        while True:
            await asyncio.sleep(COUNT_EVERY)
            master = self._roles is not None and self._roles.role is not SyncRole.BACKUP
            lacking = master and self._unseen > UNSEEN * len(self._known.mirror)
            if lacking and await self._known.refill():
                self._links.compare("its master has read its table")

    async def show(self) -> None:
        """For ever: what passes, to whoever watches."""
        while True:
            await asyncio.sleep(EVERY)
            told = self._watch.take()
            if told is not None:
                self._child.send(Process.DIRECTOR, told)

    # What the director is told

    def tell(self) -> None:
        """How it stands."""
        if self._settings is None or self._sync is None:
            return
        listening, masters = self._backup is not None, self._links.masters
        ready, reason = sync_readiness.judge(
            self._roles, listening, masters, self._roles_at, child.now()
        )
        if self._ready is not None and ready != self._ready:
            self.notice("sync_ready" if ready else "sync_not_ready", self._settings.node, reason)
        self._ready = ready
        known = self._known
        told = Synced(
            ready=ready,
            reason=reason,
            source=known.source,
            known=len(known.mirror),
            unseen=self._unseen,
            kept_out=known.kept_out,
            own=tuple(m.standing for m in masters.values() if m.standing),
            standbys=self._links.standbys,
            refused=dict(known.refused),
            overrun=self._wire.count_lost() if self._wire is not None else 0,
            trouble="; ".join(filter(None, (self._trouble, self._links.trouble, known.trouble))),
            mtu=self._interface.mtu,
            relay=self._wire.state() if isinstance(self._wire, RelayLink) else None,
        )
        self._child.send(Process.DIRECTOR, told)

    def notice(self, kind: str, subject: str, reason: str) -> None:
        """A line for the journal."""
        self._child.send(Process.DIRECTOR, SyncNews(kind, subject, reason))

    def close(self) -> None:
        """Give everything back."""
        self._links.close()
        self._close_wire()
        self._known.close()


async def body(process: child.Child) -> None:
    """Run until told to stop; without a supervisor, until the director has no more use for it."""
    async with asyncio.TaskGroup() as tasks:
        syncer = Syncer(process, tasks)
        process.start(partial(_receive, process, syncer))
        process.ready = True
        process.tell()
        lasting = (syncer.look, syncer.account, syncer.refill, syncer.show)
        running = [tasks.create_task(one(), name=one.__name__) for one in lasting]
        try:
            await process.stopping.wait()
            if process.orphaned() and not process.fault:
                await process.outlive(Process.DIRECTOR, OUTLIVE)
        finally:
            for task in running:
                task.cancel()
            syncer.close()


def _receive(
    process: child.Child, syncer: Syncer, sender: Process, received: channel.Received
) -> None:
    if process.obeys(received) or sender is not Process.DIRECTOR:
        return
    if isinstance(received.message, WatchRecords):
        syncer.watch(received.valid_until)
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
