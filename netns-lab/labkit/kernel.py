"""The few system calls Python 3.11 has no name for, and link state over rtnetlink."""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Gives the calling process namespaces of its own."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Moves the calling thread into the namespace behind `fd`."""
    _checked(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    """mount(2) without data."""
    arguments = (source.encode(), target.encode(), kind.encode(), flags, None)
    _checked(_libc.mount(*arguments), f"mount {target}")


def prctl(option: int, *arguments: int | bytes) -> None:
    """prctl(2); what is not given is 0."""
    given = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    _checked(_libc.prctl(option, *given, *[ctypes.c_ulong(0)] * (4 - len(given))), "prctl")


def die_with_parent(signal_number: int) -> None:
    """The kernel sends `signal_number` to this process when its parent's thread ends."""
    prctl(PR_SET_PDEATHSIG, signal_number)


def is_lab_kernel() -> bool:
    """This is the user-mode kernel, where nothing can be broken but the lab."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text()


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Runs the block in the network namespace of `pid`: sockets opened there stay there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        setns(other, CLONE_NEWNET)
        yield
    finally:
        setns(own, CLONE_NEWNET)
        os.close(other)
        os.close(own)


# rtnetlink(7). Faults must strike at an instant: an `ip link set` costs 40 ms in the lab kernel.
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_DELADDR = 16, 20, 21
_REQUEST_ACK = 0x1 | 0x4
_IFF_UP = 1
_GROUPS_ADDRESSES = 0x10 | 0x100
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")


class Links:
    """Sets links of one network namespace up and down."""

    def __init__(self, pid: int) -> None:
        with network_of(pid):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._socket.settimeout(5)

    def set(self, indexes: list[int], *, up: bool) -> None:
        """All of `indexes` in one system call; raises OSError with the first error."""
        messages = []
        for index in indexes:
            body = _IFINFO.pack(0, 0, index, _IFF_UP if up else 0, _IFF_UP)
            head = _HEADER.pack(_HEADER.size + len(body), _RTM_NEWLINK, _REQUEST_ACK, index, 0)
            messages.append(head + body)
        self._socket.send(b"".join(messages))
        for _ in indexes:
            error = struct.unpack_from("=i", self._socket.recv(65536), _HEADER.size)[0]
            if error:
                raise OSError(-error, f"link: {os.strerror(-error)}")

    def close(self) -> None:
        self._socket.close()


def address_monitor(pid: int) -> socket.socket:
    """A socket that hears each address added or removed in the network namespace of `pid`."""
    with network_of(pid):
        monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    monitor.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE: leases renew often
    monitor.bind((0, _GROUPS_ADDRESSES))
    return monitor


def address_events(datagram: bytes) -> Iterator[tuple[bool, str]]:
    """(added, address) of each address message in `datagram`."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, offset)
        if kind in (_RTM_NEWADDR, _RTM_DELADDR):
            start = offset + _HEADER.size
            family = _IFADDR.unpack_from(datagram, start)[0]
            address = _address(datagram[start + _IFADDR.size : offset + length], family)
            if address:
                yield kind == _RTM_NEWADDR, address
        offset += (length + 3) & ~3


def _address(attributes: bytes, family: int) -> str | None:
    """IFA_LOCAL (2) where there is one, else IFA_ADDRESS (1)."""
    found: dict[int, str] = {}
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind in (1, 2):
            found[kind] = socket.inet_ntop(family, attributes[offset + 4 : offset + length])
        offset += max(4, (length + 3) & ~3)
    return found.get(2, found.get(1))
