"""The kernel's IPVS table as people and programs are shown it.

One form for all readers: `hadirector ipvs --json` prints it, the control socket carries it, and
`core.ipvs_text` and `core.ipvsadm_rules` lay it out. Beside what the kernel knows it has the names
of the configuration.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hadirector.core.address import Address, Endpoint, packed
from hadirector.core.ipvs import (
    Counters,
    Destination,
    DestinationUse,
    Entry,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    SyncThread,
    Table,
    Timeouts,
    Usage,
)
from hadirector.core.settings.services import VirtualService

_NOTHING_COUNTED = Counters()
FOREIGN = "foreign"  # the name of a service that the configuration does not have
_FLAG_NAMES = (
    (ServiceFlags.SCHED1, "fallback", "flag-1"),
    (ServiceFlags.SCHED2, "port", "flag-2"),
    (ServiceFlags.SCHED3, "flag-3", "flag-3"),
)
_TUNNEL_FLAGS = ((1, "csum"), (2, "remcsum"))  # IP_VS_TUNNEL_ENCAP_FLAG_*


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """One destination. `name` is "fallback" for that of the configuration, else empty; `tunnel`
    is empty unless `forward` is tun; `active`, `inactive` and `persistent` count connections."""

    address: str
    port: int
    name: str = ""
    forward: Literal["nat", "local", "tun", "dr", "bypass"]
    tunnel: Literal["", "ipip", "gue", "gre"] = ""
    tunnel_port: int = 0
    tunnel_flags: tuple[str, ...] = ()
    weight: int
    upper_threshold: int = 0
    lower_threshold: int = 0
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    counters: Counters = _NOTHING_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One service. `protocol` fwmark has a mark instead of address and port. `name` is that of the
    configuration, FOREIGN when it has none, empty when the configuration is not known."""

    family: Literal[4, 6]
    protocol: Literal["tcp", "udp", "sctp", "fwmark"]
    address: str = ""
    port: int = 0
    fwmark: int = 0
    name: str = ""
    scheduler: str
    scheduler_flags: tuple[str, ...] = ()
    one_packet: bool = False
    persistence_timeout: int = 0  # seconds; 0: not persistent
    persistence_prefix: int
    persistence_engine: str = ""
    counters: Counters = _NOTHING_COUNTED
    servers: tuple[ServerView, ...] = ()

    @property
    def key(self) -> ServiceKey:
        """Its name in the kernel."""
        protocol = 0 if self.protocol == "fwmark" else Protocol[self.protocol.upper()]
        return ServiceKey(self.family, protocol, Address(self.address), self.port, self.fwmark)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonView:
    """A sync thread of the kernel."""

    role: Literal["master", "backup"]
    interface: str
    sync_id: int
    group: str = ""
    port: int = 0
    ttl: int = 0
    maxlen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvsView:
    """All of it; `size` is the number of buckets of the connection table. Services and servers
    come as the kernel told them; `in_order` sorts."""

    version: str
    size: int
    timeouts: Timeouts
    daemons: tuple[DaemonView, ...] = ()
    services: tuple[ServiceView, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """What the configuration calls a service, and the address of its fallback, if any."""

    name: str
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Of services by `str` of their keys; `known` is false where no configuration was read."""

    services: Mapping[str, Called] = field(default_factory=dict)
    known: bool = False


def names(services: Iterable[VirtualService]) -> Names:
    """The names that a configuration has."""
    called = {str(key): _called(service) for service in services for key in service.keys}
    return Names(called, known=True)


def _called(service: VirtualService) -> Called:
    spare = service.fallback
    return Called(service.name, "" if spare is None else str(spare.endpoint))


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is beside the table: version, buckets, timeouts, threads."""

    version: str
    size: int
    timeouts: Timeouts
    threads: Sequence[SyncThread]


def build(table: Table, usage: Usage, facts: Facts, called: Names) -> IpvsView:
    """The view of a table that was read."""
    return IpvsView(
        version=facts.version,
        size=facts.size,
        timeouts=facts.timeouts,
        daemons=tuple(map(_daemon, facts.threads)),
        services=tuple(_service(entry, usage, called) for entry in table.values()),
    )


def _service(entry: Entry, usage: Usage, called: Names) -> ServiceView:
    service, key = entry.service, entry.service.key
    name = called.services.get(str(key), Called(FOREIGN if called.known else ""))
    return ServiceView(
        family=key.family,
        protocol=_protocol(key),
        address=key.address,
        port=key.port,
        fwmark=key.fwmark,
        name=name.name,
        scheduler=service.scheduler,
        scheduler_flags=_scheduler_flags(service),
        one_packet=ServiceFlags.ONE_PACKET in service.flags,
        persistence_timeout=service.timeout if ServiceFlags.PERSISTENT in service.flags else 0,
        persistence_prefix=service.netmask,
        persistence_engine=service.pe_name,
        counters=usage.services.get(key, Counters()),
        servers=tuple(
            _server(one, usage.destinations.get((key, one.endpoint), DestinationUse()), name)
            for one in entry.destinations.values()
        ),
    )


def _protocol(key: ServiceKey) -> Literal["tcp", "udp", "sctp", "fwmark"]:
    if key.fwmark:
        return "fwmark"
    match Protocol(key.protocol):
        case Protocol.TCP:
            return "tcp"
        case Protocol.UDP:
            return "udp"
        case Protocol.SCTP:
            return "sctp"


def _scheduler_flags(service: Service) -> tuple[str, ...]:
    """As ipvsadm writes them: sh-fallback, mh-port; flag-1 of a scheduler that has no names."""
    hashing = service.scheduler in ("sh", "mh")
    return tuple(
        f"{service.scheduler}-{named}" if hashing and named != plain else plain
        for flag, named, plain in _FLAG_NAMES
        if flag in service.flags
    )


_FORWARDS: tuple[Literal["nat", "local", "tun", "dr", "bypass"], ...] = (
    *("nat", "local", "tun", "dr", "bypass"),
)
_TUNNELS: tuple[Literal["ipip", "gue", "gre"], ...] = ("ipip", "gue", "gre")


def _server(destination: Destination, use: DestinationUse, name: Called) -> ServerView:
    forward = _FORWARDS[destination.forward]
    return ServerView(
        address=destination.endpoint.address,
        port=destination.endpoint.port,
        name="fallback" if name.fallback == str(destination.endpoint) else "",
        forward=forward,
        tunnel=_TUNNELS[destination.tunnel] if forward == "tun" else "",
        tunnel_port=destination.tunnel_port,
        tunnel_flags=tuple(word for bit, word in _TUNNEL_FLAGS if destination.tunnel_flags & bit),
        weight=destination.weight,
        upper_threshold=destination.upper_threshold,
        lower_threshold=destination.lower_threshold,
        active=use.active,
        inactive=use.inactive,
        persistent=use.persistent,
        counters=use.counters,
    )


def _daemon(thread: SyncThread) -> DaemonView:
    return DaemonView(
        role="master" if thread.role.name == "MASTER" else "backup",
        interface=thread.interface,
        sync_id=thread.sync_id,
        group=thread.group or "",
        port=thread.port,
        ttl=thread.ttl,
        maxlen=thread.maxlen,
    )


# --- Order and choice ----------------------------------------------------------------------

Order = Literal["address", "none", "weight", "active", "connections", "packets", "bytes"]
ORDERS: tuple[Order, ...] = (
    *("address", "none", "weight", "active", "connections", "packets", "bytes"),
)


def in_order(view: Sequence[ServiceView], order: Order) -> list[ServiceView]:
    """Sorted as ipvsadm does by default (address), as the kernel has them (none), or the greatest
    first: services by the sum of their servers, servers within each service."""
    if order == "none":
        return list(view)
    services = sorted(view, key=_place)
    if order == "address":
        return [
            replace(one, servers=tuple(sorted(one.servers, key=_server_place))) for one in services
        ]
    services.sort(key=lambda one: -sum(_amount(server, order) for server in one.servers))
    return [
        replace(
            one,
            servers=tuple(
                sorted(one.servers, key=lambda s: (-_amount(s, order), *_server_place(s)))
            ),
        )
        for one in services
    ]


def _place(service: ServiceView) -> tuple[int, int, int, bytes, int]:
    """Marks last, then family, protocol, address and port."""
    address = packed(Address(service.address)) if service.address else b""
    return (service.fwmark, service.family, service.key.protocol, address, service.port)


def _server_place(server: ServerView) -> tuple[int, bytes, int]:
    raw = packed(Address(server.address))
    return (len(raw), raw, server.port)


def _amount(server: ServerView, order: Order) -> int:
    counters = server.counters
    match order:
        case "weight":
            return server.weight
        case "active":
            return server.active
        case "connections":
            return counters.connections
        case "packets":
            return counters.packets_in + counters.packets_out
        case "bytes":
            return counters.bytes_in + counters.bytes_out
        case _:
            return 0


def chosen(services: Iterable[tuple[ServiceKey, str]], wanted: str) -> tuple[ServiceKey, ...]:
    """The services a person means, of pairs of key and name: by the name in the configuration, by
    address and port (`192.0.2.10:80`, all protocols; `udp 192.0.2.10:53`, `udp/192.0.2.10:53`),
    by address alone, or by mark (`fwmark 7`, `7`)."""
    text = " ".join(wanted.replace("/", " ").split()).lower()
    return tuple(key for key, name in services if wanted == name or text in _spellings(key))


def _spellings(key: ServiceKey) -> tuple[str, ...]:
    if key.fwmark:
        return (str(key), f"fwmark {key.fwmark}", str(key.fwmark))
    return (str(key), str(Endpoint(key.address, key.port)), key.address)
