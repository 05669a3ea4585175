"""Whether a peer's port can be reached: one connection, given up at once."""

import errno
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from hadirector.core.address import Address
from hadirector.core.doctor.facts import Port

_PATIENCE = 2.0  # seconds
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
    try:
        socket.create_connection((where, port), _PATIENCE).close()
    except ConnectionError:
        return Port.CLOSED
    except TimeoutError:
        return Port.SILENT
    except OSError as error:
        return Port.UNREACHABLE if error.errno in _NO_WAY else Port.SILENT
    return Port.OPEN
