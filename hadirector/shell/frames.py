"""Whole Ethernet frames out of an interface, by a packet socket for each.

Neither the routing table nor a neighbour entry can hold a frame up. The sockets have protocol 0:
they send, and nothing is ever queued to them.
"""

import socket

ETH_IP, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD


class Frames:
    """The sockets by interface, opened when first needed."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}

    def send(self, interface: str, frame: bytes) -> str:
        """Send one frame; empty text, or why it could not go out now."""
        try:
            self._socket(interface).send(frame)
        except OSError as error:
            self.forget(interface)
            return error.strerror or str(error)
        return ""

    def forget(self, interface: str) -> None:
        """The interface went away or came anew: its socket is of no use."""
        sock = self._sockets.pop(interface, None)
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """Close all sockets."""
        for interface in list(self._sockets):
            self.forget(interface)

    def _socket(self, interface: str) -> socket.socket:
        if interface not in self._sockets:
            sock = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
            self._sockets[interface] = sock
            sock.bind((interface, 0))
        return self._sockets[interface]
