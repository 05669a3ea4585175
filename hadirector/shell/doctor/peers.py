"""Whether a peer's port takes datagrams: one empty one, and what comes of it.

Nobody answers it. But a host without the daemon says that the port is closed, and this host says
when the peer cannot be reached at all; silence is a daemon, or a filter.
"""

import errno
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from hadirector.core.address import Address, family
from hadirector.core.doctor.facts import Port

_TRIES, _PATIENCE = 2, 1.7  # datagrams, and seconds for the errors that follow: ARP takes three
_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH)


def ask(peers: Iterable[tuple[str, Address]], port: int) -> dict[str, Port]:
    """By node."""
    asked = list(peers)
    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked)) as pool:
        states = pool.map(lambda peer: _ask(peer[1], port), asked)
        return {name: state for (name, _), state in zip(asked, states, strict=True)}


def _ask(where: Address, port: int) -> Port:
    kind = socket.AF_INET6 if family(where) == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((where, port))
            for _ in range(_TRIES):
                sock.send(b"")
                time.sleep(_PATIENCE)
            sock.send(b"")  # what was told meanwhile comes here
        except ConnectionRefusedError:
            return Port.CLOSED
        except OSError as error:
            return Port.UNREACHABLE if error.errno in _NO_WAY else Port.SILENT
    return Port.SILENT
