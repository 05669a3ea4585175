"""The syncer process: what connections this node has, and whether its standby has them too.

It knows them (shell/known_connections) from the kernel's sync stream, which it hears on the sync
interface, and from readings of the table where those are cheap. As master it brings its standbys
up to date (resyncing) and says how complete they are; as standby it answers its masters
(following) and learns when it is. Nothing of this is in the way of packets or of the election.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from hadirector import following, resyncing
from hadirector.core import messages, sync_readiness
from hadirector.core.address import Address, packed
from hadirector.core.campaign import Campaign
from hadirector.core.messages import Process
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport
from hadirector.core.sync_readiness import Master
from hadirector.core.syncer_messages import (
    Resync,
    Standby,
    Synced,
    SyncNews,
    SyncRole,
    SyncRoles,
    SyncSettings,
)
from hadirector.shell import backup_socket, channel, child, confine
from hadirector.shell.backup_socket import BackupSocket
from hadirector.shell.known_connections import KnownConnections
from hadirector.shell.resync_link import Identity, Link, LinkError, connect, listen
from hadirector.shell.sync_wire import SyncWire

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25  # seconds between looks at the sockets
TELL_EVERY = 1.0  # seconds between accounts to the director
COUNT_EVERY = 5.0
RECONNECT = 1.0  # seconds before a master that did not answer is tried again
LIMIT = 1 << 20  # bytes of a link that wait to be read
OUTLIVE = 190.0  # seconds: the director leaves after the election, which may take 165


class Syncer:
    """One node's. Needs a running loop."""

    def __init__(self, process: child.Child, tasks: asyncio.TaskGroup) -> None:
        self.known = KnownConnections()
        self.settings: SyncSettings | None = None
        self.roles: SyncRoles | None = None
        self._child = process
        self._tasks = tasks
        self._roles_at = child.now()
        self._wire: SyncWire | None = None
        self._backup: BackupSocket | None = None
        self._listener: asyncio.Server | None = None
        self._sessions: dict[str, resyncing.Session] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._followers: dict[str, following.Follower] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._masters: dict[str, Master] = {}
        self._guests: dict[str, asyncio.Task[None]] = {}
        self._unseen = self._kept_out = 0
        self._troubles: dict[str, str] = {}
        self._asked = ""
        self._ready: bool | None = None

    # What the director says

    def receive(self, message: messages.Message) -> None:
        """A message of the director."""
        match message:
            case SyncSettings():
                self._follow(message)
            case SyncRoles():
                first, self.roles = self.roles is None, message
                if first:
                    self._roles_at = child.now()
                self._follow_roles(message)
            case Resync(token) if token != self._asked:
                self._asked = token
                self._compare_now("an operator asks")
            case _:
                pass  # not for us

    def _follow(self, settings: SyncSettings) -> None:
        before, self.settings = self.settings, settings
        if before == settings:
            return
        if before is None or before.sync != settings.sync:
            self._close_wire()
            self.known.forget()
        self.known.sync_id = settings.sync.sync_id if settings.sync else 0
        self._close_links()
        if self.roles is not None:
            self._follow_roles(self.roles)
        self.tell()

    def _follow_roles(self, roles: SyncRoles) -> None:
        """Talk with those that are master; guests are let go once this node is none."""
        wanted = sync_readiness.masters(roles) if self._resyncs else []
        for node in [n for n in self._following if n not in wanted]:
            self._following.pop(node).cancel()
            self._masters.pop(node, None)
        for node in wanted:
            if node not in self._following:
                task = self._tasks.create_task(self._follow_master(node), name=f"follow {node}")
                self._following[node] = task
        if roles.role is SyncRole.BACKUP:
            for guest in self._guests.values():
                guest.cancel()
            self._campaigns.clear()
        for follower in self._followers.values():
            follower.hurry()

    def _compare_now(self, reason: str) -> None:
        for session in self._sessions.values():
            session.ask()
        for node, follower in self._followers.items():
            self._tasks.create_task(_quietly(node, follower.ask(reason)), name="ask")

    @property
    def _resyncs(self) -> bool:
        sync = self.settings.sync if self.settings else None
        return sync is not None and sync.resync is ResyncPolicy.ON_JOIN

    # Sockets

    async def _open(self) -> None:
        """What is to be open and is not."""
        sync = self.settings.sync if self.settings else None
        if sync is not None and self._wire is None and _hears(sync):
            try:
                self._wire = SyncWire(sync.interface, sync.group, sync.port, self._heard)
                self._trouble("wire", "")
            except OSError as error:
                text = f"sync interface {sync.interface}: {os.strerror(error.errno or 0)}"
                self._trouble("wire", text)
        own = self._own_address()
        if self._resyncs and self._listener is None and own is not None:
            assert self.settings is not None
            try:
                sock = listen(own, self.settings.peer_port)
            except OSError as error:
                where = f"{own} port {self.settings.peer_port} (TCP)"
                text = f"resync: cannot listen on {where}: {os.strerror(error.errno or 0)}"
                self._trouble("listener", text)
            else:
                self._trouble("listener", "")
                self._listener = await asyncio.start_server(self._visited, sock=sock, limit=LIMIT)

    def _own_address(self) -> Address | None:
        if self.settings is None:
            return None
        return next((n.address for n in self.settings.nodes if n.name == self.settings.node), None)

    def _close_wire(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _close_links(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in (*self._guests.values(), *self._following.values()):
            task.cancel()
        self._following.clear()
        self._masters.clear()
        self._campaigns.clear()

    def _trouble(self, kind: str, text: str) -> None:
        if text and text != self._troubles.get(kind):
            log.warning("%s", text)
        self._troubles[kind] = text

    def _heard(self, payload: bytes, outgoing: bool) -> None:
        """What no backup thread hears is not in the table."""
        if outgoing or self._backup is not None:
            self.known.hear(payload)

    # Links

    async def _follow_master(self, node: str) -> None:
        """For ever: one link after the other."""
        while True:
            try:
                await self._follow_once(node)
            except LinkError as error:
                self._note(node, str(error))
            self.tell()
            await asyncio.sleep(RECONNECT)

    async def _follow_once(self, node: str) -> None:
        settings, own = self.settings, self._own_address()
        assert settings is not None
        peer = next((n.address for n in settings.nodes if n.name == node), None)
        if own is None or peer is None:
            raise LinkError(f"no address in nodes for {settings.node if own is None else node}")
        reader, writer = await connect(own, peer, settings.peer_port, node)
        link = Link(reader, writer, node)
        try:
            await link.greet_master(self._identity(settings))
            place = following.Place(
                self.known,
                self._look_at_backup,
                self._waits,
                self._caught_up,
                partial(self._judged, node),
            )
            follower = self._followers[node] = following.Follower(link, place)
            self._note(node, "")
            await follower.run()
        finally:
            self._followers.pop(node, None)
            link.close()

    def _note(self, node: str, trouble: str) -> None:
        before = self._masters.get(node, Master())
        self._masters[node] = Master(before.standing, before.heard_at, trouble)

    def _judged(self, node: str) -> None:
        standing = self._followers[node].standing
        self._masters[node] = Master(standing, child.now(), "")
        self.tell()

    def _waits(self) -> str:
        return self.roles.waits if self.roles else "it does not know its role"

    def _caught_up(self) -> bool:
        return self._wire is None or self._wire.idle

    def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody connected to us."""
        settings = self.settings
        address = writer.get_extra_info("peername")[0]
        node = (
            next((n.name for n in settings.nodes if n.address == address), "") if settings else ""
        )
        master = self.roles is not None and self.roles.role is not SyncRole.BACKUP
        if not node or not master:
            writer.transport.abort()
            return
        former = self._guests.get(node)
        if former is not None:  # its syncer began anew, or its host did
            former.cancel()
        link = Link(reader, writer, node)
        self._guests[node] = self._tasks.create_task(self._host(link), name=f"host {node}")

    async def _host(self, link: Link) -> None:
        settings = self.settings
        assert settings is not None
        try:
            await link.greet_standby(self._identity(settings))
            campaign = self._campaigns.setdefault(link.node, Campaign(link.node))
            around = resyncing.Surroundings(
                self.known, lambda: self._wire, self._scope, self.tell, self.notice
            )
            session = self._sessions[link.node] = resyncing.Session(link, campaign, around)
            try:
                await session.run()
            finally:
                if self._sessions.get(link.node) is session:
                    del self._sessions[link.node]
                    campaign.unable("its syncer is not connected")
        except LinkError as error:
            log.info("standby=%s %s", link.node, error)
        finally:
            link.close()
            self.tell()

    def _identity(self, settings: SyncSettings) -> Identity:
        return Identity(settings.cluster, settings.node, settings.keyed, settings.keys)

    def _scope(self) -> tuple[bytes, ...] | None:
        """The virtual addresses whose connections are ours to give."""
        roles = self.roles
        if roles is None or roles.role is not SyncRole.MIXED:
            return None
        return tuple(packed(address) for address in roles.masters)

    # By time

    async def look(self) -> None:
        """For ever: sockets, and what the kernel dropped."""
        before, since = self._look_at_backup(), child.now()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._open()
            now, at = self._look_at_backup(), child.now()
            if before is None or now is None or before.inode != now.inode:
                if before or now:  # another thread, or none: its master is to know
                    for follower in self._followers.values():
                        follower.hurry()
            elif now.drops > before.drops:
                await self.known.doubt(since - LOOK_EVERY, at)
                self._dropped(now.drops - before.drops)
            before, since = now, at

    def _look_at_backup(self) -> BackupSocket | None:
        sync = self.settings.sync if self.settings else None
        self._backup = backup_socket.find(sync.group, sync.port) if sync else None
        return self._backup

    def _dropped(self, datagrams: int) -> None:
        """A sending under way is compared afterwards anyway."""
        log.info("the backup thread dropped %d datagrams", datagrams)
        if not any(follower.receiving for follower in self._followers.values()):
            for node, follower in self._followers.items():
                asked = follower.ask(f"{datagrams} datagrams were dropped")
                self._tasks.create_task(_quietly(node, asked), name="ask")

    async def account(self) -> None:
        """For ever: what is over is forgotten, and the director is told."""
        counted = float("-inf")
        while True:
            await asyncio.sleep(TELL_EVERY)
            if self.settings is None or self.settings.sync is None:
                continue
            await self.known.expire()
            if child.now() - counted > COUNT_EVERY:
                counted = child.now()
                count = await self.known.choose()
                self._unseen = max(0, count - len(self.known.mirror))
                self._kept_out = (await self.known.survey())[1]
            self.tell()

    async def refill(self) -> None:
        """For ever: a mirror that began too late is filled, slowly, where it is needed."""
        while True:
            await asyncio.sleep(COUNT_EVERY)
            if self.roles is not None and self.roles.role is not SyncRole.BACKUP:
                await self.known.refill()

    def tell(self) -> None:
        """The director, how it stands."""
        if self.settings is None or self.settings.sync is None:
            return
        listening = self._backup is not None
        ready, reason = sync_readiness.judge(
            self.roles, listening, self._masters, self._roles_at, child.now()
        )
        if self._ready is not None and ready != self._ready:
            self.notice("sync_ready" if ready else "sync_not_ready", self.settings.node, reason)
        self._ready = ready
        told = Synced(
            ready=ready,
            reason=reason,
            source=self.known.source,
            known=len(self.known.mirror),
            unseen=self._unseen,
            kept_out=self._kept_out,
            listening=listening,
            own=tuple(_named(node, m) for node, m in self._masters.items() if m.standing),
            standbys=tuple(campaign.standing for campaign in self._campaigns.values()),
            refused=dict(self.known.refused),
            trouble="; ".join(filter(None, (*self._troubles.values(), self.known.trouble))),
        )
        self._child.send(Process.DIRECTOR, told)

    def notice(self, kind: str, subject: str, reason: str) -> None:
        """A line for the journal."""
        self._child.send(Process.DIRECTOR, SyncNews(kind, subject, reason))

    def close(self) -> None:
        """Give everything back."""
        self._close_links()
        self._close_wire()
        self.known.close()


def _named(node: str, master: Master) -> Standby:
    """This node's standing, under the name of the master that judged it."""
    assert master.standing is not None
    return replace(master.standing, node=node)


async def _quietly(node: str, asked: Awaitable[None]) -> None:
    try:
        await asked
    except LinkError as error:
        log.info("master=%s %s", node, error)


def _hears(sync: ConnectionSync) -> bool:
    return sync.transport is SyncTransport.KERNEL


async def body(process: child.Child) -> None:
    """Run until told to stop; without a supervisor, until the director has no more use for it."""
    async with asyncio.TaskGroup() as tasks:
        syncer = Syncer(process, tasks)
        process.start(partial(_receive, process, syncer))
        process.ready = True
        process.tell()
        running = [
            tasks.create_task(syncer.look(), name="look"),
            tasks.create_task(syncer.account(), name="account"),
            tasks.create_task(syncer.refill(), name="refill"),
        ]
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
    if not process.obeys(received) and sender is Process.DIRECTOR:
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
