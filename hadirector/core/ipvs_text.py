"""The IPVS table in ipvsadm's layout.

With `Style.ipvsadm` each line is what `ipvsadm -L -n` of version 1.31 writes, byte for byte
(compared with the real tool in tests/kernel). Else columns are as wide as the longest address
needs, and names of the configuration stand behind a `#`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Address, packed
from hadirector.core.ipvs import Counters, Timeouts
from hadirector.core.ipvs_view import DaemonView, IpvsView, ServerView, ServiceView


class View(Enum):
    """What is shown of each server; the value is ipvsadm's option."""

    TABLE = ""
    STATS = "stats"
    RATE = "rate"
    THRESHOLDS = "thresholds"
    PERSISTENT = "persistent-conn"
    TUNNELS = "tun-info"


@dataclass(frozen=True, slots=True)
class Style:
    """`exact`: numbers in full instead of K, M, G and T."""

    exact: bool = False
    ipvsadm: bool = False


_SERVER_WIDTH = 28  # ipvsadm's column of a server's address
_SERVICE_WIDTH = 33  # and of a service's, where counters follow
_FORWARDS = {"nat": "Masq", "local": "Local", "tun": "Tunnel", "dr": "Route", "bypass": "Bypass"}
_TITLES = {
    View.STATS: ("Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"),
    View.RATE: ("CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"),
}


def heading(view: IpvsView) -> str:
    """The first line of a whole table."""
    return f"IP Virtual Server version {view.version} (size={view.size})"


def timeouts(found: Timeouts) -> str:
    """`ipvsadm -L --timeout`."""
    return f"Timeout (tcp tcpfin udp): {found.tcp} {found.tcp_fin} {found.udp}"


def daemon(found: DaemonView, style: Style) -> str:
    """A line of `ipvsadm -L --daemon`."""
    told = [f"mcast={found.interface}", f"syncid={found.sync_id}"]
    if found.maxlen:
        told.append(f"maxlen={found.maxlen}")
    if found.group:
        told.append(f"group={found.group}")
    if found.port:
        told.append(f"port={found.port}")
    if found.ttl:
        told.append(f"ttl={found.ttl}")
    return f"{found.role} sync daemon ({', '.join(told)})"


def lines(services: Sequence[ServiceView], view: View, style: Style) -> Iterator[str]:
    """Titles and services with their servers, in the order given."""
    width = _SERVER_WIDTH
    if not style.ipvsadm:
        shown = (_endpoint(s.address, s.port) for one in services for s in one.servers)
        width = max((width, *map(len, shown)))
    yield from _titles(view, width)
    for service in services:
        yield _service(service, view, style, width) + _named(service.name, style)
        for server in service.servers:
            name = f"{_endpoint(server.address, server.port):<{width}}"
            yield f"  -> {name} {_server(server, view, style)}" + _named(server.name, style)


def _named(name: str, style: Style) -> str:
    return f"  # {name}" if name and not style.ipvsadm else ""


def _titles(view: View, width: int) -> Iterator[str]:
    wider = width - _SERVER_WIDTH
    first = f"{'Prot LocalAddress:Port':<{_SERVICE_WIDTH + wider}}"
    second = "  -> RemoteAddress:Port"
    match view:
        case View.STATS | View.RATE:
            yield f"{first} " + " ".join(f"{title:>8}" for title in _TITLES[view])
            yield second
        case View.THRESHOLDS:
            yield f"{first} Uthreshold Lthreshold ActiveConn InActConn "
            yield second
        case View.PERSISTENT:
            yield f"{first} Weight    PersistConn ActiveConn InActConn "
            yield second
        case View.TUNNELS:
            yield "Prot LocalAddress:Port Scheduler Flags"
            yield f"{second:<{width + 6}}Forward TunnelInfo    Weight ActiveConn InActConn"
        case View.TABLE:
            yield "Prot LocalAddress:Port Scheduler Flags"
            yield f"{second:<{width + 6}}Forward Weight ActiveConn InActConn"


