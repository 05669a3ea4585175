"""Whether this host's filters let connection sync through, without a word to anybody else.

A datagram of one byte goes to the sync group with TTL 0: the kernel gives it back to this host by
the same interface, through the filters of both directions, and never sends it. A backup thread that
gets it too drops it: it is shorter than any record.
"""

import errno
import socket
import struct
import time

from hadirector.core import address
from hadirector.core.address import family
from hadirector.core.doctor.facts import Passage
from hadirector.core.settings.cluster import ConnectionSync

_TRIES, _PATIENCE = 3, 0.3  # datagrams, and seconds for each to come back


def look(sync: ConnectionSync) -> Passage:
    """What becomes of it; OSError when the interface has no way to the group at all."""
    six = family(sync.group) == 6
    kind = socket.AF_INET6 if six else socket.AF_INET
    index = socket.if_nametoindex(sync.interface)
    with socket.socket(kind, socket.SOCK_DGRAM) as ear, socket.socket(kind, socket.SOCK_DGRAM) as s:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.settimeout(_PATIENCE)
        group = address.packed(sync.group)
        ear.bind((sync.group, sync.port, 0, index) if six else (sync.group, sync.port))
        if six:
            request = group + struct.pack("@I", index)
            ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 0)
        else:
            request = group + bytes(4) + struct.pack("@i", index)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + request[-4:])
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        s.bind(("", 0))
        for _ in range(_TRIES):
            try:
                s.sendto(b"\0", (sync.group, sync.port))
            except OSError as error:
                if error.errno in (errno.EPERM, errno.EACCES):
                    return Passage.LOST_OUT
                raise
            if _comes_back(ear, s.getsockname()[1]):
                return Passage.PASSED
    return Passage.LOST_IN


def _comes_back(ear: socket.socket, port: int) -> bool:
    """Records of the peer may come in between."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            data, origin = ear.recvfrom(2048)
        except TimeoutError:
            return False
        if data == b"\0" and origin[1] == port:
            return True
    return False
