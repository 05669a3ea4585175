"""VRRP on the wire: one raw socket for each interface and family.

It is bound to the device and has joined the group there, so a packet of another link never comes
in, and adverts to a group or to this node alone both do; which of the two a router expects is for
the core to judge. TTL 255 and TOS 0xC0 as RFC 9568 5.1.1 and keepalived have them, DF clear (some
receivers look at it), our own packets not looped back. Sending never blocks.

An IPv4 raw socket delivers the IP header; only as much of the datagram as that header's own length
says is the packet: Ethernet pads short frames.
"""

import logging
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from hadirector.core import address, advert
from hadirector.core.address import Address, Family
from hadirector.core.election_types import Deaf, PacketReceived
from hadirector.shell.buffers import enlarge_receive, enlarge_send

log = logging.getLogger(__name__)

READS = 32  # packets per wake-up, at least: a flood of them may not keep the loop
BUFFER = 4 << 20  # bytes unread: 255 routers' adverts come at once, 2 to 4 KiB each as cards count
TRAFFIC_CLASS = 0xC0  # internetwork control
_LARGEST = 4096  # 255 IPv6 addresses are 4088 bytes
_IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")

_IP_MTU_DISCOVER, _PMTUDISC_DONT = 10, 0
_IP_PKTINFO = 8
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_PKTINFO_4 = struct.Struct("=i4s4s")
_PKTINFO_6 = struct.Struct("=16si")
_INT = struct.Struct("=i")


class VrrpSocket:
    """The socket of one interface and family; OSError when it cannot be had."""

    def __init__(self, interface: str, index: int, family: Family) -> None:
        self.interface = interface
        self.index = index
        self.family: Family = family
        domain = socket.AF_INET if family == 4 else socket.AF_INET6
        self._socket = socket.socket(
            domain,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            advert.PROTOCOL,
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            (_prepare_4 if family == 4 else _prepare_6)(self._socket, index)
        except OSError:
            self._socket.close()
            raise
        self._make_room()

    def fileno(self) -> int:
        """For the loop's reader."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave the group and give the socket back."""
        self._socket.close()

    def send(self, message: bytes, source: Address, destination: Address) -> str:
        """Send one message; empty text, or why it could not go out now."""
        if self.family == 4:
            info = _PKTINFO_4.pack(self.index, address.packed(source), bytes(4))
            ancillary = (socket.IPPROTO_IP, _IP_PKTINFO, info)
        else:
            info = _PKTINFO_6.pack(address.packed(source), self.index)
            ancillary = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)
        try:
            self._socket.sendmsg([message], [ancillary], 0, (destination, 0))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def receive(self, at_most: int = READS) -> list[PacketReceived]:
        """The packets that lie ready, a bounded number at once."""
        found: list[PacketReceived] = []
        read = self._receive_4 if self.family == 4 else self._receive_6
        for _ in range(at_most):
            try:
                packet = read()
            except BlockingIOError:
                break
            except OSError as error:  # the link went down or away; its own event says so
                log.debug("interface=%s receive: %s", self.interface, error)
                break
            if packet is not None:
                found.append(packet)
        return found

    def _make_room(self) -> None:
        """For a burst of adverts, coming and going; as much as is allowed."""
        enlarge_receive(self._socket, BUFFER)
        enlarge_send(self._socket, BUFFER)

    def _receive_4(self) -> PacketReceived | None:
        return parse_ipv4(self.interface, self._socket.recv(_LARGEST))

    def _receive_6(self) -> PacketReceived | None:
        message, ancillary, _, sender = self._socket.recvmsg(_LARGEST, 256)
        ttl, destination = 0, b""
        for level, kind, value in ancillary:
            if level != socket.IPPROTO_IPV6:
                continue
            if kind == socket.IPV6_HOPLIMIT:
                (ttl,) = _INT.unpack_from(value)
            elif kind == socket.IPV6_PKTINFO:
                destination = value[:16]
        if len(destination) != 16:
            return None
        source = address.canonical(sender[0].partition("%")[0])
        return PacketReceived(
            self.interface, source, address.from_packed(destination), ttl, message
        )


