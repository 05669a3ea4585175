"""The kernel settings a director owns, each with its reason.

Order is part of the table: values are set from first to last and given back from last to first,
so that sync_threshold is "0 1" only while a refresh period damps it. With no refresh period that
threshold would send one sync record per packet.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hadirector.core.address import Family, family
from hadirector.core.ipvs import Forward, Protocol, Service, Timeouts
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.instances import VirtualAddress
from hadirector.core.settings.services import VirtualService

_SYNC_SOCKET_BYTES = 8 << 20  # took a burst of 140,000 connections a second without loss
_LONGEST_REFRESH = 10  # seconds
_KERNEL_TIMEOUTS = Timeouts(tcp=900, tcp_fin=120, udp=300)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One setting; `raise_only` leaves a greater value alone."""

    name: str
    value: str
    why: str
    raise_only: bool = False


def nat_families(services: Iterable[VirtualService]) -> frozenset[Family]:
    """The families in which real servers answer through this node. Direct routing and tunnels
    need no forwarding here: IPVS sends those packets out by itself."""
    servers = (
        server
        for service in services
        for server in (*service.real_servers, service.fallback)
        if server is not None and server.forward is Forward.NAT
    )
    return frozenset(family(server.endpoint.address) for server in servers)


def hashes_all(services: Iterable[VirtualService]) -> bool:
    """Whether each TCP service finds a client's server by its address alone (mh, sh)."""
    found = [one.scheduler in ("mh", "sh") for s in services for one in s.services if _has_tcp(one)]
    return bool(found) and all(found)


def _has_tcp(service: Service) -> bool:
    return service.key.protocol == Protocol.TCP or bool(service.key.fwmark)


@dataclass(frozen=True, slots=True)
class Tunable:
    """A setting of net.ipv4.vs: from `low` to `high`, and what another value than 0 does.
    `default` None leaves the operator's."""

    why: str
    default: str | None = None
    low: int = 0
    high: int = 1


TUNABLE = {
    "expire_nodest_conn": Tunable(
        "clients of a removed server get an error and reconnect, instead of a black hole", "1"
    ),
    "expire_quiescent_template": Tunable(
        "persistent clients leave a server of weight 0 with their next connection", "1"
    ),
    "conn_reuse_mode": Tunable(
        "a client port used again is scheduled afresh; 0 also switches expire_nodest_conn off",
        "1",
        high=3,
    ),
    "sloppy_tcp": Tunable(
        "a connection that this node never heard of goes on, to the server its client hashes to"
    ),
    "sloppy_sctp": Tunable("as sloppy_tcp, for SCTP"),
    "conntrack": Tunable("netfilter sees these connections, which costs something per packet"),
    "cache_bypass": Tunable("without a server, requests to a cache go to where they are addressed"),
    "drop_entry": Tunable(
        "gives up half-open connections when memory is short (1, 2) or now (3)", high=3
    ),
    "drop_packet": Tunable("drops packets when memory is short (1, 2) or now (3)", high=3),
    "secure_tcp": Tunable(
        "half-open connections end sooner under attack (1, 2) or now (3)", high=3
    ),
    "amemthresh": Tunable("pages that are called short of memory", high=2**31 - 1),
    "am_droprate": Tunable("one of so many packets is dropped by drop_packet 3", high=2**31 - 1),
    "ignore_tunneled": Tunable("packets that came out of a tunnel of IPVS are not scheduled again"),
    "nat_icmp_send": Tunable("says by ICMP that there is no connection, where NAT hears of none"),
    "pmtu_disc": Tunable("asks the way to a tunnel's end for its MTU"),
    "schedule_icmp": Tunable("ICMP errors of connections nobody knows are scheduled too"),
    "snat_reroute": Tunable("answers of NAT find their way by their new source address"),
    "run_estimation": Tunable("counts rates; 0 saves time where there are very many services"),
}
"""What `ipvs:` may set: net.ipv4.vs but for what connection sync needs (`for_sync`)."""


def for_director(
    nat: Collection[Family],
    heeding: Iterable[str] = (),
    chosen: Mapping[str, str | None] | None = None,
    hashing: bool = False,
) -> tuple[Sysctl, ...]:
    """What balancing needs; `nat` are the families that need forwarding, `heeding` the interfaces
    that heed IPv6 router advertisements as long as this node does not forward. `chosen` values of
    TUNABLE go before their defaults, None keeps the operator's; `hashing` as `hashes_all` says.
    """
    values = {name: tunable.default for name, tunable in TUNABLE.items()}
    if hashing:
        values["sloppy_tcp"] = "1"
    values |= chosen or {}
    settings = [
        Sysctl(f"net.ipv4.vs.{name}", value, TUNABLE[name].why)
        for name, value in values.items()
        if value is not None
    ]
    if 4 in nat:
        why = "NAT: real servers answer through this node"
        settings.append(Sysctl("net.ipv4.ip_forward", "1", why))
    if 6 in nat:
        why = "forwarding would make it deaf to router advertisements: its default route would end"
        settings += [Sysctl(accept_ra(interface), "2", why) for interface in heeding]
        why = "NAT over IPv6: real servers answer through this node"
        settings.append(Sysctl(FORWARDING, "1", why))
    return tuple(settings)