def _service(service: ServiceView, view: View, style: Style, width: int) -> str:
    if service.protocol == "fwmark":
        name = f"FWM  {service.fwmark}" + (" IPv6" if service.family == 6 else "")
    else:
        name = f"{service.protocol.upper():<4} {_endpoint(service.address, service.port)}"
    if view in _TITLES:
        name = f"{name:<{_SERVICE_WIDTH + width - _SERVER_WIDTH}}"
        return name + _numbers(service.counters, view, style)
    words = [name, service.scheduler]
    if flags := [flag for flag in service.scheduler_flags if _is_shown(flag, service)]:
        words.append(f"({','.join(flags)})")
    if service.persistence_timeout:
        words.append(f"persistent {service.persistence_timeout}")
        words += [f"mask {mask}"] if (mask := mask_of(service)) else []
    if service.persistence_engine:
        words.append(f"pe {service.persistence_engine}")
    if service.one_packet:
        words.append("ops")
    return " ".join(words)


def _is_shown(flag: str, service: ServiceView) -> bool:
    """ipvsadm knows the third flag of no scheduler that has names for the others."""
    return flag != "flag-3" or service.scheduler not in ("sh", "mh")


def mask_of(service: ServiceView) -> str:
    """The persistence mask as ipvsadm writes it; empty where each client is by itself."""
    prefix = service.persistence_prefix
    if service.family == 6:
        return "" if prefix == 128 else str(prefix)
    if prefix == 32:
        return ""
    bits = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
    return ".".join(str(bits >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _server(server: ServerView, view: View, style: Style) -> str:
    connections = f"{server.active:<10} {server.inactive:<10}"
    match view:
        case View.STATS | View.RATE:
            return _numbers(server.counters, view, style)[1:]
        case View.THRESHOLDS:
            limits = f"{server.upper_threshold:<10} {server.lower_threshold:<10}"
            return f"{limits} {connections}"
        case View.PERSISTENT:
            return f"{server.weight:<9} {server.persistent:<11} {connections}"
        case View.TUNNELS:
            forward = _FORWARDS[server.forward]
            return f"{forward:<7} {_tunnel(server):<13} {server.weight:<6} {connections}"
        case View.TABLE:
            return f"{_FORWARDS[server.forward]:<7} {server.weight:<6} {connections}"


def _tunnel(server: ServerView) -> str:
    """gue:6080:+c, gre:-c, ipip; n/a where nothing is wrapped."""
    if "remcsum" in server.tunnel_flags:
        sums = "r+c"
    else:
        sums = "+c" if "csum" in server.tunnel_flags else "-c"
    match server.tunnel:
        case "gue":
            return f"gue:{server.tunnel_port}:{sums}"
        case "gre":
            return f"gre:{sums}"
    return server.tunnel or "n/a"


def _numbers(counters: Counters, view: View, style: Style) -> str:
    """Five numbers, each with the space before it."""
    if view is View.STATS:
        numbers = (
            *(counters.connections, counters.packets_in, counters.packets_out),
            *(counters.bytes_in, counters.bytes_out),
        )
    else:
        numbers = (
            *(counters.connections_per_second, counters.packets_in_per_second),
            *(counters.packets_out_per_second, counters.bytes_in_per_second),
            counters.bytes_out_per_second,
        )
    return "".join(_number(each, style) for each in numbers)


# The number from which on a unit is used, and the unit.
_UNITS = ((10**14, "T", 10**12), (10**11, "G", 10**9), (10**9, "M", 10**6), (10**8, "K", 10**3))


def _number(value: int, style: Style) -> str:
    if style.exact:
        return f" {value:>8}"
    for least, unit, size in _UNITS:
        if value >= least:
            return f"{value // size:>8}{unit}"
    return f"{value:>9}"


def endpoint(address: str, port: int) -> str:
    """An address as inet_ntop(3) writes it, and its port."""
    return _endpoint(address, port)


def _endpoint(address: str, port: int) -> str:
    return f"[{_ntop(address)}]:{port}" if ":" in address else f"{address}:{port}"


def _ntop(address: str) -> str:
    """inet_ntop writes the last 32 bits of ::a.b.c.d and ::ffff:a.b.c.d as IPv4."""
    if not address.startswith("::") or len(address) < 5:
        return address
    raw = packed(Address(address))
    if raw[:10] != bytes(10) or raw[10:12] not in (b"\0\0", b"\xff\xff"):
        return address
    if raw[10:12] == b"\0\0" and raw[12:14] == b"\0\0":
        return address
    middle = "ffff:" if raw[10] else ""
    return f"::{middle}{'.'.join(map(str, raw[12:]))}"
