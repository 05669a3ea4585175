"""What trace sees, and the scene it sees it in."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import Forward, TunnelType

TCP, UDP, SCTP = 6, 17, 132


@dataclass(frozen=True, slots=True)
class Outer:
    """The tunnel a packet was in; `port` is where GUE goes to."""

    kind: TunnelType
    source: Address
    target: Address
    port: int = 0


class Trouble(Enum):
    """ICMP errors, in words (RFC 792, RFC 4443)."""

    PORT = "port unreachable"
    PROTOCOL = "protocol unreachable"
    HOST = "host unreachable"
    NET = "network unreachable"
    PROHIBITED = "administratively prohibited"
    TOO_BIG = "fragmentation needed"
    TTL = "TTL exceeded"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Icmp:
    """An error about a packet: who says it, to whom; `mtu` with TOO_BIG."""

    trouble: Trouble
    sender: Address
    receiver: Address
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet on the wire of `interface`, out of this host or into it. `at` is seconds since the
    beginning. `flags` are TCP's as tcpdump has them (S, SA, A, PA, F, R); `size` is payload bytes.

    With `icmp`, source and target are those of the packet the error is about. `outer`: what it was
    wrapped in.
    """

    at: float
    interface: str
    outgoing: bool
    protocol: int
    source: Endpoint
    target: Endpoint
    flags: str = ""
    size: int = 0
    sequence: int = 0
    mac_to: str = ""
    outer: Outer | None = None
    icmp: Icmp | None = None

    @property
    def opens(self) -> bool:
        """It begins a connection; a datagram always may."""
        return self.protocol != TCP or ("S" in self.flags and "A" not in self.flags)


@dataclass(frozen=True, slots=True)
class ArpSeen:
    """An ARP packet: a request for `asked` by `sender`, or the answer that it is at `mac`."""

    at: float
    interface: str
    outgoing: bool
    answer: bool
    asked: Address
    sender: Address
    mac: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A server of a service, and its MAC where it is on a segment of ours."""

    endpoint: Endpoint
    forward: Forward
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A service: its addresses (port 0: every port) and servers (port 0: the one asked for)."""

    name: str
    protocol: int
    virtual: tuple[Endpoint, ...]
    servers: tuple[Spot, ...]

    def takes(self, packet: Seen) -> bool:
        """Whether a client's packet is for it."""
        return self.protocol in (0, packet.protocol) and any(
            v.address == packet.target.address and v.port in (0, packet.target.port)
            for v in self.virtual
        )

    def server_at(self, endpoint: Endpoint) -> Spot | None:
        """The NAT server with this address and port."""
        return next(
            (
                s
                for s in self.servers
                if s.forward is Forward.NAT
                and s.endpoint.address == endpoint.address
                and s.endpoint.port in (0, endpoint.port)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """Whom to follow through what."""

    client: Address
    stages: tuple[Stage, ...]
