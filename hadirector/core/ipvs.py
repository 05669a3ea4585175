"""What IPVS knows, in ipvsadm's words: services, destinations, sync threads, timeouts.

These values are both the desired state and what is read back from the kernel, so that
`core.plan` compares like with like. Sources: include/uapi/linux/ip_vs.h, ipvsadm(8).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum

from hadirector.core.address import Address, Endpoint, Family

HEAVIEST = 65535  # as keepalived; beyond it the weighted schedulers' sums overflow


class Protocol(IntEnum):
    """IP protocol numbers IPVS balances; a fwmark service has none."""

    TCP = 6
    UDP = 17
    SCTP = 132


class Forward(IntEnum):
    """Forwarding methods, numbered as IP_VS_CONN_F_FWD_MASK has them."""

    NAT = 0
    LOCAL = 1
    TUN = 2
    DR = 3
    BYPASS = 4


class TunnelType(IntEnum):
    """IP_VS_CONN_F_TUNNEL_TYPE_*."""

    IPIP = 0
    GUE = 1
    GRE = 2


class ServiceFlags(Flag):
    """IP_VS_SVC_F_*, without HASHED, which is the kernel's own."""

    NONE = 0
    PERSISTENT = 0x1
    ONE_PACKET = 0x4
    SCHED1 = 0x8  # sh-fallback, mh-fallback
    SCHED2 = 0x10  # sh-port, mh-port
    SCHED3 = 0x20


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """What names a service in the kernel: protocol, address and port; or a fwmark.

    `fwmark` 0 means an addressed service; else protocol is 0, address "" and port 0.
    """

    family: Family
    protocol: int
    address: Address
    port: int
    fwmark: int = 0

    def __str__(self) -> str:
        if self.fwmark:
            return f"fwmark {self.fwmark}" + (" ipv6" if self.family == 6 else "")
        return f"{Protocol(self.protocol).name.lower()} {Endpoint(self.address, self.port)}"


@dataclass(frozen=True, slots=True)
class Service:
    """How a service schedules. `netmask` is a prefix length (32 or 128: each client by itself)."""

    key: ServiceKey
    scheduler: str
    flags: ServiceFlags = ServiceFlags.NONE
    timeout: int = 0  # seconds of persistence; 0 unless PERSISTENT
    netmask: int = 32
    pe_name: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """One real server in one service; `endpoint` is its key within the service."""

    endpoint: Endpoint
    forward: Forward
    weight: int
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel: TunnelType = TunnelType.IPIP
    tunnel_port: int = 0
    tunnel_flags: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals and rates (per second) of a service or destination: IPVS_STATS_ATTR_*."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections_per_second: int = 0
    packets_in_per_second: int = 0
    packets_out_per_second: int = 0
    bytes_in_per_second: int = 0
    bytes_out_per_second: int = 0


@dataclass(frozen=True, slots=True)
class DestinationUse:
    """What the kernel counts of a destination: connections now, and totals."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0
    counters: Counters = Counters()


@dataclass(frozen=True, slots=True)
class Entry:
    """A service with its destinations by endpoint, in the order they are to be or were found."""

    service: Service
    destinations: Mapping[Endpoint, Destination] = field(default_factory=dict)


Table = Mapping[ServiceKey, Entry]
"""The whole of IPVS, desired or actual."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters read with a table: per service, and per (service, destination).

    A destination of which the kernel counts nothing may be missing.
    """

    services: Mapping[ServiceKey, Counters] = field(default_factory=dict)
    destinations: Mapping[tuple[ServiceKey, Endpoint], DestinationUse] = field(default_factory=dict)


class SyncRole(IntEnum):
    """IP_VS_STATE_*: which sync thread."""

    MASTER = 1
    BACKUP = 2


@dataclass(frozen=True, slots=True)
class SyncThread:
    """One kernel sync thread (GET_DAEMON). maxlen, port and ttl 0: the kernel's choice."""

    role: SyncRole
    interface: str
    sync_id: int
    group: Address | None = None
    port: int = 0
    ttl: int = 0
    maxlen: int = 0

    def satisfied_by(self, running: "SyncThread") -> bool:
        """Whether a thread that runs is the one wanted, whatever was left to the kernel."""
        return (self.role, self.interface, self.sync_id) == (
            running.role,
            running.interface,
            running.sync_id,
        ) and all(
            wanted in (None, 0, found)
            for wanted, found in (
                (self.group, running.group),
                (self.port, running.port),
                (self.ttl, running.ttl),
                (self.maxlen, running.maxlen),
            )
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Whole seconds, as `ipvsadm --set` takes them; 0 leaves the kernel's value."""

    tcp: int = 0
    tcp_fin: int = 0
    udp: int = 0


class Scheduler(Enum):
    """The schedulers the kernel has had up to 6.18; which are loaded, the kernel tells."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    LBLC = "lblc"
    LBLCR = "lblcr"
    DH = "dh"
    SH = "sh"
    SED = "sed"
    NQ = "nq"
    FO = "fo"
    OVF = "ovf"
    MH = "mh"
    TWOS = "twos"