def for_checks(services: Iterable[VirtualService], checks: Iterable[Check]) -> tuple[Sysctl, ...]:
    """What probes need: the checker, which holds no capability, may ping where its group is let.

    The range is the one systemd sets by default; the setting serves IPv6 as well.
    """
    used = {name for service in services for name in service.check.checks}
    probing = [check for check in checks if check.name in used]
    settings = []
    if any(check.type is CheckType.PING for check in probing):
        why = "checks of type ping: echo requests without a capability"
        settings.append(Sysctl("net.ipv4.ping_group_range", "0 2147483647", why))
    if any(check.client is not None and family(check.client.address) == 4 for check in probing):
        why = "checks as a client: servers answer from the virtual address, which a master has too"
        settings.append(Sysctl("net.ipv4.conf.all.accept_local", "1", why))
    return tuple(settings)


FORWARDING = "net.ipv6.conf.all.forwarding"


def accept_ra(interface: str) -> str:
    """The setting's name."""
    return f"net.ipv6.conf.{interface}.accept_ra"


def for_addresses(virtual: Iterable[VirtualAddress]) -> tuple[Sysctl, ...]:
    """What interfaces need on which a virtual address may be the first of its net.

    The election sets it as well, for an address may go on before the director has had its turn;
    here it is recorded, so that it is given back also when both were killed meanwhile.
    """
    homes = {v.interface for v in virtual if family(v.address) == 4 and v.prefix < 32}
    why = "a virtual address that leaves does not take the other addresses of its net along"
    return tuple(
        Sysctl(f"net.ipv4.conf.{home.replace('.', '/')}.promote_secondaries", "1", why)
        for home in sorted(homes)
    )


def for_vmac(parents: Iterable[str]) -> tuple[Sysctl, ...]:
    """What the interfaces under virtual MACs need, so that only these speak for the addresses.

    An interface may be called eth0.100: sysctl(8) takes a slash for a dot within a name.
    """
    return tuple(
        Sysctl(f"net.ipv4.conf.{parent.replace('.', '/')}.{name}", value, why, raise_only=True)
        for parent in parents
        for name, value, why in (
            (
                "arp_ignore",
                "1",
                "an address on another interface is not answered for with this one's MAC",
            ),
            (
                "arp_announce",
                "2",
                "asking for a client's MAC never tells it that a virtual address is here",
            ),
        )
    )


def for_sync(timeouts: Timeouts) -> tuple[Sysctl, ...]:
    """What connection sync needs before its threads start; `timeouts` are those in force.

    The socket size is read when a thread starts, and capped by net.core.rmem_max, which exists
    only in the initial network namespace.
    """
    size = str(_SYNC_SOCKET_BYTES)
    return (
        Sysctl("net.core.rmem_max", size, "lets the sync socket have its buffer", raise_only=True),
        Sysctl(
            "net.ipv4.vs.sync_sock_size",
            size,
            "the default loses 80 % of a burst of records",
            raise_only=True,
        ),
        Sysctl("net.ipv4.vs.sync_version", "1", "0 knows neither IPv6 nor timeouts nor fwmarks"),
        Sysctl(
            "net.ipv4.vs.backup_only",
            "0",
            "both threads run on both nodes: 1 would switch IPVS off on the master as well",
        ),
        Sysctl(
            "net.ipv4.vs.sync_persist_mode",
            "0",
            "1 leaves the connections of persistent services out",
        ),
        Sysctl(
            "net.ipv4.vs.sync_refresh_period",
            str(refresh_period(timeouts)),
            "a slow connection is repeated before it expires on the standby",
        ),
        Sysctl("net.ipv4.vs.sync_retries", "1", "a lost record is made good by a second one"),
        Sysctl(
            "net.ipv4.vs.sync_threshold",
            "0 1",
            "each packet counts; the default waits for packet 3, then for every 50th",
        ),
    )


def refresh_period(timeouts: Timeouts) -> int:
    """Whole seconds: 10, but at most a third of the shortest timeout, and never 0."""
    shortest = min(
        timeouts.tcp or _KERNEL_TIMEOUTS.tcp,
        timeouts.tcp_fin or _KERNEL_TIMEOUTS.tcp_fin,
        timeouts.udp or _KERNEL_TIMEOUTS.udp,
    )
    return max(1, min(_LONGEST_REFRESH, shortest // 3))
