"""One daemon in a network namespace: two would fight over its addresses and its IPVS table.

The runtime directory's lock keeps out a second daemon with the same directories only. An abstract
unix socket belongs to the network namespace, needs no file, and ends with its process.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from hadirector.core.errors import HadirectorError

NAME = "\0hadirector"
_DEADLINE = 1.0  # seconds
_UCRED = struct.Struct("=iII")  # pid, uid, gid (unix(7), SO_PEERCRED)


class NotAlone(HadirectorError):
    """Another daemon runs in this network namespace; the text says which."""


@contextmanager
def alone() -> Iterator[None]:
    """Be the only one as long as this lasts. A squatter that is neither root nor our own user is
    no daemon and keeps nobody out: anybody may take an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(NAME)
            claim.listen(8)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            pid = holder()
            if pid is not None:
                text = f"another hadirector (process {pid}) runs in this network namespace"
                raise NotAlone(f"{text}; two would fight over its addresses: stop it") from None
        yield


def holder() -> int | None:
    """The process ID of the daemon that runs in this network namespace; None without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_DEADLINE)
        try:
            probe.connect(NAME)
        except OSError:
            return None
        raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return pid if uid in (0, os.geteuid()) else None
