"""Hears the adverts on the front network, stamped by the kernel when they arrived.

A process of its own in the client's network, so that nothing else in the lab delays it, and what
delays itself does not matter: the stamps are the kernel's.
"""

import os
import signal
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from labkit import topology
from labkit.node import Node

VRRP = 112
GROUP = "224.0.0.18"
_RECEIVE_BUFFER = 4 << 20
_STAMPS = 35  # SO_TIMESTAMPNS, and the type of its control message
_TIMESPEC = struct.Struct("=qq")
_RECORD = struct.Struct("=d4sBB")


@dataclass(frozen=True, slots=True)
class Heard:
    """One advert: monotonic seconds, source address, virtual router, priority."""

    at: float
    source: str
    vrid: int
    priority: int


def listener(timeout: float | None = None) -> socket.socket:
    """A socket that hears adverts; to be made in the client's network."""
    heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    group = socket.inet_aton(GROUP) + socket.inet_aton(topology.CLIENT)
    heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    heard.settimeout(timeout)
    return heard


class Sniffer:
    """A context manager; `heard` is complete once the block has ended."""

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        self._path = directory / f"adverts-{time.monotonic_ns()}"
        self._pid = 0
        self.heard: list[Heard] = []

    def __enter__(self) -> "Sniffer":
        self._pid = self._node.fork(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)
        for at, source, vrid, priority in _RECORD.iter_unpack(self._path.read_bytes()):
            self.heard.append(Heard(at, socket.inet_ntoa(source), vrid, priority))

    def worst_gap(self, source: str, since: float, until: float) -> float:
        """The longest time in [since, until], in seconds, without an advert of `source`."""
        stamps = [h.at for h in self.heard if h.source == source and since <= h.at <= until]
        return max(b - a for a, b in pairwise([since, *stamps, until]))

    def _live(self) -> None:
        """The child's life. Real time on the wire becomes the monotonic time of the stories."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        with listener() as adverts, self._path.open("wb", buffering=0) as out:
            adverts.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
            offset = time.monotonic() - time.time()
            while True:
                packet, control, _, _ = adverts.recvmsg(1500, 64)
                at = _stamp(control) + offset
                header = (packet[0] & 15) * 4
                with suppress(IndexError):
                    vrid, priority = packet[header + 1], packet[header + 2]
                    out.write(_RECORD.pack(at, packet[12:16], vrid, priority))


def _stamp(control: list[tuple[int, int, bytes]]) -> float:
    """When the kernel received it, in seconds of real time."""
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, _STAMPS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    return time.time()
