"""The links between this syncer and those of the other nodes: to its masters, and of its standbys.

A node connects to every other one that is master of something, from its own address in `nodes`,
and is visited by those that are not. A link that breaks is made again; what was judged over it
stays known. One whose key is still the cluster's outlives a change of keys.
"""

import asyncio
import itertools
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from hadirector import following, resyncing
from hadirector.core import sync_readiness
from hadirector.core.address import Address, packed
from hadirector.core.campaign import Campaign
from hadirector.core.sync_readiness import Master
from hadirector.core.syncer_messages import Standby, SyncRole, SyncRoles, SyncSettings
from hadirector.shell import child
from hadirector.shell.backup_socket import BackupSocket
from hadirector.shell.known_connections import KnownConnections
from hadirector.shell.resync_link import LIMIT, Identity, Link, LinkError, connect, listen

log = logging.getLogger(__name__)

VISITORS = 8  # of one node that have not proven yet who they are; older ones go
RECONNECT = 1.0  # seconds before a master that did not answer is tried again


@dataclass(frozen=True, slots=True)
class Host:
    """The syncer around the links."""

    known: KnownConnections
    stream: Callable[[], resyncing.Stream | None]
    backup: Callable[[], BackupSocket | None]  # looked up anew
    behind: Callable[[], float]  # for how many seconds what came was not heard to its end
    told: Callable[[], None]  # something changed that the director is to know
    notice: Callable[[str, str, str], None]


