"""VRRP as it is on the wire, beside VRRP as a program of this host gets it.

Packet sockets see what comes in before any filter, and what goes out after all of them; a raw
socket in the same group sees what is left. A difference is a filter of this host.
"""

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import replace

from hadirector.core import address
from hadirector.core.address import Address, Family
from hadirector.core.advert import GROUPS, PROTOCOL, SIGNATURE_SIZE
from hadirector.core.doctor import frames
from hadirector.core.doctor.facts import AdvertSeen
from hadirector.shell import bpf

MOST = 4.0  # seconds of listening, however slow the adverts are
_ENOUGH = 512  # adverts: of hundreds of virtual routers each a few times
_ETHER_TYPE = 0xFFFFF000  # BPF: SKF_AD_OFF + SKF_AD_PROTOCOL, what the frame carries
_IPV4_HEADER, _IPV6_HEADER = 20, 40
_HEADER = struct.Struct("!BBBB")
_FIXED = 8  # bytes in front of the addresses; version 2 has as many behind them
_SIGNED_AT = struct.Struct("!4xI")  # core/signature: seconds since 1970


def listen(interfaces: Iterable[str], seconds: float) -> tuple[AdvertSeen, ...]:
    """Adverts seen on these interfaces, the last of each sender, direction and virtual router.
    PermissionError without CAP_NET_RAW."""
    wanted = frozenset(interfaces)
    seen: dict[tuple[str, bool, Address, int], AdvertSeen] = {}
    reached: set[tuple[Address, int]] = set()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        families: tuple[Family, ...] = (4, 6)
        selector.register(stack.enter_context(_wire()), selectors.EVENT_READ, None)
        for number in families:
            sock = stack.enter_context(_program(number, wanted))
            selector.register(sock, selectors.EVENT_READ, number)
        deadline = time.monotonic() + min(MOST, seconds)
        while (left := deadline - time.monotonic()) > 0 and len(seen) < _ENOUGH:
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                packet, origin = key.fileobj.recvfrom(2048)
                if key.data is not None:
                    reached |= _got(packet, origin[0], key.data)
                elif origin[0] in wanted:
                    told = _seen(packet, origin)
                    if told is not None:
                        seen[told.interface, told.outgoing, told.source, told.vrid] = told
    return tuple(
        replace(each, reached=(each.source, each.vrid) in reached) for each in seen.values()
    )


def _wire() -> socket.socket:
    """Hears protocol 112 on every interface, both ways: only a socket for all protocols is given
    what goes out."""
    everything = 0x0003  # ETH_P_ALL
    kinds = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    ear = socket.socket(socket.AF_PACKET, kinds, socket.htons(everything))
    bpf.attach(
        ear,
        (
            (bpf.LOAD_HALF, 0, 0, _ETHER_TYPE),
            (bpf.JUMP_EQUAL, 0, 2, frames.ETH_IP),
            (bpf.LOAD_BYTE, 0, 0, 9),
            (bpf.JUMP_EQUAL, 2, 3, PROTOCOL),
            (bpf.JUMP_EQUAL, 0, 2, frames.ETH_IPV6),
            (bpf.LOAD_BYTE, 0, 0, 6),
            (bpf.JUMP_EQUAL, 0, 1, PROTOCOL),
            (bpf.RETURN, 0, 0, bpf.ALL),
            (bpf.RETURN, 0, 0, bpf.NOTHING),
        ),
    )
    return ear


def _program(number: Family, interfaces: frozenset[str]) -> socket.socket:
    """As the election's own sockets; one that cannot join a group there hears unicast only."""
    kind = socket.AF_INET6 if number == 6 else socket.AF_INET
    sock = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
    group = address.packed(GROUPS[number])
    for name in interfaces:
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(name)
            if number == 6:
                request = group + struct.pack("@I", index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            else:
                request = group + bytes(4) + struct.pack("@i", index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return sock


def _got(packet: bytes, source: str, number: Family) -> set[tuple[Address, int]]:
    """What a raw socket hands over: IPv4 with its header, IPv6 without."""
    start = (packet[0] & 0xF) * 4 if number == 4 and packet else 0
    if len(packet) < start + _FIXED:
        return set()
    return {(address.canonical(source.partition("%")[0]), packet[start + 1])}


def _seen(packet: bytes, origin: tuple[str, int, int, int, bytes]) -> AdvertSeen | None:
    name, _, direction, _, mac = origin
    six = packet[:1] and packet[0] >> 4 == 6
    start = _IPV6_HEADER if six else (packet[0] & 0xF) * 4 if packet else 0
    if len(packet) < start + _FIXED or start < _IPV4_HEADER:
        return None
    source = packet[8:24] if six else packet[12:16]
    first, vrid, priority, count = _HEADER.unpack_from(packet, start)
    size = 16 if six else 4
    end = start + _FIXED + size * count
    if len(packet) < end:
        return None
    places = range(start + _FIXED, end, size)
    signature = packet[end + (_FIXED if first >> 4 == 2 else 0) :]
    behind = None
    if len(signature) == SIGNATURE_SIZE:
        behind = time.time() - _SIGNED_AT.unpack_from(signature)[0]
    return AdvertSeen(
        interface=name,
        outgoing=direction == socket.PACKET_OUTGOING,
        source=address.from_packed(source),
        mac=frames.mac_text(mac),
        vrid=vrid,
        priority=priority,
        addresses=tuple(address.from_packed(packet[at : at + size]) for at in places),
        behind=behind,
    )
