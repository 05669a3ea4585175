"""Whether the network is there: does the gateway of an interface answer, is any neighbour known
there, does another host answer for an address?

The kernel asks (ARP or neighbour solicitation, whichever the family needs) and keeps the answer in
its neighbour table, so all it takes is to set it going and to look.

    ndmsg:  family 8, pad 24, index 32, state 16, flags 8, type 8

A neighbour with a link address was heard since the link has had its carrier: the kernel forgets
all of them when it goes.

Source: include/uapi/linux/neighbour.h.
"""

import socket
import struct

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.shell import netlink, route_lookup, rtnetlink
from hadirector.shell.netlink import Request

_NEWNEIGH, _GETNEIGH = 28, 30
_NDMSG = struct.Struct("=B3xiHBB")
_U32 = struct.Struct("=I")
_NDA_DST, _NDA_IFINDEX = 1, 8
_NUD_NONE, _NUD_REACHABLE = 0x00, 0x02
_NUD_HEARD = 0x02 | 0x04 | 0x08 | 0x10  # reachable, stale, delay, probe: its link address is known
_NTF_USE = 0x01

_FORGOTTEN_AFTER = 3.0  # seconds: the core asks each second while a router waits

# Any address that only a default route leads to; no packet is ever sent there.
_BEYOND = (Address("240.0.0.1"), Address("2000::1"))


class Gateways:
    """The gateways asked about, by interface."""

    def __init__(self, route: rtnetlink.Route) -> None:
        self._route = route
        self._asked: dict[str, tuple[int, tuple[Address, ...], float]] = {}
        self._holders: dict[tuple[str, Address], tuple[int, float]] = {}

    def ask(self, interface: str, index: int, now: float) -> None:
        """Set the kernel going. KernelError as it comes."""
        gateways = tuple(
            gateway
            for beyond in _BEYOND
            if (body := self._route.get(route_lookup.leaving(beyond, index), "find the gateway"))
            is not None
            and (gateway := route_lookup.gateway_of(body)) is not None
        )
        self._asked[interface] = (index, gateways, now)
        self._route.execute(
            [ask_neighbour(index, gateway) for gateway in gateways], "ask the gateway"
        )

    def ask_holder(self, interface: str, index: int, held: Address, now: float) -> None:
        """Set the kernel going after an address that is not on this node."""
        self._holders[(interface, held)] = (index, now)
        self._route.execute([ask_neighbour(index, held)], "ask who holds an address")

    def held(self, now: float) -> list[tuple[str, Address]]:
        """The addresses that somebody answered for: once for each question."""
        self._holders = {
            key: asked for key, asked in self._holders.items() if now - asked[1] < _FORGOTTEN_AFTER
        }
        found = [key for key, (index, _) in self._holders.items() if self._hears(index, (key[1],))]
        for key in found:
            del self._holders[key]
        return found

    def answered(self, now: float) -> list[str]:
        """The interfaces by which a gateway answered; they are not looked at again, nor are those
        that nobody asks about any more."""
        self._asked = {
            name: asked for name, asked in self._asked.items() if now - asked[2] < _FORGOTTEN_AFTER
        }
        found = [
            name
            for name, (index, gateways, _) in self._asked.items()
            if self._hears(index, gateways) or self._knows_anybody(index)
        ]
        for name in found:
            del self._asked[name]
        return found

    @property
    def waiting(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._asked or self._holders)

    def _knows_anybody(self, index: int) -> bool:
        bodies = self._route.dump(list_neighbours(index), "read the neighbours")
        return any(was_heard(body, index) for body in bodies)

    def _hears(self, index: int, gateways: tuple[Address, ...]) -> bool:
        for gateway in gateways:
            body = self._route.get(find_neighbour(index, gateway), "look for the answer")
            if body is not None and is_reachable(body):
                return True
        return False


def ask_neighbour(index: int, what: Address) -> Request:
    """Have the kernel find out a neighbour's link address, as if a packet were to go there."""
    head = _NDMSG.pack(_family(what), index, _NUD_NONE, _NTF_USE, 0)
    body = head + netlink.attribute(_NDA_DST, address.packed(what))
    return Request(_NEWNEIGH, body, netlink.CREATE)


def find_neighbour(index: int, what: Address) -> Request:
    """What the kernel knows of a neighbour."""
    head = _NDMSG.pack(_family(what), index, 0, 0, 0)
    return Request(_GETNEIGH, head + netlink.attribute(_NDA_DST, address.packed(what)))


def list_neighbours(index: int) -> Request:
    """To be dumped: all neighbours on a link."""
    head = _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return Request(_GETNEIGH, head + netlink.attribute(_NDA_IFINDEX, _U32.pack(index)))


def is_reachable(body: memoryview | bytes) -> bool:
    """Whether a neighbour answered within the last seconds."""
    state: int = _NDMSG.unpack_from(body)[2]
    return bool(state & _NUD_REACHABLE)


def was_heard(body: memoryview | bytes, index: int) -> bool:
    """Whether this is a neighbour on the link of which something came in."""
    _, link, state, _, _ = _NDMSG.unpack_from(body)
    return link == index and bool(state & _NUD_HEARD)


def _family(what: Address) -> int:
    return socket.AF_INET6 if address.family(what) == 6 else socket.AF_INET