class Links:
    """Of one node. Needs a running loop."""

    def __init__(self, tasks: asyncio.TaskGroup, host: Host) -> None:
        self.masters: dict[str, Master] = {}
        self.trouble = ""
        self._tasks = tasks
        self._host = host
        self._settings: SyncSettings | None = None
        self._roles: SyncRoles | None = None
        self._listener: asyncio.Server | None = None
        self._followers: dict[str, following.Follower] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._sessions: dict[str, resyncing.Session] = {}
        self._visitors: dict[str, list[asyncio.Task[None]]] = {}
        self._guests: dict[str, asyncio.Task[None]] = {}
        self._greeted: set[Link] = set()

    @property
    def standbys(self) -> tuple[Standby, ...]:
        """How complete those are that this node is master for."""
        return tuple(campaign.standing for campaign in self._campaigns.values())

    # What is wanted

    def follow(self, settings: SyncSettings | None) -> None:
        """Other settings (None: none that ask for links): every link is made anew, unless they
        differ only in what no link depends on; with other keys those go whose key is no more."""
        before, self._settings = self._settings, settings
        if before is None or settings is None or _terms(before) != _terms(settings):
            self.close()
            return
        for link in self._greeted:
            if not link.is_sealed_by(settings.keys):
                link.close()

    def follow_roles(self, roles: SyncRoles) -> None:
        """Talk with those that are master; guests are let go once this node is none."""
        self._roles = roles
        wanted = sync_readiness.masters(roles) if self._settings else []
        for node in [n for n in self._following if n not in wanted]:
            self._following.pop(node).cancel()
            self.masters.pop(node, None)
        for node in wanted:
            if node not in self._following:
                task = self._tasks.create_task(self._follow_master(node), name=f"follow {node}")
                self._following[node] = task
        if roles.role is SyncRole.BACKUP:
            self._dismiss()
            self._campaigns.clear()
        self.hurry()

    def hurry(self) -> None:
        """Something about this node changed that its masters are to know."""
        for follower in self._followers.values():
            follower.hurry()

    def compare(self, reason: str) -> None:
        """With every standby and every master, now."""
        for session in self._sessions.values():
            session.ask()
        self._ask_masters(reason)

    def dropped(self, datagrams: int) -> None:
        """Our kernel lost some; a sending that is under way is compared afterwards anyway."""
        if not any(follower.receiving for follower in self._followers.values()):
            self._ask_masters(f"{datagrams} datagrams were dropped")

    def doubt(self, reason: str) -> None:
        """This node may lack what it heard; who is being compared or sent to is not asked."""
        standing = [m.standing for m in self.masters.values()]
        if all(one is not None and one.ready for one in standing):
            self._ask_masters(reason)

    def _ask_masters(self, reason: str) -> None:
        for node, follower in self._followers.items():
            self._tasks.create_task(_quietly(node, follower.ask(reason)), name="ask")

    async def open(self) -> None:
        """Listen, where that is wanted and not so yet."""
        own = self._own_address()
        if self._settings is None or self._listener is not None or own is None:
            return
        try:
            sock = listen(own, self._settings.peer_port)
        except OSError as error:
            where = f"{own} port {self._settings.peer_port} (TCP)"
            self.trouble = f"resync: cannot listen on {where}: {os.strerror(error.errno or 0)}"
            return
        self.trouble = ""
        self._listener = await asyncio.start_server(self._visited, sock=sock, limit=LIMIT)

    def close(self) -> None:
        """Let everybody go; what was judged is forgotten."""
        self.trouble = ""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._dismiss()
        for task in self._following.values():
            task.cancel()
        self._following.clear()
        self._campaigns.clear()
        self.masters.clear()

    def _own_address(self) -> Address | None:
        settings = self._settings
        if settings is None:
            return None
        return next((n.address for n in settings.nodes if n.name == settings.node), None)

    # To a master

    async def _follow_master(self, node: str) -> None:
        """For ever: one link after the other."""
        while True:
            try:
                await self._follow_once(node)
            except LinkError as error:
                self._note(node, str(error))
            self._host.told()
            await asyncio.sleep(RECONNECT)

    async def _follow_once(self, node: str) -> None:
        settings, own = self._settings, self._own_address()
        if settings is None:
            return
        peer = next((n.address for n in settings.nodes if n.name == node), None)
        if own is None or peer is None:
            raise LinkError(f"nodes.{settings.node if own is None else node} has no address")
        reader, writer = await connect(own, peer, settings.peer_port, node)
        link = Link(reader, writer, node)
        try:
            await link.greet_master(_identity(settings))
            self._welcome(link)
            follower = following.Follower(
                link,
                following.Place(
                    self._host.known,
                    self._host.backup,
                    self._waits,
                    self._host.behind,
                    partial(self._judged, node),
                ),
            )
            self._followers[node] = follower
            self._note(node, "")
            await follower.run()
        finally:
            self._followers.pop(node, None)
            self._greeted.discard(link)
            link.close()

    def _note(self, node: str, trouble: str) -> None:
        before = self.masters.get(node, Master())
        self.masters[node] = Master(before.standing, before.heard_at, trouble)

    def _judged(self, node: str, standing: Standby) -> None:
        before = self.masters.get(node, Master()).standing
        here = sync_readiness.by_our_clock(node, standing, child.now(), before)
        self.masters[node] = Master(here, child.now(), "")
        self._host.told()

    def _waits(self) -> str:
        return self._roles.waits if self._roles else "it does not know its role"

    # Of a standby

    def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody connected to us: a peer may, as long as we are master of something."""
        nodes = self._settings.nodes if self._settings else ()
        where = writer.get_extra_info("peername")  # None where it has gone again
        node = next((n.name for n in nodes if where and n.address == where[0]), "")
        master = self._roles is not None and self._roles.role is not SyncRole.BACKUP
        if not node or not master:
            writer.transport.abort()
            return
        link = Link(reader, writer, node)
        visitors = self._visitors.setdefault(node, [])
        if len(visitors) >= VISITORS:
            visitors.pop(0).cancel()
        task = self._tasks.create_task(self._entertain(link), name=f"host {node}")
        task.add_done_callback(lambda _: link.close())  # also of one that never began
        visitors.append(task)

    def _admit(self, node: str) -> None:
        """Our task's visitor is that node's syncer. Its former connection goes only now: anybody
        on that host can connect from its address."""
        task = asyncio.current_task()
        assert task is not None
        former = self._guests.get(node)
        if former is not None:  # its syncer began anew, or its host did
            former.cancel()
        self._guests[node] = task

    def _dismiss(self) -> None:
        for task in (*self._guests.values(), *itertools.chain(*self._visitors.values())):
            task.cancel()

    async def _entertain(self, link: Link) -> None:
        settings = self._settings
        assert settings is not None
        task = asyncio.current_task()
        try:
            try:
                await link.greet_standby(_identity(settings))
                await link.prove()
                self._welcome(link)
            finally:
                self._visitors[link.node] = [t for t in self._visitors[link.node] if t is not task]
            self._admit(link.node)
            campaign = self._campaigns.setdefault(link.node, Campaign(link.node))
            around = resyncing.Surroundings(
                self._host.known,
                self._host.stream,
                self._scope,
                self._host.told,
                self._host.notice,
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
            self._greeted.discard(link)
            self._host.told()

    def _welcome(self, link: Link) -> None:
        """Keys may have changed during the greetings."""
        if self._settings is None or not link.is_sealed_by(self._settings.keys):
            raise LinkError(f"{link.node}: its key is not the cluster's any more")
        self._greeted.add(link)

    def _scope(self) -> tuple[bytes, ...] | None:
        """The virtual addresses whose connections are ours to give."""
        roles = self._roles
        if roles is None or roles.role is not SyncRole.MIXED:
            return None
        return tuple(packed(address) for address in roles.masters)


def _terms(settings: SyncSettings) -> tuple[object, ...]:
    """What a link depends on besides the keys."""
    addresses = tuple((node.name, node.address) for node in settings.nodes)
    us = (settings.cluster, settings.node, settings.sync)
    return us, addresses, settings.peer_port, settings.keyed


def _identity(settings: SyncSettings) -> Identity:
    return Identity(settings.cluster, settings.node, settings.keyed, settings.keys)


async def _quietly(node: str, asked: Awaitable[None]) -> None:
    try:
        await asked
    except LinkError as error:
        log.info("master=%s %s", node, error)
