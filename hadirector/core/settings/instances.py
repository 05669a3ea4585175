"""VRRP instances: what this node takes part in, resolved for this node."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Address, Family


class Preempt(Enum):
    """Whether a higher-priority backup takes the place of a healthy lower-priority master.

    never: the master advertises 254 unless degraded. when-synced: like always once READY.
    """

    ALWAYS = "always"
    NEVER = "never"
    WHEN_SYNCED = "when-synced"


class Checksum(Enum):
    """VRRPv3 over IPv4: the pseudo-header is RFC 5798's and keepalived's habit, plain RFC 9568's.

    auto: send with pseudo-header, accept both.
    """

    AUTO = "auto"
    PSEUDO_HEADER = "pseudo-header"
    PLAIN = "plain"


class AuthenticationKind(Enum):
    """pass: VRRPv2's 8 clear characters; hmac: keepalived 2.4's auth_hmac trailer."""

    NONE = "none"
    PASS = "pass"
    HMAC = "hmac"


class Signing(Enum):
    """keepalived's modes of auth_hmac. enforce: unsigned adverts are refused. permissive: they are
    taken, and signed ones are sent. receive-only: none is signed, and signed ones are verified."""

    ENFORCE = "enforce"
    PERMISSIVE = "permissive"
    RECEIVE_ONLY = "receive-only"


@dataclass(frozen=True, slots=True)
class Authentication:
    """How adverts are authenticated; `file` holds the password of PASS or the keys of HMAC, which
    `signing` is for."""

    kind: AuthenticationKind = AuthenticationKind.NONE
    file: str | None = None
    signing: Signing = Signing.ENFORCE


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """An address taken over by the master, with the prefix and the interface it goes on."""

    address: Address
    prefix: int
    interface: str


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracked thing by name (interface, script, process, service). weight None: its failure is
    a fault; else the (mostly negative) delta on the priority while it fails."""

    name: str
    weight: int | None


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """The number in the file times `factor` is added to the priority."""

    path: str
    factor: int


@dataclass(frozen=True, slots=True)
class Unicast:
    """Adverts go from `source` to each of `peers` instead of to the group."""

    source: Address
    peers: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class VirtualRoute:
    """A route the master holds; `to` and `source` as ip-route(8) has them. `table` None: that of
    the VRF its interface is in, else main."""

    to: str
    via: Address | None
    interface: str | None
    source: Address | None
    table: int | None
    metric: int | None
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class VirtualRule:
    """A policy rule the master holds; `from_` and `to` are prefixes."""

    from_: str | None
    to: str | None
    table: int
    priority: int | None


@dataclass(frozen=True, slots=True)
class Garp:
    """Gratuitous ARP (IPv6: unsolicited NA): `repeat` at once, `repeat` again after `delay`
    seconds, one each `refresh` seconds (0: none)."""

    repeat: int = 5
    delay: float = 5.0
    refresh: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One VRRP instance as this node runs it. Durations are seconds.

    Its IPv4 and IPv6 addresses are two virtual routers (RFC 9568), coupled like a sync group
    unless `couple` is false. `startup_delay` None is auto. `peer_priorities` are the priorities
    configured for the other nodes: a master advertising less than its own is degraded.
    """

    name: str
    interface: str
    virtual_router_id: int
    priority: int
    version: int
    advert_int: float
    virtual_addresses: tuple[VirtualAddress, ...]
    excluded_addresses: tuple[VirtualAddress, ...] = ()
    couple: bool = True
    preempt: Preempt = Preempt.WHEN_SYNCED
    preempt_delay: float = 0.0
    sync_wait: float = 120.0
    startup_delay: float | None = None
    unicast: Unicast | None = None
    track_interfaces: tuple[Tracked, ...] = ()
    track_scripts: tuple[Tracked, ...] = ()
    track_files: tuple[TrackedFile, ...] = ()
    track_processes: tuple[Tracked, ...] = ()
    track_services: tuple[Tracked, ...] = ()
    virtual_routes: tuple[VirtualRoute, ...] = ()
    virtual_rules: tuple[VirtualRule, ...] = ()
    garp: Garp = Garp()
    vmac: bool = False
    accept: bool = True
    authentication: Authentication = Authentication()
    checksum: Checksum = Checksum.AUTO
    peer_priorities: tuple[int, ...] = ()

    def families(self) -> tuple[Family, ...]:
        """The families it has addresses of: one virtual router each."""
        found: set[Family] = {
            6 if ":" in v.address else 4 for v in self.virtual_addresses + self.excluded_addresses
        }
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """Instances that move together."""

    name: str
    instances: tuple[str, ...]
