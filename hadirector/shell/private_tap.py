"""What the kernel's sync threads say on the private interface, and how they are told.

A packet socket sees what the master thread sends (its own socket does not loop back, so nobody
else can); a datagram with TTL 0 and the relay's mark reaches the backup thread and nothing else.

Who sends there is told by source address and port: the master thread's is the socket of root that
is connected to the group (/proc/net/udp). What any other program sends there is not sealed. The
address counts, since anybody may bind the same port at another address of this host.
"""

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path

from hadirector.core.address import Address
from hadirector.shell import bpf, packet_ears
from hadirector.shell.buffers import enlarge_send
from hadirector.shell.private_link import ADDRESS, MARK, NAME

# Not the kernel's own port (8848): by group and port its socket is told from the relay's.
GROUP, PORT = Address("224.0.0.81"), 8847
BUFFER = 8 << 20  # bytes; without CAP_NET_ADMIN at most net.core.wmem_max
READS = 64  # datagrams for each wake-up
WAITING = 1024  # datagrams that wait until it is known who sent them
KNOW_EVERY = 0.5  # seconds between looks at who sends

# By sendto: the interface was taken away; or it is down, or its address is gone.
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EINVAL})
_SO_MARK = 36
_MREQN = struct.Struct("=4s4si")
_SKF_AD_PKTTYPE, _OUTGOING = 0xFFFFF000 + 4, 4
_UDP = 17
_PORTS = struct.Struct("!HH")
_UDP_HEADER = 8
# Of a datagram socket's packet the IP header comes first; the kernel sends it without options.
_FILTER: tuple[bpf.Instruction, ...] = (
    (bpf.LOAD_HALF, 0, 0, _SKF_AD_PKTTYPE),
    (bpf.JUMP_EQUAL, 0, 9, _OUTGOING),
    (bpf.LOAD_BYTE, 0, 0, 0),
    (bpf.JUMP_EQUAL, 0, 7, 0x45),
    (bpf.LOAD_BYTE, 0, 0, 9),
    (bpf.JUMP_EQUAL, 0, 5, _UDP),
    (bpf.LOAD_WORD, 0, 0, 12),
    (bpf.JUMP_EQUAL, 0, 3, int.from_bytes(socket.inet_aton(ADDRESS), "big")),
    (bpf.LOAD_HALF, 0, 0, 22),
    (bpf.JUMP_EQUAL, 0, 1, PORT),
    (bpf.RETURN, 0, 0, bpf.ALL),
    (bpf.RETURN, 0, 0, bpf.NOTHING),
)


class PrivateTap:
    """Needs a running loop. `said(payload)` is called for each datagram of the master thread,
    `gone()` once it shows that the interface was taken away or down. OSError where it is not there,
    or the sockets may not be had."""

    def __init__(self, said: Callable[[bytes], None], gone: Callable[[], None]) -> None:
        self.strangers = 0  # datagrams that somebody else sent there
        self._said = said
        self._gone = gone
        self._lost = 0
        self._refused = 0
        self._ports: frozenset[int] = frozenset()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._knowing: asyncio.Task[None] | None = None
        self._ears = self._mouth = None
        try:
            self.index = socket.if_nametoindex(NAME)
            self._ears = packet_ears.listen(NAME, _FILTER)
            self._mouth = _speak(self.index)
        except OSError:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(self._ears.fileno(), self._readable)

    @property
    def lost(self) -> int:
        """Datagrams of the kernel that came faster than they were read, or waited in vain."""
        if self._ears is not None:
            self._lost += packet_ears.lost_since(self._ears)
        return self._lost

    @property
    def refused(self) -> int:
        """Datagrams that the kernel did not take from us."""
        return self._refused

    def tell(self, payload: bytes) -> bool:
        """Hand one to the backup thread; False where the interface is not what it was."""
        assert self._mouth is not None
        try:
            self._mouth.send(payload)
        except OSError as error:
            if error.errno in _GONE:
                return False
            self._refused += 1  # its buffer is full, or a filter of this host forbids it
        return True

    def close(self) -> None:
        """Give the sockets back; `lost` is complete then."""
        if self._knowing is not None:
            self._knowing.cancel()
        self._lost += len(self._waiting)
        self._waiting.clear()
        if self._ears is not None:
            self._lost += packet_ears.lost_since(self._ears)
            asyncio.get_running_loop().remove_reader(self._ears.fileno())
            self._ears.close()
        if self._mouth is not None:
            self._mouth.close()
        self._ears = self._mouth = None

    def _readable(self) -> None:
        assert self._ears is not None
        for _ in range(READS):
            try:
                packet = self._ears.recv(65_535)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN, told once
                self._gone()
                return
            start = (packet[0] & 0xF) * 4
            port, _ = _PORTS.unpack_from(packet, start)
            self._heard(port, packet[start + _UDP_HEADER :])

    def _heard(self, port: int, payload: bytes) -> None:
        if port in self._ports:
            self._said(payload)
            return
        self._waiting.append((port, payload))
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            self._lost += 1
        if self._knowing is None or self._knowing.done():
            self._knowing = asyncio.ensure_future(self._know())

    async def _know(self) -> None:
        """Find out whose ports these are; at most twice a second."""
        self._ports = await asyncio.to_thread(ports_of_root)
        waiting, self._waiting = self._waiting, deque()
        for port, payload in waiting:
            if port in self._ports:
                self._said(payload)
            else:
                self.strangers += 1
        await asyncio.sleep(KNOW_EVERY)
        if self._waiting:
            self._knowing = asyncio.ensure_future(self._know())


def _speak(index: int) -> socket.socket:
    sock = socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
        enlarge_send(sock, BUFFER)
        own = socket.inet_aton(ADDRESS)
        membership = _MREQN.pack(bytes(4), own, index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # it leaves no host
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.bind((ADDRESS, 0))
        sock.connect((GROUP, PORT))
    except OSError:
        sock.close()
        raise
    return sock


def ports_of_root() -> frozenset[int]:
    """The source ports of root's sockets that are connected to the group: the kernel's threads.

    sl, local address, remote address, st, queues, timer, retransmits, uid ...: proc(5)
    """
    group = socket.inet_aton(GROUP)[::-1].hex().upper() + f":{PORT:04X}"
    found = set()
    for line in Path("/proc/self/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if words[2] == group and words[7] == "0":
            found.add(int(words[1].partition(":")[2], 16))
    return frozenset(found)
