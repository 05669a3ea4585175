"""Whether the network is there: does the gateway of an interface answer?

The kernel asks (ARP or neighbour solicitation, whichever the family needs) and keeps the answer in
its neighbour table, so all it takes is to set it going and to look. The gateway is found by a
route look-up, which costs the same in a table of a million routes.

    ndmsg:  family 8, pad 24, index 32, state 16, flags 8, type 8
    rtmsg:  family 8, dst 8, src 8, tos 8, table 8, protocol 8, scope 8, type 8, flags 32

Sources: include/uapi/linux/{rtnetlink,neighbour}.h.
"""

import socket
import struct

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.shell import netlink, rtnetlink
from hadirector.shell.netlink import Request

_GETROUTE, _NEWNEIGH, _GETNEIGH = 26, 28, 30
_NDMSG = struct.Struct("=B3xiHBB")
_RTMSG = struct.Struct("=BBBBBBBBI")
_U32 = struct.Struct("=I")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_NDA_DST = 1
_NUD_NONE, _NUD_REACHABLE = 0x00, 0x02
_NTF_USE = 0x01

_FORGOTTEN_AFTER = 3.0  # seconds: the core asks each second while a router waits

# Any address that only a default route leads to; no packet is ever sent there.
_BEYOND = (Address("240.0.0.1"), Address("2000::1"))


class Gateways:
    """The gateways asked about, by interface."""

    def __init__(self, route: rtnetlink.Route) -> None:
        self._route = route
        self._asked: dict[str, tuple[int, tuple[Address, ...], float]] = {}

    def ask(self, interface: str, index: int, now: float) -> None:
        """Set the kernel going. KernelError as it comes."""
        gateways = tuple(
            gateway
            for beyond in _BEYOND
            if (body := self._route.get(find_route(index, beyond), "find the gateway")) is not None
            and (gateway := gateway_of(body)) is not None
        )
        self._asked[interface] = (index, gateways, now)
        self._route.execute(
            [ask_neighbour(index, gateway) for gateway in gateways], "ask the gateway"
        )

    def answered(self, now: float) -> list[str]:
        """The interfaces by which a gateway answered; they are not looked at again, nor are those
        that nobody asks about any more."""
        self._asked = {
            name: asked for name, asked in self._asked.items() if now - asked[2] < _FORGOTTEN_AFTER
        }
        found = [
            name
            for name, (index, gateways, _) in self._asked.items()
            if self._hears(index, gateways)
        ]
        for name in found:
            del self._asked[name]
        return found

    @property
    def waiting(self) -> bool:
        """Whether an answer is awaited."""
        return any(gateways for _, gateways, _ in self._asked.values())

    def _hears(self, index: int, gateways: tuple[Address, ...]) -> bool:
        for gateway in gateways:
            body = self._route.get(find_neighbour(index, gateway), "look for the answer")
            if body is not None and is_reachable(body):
                return True
        return False


def find_route(index: int, destination: Address) -> Request:
    """The route a packet to `destination` would take out of this link."""
    head = _RTMSG.pack(_family(destination), _bits(destination), 0, 0, 0, 0, 0, 0, 0)
    return Request(
        _GETROUTE,
        head
        + netlink.attribute(_RTA_DST, address.packed(destination))
        + netlink.attribute(_RTA_OIF, _U32.pack(index)),
    )


def ask_neighbour(index: int, what: Address) -> Request:
    """Have the kernel find out a neighbour's link address, as if a packet were to go there."""
    head = _NDMSG.pack(_family(what), index, _NUD_NONE, _NTF_USE, 0)
    body = head + netlink.attribute(_NDA_DST, address.packed(what))
    return Request(_NEWNEIGH, body, netlink.CREATE)


def find_neighbour(index: int, what: Address) -> Request:
    """What the kernel knows of a neighbour."""
    head = _NDMSG.pack(_family(what), index, 0, 0, 0)
    return Request(_GETNEIGH, head + netlink.attribute(_NDA_DST, address.packed(what)))


def gateway_of(body: memoryview | bytes) -> Address | None:
    """The gateway of a route, if it has one."""
    for kind, value in netlink.attributes(body[_RTMSG.size :]):
        if kind == _RTA_GATEWAY:
            return address.from_packed(bytes(value))
    return None


def is_reachable(body: memoryview | bytes) -> bool:
    """Whether a neighbour answered within the last seconds."""
    state: int = _NDMSG.unpack_from(body)[2]
    return bool(state & _NUD_REACHABLE)


def _family(what: Address) -> int:
    return socket.AF_INET6 if address.family(what) == 6 else socket.AF_INET


def _bits(what: Address) -> int:
    return 128 if address.family(what) == 6 else 32
