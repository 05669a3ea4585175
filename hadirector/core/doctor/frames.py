"""The few packets doctor sends, and what it reads of those that come back.

    ARP request, as RFC 5227 probes: no sender address, so that nobody learns anything from it
    TCP SYN:     20 bytes of IPv4 (40 of IPv6), 24 of TCP with the MSS option
    tunnels:     IPv4 or IPv6 around it; GRE adds 4 bytes, GUE 8 of UDP and 4 of its own

A SYN's sequence number says which question it was: the answer acknowledges it plus one.
"""

import struct
from dataclasses import dataclass

from hadirector.core import address
from hadirector.core.address import Address, Endpoint, family
from hadirector.core.advert import internet_checksum
from hadirector.core.doctor.facts import Answer
from hadirector.core.ipvs import TunnelType

ETH_IP, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
TCP = 6
_IPIP, _IPV6_IN, _GRE, _UDP = 4, 41, 47, 17
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_MSS, _END_OF_OPTIONS, _NO_OPERATION = 2, 0, 1
_MSS_SENT = 1460

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET = struct.Struct("!6s6sH")
_TCP = struct.Struct("!HHIIBBHHH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")


@dataclass(frozen=True, slots=True)
class Came:
    """What a segment says that answers one of ours: to `port`, acknowledging `acknowledged`."""

    source: Endpoint
    destination: Endpoint
    acknowledged: int
    answer: Answer
    mss: int


def arp_request(mac: bytes, target: Address) -> bytes:
    """The frame that asks everybody on a segment who has `target`."""
    body = _ARP.pack(1, ETH_IP, 6, 4, 1, mac, bytes(4), bytes(6), address.packed(target))
    return _ETHERNET.pack(b"\xff" * 6, mac, ETH_ARP) + body


def arp_answer(body: bytes) -> tuple[Address, str] | None:
    """The address and MAC an ARP reply speaks for; None of anything else."""
    if len(body) < _ARP.size:
        return None
    kind, protocol, _, _, operation, mac, sender, _, _ = _ARP.unpack_from(body)
    if (kind, protocol, operation) != (1, ETH_IP, 2):
        return None
    return address.from_packed(sender), mac_text(mac)


def mac_text(raw: bytes) -> str:
    """Six bytes as people write them."""
    return ":".join(f"{byte:02x}" for byte in raw)


def mac_bytes(text: str) -> bytes:
    """And back; ValueError when it is none."""
    return bytes.fromhex(text.replace(":", ""))


def syn(source: Endpoint, target: Endpoint, sequence: int) -> bytes:
    """The IP packet that asks for a connection."""
    options = struct.pack("!BBH", _MSS, 4, _MSS_SENT)
    return _segment(source, target, sequence, 0, _SYN, options)


def reset(source: Endpoint, target: Endpoint, sequence: int) -> bytes:
    """The IP packet that gives it up."""
    return _segment(source, target, sequence, 0, _RST, b"")


def _segment(
    source: Endpoint, target: Endpoint, sequence: int, acknowledged: int, flags: int, options: bytes
) -> bytes:
    offset = (_TCP.size + len(options)) // 4 << 4
    head = (source.port, target.port, sequence, acknowledged, offset, flags, 64240)
    bare = _TCP.pack(*head, 0, 0) + options
    pseudo = _pseudo(source.address, target.address, TCP, len(bare))
    whole = _TCP.pack(*head, internet_checksum(pseudo + bare), 0) + options
    return packet(source.address, target.address, TCP, whole)


def _pseudo(source: Address, target: Address, protocol: int, size: int) -> bytes:
    """What a checksum covers of the IP header: RFC 9293 3.1, RFC 8200 8.1."""
    ends = address.packed(source) + address.packed(target)
    if family(target) == 6:
        return ends + struct.pack("!II", size, protocol)
    return ends + struct.pack("!HH", protocol, size)


def packet(source: Address, destination: Address, protocol: int, payload: bytes) -> bytes:
    """An IP packet of either family."""
    if family(destination) == 6:
        head = (0x6 << 28, len(payload), protocol, 64)
        return _IPV6.pack(*head, address.packed(source), address.packed(destination)) + payload
    start = (0x45, 0, _IPV4.size + len(payload), 0, 0x4000, 64, protocol)
    ends = (address.packed(source), address.packed(destination))
    total = internet_checksum(_IPV4.pack(*start, 0, *ends))
    return _IPV4.pack(*start, total, *ends) + payload


def wrap(
    inner: bytes, source: Address, server: Address, tunnel: TunnelType, port: int, from_port: int
) -> bytes:
    """`inner` as the director's tunnel to `server` carries it."""
    six = inner[0] >> 4 == 6
    match tunnel:
        case TunnelType.IPIP:
            return packet(source, server, _IPV6_IN if six else _IPIP, inner)
        case TunnelType.GRE:
            return packet(
                source, server, _GRE, struct.pack("!HH", 0, ETH_IPV6 if six else ETH_IP) + inner
            )
        case TunnelType.GUE:
            gue = struct.pack("!BBH", 0, _IPV6_IN if six else _IPIP, 0) + inner
            udp = struct.pack("!HHHH", from_port, port, 8 + len(gue), 0) + gue
            if family(server) == 6:  # RFC 8200 8.1: a sum of 0 is dropped, unless a port allows it
                total = internet_checksum(_pseudo(source, server, _UDP, len(udp)) + udp) or 0xFFFF
                udp = udp[:6] + struct.pack("!H", total) + gue
            return packet(source, server, _UDP, udp)


def segment(raw: bytes) -> Came | None:
    """What an IP packet answers, if it is the answer to a SYN; None of anything else."""
    six = len(raw) >= _IPV6.size and raw[0] >> 4 == 6
    if six:
        start, protocol = _IPV6.size, raw[6]
        ends = raw[8:24], raw[24:40]
    elif len(raw) >= _IPV4.size and raw[0] >> 4 == 4:
        start, protocol = (raw[0] & 0xF) * 4, raw[9]
        ends = raw[12:16], raw[16:20]
    else:
        return None
    if protocol != TCP or start < _IPV4.size or len(raw) < start + _TCP.size:
        return None
    from_port, to_port, _, acknowledged, offset, flags, _, _, _ = _TCP.unpack_from(raw, start)
    if not flags & _ACK:
        return None
    answer = Answer.REFUSED if flags & _RST else Answer.OPEN if flags & _SYN else None
    if answer is None:
        return None
    options = raw[start + _TCP.size : start + (offset >> 4) * 4]
    return Came(
        Endpoint(address.from_packed(ends[0]), from_port),
        Endpoint(address.from_packed(ends[1]), to_port),
        acknowledged,
        answer,
        _mss(options),
    )


def _mss(options: bytes) -> int:
    at = 0
    while at < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            break
        if options[at] == _MSS and options[at + 1] == 4 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2 : at + 4], "big")
        at += options[at + 1]
    return 0
