"""The relay's datagrams on the wire: unicast between the nodes' addresses, or to a group.

Bound to the interface: what comes in by another one is not heard, whatever it says it is.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from hadirector.core.address import Address, canonical, family
from hadirector.core.settings.cluster import ConnectionSync
from hadirector.shell.buffers import enlarge_receive, enlarge_send

BUFFER = 8 << 20  # bytes; without CAP_NET_ADMIN at most net.core.rmem_max
READS = 64  # datagrams for each wake-up
ATTEMPTS = 2  # to send: the first may get an earlier datagram's ICMP error
LARGEST = 2048  # bytes: more than any of ours

_MREQN = struct.Struct("=4s4si")
_INDEX = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node speaks and listens: its own address, None for the group, on an interface."""

    interface: str
    index: int
    own: Address | None
    group: Address
    port: int


def place(sync: ConnectionSync, node: str) -> Place:
    """This node's; OSError where it has no such interface."""
    index = socket.if_nametoindex(sync.interface)
    return Place(sync.interface, index, sync.unicast.get(node), sync.group, sync.port)


class RelaySocket:
    """Needs a running loop. `heard(raw, source)` is called for each datagram. OSError where the
    address or the interface cannot be had."""

    def __init__(self, where: Place, heard: Callable[[bytes, Address], None]) -> None:
        self.place = where
        self.unsent = 0  # datagrams that found no room, or no way
        self._heard = heard
        self._group = _target(where, where.group)
        self._socket = _open(where)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def send(self, raw: bytes, to: Address | None) -> None:
        """To one node's address, or to the group."""
        target = self._group if to is None else _target(self.place, to)
        for _ in range(ATTEMPTS):
            try:
                self._socket.sendto(raw, target)
            except BlockingIOError:
                break
            except OSError:
                continue
            return
        self.unsent += 1

    def close(self) -> None:
        """Give the socket back."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(READS):
            try:
                raw, source = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier send
                continue
            self._heard(raw, canonical(source[0].partition("%")[0]))


def why(error: OSError, where: ConnectionSync, node: str) -> str:
    """Why a node cannot speak there, in a sentence."""
    own = where.unicast.get(node)
    if error.errno in (None, errno.ENODEV, errno.ENXIO):  # if_nametoindex gives no number
        return f"no interface {where.interface}: connection sync waits for it"
    if error.errno == errno.EADDRNOTAVAIL and own is not None:
        return f"{own} is not on this host: connection sync waits for it"
    reason = os.strerror(error.errno or 0)
    return f"connection sync cannot listen on {where.interface} port {where.port}: {reason}"


def _target(where: Place, to: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    if family(to) == 4:
        return to, where.port
    scope = where.index if to.startswith(("fe80:", "ff")) else 0
    return to, where.port, 0, scope


def _open(where: Place) -> socket.socket:
    at = where.own or where.group
    kind = socket.AF_INET6 if family(at) == 6 else socket.AF_INET
    sock = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        name = where.interface.encode() + b"\0"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        enlarge_receive(sock, BUFFER)
        enlarge_send(sock, BUFFER)
        sock.bind(_target(where, at))
        if where.own is None:
            _join(sock, where)
    except OSError:
        sock.close()
        raise
    return sock


def _join(sock: socket.socket, where: Place) -> None:
    """Hear the group, and not ourselves; one hop is as far as it goes."""
    index = _INDEX.pack(where.index)
    if sock.family == socket.AF_INET6:
        level = socket.IPPROTO_IPV6
        membership = socket.inet_pton(socket.AF_INET6, where.group) + index
        sock.setsockopt(level, socket.IPV6_JOIN_GROUP, membership)
        sock.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(level, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(level, socket.IPV6_MULTICAST_HOPS, 1)
        return
    level = socket.IPPROTO_IP
    group = socket.inet_aton(where.group)
    sock.setsockopt(level, socket.IP_ADD_MEMBERSHIP, _MREQN.pack(group, bytes(4), where.index))
    sock.setsockopt(level, socket.IP_MULTICAST_IF, _MREQN.pack(bytes(4), bytes(4), where.index))
    sock.setsockopt(level, socket.IP_MULTICAST_LOOP, 0)
    sock.setsockopt(level, socket.IP_MULTICAST_TTL, 1)
