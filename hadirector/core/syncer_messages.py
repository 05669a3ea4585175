"""What the director and the syncer tell each other (core/messages says how)."""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.relay_messages import RelayState
from hadirector.core.settings.cluster import ConnectionSync, Node


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What the syncer runs, whole each time. `sync` None: nothing. `keyed`: there is a key_file,
    and nothing is said to peers while `keys` is empty."""

    cluster: str
    node: str
    sync: ConnectionSync | None
    nodes: tuple[Node, ...]
    peer_port: int
    keyed: bool
    keys: tuple[Key, ...] = ()


class SyncRole(Enum):
    """Of a node: of all instances master, of some, or of none."""

    MASTER = "master"
    MIXED = "mixed"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class SyncPeer:
    """Another node as its presence has it; `masters`: the virtual addresses that are its now.
    `hidden`: it was heard before, or what comes from its address is not believed."""

    node: str
    alive: bool
    masters: tuple[Address, ...]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class SyncRoles:
    """Who is master of what; `masters` are this node's addresses. `waits`: what the services that
    connections are bound to still wait for, until they are in the kernel. `obeys` are the masters
    whose adverts this node's routers hear."""

    role: SyncRole
    masters: tuple[Address, ...]
    peers: tuple[SyncPeer, ...]
    waits: str = ""
    obeys: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Resync:
    """An operator wants the whole table compared and sent, now. The same token counts once."""

    token: str


class Measure(Enum):
    """Whether completeness comes from both whole tables, or from what was seen of them."""

    EXACT = "exact"
    ESTIMATED = "estimated"


class Source(Enum):
    """Where a node knows its connections from."""

    TABLE = "table"  # /proc/net/ip_vs_conn, read whole
    STREAM = "stream"  # the kernel's sync stream, mirrored


@dataclass(frozen=True, slots=True)
class Standby:
    """How complete a standby is, by the last comparison of its master with it. Instants are
    CLOCK_BOOTTIME; `missing` are connections older than 5 s that the standby does not have, `lost`
    the datagrams its kernel has dropped, `sent` the connections sent to it so far."""

    node: str
    ready: bool
    reason: str
    total: int = 0
    missing: int = 0
    measure: Measure = Measure.ESTIMATED
    compared_at: float | None = None
    equal_at: float | None = None
    lost: int = 0
    sent: int = 0
    rounds: int = 0
    resync_at: float | None = None  # when most of the table was last sent to it

    @property
    def completeness(self) -> float | None:
        """Percent; None before the first comparison."""
        if self.compared_at is None:
            return None
        if self.missing > self.total:  # the table grew between counting and listing
            return 0.0
        return 100.0 * (self.total - self.missing) / self.total if self.total else 100.0


@dataclass(frozen=True, slots=True)
class Synced:
    """The syncer's account of itself.

    `ready`: this node holds what its masters hold, or there is nobody to hold anything from.
    `own` is this node as its masters judged it, `standbys` those it is master for. `source` tells
    where the table is known from, `known` how many connections are; `unseen` how many more the
    kernel counts, `kept_out` those that no resync can keep (changed sequence numbers). `refused`
    counts datagrams of the stream by their flaw, `overrun` those that came faster than they were
    read, which makes the mirror incomplete, not the kernel. `mtu`: of the sync interface; 0:
    it is not there. `relay`: of `transport: authenticated`.
    """

    ready: bool
    reason: str
    source: Source = Source.TABLE
    known: int = 0
    unseen: int = 0
    kept_out: int = 0
    own: tuple[Standby, ...] = ()
    standbys: tuple[Standby, ...] = ()
    refused: dict[str, int] = field(default_factory=dict)
    trouble: str = ""
    overrun: int = 0
    mtu: int = 0
    relay: RelayState | None = None


@dataclass(frozen=True, slots=True)
class SyncNews:
    """Something for the journal."""

    kind: str
    subject: str
    reason: str
