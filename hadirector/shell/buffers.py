"""How much a socket may hold: beyond net.core.rmem_max and wmem_max for whoever may
(CAP_NET_ADMIN), as much as those allow for others. OSError where the socket takes neither."""

import socket

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33


def enlarge_receive(sock: socket.socket, size: int) -> None:
    """Bytes that wait to be read."""
    _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, size)


def enlarge_send(sock: socket.socket, size: int) -> None:
    """Bytes that wait to be sent."""
    _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, size)


def _enlarge(sock: socket.socket, forced: int, asked: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, asked, size)
