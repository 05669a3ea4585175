"""The sync interface: what the kernels' sync threads say there, and a voice beside theirs.

A packet socket sees both directions; what our own kernel sends is shown to nobody else (its socket
does not loop back). It costs a copy of each packet on that interface, which the filter then drops.
Our own datagrams, told by their source port, are not heard again.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable

from hadirector.core.address import Address, family, packed
from hadirector.shell import bpf, child, packet_ears, sync_interface
from hadirector.shell.buffers import enlarge_send

log = logging.getLogger(__name__)

BUFFER = 8 << 20  # bytes to send
READS = 64  # datagrams for each wake-up
HEADERS = {4: 28, 6: 48}  # bytes of IP and UDP
LEAST_MTU = 1280  # of any network; for an interface that has gone

_PACKET_TYPE, _OUTGOING = 0xFFFFF000 + 4, 4  # SKF_AD_PKTTYPE, PACKET_OUTGOING
_MREQN = struct.Struct("=4s4si")
_LOAD_WORD = 0x20
_UDP = 17

Heard = Callable[[bytes, bool], None]
"""(payload, whether our own kernel sent it)"""


class SyncWire:
    """Needs a running loop. OSError where the interface is not there, or sockets may not be had."""

    def __init__(self, interface: str, group: Address, port: int, heard: Heard) -> None:
        self.interface = interface
        self.index = socket.if_nametoindex(interface)  # another one is not heard
        self.lost = 0  # datagrams that came faster than they were read
        self.idle = True  # whether all that came was read
        self.idle_at = child.now()
        self._heard = heard
        self._family = family(group)
        self._ears = self._mouth = None
        try:
            self._mouth = _speak(interface, group, port)
            own = self._mouth.getsockname()[1]
            self._ears = packet_ears.listen(interface, _filter(group, port, own))
        except OSError:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(self._ears.fileno(), self._readable)

    @property
    def longest(self) -> int:
        """Bytes of a datagram that the peer's backup thread has room for: the kernel's own are as
        long as the interface's packets."""
        return (sync_interface.look(self.interface).mtu or LEAST_MTU) - HEADERS[self._family]

    def send(self, payload: bytes) -> bool:
        """To every backup thread of the group; False where that is not possible just now."""
        assert self._mouth is not None
        try:
            self._mouth.send(payload)
        except OSError:  # its buffer is full, or the link went down
            return False
        return True

    def count_lost(self) -> int:
        """Datagrams lost since it was opened, because we were too slow."""
        if self._ears is not None:
            self.lost += packet_ears.lost_since(self._ears)
        return self.lost

    def close(self) -> None:
        """Give the sockets back."""
        if self._ears is not None:
            asyncio.get_running_loop().remove_reader(self._ears.fileno())
            self._ears.close()
        if self._mouth is not None:
            self._mouth.close()
        self._ears = self._mouth = None

    def _readable(self) -> None:
        self.idle = False
        for _ in range(READS):
            if self._ears is None:
                return
            try:
                packet, sender = self._ears.recvfrom(65_535)
            except OSError:  # nothing more; or the link went down, which is looked after
                self.idle, self.idle_at = True, child.now()
                return
            start = 20 if self._family == 4 else 40
            size = int.from_bytes(packet[start + 4 : start + 6], "big")
            self._heard(packet[start + 8 : start + size], sender[2] == _OUTGOING)


def _filter(group: Address, port: int, own: int) -> tuple[bpf.Instruction, ...]:
    """UDP to the group and port, but for what we send ourselves from our `own` port; the kernel
    sends without options and in one piece."""
    six = family(group) == 6
    raw = packed(group)
    words = [int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4)]
    start, head = (24, 40) if six else (16, 20)
    tests = [
        (bpf.LOAD_BYTE, 0, 0x60 if six else 0x45),
        (bpf.LOAD_BYTE, 6 if six else 9, _UDP),
        (bpf.LOAD_HALF, head + 2, port),
        *((_LOAD_WORD, start + 4 * number, word) for number, word in enumerate(words)),
    ]
    program: list[bpf.Instruction] = []
    for number, (load, offset, value) in enumerate(tests):
        behind = 2 * (len(tests) - number - 1)  # instructions of the tests that follow
        program += [(load, 0, 0, offset), (bpf.JUMP_EQUAL, 0, behind + 5, value)]
    return (
        *program,
        (bpf.LOAD_HALF, 0, 0, _PACKET_TYPE),
        (bpf.JUMP_EQUAL, 0, 2, _OUTGOING),
        (bpf.LOAD_HALF, 0, 0, head),
        (bpf.JUMP_EQUAL, 1, 0, own),
        (bpf.RETURN, 0, 0, bpf.ALL),
        (bpf.RETURN, 0, 0, bpf.NOTHING),
    )


def _speak(interface: str, group: Address, port: int) -> socket.socket:
    index = socket.if_nametoindex(interface)
    kind = socket.AF_INET6 if family(group) == 6 else socket.AF_INET
    sock = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        enlarge_send(sock, BUFFER)
        if kind == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            sock.connect((group, port, 0, index))
        else:
            device = _MREQN.pack(bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, device)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            sock.connect((group, port))
    except OSError:
        sock.close()
        raise
    return sock
