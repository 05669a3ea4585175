"""Whether this node's own link is what keeps a probe from its server.

A cable pulled here looks like every server behind it gone silent. The questions are free of
capabilities and of waiting: connecting a UDP socket sends nothing, the kernel answers a route
look-up within the system call that asks, and a link's flags are read under RCU. They are asked only
about probes that got no answer. A link that was dead a moment ago still counts: what was sent
meanwhile is lost, and neighbours are to be found again.

    ifreq:  name 16 bytes, flags 16, padding

Source: include/uapi/linux/if.h.
"""

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.shell import route_lookup, rtnetlink
from hadirector.shell.netlink import KernelError

NO_WAY = frozenset(
    {errno.ENETUNREACH, errno.ENETDOWN, errno.ENODEV, errno.EINVAL, errno.EADDRNOTAVAIL}
)
"""Said by connect(2) itself: no packet left this host, so nothing is known of the server. Later the
same words come from a router. (EHOSTUNREACH and EACCES at once are somebody's word in the routing
table that nobody is there: `unreachable`, `prohibit`.)"""

SETTLE = 3.0  # seconds after a link came back; ARP asks once a second
_SIOCGIFFLAGS = 0x8913
_IFREQ = struct.Struct("=16sH22x")
_RUNNING = 0x40  # operational: RFC 2863's up, or unknown to the driver
_WAY_KEPT = 5.0  # seconds that a route is believed: looking it up is most of the cost
_WAYS = 16_384  # servers
_PATIENCE = 0.05  # seconds; the answer lies ready when the question is asked


class OwnLink:
    """Asks about the link that leads to a server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._dead_at: dict[str, tuple[float, str]] = {}  # by link, or by server without a route
        self._ways: dict[Address, tuple[float, str]] = {}
        self._route: rtnetlink.Route | None = None
        self._sock: socket.socket | None = None

    def trouble(self, server: Address) -> str:
        """Why no packet gets there from here, or got there a moment ago; empty where all is well,
        or cannot be known."""
        try:
            _connect(server)
            name = self._way(server)
            if name and not self._runs(name):
                return self._dead(name, f"{name} has no carrier")
        except OSError as error:
            number = error.errno or 0
            return self._dead(server, os.strerror(number)) if number in NO_WAY else ""
        except KernelError:
            return ""
        return self._lately(name) or self._lately(server)

    def close(self) -> None:
        """Gives the sockets back."""
        if self._route is not None:
            self._route.close()
        if self._sock is not None:
            self._sock.close()
        self._route = self._sock = None

    def _dead(self, what: str, reason: str) -> str:
        self._dead_at[what] = self._clock(), reason
        return reason

    def _lately(self, what: str) -> str:
        at, reason = self._dead_at.get(what, (0.0, ""))
        if reason and self._clock() - at > SETTLE:
            del self._dead_at[what]
            return ""
        return f"{reason}, a moment ago" if reason else ""

    def _way(self, server: Address) -> str:
        at, name = self._ways.get(server, (0.0, ""))
        if not name or self._clock() - at > _WAY_KEPT:
            if len(self._ways) >= _WAYS:
                self._ways.clear()
            name = self._interface(server)
            self._ways[server] = self._clock(), name
        return name

    def _interface(self, server: Address) -> str:
        """Where a packet to this server leaves by; empty without a route."""
        if self._route is None:
            self._route = rtnetlink.Route(_PATIENCE)
        body = self._route.get(route_lookup.leaving(server), "find the way to a server")
        index = None if body is None else route_lookup.link_of(body)
        return "" if index is None else socket.if_indextoname(index)

    def _runs(self, name: str) -> bool:
        if self._sock is None:
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        answer = fcntl.ioctl(self._sock, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
        flags: int = _IFREQ.unpack(answer)[1]
        return bool(flags & _RUNNING)


def _connect(server: Address) -> None:
    """What a probe's own connect would say now; OSError."""
    family = socket.AF_INET6 if address.family(server) == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 9))
