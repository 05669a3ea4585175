"""The whole configuration as one node runs it."""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import Timeouts
from hadirector.core.settings.checks import Check
from hadirector.core.settings.instances import Instance, SyncGroup
from hadirector.core.settings.services import VirtualService


@dataclass(frozen=True, slots=True)
class Node:
    """A director. `address` is where its peers reach it."""

    name: str
    priority: int
    address: Address | None


class LeaseMode(Enum):
    """auto: the peers' master-down interval, rounded up, at least 2 s; seconds: as written."""

    AUTO = "auto"
    OFF = "off"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class VipLease:
    """How VIPs of a dead node end by the kernel's own hand (valid_lft)."""

    mode: LeaseMode = LeaseMode.AUTO
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Api:
    """The control socket's path, and where read-only HTTP listens (None: nowhere)."""

    socket: str
    http: Endpoint | None


@dataclass(frozen=True, slots=True)
class Script:
    """A tracked script: argv, no shell."""

    name: str
    command: tuple[str, ...]
    interval: float
    timeout: float
    rise: int
    fall: int


@dataclass(frozen=True, slots=True)
class Hook:
    """A command run on events: argv, no shell, ordered, awaited up to `timeout` seconds."""

    events: tuple[str, ...]
    command: tuple[str, ...]
    timeout: float


class SyncTransport(Enum):
    """kernel: the kernels talk to each other; authenticated: the daemons relay, sealed."""

    KERNEL = "kernel"
    AUTHENTICATED = "authenticated"


class ResyncPolicy(Enum):
    """When the whole table is sent to a standby."""

    ON_JOIN = "on-join"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSync:
    """Connection sync between the directors. `unicast`: where each node speaks and listens, by its
    name; empty: they speak to the group."""

    interface: str
    sync_id: int
    group: Address
    port: int
    transport: SyncTransport
    resync: ResyncPolicy
    unicast: dict[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one node runs. `digest` is the same on every node that read the same text."""

    path: str  # the file given, absolute
    digest: str
    node: str
    cluster: str
    state_dir: str
    runtime_dir: str
    nodes: tuple[Node, ...]
    peer_port: int
    key_file: str | None
    vip_lease: VipLease
    api: Api
    instances: tuple[Instance, ...]
    sync_groups: tuple[SyncGroup, ...]
    scripts: tuple[Script, ...]
    hooks: tuple[Hook, ...]
    connection_sync: ConnectionSync | None
    timeouts: Timeouts
    checks: tuple[Check, ...]
    services: tuple[VirtualService, ...]
    ipvs: tuple[tuple[str, str | None], ...] = ()
    """Settings of net.ipv4.vs by name; None: the operator's is kept (core/sysctls)."""
    linger: float = 60.0
    """Seconds that what leaves the configuration may wait for its connections to end."""

    @property
    def peers(self) -> tuple[Node, ...]:
        """The other nodes."""
        return tuple(node for node in self.nodes if node.name != self.node)