class VrrpSockets:
    """The sockets of all interfaces the election speaks on, read by the loop.

    `watch` and `forget` begin and end the loop's interest in a socket.
    """

    def __init__(
        self, watch: Callable[[VrrpSocket], None], forget: Callable[[VrrpSocket], None]
    ) -> None:
        self._watch = watch
        self._forget = forget
        self._sockets: dict[tuple[str, Family], VrrpSocket] = {}
        self._refused: dict[tuple[str, Family], str] = {}
        self._reads = READS

    @property
    def deaf(self) -> tuple[Deaf, ...]:
        """Where a socket is wanted and could not be opened."""
        return tuple(Deaf(*key, reason) for key, reason in sorted(self._refused.items()))

    @property
    def open(self) -> frozenset[tuple[str, Family]]:
        """The interfaces and families there are sockets for."""
        return frozenset(self._sockets)

    def keep(self, wanted: dict[tuple[str, Family], int]) -> None:
        """Have a socket for each interface and family, on the link with this index; the others
        go. A link that was removed and added again has another index and needs a new socket.
        What could not be opened before is tried again."""
        self._refused = {key: why for key, why in self._refused.items() if key in wanted}
        for key, sock in list(self._sockets.items()):
            if wanted.get(key) != sock.index:
                self._forget(sock)
                sock.close()
                del self._sockets[key]
        for key, index in wanted.items():
            if key not in self._sockets:
                self._open(key, index)

    def expect(self, routers: int) -> None:
        """So many virtual routers are listening. After a sleep an advert for each of them may lie
        ready, and must be heard before the timers it would have stopped: twice as many are read
        at once."""
        self._reads = max(READS, 2 * routers)

    def send(self, interface: str, message: bytes, source: Address, destination: Address) -> str:
        """Send one message out of an interface; empty text, or why it could not go out."""
        key = (interface, address.family(source))
        if key not in self._sockets:
            return self._refused.get(key, f"{interface} is not there")
        return self._sockets[key].send(message, source, destination)

    def receive(self) -> list[PacketReceived]:
        """The packets that lie ready on all of them."""
        return [packet for sock in self._sockets.values() for packet in sock.receive(self._reads)]

    def close(self) -> None:
        """Close all."""
        self.keep({})

    def _open(self, key: tuple[str, Family], index: int) -> None:
        interface, family = key
        try:
            sock = VrrpSocket(interface, index, family)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._refused.get(key) != reason:
                log.error("interface=%s ipv%d no VRRP socket: %s", interface, family, reason)
            self._refused[key] = reason
            return
        self._refused.pop(key, None)
        self._sockets[key] = sock
        self._watch(sock)


def allow_many() -> None:
    """Raise the limit of open descriptors: hundreds of routers need as many sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def parse_ipv4(interface: str, raw: bytes) -> PacketReceived | None:
    """The packet in an IPv4 datagram; None when its header is not one."""
    if len(raw) < _IPV4_HEADER.size:
        return None
    first, _, total, _, _, ttl, protocol, _, source, destination = _IPV4_HEADER.unpack_from(raw)
    header = (first & 0xF) * 4
    if first >> 4 != 4 or protocol != advert.PROTOCOL:
        return None
    if not _IPV4_HEADER.size <= header <= total <= len(raw):
        return None
    return PacketReceived(
        interface,
        address.from_packed(source),
        address.from_packed(destination),
        ttl,
        raw[header:total],
    )


def _prepare_4(sock: socket.socket, index: int) -> None:
    member = struct.pack("=4s4si", address.packed(advert.GROUPS[4]), bytes(4), index)
    for option, value in (
        (_IP_MULTICAST_ALL, 0),
        (socket.IP_MULTICAST_LOOP, 0),
        (socket.IP_MULTICAST_TTL, advert.TTL),
        (socket.IP_TTL, advert.TTL),
        (socket.IP_TOS, TRAFFIC_CLASS),
        (_IP_MTU_DISCOVER, _PMTUDISC_DONT),
    ):
        sock.setsockopt(socket.IPPROTO_IP, option, value)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)


def _prepare_6(sock: socket.socket, index: int) -> None:
    with suppress(OSError):  # older than Linux 4.20; bound to the device it changes little
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    for option, value in (
        (socket.IPV6_MULTICAST_LOOP, 0),
        (socket.IPV6_MULTICAST_HOPS, advert.TTL),
        (socket.IPV6_UNICAST_HOPS, advert.TTL),
        (socket.IPV6_TCLASS, TRAFFIC_CLASS),
        (socket.IPV6_MULTICAST_IF, index),
        (socket.IPV6_RECVHOPLIMIT, 1),
        (socket.IPV6_RECVPKTINFO, 1),
    ):
        sock.setsockopt(socket.IPPROTO_IPV6, option, value)
    member = address.packed(advert.GROUPS[6]) + _INT.pack(index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
