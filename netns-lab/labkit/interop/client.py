"""A client that asks the virtual address for an echo, all the time."""

import os
import signal
import socket
import struct
import time
from contextlib import suppress

from labkit.node import Node

_ECHO = struct.Struct("!BBHHH")


class Client:
    """Begun by `with`; what comes back is seen on the wire."""

    def __init__(self, node: Node, address: str, every: float) -> None:
        self._node = node
        self._address = address
        self._every = every
        self._pid = 0

    def __enter__(self) -> "Client":
        self._pid = self._node.fork(self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def _ask(self) -> None:
        """The child's life."""
        six = ":" in self._address
        kind = socket.AF_INET6 if six else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        with socket.socket(kind, socket.SOCK_RAW, protocol) as asking:
            asking.setblocking(False)
            number = 0
            while True:
                number = number % 0xFFFF + 1
                with suppress(OSError):  # nobody there: the next one asks again
                    asking.sendto(_echo(number, six=six), (self._address, 0))
                with suppress(OSError):
                    while asking.recv(2048):
                        pass
                time.sleep(self._every)


def _echo(number: int, *, six: bool) -> bytes:
    """An echo request; in version 6 the kernel fills the checksum in."""
    if six:
        return _ECHO.pack(128, 0, 0, 77, number)
    total = (8 << 8) + 77 + number
    total = (total & 0xFFFF) + (total >> 16)
    return _ECHO.pack(8, 0, ~total & 0xFFFF, 77, number)
