"""The director's side of connection sync: what the syncer is told, and what it says of readiness.

A node may take over from a healthy master once it has that master's connections. The syncer judges
that; its word is good for `WORD_HOLDS` seconds, and without it the node is not ready. With
`resync: never` nobody compares anything, and readiness is as it was without connection sync.
"""

from collections.abc import Collection, Iterable
from math import inf

from hadirector.core import director_events as ev
from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.keys import Secrets
from hadirector.core.messages import Process, RouterStateName
from hadirector.core.node_view import addresses_of
from hadirector.core.peers import Known, router_states
from hadirector.core.services import Change
from hadirector.core.settings.cluster import (
    Config,
    ConnectionSync,
    ResyncPolicy,
    SyncTransport,
)
from hadirector.core.sync_absence import Absences, lacking
from hadirector.core.syncer_messages import (
    Synced,
    SyncNews,
    SyncPeer,
    SyncRole,
    SyncRoles,
    SyncSettings,
)

WORD_HOLDS = 10.0  # seconds; it comes each second
ROLES_HOLD = 10.0
LONGEST_PACKET = 1500  # bytes: the kernel's records fit, and a backup thread's buffer takes them


class OwnSync:
    """What this node's syncer told last."""

    def __init__(self, now: float) -> None:
        self.synced: Synced | None = None
        self._absences = Absences()
        self._apart: list[str] = []  # whose sync interface takes other packets than ours
        self._heard_at = now
        self._told: SyncSettings | None = None

    def hear(self, message: messages.Message, now: float) -> list[Change]:
        """Its word, and its news."""
        match message:
            case Synced():
                self.synced, self._heard_at = message, now
            case SyncNews(kind, subject, reason):
                return [Change(kind, subject, reason)]
            case _:
                pass
        return []

    def look(
        self,
        config: Config,
        routers: Iterable[messages.Router],
        peers: Collection[Known],
        now: float,
    ) -> None:
        """Who lacks connections by its last word, and whose records may not get through."""
        sync = config.connection_sync
        self._apart = _apart(self.synced, sync, peers)
        if self.synced is None or sync is None or sync.resync is ResyncPolicy.NEVER:
            self._absences.look({}, now)
            return
        standbys = [
            known
            for known in peers
            if known.alive
            and known.presence is not None
            and role_of(known.presence.routers) is not SyncRole.MASTER
        ]
        role = role_of(dict(router_states(routers)))
        self._absences.look(lacking(self.synced, role, standbys, config.peer_port), now)

    def troubles(self, config: Config, now: float) -> list[str]:
        """What somebody must look at, a sentence each."""
        if config.connection_sync is None:
            return []
        if now - self._heard_at > WORD_HOLDS:
            return ["the syncer is silent: nobody knows which connections are where"]
        if self.synced is None:
            return []
        told = [f"connection sync: {self.synced.trouble}"] if self.synced.trouble else []
        return [*told, *self._apart, *self._absences.late(self.synced.known, now)]

    def hindrance(self, config: Config, now: float) -> str:
        """Why this node may not take over yet, for the sake of connections; empty if it may."""
        sync = config.connection_sync
        if sync is None or sync.resync is ResyncPolicy.NEVER or not config.peers:
            return ""
        if self.synced is None:
            return "the syncer has not told yet which connections are here"
        if now - self._heard_at > WORD_HOLDS:
            return "the syncer is silent: nobody knows which connections are here"
        return "" if self.synced.ready else f"connections: {self.synced.reason}"

    def settings(self, config: Config, secrets: Secrets, now: float) -> list[ev.Action]:
        """What the syncer is to run; nothing where it never had anything to do."""
        settings = SyncSettings(
            config.cluster,
            config.node,
            config.connection_sync,
            config.nodes,
            config.peer_port,
            config.key_file is not None,
            secrets.keys,
        )
        if settings.sync is None and self._told is None:
            return []
        if self._told is None or self._told.sync is None:
            self._heard_at = now  # its first word is waited for from now on
        self._told = settings
        return [ev.Send(Process.SYNCER, settings, inf)]

    def roles(
        self,
        config: Config,
        routers: Iterable[messages.Router],
        peers: Iterable[Known],
        waits: str,
    ) -> list[ev.Action]:
        """Who is master of what; `waits` says what services in the kernel still wait for."""
        if self._told is None or self._told.sync is None:
            return []
        routers = tuple(routers)
        states = {f"{r.instance}/ipv{r.family}": r.state.value for r in routers}
        obeyed = (r.master for r in routers if r.state is RouterStateName.BACKUP)
        obeys = tuple(dict.fromkeys(master for master in obeyed if master is not None))
        others = tuple(
            SyncPeer(
                known.node.name,
                known.alive,
                _mastered(config, known.presence.routers)
                if known.alive and known.presence is not None
                else (),
                not known.alive and (known.heard_at is not None or known.trouble != ""),
            )
            for known in peers
        )
        role, own = role_of(states), _mastered(config, states)
        return [ev.Send(Process.SYNCER, SyncRoles(role, own, others, waits, obeys), ROLES_HOLD)]


def _apart(synced: Synced | None, sync: ConnectionSync | None, peers: Iterable[Known]) -> list[str]:
    """Peers whose sync interface takes longer or shorter packets than ours. The relay's fit
    everywhere, and nothing is longer than `LONGEST_PACKET`."""
    if synced is None or sync is None or sync.transport is SyncTransport.AUTHENTICATED:
        return []
    told = []
    for known in peers:
        theirs = known.presence.sync_mtu if known.alive and known.presence else 0
        if are_apart(synced.mtu, theirs):
            told.append(
                f"connection sync: {sync.interface} has an MTU of {synced.mtu} here and of "
                f"{theirs} on {known.node.name}: longer records are lost on the way; set the same "
                "on both"
            )
    return told


def are_apart(here: int, there: int) -> bool:
    """Whether records pass in one direction only. 0: not known."""
    if not here or not there:
        return False
    return min(here, LONGEST_PACKET) != min(there, LONGEST_PACKET)


def role_of(states: dict[str, str]) -> SyncRole:
    """By the states of a node's routers; one without any serves alone."""
    masters = [state == RouterStateName.MASTER.value for state in states.values()]
    if all(masters):
        return SyncRole.MASTER
    return SyncRole.MIXED if any(masters) else SyncRole.BACKUP


def _mastered(config: Config, states: dict[str, str]) -> tuple[Address, ...]:
    """The virtual addresses of the instances that a node says it is master of."""
    master = RouterStateName.MASTER.value
    return tuple(
        virtual.address
        for instance in config.instances
        for family in instance.families()
        if states.get(f"{instance.name}/ipv{family}") == master
        for virtual in addresses_of(instance, family)
    )
