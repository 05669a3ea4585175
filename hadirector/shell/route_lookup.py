"""Where the kernel would send a packet: a route look-up, answered within the system call that asks,
without the routing lock, at the same cost in a table of a million routes.

    rtmsg:  family 8, dst 8, src 8, tos 8, table 8, protocol 8, scope 8, type 8, flags 32

Sources: include/uapi/linux/rtnetlink.h; net/ipv4/route.c (inet_rtm_getroute), net/ipv6/route.c
(inet6_rtm_getroute).
"""

import socket
import struct

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.shell import netlink
from hadirector.shell.netlink import Request

_GETROUTE = 26
_RTMSG = struct.Struct("=BBBBBBBBI")
_U32 = struct.Struct("=I")
_RTA_DST, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 3, 4, 5
_LOCAL = 2  # RTN_LOCAL


def leaving(destination: Address, index: int = 0) -> Request:
    """The route of a packet to `destination` from here, by the link of this index if given."""
    return _look_up(destination, netlink.attribute(_RTA_OIF, _U32.pack(index)) if index else b"")


def arriving(destination: Address, index: int) -> Request:
    """The route of a packet to `destination` that comes in by the link of this index."""
    return _look_up(destination, netlink.attribute(_RTA_IIF, _U32.pack(index)))


def gateway_of(body: memoryview | bytes) -> Address | None:
    """The gateway of the route that was found, if it has one."""
    gateway = _attribute(body, _RTA_GATEWAY)
    return None if gateway is None else address.from_packed(bytes(gateway))


def link_of(body: memoryview | bytes) -> int | None:
    """The index of the link that it leaves by, if any."""
    index = _attribute(body, _RTA_OIF)
    return None if index is None else int(_U32.unpack(index)[0])


def is_local(body: memoryview | bytes) -> bool:
    """Whether the packet is for this host itself."""
    return bool(_RTMSG.unpack_from(body)[7] == _LOCAL)


def _look_up(destination: Address, how: bytes) -> Request:
    six = address.family(destination) == 6
    family, bits = (socket.AF_INET6, 128) if six else (socket.AF_INET, 32)
    head = _RTMSG.pack(family, bits, 0, 0, 0, 0, 0, 0, 0)
    return Request(_GETROUTE, head + netlink.attribute(_RTA_DST, address.packed(destination)) + how)


def _attribute(body: memoryview | bytes, wanted: int) -> memoryview | None:
    found = (value for kind, value in netlink.attributes(body[_RTMSG.size :]) if kind == wanted)
    return next(found, None)
