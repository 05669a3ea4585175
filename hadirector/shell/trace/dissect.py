"""scapy's packets -> what core.trace knows of packets."""

import struct
from typing import Any

from scapy.error import Scapy_Exception
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import ARP, GRE, Ether

from hadirector.core.address import Endpoint, canonical
from hadirector.core.ipvs import TunnelType
from hadirector.core.trace.packets import TCP as TCP_NUMBER
from hadirector.core.trace.packets import ArpSeen, Icmp, Outer, Seen, Trouble

_UNREACHABLE, _TIME_EXCEEDED = 3, 11
_CODES = {  # RFC 792, RFC 1812
    0: Trouble.NET,
    1: Trouble.HOST,
    2: Trouble.PROTOCOL,
    3: Trouble.PORT,
    4: Trouble.TOO_BIG,
    9: Trouble.PROHIBITED,
    10: Trouble.PROHIBITED,
    13: Trouble.PROHIBITED,
}
_CODES6 = {0: Trouble.NET, 1: Trouble.PROHIBITED, 3: Trouble.HOST, 4: Trouble.PORT}  # RFC 4443
_ERRORS6 = (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded)
_GUE_HEADER = 4
_MOST_OPTIONS = b"\x1f"  # beyond it are the bits of version and control
# What scapy raises of headers cut short, and what follows from fields it left empty.
_BROKEN = (Scapy_Exception, struct.error, IndexError, ValueError, TypeError, AttributeError)
_PORTS = struct.Struct("!HH")


def read(packet: Any, began: float) -> Seen | ArpSeen | None:
    """What a sniffed packet is; None of what is no business of ours, and of what is broken."""
    try:
        return _read(packet, began)
    except _BROKEN:
        return None


def _read(packet: Any, began: float) -> Seen | ArpSeen | None:
    at, interface = float(packet.time) - began, packet.sniffed_on
    outgoing = bool(packet.direction)
    if packet.haslayer(ARP):
        arp = packet[ARP]
        answer = arp.op == 2
        return ArpSeen(
            at,
            interface,
            outgoing,
            answer,
            canonical(arp.psrc if answer else arp.pdst),
            canonical(arp.psrc),
            arp.hwsrc,
        )
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    mac = packet[Ether].dst if packet.haslayer(Ether) else ""
    return None if ip is None else _ip(ip, at, interface, outgoing, mac)


def _ip(ip: Any, at: float, interface: str, outgoing: bool, mac: str) -> Seen | None:
    ip, outer = _unwrap(ip)
    icmp = _icmp(ip)
    if icmp is not None:
        error, about = icmp
        ip, outer = _unwrap(about)
    else:
        error = None
    ports = _ports(ip)
    if ports is None:
        return None
    segment = ip.getlayer(TCP)
    whole = ip.payload if segment is None else segment
    return Seen(
        at=at,
        interface=interface,
        outgoing=outgoing,
        protocol=ip.nh if isinstance(ip, IPv6) else ip.proto,
        source=Endpoint(canonical(ip.src), ports[0]),
        target=Endpoint(canonical(ip.dst), ports[1]),
        flags=str(segment.flags) if segment is not None and error is None else "",
        size=_size(ip, whole) if error is None else 0,
        sequence=segment.seq if segment is not None and error is None else 0,
        mac_to=mac,
        outer=outer,
        icmp=error,
    )


def _unwrap(ip: Any) -> tuple[Any, Outer | None]:
    """What a tunnel carries, and the tunnel."""
    kind, inner, port = None, ip.payload, 0
    if isinstance(inner, IP | IPv6):
        kind = TunnelType.IPIP
    elif isinstance(inner, GRE) and isinstance(inner.payload, IP | IPv6):
        kind, inner = TunnelType.GRE, inner.payload
    elif isinstance(inner, UDP):
        port = inner.dport
        kind, inner = _gue(bytes(inner.payload))
    if kind is None:
        return ip, None
    return inner, Outer(kind, canonical(ip.src), canonical(ip.dst), port)


def _gue(raw: bytes) -> tuple[TunnelType | None, Any]:
    """Of version 0 and no control message: the first byte counts words of options, as remote
    checksums are, the second is the protocol within."""
    options, protocol = raw[:1], raw[1:2]
    carried = raw[_GUE_HEADER + 4 * int.from_bytes(options) :]
    version = carried[0] >> 4 if carried else 0
    if options <= _MOST_OPTIONS:
        if protocol == b"\x04" and version == 4:
            return TunnelType.GUE, IP(carried)
        if protocol == b"\x29" and version == 6:
            return TunnelType.GUE, IPv6(carried)
    return None, None


def _icmp(ip: Any) -> tuple[Icmp, Any] | None:
    """The error an ICMP packet tells of, and the packet it is about."""
    layer = ip.payload
    ends = canonical(ip.src), canonical(ip.dst)
    if isinstance(layer, ICMP) and layer.type in (_UNREACHABLE, _TIME_EXCEEDED):
        trouble = _CODES.get(layer.code, Trouble.OTHER)
        if layer.type == _TIME_EXCEEDED:
            trouble = Trouble.TTL
        mtu = layer.nexthopmtu or 0 if trouble is Trouble.TOO_BIG else 0
        return Icmp(trouble, *ends, mtu), IP(_original(layer))
    if isinstance(layer, _ERRORS6):
        if isinstance(layer, ICMPv6PacketTooBig):
            return Icmp(Trouble.TOO_BIG, *ends, layer.mtu), IPv6(_original(layer))
        trouble = Trouble.TTL
        if isinstance(layer, ICMPv6DestUnreach):
            trouble = _CODES6.get(layer.code, Trouble.OTHER)
        return Icmp(trouble, *ends), IPv6(_original(layer))
    return None


def _original(layer: Any) -> bytes:
    """The bytes an error quotes, cut short as they may be."""
    return bytes(layer.payload.original)


def _ports(ip: Any) -> tuple[int, int] | None:
    """Of TCP, UDP or SCTP; an error may quote no more than these of it."""
    number = ip.nh if isinstance(ip, IPv6) else ip.proto
    if number not in (TCP_NUMBER, 17, 132):
        return None
    raw = ip.payload.original or bytes(ip.payload)
    if len(raw) < _PORTS.size:
        return None
    source, target = _PORTS.unpack_from(raw)
    return source, target


def _size(ip: Any, whole: Any) -> int:
    """Payload bytes, without the padding of short frames."""
    total = ip.plen if isinstance(ip, IPv6) else ip.len - ip.ihl * 4
    head = whole.dataofs * 4 if isinstance(whole, TCP) else 8
    return max(0, int(total - head))
