"""A packet socket that hears an interface in both directions, through a filter, and how many
packets came faster than they were read."""

import socket
import struct

from hadirector.shell import bpf
from hadirector.shell.buffers import enlarge_receive

BUFFER = 8 << 20  # bytes: a bulk of a peer comes at 100,000 connections a second

_ETH_P_ALL = 0x0003  # what goes out is shown to nobody who asks for one protocol
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("=II")


def listen(interface: str, program: tuple[bpf.Instruction, ...]) -> socket.socket:
    """Packets come from their IP header on. OSError."""
    sock = socket.socket(
        socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
    )
    try:
        bpf.attach(sock, program)
        enlarge_receive(sock, BUFFER)
        sock.bind((interface, _ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def lost_since(sock: socket.socket) -> int:
    """Packets that found no room since this was asked last."""
    raw = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    lost: int = _STATISTICS.unpack(raw)[1]
    return lost
