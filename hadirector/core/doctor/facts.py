"""What doctor knows of this host and its network, in plain values.

Facts come in groups, one for each outside thing that is asked. A group that could not be read is
named in `Facts.unknown` with the reason, and its fields are then empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint, Family


class Group(Enum):
    """The outside things; values are for people."""

    SYSCTLS = "kernel settings"
    NETWORK = "links, addresses and routes"
    IPVS = "the kernel's IPVS table"
    MODULES = "kernel modules"
    ARP = "answers to ARP"
    SERVERS = "answers of the real servers"
    ADVERTS = "VRRP on the wire"
    SYNC = "the way of sync records through this host"
    PROGRAMS = "programs of this host"
    MANAGERS = "systemd-networkd and NetworkManager"
    DAEMON = "the daemon's status"
    PEERS = "the peers' ports"
    CONNTRACK = "connection tracking"


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    name: str
    mac: str
    mtu: int
    up: bool
    kind: str = ""  # IFLA_INFO_KIND: macvlan, vlan, dummy ...; empty for hardware


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address this host has now."""

    interface: str
    address: Address
    prefix: int


@dataclass(frozen=True, slots=True)
class Path:
    """How a packet leaves for a destination. `source` is the address the kernel would give it."""

    interface: str
    gateway: Address | None
    source: Address | None
    mtu: int


@dataclass(frozen=True, slots=True)
class Modules:
    """Kernel modules by name, dashes as underscores: loaded or built in, and loadable."""

    loaded: frozenset[str] = frozenset()
    loadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ArpAnswer:
    """Somebody on the segment of `interface` said that `address` is at `mac`."""

    interface: str
    address: Address
    mac: str


class Manner(Enum):
    """How a server was asked for a connection."""

    PLAIN = "plain"  # from this host's address on the way there
    FAR = "far"  # from an address outside the server's own network, as clients come by NAT
    VIRTUAL = "virtual"  # for the virtual address, as direct routing and tunnels send it


class Answer(Enum):
    """What came back to a SYN."""

    OPEN = "open"
    REFUSED = "refused"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Question:
    """One SYN to send. `target` is the address and port it is for, `server` the machine it is
    brought to, `source` whom it comes from."""

    manner: Manner
    service: str
    server: Endpoint
    target: Endpoint
    source: Address
    tunnel: ipvs.TunnelType | None = None  # None: no tunnel
    tunnel_port: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its answer, and the interface and MAC by which that came; `mss` is the
    largest segment the server wants."""

    question: Question
    answer: Answer
    interface: str = ""
    mac: str = ""
    mss: int = 0


@dataclass(frozen=True, slots=True)
class AdvertSeen:
    """An advert on the wire of `interface`, going out or coming in. `reached`: it came through to
    a program of this host as well. `behind`: seconds by which the clock of a signed one is behind
    ours."""

    interface: str
    outgoing: bool
    source: Address
    mac: str
    vrid: int
    priority: int
    addresses: tuple[Address, ...] = ()
    reached: bool = False
    behind: float | None = None


class Passage(Enum):
    """What became of a datagram sent to this host itself by the way sync records take."""

    PASSED = "passed"
    LOST_IN = "lost on the way in"
    LOST_OUT = "refused on the way out"


@dataclass(frozen=True, slots=True)
class Program:
    """A process of this network namespace."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Managed:
    """An interface that systemd-networkd or NetworkManager looks after. `keeps`: addresses it did
    not put there itself are left alone; `file` is what says so or ought to."""

    manager: str
    interface: str
    keeps: bool
    file: str


@dataclass(frozen=True, slots=True)
class Managers:
    """`foreign_rules`, `foreign_routes`: a running networkd removes those of others."""

    managed: tuple[Managed, ...] = ()
    foreign_rules: bool = False
    foreign_routes: bool = False


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One of the daemon's processes. `locked` is None where it cannot be read."""

    name: str
    pid: int
    memory_limit: int | None = None  # bytes that may be locked; None: unlimited or unknown
    locked: bool | None = None
    realtime: bool | None = None


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """A peer as the peer channel knows it; `states` by `instance/ipv4`; `trouble`: why what comes
    from it is not believed; `sync_mtu` of its sync interface, 0: not known."""

    alive: bool
    states: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    sync_mtu: int = 0


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon of this host, as its status tells. `states` and `masters` by `instance/ipv4`;
    `unguarded`: what programs of this host can do to sealed connection records."""

    states: Mapping[str, str] = field(default_factory=dict)
    masters: Mapping[str, Address] = field(default_factory=dict)
    peers: Mapping[str, PeerFacts] = field(default_factory=dict)
    processes: tuple[ProcessFacts, ...] = ()
    unguarded: str = ""


class Port(Enum):
    """What came of a datagram to a peer's port."""

    CLOSED = "closed"
    SILENT = "silent"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Conntrack:
    """Tracked connections of this namespace, and the room for them."""

    count: int
    most: int


@dataclass(frozen=True, slots=True)
class OwnConnection:
    """An entry of the IPVS connection table whose client is this host."""

    client: Address
    virtual: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything."""

    unknown: Mapping[Group, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)  # absent: the kernel has none such
    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: tuple[LocalAddress, ...] = ()
    paths: Mapping[Address, Path | None] = field(default_factory=dict)  # None: no way there
    beyond: Mapping[Family, Path | None] = field(default_factory=dict)  # to anybody: default route
    table: ipvs.Table = field(default_factory=dict)
    own_connections: tuple[OwnConnection, ...] = ()
    modules: Modules = Modules()
    arp: tuple[ArpAnswer, ...] = ()
    asked: tuple[Asked, ...] = ()
    left_out: int = 0  # questions that were too many to be asked
    adverts: tuple[AdvertSeen, ...] = ()
    passage: Passage | None = None
    programs: tuple[Program, ...] = ()
    managers: Managers = Managers()
    daemon: Daemon | None = None  # None: none runs here
    ports: Mapping[str, Port] = field(default_factory=dict)  # by node; only those asked
    conntrack: Conntrack | None = None

    def local(self) -> frozenset[Address]:
        """The addresses this host has."""
        return frozenset(each.address for each in self.addresses)
